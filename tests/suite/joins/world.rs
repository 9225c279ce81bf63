//! Random tables, the same in a cluster and in the oracle.

use crate::oracle::Oracle;
use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Float64Array, Int16Array, Int32Array, Int64Array, RecordBatch, StringViewArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use rand::Rng;
use rand::rngs::StdRng;
use std::sync::Arc;
use tokio_postgres::Client;

/// Values of keys are below this, so that tables of some hundred rows have duplicates and partners.
const KEY_VALUES: i64 = 60;
/// How many of a hundred keys are NULL.
const NULLS_PERCENT: u32 = 8;
/// How many of a hundred keys are the one value that all tables have often.
const COMMON_PERCENT: u32 = 4;

/// How a table is distributed and how many rows it has.
#[derive(Clone, Debug)]
pub struct TableSpec {
    pub name: String,
    /// The DISTKEY; `None` for EVEN and ALL.
    pub key: Option<&'static str>,
    pub all: bool,
    pub rows: usize,
}

/// The tables of the tests: KEY on every key type, EVEN and ALL; empty ones, tiny ones, and ones of several segments per slice.
pub fn tables() -> Vec<TableSpec> {
    let key = |name: &str, key, rows| TableSpec { name: name.to_owned(), key: Some(key), all: false, rows };
    let other = |name: &str, all, rows| TableSpec { name: name.to_owned(), key: None, all, rows };
    vec![
        key("k_i2", "i2", 90),
        key("k_i4", "i4", 300),
        key("k_i4b", "i4", 120),
        key("k_i8", "i8", 250),
        key("k_d", "d", 200),
        key("k_s", "s", 220),
        key("k_sb", "s", 40),
        key("k_dt", "dt", 150),
        key("k_dtb", "dt", 60),
        key("k_one", "i4", 1),
        key("k_none", "i8", 0),
        other("e_a", false, 180),
        other("e_b", false, 12),
        other("a_a", true, 70),
        other("a_b", true, 9),
        other("a_none", true, 0),
    ]
}

/// Its columns: every table has all of them.
pub const DDL_COLUMNS: &str =
    "id int, i2 smallint, i4 int, i8 bigint, d decimal(12,2), s varchar(20), dt date, f double precision, v int";

#[derive(Clone, Debug)]
struct Row {
    id: i32,
    i2: Option<i16>,
    i4: Option<i32>,
    i8: Option<i64>,
    d: Option<i128>,
    s: Option<String>,
    dt: Option<i32>,
    f: Option<f64>,
    v: Option<i32>,
}

fn key(rng: &mut StdRng) -> Option<i64> {
    match rng.random_range(0..100) {
        n if n < NULLS_PERCENT => None,
        n if n < NULLS_PERCENT + COMMON_PERCENT => Some(7),
        _ => Some(rng.random_range(0..KEY_VALUES)),
    }
}

fn row(rng: &mut StdRng, id: usize) -> Row {
    Row {
        id: id as i32,
        i2: key(rng).map(|key| key as i16),
        i4: key(rng).map(|key| key as i32),
        i8: key(rng),
        // Some are whole numbers, which integers equal.
        d: key(rng).map(|key| i128::from(key) * if rng.random_bool(0.7) { 100 } else { 25 }),
        s: key(rng).map(|key| match key {
            0 => String::new(),
            // Equal to what has no blank behind it.
            3 if rng.random_bool(0.5) => "s3 ".to_owned(),
            _ => format!("s{key}"),
        }),
        dt: key(rng).map(|key| 10_000 + key as i32),
        // Quarters: sums are exact in any order.
        f: key(rng).map(|key| (key - 20) as f64 * 0.25),
        v: (!rng.random_bool(0.1)).then(|| rng.random_range(-20..100)),
    }
}

fn schema() -> SchemaRef {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        field("id", DataType::Int32),
        field("i2", DataType::Int16),
        field("i4", DataType::Int32),
        field("i8", DataType::Int64),
        field("d", DataType::Decimal128(12, 2)),
        field("s", DataType::Utf8View),
        field("dt", DataType::Date32),
        field("f", DataType::Float64),
        field("v", DataType::Int32),
    ]))
}

fn batch(rows: &[Row]) -> RecordBatch {
    let decimals = rows.iter().map(|row| row.d).collect::<Decimal128Array>();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| Some(row.id)).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|row| row.i2).collect::<Int16Array>()),
        Arc::new(rows.iter().map(|row| row.i4).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|row| row.i8).collect::<Int64Array>()),
        Arc::new(decimals.with_precision_and_scale(12, 2).expect("a decimal type")),
        Arc::new(rows.iter().map(|row| row.s.as_deref().map(without_blanks)).collect::<StringViewArray>()),
        Arc::new(rows.iter().map(|row| row.dt).collect::<Date32Array>()),
        Arc::new(rows.iter().map(|row| row.f).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| row.v).collect::<Int32Array>()),
    ];
    RecordBatch::try_new(schema(), columns).expect("a batch")
}

/// The oracle's strings: it would see the blanks in comparisons.
pub fn without_blanks(text: &str) -> &str {
    text.trim_end_matches(' ')
}

fn literals(row: &Row) -> String {
    fn value<T: ToString>(value: Option<T>) -> String {
        value.map_or_else(|| "NULL".to_owned(), |value| value.to_string())
    }
    let date = row.dt.map(|days| format!("'{}'", arrow::temporal_conversions::date32_to_datetime(days).expect("a date").date()));
    let values = [
        row.id.to_string(),
        value(row.i2),
        value(row.i4),
        value(row.i8),
        value(row.d.map(|cents| format!("{}.{:02}", cents / 100, cents % 100))),
        value(row.s.as_ref().map(|text| format!("'{text}'"))),
        value(date),
        value(row.f),
        value(row.v),
    ];
    format!("({})", values.join(","))
}

/// Fills the oracle, and answers the statements that make and fill the same tables in a cluster.
pub fn make(rng: &mut StdRng, oracle: &Oracle) -> Vec<String> {
    let mut statements = Vec::new();
    for table in tables() {
        let style = match (table.key, table.all) {
            (Some(key), _) => format!("DISTKEY({key})"),
            (None, true) => "DISTSTYLE ALL".to_owned(),
            (None, false) => "DISTSTYLE EVEN".to_owned(),
        };
        statements.push(format!("CREATE TABLE {} ({DDL_COLUMNS}) {style}", table.name));
        let rows: Vec<Row> = (0..table.rows).map(|id| row(rng, id)).collect();
        oracle.add(&table.name, schema(), vec![batch(&rows)]);
        // Several loads: slices have several segments.
        for part in rows.chunks(rows.len().div_ceil(2).max(10)) {
            let values: Vec<String> = part.iter().map(literals).collect();
            statements.push(format!("INSERT INTO {} VALUES {}", table.name, values.join(",")));
        }
    }
    statements
}

/// Runs the statements of [`make`].
pub async fn load(client: &Client, statements: &[String]) {
    for statement in statements {
        let told = client.batch_execute(statement).await;
        told.unwrap_or_else(|error| panic!("{}: {error:?}", statement.chars().take(200).collect::<String>()));
    }
}
