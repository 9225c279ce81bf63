//! What each Flight SQL command does, over a session.

use super::FlightOptions;
use super::client::{Client, Clients};
use super::ingest;
use super::input::{Upload, UploadStream};
use super::ipc::ipc_schema;
use super::metadata::Metadata;
use super::prepared::{PreparedStatements, describe, single_statement};
use super::query::{Cancelled, ParameterRows, Queries, Rows, Work, detached, in_text, run};
use crate::frontend::{Description, Engine, Outcome, Statement};
use arrow::datatypes::Schema;
use arrow_flight::sql::{Any, Command, ProstMessageExt as _, TicketStatementQuery};
use arrow_flight::{FlightDescriptor, FlightEndpoint, FlightInfo, Ticket};
use bytes::Bytes;
use datafusion::common::ScalarValue;
use futures::StreamExt as _;
use prost::Message as _;
use serde::Serialize;
use slipher_common::flight::{Output, SAME_CONNECTION, TLS_SCHEME};
use slipher_common::plan::ResultTarget;
use slipher_common::{Error, ErrorKind, Result};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What a call for a FlightInfo says beside its command.
pub(super) struct Call {
    /// As it was sent.
    pub(super) descriptor: FlightDescriptor,
    /// What binds tickets on other nodes to the caller; None for credentials that other nodes could not compare.
    pub(super) owner: Option<Vec<u8>>,
    /// Whether it came encrypted.
    pub(super) encrypted: bool,
}

/// The endpoint's state.
pub(super) struct Service {
    pub(super) clients: Clients,
    pub(super) queries: Arc<Queries>,
    pub(super) prepared: PreparedStatements,
    pub(super) metadata: Metadata,
    pub(super) options: FlightOptions,
}

/// What ran without rows, as JSON in the application metadata of its FlightInfo.
#[derive(Debug, Default, Serialize)]
struct Summary {
    /// PostgreSQL command tag.
    tag: String,
    /// Rows inserted, updated or deleted.
    rows: Option<u64>,
    /// Messages beside the result.
    notices: Vec<String>,
}

impl Service {
    pub(super) fn new(engine: Arc<dyn Engine>, options: FlightOptions, shutdown: CancellationToken) -> Result<Self> {
        Ok(Self {
            clients: Clients::new(engine, &options),
            queries: Arc::new(Queries::new(shutdown)),
            prepared: PreparedStatements::new(options.session_idle_max),
            metadata: Metadata::new(&options)?,
            options,
        })
    }

    /// Forgets what expired.
    pub(super) fn sweep(&self) {
        self.queries.sweep();
        self.prepared.sweep();
        self.clients.sweep();
    }

    /// Plans a statement and gives it a ticket. What yields no rows runs now: a client that sends `CREATE TABLE` as a query
    /// learns here how it went, also when it never fetches the empty result.
    pub(super) async fn query(&self, client: Arc<Client>, sql: &str, call: Call) -> Result<FlightInfo> {
        let Some(statement) = single_statement(&client, sql)? else {
            return finished(Summary::default(), call.descriptor);
        };
        let description = describe(&client, &statement).await?;
        if !description.parameters.is_empty() {
            let message = format!("the statement has {} parameters, but no values", description.parameters.len());
            return Err(Error::new(ErrorKind::UndefinedParameter, message).with_hint("prepare the statement and bind values"));
        }
        self.start(client, statement, description, ParameterRows::from([Vec::new()]), call).await
    }

    /// The same for a prepared statement with the values bound to it.
    pub(super) async fn prepared_query(&self, client: &Client, handle: &[u8], call: Call) -> Result<FlightInfo> {
        let prepared = self.prepared.get(client.session.user(), handle)?;
        let Some(statement) = prepared.statement.clone() else {
            return finished(Summary::default(), call.descriptor);
        };
        let (description, parameters) = (prepared.description(), prepared.parameters()?);
        self.start(prepared.client.clone(), statement, description, parameters, call).await
    }

    /// The schema of a statement's rows, without running it.
    pub(super) async fn query_schema(&self, client: &Client, sql: &str) -> Result<Bytes> {
        match single_statement(client, sql)? {
            Some(statement) => rows_schema(&describe(client, &statement).await?),
            None => ipc_schema(&Schema::empty()),
        }
    }

    async fn start(
        &self,
        client: Arc<Client>,
        statement: Statement,
        description: Description,
        mut parameters: ParameterRows,
        call: Call,
    ) -> Result<FlightInfo> {
        if let Some(schema) = &description.rows {
            let output = Output::new(schema);
            if let (Some(owner), [values]) = (&call.owner, parameters.make_contiguous())
                && let Some(info) = self.direct(&client, &statement, values, &output, owner, &call).await?
            {
                return Ok(info);
            }
            let descriptor = call.descriptor;
            return self.ticket(client, output, Work { statement, parameters, started: None }, descriptor);
        }
        let descriptor = call.descriptor;
        let mut summary = Summary::default();
        while let Some(values) = parameters.pop_front() {
            match run(&client, &statement, values).await? {
                Outcome::Done { tag, rows, notices } => {
                    summary.tag = tag;
                    summary.rows = rows.map(|rows| rows + summary.rows.unwrap_or(0)).or(summary.rows);
                    summary.notices.extend(notices);
                }
                // It was described as a statement without rows, and it has run: its rows must not be lost.
                Outcome::Rows { schema, stream, .. } => {
                    let work = Work { statement, parameters, started: Some(stream) };
                    return self.ticket(client, Output::new(&schema), work, descriptor);
                }
            }
        }
        finished(summary, descriptor)
    }

    /// A FlightInfo with the compute nodes as its endpoints, where the plan allows. A client that cannot reach them asks the leader
    /// with the same ticket.
    async fn direct(
        &self,
        client: &Arc<Client>,
        statement: &Statement,
        values: &[ScalarValue],
        output: &Output,
        owner: &[u8],
        call: &Call,
    ) -> Result<Option<FlightInfo>> {
        let secret = super::registry::new_handle();
        let target = ResultTarget { secret: secret.clone(), owner: owner.to_vec(), schema: output.schema() };
        let (session, statement, values) = (client.session.clone(), statement.clone(), values.to_vec());
        let started = detached(client, async move {
            let started = session.execute_direct(&statement, values, target).await;
            started.map_err(|error| in_text(error, &statement))
        });
        let Some(run) = started.await? else { return Ok(None) };
        let mut info = FlightInfo::new().try_with_schema(&output.schema())?.with_descriptor(call.descriptor.clone());
        for (ticket, node) in &run.parts {
            let ticket = TicketStatementQuery { statement_handle: ticket.to_handle().into() };
            let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(ticket.as_any().encode_to_vec()));
            // Credentials that came encrypted do not go to a node in plain, and a client without TLS gets no node that wants it.
            let reachable = node.flight.starts_with(TLS_SCHEME) == call.encrypted;
            let endpoint = if reachable { endpoint.with_location(&node.flight) } else { endpoint };
            info = info.with_endpoint(endpoint.with_location(SAME_CONNECTION));
        }
        self.queries.watch(client, &secret, run)?;
        Ok(Some(info))
    }

    fn ticket(&self, client: Arc<Client>, output: Output, work: Work, descriptor: FlightDescriptor) -> Result<FlightInfo> {
        let schema = output.schema();
        let handle = self.queries.register(client, output, work)?;
        let ticket = TicketStatementQuery { statement_handle: handle.into() };
        flight_info(&schema, ticket.as_any(), descriptor)
    }

    /// Redeems a ticket. The empty handle is that of a statement without rows.
    pub(super) async fn fetch(&self, client: &Client, handle: &[u8]) -> Result<(Output, Option<Rows>)> {
        if handle.is_empty() {
            return Ok((Output::new(&Schema::empty()), None));
        }
        let handle = std::str::from_utf8(handle).unwrap_or_default();
        let (output, rows) = self.queries.redeem(client.session.user(), handle).await?;
        Ok((output, Some(rows)))
    }

    /// Runs a statement for its effect; answers the rows it touched.
    pub(super) async fn update(&self, client: &Arc<Client>, sql: &str) -> Result<i64> {
        match single_statement(client, sql)? {
            Some(statement) => self.run_for_effect(client, &statement, ParameterRows::from([Vec::new()])).await,
            None => Ok(0),
        }
    }

    /// Runs a prepared statement for its effect, once for each row of values in the upload or bound before.
    pub(super) async fn prepared_update(&self, client: &Client, handle: &[u8], stream: UploadStream) -> Result<i64> {
        let prepared = self.prepared.get(client.session.user(), handle)?;
        prepared.bind(Upload::open(stream, "binding parameters").await?).await?;
        match &prepared.statement {
            Some(statement) => self.run_for_effect(&prepared.client, statement, prepared.parameters()?).await,
            None => Ok(0),
        }
    }

    async fn run_for_effect(&self, client: &Arc<Client>, statement: &Statement, parameters: ParameterRows) -> Result<i64> {
        let mut total = 0i64;
        for values in parameters {
            match run(client, statement, values).await? {
                Outcome::Done { rows, .. } => {
                    let rows = i64::try_from(rows.unwrap_or(0)).unwrap_or(i64::MAX);
                    total = total.saturating_add(rows);
                }
                // Rows nobody wants: the statement still runs to its end, as for its effect.
                Outcome::Rows { mut stream, .. } => {
                    let _active = client.enter();
                    while let Some(batch) = stream.next().await {
                        batch?;
                    }
                }
            }
        }
        Ok(total)
    }

    /// Begins a transaction; answers its id.
    pub(super) async fn begin(&self, client: &Arc<Client>) -> Result<String> {
        if !self.options.transactions {
            return Err(Error::not_supported("the action BeginTransaction", "run each statement by itself"));
        }
        if client.session.transaction_status() != b'I' || client.transaction.lock().is_some() {
            return Err(Error::new(ErrorKind::InvalidParameter, "beginning a transaction: one is open in this session already")
                .with_hint("end it, or open another session"));
        }
        ingest::execute(client, "BEGIN").await?;
        let id = super::registry::new_handle();
        *client.transaction.lock() = Some(id.clone());
        Ok(id)
    }

    /// Ends a transaction.
    pub(super) async fn end(&self, client: &Arc<Client>, id: &[u8], commit: bool) -> Result<()> {
        if id.is_empty() {
            return Err(Error::new(ErrorKind::InvalidParameter, "ending a transaction: no id is given"));
        }
        client.check_transaction(Some(id))?;
        // Whatever comes of it, this transaction is over.
        *client.transaction.lock() = None;
        ingest::execute(client, if commit { "COMMIT" } else { "ROLLBACK" }).await
    }

    /// Cancels the queries whose tickets a FlightInfo holds.
    pub(super) fn cancel(&self, client: &Client, info: &FlightInfo) -> Cancelled {
        let tickets = info.endpoint.iter().filter_map(|endpoint| endpoint.ticket.as_ref());
        let handles = tickets.filter_map(|ticket| match decode_command(&ticket.ticket) {
            Ok(Command::TicketStatementQuery(query)) => String::from_utf8(query.statement_handle.to_vec()).ok(),
            _ => None,
        });
        let results = handles.map(|handle| self.queries.cancel(client.session.user(), &handle)).collect::<Vec<_>>();
        match () {
            () if results.contains(&Cancelled::Running) => Cancelled::Running,
            () if results.contains(&Cancelled::Before) => Cancelled::Before,
            () => Cancelled::Unknown,
        }
    }
}

/// The FlightInfo of what has run without rows: its ticket gives an empty stream.
fn finished(summary: Summary, descriptor: FlightDescriptor) -> Result<FlightInfo> {
    let ticket = TicketStatementQuery { statement_handle: Bytes::new() };
    // DB-API drivers show this number as the rows affected.
    let affected = summary.rows.and_then(|rows| i64::try_from(rows).ok()).unwrap_or(-1);
    let summary = serde_json::to_vec(&summary).map_err(|error| Error::internal(format!("writing a summary: {error}")))?;
    Ok(flight_info(&Schema::empty(), ticket.as_any(), descriptor)?.with_total_records(affected).with_app_metadata(summary))
}

/// Reads a command or a ticket.
pub(super) fn decode_command(bytes: &[u8]) -> Result<Command> {
    let malformed = |why: String| Error::new(ErrorKind::ProtocolViolation, format!("reading a Flight SQL command: {why}"));
    let any = Any::decode(bytes).map_err(|error| malformed(error.to_string()))?;
    Command::try_from(any).map_err(|error| malformed(error.to_string()))
}

/// A FlightInfo with one endpoint: this one.
pub(super) fn flight_info(schema: &Schema, ticket: Any, descriptor: FlightDescriptor) -> Result<FlightInfo> {
    let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(ticket.encode_to_vec()));
    Ok(FlightInfo::new().try_with_schema(schema)?.with_endpoint(endpoint).with_descriptor(descriptor))
}

/// The schema of a statement's rows as GetSchema answers it; an empty one for a statement without rows.
pub(super) fn rows_schema(description: &Description) -> Result<Bytes> {
    match &description.rows {
        Some(rows) => ipc_schema(&Output::new(rows).schema()),
        None => ipc_schema(&Schema::empty()),
    }
}
