//! Makes sure that a segment can be read: the own file is compared, and replaced by another node's copy where it is bad.

use super::{Peers, kind_of};
use crate::store::{FileFault, FileStamp, Store};
use slipher_common::ids::TableId;
use slipher_common::plan::SegmentRef;
use slipher_common::{Error, Result};
use std::sync::Arc;

/// The stamp of the segment's verified file. Compares it first where this process has not yet; a missing or damaged file is
/// replaced by the first good copy. An error names table, segment, slice and node.
pub(crate) async fn ensure_readable(
    store: &Arc<Store>,
    peers: &Peers,
    table: TableId,
    table_name: &str,
    segment: &SegmentRef,
) -> Result<FileStamp> {
    if let Some(stamp) = store.verified(table, segment.id) {
        return Ok(stamp);
    }
    let lock = store.check_lock(segment.id);
    let _checking = lock.lock().await;
    if let Some(stamp) = store.verified(table, segment.id) {
        return Ok(stamp);
    }
    let mut fault = match verify(store, table, segment).await? {
        Ok(stamp) => return Ok(stamp),
        Err(fault) => fault,
    };
    if matches!(fault, FileFault::Missing) && rescue(store, table, segment).await? {
        fault = match verify(store, table, segment).await? {
            Ok(stamp) => return Ok(stamp),
            Err(fault) => fault,
        };
    }
    let mut tried = Vec::new();
    for address in segment.other_copies.iter() {
        tracing::warn!(table = table_name, segment = %segment.id, slice = %segment.slice, node = %store.node_id(), %fault,
            copy = address, "fetching another copy of a segment");
        match peers.get_segment(address, store, table, segment).await {
            // What was stored is what is read: compare the file, not the bytes that arrived.
            Ok(()) => match verify(store, table, segment).await? {
                Ok(stamp) => return Ok(stamp),
                Err(fault) => tried.push(format!("{address}: {fault}")),
            },
            Err(e) => tried.push(format!("{address}: {e}")),
        }
    }
    Err(unreadable(store, table_name, segment, &fault, &tried))
}

/// Looks for the file among those that were swept.
async fn rescue(store: &Arc<Store>, table: TableId, segment: &SegmentRef) -> Result<bool> {
    let (store, id) = (Arc::clone(store), segment.id);
    tokio::task::spawn_blocking(move || store.rescue(table, id))
        .await
        .map_err(|e| Error::internal(format!("looking for swept segment {id}: {e}")))?
}

async fn verify(store: &Arc<Store>, table: TableId, segment: &SegmentRef) -> Result<Result<FileStamp, FileFault>> {
    let (store, segment) = (Arc::clone(store), segment.clone());
    let id = segment.id;
    tokio::task::spawn_blocking(move || store.verify(table, &segment))
        .await
        .map_err(|e| Error::internal(format!("comparing the checksum of segment {id}: {e}")))
}

fn unreadable(store: &Store, table_name: &str, segment: &SegmentRef, fault: &FileFault, tried: &[String]) -> Error {
    let slice = segment.slice;
    let place = format!("segment {} of table \"{table_name}\" (slice {slice}) on node {}", segment.id, store.node_id());
    let copies = if tried.is_empty() { "no other node holds a copy".to_owned() } else { tried.join("; ") };
    Error::new(kind_of(fault), format!("reading {place}: {fault}"))
        .with_detail(format!("other copies: {copies}"))
        .with_hint("start the nodes that hold the other copies, or load the table again")
}
