//! Conditions over relations.

use super::{Column, Generator, Relation, Type};
use rand::Rng;

impl Generator<'_> {
    pub(super) fn condition(&mut self, relation: &Relation) -> String {
        let column = self.pick(&relation.columns).clone();
        let name = &column.expression;
        let one = match self.rng.random_range(0..8) {
            0 => format!("{name} IS NULL"),
            1 => format!("{name} IS NOT NULL"),
            2 => format!("{name} IN ({}, {})", self.literal(column.kind), self.literal(column.kind)),
            3 => format!("{name} NOT IN ({}, {})", self.literal(column.kind), self.literal(column.kind)),
            4 => format!("{name} BETWEEN {} AND {}", self.literal(column.kind), self.literal(column.kind)),
            5 if column.kind == Type::Text => format!("{name} LIKE 's1%'"),
            _ => {
                let operator = *self.pick(&["=", "<>", "<", ">=", ">"]);
                format!("{name} {operator} {}", self.literal(column.kind))
            }
        };
        match self.rng.random_range(0..10) {
            0 => format!("({one} OR {})", self.condition(relation)),
            1 => format!("NOT ({one})"),
            _ => one,
        }
    }

    pub(super) fn literal(&mut self, kind: Type) -> String {
        let number = self.rng.random_range(0..60);
        match kind {
            Type::Number => number.to_string(),
            Type::Decimal => format!("{number}.{}", ["00", "25", "50"][self.rng.random_range(0..3)]),
            Type::Text => format!("'s{number}'"),
            Type::Date => format!("DATE '1997-{:02}-{:02}'", 5 + number % 3, 1 + number % 28),
            Type::Float => format!("{}", f64::from(number - 20) * 0.25),
        }
    }

    /// WHERE, or nothing.
    pub(super) fn filter(&mut self, relation: &Relation) -> String {
        let mut conditions = Vec::new();
        if self.percent(35) {
            conditions.push(self.condition(relation));
        }
        if self.percent(35) {
            conditions.push(self.subquery_condition(relation));
        }
        if self.percent(10) {
            conditions.push(self.subquery_condition(relation));
        }
        match conditions.is_empty() {
            true => String::new(),
            false => format!(" WHERE {}", conditions.join(" AND ")),
        }
    }

    pub(super) fn subquery_condition(&mut self, outer: &Relation) -> String {
        let depth = if self.percent(20) { 1 } else { 0 };
        let inner = self.relation(depth);
        let not = ["", "NOT "][self.rng.random_range(0..2)];
        match self.rng.random_range(0..11) {
            10 => format!("{not}EXISTS (SELECT 1 FROM {} WHERE {})", inner.from, self.condition(&inner)),
            0..=3 => {
                let Some(equality) = self.equality(outer, &inner) else { return "1 = 1".to_owned() };
                let extra = match self.rng.random_range(0..5) {
                    0 => format!(" AND {}", self.comparison(outer, &inner)),
                    1 | 2 => format!(" AND {}", self.condition(&inner)),
                    _ => String::new(),
                };
                let exists = format!("{not}EXISTS (SELECT 1 FROM {} WHERE {equality}{extra})", inner.from);
                if self.percent(10) { format!("({exists} OR {})", self.condition(outer)) } else { exists }
            }
            4..=7 => {
                let column = self.pick(&outer.columns).clone();
                let like: Vec<Column> =
                    inner.columns.iter().filter(|other| column.kind.joins_with(other.kind)).cloned().collect();
                if like.is_empty() {
                    return "1 = 1".to_owned();
                }
                let wanted = self.pick(&like).clone();
                let filter = match self.rng.random_range(0..3) {
                    0 => String::new(),
                    1 => format!(" WHERE {} IS NOT NULL", wanted.expression),
                    _ => format!(" WHERE {}", self.condition(&inner)),
                };
                format!("{} {not}IN (SELECT {} FROM {}{filter})", column.expression, wanted.expression, inner.from)
            }
            8 => {
                let column = self.pick(&outer.columns).clone();
                let like: Vec<Column> = inner.columns.iter().filter(|other| column.kind == other.kind).cloned().collect();
                if like.is_empty() {
                    return "1 = 1".to_owned();
                }
                let wanted = self.pick(&like).clone();
                let function = ["min", "max"][self.rng.random_range(0..2)];
                format!("{} > (SELECT {function}({}) FROM {})", column.expression, wanted.expression, inner.from)
            }
            _ => {
                let Some(equality) = self.equality(outer, &inner) else { return "1 = 1".to_owned() };
                let limit = self.rng.random_range(0..6);
                format!("(SELECT count(*) FROM {} WHERE {equality}) > {limit}", inner.from)
            }
        }
    }
}
