//! Sweeps: what the leader needs arrives in parts, and nothing is removed before all of them are here.

use super::{ComputeNodeService, blocking, next_message, to_status};
use slipher_common::fence::Fence;
use slipher_common::sweep::Arriving;
use slipher_common::{Error, ErrorKind};
use slipher_proto::compute::{SweepRequest, SweepResponse};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use tonic::{Status, Streaming};

const DOING: &str = "sweeping";

impl ComputeNodeService {
    pub(super) async fn sweep_in_parts(&self, mut messages: Streaming<SweepRequest>) -> Result<SweepResponse, Status> {
        let none = || to_status(Error::new(ErrorKind::ProtocolViolation, format!("{DOING}: no message")));
        let first = next_message(&mut messages, DOING).await.map_err(to_status)?.ok_or_else(none)?;
        self.node.store().obey(Fence::required(first.fence.as_ref()).map_err(to_status)?).await.map_err(to_status)?;
        let mut arriving = Arriving::new(first).map_err(to_status)?;
        while let Some(message) = next_message(&mut messages, DOING).await.map_err(to_status)? {
            arriving.add(&message).map_err(to_status)?;
        }
        let told = arriving.whole().map_err(to_status)?;
        let minimum_age = Duration::from_millis(told.first.minimum_age_ms);
        let written_before = UNIX_EPOCH + Duration::from_millis(told.first.written_before_ms);
        let store = Arc::clone(self.node.store());
        let swept = blocking(move || store.sweep(&told.live, &told.running, written_before, minimum_age)).await?;
        Ok(SweepResponse { files_removed: swept.files, bytes_removed: swept.bytes })
    }
}
