//! The connection: URL to session, statement to rows.

use super::progress::Progress;
use super::report::{Failure, sql_failure};
use super::tls::Connector;
use arrow::array::AsArray as _;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{CommandGetDbSchemas, CommandGetTables};
use arrow_flight::{
    Action, CancelFlightInfoRequest, FlightClient, FlightEndpoint, FlightInfo, HandshakeRequest, IpcMessage, Ticket,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Deserialize;
use slipher_common::flight::{PLAIN_SCHEME, PROGRESS_ACTION, SAME_CONNECTION, TLS_SCHEME};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tonic::Status;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;
use url::Url;

/// Port of Flight SQL when the URL names none.
const PORT_DEFAULT: u16 = 5440;
/// How long cancelling and saying good-bye may take.
const GOODBYE_TIMEOUT_SECONDS: u64 = 3;
/// Longest message accepted, in bytes.
const MESSAGE_MAX_BYTES: usize = 256 << 20;

/// Where to connect, and as who.
#[derive(PartialEq, Eq)]
pub(super) struct Target {
    address: String,
    user: String,
    password: String,
    database: Option<String>,
}

impl Target {
    /// Reads `grpc://user:password@host:port/database`, or `grpc+tls://...`.
    pub(super) fn parse(text: &str, password: Option<&str>) -> Result<Self, Failure> {
        // The URL may hold a password: it is not repeated.
        let wrong = |why: &str| Failure::Usage(format!("the URL of the server is not usable: {why}"));
        let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
        let scheme = match url.scheme() {
            "grpc" | "grpc+tcp" => PLAIN_SCHEME,
            "grpc+tls" | "grpcs" => TLS_SCHEME,
            other => return Err(wrong(&format!("its scheme is \"{other}\"; use grpc:// or grpc+tls://"))),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong("it names no host"))?;
        let decoded = |text: &str| percent_decoded(text).ok_or_else(|| wrong("a percent escape is not UTF-8"));
        let user = decoded(url.username())?;
        if user.is_empty() {
            return Err(wrong("it names no user"));
        }
        let password = match (url.password(), password) {
            (Some(password), _) => decoded(password)?,
            (None, Some(password)) => password.to_owned(),
            (None, None) => {
                let message = format!("no password for user \"{user}\": put it into the URL or set SLIPHER_PASSWORD");
                return Err(Failure::Usage(message));
            }
        };
        let database = Some(decoded(url.path().trim_start_matches('/'))?).filter(|name| !name.is_empty());
        Ok(Self { address: format!("{scheme}{host}:{}", url.port().unwrap_or(PORT_DEFAULT)), user, password, database })
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escape = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

/// Batches of a result.
pub(super) type Batches = BoxStream<'static, Result<RecordBatch, FlightError>>;

/// What a statement yields.
pub(super) enum Reply {
    /// No rows.
    Done {
        /// The command tag.
        tag: String,
        /// Messages beside it.
        notices: Vec<String>,
    },
    /// Rows.
    Rows {
        /// Their schema.
        schema: SchemaRef,
        /// The rows as they come.
        rows: Batches,
        /// What to cancel.
        info: Box<FlightInfo>,
    },
}

/// What the server tells of a statement without rows.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Summary {
    tag: String,
    notices: Vec<String>,
}

/// One session with the server.
pub(super) struct Connection {
    client: FlightSqlServiceClient<Channel>,
    connector: Connector,
    /// Compute nodes that results were fetched from, by address.
    nodes: HashMap<String, FlightServiceClient<Channel>>,
    /// The database, for the prompt.
    pub(super) database: String,
}

impl Connection {
    /// Connects and says who it is.
    pub(super) async fn open(target: &Target, connector: Connector) -> Result<Self, Failure> {
        let cannot = |why: String| Failure::Connection(format!("cannot connect to {}: {why}", target.address));
        let channel = connector.connect(&target.address).await.map_err(cannot)?;
        let flight = FlightServiceClient::new(channel).max_decoding_message_size(MESSAGE_MAX_BYTES);
        let mut client = FlightSqlServiceClient::new_from_inner(flight);
        if let Some(database) = &target.database {
            client.set_header("database", database);
        }
        // Not the client's own handshake, which turns the server's status into text.
        let token = handshake(&mut client, target).await?;
        client.set_token(token);
        let database = target.database.clone().unwrap_or_else(|| "dev".to_owned());
        Ok(Self { client, connector, nodes: HashMap::new(), database })
    }

    /// Runs one statement.
    pub(super) async fn execute(&mut self, sql: &str) -> Result<Reply, Failure> {
        let failed = |error| sql_failure(error, sql);
        let info = self.client.execute(sql.to_owned(), None).await.map_err(failed)?;
        let schema = info.clone().try_decode_schema().map_err(|error| failed(error.into()))?;
        if is_empty(&schema) {
            let Summary { tag, notices } = serde_json::from_slice(&info.app_metadata).unwrap_or_default();
            return Ok(Reply::Done { tag, notices });
        }
        // All at once: rows that nobody fetches hold their query up.
        let mut parts = Vec::with_capacity(info.endpoint.len());
        for endpoint in &info.endpoint {
            let status = |status| sql_failure(FlightError::from(status), sql);
            parts.push(self.fetch(endpoint).await.map_err(status)?);
        }
        let rows = futures::stream::select_all(parts).boxed();
        Ok(Reply::Rows { schema: Arc::new(schema), rows, info: Box::new(info) })
    }

    /// The rows of one endpoint: from its first location that answers, else from the server itself.
    async fn fetch(&mut self, endpoint: &FlightEndpoint) -> Result<Batches, Status> {
        let ticket = endpoint.ticket.clone().unwrap_or_default();
        let token = self.client.token().cloned().unwrap_or_default();
        for location in endpoint.location.iter().filter(|location| location.uri != SAME_CONNECTION) {
            let Some(node) = self.node(&location.uri).await else { continue };
            return get(node, ticket, &token).await;
        }
        get(self.client.inner().clone(), ticket, &token).await
    }

    async fn node(&mut self, uri: &str) -> Option<FlightServiceClient<Channel>> {
        if let Some(known) = self.nodes.get(uri) {
            return Some(known.clone());
        }
        let channel = self.connector.connect(uri).await.ok()?;
        let node = FlightServiceClient::new(channel).max_decoding_message_size(MESSAGE_MAX_BYTES);
        self.nodes.insert(uri.to_owned(), node.clone());
        Some(node)
    }

    /// The schemas that the session sees.
    pub(super) async fn schemas(&mut self) -> Result<Vec<String>, Failure> {
        let request = CommandGetDbSchemas { catalog: None, db_schema_filter_pattern: None };
        let info = self.client.get_db_schemas(request).await.map_err(|error| sql_failure(error, ""))?;
        let batches = self.metadata(info).await?;
        Ok(batches.iter().flat_map(|batch| strings(batch, "db_schema_name")).collect())
    }

    /// The tables that the session sees, or those of one name with their columns.
    pub(super) async fn tables(&mut self, name: Option<&str>) -> Result<Vec<TableListing>, Failure> {
        self.listing(name, name.is_some()).await
    }

    /// The tables that the session sees, with their columns.
    pub(super) async fn tables_with_columns(&mut self) -> Result<Vec<TableListing>, Failure> {
        self.listing(None, true).await
    }

    async fn listing(&mut self, name: Option<&str>, include_schema: bool) -> Result<Vec<TableListing>, Failure> {
        // In a pattern these stand for other characters.
        let pattern = name.map(|name| name.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"));
        let request = CommandGetTables {
            catalog: None,
            db_schema_filter_pattern: None,
            table_name_filter_pattern: pattern,
            table_types: Vec::new(),
            include_schema,
        };
        let info = self.client.get_tables(request).await.map_err(|error| sql_failure(error, ""))?;
        let mut tables = Vec::new();
        for batch in self.metadata(info).await? {
            let (schemas, names) = (strings(&batch, "db_schema_name"), strings(&batch, "table_name"));
            for (row, (schema, name)) in schemas.into_iter().zip(names).enumerate() {
                tables.push(TableListing { schema, name, columns: columns(&batch, row) });
            }
        }
        Ok(tables)
    }

    async fn metadata(&mut self, info: FlightInfo) -> Result<Vec<RecordBatch>, Failure> {
        let ticket = info.endpoint.first().and_then(|endpoint| endpoint.ticket.clone()).unwrap_or_default();
        let failed = |error: FlightError| sql_failure(error, "");
        self.client.do_get(ticket).await.map_err(failed)?.try_collect().await.map_err(failed)
    }

    /// Cancels a query whose rows are being read.
    pub(super) async fn cancel(&mut self, info: Box<FlightInfo>) {
        if let Some(mut flight) = self.flight() {
            let asked = flight.cancel_flight_info(CancelFlightInfoRequest::new(*info));
            // Dropping the stream, which comes next, cancels as well.
            drop(tokio::time::timeout(Duration::from_secs(GOODBYE_TIMEOUT_SECONDS), asked).await);
        }
    }

    /// Ends the session. An idle session would expire by itself, so that a failure is no matter.
    pub(super) async fn close(&mut self) {
        if let Some(mut flight) = self.flight() {
            let asked = flight.do_action(Action::new("CloseSession", ""));
            drop(tokio::time::timeout(Duration::from_secs(GOODBYE_TIMEOUT_SECONDS), asked).await);
        }
    }

    /// Asks how far the statement is that this connection runs.
    pub(super) fn watch(&self) -> Option<Watch> {
        self.flight().map(|flight| Watch(tokio::sync::Mutex::new(flight)))
    }

    fn flight(&self) -> Option<FlightClient> {
        let mut flight = FlightClient::new_from_inner(self.client.inner().clone());
        flight.add_header("authorization", &format!("Bearer {}", self.client.token()?)).ok()?;
        Some(flight)
    }
}

/// See [`Connection::watch`].
pub(super) struct Watch(tokio::sync::Mutex<FlightClient>);

impl Watch {
    /// None when the server does not say.
    pub(super) async fn progress(&self) -> Option<Progress> {
        let mut answers = self.0.lock().await.do_action(Action::new(PROGRESS_ACTION, "")).await.ok()?;
        serde_json::from_slice(&answers.try_next().await.ok()??).ok()
    }
}

/// A table, and its columns where they were asked for: name, type, whether NULL may be in it.
#[derive(Debug)]
pub(super) struct TableListing {
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) columns: Vec<(String, String, bool)>,
}

fn strings(batch: &RecordBatch, name: &str) -> Vec<String> {
    let column = batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
    column.map(|column| column.iter().map(|value| value.unwrap_or_default().to_owned()).collect()).unwrap_or_default()
}

fn columns(batch: &RecordBatch, row: usize) -> Vec<(String, String, bool)> {
    let encoded = batch.column_by_name("table_schema").and_then(|column| column.as_binary_opt::<i32>());
    let message = encoded.map(|encoded| IpcMessage(encoded.value(row).to_vec().into()));
    let Some(Ok(schema)) = message.map(Schema::try_from) else { return Vec::new() };
    let of_field = |field: &Arc<Field>| {
        let sql_type = field.metadata().get("ARROW:FLIGHT:SQL:TYPE_NAME").cloned();
        (field.name().clone(), sql_type.unwrap_or_else(|| field.data_type().to_string()), field.is_nullable())
    };
    schema.fields().iter().map(of_field).collect()
}

async fn get(mut client: FlightServiceClient<Channel>, ticket: Ticket, token: &str) -> Result<Batches, Status> {
    let mut request = tonic::Request::new(ticket);
    let header = format!("Bearer {token}").parse().map_err(|_| Status::internal("the session's token is no header"))?;
    request.metadata_mut().insert("authorization", header);
    let messages = client.do_get(request).await?.into_inner();
    Ok(FlightRecordBatchStream::new_from_flight_data(messages.map_err(FlightError::from)).boxed())
}

fn is_empty(schema: &Schema) -> bool {
    schema.fields().is_empty()
}

/// Says user and password; answers the session's token.
async fn handshake(client: &mut FlightSqlServiceClient<Channel>, target: &Target) -> Result<String, Failure> {
    let credentials = STANDARD.encode(format!("{}:{}", target.user, target.password));
    let not_a_header = |_| Failure::Usage("the URL's user, password or database is not usable".to_owned());
    let mut request = tonic::Request::new(futures::stream::iter([HandshakeRequest::default()]));
    let mut header: AsciiMetadataValue = format!("Basic {credentials}").parse().map_err(not_a_header)?;
    header.set_sensitive(true);
    request.metadata_mut().insert("authorization", header);
    if let Some(database) = &target.database {
        request.metadata_mut().insert("database", database.parse().map_err(not_a_header)?);
    }
    let refused = |status: tonic::Status| Failure::refused(&status);
    let response = client.inner_mut().handshake(request).await.map_err(refused)?;
    let header = response.metadata().get("authorization").and_then(|value| value.to_str().ok());
    let token = header.and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned);
    token.ok_or_else(|| Failure::Connection("the server answered the handshake without a token".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_user_host_and_database() {
        let target = Target::parse("grpc://ada:p%40s%3as@[::1]:99/dev", None).ok().unwrap();
        assert_eq!((target.address.as_str(), target.user.as_str()), ("grpc://[::1]:99", "ada"));
        assert_eq!((target.password.as_str(), target.database.as_deref()), ("p@s:s", Some("dev")));
        let target = Target::parse("grpc://ada@db", Some("secret")).ok().unwrap();
        assert_eq!((target.address.as_str(), target.password.as_str()), ("grpc://db:5440", "secret"));
        let target = Target::parse("grpcs://ada:x@db", None).ok().unwrap();
        assert_eq!(target.address, "grpc+tls://db:5440");
        for wrong in ["grpc://ada@db", "grpc://db", "http://a:b@db", "db:5440", ""] {
            assert!(matches!(Target::parse(wrong, None), Err(Failure::Usage(_))), "{wrong}");
        }
    }
}
