//! Queries whose joins have many orders: lists of tables, conditions between any of them, and subqueries that could move.

use super::{Column, Generator, Relation, Type};
use rand::Rng;

/// Estimated rows of the joined list.
const REGION_ROWS_MAX: f64 = 20_000.0;
/// An equality keeps about one of so many pairs.
const KEY_VALUES: f64 = 50.0;

impl Generator<'_> {
    /// One query over three to six tables.
    pub fn region_query(&mut self) -> String {
        self.aliases = 0;
        let (relations, mut conditions) = self.region();
        let all = Relation {
            from: relations.iter().map(|relation| relation.from.clone()).collect::<Vec<_>>().join(", "),
            columns: relations.iter().flat_map(|relation| relation.columns.clone()).collect(),
            rows: 0.0,
        };
        if self.percent(40) {
            conditions.push(self.subquery_condition(&all));
        }
        if self.percent(50) {
            conditions.extend(self.compared_with_group(&all));
        }
        let aggregates = self.aggregates(&all);
        let condition = conditions.join(" AND ");
        if self.percent(40) {
            let by = self.pick(&all.columns).expression.clone();
            return format!("SELECT {by} AS c0, {aggregates} FROM {} WHERE {condition} GROUP BY {by}", all.from);
        }
        format!("SELECT {aggregates} FROM {} WHERE {condition}", all.from)
    }

    /// Tables, each of them equal to another in something, and the conditions.
    fn region(&mut self) -> (Vec<Relation>, Vec<String>) {
        let wanted = self.rng.random_range(3..7);
        let mut relations: Vec<Relation> = vec![self.base()];
        let mut conditions = Vec::new();
        let mut rows = relations[0].rows;
        for _ in 0..40 {
            if relations.len() == wanted {
                break;
            }
            let next = if self.percent(85) { self.base() } else { self.leaf() };
            let after = rows * (next.rows / KEY_VALUES).max(0.2);
            let partner = self.rng.random_range(0..relations.len());
            let partner = relations[partner].clone();
            if after > REGION_ROWS_MAX {
                continue;
            }
            let Some(equality) = self.equality(&partner, &next) else { continue };
            conditions.push(equality);
            if self.percent(35) {
                conditions.push(self.condition(&next));
            }
            if self.percent(25) {
                let other = self.rng.random_range(0..relations.len());
                let other = relations[other].clone();
                let more = if self.percent(60) { self.equality(&other, &next) } else { Some(self.comparison(&other, &next)) };
                conditions.extend(more);
            }
            rows = after;
            let place = self.rng.random_range(0..relations.len() + 1);
            relations.insert(place, next);
        }
        if self.percent(15)
            && let [first, .., last] = relations.as_slice()
            && let (Some(first), Some(last)) = (self.number(first), self.number(last))
        {
            conditions.push(format!("{first} + {last} > {}", relations.len() * 10));
        }
        if conditions.is_empty() {
            conditions.push("1 = 1".to_owned());
        }
        (relations, conditions)
    }

    /// A column of `outer` beside an aggregate over the rows of another table that are equal in one column or two.
    fn compared_with_group(&mut self, outer: &Relation) -> Option<String> {
        let inner = self.base();
        let outer_column = self.number(outer)?;
        let inner_column = self.number(&inner)?;
        let same = |generator: &mut Self| -> Option<String> {
            let pairs: Vec<(&Column, &Column)> = outer
                .columns
                .iter()
                .flat_map(|one| inner.columns.iter().filter(|other| one.kind == other.kind).map(move |other| (one, other)))
                .collect();
            if pairs.is_empty() {
                return None;
            }
            let (one, other) = *generator.pick(&pairs);
            Some(format!("{} = {}", other.expression, one.expression))
        };
        let mut equalities = same(self)?;
        if self.percent(30) {
            equalities = format!("{equalities} AND {}", same(self)?);
        }
        if self.percent(30) {
            equalities = format!("{equalities} AND {}", self.condition(&inner));
        }
        let function = *self.pick(&["min", "max", "sum", "count"]);
        let operator = *self.pick(&["<", ">", "<=", "<>"]);
        Some(format!("{outer_column} {operator} (SELECT {function}({inner_column}) FROM {} WHERE {equalities})", inner.from))
    }

    fn number(&mut self, relation: &Relation) -> Option<String> {
        let numbers: Vec<Column> = relation.columns.iter().filter(|column| column.kind == Type::Number).cloned().collect();
        if numbers.is_empty() { None } else { Some(self.pick(&numbers).expression.clone()) }
    }
}
