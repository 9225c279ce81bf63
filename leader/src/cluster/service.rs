//! The leader's internal service: compute nodes join here.

use super::Cluster;
use slipher_common::VERSION;
use slipher_common::ids::NodeId;
use slipher_proto::leader::leader_server::{Leader, LeaderServer};
use slipher_proto::leader::{RegisterRequest, RegisterResponse};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Answers compute nodes.
#[derive(Debug)]
pub struct LeaderService {
    cluster: Arc<Cluster>,
}

impl LeaderService {
    /// The service of `cluster`'s leader.
    pub fn into_server(cluster: Arc<Cluster>) -> LeaderServer<Self> {
        LeaderServer::new(Self { cluster })
    }
}

#[tonic::async_trait]
impl Leader for LeaderService {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<RegisterResponse>, Status> {
        let request = request.into_inner();
        let node = NodeId::from_bytes(&request.node_id).map_err(|error| Status::invalid_argument(error.message))?;
        let state = self.cluster.meta().state();
        let cluster = state.require_cluster().map_err(|error| Status::unavailable(error.message))?;
        if !request.cluster_id.is_empty() && request.cluster_id != cluster.id.to_vec() {
            return Err(Status::failed_precondition(format!(
                "the data directory of compute node \"{}\" belongs to another cluster; start it with an empty one",
                request.name
            )));
        }
        if request.version != VERSION {
            return Err(Status::failed_precondition(format!(
                "compute node \"{}\" runs version {}, the leader {VERSION}: plans do not cross versions",
                request.name, request.version
            )));
        }
        self.cluster.judge_by(node, request.fence.as_ref());
        if let Some(error) = self.cluster.overtaken() {
            return Err(Status::unavailable(error.message));
        }
        self.cluster.note_lanes(node, request.lanes);
        self.cluster
            .register(node, &request.address, &request.flight_address, &request.name)
            .await
            .map_err(|error| Status::unavailable(format!("registering compute node \"{}\": {error}", request.name)))?;
        Ok(Response::new(RegisterResponse {
            cluster_id: cluster.id.to_vec(),
            fence: self.cluster.fence().map(|fence| fence.to_proto()),
        }))
    }
}
