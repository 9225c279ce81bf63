//! Schemas as Flight sends them.

use arrow::datatypes::Schema;
use arrow_flight::{IpcMessage, SchemaAsIpc};
use bytes::Bytes;
use slipher_common::Result;

/// A schema as an encapsulated IPC message.
pub(super) fn ipc_schema(schema: &Schema) -> Result<Bytes> {
    let options = arrow::ipc::writer::IpcWriteOptions::default();
    let IpcMessage(message) = SchemaAsIpc::new(schema, &options).try_into()?;
    Ok(message)
}
