//! The leader as one thing: metadata, cluster, endpoints, sessions.

use crate::catalog::{EngineSessions, EngineSettings, Signals, is_temp_schema};
use crate::cluster::{Cluster, LeaderService, record};
use crate::context::Shared;
use crate::frontend::{Engine, Session};
use crate::plan::threads::Planners;
use crate::run::Runner;
use crate::session::{LeaderSession, Sessions};
use crate::side_files::SideFiles;
use crate::telemetry::Telemetry;
use crate::upkeep::{compact_forever, sort_forever, split_forever};
use crate::users::{ScramVerifier, generate_password, is_password, new_verifier, parse_verifier, renewed_verifier};
use crate::wire::flight_sql::{self, FlightOptions};
use crate::wire::http::{self, HttpOptions};
use crate::wire::postgres::{self, PostgresOptions};
use async_trait::async_trait;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use slipher_common::catalog::ADMIN_USER;
use slipher_common::channels::{CONNECTION_WINDOW_BYTES, NodeChannels, STREAM_WINDOW_BYTES};
use slipher_common::distribution::HASH_VERSION;
use slipher_common::drain::drained;
use slipher_common::ids::DatabaseId;
use slipher_common::ledger::LedgerLimits;
use slipher_common::manifest::ReadsDetails;
use slipher_common::threads::Threads;
use slipher_common::tls::{ServerTls, TlsOptions};
use slipher_common::{Error, ErrorKind, Result};
use slipher_meta::{Meta, MetaOptions, State, User};
use slipher_proto::meta::{self as proto, operation::Kind};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;
use uuid::Uuid;

/// File in the data directory that keeps a generated password of `admin`.
const ADMIN_PASSWORD_FILE: &str = "admin-password";

/// How a leader is started.
#[derive(Clone, Debug)]
pub struct LeaderConfig {
    /// Its data directory.
    pub data_dir: PathBuf,
    /// PostgreSQL wire.
    pub pg_listen: SocketAddr,
    /// Flight SQL.
    pub flight_listen: SocketAddr,
    /// HTTP: health, metrics, statements without a connection.
    pub http_listen: SocketAddr,
    /// Internal gRPC: compute nodes join here.
    pub internal_listen: SocketAddr,
    /// Password of `admin`; `None` keeps the one there is, or makes one.
    pub admin_password: Option<String>,
    /// Slices of a new cluster.
    pub slice_count: u32,
    /// Nobody said so: the new cluster gets more when its lanes outgrow them.
    pub slices_by_lanes: bool,
    /// Copies of each slice in a new cluster, where there are enough nodes.
    pub replication_factor: u32,
    /// Partitions that the leader works on at a time.
    pub lanes: usize,
    /// Lanes of every task; None: as many as its node works on.
    pub node_lanes: Option<usize>,
    /// COPY reads files below this directory only.
    pub load_dir: Option<PathBuf>,
    /// Bytes the operators of all queries may hold on the leader.
    pub memory_bytes: usize,
    /// A join's side of at most so many estimated rows is copied to every node rather than shuffled.
    pub broadcast_rows_max: usize,
    /// Flight clients fetch results of at least so many estimated rows from the compute nodes.
    pub direct_rows_min: usize,
    /// How often files that no table needs are looked for, and how old they must be.
    pub sweep_interval: Duration,
    /// How often somebody looks whether a table's segments should be merged; None: never.
    pub compact_interval: Option<Duration>,
    /// A compute node of which nothing is heard for so long is dead.
    pub node_silence_max: Duration,
    /// Sessions of PostgreSQL clients at a time, of Flight SQL clients, and statements that run over HTTP.
    pub connections_max: usize,
    /// Bytes of results that are kept for HTTP clients, of each user and of all.
    pub results: LedgerLimits,
    /// Encryption for clients of every protocol.
    pub tls: Option<TlsOptions>,
    /// The threads that run queries.
    pub queries: Handle,
}

/// A running leader.
#[derive(Debug)]
pub struct Leader {
    shared: Arc<Shared>,
    sessions: Arc<Sessions>,
    addresses: LeaderAddresses,
    tasks: JoinSet<Result<()>>,
    /// What pings nodes and lets them join.
    _control: Threads,
}

/// Where a leader listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderAddresses {
    /// PostgreSQL wire.
    pub pg: SocketAddr,
    /// Flight SQL.
    pub flight: SocketAddr,
    /// HTTP.
    pub http: SocketAddr,
    /// Internal gRPC.
    pub internal: SocketAddr,
}

impl Leader {
    /// Opens the metadata, listens, and serves until `shutdown`.
    pub async fn start(config: LeaderConfig, shutdown: CancellationToken) -> Result<Self> {
        let tls = config.tls.as_ref().map(ServerTls::open).transpose()?;
        let pg = listen(config.pg_listen, "PostgreSQL clients", "--pg-port").await?;
        let flight = listen(config.flight_listen, "Flight SQL clients", "--flight-port").await?;
        let http = listen(config.http_listen, "HTTP clients", "--http-port").await?;
        let internal = listen(config.internal_listen, "compute nodes", "--internal-port").await?;
        let addresses = LeaderAddresses {
            pg: local_address(&pg)?,
            flight: local_address(&flight)?,
            http: local_address(&http)?,
            internal: local_address(&internal)?,
        };
        let meta = Meta::open(&config.data_dir.join("meta"), MetaOptions::default()).await?;
        let control = Threads::control()?;
        let side_files = Arc::new(SideFiles::open(&config.data_dir)?);
        let channels = NodeChannels::new(config.queries.clone());
        let (own_side_files, own_control) = (Arc::clone(&side_files), control.handle().clone());
        let cluster = Arc::new(Cluster::new(meta, own_side_files, channels, own_control, config.node_silence_max));
        // Before anything is written: a copy of a former state must not grow.
        if let Err(error) = cluster.meet_nodes().await {
            cluster.meta().shutdown().await;
            return Err(error);
        }
        initialise(cluster.meta(), &config).await?;
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(FairSpillPool::new(config.memory_bytes))).build_arc()?;
        let lanes = config.lanes.max(slipher_common::placement::LANES_MIN);
        let sessions = Arc::<Sessions>::default();
        let signals: Arc<dyn Signals> = Arc::<Sessions>::clone(&sessions);
        let planners = Planners::default();
        let telemetry = Arc::new(Telemetry::new(Arc::clone(&cluster), Arc::clone(&runtime), planners.clone()));
        let settings = EngineSettings {
            channels: cluster.channels().clone(),
            lanes,
            node_lanes: config.node_lanes,
            broadcast_rows_max: config.broadcast_rows_max,
            runtime,
            signals: Arc::clone(&signals),
            details: Arc::clone(&side_files) as Arc<dyn ReadsDetails>,
        };
        let runner = Runner::new(Arc::clone(&cluster), EngineSessions::new(settings), planners, config.queries.clone());
        let load_dir = config.load_dir.clone();
        let shared = Arc::new(Shared {
            cluster: Arc::clone(&cluster),
            runner,
            load_dir,
            direct_rows_min: config.direct_rows_min,
            telemetry,
            signals,
            locks: Arc::default(),
        });
        let engine: Arc<dyn Engine> = Arc::new(LeaderEngine { shared: Arc::clone(&shared), sessions: Arc::clone(&sessions) });
        let mut tasks = JoinSet::new();
        let internal = internal.into_std().map_err(|error| Error::io("listening for compute nodes", &error))?;
        tasks.spawn_on(serve_internal(internal, Arc::clone(&cluster), shutdown.clone()), control.handle());
        tasks.spawn_on(watch(Arc::clone(&cluster), shutdown.clone()), control.handle());
        tasks.spawn(rebalance(Arc::clone(&cluster), shutdown.clone()));
        if let Some(interval) = config.compact_interval {
            tasks.spawn(compact_forever(shared.upkeep_tools(), interval, shutdown.clone()));
            tasks.spawn(sort_forever(shared.upkeep_tools(), interval, shutdown.clone()));
            tasks.spawn(split_forever(shared.upkeep_tools(), interval, shutdown.clone()));
        }
        tasks.spawn(sweep(cluster, config.sweep_interval, shutdown.clone()));
        let connections_max = config.connections_max;
        let options = PostgresOptions { connections_max, tls: tls.clone(), ..PostgresOptions::default() };
        tasks.spawn(postgres::serve(pg, Arc::clone(&engine), options, shutdown.clone()));
        let options = FlightOptions { sessions_max: connections_max, tls: tls.clone(), ..FlightOptions::default() };
        tasks.spawn(flight_sql::serve(flight, Arc::clone(&engine), options, shutdown.clone()));
        let options = HttpOptions { results: config.results, running_max: connections_max, tls };
        tasks.spawn(http::serve(http, engine, options, shutdown));
        Ok(Self { shared, sessions, addresses, tasks, _control: control })
    }

    /// A session of `admin`'s inside this process, without a password.
    pub fn admin_session(&self, application_name: &str) -> Result<Arc<dyn Session>> {
        let state = self.shared.cluster.meta().state();
        let dev = state.require_database(DatabaseId::default());
        let open =
            |dev| LeaderSession::open(Arc::clone(&self.shared), Arc::clone(&self.sessions), dev, ADMIN_USER, application_name);
        dev.map(|dev| open(dev) as Arc<dyn Session>)
    }

    /// Where it listens.
    pub fn addresses(&self) -> LeaderAddresses {
        self.addresses
    }

    /// Its cluster.
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.shared.cluster
    }

    /// Waits until every endpoint has ended after a shutdown, then closes the metadata.
    pub async fn join(mut self) -> Result<()> {
        let mut result = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            let ended = ended.unwrap_or_else(|error| Err(Error::internal(format!("an endpoint ended unexpectedly: {error}"))));
            result = result.and(ended);
        }
        self.shared.cluster.meta().shutdown().await;
        result
    }
}

async fn listen(address: SocketAddr, whom: &str, flag: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        Error::io(format_args!("listening on {address} for {whom}"), &error)
            .with_hint(format!("another process may use the port: choose one with {flag}"))
    })
}

fn local_address(listener: &TcpListener) -> Result<SocketAddr> {
    listener.local_addr().map_err(|error| Error::io("asking for a listening address", &error))
}

/// Without a leader that may lead, nothing is served.
async fn watch(cluster: Arc<Cluster>, shutdown: CancellationToken) -> Result<()> {
    let watched = cluster.watch(shutdown.clone()).await;
    if watched.is_err() {
        shutdown.cancel();
    }
    watched
}

async fn sweep(cluster: Arc<Cluster>, interval: Duration, shutdown: CancellationToken) -> Result<()> {
    cluster.sweep_forever(interval, shutdown).await;
    Ok(())
}

async fn rebalance(cluster: Arc<Cluster>, shutdown: CancellationToken) -> Result<()> {
    cluster.rebalance(shutdown).await;
    Ok(())
}

async fn serve_internal(listener: std::net::TcpListener, cluster: Arc<Cluster>, shutdown: CancellationToken) -> Result<()> {
    // Here, so that its events come to the threads that serve it.
    let listener = TcpListener::from_std(listener).map_err(|error| Error::io("listening for compute nodes", &error))?;
    // Without it small messages wait 40 ms for an acknowledgement; the builder's own setting is for listeners of its own.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = tonic::transport::Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .add_service(LeaderService::into_server(cluster))
        .serve_with_incoming_shutdown(incoming, shutdown.clone().cancelled_owned());
    let ended = drained(server, shutdown.cancelled_owned()).await;
    ended.map_err(|error| Error::new(ErrorKind::Io, format!("serving compute nodes: {error}")))
}

/// Makes the cluster in an empty data directory, and sets the password of `admin` where one was given or none is there.
async fn initialise(meta: &Meta, config: &LeaderConfig) -> Result<()> {
    let state = meta.state();
    let mut operations = Vec::new();
    if state.cluster().is_none() {
        operations.push(Kind::InitCluster(proto::InitCluster {
            cluster_id: Uuid::new_v4().as_bytes().to_vec(),
            slice_count: config.slice_count,
            replication_factor: config.replication_factor,
            hash_version: HASH_VERSION,
            slices_by_lanes: config.slices_by_lanes,
        }));
    } else if let Some(cluster) = state.cluster().filter(|cluster| cluster.hash_version != HASH_VERSION) {
        let message =
            format!("opening \"{}\": its rows are placed by hash version {}", config.data_dir.display(), cluster.hash_version);
        return Err(Error::new(ErrorKind::Config, message).with_hint(format!("this release computes version {HASH_VERSION}")));
    }
    if let Some(cluster) = state.cluster().filter(|cluster| !config.slices_by_lanes && cluster.slice_count != config.slice_count)
    {
        let (slices, told) = (cluster.slice_count, config.slice_count);
        tracing::info!(slices, told, "--slices counts for a new cluster only: ALTER SYSTEM SET slices TO n changes this one's");
    }
    let known = state.users().get(ADMIN_USER);
    let password = match (&config.admin_password, known) {
        (Some(given), Some(user)) if is_password(&parse_verifier(&user.scram_verifier)?, given) => None,
        (Some(given), _) => Some(given.clone()),
        (None, Some(_)) => None,
        (None, None) => {
            let generated = generate_password();
            keep_password(&config.data_dir, &generated)?;
            Some(generated)
        }
    };
    if let Some(password) = password {
        if known.is_some() {
            operations.push(Kind::DropUser(proto::DropUser { name: ADMIN_USER.to_owned() }));
        }
        let user = proto::User {
            name: ADMIN_USER.to_owned(),
            superuser: true,
            scram_verifier: new_verifier(&password),
            can_create_database: true,
            user_id: known.map_or_else(|| state.next_user_id(), |user| user.id),
        };
        operations.push(Kind::PutUser(proto::PutUser { user: Some(user) }));
    }
    let dropped = operations.iter().any(|operation| matches!(operation, Kind::DropUser(_)));
    operations.extend(renewed_users(&state, dropped.then_some(ADMIN_USER)));
    // No session of before is there any more.
    for database in state.databases().values() {
        let left = database.schemas.keys().filter(|schema| is_temp_schema(schema)).cloned();
        let database_id = database.id.0;
        let drop = |name| Kind::DropSchema(proto::DropSchema { name, cascade: true, if_exists: true, database_id });
        operations.extend(left.map(drop));
    }
    if !operations.is_empty() {
        meta.propose(record(operations, &state)).await?;
    }
    Ok(())
}

/// Users as this release keeps them, but for the one that is made anew: with what an earlier release kept of a password one could log in.
fn renewed_users<'a>(state: &'a State, but: Option<&'a str>) -> impl Iterator<Item = Kind> + 'a {
    let old = state.users().values().filter(move |user| Some(user.name.as_str()) != but);
    let renewed = old.filter_map(|user| {
        let scram_verifier = renewed_verifier(&user.scram_verifier)?;
        let User { name, superuser, can_create_database, id: user_id, .. } = user.clone();
        let renewed = proto::User { name: name.clone(), superuser, scram_verifier, can_create_database, user_id };
        Some([Kind::DropUser(proto::DropUser { name }), Kind::PutUser(proto::PutUser { user: Some(renewed) })])
    });
    renewed.flatten()
}

/// The generated password of `admin`, where one was generated.
pub fn generated_password(data_dir: &Path) -> Option<String> {
    std::fs::read_to_string(data_dir.join(ADMIN_PASSWORD_FILE)).ok().map(|text| text.trim().to_owned())
}

fn keep_password(data_dir: &Path, password: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let path = data_dir.join(ADMIN_PASSWORD_FILE);
    let doing = || format!("keeping the generated password in \"{}\"", path.display());
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .map_err(|error| Error::io(doing(), &error))?;
    writeln!(file, "{password}").and_then(|()| file.sync_all()).map_err(|error| Error::io(doing(), &error))
}

/// What the endpoints see.
#[derive(Debug)]
struct LeaderEngine {
    shared: Arc<Shared>,
    sessions: Arc<Sessions>,
}

#[async_trait]
impl Engine for LeaderEngine {
    fn scram_verifier(&self, user: &str) -> Option<ScramVerifier> {
        let state = self.shared.cluster.meta().state();
        state.users().get(user).and_then(|user| parse_verifier(&user.scram_verifier).ok())
    }

    fn check_password(&self, user: &str, password: &str) -> Result<()> {
        match self.scram_verifier(user) {
            Some(verifier) if is_password(&verifier, password) => Ok(()),
            _ => Err(Error::new(ErrorKind::InvalidPassword, format!("password authentication failed for user \"{user}\""))),
        }
    }

    fn check_ready(&self) -> Result<()> {
        let cluster = &self.shared.cluster;
        let view = cluster.view(&cluster.meta().state());
        view.layout(self.shared.runner.engine.node_lanes()).map(|_| ())
    }

    fn metrics(&self) -> Result<String> {
        self.shared.telemetry.text()
    }

    fn open_session(&self, user: &str, database: &str, application_name: &str) -> Result<Arc<dyn Session>> {
        let state = self.shared.cluster.meta().state();
        let database = state.find_database(database)?;
        Ok(LeaderSession::open(Arc::clone(&self.shared), Arc::clone(&self.sessions), database, user, application_name))
    }
}
