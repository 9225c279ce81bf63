//! Session actions of Flight: settings by name, and the end of a session. The messages are Flight.proto's; the Flight
//! library has no types for them.

use super::client::Client;
use prost::Message;
use std::collections::HashMap;

/// Flight's name of the current database.
const CATALOG_OPTION: &str = "catalog";
/// Flight's name of the current schema.
const SCHEMA_OPTION: &str = "schema";
/// Settings that GetSessionOptions answers beside database and schema.
const ANSWERED_SETTINGS: [&str; 4] = ["search_path", "timezone", "datestyle", "query_group"];

#[derive(Clone, PartialEq, Message)]
pub(super) struct SetOptions {
    #[prost(map = "string, message", tag = "1")]
    options: HashMap<String, OptionValue>,
}

#[derive(Clone, PartialEq, Message)]
struct OptionValue {
    #[prost(oneof = "Value", tags = "1, 2, 3, 4, 5")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(sfixed64, tag = "3")]
    Integer(i64),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(message, tag = "5")]
    List(List),
}

#[derive(Clone, PartialEq, Message)]
struct List {
    #[prost(string, repeated, tag = "1")]
    values: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct SetResult {
    #[prost(map = "string, message", tag = "1")]
    errors: HashMap<String, SetError>,
}

#[derive(Clone, PartialEq, Message)]
struct SetError {
    #[prost(int32, tag = "1")]
    value: i32,
}

#[derive(Clone, PartialEq, Message)]
struct GetResult {
    #[prost(map = "string, message", tag = "1")]
    options: HashMap<String, OptionValue>,
}

#[derive(Clone, PartialEq, Message)]
struct CloseResult {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// SetSessionOptionsResult's INVALID_VALUE.
const INVALID_VALUE: i32 = 2;
/// CloseSessionResult's CLOSED.
const CLOSED: i32 = 1;

/// Changes settings; the answer names those that could not be changed.
pub(super) fn set(client: &Client, request: SetOptions) -> Vec<u8> {
    let mut errors = HashMap::new();
    for (name, option) in request.options {
        if let Err(error) = set_one(client, &name, option.value) {
            tracing::debug!(%error, name, "setting a session option");
            errors.insert(name, SetError { value: INVALID_VALUE });
        }
    }
    SetResult { errors }.encode_to_vec()
}

fn set_one(client: &Client, name: &str, value: Option<Value>) -> slipher_common::Result<()> {
    let text = match value {
        Some(Value::Text(text)) => text,
        Some(Value::Bool(value)) => value.to_string(),
        Some(Value::Integer(value)) => value.to_string(),
        Some(Value::Double(value)) => value.to_string(),
        Some(Value::List(list)) => list.values.join(", "),
        None => "default".to_owned(),
    };
    match name {
        CATALOG_OPTION if text == client.session.database() => Ok(()),
        CATALOG_OPTION => Err(slipher_common::Error::not_supported("changing a session's database", "connect again")),
        SCHEMA_OPTION => client.session.set_setting("search_path", &text),
        name => client.session.set_setting(name, &text),
    }
}

/// Answers database, schema and a few settings.
pub(super) fn get(client: &Client) -> Vec<u8> {
    let text = |text: String| OptionValue { value: Some(Value::Text(text)) };
    let settings = ANSWERED_SETTINGS.iter();
    let mut options: HashMap<String, OptionValue> =
        settings.filter_map(|name| Some(((*name).to_owned(), text(client.session.setting(name)?)))).collect();
    options.insert(CATALOG_OPTION.to_owned(), text(client.session.database().to_owned()));
    // The schema of unqualified names is the first of the search path that is not the user's own.
    let path = client.session.setting("search_path").unwrap_or_default();
    let mut schemas = path.split(',').map(|name| name.trim().trim_matches('"')).filter(|name| !name.is_empty());
    let schema = schemas.find(|name| *name != "$user").unwrap_or(slipher_common::catalog::PUBLIC_SCHEMA);
    options.insert(SCHEMA_OPTION.to_owned(), text(schema.to_owned()));
    GetResult { options }.encode_to_vec()
}

/// The answer to CloseSession.
pub(super) fn closed() -> Vec<u8> {
    CloseResult { status: CLOSED }.encode_to_vec()
}
