//! A compute node as a server: the worker service that executes fragments, the node's own service and its control, on one port.

use crate::connections::{Connections, sorted};
use crate::runtime::{NodeOptions, NodeRuntime};
use crate::service::{ComputeNodeService, control_service, stoppable_joins, task_session};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion_distributed::{DistributedExt, Worker, WorkerQueryContext};
use futures::StreamExt;
use slipher_common::channels::{CONNECTION_WINDOW_BYTES, NodeChannels, STREAM_WINDOW_BYTES, endpoint};
use slipher_common::drain::drained;
use slipher_common::fence::Fence;
use slipher_common::flight::{PLAIN_SCHEME, TLS_SCHEME};
use slipher_common::ids::ClusterId;
use slipher_common::threads::Threads;
use slipher_common::tls::{ServerTls, TlsOptions};
use slipher_common::{Error, ErrorKind, Result, VERSION};
use slipher_proto::leader::RegisterRequest;
use slipher_proto::leader::leader_client::LeaderClient;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Code;

/// How often a node that cannot reach the leader tries again.
const REGISTER_RETRY_MS: u64 = 500;
/// How often somebody looks whether swept files should be removed.
const TRASH_INTERVAL_MS: u64 = 10_000;
/// How long a registration may take.
const REGISTER_TIMEOUT_MS: u64 = 10_000;

/// How a compute node is started.
#[derive(Clone, Debug)]
pub struct ComputeConfig {
    /// Its data directory.
    pub data_dir: PathBuf,
    /// Where it listens; port 0 picks one.
    pub listen: SocketAddr,
    /// The address other nodes reach it at (`http://host:port`); the listening address where not given.
    pub advertise: Option<String>,
    /// Where clients fetch results; port 0 picks one.
    pub flight_listen: SocketAddr,
    /// The address clients reach that at (`host:port`); the listening address where not given.
    pub flight_advertise: Option<String>,
    /// Encryption for those clients.
    pub tls: Option<TlsOptions>,
    /// The leader's internal address (`http://host:port`).
    pub leader: String,
    /// A name for people.
    pub name: String,
    /// Memory and spill limits.
    pub options: NodeOptions,
    /// The threads that run queries.
    pub queries: Handle,
}

/// A running compute node.
#[derive(Debug)]
pub struct ComputeNode {
    runtime: Arc<NodeRuntime>,
    address: String,
    servers: JoinSet<Result<()>>,
    /// What answers pings.
    _control: Threads,
}

impl ComputeNode {
    /// Opens the data directory, listens, and joins the cluster; answers when the leader has accepted the node.
    pub async fn start(config: ComputeConfig, shutdown: CancellationToken) -> Result<Self> {
        let runtime = Arc::new(NodeRuntime::open(&config.data_dir, &config.options)?);
        let tls = config.tls.as_ref().map(ServerTls::open).transpose()?;
        let (listener, local) = listen(config.listen, &config.name, "--listen").await?;
        let (flight, flight_local) = listen(config.flight_listen, &config.name, "--flight-listen").await?;
        let address = config.advertise.clone().unwrap_or_else(|| format!("http://{local}"));
        let flight_address = config.flight_advertise.clone().unwrap_or_else(|| flight_local.to_string());
        let flight_address = format!("{}{flight_address}", if tls.is_some() { TLS_SCHEME } else { PLAIN_SCHEME });
        let mut servers = JoinSet::new();
        let control = Threads::control()?;
        let threads = (control.handle(), &config.queries);
        serve_all(&mut servers, &runtime, listener, threads, &shutdown)?;
        servers.spawn(crate::flight::serve(Arc::clone(runtime.results()), flight, tls, shutdown.clone()));
        servers.spawn(empty_trash_forever(Arc::clone(&runtime), shutdown.clone()));
        register(&config, &runtime, (&address, &flight_address), &shutdown).await?;
        tracing::info!(name = config.name, address, node = %runtime.store().node_id(), "compute node joined");
        Ok(Self { runtime, address, servers, _control: control })
    }

    /// The address other nodes reach it at.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its files, memory and queries.
    pub fn runtime(&self) -> &Arc<NodeRuntime> {
        &self.runtime
    }

    /// Waits until the server has ended after a shutdown.
    pub async fn join(mut self) -> Result<()> {
        let mut result = Ok(());
        while let Some(ended) = self.servers.join_next().await {
            let ended = ended.unwrap_or_else(|error| Err(Error::internal(format!("compute node ended unexpectedly: {error}"))));
            result = result.and(ended);
        }
        // The leader's last word may have come a moment ago.
        result.and(self.runtime.store().remember().await)
    }
}

async fn listen(address: SocketAddr, name: &str, flag: &str) -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        Error::io(format_args!("listening on {address} for compute node \"{name}\""), &error)
            .with_hint(format!("another process may use the port: choose one with {flag}"))
    })?;
    let local = listener.local_addr().map_err(|error| Error::io("asking for the listening address", &error))?;
    Ok((listener, local))
}

/// Serves what comes to `listener`: connections are accepted and control is answered on the threads of `control`, tasks run on those of
/// `queries`, and the node's own service is on the caller's.
fn serve_all(
    servers: &mut JoinSet<Result<()>>,
    runtime: &Arc<NodeRuntime>,
    listener: TcpListener,
    (control, queries): (&Handle, &Handle),
    shutdown: &CancellationToken,
) -> Result<()> {
    let listener = listener.into_std().map_err(|error| Error::io("listening for connections", &error))?;
    let (accepting, ready) = sorted(listener);
    servers.spawn_on(accept(accepting, shutdown.clone()), control);
    servers.spawn_on(serve_control(Arc::clone(runtime), ready.control, shutdown.clone()), control);
    servers.spawn(serve_own(Arc::clone(runtime), ready.service, shutdown.clone()));
    servers.spawn_on(serve_tasks(Arc::clone(runtime), ready.tasks, queries.clone(), shutdown.clone()), queries);
    Ok(())
}

/// Serves control on the threads that accept connections.
async fn serve_control(runtime: Arc<NodeRuntime>, connections: Connections, shutdown: CancellationToken) -> Result<()> {
    let incoming = ReceiverStream::new(connections).map(TcpStream::from_std);
    let server = tonic::transport::Server::builder()
        .add_service(control_service(runtime))
        .serve_with_incoming_shutdown(incoming, shutdown.clone().cancelled_owned());
    let ended = drained(server, shutdown.cancelled_owned()).await;
    ended.map_err(|error| Error::new(ErrorKind::Io, format!("serving the compute node's control: {error}")))
}

/// Accepts connections until `shutdown`.
async fn accept(accepting: impl Future<Output = Result<()>>, shutdown: CancellationToken) -> Result<()> {
    tokio::select! {
        failed = accepting => failed,
        () = shutdown.cancelled() => Ok(()),
    }
}

/// Serves what is asked of the node itself: small statements, copies of segments.
async fn serve_own(runtime: Arc<NodeRuntime>, connections: Connections, shutdown: CancellationToken) -> Result<()> {
    let incoming = ReceiverStream::new(connections).map(TcpStream::from_std);
    let server = tonic::transport::Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .add_service(ComputeNodeService::of(&runtime).into_server())
        .serve_with_incoming_shutdown(incoming, shutdown.clone().cancelled_owned());
    let ended = drained(server, shutdown.cancelled_owned()).await;
    ended.map_err(|error| Error::new(ErrorKind::Io, format!("serving the compute node: {error}")))
}

/// Runs tasks of queries, and serves the rows that they keep for clients, on the threads of `queries`.
async fn serve_tasks(
    runtime: Arc<NodeRuntime>,
    connections: Connections,
    queries: Handle,
    shutdown: CancellationToken,
) -> Result<()> {
    let channels = NodeChannels::new(queries);
    let node = Arc::clone(&runtime);
    let worker = Worker::from_session_builder(move |context: WorkerQueryContext| {
        session_of_task(context, Arc::clone(&node), channels.clone())
    })
    .with_version(VERSION);
    let incoming = ReceiverStream::new(connections).map(TcpStream::from_std);
    let server = tonic::transport::Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .add_service(worker.into_worker_server())
        // Rows of what reads more than little.
        .add_service(ComputeNodeService::of(&runtime).into_server())
        .add_service(crate::flight::service(Arc::clone(runtime.results())))
        .serve_with_incoming_shutdown(incoming, shutdown.clone().cancelled_owned());
    let ended = drained(server, shutdown.cancelled_owned()).await;
    ended.map_err(|error| Error::new(ErrorKind::Io, format!("running tasks of queries: {error}")))
}

/// Removes swept files when they are old, or when the disk fills, until `shutdown`.
async fn empty_trash_forever(runtime: Arc<NodeRuntime>, shutdown: CancellationToken) -> Result<()> {
    let mut tick = tokio::time::interval(Duration::from_millis(TRASH_INTERVAL_MS));
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            _ = tick.tick() => {}
        }
        let store = Arc::clone(runtime.store());
        let emptied = tokio::task::spawn_blocking(move || store.empty_trash(SystemTime::now(), || store.disk_space())).await;
        if let Err(error) = emptied.unwrap_or_else(|error| Err(Error::internal(format!("emptying the trash: {error}")))) {
            tracing::error!(%error, "swept files are not removed; it will be tried again");
        }
    }
}

/// The session of a task that may exchange rows with others.
async fn session_of_task(
    mut context: WorkerQueryContext,
    node: Arc<NodeRuntime>,
    channels: NodeChannels,
) -> std::result::Result<SessionState, DataFusionError> {
    let config = context.builder.config().take().unwrap_or_default();
    let runtime = context.builder.runtime_env().take().unwrap_or_default();
    let session = task_session(&node, &context.headers, config, runtime).await?;
    let session = session.with_distributed_channel_resolver(channels);
    Ok(session.with_distributed_worker_plan_rewrite_handler(stoppable_joins).build())
}

/// Joins with the addresses for other nodes and for clients.
async fn register(
    config: &ComputeConfig,
    runtime: &NodeRuntime,
    (address, flight_address): (&str, &str),
    shutdown: &CancellationToken,
) -> Result<()> {
    let store = runtime.store();
    let request = RegisterRequest {
        node_id: store.node_id().to_vec(),
        cluster_id: store.cluster_id().map(ClusterId::to_vec).unwrap_or_default(),
        address: address.to_owned(),
        name: config.name.clone(),
        version: VERSION.to_owned(),
        flight_address: flight_address.to_owned(),
        fence: store.fence().map(|fence| fence.to_proto()),
        lanes: runtime.lanes() as u32,
    };
    let mut client = LeaderClient::new(endpoint(&config.leader)?.connect_lazy());
    loop {
        let mut call = tonic::Request::new(request.clone());
        call.set_timeout(Duration::from_millis(REGISTER_TIMEOUT_MS));
        match client.register(call).await {
            Ok(response) => {
                let response = response.into_inner();
                store.join_cluster(ClusterId::from_bytes(&response.cluster_id)?)?;
                return store.obey(Fence::required(response.fence.as_ref())?).await;
            }
            Err(status)
                if matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown) =>
            {
                tracing::warn!(leader = config.leader, reason = status.message(), "the leader does not answer yet; trying again");
            }
            Err(status) => {
                let message = format!("joining the cluster of leader \"{}\": {}", config.leader, status.message());
                return Err(Error::new(ErrorKind::Config, message));
            }
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(REGISTER_RETRY_MS)) => {}
            () = shutdown.cancelled() => return Err(Error::new(ErrorKind::AdminShutdown, "stopped before the leader answered")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestNode;
    use datafusion_distributed::{ChannelResolver, GetWorkerInfoRequest};
    use slipher_common::control::ControlChannels;
    use slipher_proto::compute::PingRequest;
    use slipher_proto::compute::compute_node_client::ComputeNodeClient;
    use slipher_proto::compute::node_control_client::NodeControlClient;
    use std::time::Instant;

    /// Longer than any answer takes that nobody is in the way of.
    const ANSWER_MAX_MS: u64 = 2_000;

    fn ping() -> tonic::Request<PingRequest> {
        let mut call = tonic::Request::new(PingRequest::default());
        call.set_timeout(Duration::from_millis(ANSWER_MAX_MS));
        call
    }

    #[test]
    fn a_node_whose_threads_are_all_busy_answers_pings_and_one_whose_queries_keep_it_busy_serves_small_statements() {
        let one_thread = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (usual, queries) = (one_thread(), one_thread());
        let (control, elsewhere) = (Threads::control().unwrap(), Threads::control().unwrap());
        let node = TestNode::new();
        let mut servers = JoinSet::new();
        let address = usual.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = format!("http://{}", listener.local_addr().unwrap());
            let threads = (control.handle(), queries.handle());
            serve_all(&mut servers, &node.runtime, listener, threads, &CancellationToken::new()).unwrap();
            address
        });
        let channels = {
            let _there = elsewhere.handle().enter();
            NodeChannels::new(elsewhere.handle().clone())
        };
        let own = || ComputeNodeClient::new(channels.service(&address).unwrap());
        let tasks = async || {
            channels
                .get_worker_client_for_url(&address.parse().unwrap())
                .await
                .unwrap()
                .get_worker_info(GetWorkerInfoRequest {})
                .await
        };
        let (queries_go_on, busy) = std::sync::mpsc::channel::<()>();
        queries.spawn(async move { busy.recv() });
        elsewhere.handle().block_on(async {
            own().ping(ping()).await.unwrap();
            let waits = tokio::time::timeout(Duration::from_millis(ANSWER_MAX_MS), tasks()).await;
            assert!(waits.is_err(), "tasks wait for the threads of queries");
        });
        let (go_on, busy) = std::sync::mpsc::channel::<()>();
        usual.spawn(async move { busy.recv() });
        elsewhere.handle().block_on(async {
            let mut client = NodeControlClient::new(ControlChannels::new(elsewhere.handle().clone()).channel(&address).unwrap());
            let started = Instant::now();
            for _ in 0..20 {
                let answer = client.ping(ping()).await.unwrap().into_inner();
                assert_eq!(answer.node_id, node.runtime.store().node_id().to_vec());
            }
            assert!(started.elapsed() < Duration::from_millis(ANSWER_MAX_MS));
            own().ping(ping()).await.expect_err("what is not control waits for the usual threads");
        });
        drop((go_on, queries_go_on));
        elsewhere.handle().block_on(async {
            own().ping(ping()).await.unwrap();
            tasks().await.unwrap();
        });
    }
}
