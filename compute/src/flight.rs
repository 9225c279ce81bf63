//! The Flight endpoint of a compute node: clients fetch their results here, with the tickets that the leader gave them.

use crate::results::Results;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::sql::{Any, Command};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse, PollInfo,
    PutResult, SchemaResult, Ticket,
};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use slipher_common::drain::drained;
use slipher_common::flight::{DirectTicket, owner_of, to_status};
use slipher_common::tls::{Incoming, Refusal, ServerTls};
use slipher_common::{Error, ErrorKind, Result};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// Streams that run at once over one connection.
const CALLS_PER_CONNECTION_MAX_COUNT: u32 = 200;

/// Serves results until `shutdown`.
pub(crate) async fn serve(
    results: Arc<Results>,
    listener: TcpListener,
    tls: Option<ServerTls>,
    shutdown: CancellationToken,
) -> Result<()> {
    let incoming = Incoming::new(listener, tls.as_ref(), &["h2"], Refusal::HTTP2)?;
    let server = tonic::transport::Server::builder()
        .max_concurrent_streams(CALLS_PER_CONNECTION_MAX_COUNT)
        .add_service(service(results))
        .serve_with_incoming_shutdown(incoming, shutdown.clone().cancelled_owned());
    let ended = drained(server, shutdown.cancelled_owned()).await;
    ended.map_err(|error| Error::new(ErrorKind::Io, format!("serving results: {error}")))
}

/// The service that answers tickets. The leader calls it for clients that cannot reach this node.
pub(crate) fn service(results: Arc<Results>) -> FlightServiceServer<impl FlightService> {
    FlightServiceServer::new(ResultEndpoint(results))
}

/// DoGet over [`Results`].
struct ResultEndpoint(Arc<Results>);

type Reply<T> = std::result::Result<Response<T>, Status>;
type ReplyStream<T> = BoxStream<'static, std::result::Result<T, Status>>;

impl ResultEndpoint {
    fn get(&self, request: Request<Ticket>) -> Result<ReplyStream<FlightData>> {
        let authorization = request.metadata().get("authorization").ok_or_else(|| {
            Error::new(ErrorKind::InvalidAuthorization, "the call carries no credentials")
                .with_hint("send the authorization header that the ticket was asked for with")
        })?;
        let owner = owner_of(authorization.as_bytes());
        let ticket = read_ticket(&request.get_ref().ticket)?;
        let (output, rows) = self.0.take(&ticket, &owner)?;
        let rows = rows.map_err(|error| FlightError::Tonic(Box::new(to_status(error))));
        let messages = FlightDataEncoderBuilder::new().with_schema(output.schema()).build(rows);
        Ok(messages.map_err(Status::from).boxed())
    }
}

fn read_ticket(bytes: &[u8]) -> Result<DirectTicket> {
    let malformed = |why: String| Error::new(ErrorKind::ProtocolViolation, format!("reading a ticket: {why}"));
    let any = Any::decode(bytes).map_err(|error| malformed(error.to_string()))?;
    match Command::try_from(any).map_err(|error| malformed(error.to_string()))? {
        Command::TicketStatementQuery(ticket) => {
            DirectTicket::parse(std::str::from_utf8(&ticket.statement_handle).unwrap_or_default())
        }
        other => Err(malformed(format!("a {} is no ticket of a statement", other.type_url()))),
    }
}

fn elsewhere<T>(call: &str) -> Reply<T> {
    Err(to_status(Error::not_supported(format_args!("the call {call} on a compute node"), "call the leader")))
}

#[tonic::async_trait]
impl FlightService for ResultEndpoint {
    type HandshakeStream = ReplyStream<HandshakeResponse>;
    type ListFlightsStream = ReplyStream<FlightInfo>;
    type DoGetStream = ReplyStream<FlightData>;
    type DoPutStream = ReplyStream<PutResult>;
    type DoActionStream = ReplyStream<arrow_flight::Result>;
    type ListActionsStream = ReplyStream<ActionType>;
    type DoExchangeStream = ReplyStream<FlightData>;

    async fn do_get(&self, request: Request<Ticket>) -> Reply<Self::DoGetStream> {
        self.get(request).map(Response::new).map_err(to_status)
    }

    async fn handshake(&self, _: Request<Streaming<HandshakeRequest>>) -> Reply<Self::HandshakeStream> {
        elsewhere("Handshake")
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Reply<Self::ListFlightsStream> {
        elsewhere("ListFlights")
    }

    async fn get_flight_info(&self, _: Request<FlightDescriptor>) -> Reply<FlightInfo> {
        elsewhere("GetFlightInfo")
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Reply<PollInfo> {
        elsewhere("PollFlightInfo")
    }

    async fn get_schema(&self, _: Request<FlightDescriptor>) -> Reply<SchemaResult> {
        elsewhere("GetSchema")
    }

    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Reply<Self::DoPutStream> {
        elsewhere("DoPut")
    }

    async fn do_action(&self, _: Request<Action>) -> Reply<Self::DoActionStream> {
        elsewhere("DoAction")
    }

    async fn list_actions(&self, _: Request<Empty>) -> Reply<Self::ListActionsStream> {
        elsewhere("ListActions")
    }

    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Reply<Self::DoExchangeStream> {
        elsewhere("DoExchange")
    }
}
