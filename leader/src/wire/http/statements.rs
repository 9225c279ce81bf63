//! Statements without a connection: submit, look, fetch, cancel.

use super::submitted::Status;
use super::{Endpoint, Problem};
use crate::frontend::{Engine, Session, Statement};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use datafusion::common::ScalarValue;
use serde::Deserialize;
use serde_json::{Value, json};
use slipher_common::catalog::DATABASE;
use slipher_common::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Rows of one page, unless the request asks for fewer.
const PAGE_ROWS_MAX_COUNT: usize = 10_000;
/// How long a request may wait for a statement to end.
const WAIT_MAX_SECONDS: u64 = 30;

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
    let (id, submitted) = endpoint.statements.submit(user, request.sql, &session)?;
    let statements = Arc::clone(&endpoint.statements);
    tokio::spawn(Arc::clone(&submitted).run(statements, session, statement, parameters));
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
) -> std::result::Result<Response, Problem> {
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
    let total = progress.rows.len();
    let mut body = format!("{{\"columns\":{},\"total_rows\":{total},\"rows\":[", json!(progress.columns));
    let next = page.offset.saturating_add(progress.rows.write_page(page.offset, limit, &mut body));
    body.push_str(&format!("],\"next_offset\":{}}}", json!((next < total).then_some(next))));
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
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
        endpoint.statements.forget(id);
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

/// Values of a request as the types that the statement wants.
async fn parameters(session: &dyn Session, statement: &Statement, values: &[Value]) -> Result<Vec<ScalarValue>> {
    let wanted = session.describe(statement, &[]).await?.parameters;
    if wanted.len() != values.len() {
        let message = format!("the statement has {} parameters, {} values are given", wanted.len(), values.len());
        return Err(Error::new(ErrorKind::UndefinedParameter, message));
    }
    let zone = session.zone();
    let one = |(index, (value, sql_type)): (usize, (&Value, &slipher_common::SqlType))| {
        let parsed = match value {
            Value::Null => ScalarValue::try_from(&sql_type.to_arrow()).map_err(Error::from),
            Value::String(text) => crate::wire::values::parse::parse_value(text, *sql_type, zone.as_ref()),
            Value::Number(_) | Value::Bool(_) => {
                crate::wire::values::parse::parse_value(&value.to_string(), *sql_type, zone.as_ref())
            }
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
