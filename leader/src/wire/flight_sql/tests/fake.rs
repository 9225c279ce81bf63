//! An engine for tests: DataFusion in this process behind the session traits.

use crate::frontend::{CALL, CatalogListing, Description, Engine, Outcome, Session, Statement, TableKind, TableListing};
use crate::users::ScramVerifier;
use arrow::array::Int64Array;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::common::ScalarValue;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::{StreamExt as _, stream};
use parking_lot::Mutex;
use slipher_common::catalog::{Column, Constraint, ConstraintKind, Distribution, SortStyle, Table};
use slipher_common::ids::{ColumnId, TableId};
use slipher_common::{Error, ErrorKind, Result, SqlType};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio_util::sync::CancellationToken;

/// What the sessions of one engine share.
#[derive(Default)]
pub(in crate::wire) struct FakeEngine {
    pub(super) context: SessionContext,
    /// Texts of all statements that ran.
    pub(super) ran: Arc<Mutex<Vec<String>>>,
    /// Endless results that were dropped.
    pub(super) dropped_count: Arc<AtomicUsize>,
    /// Statements whose call went away.
    pub(super) cancelled_count: Arc<AtomicUsize>,
}

impl std::fmt::Debug for FakeEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FakeEngine")
    }
}

impl FakeEngine {
    pub(in crate::wire) fn new() -> Arc<Self> {
        let config = SessionConfig::new().with_default_catalog_and_schema("dev", "public").with_information_schema(false);
        Arc::new(Self { context: SessionContext::new_with_config(config), ..Default::default() })
    }
}

impl Engine for FakeEngine {
    fn scram_verifier(&self, _user: &str) -> Option<ScramVerifier> {
        None
    }

    fn check_password(&self, user: &str, password: &str) -> Result<()> {
        match (user, password) {
            ("admin", "secret") | ("other", "secret2") => Ok(()),
            _ => {
                let message = format!("password authentication failed for user \"{user}\"");
                Err(Error::new(ErrorKind::InvalidPassword, message))
            }
        }
    }

    fn open_session(&self, user: &str, database: &str, _application_name: &str) -> Result<Arc<dyn Session>> {
        if database != "dev" {
            return Err(Error::new(ErrorKind::UndefinedDatabase, format!("database \"{database}\" does not exist")));
        }
        Ok(Arc::new(FakeSession {
            user: user.to_owned(),
            context: self.context.clone(),
            ran: self.ran.clone(),
            dropped_count: self.dropped_count.clone(),
            cancelled_count: self.cancelled_count.clone(),
            status: Mutex::new(b'I'),
        }))
    }
}

struct FakeSession {
    user: String,
    context: SessionContext,
    ran: Arc<Mutex<Vec<String>>>,
    dropped_count: Arc<AtomicUsize>,
    cancelled_count: Arc<AtomicUsize>,
    status: Mutex<u8>,
}

impl std::fmt::Debug for FakeSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FakeSession")
    }
}

/// The endpoint never looks into what the parser made; any value does.
fn parsed() -> Arc<slipher_sql::Parsed> {
    Arc::new(slipher_sql::Parsed::Discard { all: true, temporary: true })
}

struct CountDrop(Arc<AtomicUsize>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl FakeSession {
    async fn plan(&self, statement: &Statement) -> Result<LogicalPlan> {
        // DataFusion knows only the short name.
        let text = statement.text.replace("character varying", "varchar");
        let planned = self.context.state().create_logical_plan(&text).await;
        planned.map_err(|error| {
            let text = error.strip_backtrace();
            match text.split_once("table '").and_then(|(_, rest)| rest.split_once("' not found")) {
                Some((name, _)) => Error::new(ErrorKind::UndefinedTable, format!("table \"{name}\" does not exist"))
                    .with_hint("did you mean \"n\"?")
                    .at(15),
                None => error.into(),
            }
        })
    }

    fn endless(&self) -> SendableRecordBatchStream {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let state = (CountDrop(self.dropped_count.clone()), schema.clone());
        let batches = stream::unfold(state, |state| async move {
            let batch = RecordBatch::try_new(state.1.clone(), vec![Arc::new(Int64Array::from(vec![7; 4096]))]).unwrap();
            tokio::task::yield_now().await;
            Some((Ok::<_, DataFusionError>(batch), state))
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, batches))
    }

    /// Statements that DataFusion does not have.
    async fn special(&self, text: &str) -> Option<Result<Outcome>> {
        let done = |tag: &str| Some(Ok(Outcome::Done { tag: tag.to_owned(), rows: None, notices: Vec::new() }));
        match text {
            "BEGIN" => *self.status.lock() = b'T',
            "COMMIT" | "ROLLBACK" => *self.status.lock() = b'I',
            "NOTICE" => {
                let notices = vec!["mind the gap".to_owned()];
                return Some(Ok(Outcome::Done { tag: "NOTICE".to_owned(), rows: None, notices }));
            }
            "SLOW" => {
                let call = CALL.try_with(CancellationToken::clone).expect("a call that can go away");
                call.cancelled().await;
                self.cancelled_count.fetch_add(1, Ordering::SeqCst);
                return Some(Err(Error::new(ErrorKind::QueryCanceled, "canceled")));
            }
            "SHOW ENDLESS" => {
                let stream = self.endless();
                return Some(Ok(Outcome::Rows { schema: stream.schema(), stream, tag: "SHOW" }));
            }
            _ => return None,
        }
        done(text)
    }
}

fn special_description(text: &str) -> Option<Description> {
    let rows = match text {
        "BEGIN" | "COMMIT" | "ROLLBACK" | "SLOW" | "NOTICE" => None,
        "SHOW ENDLESS" => Some(Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))),
        _ => return None,
    };
    Some(Description { parameters: Vec::new(), rows })
}

#[async_trait]
impl Session for FakeSession {
    fn parse(&self, sql: &str) -> Result<Vec<Statement>> {
        let texts = sql.split(';').map(str::trim).filter(|text| !text.is_empty());
        Ok(texts.map(|text| Statement { text: Arc::from(text), offset: 0, parsed: parsed() }).collect())
    }

    async fn describe(&self, statement: &Statement, declared: &[Option<SqlType>]) -> Result<Description> {
        if let Some(description) = special_description(&statement.text) {
            return Ok(description);
        }
        let plan = self.plan(statement).await?;
        let inferred = plan.get_parameter_types()?;
        let parameters = (0..inferred.len()).map(|index| {
            let inferred = inferred.get(&format!("${}", index + 1)).cloned().flatten();
            match (declared.get(index).copied().flatten(), inferred) {
                (Some(declared), _) => Ok(declared),
                (None, Some(inferred)) => SqlType::from_arrow(&inferred),
                (None, None) => Ok(SqlType::VarChar(256)),
            }
        });
        let parameters = parameters.collect::<Result<_>>()?;
        let without_rows = matches!(plan, LogicalPlan::Ddl(_) | LogicalPlan::Dml(_));
        Ok(Description { parameters, rows: (!without_rows).then(|| Arc::new(plan.schema().as_arrow().clone())) })
    }

    async fn execute(&self, statement: &Statement, parameters: Vec<ScalarValue>) -> Result<Outcome> {
        self.ran.lock().push(statement.text.to_string());
        if let Some(outcome) = self.special(&statement.text).await {
            return outcome;
        }
        let plan = self.plan(statement).await?;
        let (is_ddl, is_dml) = (matches!(plan, LogicalPlan::Ddl(_)), matches!(plan, LogicalPlan::Dml(_)));
        let mut frame = self.context.execute_logical_plan(plan).await.map_err(|error| match error.strip_backtrace() {
            text if text.contains("already exists") => Error::new(ErrorKind::DuplicateTable, text),
            _ => error.into(),
        })?;
        if !parameters.is_empty() {
            frame = frame.with_param_values(parameters)?;
        }
        if is_ddl {
            frame.collect().await?;
            return Ok(Outcome::Done { tag: "CREATE TABLE".to_owned(), rows: None, notices: Vec::new() });
        }
        if is_dml {
            let counts = frame.collect().await?;
            let rows = ScalarValue::try_from_array(counts[0].column(0), 0)?;
            let ScalarValue::UInt64(rows) = rows else { return Err(Error::internal("no count")) };
            let tag = format!("INSERT 0 {}", rows.unwrap_or(0));
            return Ok(Outcome::Done { tag, rows, notices: Vec::new() });
        }
        let stream = frame.execute_stream().await?;
        Ok(Outcome::Rows { schema: stream.schema(), stream, tag: "SELECT" })
    }

    async fn ingest(&self, schema: Option<&str>, table: &str, mut rows: SendableRecordBatchStream) -> Result<u64> {
        let missing = || Error::new(ErrorKind::UndefinedTable, format!("table \"{table}\" does not exist"));
        let name = format!("{}.\"{table}\"", schema.unwrap_or("public"));
        let target = self.context.table_provider(&name).await.map_err(|_| missing())?;
        let mut batches = Vec::new();
        while let Some(batch) = rows.next().await {
            batches.push(batch?);
        }
        if table == "broken" {
            return Err(Error::new(ErrorKind::NotNullViolation, "row 1 has NULL"));
        }
        let count = batches.iter().map(RecordBatch::num_rows).sum::<usize>();
        let incoming = self.context.read_table(Arc::new(MemTable::try_new(rows.schema(), vec![batches])?))?;
        let plan = datafusion::logical_expr::LogicalPlanBuilder::insert_into(
            incoming.into_unoptimized_plan(),
            name.as_str(),
            datafusion::datasource::provider_as_source(target),
            datafusion::logical_expr::dml::InsertOp::Append,
        );
        self.context.execute_logical_plan(plan?.build()?).await?.collect().await?;
        Ok(count as u64)
    }

    async fn catalog(&self) -> Result<CatalogListing> {
        let catalog = self.context.catalog("dev").unwrap();
        let mut listing = CatalogListing {
            database: "dev".to_owned(),
            databases: vec!["dev".to_owned()],
            schemas: catalog.schema_names(),
            tables: with_keys(),
        };
        for schema in &listing.schemas {
            let provider = catalog.schema(schema).unwrap();
            for name in provider.table_names() {
                let columns = provider.table(&name).await?.unwrap().schema();
                let schema = schema.clone();
                listing.tables.push(TableListing { schema, name, kind: TableKind::Table, columns, table: None });
            }
        }
        Ok(listing)
    }

    fn process_id(&self) -> i32 {
        1
    }

    fn cancel(&self) {}

    fn setting(&self, name: &str) -> Option<String> {
        (name == "search_path").then(|| "$user, public".to_owned())
    }

    fn set_setting(&self, _name: &str, _value: &str) -> Result<()> {
        Ok(())
    }

    fn database(&self) -> &str {
        "dev"
    }

    fn user(&self) -> &str {
        &self.user
    }

    fn transaction_status(&self) -> u8 {
        *self.status.lock()
    }
}

/// Two tables of a schema `keys`: `child(a, parent_id)` references `parent(id)`.
fn with_keys() -> Vec<TableListing> {
    let column = |id, name: &str| Column {
        id: ColumnId(id),
        name: name.to_owned(),
        sql_type: SqlType::BigInt,
        not_null: true,
        default_expression: None,
        encoding: None,
        identity: None,
        stored_name: None,
        missing_value: None,
    };
    let table = |name: &str, columns: Vec<Column>, constraints| {
        let table = Arc::new(Table {
            id: TableId(1),
            database: Default::default(),
            schema: "keys".to_owned(),
            name: name.to_owned(),
            owner: "admin".to_owned(),
            columns,
            distribution: Distribution::Even,
            distribution_auto: false,
            sort_style: SortStyle::Compound,
            sort_key: Vec::new(),
            sort_auto: false,
            encode_auto: false,
            backup: true,
            constraints,
            next_column_id: 0,
        });
        let columns = table.arrow_schema();
        TableListing { schema: "keys".to_owned(), name: name.to_owned(), kind: TableKind::Table, columns, table: Some(table) }
    };
    let primary = Constraint { name: "parent_pkey".to_owned(), kind: ConstraintKind::PrimaryKey, columns: vec![ColumnId(1)] };
    let kind = ConstraintKind::ForeignKey { schema: "keys".to_owned(), table: "parent".to_owned(), columns: Vec::new() };
    let foreign = Constraint { name: String::new(), kind, columns: vec![ColumnId(2)] };
    vec![
        table("parent", vec![column(1, "id")], vec![primary]),
        table("child", vec![column(1, "a"), column(2, "parent_id")], vec![foreign]),
    ]
}
