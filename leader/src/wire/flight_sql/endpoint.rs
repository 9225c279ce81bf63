//! The gRPC side: Flight's calls to Flight SQL's commands and actions.

use super::client::Client;
use super::input::Upload;
use super::ipc::ipc_schema;
use super::query::Cancelled;
use super::service::{Call, Service, decode_command, flight_info};
use super::{ingest, session_options};
use crate::frontend::CatalogListing;
use arrow::record_batch::RecordBatch;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::{
    ActionBeginTransactionRequest, ActionBeginTransactionResult, ActionCancelQueryRequest, ActionCancelQueryResult,
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, ActionEndTransactionRequest, Any, Command,
    DoPutPreparedStatementResult, DoPutUpdateResult, EndTransaction, ProstMessageExt,
};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, Criteria, Empty, FlightData,
    FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _};
use prost::Message;
use slipher_common::channels::endpoint;
use slipher_common::flight::{DirectTicket, PROGRESS_ACTION, from_status, owner_of, to_status};
use slipher_common::tls::Connection;
use slipher_common::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Request, Response, Status, Streaming};

/// How long a client may take to send its handshake.
const HANDSHAKE_MAX_SECONDS: u64 = 30;

/// The actions of this endpoint, with what they do.
pub(super) const ACTIONS: [(&str, &str); 10] = [
    ("CreatePreparedStatement", "Prepares a statement."),
    ("ClosePreparedStatement", "Forgets a prepared statement."),
    ("BeginTransaction", "Begins a transaction in the session."),
    ("EndTransaction", "Commits or rolls back the session's transaction."),
    ("CancelFlightInfo", "Cancels the query of a FlightInfo."),
    ("CancelQuery", "Cancels the query of a FlightInfo (older clients)."),
    ("CloseSession", "Ends the session."),
    (PROGRESS_ACTION, "Answers how far the session's running statement is, as JSON."),
    ("SetSessionOptions", "Changes settings of the session."),
    ("GetSessionOptions", "Answers settings of the session."),
];

/// Flight's service over [`Service`].
pub(super) struct Endpoint(pub(super) Arc<Service>);

type Reply<T> = Result<Response<T>, Status>;
type ReplyStream<T> = BoxStream<'static, Result<T, Status>>;

#[tonic::async_trait]
impl FlightService for Endpoint {
    type HandshakeStream = ReplyStream<HandshakeResponse>;
    type ListFlightsStream = ReplyStream<FlightInfo>;
    type DoGetStream = ReplyStream<FlightData>;
    type DoPutStream = ReplyStream<PutResult>;
    type DoActionStream = ReplyStream<arrow_flight::Result>;
    type ListActionsStream = ReplyStream<ActionType>;
    type DoExchangeStream = ReplyStream<FlightData>;

    async fn handshake(&self, request: Request<Streaming<HandshakeRequest>>) -> Reply<Self::HandshakeStream> {
        self.do_handshake(request).await.map_err(to_status)
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Reply<FlightInfo> {
        let (metadata, extensions, descriptor) = request.into_parts();
        let client = self.0.clients.authenticate(&metadata).await.map_err(to_status)?;
        let owner = metadata.get("authorization").map(|value| owner_of(value.as_bytes()));
        let encrypted = extensions.get::<Connection>().is_some_and(|connection| connection.encrypted);
        self.info(client, Call { descriptor, owner, encrypted }).await.map(Response::new).map_err(to_status)
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Reply<SchemaResult> {
        let (metadata, _, descriptor) = request.into_parts();
        let client = self.0.clients.authenticate(&metadata).await.map_err(to_status)?;
        let schema = self.schema(&client, &descriptor).await.map_err(to_status)?;
        Ok(Response::new(SchemaResult { schema }))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Reply<Self::DoGetStream> {
        let (metadata, _, ticket) = request.into_parts();
        let client = self.0.clients.authenticate(&metadata).await.map_err(to_status)?;
        self.get(client, &metadata, &ticket.ticket).await.map(Response::new).map_err(to_status)
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Reply<Self::DoPutStream> {
        let (metadata, _, stream) = request.into_parts();
        let client = self.0.clients.authenticate(&metadata).await.map_err(to_status)?;
        let app_metadata = self.put(client, stream).await.map_err(to_status)?.into();
        Ok(Response::new(stream::iter([Ok(PutResult { app_metadata })]).boxed()))
    }

    async fn do_action(&self, request: Request<Action>) -> Reply<Self::DoActionStream> {
        let (metadata, _, action) = request.into_parts();
        let client = self.0.clients.authenticate(&metadata).await.map_err(to_status)?;
        let result = self.action(client, action).await.map_err(to_status)?;
        let result = result.map(|body| Ok(arrow_flight::Result { body: body.into() }));
        Ok(Response::new(stream::iter(result).boxed()))
    }

    async fn list_actions(&self, request: Request<Empty>) -> Reply<Self::ListActionsStream> {
        self.0.clients.authenticate(request.metadata()).await.map_err(to_status)?;
        let actions = ACTIONS.map(|(name, what)| Ok(ActionType { r#type: name.to_owned(), description: what.to_owned() }));
        Ok(Response::new(stream::iter(actions).boxed()))
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Reply<Self::ListFlightsStream> {
        Err(to_status(Error::not_supported("the call ListFlights", "list tables with the Flight SQL command GetTables")))
    }

    /// All endpoints can be fetched from as soon as the query is planned: there is nothing to poll for a second time.
    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Reply<PollInfo> {
        let info = self.get_flight_info(request).await?.into_inner();
        let done = PollInfo { info: Some(info), flight_descriptor: None, progress: Some(1.0), expiration_time: None };
        Ok(Response::new(done))
    }

    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Reply<Self::DoExchangeStream> {
        Err(to_status(Error::not_supported("the call DoExchange", "call DoPut and DoGet")))
    }
}

impl Endpoint {
    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<ReplyStream<HandshakeResponse>>> {
        let (metadata, _, mut messages) = request.into_parts();
        // Credentials are in the header; some clients put them into the first message, others send no message at all.
        let payload = match metadata.contains_key("authorization") {
            true => Bytes::new(),
            false => first_payload(&mut messages).await?,
        };
        let token = self.0.clients.handshake(&metadata, &payload).await?;
        let header = MetadataValue::try_from(format!("Bearer {token}"));
        let header = header.map_err(|error| Error::internal(format!("writing a session's token: {error}")))?;
        let reply = HandshakeResponse { protocol_version: 0, payload: token.into() };
        let mut response = Response::new(stream::iter([Ok(reply)]).boxed());
        response.metadata_mut().insert("authorization", header);
        Ok(response)
    }

    async fn info(&self, client: Arc<Client>, call: Call) -> Result<FlightInfo> {
        match decode_command(&call.descriptor.cmd)? {
            Command::CommandStatementQuery(command) => {
                client.check_transaction(command.transaction_id.as_deref())?;
                self.0.query(client, &command.query, call).await
            }
            Command::CommandPreparedStatementQuery(command) => {
                self.0.prepared_query(&client, &command.prepared_statement_handle, call).await
            }
            command => match self.0.metadata.schema(&command) {
                Some(schema) => flight_info(&schema, command.into_any(), call.descriptor),
                None => Err(unknown("GetFlightInfo", &command)),
            },
        }
    }

    async fn schema(&self, client: &Client, descriptor: &FlightDescriptor) -> Result<Bytes> {
        match decode_command(&descriptor.cmd)? {
            Command::CommandStatementQuery(command) => self.0.query_schema(client, &command.query).await,
            Command::CommandPreparedStatementQuery(command) => {
                let prepared = self.0.prepared.get(client.session.user(), &command.prepared_statement_handle)?;
                super::service::rows_schema(&prepared.description())
            }
            command => match self.0.metadata.schema(&command) {
                Some(schema) => ipc_schema(&schema),
                None => Err(unknown("GetSchema", &command)),
            },
        }
    }

    async fn get(&self, client: Arc<Client>, metadata: &MetadataMap, ticket: &[u8]) -> Result<ReplyStream<FlightData>> {
        let handle = match decode_command(ticket)? {
            Command::TicketStatementQuery(ticket) => ticket.statement_handle,
            command => {
                let Some(schema) = self.0.metadata.schema(&command) else { return Err(unknown("DoGet", &command)) };
                let listing = match command {
                    Command::CommandGetSqlInfo(_) | Command::CommandGetXdbcTypeInfo(_) => CatalogListing::default(),
                    _ => client.session.catalog().await?,
                };
                let answer = self.0.metadata.answer(command, &listing)?;
                return Ok(encode(schema, stream::iter([Ok(answer)])));
            }
        };
        if let Some(handle) = std::str::from_utf8(&handle).ok().filter(|handle| DirectTicket::is_handle(handle)) {
            let address = self.0.queries.address_of(client.session.user(), &DirectTicket::parse(handle)?)?;
            return relay(&address, metadata, ticket).await;
        }
        let (output, rows) = self.0.fetch(&client, &handle).await?;
        Ok(match rows {
            Some(rows) => encode(output.schema(), rows.into_stream()),
            None => encode(output.schema(), stream::empty()),
        })
    }

    async fn put(&self, client: Arc<Client>, stream: Streaming<FlightData>) -> Result<Vec<u8>> {
        let mut stream = stream.peekable();
        let descriptor = match Pin::new(&mut stream).peek().await {
            Some(Ok(first)) => first.flight_descriptor.clone(),
            Some(Err(status)) => return Err(from_status("reading an upload", status)),
            None => None,
        };
        let Some(descriptor) = descriptor else {
            return Err(Error::new(ErrorKind::ProtocolViolation, "the upload's first message carries no command"));
        };
        let record_count = match decode_command(&descriptor.cmd)? {
            Command::CommandStatementUpdate(command) => {
                client.check_transaction(command.transaction_id.as_deref())?;
                self.0.update(&client, &command.query).await?
            }
            Command::CommandStatementIngest(command) => {
                let rows = ingest::ingest(&client, command, stream, self.0.options.transactions).await?;
                i64::try_from(rows).unwrap_or(i64::MAX)
            }
            Command::CommandPreparedStatementUpdate(command) => {
                self.0.prepared_update(&client, &command.prepared_statement_handle, stream).await?
            }
            Command::CommandPreparedStatementQuery(command) => {
                let handle = command.prepared_statement_handle;
                let prepared = self.0.prepared.get(client.session.user(), &handle)?;
                prepared.bind(Upload::open(stream, "binding parameters").await?).await?;
                return Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(handle) }.encode_to_vec());
            }
            command => return Err(unknown("DoPut", &command)),
        };
        Ok(DoPutUpdateResult { record_count }.encode_to_vec())
    }

    /// Does an action; answers the body of its result, if it has one.
    async fn action(&self, client: Arc<Client>, action: Action) -> Result<Option<Vec<u8>>> {
        let body = &action.body;
        let any = |message: Any| Some(message.encode_to_vec());
        Ok(match action.r#type.as_str() {
            "CreatePreparedStatement" => {
                let request: ActionCreatePreparedStatementRequest = unpack(&action)?;
                client.check_transaction(request.transaction_id.as_deref())?;
                any(self.0.prepared.create(client, &request.query).await?.as_any())
            }
            "ClosePreparedStatement" => {
                let request: ActionClosePreparedStatementRequest = unpack(&action)?;
                self.0.prepared.close(client.session.user(), &request.prepared_statement_handle);
                None
            }
            "BeginTransaction" => {
                unpack::<ActionBeginTransactionRequest>(&action)?;
                let transaction_id = self.0.begin(&client).await?.into();
                any(ActionBeginTransactionResult { transaction_id }.as_any())
            }
            "EndTransaction" => {
                let request: ActionEndTransactionRequest = unpack(&action)?;
                let commit = match request.action() {
                    EndTransaction::Commit => true,
                    EndTransaction::Rollback => false,
                    EndTransaction::Unspecified => return Err(malformed(&action, "neither commit nor rollback")),
                };
                self.0.end(&client, &request.transaction_id, commit).await?;
                None
            }
            "CancelFlightInfo" => {
                let request: CancelFlightInfoRequest = decode(&action, body)?;
                let status = self.cancel(&client, request.info.unwrap_or_default());
                Some(CancelFlightInfoResult { status: status as i32 }.encode_to_vec())
            }
            "CancelQuery" => {
                let request: ActionCancelQueryRequest = unpack(&action)?;
                // Both enumerations have the same numbers.
                let result = self.cancel(&client, decode(&action, &request.info)?) as i32;
                any(ActionCancelQueryResult { result }.as_any())
            }
            "CloseSession" => {
                self.0.clients.close(&client);
                self.0.sweep();
                Some(session_options::closed())
            }
            PROGRESS_ACTION => {
                let progress = client.session.progress().await.unwrap_or_default();
                Some(serde_json::to_vec(&progress).map_err(|error| Error::internal(format!("writing progress: {error}")))?)
            }
            "SetSessionOptions" => Some(session_options::set(&client, decode(&action, body)?)),
            "GetSessionOptions" => Some(session_options::get(&client)),
            other => return Err(Error::not_supported(format_args!("the action \"{other}\""), "")),
        })
    }

    fn cancel(&self, client: &Client, info: FlightInfo) -> CancelStatus {
        match self.0.cancel(client, &info) {
            Cancelled::Before => CancelStatus::Cancelled,
            Cancelled::Running => CancelStatus::Cancelling,
            Cancelled::Unknown => CancelStatus::NotCancellable,
        }
    }
}

/// Fetches from a compute node for a client that cannot reach it.
async fn relay(address: &str, metadata: &MetadataMap, ticket: &[u8]) -> Result<ReplyStream<FlightData>> {
    let channel = endpoint(address)?.connect_lazy();
    let mut request = Request::new(Ticket::new(ticket.to_vec()));
    if let Some(authorization) = metadata.get("authorization") {
        request.metadata_mut().insert("authorization", authorization.clone());
    }
    let mut node = FlightServiceClient::new(channel).max_decoding_message_size(super::MESSAGE_MAX_BYTES);
    // The node's errors are the client's as they are.
    Ok(match node.do_get(request).await {
        Ok(stream) => stream.into_inner().boxed(),
        Err(status) => stream::once(async { Err(status) }).boxed(),
    })
}

async fn first_payload(messages: &mut Streaming<HandshakeRequest>) -> Result<Bytes> {
    let wait = Duration::from_secs(HANDSHAKE_MAX_SECONDS);
    match tokio::time::timeout(wait, messages.message()).await {
        Ok(Ok(Some(message))) => Ok(message.payload),
        Ok(Ok(None)) => Ok(Bytes::new()),
        Ok(Err(status)) => Err(from_status("reading a handshake", &status)),
        Err(_) => {
            let message = format!("reading a handshake: no message came within {HANDSHAKE_MAX_SECONDS} seconds");
            Err(Error::new(ErrorKind::ProtocolViolation, message))
        }
    }
}

/// Batches to Flight messages of limited size. It reads on only when the client has taken what was sent.
fn encode(
    schema: arrow::datatypes::SchemaRef,
    batches: impl Stream<Item = Result<RecordBatch, FlightError>> + Send + 'static,
) -> ReplyStream<FlightData> {
    let encoder = FlightDataEncoderBuilder::new().with_schema(schema).build(batches);
    encoder.map(|message| message.map_err(Status::from)).boxed()
}

fn unknown(call: &str, command: &Command) -> Error {
    let name = command.type_url().rsplit('.').next().unwrap_or_default();
    Error::not_supported(format_args!("the command \"{name}\" in {call}"), "")
}

fn malformed(action: &Action, why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::ProtocolViolation, format!("reading the action \"{}\": {why}", action.r#type))
}

fn decode<M: Message + Default>(action: &Action, body: &[u8]) -> Result<M> {
    M::decode(body).map_err(|error| malformed(action, error))
}

fn unpack<M: ProstMessageExt>(action: &Action) -> Result<M> {
    let any: Any = decode(action, &action.body)?;
    let message = any.unpack().map_err(|error| malformed(action, error))?;
    message.ok_or_else(|| malformed(action, format_args!("its body is a {}", any.type_url)))
}
