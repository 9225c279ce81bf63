//! A client that speaks just enough of the protocol, byte by byte.

use super::engine::{PASSWORD, USER};
use crate::wire::postgres::scram::client_proof;
use bytes::{BufMut, BytesMut};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Nothing in these tests takes so long.
const ANSWER_MAX: Duration = Duration::from_secs(20);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub kind: char,
    pub body: Vec<u8>,
}

impl Message {
    /// A field of an error or notice.
    pub fn field(&self, code: char) -> Option<String> {
        self.body.split(|byte| *byte == 0).find_map(|field| {
            let text = std::str::from_utf8(field).ok()?;
            text.strip_prefix(code).map(str::to_owned)
        })
    }

    /// The values of a data row.
    pub fn values(&self) -> Vec<Option<Vec<u8>>> {
        assert_eq!(self.kind, 'D');
        let count = u16::from_be_bytes([self.body[0], self.body[1]]);
        let mut rest = &self.body[2..];
        (0..count)
            .map(|_| {
                let length = i32::from_be_bytes(rest[..4].try_into().unwrap());
                rest = &rest[4..];
                let (value, after) = rest.split_at(usize::try_from(length).ok()?);
                rest = after;
                Some(value.to_vec())
            })
            .collect()
    }

    /// The values of a data row as text, NULL as `<null>`.
    pub fn texts(&self) -> Vec<String> {
        let text = |value: Option<Vec<u8>>| value.map_or("<null>".to_owned(), |value| String::from_utf8(value).unwrap());
        self.values().into_iter().map(text).collect()
    }

    pub fn tag(&self) -> String {
        assert_eq!(self.kind, 'C');
        String::from_utf8(self.body[..self.body.len() - 1].to_vec()).unwrap()
    }
}

/// Kinds of messages as one string.
pub fn kinds(messages: &[Message]) -> String {
    messages.iter().map(|message| message.kind).collect()
}

/// The first error among messages.
pub fn error(messages: &[Message]) -> &Message {
    messages.iter().find(|message| message.kind == 'E').expect("an error")
}

/// Body of a message from its parts.
pub fn body(write: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
    let mut out = BytesMut::new();
    write(&mut out);
    out.to_vec()
}

pub fn put_string(out: &mut BytesMut, text: &str) {
    out.put_slice(text.as_bytes());
    out.put_u8(0);
}

pub struct Client {
    pub stream: BufReader<TcpStream>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Self { stream: BufReader::new(TcpStream::connect(address).await.unwrap()) }
    }

    /// Connects and logs in; also the messages up to the first ReadyForQuery.
    pub async fn login(address: SocketAddr) -> (Self, Vec<Message>) {
        let mut client = Self::connect(address).await;
        client.startup(&[("user", USER), ("database", "dev"), ("application_name", "tests")]).await;
        client.scram(PASSWORD).await;
        let messages = client.until('Z').await;
        (client, messages)
    }

    /// Sends a packet without a type.
    pub async fn packet(&mut self, content: &[u8]) {
        self.stream.write_u32(content.len() as u32 + 4).await.unwrap();
        self.stream.write_all(content).await.unwrap();
    }

    pub async fn startup(&mut self, parameters: &[(&str, &str)]) {
        let content = body(|out| {
            out.put_u32(3 << 16);
            parameters.iter().flat_map(|(name, value)| [name, value]).for_each(|text| put_string(out, text));
            out.put_u8(0);
        });
        self.packet(&content).await;
    }

    pub async fn send(&mut self, kind: char, content: &[u8]) {
        self.stream.write_u8(kind as u8).await.unwrap();
        self.packet(content).await;
    }

    pub async fn query(&mut self, sql: &str) -> Vec<Message> {
        self.send('Q', &body(|out| put_string(out, sql))).await;
        self.until('Z').await
    }

    pub async fn parse(&mut self, name: &str, sql: &str, oids: &[u32]) {
        let content = body(|out| {
            put_string(out, name);
            put_string(out, sql);
            out.put_u16(oids.len() as u16);
            oids.iter().for_each(|oid| out.put_u32(*oid));
        });
        self.send('P', &content).await;
    }

    /// Binds with one format for all values and one for all results.
    pub async fn bind(&mut self, portal: &str, statement: &str, format: i16, values: &[Option<&[u8]>], result_format: i16) {
        let content = body(|out| {
            put_string(out, portal);
            put_string(out, statement);
            out.put_u16(1);
            out.put_i16(format);
            out.put_u16(values.len() as u16);
            for value in values {
                out.put_i32(value.map_or(-1, |value| value.len() as i32));
                out.put_slice(value.unwrap_or_default());
            }
            out.put_u16(1);
            out.put_i16(result_format);
        });
        self.send('B', &content).await;
    }

    /// Describe or Close of `what` (`S` or `P`).
    pub async fn about(&mut self, kind: char, what: char, name: &str) {
        let content = body(|out| {
            out.put_u8(what as u8);
            put_string(out, name);
        });
        self.send(kind, &content).await;
    }

    pub async fn execute(&mut self, portal: &str, limit: i32) {
        let content = body(|out| {
            put_string(out, portal);
            out.put_i32(limit);
        });
        self.send('E', &content).await;
    }

    pub async fn sync(&mut self) -> Vec<Message> {
        self.send('S', &[]).await;
        self.until('Z').await
    }

    pub async fn next(&mut self) -> Option<Message> {
        let read = async {
            let kind = self.stream.read_u8().await.ok()?;
            let length = self.stream.read_u32().await.ok()? as usize;
            let mut content = vec![0; length - 4];
            self.stream.read_exact(&mut content).await.ok()?;
            Some(Message { kind: char::from(kind), body: content })
        };
        tokio::time::timeout(ANSWER_MAX, read).await.expect("an answer in time")
    }

    /// All messages up to one of `kind`, or to the end of the connection.
    pub async fn until(&mut self, kind: char) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(message) = self.next().await {
            let last = message.kind == kind;
            messages.push(message);
            if last {
                break;
            }
        }
        messages
    }

    /// The client's side of SCRAM-SHA-256, up to its last message.
    pub async fn scram(&mut self, password: &str) {
        let offer = self.next().await.unwrap();
        assert_eq!((offer.kind, offer.body.as_slice()), ('R', b"\0\0\0\x0aSCRAM-SHA-256\0\0".as_slice()));
        let client_first = "n=,r=clientnonce";
        let content = body(|out| {
            put_string(out, "SCRAM-SHA-256");
            out.put_i32(client_first.len() as i32 + 3);
            out.put_slice(format!("n,,{client_first}").as_bytes());
        });
        self.send('p', &content).await;
        let answer = self.next().await.unwrap();
        assert_eq!((answer.kind, &answer.body[..4]), ('R', [0, 0, 0, 11].as_slice()));
        let server_first = String::from_utf8(answer.body[4..].to_vec()).unwrap();
        let nonce = server_first.split(',').next().unwrap();
        let client_final = format!("c=biws,{nonce}");
        let proof = client_proof(password, client_first, &server_first, &client_final);
        self.send('p', format!("{client_final},p={proof}").as_bytes()).await;
    }
}
