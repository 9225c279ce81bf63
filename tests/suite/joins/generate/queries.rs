//! Whole queries over relations.

use super::{Column, Generator, Query, RAW_ROWS_MAX, Relation, Type};
use rand::Rng;
use rand::rngs::StdRng;

impl Generator<'_> {
    pub(super) fn source(&mut self) -> Relation {
        let depth = *self.pick(&[0, 1, 1, 1, 1, 2, 2, 3]);
        self.relation(depth)
    }

    /// A source whose rows can be sent to the client.
    pub(super) fn small_source(&mut self) -> Relation {
        for _ in 0..20 {
            let source = self.source();
            if source.rows <= RAW_ROWS_MAX {
                return source;
            }
        }
        self.base()
    }

    pub(super) fn rows_query(&mut self) -> String {
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

    pub(super) fn aggregate(&mut self, source: &Relation) -> String {
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

    pub(super) fn aggregates(&mut self, source: &Relation) -> String {
        let mut items = vec!["count(*) AS n".to_owned()];
        for nth in 0..self.rng.random_range(1..4) {
            items.push(format!("{} AS a{nth}", self.aggregate(source)));
        }
        items.join(", ")
    }

    pub(super) fn group_query(&mut self) -> String {
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

    pub(super) fn total_query(&mut self) -> String {
        let source = self.source();
        let aggregates = self.aggregates(&source);
        let filter = self.filter(&source);
        format!("SELECT {aggregates} FROM {}{filter}", source.from)
    }

    pub(super) fn window_query(&mut self) -> String {
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

    pub(super) fn set_query(&mut self) -> String {
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

    pub(super) fn top_query(&mut self) -> Query {
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

    pub(super) fn cte_query(&mut self) -> String {
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

    pub(super) fn distinct_query(&mut self) -> String {
        let source = self.source();
        let columns = self.some_columns(&source, 2);
        let filter = self.filter(&source);
        format!("SELECT DISTINCT {} FROM {}{filter}", Self::named(&columns), source.from)
    }
}
