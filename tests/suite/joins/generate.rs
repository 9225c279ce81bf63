//! Random queries over the tables of `world`.

mod conditions;
mod queries;
mod regions;

use super::world::{TableSpec, tables};
use rand::Rng;
use rand::rngs::StdRng;

/// Rows that the query below a client may yield before it is aggregated, by estimate.
const RAW_ROWS_MAX: f64 = 4_000.0;
/// Estimated rows above which nothing more is joined.
const JOIN_ROWS_MAX: f64 = 30_000.0;
/// Rows of either side of a join without an equality.
const CROSS_ROWS_MAX: f64 = 400.0;

/// A query, and what of its answer is certain.
#[derive(Clone, Debug)]
pub struct Query {
    pub sql: String,
    /// So many leading columns come in one sequence only.
    pub ordered_columns: usize,
    /// The rows are the same every time; not so where a limit cuts through equals.
    pub all_rows_certain: bool,
}

/// What values a column holds. Number types are equal to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Number,
    Decimal,
    Text,
    Date,
    Float,
}

impl Type {
    fn joins_with(self, other: Self) -> bool {
        use Type::{Decimal, Number};
        self == other || matches!((self, other), (Number, Decimal) | (Decimal, Number))
    }
}

#[derive(Clone, Debug)]
struct Column {
    expression: String,
    kind: Type,
    /// Rows lie by it.
    is_key: bool,
}

/// Something that can stand in FROM.
#[derive(Clone, Debug)]
struct Relation {
    from: String,
    columns: Vec<Column>,
    rows: f64,
}

/// Makes queries; the same ones for the same seed.
pub struct Generator<'a> {
    rng: &'a mut StdRng,
    tables: Vec<TableSpec>,
    aliases: usize,
}

const COLUMNS: &[(&str, Type)] = &[
    ("id", Type::Number),
    ("i2", Type::Number),
    ("i4", Type::Number),
    ("i8", Type::Number),
    ("d", Type::Decimal),
    ("s", Type::Text),
    ("dt", Type::Date),
    ("f", Type::Float),
    ("v", Type::Number),
];

impl<'a> Generator<'a> {
    pub fn new(rng: &'a mut StdRng) -> Self {
        Self { rng, tables: tables(), aliases: 0 }
    }

    /// One query.
    pub fn query(&mut self) -> Query {
        self.aliases = 0;
        let kind = self.rng.random_range(0..20);
        if let 16..=17 = kind {
            return self.top_query();
        }
        Query { sql: self.unordered_query(kind), ordered_columns: 0, all_rows_certain: true }
    }

    fn unordered_query(&mut self, kind: usize) -> String {
        match kind {
            0..=4 => self.rows_query(),
            5..=9 => self.group_query(),
            10..=11 => self.total_query(),
            12..=13 => self.window_query(),
            14..=15 => self.set_query(),
            18 => self.cte_query(),
            _ => self.distinct_query(),
        }
    }

    fn percent(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn pick<'b, T>(&mut self, items: &'b [T]) -> &'b T {
        &items[self.rng.random_range(0..items.len())]
    }

    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("r{}", self.aliases)
    }

    // Relations

    fn base(&mut self) -> Relation {
        let table = {
            let index = self.rng.random_range(0..self.tables.len());
            self.tables[index].clone()
        };
        let alias = self.alias();
        let columns = COLUMNS
            .iter()
            .map(|(name, kind)| Column { expression: format!("{alias}.{name}"), kind: *kind, is_key: table.key == Some(*name) })
            .collect();
        Relation { from: format!("{} AS {alias}", table.name), columns, rows: table.rows as f64 }
    }

    /// `select` as a relation whose columns are c0, c1, ...
    fn derived(&mut self, select: &str, kinds: &[(Type, bool)], rows: f64) -> Relation {
        let alias = self.alias();
        let columns = kinds
            .iter()
            .enumerate()
            .map(|(nth, (kind, is_key))| Column { expression: format!("{alias}.c{nth}"), kind: *kind, is_key: *is_key })
            .collect();
        Relation { from: format!("({select}) AS {alias}"), columns, rows }
    }

    fn some_columns(&mut self, relation: &Relation, count: usize) -> Vec<Column> {
        let mut chosen: Vec<Column> = Vec::new();
        // The key is wanted more often than chance has it.
        if let Some(key) = relation.columns.iter().find(|column| column.is_key).filter(|_| self.rng.random_bool(0.6)) {
            chosen.push(key.clone());
        }
        while chosen.len() < count {
            chosen.push(self.pick(&relation.columns).clone());
        }
        chosen
    }

    fn named(columns: &[Column]) -> String {
        let items: Vec<String> =
            columns.iter().enumerate().map(|(nth, column)| format!("{} AS c{nth}", column.expression)).collect();
        items.join(", ")
    }

    fn kinds(columns: &[Column]) -> Vec<(Type, bool)> {
        columns.iter().map(|column| (column.kind, column.is_key)).collect()
    }

    fn leaf(&mut self) -> Relation {
        let base = self.base();
        match self.rng.random_range(0..100) {
            0..=54 => base,
            55..=66 => {
                let columns = self.some_columns(&base, 4);
                let condition = self.condition(&base);
                let select = format!("SELECT {} FROM {} WHERE {condition}", Self::named(&columns), base.from);
                self.derived(&select, &Self::kinds(&columns), base.rows * 0.5)
            }
            67..=76 => {
                let columns = self.some_columns(&base, 2);
                let v = &base.columns[8].expression;
                let select = format!(
                    "SELECT {}, count(*) AS c2, sum({v}) AS c3, max({}) AS c4 FROM {} GROUP BY {}, {}",
                    Self::named(&columns),
                    columns[1].expression,
                    base.from,
                    columns[0].expression,
                    columns[1].expression
                );
                let mut kinds = Self::kinds(&columns);
                kinds.extend([(Type::Number, false), (Type::Number, false), (columns[1].kind, false)]);
                self.derived(&select, &kinds, base.rows)
            }
            77..=80 => {
                let columns = self.some_columns(&base, 2);
                let select = format!("SELECT DISTINCT {} FROM {}", Self::named(&columns), base.from);
                self.derived(&select, &Self::kinds(&columns), base.rows)
            }
            81..=88 => self.union_leaf(base),
            89..=92 => {
                let mut columns = self.some_columns(&base, 3);
                columns[0] = Column { is_key: true, ..base.columns[0].clone() };
                let count = self.rng.random_range(0..40);
                let order = ["", " DESC"][self.rng.random_range(0..2)];
                let id = &base.columns[0].expression;
                let select =
                    format!("SELECT {} FROM {} ORDER BY {id}{order} LIMIT {count}", Self::named(&columns), base.from);
                self.derived(&select, &Self::kinds(&columns), base.rows.min(f64::from(count)))
            }
            93..=96 => {
                let columns = self.some_columns(&base, 2);
                let (id, key) = (&base.columns[0].expression, &columns[0].expression);
                let select = format!(
                    "SELECT {}, row_number() OVER (PARTITION BY {key} ORDER BY {id}) AS c2 FROM {}",
                    Self::named(&columns),
                    base.from
                );
                let mut kinds = Self::kinds(&columns);
                kinds.push((Type::Number, false));
                self.derived(&select, &kinds, base.rows)
            }
            _ => self.derived(
                "SELECT column1 AS c0, column2 AS c1 FROM (VALUES (7, 's7'), (8, 's8'), (9, NULL), (CAST(NULL AS int), 's1')) AS x",
                &[(Type::Number, false), (Type::Text, false)],
                4.0,
            ),
        }
    }

    fn union_leaf(&mut self, left: Relation) -> Relation {
        let right = self.base();
        let places: Vec<usize> = (0..2).map(|_| self.rng.random_range(0..COLUMNS.len())).collect();
        let of = |relation: &Relation| -> Vec<Column> { places.iter().map(|place| relation.columns[*place].clone()).collect() };
        let (first, second) = (of(&left), of(&right));
        let operation = *self.pick(&["UNION ALL", "UNION ALL", "UNION", "INTERSECT", "EXCEPT"]);
        let select = format!(
            "SELECT {} FROM {} {operation} SELECT {} FROM {}",
            Self::named(&first),
            left.from,
            Self::named(&second),
            right.from
        );
        self.derived(&select, &Self::kinds(&first), left.rows + right.rows)
    }

    fn relation(&mut self, depth: usize) -> Relation {
        if depth == 0 {
            return self.leaf();
        }
        let left_depth = self.rng.random_range(0..depth);
        let left = self.relation(left_depth);
        let right_depth = if self.percent(25) { depth - 1 - left_depth } else { 0 };
        let right = self.relation(right_depth);
        let (left, right) = if self.percent(50) { (left, right) } else { (right, left) };
        if left.rows * right.rows / 60.0 > JOIN_ROWS_MAX {
            return left;
        }
        self.joined(left, right)
    }

    fn joined(&mut self, left: Relation, right: Relation) -> Relation {
        let small = left.rows * right.rows < CROSS_ROWS_MAX * CROSS_ROWS_MAX / 16.0;
        let equality = self.equality(&left, &right);
        let other = if small && self.percent(12) { None } else { equality };
        let columns: Vec<Column> = left.columns.iter().chain(&right.columns).cloned().collect();
        let right_from = if right.from.contains(" JOIN ") { format!("({})", right.from) } else { right.from.clone() };
        let Some(mut condition) = other else {
            if !small {
                return left;
            }
            let rows = left.rows * right.rows;
            if self.percent(50) {
                return Relation { from: format!("{} CROSS JOIN {right_from}", left.from), columns, rows };
            }
            let kind = *self.pick(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
            let condition = self.comparison(&left, &right);
            return Relation { from: format!("{} {kind} {right_from} ON {condition}", left.from), columns, rows };
        };
        if self.percent(20)
            && let Some(second) = self.equality(&left, &right)
        {
            condition = format!("{condition} AND {second}");
        }
        if self.percent(25) {
            let extra = match self.rng.random_range(0..3) {
                0 => self.comparison(&left, &right),
                1 => self.condition(&left),
                _ => self.condition(&right),
            };
            condition = format!("{condition} AND {extra}");
        }
        let kind = *self.pick(&["JOIN", "JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
        let rows = (left.rows * right.rows / 50.0).max(left.rows).max(right.rows);
        Relation { from: format!("{} {kind} {right_from} ON {condition}", left.from), columns, rows }
    }

    /// `left.x = right.y` with columns of comparable types; often both are the keys.
    fn equality(&mut self, left: &Relation, right: &Relation) -> Option<String> {
        let keys_first = self.percent(60);
        let mut pairs = Vec::new();
        for a in &left.columns {
            for b in &right.columns {
                if a.kind.joins_with(b.kind) {
                    let weight = match (a.is_key, b.is_key) {
                        (true, true) => 12,
                        (true, false) | (false, true) => 4,
                        _ => 1,
                    };
                    pairs.extend(std::iter::repeat_n((a, b), if keys_first { weight } else { 1 }));
                }
            }
        }
        if pairs.is_empty() {
            return None;
        }
        let (a, b) = *self.pick(&pairs);
        let (left, right) = (&a.expression, &b.expression);
        Some(match (a.kind, self.rng.random_range(0..20)) {
            (Type::Number, 0) => format!("{left} + 1 = {right}"),
            (Type::Number, 1) => format!("abs({left} - 30) = {right}"),
            (Type::Number | Type::Decimal, 2) => format!("COALESCE({left}, 7) = COALESCE({right}, 7)"),
            (Type::Text, 0) => format!("upper({left}) = upper({right})"),
            (Type::Text, 1) => format!("COALESCE({left}, '') = {right}"),
            (_, 3) => format!("CASE WHEN {left} IS NULL THEN {right} ELSE {left} END = {right}"),
            _ => format!("{left} = {right}"),
        })
    }

    fn comparison(&mut self, left: &Relation, right: &Relation) -> String {
        let operator = *self.pick(&["<", "<=", ">", "<>"]);
        let pairs: Vec<(&Column, &Column)> = left
            .columns
            .iter()
            .flat_map(|a| right.columns.iter().filter(|b| a.kind.joins_with(b.kind)).map(move |b| (a, b)))
            .collect();
        match pairs.is_empty() {
            true => "1 = 1".to_owned(),
            false => {
                let (a, b) = *self.pick(&pairs);
                format!("{} {operator} {}", a.expression, b.expression)
            }
        }
    }
}
