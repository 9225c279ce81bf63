//! Runs `tests/slt/**/*.slt` against real processes, once with one compute node and once with three.
//!
//! A column is written with one letter of its type: I integer, N numeric, R floating point, B boolean, T text, D date,
//! O time, P timestamp, Z with a time zone. Values of a row are separated by `|`; NULL is `NULL`, an empty string
//! `(empty)`, and a value with blanks at an end stands in single quotes. An error is written as SQLSTATE and message, then
//! DETAIL, HINT and POSITION on lines of their own where there are any.
//!
//! `types of SELECT ...` answers one row: what a client is told of the columns' types, `int4` or `numeric(17,9)`.
//!
//! `UPDATE_SLT=1 cargo test --test suite slt::one` writes what the system answers into the files; read the difference before
//! you keep it. `SLT_FILTER=text` runs only files whose path contains the text.

use super::harness::{Cluster, PASSWORD, in_project};
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use async_trait::async_trait;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::WriterProperties;
use sqllogictest::{AsyncDB, ColumnType, DBOutput, Normalizer, Runner, TestErrorKind};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

const VALUE_SEPARATOR: &str = "|";
/// Rows of each Parquet file that COPY reads.
const PARQUET_FILE_ROWS: i64 = 1000;

/// One letter for a column's type.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Letter(char);

impl ColumnType for Letter {
    fn from_char(value: char) -> Option<Self> {
        "INRBTDOPZ?".contains(value).then_some(Self(value))
    }

    fn to_char(&self) -> char {
        self.0
    }
}

impl From<&Type> for Letter {
    fn from(column_type: &Type) -> Self {
        Self(match *column_type {
            Type::INT2 | Type::INT4 | Type::INT8 => 'I',
            Type::NUMERIC => 'N',
            Type::FLOAT4 | Type::FLOAT8 => 'R',
            Type::BOOL => 'B',
            Type::VARCHAR | Type::BPCHAR | Type::TEXT | Type::NAME => 'T',
            Type::DATE => 'D',
            Type::TIME => 'O',
            Type::TIMESTAMP => 'P',
            Type::TIMETZ | Type::TIMESTAMPTZ => 'Z',
            _ => '?',
        })
    }
}

/// An error as the files show it.
#[derive(Debug)]
struct SqlError {
    error: tokio_postgres::Error,
    /// Shown as `LOAD_DIR`.
    load_dir: String,
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(error) = self.error.as_db_error() else { return write!(f, "{}", self.error) };
        write!(f, "{}: {}", error.code().code(), self.stable(error.message()))?;
        for (name, text) in [("DETAIL", error.detail()), ("HINT", error.hint())] {
            if let Some(text) = text {
                write!(f, "\n{name}: {}", self.stable(text))?;
            }
        }
        match error.position() {
            Some(tokio_postgres::error::ErrorPosition::Original(position)) => write!(f, "\nPOSITION: {position}"),
            _ => Ok(()),
        }
    }
}

impl SqlError {
    /// The text without what differs from run to run: where the load directory is, and which of the parts that run at
    /// the same time met the bad row first.
    fn stable(&self, text: &str) -> String {
        let text = text.replace(&self.load_dir, "LOAD_DIR");
        match (text.find("row "), text.find(" of the source")) {
            (Some(from), Some(until)) if from < until && text[from..until].contains(" of part ") => {
                format!("{}row N of part P{}", &text[..from], &text[until..])
            }
            _ => text,
        }
    }
}

impl std::error::Error for SqlError {}

/// One connection of a file.
struct Connection {
    client: Client,
    load_dir: String,
}

impl Connection {
    async fn open(port: u16, load_dir: String) -> Result<Self, SqlError> {
        let parameters = format!("host=127.0.0.1 port={port} user=admin password={PASSWORD} dbname=dev connect_timeout=10");
        match tokio_postgres::connect(&parameters, NoTls).await {
            Ok((client, connection)) => {
                tokio::spawn(connection);
                Ok(Self { client, load_dir })
            }
            Err(error) => Err(SqlError { error, load_dir }),
        }
    }

    fn explain(&self, error: tokio_postgres::Error) -> SqlError {
        SqlError { error, load_dir: self.load_dir.clone() }
    }
}

#[async_trait]
impl AsyncDB for Connection {
    type Error = SqlError;
    type ColumnType = Letter;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<Letter>, SqlError> {
        // Preparing gives the types; the simple protocol gives every value as text.
        let told = sql.strip_prefix("types of ");
        let prepared = match self.client.prepare(told.unwrap_or(sql)).await {
            // The client looks types up that it does not know itself, like SUPER.
            Err(error) if told.is_none() && is_about_types(&error) => None,
            other => Some(other.map_err(|error| self.explain(error))?),
        };
        if let (Some(prepared), true) = (&prepared, told.is_some()) {
            let names: Vec<String> = prepared.columns().iter().map(full_name).collect();
            return Ok(DBOutput::Rows { types: vec![Letter('T'); names.len()], rows: vec![names] });
        }
        let letter = |column: &tokio_postgres::Column| Letter::from(column.type_());
        let types: Option<Vec<Letter>> = prepared.map(|prepared| prepared.columns().iter().map(letter).collect());
        let messages = self.client.simple_query(sql).await.map_err(|error| self.explain(error))?;
        let (mut rows, mut complete, mut columns) = (Vec::new(), 0, 0);
        for message in messages {
            match message {
                SimpleQueryMessage::Row(row) => rows.push((0..row.len()).map(|i| show(row.get(i))).collect()),
                SimpleQueryMessage::CommandComplete(count) => complete = count,
                SimpleQueryMessage::RowDescription(described) => columns = described.len(),
                _ => {}
            }
        }
        let types = types.unwrap_or_else(|| vec![Letter('?'); columns]);
        Ok(if types.is_empty() { DBOutput::StatementComplete(complete) } else { DBOutput::Rows { types, rows } })
    }

    async fn shutdown(&mut self) {}

    async fn sleep(duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// Whether the client failed when it looked a type up.
fn is_about_types(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|error| error.message().contains("pg_type") || error.message().contains("pg_catalog"))
}

/// A type with what its modifier says.
fn full_name(column: &tokio_postgres::Column) -> String {
    let (name, modifier) = (column.type_().name(), column.type_modifier() - 4);
    match *column.type_() {
        Type::NUMERIC if modifier >= 0 => format!("{name}({},{})", modifier >> 16, modifier & 0xffff),
        Type::VARCHAR | Type::BPCHAR if modifier >= 0 => format!("{name}({modifier})"),
        _ => name.to_owned(),
    }
}

fn show(value: Option<&str>) -> String {
    match value {
        None => "NULL".to_owned(),
        Some("") => "(empty)".to_owned(),
        Some(text) if text.trim() != text => format!("'{text}'"),
        Some(text) => text.replace('\n', "\\n"),
    }
}

fn same_rows(_: Normalizer, actual: &[Vec<String>], expected: &[String]) -> bool {
    actual.iter().map(|row| row.join(VALUE_SEPARATOR)).eq(expected.iter().cloned())
}

fn same_types(actual: &Vec<Letter>, expected: &Vec<Letter>) -> bool {
    actual == expected
}

fn slt_dir() -> PathBuf {
    in_project("tests/slt")
}

/// What COPY reads: the files beside the tests, one of them compressed, and Parquet files.
fn write_load_files(load_dir: &Path) {
    let copied = Command::new("cp").arg("-r").arg(slt_dir().join("files/.")).arg(load_dir).status().expect("starting cp");
    assert!(copied.success(), "copying tests/slt/files");
    let compressed = Command::new("gzip").arg("-k").arg(load_dir.join("crlf.csv")).status().expect("starting gzip");
    assert!(compressed.success(), "compressing a file");
    write_bytes_file(load_dir);
    std::fs::create_dir(load_dir.join("parquet")).expect("a directory");
    for part in 0..3 {
        let batch = parquet_rows(part * PARQUET_FILE_ROWS + 1);
        let file = std::fs::File::create(load_dir.join(format!("parquet/part-{part}.parquet"))).expect("a file");
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(300)).build();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).expect("a writer");
        writer.write(&batch).expect("writing rows");
        writer.close().expect("closing the file");
    }
}

/// A Parquet file whose column is not said to be text; the second value is none.
fn write_bytes_file(load_dir: &Path) {
    let columns: [(&str, ArrayRef); 2] = [
        ("id", Arc::new(Int64Array::from(vec![1, 2]))),
        ("name", Arc::new(BinaryArray::from(vec![&b"text"[..], &b"\xff\xfe"[..]]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("a batch");
    std::fs::create_dir(load_dir.join("parquet_bytes")).expect("a directory");
    let file = std::fs::File::create(load_dir.join("parquet_bytes/bytes.parquet")).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("writing rows");
    writer.close().expect("closing the file");
}

/// Rows with ids from `first` on; every tenth is NULL but for its id.
fn parquet_rows(first: i64) -> RecordBatch {
    let ids: Vec<i64> = (first..first + PARQUET_FILE_ROWS).collect();
    let some = |id: &i64| (id % 10 != 0).then_some(*id);
    let amounts = ids.iter().map(|id| some(id).map(i128::from)).collect::<Decimal128Array>();
    let columns: [(&str, ArrayRef); 7] = [
        ("id", Arc::new(Int64Array::from(ids.clone()))),
        ("name", Arc::new(ids.iter().map(|id| some(id).map(|id| format!("name {id}"))).collect::<StringArray>())),
        ("amount", Arc::new(amounts.with_precision_and_scale(12, 2).expect("digits"))),
        ("day", Arc::new(ids.iter().map(|id| some(id).map(|id| id as i32)).collect::<Date32Array>())),
        ("moment", Arc::new(ids.iter().map(|id| some(id).map(|id| id * 1000)).collect::<TimestampMillisecondArray>())),
        ("flag", Arc::new(ids.iter().map(|id| some(id).map(|id| id % 2 == 0)).collect::<BooleanArray>())),
        ("ratio", Arc::new(ids.iter().map(|id| some(id).map(|id| id as f64 / 2.0)).collect::<Float64Array>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, name != "id"))).expect("a batch")
}

/// Every `.slt` file below `dir`, in order.
fn find_slt(dir: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(dir).expect("tests/slt").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            find_slt(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "slt") {
            found.push(path);
        }
    }
}

/// Runs one file to its end; answers what differs.
async fn run_file(path: &Path, cluster: &Cluster, update: bool) -> Vec<String> {
    let load_dir = cluster.load_dir().to_string_lossy().into_owned();
    let mut runner = Runner::new(|| Connection::open(cluster.pg_port, load_dir.clone()));
    runner.with_validator(same_rows);
    runner.with_column_validator(same_types);
    if update {
        let updated = runner.update_test_file(path, VALUE_SEPARATOR, same_rows, |text| text.clone(), same_types).await;
        return updated.err().map(|error| error.to_string()).into_iter().collect();
    }
    let records = match sqllogictest::parse_file::<Letter>(path) {
        Ok(records) => records,
        Err(error) => return vec![error.to_string()],
    };
    let mut differences = Vec::new();
    for record in records {
        if let Err(error) = runner.run_async(record).await {
            differences.push(format!("{}\n{}", error.location(), explain(&error.kind())));
        }
    }
    differences
}

fn explain(kind: &TestErrorKind) -> String {
    match kind {
        TestErrorKind::QueryResultMismatch { sql, expected, actual } => {
            format!("{sql}\n--- expected\n{expected}\n--- actual\n{actual}")
        }
        TestErrorKind::QueryResultColumnsMismatch { sql, expected, actual } => {
            format!("{sql}\ncolumn types: expected {expected}, actual {actual}")
        }
        TestErrorKind::ErrorMismatch { sql, err, expected_err, .. } => {
            format!("{sql}\n--- expected error\n{expected_err}\n--- actual error\n{err}")
        }
        other => other.to_string(),
    }
}

async fn run_all(node_count: usize) {
    let update = std::env::var("UPDATE_SLT").is_ok_and(|value| value == "1");
    if update && node_count > 1 {
        eprintln!("UPDATE_SLT: the files are being written by the test with one node");
        return;
    }
    let mut files = Vec::new();
    find_slt(&slt_dir(), &mut files);
    if let Ok(filter) = std::env::var("SLT_FILTER") {
        files.retain(|path| path.to_string_lossy().contains(&filter));
    }
    assert!(!files.is_empty(), "no .slt file");
    let cluster = Cluster::start(node_count);
    write_load_files(&cluster.load_dir());
    let mut report = String::new();
    for path in &files {
        let differences = run_file(path, &cluster, update).await;
        differences.iter().for_each(|difference| report.push_str(&format!("\n{difference}\n")));
    }
    assert!(report.is_empty(), "with {node_count} compute node(s):\n{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_compute_node() {
    run_all(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_compute_nodes() {
    run_all(3).await;
}
