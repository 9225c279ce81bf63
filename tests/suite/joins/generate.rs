//! Random queries over the tables of `world`.

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

    // Conditions

    fn condition(&mut self, relation: &Relation) -> String {
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

    fn literal(&mut self, kind: Type) -> String {
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
    fn filter(&mut self, relation: &Relation) -> String {
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

    fn subquery_condition(&mut self, outer: &Relation) -> String {
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

    // Queries

    fn source(&mut self) -> Relation {
        let depth = *self.pick(&[0, 1, 1, 1, 1, 2, 2, 3]);
        self.relation(depth)
    }

    /// A source whose rows can be sent to the client.
    fn small_source(&mut self) -> Relation {
        for _ in 0..20 {
            let source = self.source();
            if source.rows <= RAW_ROWS_MAX {
                return source;
            }
        }
        self.base()
    }

    fn rows_query(&mut self) -> String {
        let source = self.small_source();
        let count = self.rng.random_range(1..6);
        let columns = self.some_columns(&source, count);
        let mut items = Self::named(&columns);
        if self.percent(10) {
            let inner = self.base();
            items = format!("{items}, (SELECT max({}) FROM {}) AS top", inner.columns[8].expression, inner.from);
        }
        if self.percent(10) {
            let inner = self.leaf();
            if let Some(equality) = self.equality(&source, &inner) {
                let function = ["count", "max", "min"][self.rng.random_range(0..3)];
                let of = self.pick(&inner.columns).expression.clone();
                items = format!("{items}, (SELECT {function}({of}) FROM {} WHERE {equality}) AS of_it", inner.from);
            }
        }
        let filter = self.filter(&source);
        format!("SELECT {items} FROM {}{filter}", source.from)
    }

    fn aggregate(&mut self, source: &Relation) -> String {
        let column = self.pick(&source.columns).clone();
        let name = &column.expression;
        let sums = matches!(column.kind, Type::Number | Type::Decimal | Type::Float);
        match self.rng.random_range(0..7) {
            0 => "count(*)".to_owned(),
            1 => format!("count({name})"),
            2 => format!("count(DISTINCT {name})"),
            3 => format!("min({name})"),
            4 => format!("max({name})"),
            5 if sums && self.percent(20) => format!("sum(DISTINCT {name})"),
            _ if sums => format!("sum({name})"),
            _ => format!("max({name})"),
        }
    }

    fn aggregates(&mut self, source: &Relation) -> String {
        let mut items = vec!["count(*) AS n".to_owned()];
        for nth in 0..self.rng.random_range(1..4) {
            items.push(format!("{} AS a{nth}", self.aggregate(source)));
        }
        items.join(", ")
    }

    fn group_query(&mut self) -> String {
        let source = self.source();
        let count = self.rng.random_range(1..4);
        let groups = self.some_columns(&source, count);
        let aggregates = self.aggregates(&source);
        let filter = self.filter(&source);
        let mut names: Vec<&str> = groups.iter().map(|column| column.expression.as_str()).collect();
        names.dedup();
        let names = names.join(", ");
        let by = match self.rng.random_range(0..10) {
            0 => format!("ROLLUP ({names})"),
            1 => format!("CUBE ({names})"),
            2 => format!("GROUPING SETS (({names}), ())"),
            _ => names,
        };
        let having = match self.rng.random_range(0..10) {
            0..=1 => " HAVING count(*) > 1".to_owned(),
            2 => {
                let inner = self.leaf();
                format!(" HAVING count(*) > (SELECT count(*) FROM {} WHERE {})", inner.from, self.condition(&inner))
            }
            _ => String::new(),
        };
        format!("SELECT {}, {aggregates} FROM {}{filter} GROUP BY {by}{having}", Self::named(&groups), source.from)
    }

    fn total_query(&mut self) -> String {
        let source = self.source();
        let aggregates = self.aggregates(&source);
        let filter = self.filter(&source);
        format!("SELECT {aggregates} FROM {}{filter}", source.from)
    }

    fn window_query(&mut self) -> String {
        let source = self.small_source();
        let columns = self.some_columns(&source, 3);
        let numbers: Vec<Column> = source.columns.iter().filter(|column| column.kind == Type::Number).cloned().collect();
        let value = if numbers.is_empty() { "1".to_owned() } else { self.pick(&numbers).expression.clone() };
        let (key, order) = (&columns[0].expression, &columns[1].expression);
        // Rows that are equal in everything that orders them may come in any order.
        let total = format!("{order}, {}, {key}, {value}", columns[2].expression);
        let window = match self.rng.random_range(0..9) {
            6 => format!("lag({value}) OVER (PARTITION BY {key} ORDER BY {total})"),
            7 => format!("sum({value}) OVER (PARTITION BY {key} ORDER BY {total} ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)"),
            8 => format!("first_value({value}) OVER (PARTITION BY {order} ORDER BY {total})"),
            0 => format!("sum({value}) OVER ()"),
            1 => format!("sum({value}) OVER (ORDER BY {order})"),
            2 => format!("rank() OVER (PARTITION BY {key} ORDER BY {order})"),
            3 => format!("dense_rank() OVER (PARTITION BY {key}, {} ORDER BY {order} DESC)", columns[2].expression),
            4 => format!("sum({value}) OVER (PARTITION BY {key} ORDER BY {order})"),
            _ => format!("count(*) OVER (PARTITION BY {key})"),
        };
        let filter = self.filter(&source);
        format!("SELECT {}, {window} AS w FROM {}{filter}", Self::named(&columns), source.from)
    }

    fn set_query(&mut self) -> String {
        let (left, right) = (self.small_source(), self.small_source());
        let columns = self.some_columns(&left, 2);
        let mut other = Vec::new();
        for column in &columns {
            let like: Vec<Column> = right.columns.iter().filter(|c| c.kind == column.kind).cloned().collect();
            if like.is_empty() {
                return self.rows_query();
            }
            let key_at = like.iter().position(|c| c.is_key).filter(|_| self.percent(50));
            other.push(match key_at {
                Some(index) => like[index].clone(),
                None => self.pick(&like).clone(),
            });
        }
        let operations = ["UNION ALL", "UNION", "INTERSECT", "EXCEPT"];
        let operation = *self.pick(&operations);
        let (left_filter, right_filter) = (self.filter(&left), self.filter(&right));
        let union = format!(
            "SELECT {} FROM {}{left_filter} {operation} SELECT {} FROM {}{right_filter}",
            Self::named(&columns),
            left.from,
            Self::named(&other),
            right.from
        );
        let union = match self.percent(20) {
            true => format!("({union}) {} SELECT {} FROM {}", self.pick(&operations), Self::named(&columns), left.from),
            false => union,
        };
        match self.rng.random_range(0..3) {
            0 => format!("SELECT c0, count(*) AS n, max(c1) AS m FROM ({union}) AS u GROUP BY c0"),
            1 => format!("SELECT count(*) AS n, min(c0) AS m FROM ({union}) AS u"),
            _ => union,
        }
    }

    fn top_query(&mut self) -> Query {
        let source = self.source();
        let columns = self.some_columns(&source, 3);
        let filter = self.filter(&source);
        let direction = |rng: &mut StdRng| ["", " DESC", " DESC NULLS LAST", " NULLS FIRST"][rng.random_range(0..4)];
        let order: Vec<String> = (0..3).map(|nth| format!("c{nth}{}", direction(self.rng))).collect();
        let count = self.rng.random_range(0..50);
        let offset = if self.percent(30) { format!(" OFFSET {}", self.rng.random_range(0..20)) } else { String::new() };
        let select = format!("SELECT {} FROM {}{filter}", Self::named(&columns), source.from);
        match self.rng.random_range(0..10) {
            // A limit without an order: only how many is known.
            0..=1 => Query {
                sql: format!("SELECT count(*) AS n FROM ({select} LIMIT {count}) AS u"),
                ordered_columns: 1,
                all_rows_certain: true,
            },
            2..=3 => Query { sql: format!("{select} ORDER BY c0"), ordered_columns: 1, all_rows_certain: true },
            4..=5 => {
                Query { sql: format!("{select} ORDER BY c0 LIMIT {count}{offset}"), ordered_columns: 1, all_rows_certain: false }
            }
            _ => Query {
                sql: format!("{select} ORDER BY {} LIMIT {count}{offset}", order.join(", ")),
                ordered_columns: 3,
                all_rows_certain: true,
            },
        }
    }

    fn cte_query(&mut self) -> String {
        let source = self.small_source();
        let columns = self.some_columns(&source, 3);
        let filter = self.filter(&source);
        let kind = *self.pick(&["JOIN", "LEFT JOIN", "FULL JOIN"]);
        let aggregated = self.percent(50);
        let with = if aggregated {
            format!(
                "WITH x AS (SELECT {}, count(*) AS n FROM {}{filter} GROUP BY {}, {}, {})",
                Self::named(&columns),
                source.from,
                columns[0].expression,
                columns[1].expression,
                columns[2].expression
            )
        } else {
            format!("WITH x AS (SELECT {}, 1 AS n FROM {}{filter})", Self::named(&columns), source.from)
        };
        format!(
            "{with} SELECT a.c0 AS k, count(*) AS rows, sum(a.n) AS l, sum(b.n) AS r, min(b.c1) AS m FROM x AS a {kind} x AS b ON a.c0 = b.c0 GROUP BY a.c0"
        )
    }

    fn distinct_query(&mut self) -> String {
        let source = self.source();
        let columns = self.some_columns(&source, 2);
        let filter = self.filter(&source);
        format!("SELECT DISTINCT {} FROM {}{filter}", Self::named(&columns), source.from)
    }
}
