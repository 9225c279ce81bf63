//! An authenticated connection: the message loop and simple queries.

use super::error::{Failure, shift_position};
use super::message::{self, ClientMessage};
use super::prepared::Extended;
use super::reply::{send_done, send_error, send_rows_tag};
use super::rows::{RowCursor, RowShape};
use super::socket::{MESSAGE_MAX_BYTES, Socket};
use super::startup::CancelKey;
use crate::frontend::{Outcome, Session, Statement};
use pgwire::messages::response::{EmptyQueryResponse, ReadyForQuery, TransactionStatus};
use pgwire::messages::startup::{BackendKeyData, ParameterStatus, SecretKey};
use slipher_common::{Error, ErrorKind, Result};
use std::sync::Arc;

/// The version that clients of Redshift know; they choose their catalog queries by it.
const SERVER_VERSION: &str = "8.0.2";
/// The base version of Redshift's protocol extension: row descriptions as in PostgreSQL.
const SERVER_PROTOCOL_VERSION: &str = "0";

/// One client's connection.
pub(super) struct Connection {
    pub(super) socket: Socket,
    pub(super) session: Arc<dyn Session>,
    pub(super) extended: Extended,
    application_name: String,
    /// What the client knows of the server's parameters.
    reported: Vec<(&'static str, String)>,
    /// After an error in the extended protocol, messages up to Sync are dropped.
    skip_to_sync: bool,
}

/// Tells a client that its session stands.
pub(super) async fn welcome(
    socket: &mut Socket,
    session: &Arc<dyn Session>,
    application_name: &str,
    key: CancelKey,
) -> Result<(), Failure> {
    for (name, value) in parameters(session.as_ref(), application_name) {
        send_parameter(socket, name, value)?;
    }
    socket.send(&BackendKeyData::new(key.0, SecretKey::I32(key.1)))?;
    send_ready(socket, session.as_ref())?;
    socket.flush().await
}

/// What clients are told of the server, now.
fn parameters(session: &dyn Session, application_name: &str) -> Vec<(&'static str, String)> {
    let setting = |name: &str, default: &str| session.setting(name).unwrap_or_else(|| default.to_owned());
    vec![
        ("server_version", SERVER_VERSION.to_owned()),
        ("server_encoding", "UTF8".to_owned()),
        ("client_encoding", "UTF8".to_owned()),
        ("DateStyle", setting("datestyle", "ISO, MDY")),
        ("TimeZone", setting("timezone", "UTC")),
        ("integer_datetimes", "on".to_owned()),
        // Clients escape backslashes by it: it must say how literals are read.
        ("standard_conforming_strings", setting("standard_conforming_strings", "off")),
        ("is_superuser", setting("is_superuser", "off")),
        ("session_authorization", session.user().to_owned()),
        ("application_name", setting("application_name", application_name)),
        ("server_protocol_version", SERVER_PROTOCOL_VERSION.to_owned()),
    ]
}

fn send_parameter(socket: &mut Socket, name: &str, value: String) -> Result<()> {
    socket.send(&ParameterStatus::new(name.to_owned(), super::error::clean(&value)))
}

fn send_ready(socket: &mut Socket, session: &dyn Session) -> Result<()> {
    let status = session.transaction_status();
    let status = TransactionStatus::try_from(status)
        .map_err(|_| Error::internal(format!("the session's transaction status is 0x{status:02x}")))?;
    socket.send(&ReadyForQuery::new(status))
}

impl Connection {
    /// A connection whose client has been welcomed.
    pub fn new(socket: Socket, session: Arc<dyn Session>, application_name: &str) -> Self {
        let reported = parameters(session.as_ref(), application_name);
        let application_name = application_name.to_owned();
        Self { socket, session, extended: Extended::default(), application_name, reported, skip_to_sync: false }
    }

    /// The socket, for the farewell.
    pub fn into_socket(self) -> Socket {
        self.socket
    }

    /// Answers messages until the connection ends; why it ended.
    pub async fn run(&mut self) -> Failure {
        loop {
            if let Err(failure) = self.answer_one().await {
                return failure;
            }
        }
    }

    async fn answer_one(&mut self) -> Result<(), Failure> {
        let message = self.socket.message(MESSAGE_MAX_BYTES);
        let (message_type, body) = match self.session.idle_limit() {
            Some((limit, error)) => tokio::time::timeout(limit, message).await.map_err(|_| Failure::Fatal(error))??,
            None => message.await?,
        };
        if self.skip_to_sync && !matches!(message_type, b'S' | b'X') {
            return Ok(());
        }
        let answered = match message::decode(message_type, body) {
            Ok(message) => self.answer(message).await,
            Err(error) if error.kind == ErrorKind::ProtocolViolation => Err(Failure::Fatal(error)),
            Err(error) => Err(Failure::Statement(error)),
        };
        let Err(Failure::Statement(error)) = answered else {
            return answered;
        };
        self.session.fail();
        send_error(&mut self.socket, "ERROR", &error)?;
        self.extended.end_transaction_unless_open(self.session.transaction_status());
        if message::is_extended(message_type) {
            self.skip_to_sync = true;
            self.socket.flush().await
        } else {
            self.ready().await
        }
    }

    async fn answer(&mut self, message: ClientMessage) -> Result<(), Failure> {
        match message {
            ClientMessage::Query { sql } => self.simple_query(&sql).await,
            ClientMessage::Parse { statement, sql, type_oids } => self.parse(statement, &sql, type_oids).await,
            ClientMessage::Bind(bind) => self.bind(bind),
            ClientMessage::Describe { target, name } => self.describe(target, &name).await,
            ClientMessage::Execute { portal, row_limit } => self.execute(&portal, row_limit).await,
            ClientMessage::Close { target, name } => self.close(target, &name),
            ClientMessage::Flush => self.socket.flush().await,
            ClientMessage::Sync => self.sync().await,
            ClientMessage::Terminate => Err(Failure::Disconnected),
            ClientMessage::FunctionCall => {
                Err(Error::not_supported("the function call message", "call the function with SELECT").into())
            }
            ClientMessage::Copy => Ok(()),
        }
    }

    async fn sync(&mut self) -> Result<(), Failure> {
        self.skip_to_sync = false;
        self.extended.end_cycle(self.session.transaction_status());
        self.ready().await
    }

    /// Reports parameters that changed, and that the next statement may come.
    async fn ready(&mut self) -> Result<(), Failure> {
        let current = parameters(self.session.as_ref(), &self.application_name);
        for ((name, value), (_, known)) in current.iter().zip(&self.reported) {
            if value != known {
                send_parameter(&mut self.socket, name, value.clone())?;
            }
        }
        self.reported = current;
        send_ready(&mut self.socket, self.session.as_ref())?;
        self.socket.flush().await
    }

    async fn simple_query(&mut self, sql: &str) -> Result<(), Failure> {
        self.extended.forget_unnamed();
        let statements = self.session.parse(sql)?;
        if statements.is_empty() {
            self.socket.send(&EmptyQueryResponse::new())?;
        }
        let ran = self.run_all(&statements).await;
        if statements.len() > 1 {
            // Whatever made it end: half of a text is not committed.
            if ran.is_err() {
                self.session.fail();
            }
            let ended = self.session.end_implicit().await;
            self.extended.end_transaction_unless_open(self.session.transaction_status());
            ran.and(ended.map_err(Failure::from))?;
        } else {
            ran?;
        }
        self.ready().await
    }

    /// Runs the statements of one text until one fails; several are one transaction where they do not say otherwise.
    async fn run_all(&mut self, statements: &[Statement]) -> Result<(), Failure> {
        for statement in statements {
            if statements.len() > 1 {
                self.session.begin_implicit(statement);
            }
            let was = self.session.transaction_status();
            self.run_simple(statement).await.map_err(|failure| failure.in_statement(statement))?;
            self.extended.statement_ended(was, self.session.transaction_status());
        }
        Ok(())
    }

    async fn run_simple(&mut self, statement: &Statement) -> Result<(), Failure> {
        match self.socket.during(self.session.execute(statement, Vec::new())).await?? {
            Outcome::Rows { schema, stream, tag } => {
                let mut cursor = RowCursor::new(RowShape::new(&schema, &[], self.session.as_ref())?, stream);
                self.socket.send(&cursor.shape().description())?;
                let (count, _) = cursor.send(&mut self.socket, 0).await?;
                send_rows_tag(&mut self.socket, tag, count)?;
            }
            Outcome::Done { tag, notices, .. } => {
                self.extended.deallocate(statement);
                send_done(&mut self.socket, tag, &notices)?;
            }
        }
        self.socket.flush_if_full().await
    }
}

impl Failure {
    /// The same with its position in the string the client sent.
    pub(super) fn in_statement(self, statement: &Statement) -> Self {
        match self {
            Self::Statement(error) => Self::Statement(shift_position(error, statement.offset)),
            other => other,
        }
    }
}
