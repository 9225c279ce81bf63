//! Servers: a leader, a compute node, or a leader with compute nodes in one process.

use crate::cli::{ComputeOptions, LeaderOptions, LocalOptions, TlsArgs};
use crate::memory::{Given, query_bytes};
use slipher_common::ledger::LedgerLimits;
use slipher_common::placement::SLICES_MAX;
use slipher_common::threads::Threads;
use slipher_common::{Error, ErrorKind, Result};
use slipher_compute::{ComputeConfig, ComputeNode, NodeOptions};
use slipher_leader::{Leader, LeaderConfig, generated_password};
use std::fs::{DirBuilder, Permissions};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const PG_PORT_DEFAULT: u16 = 5439;
const FLIGHT_PORT_DEFAULT: u16 = 5440;
const INTERNAL_PORT_DEFAULT: u16 = 5441;
const HTTP_PORT_DEFAULT: u16 = 5480;
/// Data is for the user whose process this is.
const DATA_DIR_MODE: u32 = 0o700;
const SLICES_DEFAULT: u32 = 8;
const REPLICATION_FACTOR_DEFAULT: u32 = 2;
const COMPUTE_NODES_DEFAULT: usize = 2;
const MAX_CONNECTIONS_DEFAULT: usize = 500;
const MAX_CONNECTIONS_MAX: usize = 100_000;
const LANES_MAX: usize = 256;
const BROADCAST_ROWS_MAX_DEFAULT: usize = 128 << 10;
const DIRECT_ROWS_MIN_DEFAULT: usize = 100_000;
const SWEEP_SECONDS_DEFAULT: u64 = 60;
const COMPACT_SECONDS_DEFAULT: u64 = 1;
const NODE_SILENCE_SECONDS_DEFAULT: u64 = 10;
/// Less is about what one ping may take.
const NODE_SILENCE_SECONDS_MIN: u64 = 3;

/// A leader with its compute nodes in this process.
pub struct LocalCluster {
    leader: Leader,
    nodes: Vec<ComputeNode>,
    password: String,
    tls: TlsArgs,
    /// What runs queries: of the leader and of all nodes.
    _queries: Threads,
}

impl LocalCluster {
    /// Starts everything; answers when the nodes have joined and the cluster is ready.
    pub async fn start(options: &LocalOptions, shutdown: CancellationToken) -> Result<Self> {
        let node_count = options.compute_nodes.unwrap_or(COMPUTE_NODES_DEFAULT);
        if node_count == 0 {
            return Err(Error::new(ErrorKind::Config, "--compute-nodes is 0: a warehouse needs at least one"));
        }
        let data_dir = data_dir(options.leader.data_dir.as_deref(), "slipher-data")?;
        let queries = Threads::queries()?;
        let mut config = leader_config(&options.leader, data_dir.clone(), node_count, &queries)?;
        config.internal_listen.set_port(options.leader.internal_port.unwrap_or(0));
        // All of it is memory of this process.
        let (given, results) = (Given::here(), config.results);
        let of_leader = config.memory_bytes.saturating_add(results.all_bytes);
        let node_memory_bytes = given.node_bytes(options.node_memory_mib, node_count, of_leader)?;
        let leader = Leader::start(config, shutdown.clone()).await?;
        let lanes = lanes(options.leader.lanes, node_count)?;
        let mut nodes = Vec::new();
        for number in 1..=node_count {
            let config = ComputeConfig {
                data_dir: make_dir(data_dir.join(format!("node-{number}")))?,
                listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
                advertise: None,
                flight_listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
                flight_advertise: None,
                tls: options.leader.tls.options()?,
                leader: format!("http://{}", loopback(leader.addresses().internal)),
                name: format!("node-{number}"),
                options: node_options(node_memory_bytes, options.query_memory_mib, results, lanes),
                queries: queries.handle().clone(),
            };
            nodes.push(ComputeNode::start(config, shutdown.clone()).await?);
        }
        // Slices may be on nodes that this process was not told to start.
        if !leader.cluster().is_ready_in_time().await {
            tracing::warn!(
                nodes = node_count,
                "not ready: slices are on compute nodes that are not here; start as many as before"
            );
        }
        let password = shown_password(&options.leader, &data_dir);
        Ok(Self { leader, nodes, password, tls: options.leader.tls.clone(), _queries: queries })
    }

    /// The leader.
    pub fn leader(&self) -> &Leader {
        &self.leader
    }

    /// The compute nodes.
    pub fn nodes(&self) -> &[ComputeNode] {
        &self.nodes
    }

    /// Lines that tell a person how to connect.
    pub fn how_to_connect(&self) -> String {
        how_to_connect(&self.leader, &self.tls, &self.password)
    }

    /// Waits until everything has ended after a shutdown.
    pub async fn join(self) -> Result<()> {
        let mut result = Ok(());
        for node in self.nodes {
            result = result.and(node.join().await);
        }
        self.leader.join().await.and(result)
    }
}

/// The generated password. One that was given is known to whoever gave it, and does not belong into logs.
fn shown_password(options: &LeaderOptions, data_dir: &Path) -> String {
    match options.admin_password {
        Some(_) => String::new(),
        None => generated_password(data_dir).unwrap_or_default(),
    }
}

fn how_to_connect(leader: &Leader, options: &TlsArgs, password: &str) -> String {
    let addresses = leader.addresses();
    let (pg, flight, http) = (loopback(addresses.pg), loopback(addresses.flight), loopback(addresses.http));
    let secret = if password.is_empty() { String::new() } else { format!(":{password}") };
    // Both kinds of connections are taken unless encryption is required.
    let (sslmode, grpc, scheme) =
        if options.tls_required == Some(true) { ("?sslmode=require", "grpc+tls", "https") } else { ("", "grpc", "http") };
    format!(
        "PostgreSQL:  psql 'postgresql://admin{secret}@{pg}/dev{sslmode}'\nFlight SQL:  slipher sql --url '{grpc}://admin{secret}@{flight}'\nHTTP:        curl {scheme}://{http}/readyz"
    )
}

/// An address clients on this machine can use.
fn loopback(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() { SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port()) } else { address }
}

fn node_options(node_memory_bytes: usize, query_memory_mib: Option<usize>, results: LedgerLimits, lanes: usize) -> NodeOptions {
    let query_memory_bytes = query_bytes(query_memory_mib, node_memory_bytes);
    NodeOptions { node_memory_bytes, query_memory_bytes, results, lanes, ..NodeOptions::default() }
}

/// What was given, or the processors of each of so many nodes in this process.
fn lanes(given: Option<usize>, nodes_in_process: usize) -> Result<usize> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let lanes = given.unwrap_or(cores.div_ceil(nodes_in_process));
    if !(1..=LANES_MAX).contains(&lanes) {
        return Err(Error::new(ErrorKind::Config, format!("--lanes is {lanes}: it must be 1 to {LANES_MAX}")));
    }
    Ok(lanes)
}

/// Makes a data directory that nobody else may look into; one that others may look into is closed to them.
fn make_dir(path: PathBuf) -> Result<PathBuf> {
    let doing = |error: std::io::Error| Error::io(format_args!("making the directory \"{}\"", path.display()), &error);
    DirBuilder::new().recursive(true).mode(DATA_DIR_MODE).create(&path).map_err(doing)?;
    let mode = std::fs::metadata(&path).map_err(doing)?.permissions().mode();
    if mode & 0o077 != 0
        && let Err(error) = std::fs::set_permissions(&path, Permissions::from_mode(DATA_DIR_MODE))
    {
        tracing::warn!(directory = %path.display(), %error, "other users of this machine may look into the data directory");
    }
    Ok(path)
}

fn data_dir(given: Option<&Path>, default: &str) -> Result<PathBuf> {
    make_dir(given.map_or_else(|| PathBuf::from(default), Path::to_owned))
}

fn leader_config(options: &LeaderOptions, data_dir: PathBuf, nodes_in_process: usize, queries: &Threads) -> Result<LeaderConfig> {
    let host = options.host.as_deref().unwrap_or("127.0.0.1");
    let host: IpAddr = host.parse().map_err(|_| {
        Error::new(ErrorKind::Config, format!("--host \"{host}\" is not an IP address")).with_hint("0.0.0.0 listens everywhere")
    })?;
    let slice_count = options.slices.unwrap_or(SLICES_DEFAULT);
    if !(1..=SLICES_MAX).contains(&slice_count) {
        return Err(Error::new(ErrorKind::Config, format!("--slices is {slice_count}: it must be 1 to {SLICES_MAX}")));
    }
    let replication_factor = options.replication_factor.unwrap_or(REPLICATION_FACTOR_DEFAULT);
    if replication_factor == 0 {
        return Err(Error::new(ErrorKind::Config, "--replication-factor is 0: one copy is the least"));
    }
    let lanes = lanes(options.lanes, nodes_in_process)?;
    let sweep_seconds = options.sweep_seconds.unwrap_or(SWEEP_SECONDS_DEFAULT);
    if sweep_seconds == 0 {
        return Err(Error::new(ErrorKind::Config, "--sweep-seconds is 0: files of running loads would be swept"));
    }
    let node_silence_seconds = options.node_silence_seconds.unwrap_or(NODE_SILENCE_SECONDS_DEFAULT);
    if node_silence_seconds < NODE_SILENCE_SECONDS_MIN {
        let message = format!("--node-silence-seconds is {node_silence_seconds}: it must be at least {NODE_SILENCE_SECONDS_MIN}");
        return Err(Error::new(ErrorKind::Config, message).with_hint("a node that has ended is noticed at once, whatever it is"));
    }
    let connections_max = options.max_connections.unwrap_or(MAX_CONNECTIONS_DEFAULT);
    if !(1..=MAX_CONNECTIONS_MAX).contains(&connections_max) {
        let message = format!("--max-connections is {connections_max}: it must be 1 to {MAX_CONNECTIONS_MAX}");
        return Err(Error::new(ErrorKind::Config, message));
    }
    let compact_seconds = options.compact_seconds.unwrap_or(COMPACT_SECONDS_DEFAULT);
    let given = Given::here();
    Ok(LeaderConfig {
        data_dir,
        pg_listen: SocketAddr::new(host, options.pg_port.unwrap_or(PG_PORT_DEFAULT)),
        flight_listen: SocketAddr::new(host, options.flight_port.unwrap_or(FLIGHT_PORT_DEFAULT)),
        http_listen: SocketAddr::new(host, options.http_port.unwrap_or(HTTP_PORT_DEFAULT)),
        internal_listen: SocketAddr::new(host, options.internal_port.unwrap_or(INTERNAL_PORT_DEFAULT)),
        admin_password: options.admin_password.clone(),
        slice_count,
        slices_by_lanes: options.slices.is_none(),
        replication_factor,
        lanes,
        node_lanes: options.lanes,
        load_dir: options.load_dir.clone(),
        memory_bytes: given.leader_bytes(options.leader_memory_mib),
        broadcast_rows_max: options.broadcast_rows_max.unwrap_or(BROADCAST_ROWS_MAX_DEFAULT),
        direct_rows_min: options.direct_rows_min.unwrap_or(DIRECT_ROWS_MIN_DEFAULT),
        sweep_interval: Duration::from_secs(sweep_seconds),
        compact_interval: Some(Duration::from_secs(compact_seconds)).filter(|interval| !interval.is_zero()),
        node_silence_max: Duration::from_secs(node_silence_seconds),
        connections_max,
        results: given.results(&options.results)?,
        tls: options.tls.options()?,
        queries: queries.handle().clone(),
    })
}

/// Tells a person, or the program that started this one, on standard output. Nobody may be listening any more.
fn announce(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// `slipher local`.
pub async fn run(options: LocalOptions, shutdown: CancellationToken) -> Result<()> {
    let cluster = LocalCluster::start(&options, shutdown.clone()).await?;
    announce(&cluster.how_to_connect());
    tracing::info!(nodes = cluster.nodes().len(), "ready");
    shutdown.cancelled().await;
    cluster.join().await
}

/// `slipher leader`.
pub async fn run_leader(options: LeaderOptions, shutdown: CancellationToken) -> Result<()> {
    let data_dir = data_dir(options.data_dir.as_deref(), "slipher-data")?;
    let queries = Threads::queries()?;
    let leader = Leader::start(leader_config(&options, data_dir.clone(), 1, &queries)?, shutdown.clone()).await?;
    let password = shown_password(&options, &data_dir);
    announce(&how_to_connect(&leader, &options.tls, &password));
    announce(&format!("Compute nodes join with: slipher compute --leader {}", leader.addresses().internal));
    tracing::info!(internal = %leader.addresses().internal, "ready");
    shutdown.cancelled().await;
    leader.join().await
}

/// Where clients fetch results: as given, or on the host that other nodes reach this one at.
fn flight_advertise(options: &ComputeOptions, listen: SocketAddr) -> Option<String> {
    if let Some(given) = &options.flight_advertise {
        return Some(given.clone());
    }
    let host = options.advertise.as_deref()?.rsplit_once(':')?.0;
    (listen.port() != 0).then(|| format!("{host}:{}", listen.port()))
}

/// `slipher compute`.
pub async fn run_compute(options: ComputeOptions, shutdown: CancellationToken) -> Result<()> {
    let listen = options.listen.as_deref().unwrap_or("127.0.0.1:5451");
    let listen: SocketAddr = listen.parse().map_err(|_| {
        Error::new(ErrorKind::Config, format!("--listen \"{listen}\" is not an address with a port"))
            .with_hint("for example 0.0.0.0:5451, with --advertise HOST:5451 as others reach it")
    })?;
    if listen.ip().is_unspecified() && options.advertise.is_none() {
        return Err(Error::new(
            ErrorKind::Config,
            format!("--listen {listen} listens everywhere, but others need one address to reach it"),
        )
        .with_hint("give it with --advertise HOST:PORT"));
    }
    let flight_listen = match options.flight_listen.as_deref() {
        Some(given) => given.parse().map_err(|_| {
            Error::new(ErrorKind::Config, format!("--flight-listen \"{given}\" is not an address with a port"))
                .with_hint("for example 0.0.0.0:5452, with --flight-advertise HOST:5452 as clients reach it")
        })?,
        // The next port; any where that one is any.
        None if listen.port() == 0 => listen,
        None => SocketAddr::new(listen.ip(), listen.port().saturating_add(1)),
    };
    let given = Given::here();
    let node_memory_bytes = given.node_bytes(options.node_memory_mib, 1, 0)?;
    let results = given.results(&options.results)?;
    let queries = Threads::queries()?;
    let config = ComputeConfig {
        data_dir: data_dir(options.data_dir.as_deref(), "slipher-compute-data")?,
        flight_listen,
        flight_advertise: flight_advertise(&options, flight_listen),
        tls: options.tls.options()?,
        listen,
        advertise: options.advertise.as_ref().map(|address| format!("http://{address}")),
        leader: format!("http://{}", options.leader.as_deref().unwrap_or("127.0.0.1:5441")),
        name: options.name.clone().or_else(|| options.advertise.clone()).unwrap_or_else(|| listen.to_string()),
        options: node_options(node_memory_bytes, options.query_memory_mib, results, lanes(options.lanes, 1)?),
        queries: queries.handle().clone(),
    };
    let node = ComputeNode::start(config, shutdown.clone()).await?;
    announce(&format!("compute node listens on {}", node.address()));
    shutdown.cancelled().await;
    node.join().await
}
