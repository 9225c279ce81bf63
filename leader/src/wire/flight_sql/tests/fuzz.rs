//! Mutated calls: whatever comes, no task panics and the server answers the next client.

use super::{Server, query, table};
use crate::wire::flight_sql::endpoint::ACTIONS;
use crate::wire::flight_sql::input::CAUGHT_PANICS;
use crate::wire::fuzz::{Run, mutate};
use arrow::array::Int64Array;
use arrow::record_batch::RecordBatch;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::sql::{
    ActionBeginTransactionRequest, ActionCancelQueryRequest, ActionClosePreparedStatementRequest,
    ActionCreatePreparedStatementRequest, ActionEndTransactionRequest, CommandGetDbSchemas, CommandGetTables,
    CommandPreparedStatementQuery, CommandPreparedStatementUpdate, CommandStatementIngest, CommandStatementQuery,
    CommandStatementUpdate, ProstMessageExt, TicketStatementQuery,
};
use arrow_flight::{Action, FlightClient, FlightDescriptor, HandshakeRequest, Ticket};
use bytes::{Buf, BufMut};
use futures::TryStreamExt as _;
use prost::Message;
use rand::Rng;
use rand::rngs::StdRng;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status};

/// Calls over one connection.
const CALLS_PER_CONNECTION: usize = 500;
/// How long an answer is waited for; an upload that is not complete gets none.
const PATIENCE: Duration = Duration::from_millis(50);
/// Connections of which one sends bytes that are not HTTP/2.
const CONNECTIONS_PER_RAW_ONE: usize = 4;

/// Messages as bytes.
#[derive(Clone, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = usize;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = usize;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<usize>, Status> {
        let length = buffer.remaining();
        buffer.advance(length);
        Ok(Some(length))
    }
}

/// A method and the messages of a call as a well-behaved client sends them.
type Call = (&'static str, Vec<Vec<u8>>);

async fn corpus() -> Vec<Call> {
    let any = |message: &dyn Fn() -> arrow_flight::sql::Any| message().encode_to_vec();
    let sql = || "select 1 as a".to_owned();
    let commands = [
        any(&|| CommandStatementQuery { query: sql(), transaction_id: None }.as_any()),
        any(&|| CommandPreparedStatementQuery { prepared_statement_handle: "x".into() }.as_any()),
        any(&|| CommandGetDbSchemas { catalog: None, db_schema_filter_pattern: Some("%".to_owned()) }.as_any()),
        any(&|| CommandGetTables { include_schema: true, ..Default::default() }.as_any()),
    ];
    let mut calls: Vec<Call> = Vec::new();
    for command in &commands {
        let descriptor = FlightDescriptor::new_cmd(command.clone()).encode_to_vec();
        for method in ["GetFlightInfo", "GetSchema", "PollFlightInfo"] {
            calls.push((method, vec![descriptor.clone()]));
        }
        calls.push(("DoGet", vec![Ticket::new(command.clone()).encode_to_vec()]));
    }
    let ticket = TicketStatementQuery { statement_handle: "0123456789abcdef".into() }.as_any().encode_to_vec();
    calls.push(("DoGet", vec![Ticket::new(ticket).encode_to_vec()]));
    let bodies = [
        any(&|| ActionCreatePreparedStatementRequest { query: sql(), transaction_id: None }.as_any()),
        any(&|| ActionClosePreparedStatementRequest { prepared_statement_handle: "x".into() }.as_any()),
        any(&|| ActionBeginTransactionRequest {}.as_any()),
        any(&|| ActionEndTransactionRequest { transaction_id: "x".into(), action: 1 }.as_any()),
        any(&|| ActionCancelQueryRequest { info: "x".into() }.as_any()),
        Vec::new(),
    ];
    for (name, _) in ACTIONS.iter().filter(|(name, _)| *name != "CloseSession") {
        for body in &bodies {
            calls.push(("DoAction", vec![Action::new(*name, body.clone()).encode_to_vec()]));
        }
    }
    for command in [
        any(&|| CommandStatementUpdate { query: sql(), transaction_id: None }.as_any()),
        any(&|| CommandPreparedStatementUpdate { prepared_statement_handle: "x".into() }.as_any()),
        any(&|| CommandStatementIngest { table: "t".to_owned(), ..Default::default() }.as_any()),
    ] {
        calls.push(("DoPut", upload(command).await));
    }
    calls.push(("Handshake", vec![HandshakeRequest { protocol_version: 0, payload: "admin:secret".into() }.encode_to_vec()]));
    calls.push(("ListFlights", vec![Vec::new()]));
    calls.push(("ListActions", vec![Vec::new()]));
    calls.push(("DoExchange", vec![Vec::new()]));
    calls
}

/// Schema and rows, the first message with the command.
async fn upload(command: Vec<u8>) -> Vec<Vec<u8>> {
    let values = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let batch = RecordBatch::try_from_iter([("a", values as _)]).unwrap();
    let descriptor = FlightDescriptor::new_cmd(command);
    let rows = futures::stream::iter([Ok(batch)]);
    let encoder = FlightDataEncoderBuilder::new().with_flight_descriptor(Some(descriptor)).build(rows);
    encoder.map_ok(|message| message.encode_to_vec()).try_collect().await.unwrap()
}

/// One call with something wrong, or not; its end is of no matter.
async fn call(rng: &mut StdRng, channel: &Channel, token: &str, (method, messages): &Call) -> usize {
    let mut messages = messages.clone();
    for message in messages.iter_mut().filter(|message| !message.is_empty()) {
        mutate(rng, message);
    }
    let count = messages.len();
    let mut request = Request::new(futures::stream::iter(messages));
    let mut header = format!("Bearer {token}").into_bytes();
    if rng.random_range(0..20) == 0 {
        mutate(rng, &mut header);
    }
    if let Ok(header) = AsciiMetadataValue::try_from(header.as_slice()) {
        request.metadata_mut().insert("authorization", header);
    }
    let path = PathAndQuery::try_from(format!("/arrow.flight.protocol.FlightService/{method}")).unwrap();
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    let conversation = async {
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut answers = grpc.streaming(request, path, Raw).await?.into_inner();
        while answers.message().await?.is_some() {}
        Ok::<_, Status>(())
    };
    drop(tokio::time::timeout(PATIENCE, conversation).await);
    count
}

/// The beginning of HTTP/2, then frames of noise.
async fn raw(rng: &mut StdRng, address: &str) {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for _ in 0..rng.random_range(1..20) {
        let length: u8 = rng.random_range(0..64);
        bytes.extend([0, 0, length, rng.random_range(0..12), rng.random(), 0, 0, 0, rng.random_range(0..4)]);
        bytes.extend((0..length).map(|_| rng.random::<u8>()));
    }
    mutate(rng, &mut bytes);
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may close at any byte.
    drop(stream.write_all(&bytes).await);
    tokio::time::sleep(Duration::from_millis(2)).await;
}

#[tokio::test]
async fn mutated_calls_harm_nobody() {
    let mut run = Run::start();
    let server = Server::start().await;
    let corpus = corpus().await;
    let (mut sent, mut connections) = (0, 0);
    while sent < run.messages {
        connections += 1;
        if connections % CONNECTIONS_PER_RAW_ONE == 0 {
            raw(&mut run.rng, server.url.trim_start_matches("http://")).await;
            sent += 1;
            continue;
        }
        let channel = Channel::from_shared(server.url.clone()).unwrap().connect().await.unwrap();
        let token = server.client().await.token().cloned().unwrap();
        for _ in 0..CALLS_PER_CONNECTION {
            let chosen = run.rng.random_range(0..corpus.len());
            sent += call(&mut run.rng, &channel, &token, &corpus[chosen]).await;
        }
        // Sessions of clients that only go away stay for a while, and their number is limited.
        let mut flight = FlightClient::new(channel);
        flight.add_header("authorization", &format!("Bearer {token}")).unwrap();
        drop(flight.do_action(Action::new("CloseSession", "")).await);
    }
    // Those of Arrow's decoder are caught, and answered as errors of the client.
    assert_eq!(run.panics(), CAUGHT_PANICS.with(std::cell::Cell::get));
    let rows = query(&mut server.client().await, "select 1 as a").await.unwrap();
    assert_eq!(table(&rows), "+---+\n| a |\n+---+\n| 1 |\n+---+");
    println!("{sent} messages");
}
