//! What the leader asks to learn that a node lives, and tells it to end a query: answered from counters, on the threads of control.

use super::{ComputeNodeService, blocking, to_status};
use crate::NodeRuntime;
use crate::store::{DiskSpace, other_cluster};
use slipher_common::fence::Fence;
use slipher_common::ids::ClusterId;
use slipher_common::{ErrorKind, VERSION};
use slipher_proto::compute as proto;
use slipher_proto::compute::node_control_server::{NodeControl, NodeControlServer};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use tonic::{Request, Response, Status};

/// As a service of a tonic server.
pub(crate) fn control_service(node: Arc<NodeRuntime>) -> NodeControlServer<impl NodeControl> {
    NodeControlServer::new(ComputeNodeService { node })
}

impl ComputeNodeService {
    pub(super) async fn answer_ping(&self, request: proto::PingRequest) -> Result<proto::PingResponse, Status> {
        if !request.cluster_id.is_empty() {
            let asked = ClusterId::from_bytes(&request.cluster_id).map_err(to_status)?;
            if let Some(own) = self.node.store().cluster_id().filter(|own| *own != asked) {
                return Err(to_status(other_cluster(Path::new("of this node"), own, asked)));
            }
        }
        let store = self.node.store();
        if let Some(fence) = &request.fence {
            match store.obey(Fence::from_proto(fence).map_err(to_status)?).await {
                Ok(()) => {}
                Err(error) if error.kind == ErrorKind::Config => return Err(to_status(error)),
                // Who is behind sees it in the answer, and stops. Where the disk is full the node lives all the same.
                Err(error) => tracing::warn!(%error, "a leader's ping is not remembered"),
            }
        }
        let usage = store.usage();
        Ok(proto::PingResponse {
            node_id: store.node_id().to_vec(),
            cluster_id: store.cluster_id().map(ClusterId::to_vec).unwrap_or_default(),
            version: VERSION.to_owned(),
            segments: usage.segments,
            bytes: usage.bytes,
            activity: Some(self.activity(self.disk_space().await?)),
            now_ms: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64,
            fence: store.fence().map(|fence| fence.to_proto()),
            lanes: self.node.lanes() as u32,
        })
    }

    /// Asks the file system. One that does not answer keeps one thread, however many pings wait for it in vain.
    async fn disk_space(&self) -> Result<DiskSpace, Status> {
        let store = Arc::clone(self.node.store());
        let one_at_a_time = Arc::clone(&store.asking_for_space).lock_owned().await;
        blocking(move || {
            let _one_at_a_time = one_at_a_time;
            store.disk_space()
        })
        .await
    }

    fn activity(&self, disk: DiskSpace) -> proto::NodeActivity {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let activity = self.node.activity();
        let (memory_reserved_bytes, spill_used_bytes) = self.node.memory().in_use();
        let budget = self.node.memory().budget();
        proto::NodeActivity {
            scanned_rows: count(&activity.scanned_rows),
            scanned_bytes: count(&activity.scanned_bytes),
            shuffled_rows: count(&activity.shuffled_rows),
            shuffled_bytes: count(&activity.shuffled_bytes),
            spilled_rows: count(&activity.spilled_rows),
            spilled_bytes: count(&activity.spilled_bytes),
            tasks: count(&activity.tasks),
            memory_reserved_bytes,
            spill_used_bytes,
            disk_free_bytes: disk.free_bytes,
            disk_bytes: disk.bytes,
            trash_rescued: self.node.store().trash_rescued(),
            memory_budget_bytes: budget.limit_bytes() as u64,
            memory_charged_bytes: budget.charged_bytes() as u64,
            queries_waiting: budget.waiting_count() as u64,
        }
    }

    pub(super) fn end_query(&self, request: &proto::CancelQueryRequest) -> proto::CancelQueryResponse {
        proto::CancelQueryResponse { found: self.node.queries().cancel(&request.query_id) }
    }
}

#[tonic::async_trait]
impl NodeControl for ComputeNodeService {
    async fn ping(&self, request: Request<proto::PingRequest>) -> Result<Response<proto::PingResponse>, Status> {
        self.answer_ping(request.into_inner()).await.map(Response::new)
    }

    async fn cancel_query(
        &self,
        request: Request<proto::CancelQueryRequest>,
    ) -> Result<Response<proto::CancelQueryResponse>, Status> {
        Ok(Response::new(self.end_query(request.get_ref())))
    }
}
