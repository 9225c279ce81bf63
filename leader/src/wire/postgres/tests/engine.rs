//! An engine for the tests: DataFusion for SELECT, and a few canned statements for what DataFusion does not do.

use crate::frontend::{Description, Engine, Outcome, Session, Statement};
use crate::users::ScramVerifier;
use arrow::array::{ArrayRef, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::execution::context::SessionContext;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use parking_lot::Mutex;
use pgwire::api::auth::sasl::scram::gen_salted_password;
use slipher_common::{Error, ErrorKind, Result, SqlType};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use tokio_util::sync::{CancellationToken, DropGuard};

pub const USER: &str = "admin";
pub const PASSWORD: &str = "correct horse";
/// Batches of 1,000 rows in the answer to BATCHES; much more than socket buffers hold.
pub const BATCHES: u64 = 3_000;
const SALT: &[u8] = b"0123456789abcdef";
const ITERATIONS: u32 = 4_096;

#[derive(Debug, Default)]
pub struct FakeEngine {
    /// Batches that BATCHES streams have produced.
    pub batches: Arc<AtomicU64>,
    /// Cancelled when a SLEEP's stream is dropped.
    pub sleep_dropped: CancellationToken,
}

impl Engine for FakeEngine {
    fn scram_verifier(&self, user: &str) -> Option<ScramVerifier> {
        let salted_password = gen_salted_password(PASSWORD, SALT, ITERATIONS as usize);
        (user == USER).then(|| ScramVerifier::of_salted_password(ITERATIONS, SALT.to_vec(), &salted_password))
    }

    fn check_password(&self, _: &str, _: &str) -> Result<()> {
        Err(Error::internal("SCRAM is used"))
    }

    fn open_session(&self, user: &str, database: &str, application_name: &str) -> Result<Arc<dyn Session>> {
        if database != "dev" {
            return Err(Error::new(ErrorKind::UndefinedDatabase, format!("database \"{database}\" does not exist")));
        }
        let settings = HashMap::from([("application_name", application_name), ("timezone", "UTC"), ("search_path", "public")]);
        Ok(Arc::new(FakeSession {
            user: user.to_owned(),
            context: context(),
            settings: Mutex::new(settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()),
            status: AtomicU8::new(b'I'),
            cancel: Mutex::default(),
            batches: Arc::clone(&self.batches),
            sleep_dropped: self.sleep_dropped.clone(),
        }))
    }
}

#[derive(Debug)]
struct FakeSession {
    user: String,
    context: Context,
    settings: Mutex<HashMap<String, String>>,
    status: AtomicU8,
    cancel: Mutex<CancellationToken>,
    batches: Arc<AtomicU64>,
    sleep_dropped: CancellationToken,
}

struct Context(SessionContext);

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Context")
    }
}

/// One table, `types`, whose fields remember their SQL types.
fn context() -> Context {
    let context = SessionContext::new();
    let decimals = Decimal128Array::from(vec![Some(1230), None]).with_precision_and_scale(10, 2).unwrap();
    let timestamps = TimestampMicrosecondArray::from(vec![Some(1_704_164_645_123_000), None]);
    let columns: Vec<(SqlType, &str, ArrayRef)> = vec![
        (SqlType::BigInt, "b", Arc::new(Int64Array::from(vec![1, 2]))),
        (SqlType::Char(5), "c", Arc::new(StringViewArray::from(vec![Some("ab"), None]))),
        (SqlType::VarChar(20), "v", Arc::new(StringViewArray::from(vec![Some("é"), None]))),
        (SqlType::Decimal { precision: 10, scale: 2 }, "n", Arc::new(decimals)),
        (SqlType::Date, "d", Arc::new(Date32Array::from(vec![Some(19_724), None]))),
        (SqlType::Timestamp, "t", Arc::new(timestamps.clone())),
        (SqlType::TimestampTz, "tz", Arc::new(timestamps.with_timezone("UTC"))),
    ];
    let fields: Vec<Field> = columns.iter().map(|(sql_type, name, _)| sql_type.to_field(name, true)).collect();
    let arrays = columns.into_iter().map(|(_, _, values)| values).collect();
    context.register_batch("types", RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()).unwrap();
    Context(context)
}

fn done(tag: &str, notices: Vec<String>) -> Outcome {
    Outcome::Done { tag: tag.to_owned(), rows: None, notices }
}

fn number_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("number", DataType::Int64, false)]))
}

fn number_batch(range: std::ops::Range<i64>) -> RecordBatch {
    RecordBatch::try_new(number_schema(), vec![Arc::new(Int64Array::from_iter_values(range))]).unwrap()
}

fn rows(stream: impl futures::Stream<Item = Result<RecordBatch, DataFusionError>> + Send + 'static) -> Outcome {
    let stream: SendableRecordBatchStream = Box::pin(RecordBatchStreamAdapter::new(number_schema(), stream));
    Outcome::Rows { schema: number_schema(), stream, tag: "SELECT" }
}

impl FakeSession {
    fn parameter_types(&self, text: &str, declared: &[Option<SqlType>]) -> Vec<SqlType> {
        let count = (1..10).take_while(|number| text.contains(&format!("${number}"))).count();
        (0..count).map(|index| declared.get(index).copied().flatten().unwrap_or(SqlType::BigInt)).collect()
    }

    async fn plan(&self, statement: &Statement) -> Result<datafusion::dataframe::DataFrame> {
        match statement.text.find("no_such") {
            // Every error names its place.
            Some(at) => {
                let error = Error::new(ErrorKind::UndefinedColumn, "column \"no_such\" does not exist");
                Err(error.with_hint("did you mean \"b\"?").at(statement.text[..at].chars().count() + 1))
            }
            None => Ok(self.context.0.sql(&statement.text).await?),
        }
    }

    fn canned(&self, text: &str) -> Option<Result<Outcome>> {
        let mut words = text.split_whitespace();
        let set_status = |status, tag| {
            self.status.store(status, Ordering::SeqCst);
            Some(Ok(done(tag, vec![])))
        };
        match words.next()? {
            "BEGIN" => set_status(b'T', "BEGIN"),
            "COMMIT" => set_status(b'I', "COMMIT"),
            "NOTICE" => Some(Ok(done("CREATE TABLE", vec!["mind the gap".to_owned()]))),
            "SET" => {
                let (name, value) = (words.next()?, words.nth(1)?);
                Some(self.set_setting(name, value).map(|()| done("SET", vec![])))
            }
            "BROKEN" => {
                let error = Error::new(ErrorKind::DivisionByZero, "division by zero").at(3);
                Some(Ok(rows(futures::stream::iter([Ok(number_batch(0..3)), Err(error.into())]))))
            }
            "PANIC" => Some(Ok(rows(futures::stream::once(async { panic!("a defect in the engine") })))),
            "BATCHES" => Some(Ok(self.batches())),
            "SLEEP" => Some(Ok(self.sleep())),
            _ => None,
        }
    }

    fn batches(&self) -> Outcome {
        let produced = Arc::clone(&self.batches);
        rows(futures::stream::iter(0..BATCHES as i64).map(move |index| {
            produced.fetch_add(1, Ordering::SeqCst);
            Ok(number_batch(index * 1_000..index * 1_000 + 1_000))
        }))
    }

    fn sleep(&self) -> Outcome {
        let cancelled = self.cancel.lock().clone();
        let guard: DropGuard = self.sleep_dropped.clone().drop_guard();
        rows(futures::stream::once(async move {
            let _guard = guard;
            cancelled.cancelled().await;
            Err(Error::new(ErrorKind::QueryCanceled, "canceling statement due to user request").into())
        }))
    }
}

#[async_trait]
impl Session for FakeSession {
    async fn catalog(&self) -> Result<crate::frontend::CatalogListing> {
        Ok(crate::frontend::CatalogListing::default())
    }

    fn parse(&self, sql: &str) -> Result<Vec<Statement>> {
        let mut offset = 0;
        let mut statements = Vec::new();
        for part in sql.split(';') {
            let blanks = part.chars().count() - part.trim_start().chars().count();
            if !part.trim().is_empty() {
                let parsed = Arc::new(slipher_sql::Parsed::Discard { all: true, temporary: true });
                statements.push(Statement { text: part.trim().into(), offset: offset + blanks, parsed });
            }
            offset += part.chars().count() + 1;
        }
        Ok(statements)
    }

    async fn describe(&self, statement: &Statement, declared: &[Option<SqlType>]) -> Result<Description> {
        let parameters = self.parameter_types(&statement.text, declared);
        let rows = match statement.text.to_uppercase().split_whitespace().next() {
            Some("SELECT") => {
                let values = parameters.iter().map(|sql_type| ScalarValue::try_from(&sql_type.to_arrow()).unwrap());
                let plan = self.plan(statement).await?.with_param_values(ParamValues::from(values.collect::<Vec<_>>()))?;
                Some(Arc::new(plan.schema().as_arrow().clone()))
            }
            Some("BATCHES" | "SLEEP") => Some(number_schema()),
            _ => None,
        };
        Ok(Description { parameters, rows })
    }

    async fn execute(&self, statement: &Statement, parameters: Vec<ScalarValue>) -> Result<Outcome> {
        *self.cancel.lock() = CancellationToken::new();
        if let Some(outcome) = self.canned(&statement.text) {
            return outcome;
        }
        let plan = self.plan(statement).await?.with_param_values(ParamValues::from(parameters))?;
        let schema = Arc::new(plan.schema().as_arrow().clone());
        Ok(Outcome::Rows { schema, stream: plan.execute_stream().await?, tag: "SELECT" })
    }

    async fn ingest(&self, _: Option<&str>, _: &str, _: SendableRecordBatchStream) -> Result<u64> {
        Err(Error::internal("not used"))
    }

    fn process_id(&self) -> i32 {
        1
    }

    fn cancel(&self) {
        self.cancel.lock().cancel();
    }

    fn setting(&self, name: &str) -> Option<String> {
        self.settings.lock().get(name).cloned()
    }

    fn set_setting(&self, name: &str, value: &str) -> Result<()> {
        self.settings.lock().insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    fn database(&self) -> &str {
        "dev"
    }

    fn user(&self) -> &str {
        &self.user
    }

    fn transaction_status(&self) -> u8 {
        self.status.load(Ordering::SeqCst)
    }
}
