//! Statements without a connection: submit, look, fetch, cancel. A result is kept until it expires, up to a size.

use super::rows::{columns, error as error_json, rows};
use super::{Endpoint, Problem};
use crate::frontend::{Engine, Outcome, Session, Statement};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use datafusion::common::ScalarValue;
use futures::StreamExt;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use slipher_common::catalog::DATABASE;
use slipher_common::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Statements that are kept at a time.
const STATEMENTS_MAX_COUNT: usize = 1_000;
/// Statements of one user that run at a time.
const RUNNING_PER_USER_MAX_COUNT: usize = 50;
/// How long an ended statement is kept.
const KEPT_MAX_SECONDS: u64 = 3_600;
/// Largest result that is kept, as JSON.
const RESULT_MAX_BYTES: usize = 64 << 20;
/// Rows of one page, unless the request asks for fewer.
const PAGE_ROWS_MAX_COUNT: usize = 10_000;
/// How long a request may wait for a statement to end.
const WAIT_MAX_SECONDS: u64 = 30;
const SWEEP_PERIOD_SECONDS: u64 = 60;

/// A statement to run.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    sql: String,
    /// Values of `$1`, `$2`, ...: texts, numbers, booleans or null.
    #[serde(default)]
    parameters: Vec<Value>,
    database: Option<String>,
    /// Waits so long for the end, so that short statements need no second request.
    #[serde(default)]
    wait_seconds: u64,
}

#[derive(Deserialize)]
pub(super) struct Page {
    #[serde(default)]
    offset: usize,
    limit: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Started,
    Finished,
    Failed,
    Aborted,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Started => "STARTED",
            Self::Finished => "FINISHED",
            Self::Failed => "FAILED",
            Self::Aborted => "ABORTED",
        }
    }
}

/// What became of a statement so far.
struct Progress {
    status: Status,
    tag: Option<String>,
    notices: Vec<String>,
    columns: Option<Vec<Value>>,
    rows: Vec<Value>,
    bytes: usize,
    error: Option<Error>,
    ended: Option<Instant>,
}

struct Submitted {
    user: String,
    sql: String,
    submitted: Instant,
    /// Until the statement has ended.
    session: Mutex<Option<Arc<dyn Session>>>,
    cancel: CancellationToken,
    done: CancellationToken,
    progress: Mutex<Progress>,
}

/// All statements of the endpoint.
pub(super) struct Statements {
    by_id: Mutex<HashMap<Uuid, Arc<Submitted>>>,
    shutdown: CancellationToken,
}

impl fmt::Debug for Statements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statements").field("kept", &self.by_id.lock().len()).finish_non_exhaustive()
    }
}

impl Statements {
    pub(super) fn new(shutdown: CancellationToken) -> Self {
        Self { by_id: Mutex::default(), shutdown }
    }

    /// Forgets what ended long ago.
    pub(super) async fn sweep_forever(&self) {
        let mut period = tokio::time::interval(Duration::from_secs(SWEEP_PERIOD_SECONDS));
        loop {
            period.tick().await;
            let old = |ended: Instant| ended.elapsed() > Duration::from_secs(KEPT_MAX_SECONDS);
            self.by_id.lock().retain(|_, statement| !statement.progress.lock().ended.is_some_and(old));
        }
    }

    fn insert(&self, statement: Arc<Submitted>) -> Result<Uuid> {
        let mut all = self.by_id.lock();
        let running = |other: &&Arc<Submitted>| other.user == statement.user && other.progress.lock().status == Status::Started;
        if all.len() >= STATEMENTS_MAX_COUNT || all.values().filter(running).count() >= RUNNING_PER_USER_MAX_COUNT {
            return Err(Error::new(ErrorKind::ProgramLimit, "too many statements are kept or run")
                .with_hint("wait until some have ended, or delete those that are no longer needed"));
        }
        let id = Uuid::new_v4();
        all.insert(id, statement);
        Ok(id)
    }

    /// A statement of `user`'s.
    fn get(&self, id: Uuid, user: &str) -> Result<Arc<Submitted>> {
        let known = self.by_id.lock().get(&id).filter(|statement| statement.user == user).cloned();
        known.ok_or_else(|| {
            Error::new(ErrorKind::InvalidCursorName, format!("there is no statement {id}"))
                .with_hint(format!("ended statements are kept for {KEPT_MAX_SECONDS} seconds"))
        })
    }
}

/// POST /v1/statements
pub(super) async fn execute(
    State(endpoint): State<Endpoint>,
    headers: HeaderMap,
    Json(request): Json<Request>,
) -> std::result::Result<impl IntoResponse, Problem> {
    let user = authenticate(&endpoint.engine, &headers).await?;
    let database = request.database.as_deref().unwrap_or(DATABASE);
    let session = endpoint.engine.open_session(&user, database, "http")?;
    let mut parsed = session.parse(&request.sql)?.into_iter();
    let (Some(statement), None) = (parsed.next(), parsed.next()) else {
        return Err(Error::new(ErrorKind::Syntax, "a request runs exactly one statement").into());
    };
    let parameters = parameters(session.as_ref(), &statement, &request.parameters).await?;
    let submitted = Arc::new(Submitted {
        user,
        sql: request.sql,
        submitted: Instant::now(),
        session: Mutex::new(Some(Arc::clone(&session))),
        cancel: endpoint.statements.shutdown.child_token(),
        done: CancellationToken::new(),
        progress: Mutex::new(Progress {
            status: Status::Started,
            tag: None,
            notices: Vec::new(),
            columns: None,
            rows: Vec::new(),
            bytes: 0,
            error: None,
            ended: None,
        }),
    });
    let id = endpoint.statements.insert(Arc::clone(&submitted))?;
    tokio::spawn(Arc::clone(&submitted).run(session, statement, parameters));
    if request.wait_seconds > 0 {
        let wait = Duration::from_secs(request.wait_seconds.min(WAIT_MAX_SECONDS));
        drop(tokio::time::timeout(wait, submitted.done.cancelled()).await);
    }
    Ok((StatusCode::ACCEPTED, Json(submitted.describe(id))))
}

/// GET /v1/statements/{id}
pub(super) async fn describe(
    State(endpoint): State<Endpoint>,
    headers: HeaderMap,
    Path(id): Path<Uuid>,
) -> std::result::Result<Json<Value>, Problem> {
    let user = authenticate(&endpoint.engine, &headers).await?;
    Ok(Json(endpoint.statements.get(id, &user)?.describe(id)))
}

/// GET /v1/statements/{id}/result?offset=&limit=
pub(super) async fn result(
    State(endpoint): State<Endpoint>,
    headers: HeaderMap,
    Path(id): Path<Uuid>,
    Query(page): Query<Page>,
) -> std::result::Result<Json<Value>, Problem> {
    let user = authenticate(&endpoint.engine, &headers).await?;
    let statement = endpoint.statements.get(id, &user)?;
    let progress = statement.progress.lock();
    match (progress.status, &progress.error) {
        (Status::Finished, _) => {}
        (_, Some(error)) => return Err(error.clone().into()),
        _ => {
            let message = format!("statement {id} has not ended");
            return Err(Error::new(ErrorKind::InvalidParameter, message)
                .with_hint("ask again when its status is FINISHED")
                .into());
        }
    }
    let limit = page.limit.unwrap_or(PAGE_ROWS_MAX_COUNT).min(PAGE_ROWS_MAX_COUNT);
    let rows: Vec<&Value> = progress.rows.iter().skip(page.offset).take(limit).collect();
    let next = page.offset.saturating_add(rows.len());
    let next = (next < progress.rows.len()).then_some(next);
    Ok(Json(json!({ "columns": progress.columns, "rows": rows, "next_offset": next, "total_rows": progress.rows.len() })))
}

/// DELETE /v1/statements/{id}: ends it if it runs, and forgets it if it has ended.
pub(super) async fn cancel(
    State(endpoint): State<Endpoint>,
    headers: HeaderMap,
    Path(id): Path<Uuid>,
) -> std::result::Result<Json<Value>, Problem> {
    let user = authenticate(&endpoint.engine, &headers).await?;
    let statement = endpoint.statements.get(id, &user)?;
    if statement.done.is_cancelled() {
        endpoint.statements.by_id.lock().remove(&id);
    } else {
        statement.cancel.cancel();
        if let Some(session) = statement.session.lock().as_ref() {
            session.cancel();
        }
        // It ends at once, or when its nodes have noticed.
        drop(tokio::time::timeout(Duration::from_secs(1), statement.done.cancelled()).await);
    }
    Ok(Json(statement.describe(id)))
}

impl Submitted {
    fn describe(&self, id: Uuid) -> Value {
        let progress = self.progress.lock();
        let took = progress.ended.unwrap_or_else(Instant::now).duration_since(self.submitted);
        json!({
            "id": id,
            "status": progress.status.name(),
            "sql": self.sql,
            "tag": progress.tag,
            "notices": progress.notices,
            "rows": progress.rows.len(),
            "columns": progress.columns,
            "duration_ms": took.as_secs_f64() * 1000.0,
            "error": progress.error.as_ref().map(error_json),
        })
    }

    async fn run(self: Arc<Self>, session: Arc<dyn Session>, statement: Statement, parameters: Vec<ScalarValue>) {
        let result = tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Error::new(ErrorKind::QueryCanceled, "canceling statement due to user request")),
            result = self.collect(session.as_ref(), &statement, parameters) => result,
        };
        *self.session.lock() = None;
        drop(session);
        let mut progress = self.progress.lock();
        progress.status = match &result {
            Ok(()) => Status::Finished,
            Err(error) if error.kind == ErrorKind::QueryCanceled => Status::Aborted,
            Err(_) => Status::Failed,
        };
        if let Err(error) = result {
            progress.rows = Vec::new();
            progress.error = Some(Error { position: error.position.map(|position| position + statement.offset), ..error });
        }
        progress.ended = Some(Instant::now());
        drop(progress);
        self.done.cancel();
    }

    async fn collect(&self, session: &dyn Session, statement: &Statement, parameters: Vec<ScalarValue>) -> Result<()> {
        let (schema, mut stream, tag) = match session.execute(statement, parameters).await? {
            Outcome::Done { tag, notices, .. } => {
                let mut progress = self.progress.lock();
                progress.tag = Some(tag);
                progress.notices = notices;
                return Ok(());
            }
            Outcome::Rows { schema, stream, tag } => (schema, stream, tag),
        };
        {
            let mut progress = self.progress.lock();
            progress.tag = Some(tag.to_owned());
            progress.columns = Some(columns(&schema));
        }
        while let Some(batch) = stream.next().await {
            let batch = rows(&batch?)?;
            let bytes: usize = batch.iter().map(|row| row.to_string().len()).sum();
            let mut progress = self.progress.lock();
            progress.bytes += bytes;
            if progress.bytes > RESULT_MAX_BYTES {
                let message = format!("the result is larger than the {} MiB that are kept", RESULT_MAX_BYTES >> 20);
                return Err(Error::new(ErrorKind::ProgramLimit, message)
                    .with_hint("add LIMIT or aggregate, or read it over Flight SQL or the PostgreSQL protocol"));
            }
            progress.rows.extend(batch);
        }
        Ok(())
    }
}

/// Values of a request as the types that the statement wants.
async fn parameters(session: &dyn Session, statement: &Statement, values: &[Value]) -> Result<Vec<ScalarValue>> {
    let wanted = session.describe(statement, &[]).await?.parameters;
    if wanted.len() != values.len() {
        let message = format!("the statement has {} parameters, {} values are given", wanted.len(), values.len());
        return Err(Error::new(ErrorKind::UndefinedParameter, message));
    }
    let one = |(index, (value, sql_type)): (usize, (&Value, &slipher_common::SqlType))| {
        let parsed = match value {
            Value::Null => ScalarValue::try_from(&sql_type.to_arrow()).map_err(Error::from),
            Value::String(text) => crate::wire::values::parse::parse_value(text, *sql_type),
            Value::Number(_) | Value::Bool(_) => crate::wire::values::parse::parse_value(&value.to_string(), *sql_type),
            Value::Array(_) | Value::Object(_) => {
                Err(Error::new(ErrorKind::InvalidText, "a parameter is a text, a number, a boolean or null"))
            }
        };
        parsed.map_err(|error| Error { message: format!("parameter ${}: {}", index + 1, error.message), ..error })
    };
    values.iter().zip(&wanted).enumerate().map(one).collect()
}

/// The user of a request's basic authentication.
async fn authenticate(engine: &Arc<dyn Engine>, headers: &HeaderMap) -> Result<String> {
    let refused =
        |why: &str| Error::new(ErrorKind::InvalidAuthorization, why.to_owned()).with_hint("send user and password (HTTP basic)");
    let value = headers.get(header::AUTHORIZATION).ok_or_else(|| refused("the request carries no credentials"))?;
    let encoded = value.to_str().ok().and_then(|value| value.strip_prefix("Basic "));
    let encoded = encoded.ok_or_else(|| refused("the credentials are not those of basic authentication"))?;
    let decoded = STANDARD.decode(encoded.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let decoded = decoded.ok_or_else(|| refused("the credentials are not base64 of text"))?;
    let (user, password) = decoded.split_once(':').ok_or_else(|| refused("the credentials have no password"))?;
    let (engine, user, password) = (Arc::clone(engine), user.to_owned(), password.to_owned());
    // Hashing a password takes milliseconds of computing.
    let checked = tokio::task::spawn_blocking(move || engine.check_password(&user, &password).map(|()| user));
    checked.await.map_err(|error| Error::internal(format!("checking a password: {error}")))?
}
