//! Prepared statements by handle.

use super::client::Client;
use super::input::{self, Bound, Upload};
use super::ipc::ipc_schema;
use super::query::{ParameterRows, in_text};
use super::registry::Registry;
use crate::frontend::{Description, Statement};
use arrow::datatypes::Schema;
use arrow_flight::sql::ActionCreatePreparedStatementResult;
use parking_lot::Mutex;
use slipher_common::flight::{Output, client_schema};
use slipher_common::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::time::Duration;

/// Prepared statements, at once.
const PREPARED_MAX_COUNT: usize = 20_000;
/// Prepared statements of one session, at once.
const PREPARED_PER_SESSION_MAX_COUNT: usize = 1000;

/// One prepared statement.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Whose it is.
    pub(super) client: Arc<Client>,
    /// `None` for text without a statement.
    pub(super) statement: Option<Statement>,
    description: Description,
    bound: Mutex<Option<Bound>>,
}

/// All prepared statements.
#[derive(Debug)]
pub(super) struct PreparedStatements {
    by_handle: Registry<Arc<Prepared>>,
}

impl PreparedStatements {
    pub(super) fn new(idle_max: Duration) -> Self {
        Self { by_handle: Registry::new("prepared statement", PREPARED_MAX_COUNT, idle_max) }
    }

    /// Prepares the one statement of `sql`.
    pub(super) async fn create(&self, client: Arc<Client>, sql: &str) -> Result<ActionCreatePreparedStatementResult> {
        let statement = single_statement(&client, sql)?;
        let description = match &statement {
            Some(statement) => describe(&client, statement).await?,
            None => Description { parameters: Vec::new(), rows: None },
        };
        let parameters = description.parameters.iter().enumerate();
        let parameters = parameters.map(|(index, sql_type)| sql_type.to_field(&format!("${}", index + 1), true));
        let parameters = Schema::new(parameters.collect::<Vec<_>>());
        let dataset_schema = match &description.rows {
            Some(rows) => ipc_schema(&Output::new(rows).schema())?,
            None => Default::default(),
        };
        let prepared = Arc::new(Prepared { client: client.clone(), statement, description, bound: Mutex::new(None) });
        let same_owner = |other: &Arc<Prepared>| Arc::ptr_eq(&other.client, &client);
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: self.by_handle.insert(prepared, PREPARED_PER_SESSION_MAX_COUNT, same_owner)?.into(),
            dataset_schema,
            parameter_schema: ipc_schema(&client_schema(&parameters))?,
        })
    }

    /// The statement of a handle, for the user who prepared it.
    pub(super) fn get(&self, user: &str, handle: &[u8]) -> Result<Arc<Prepared>> {
        let prepared = std::str::from_utf8(handle).ok().and_then(|handle| self.by_handle.get(handle));
        prepared.filter(|prepared| prepared.client.session.user() == user).ok_or_else(|| {
            Error::new(ErrorKind::InvalidStatementName, "the prepared statement is unknown, was closed or has expired")
                .with_hint("prepare it again")
        })
    }

    /// Forgets a statement; one that is not there is no error.
    pub(super) fn close(&self, user: &str, handle: &[u8]) {
        if self.get(user, handle).is_ok()
            && let Ok(handle) = std::str::from_utf8(handle)
        {
            self.by_handle.remove(handle);
        }
    }

    /// Drops statements that were not used for long and those of sessions that ended.
    pub(super) fn sweep(&self) {
        self.by_handle.sweep(|prepared| prepared.client.is_active(), |prepared| prepared.client.is_closed());
    }
}

impl Prepared {
    /// Binds the values of an upload for the runs to come.
    pub(super) async fn bind(&self, upload: Option<Upload>) -> Result<()> {
        let (Some(upload), Some(statement)) = (upload, &self.statement) else { return Ok(()) };
        let count = self.description.parameters.len();
        if let Some(bound) = input::bind(self.client.session.as_ref(), statement, upload, count).await? {
            *self.bound.lock() = Some(bound);
        }
        Ok(())
    }

    /// What the statement is with the values bound now.
    pub(super) fn description(&self) -> Description {
        self.bound.lock().as_ref().map_or_else(|| self.description.clone(), |bound| bound.description.clone())
    }

    /// The values bound now, one row per run.
    pub(super) fn parameters(&self) -> Result<ParameterRows> {
        if let Some(bound) = self.bound.lock().as_ref() {
            return Ok(bound.rows.clone());
        }
        match self.description.parameters.len() {
            0 => Ok(ParameterRows::from([Vec::new()])),
            count => Err(Error::new(
                ErrorKind::UndefinedParameter,
                format!("running a prepared statement: it has {count} parameters, but no values are bound"),
            )),
        }
    }
}

/// What a statement without bound values is.
pub(super) async fn describe(client: &Client, statement: &Statement) -> Result<Description> {
    client.session.describe(statement, &[]).await.map_err(|error| in_text(error, statement))
}

/// The statement of `sql`: one or none.
pub(super) fn single_statement(client: &Client, sql: &str) -> Result<Option<Statement>> {
    let mut statements = client.session.parse(sql)?;
    match statements.len() {
        0 | 1 => Ok(statements.pop()),
        count => Err(Error::new(ErrorKind::Syntax, format!("one call runs one statement, but the text holds {count}"))
            .with_hint("send the statements one by one")),
    }
}
