//! The command line: what each command takes, from flags, SLIPHER_* variables and the configuration file, in this order.

use crate::config::FileConfig;
use clap::{Args, Parser, Subcommand};
use slipher_common::tls::TlsOptions;
use slipher_common::{Error, ErrorKind, Result};
use std::path::PathBuf;

/// Slipher: a data warehouse that speaks Amazon Redshift's SQL.
///
/// A leader plans statements, compute nodes hold the data and do the work. `slipher demo` shows all of it in one process;
/// `slipher local` is a small warehouse for one machine; `slipher leader` and `slipher compute` make a cluster of several.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 120)]
pub struct Cli {
    /// A TOML file with the same names as the flags, with underscores: `data_dir = "..."`.
    #[arg(long, global = true, env = "SLIPHER_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where servers send their traces (OpenTelemetry, OTLP over gRPC); without it they send none.
    #[arg(long, global = true, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "http://HOST:4317")]
    pub otlp_endpoint: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Starts an embedded cluster, loads TPC-H, runs its queries and shows their plans; then waits for clients.
    Demo(DemoOptions),
    /// Runs a leader and compute nodes in one process: a warehouse for one machine.
    Local(LocalOptions),
    /// Runs a leader: clients connect to it, compute nodes join it.
    Leader(LeaderOptions),
    /// Runs a compute node that joins a leader.
    Compute(ComputeOptions),
    /// Runs SQL on a warehouse, from the command line, a file or standard input.
    Sql(slipher::sql_client::SqlArgs),
    /// Looks at data directories while nothing runs on them.
    #[command(subcommand)]
    Admin(AdminCommand),
}

/// What an administrator does with data directories.
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Reads everything in the data directory of a leader or a compute node, and says what is sound. Ends with 1 if something is not.
    Check(CheckOptions),
}

/// Options of `slipher admin check`.
#[derive(Clone, Debug, Args)]
pub struct CheckOptions {
    /// What the server was given as --data-dir.
    pub dir: PathBuf,
    /// For a compute node: the leader's data directory, whose metadata know the checksums of all files.
    #[arg(long, value_name = "DIR")]
    pub leader_dir: Option<PathBuf>,
    /// For a leader whose metadata have lost something: goes on without. What was committed after the damage is lost for good.
    #[arg(long, conflicts_with = "leader_dir")]
    pub accept_loss: bool,
}

macro_rules! merge {
    ($options:ident, $file:ident, $($field:ident),*) => {
        $(if $options.$field.is_none() { $options.$field = $file.$field.clone(); })*
    };
}

/// Options of `slipher demo`.
#[derive(Clone, Debug, Default, Args)]
pub struct DemoOptions {
    /// TPC-H scale factor: 1 is 6 million rows of lineitem.
    #[arg(long, default_value_t = 0.1)]
    pub scale: f64,
    /// Ends after the queries instead of waiting for clients.
    #[arg(long)]
    pub exit: bool,
    /// The embedded warehouse.
    #[command(flatten)]
    pub local: LocalOptions,
}

impl DemoOptions {
    /// With what the file says where neither flag nor variable did.
    pub fn merged(mut self, file: &FileConfig) -> Self {
        self.local = self.local.merged(file);
        self
    }
}

/// Encryption for clients.
#[derive(Clone, Debug, Default, Args)]
pub struct TlsArgs {
    /// PEM file with the certificate for clients, followed by those between it and the root; read again when it changes.
    #[arg(long, env = "SLIPHER_TLS_CERTIFICATE", value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// PEM file with the certificate's private key.
    #[arg(long, env = "SLIPHER_TLS_KEY", value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// Refuses clients that do not encrypt [default: false].
    #[arg(long, env = "SLIPHER_TLS_REQUIRED", value_name = "BOOLEAN", num_args = 0..=1, default_missing_value = "true")]
    pub tls_required: Option<bool>,
}

impl TlsArgs {
    /// With what the file says where neither flag nor variable did.
    fn merged(mut self, file: &FileConfig) -> Self {
        merge!(self, file, tls_certificate, tls_key, tls_required);
        self
    }

    /// What they come to; None when there is no certificate.
    pub fn options(&self) -> Result<Option<TlsOptions>> {
        let required = self.tls_required.unwrap_or(false);
        match (&self.tls_certificate, &self.tls_key) {
            (Some(certificate), Some(key)) => {
                Ok(Some(TlsOptions { certificate: certificate.clone(), key: key.clone(), required }))
            }
            (None, None) if !required => Ok(None),
            _ => Err(Error::new(ErrorKind::Config, "TLS needs both a certificate and its key")
                .with_hint("give --tls-certificate FILE and --tls-key FILE")),
        }
    }
}

/// How much memory results may take until clients fetch them.
#[derive(Clone, Debug, Default, Args)]
pub struct ResultsArgs {
    /// Memory for results that clients have not fetched yet, in MiB: on the leader those of HTTP, on each compute node those of Flight SQL
    /// [default: 512, at most 7.5 % of the machine's or container's memory].
    #[arg(long, env = "SLIPHER_RESULTS_MIB", value_name = "MIB")]
    pub results_mib: Option<usize>,
    /// The same for the results of one user, whose oldest ones over HTTP make room for newer ones [default: half of --results-mib].
    #[arg(long, env = "SLIPHER_USER_RESULTS_MIB", value_name = "MIB")]
    pub user_results_mib: Option<usize>,
}

impl ResultsArgs {
    /// With what the file says where neither flag nor variable did.
    fn merged(mut self, file: &FileConfig) -> Self {
        merge!(self, file, results_mib, user_results_mib);
        self
    }
}

/// Options of `slipher local`.
#[derive(Clone, Debug, Default, Args)]
pub struct LocalOptions {
    /// Compute nodes in this process [default: 2].
    #[arg(long, env = "SLIPHER_COMPUTE_NODES", value_name = "N")]
    pub compute_nodes: Option<usize>,
    /// The leader's options.
    #[command(flatten)]
    pub leader: LeaderOptions,
    /// Memory of all queries on each compute node, in MiB; whoever needs more waits, spills or fails with 53200 [default: of 60 % of the machine's or container's memory, what the leader leaves, shared among the nodes of this process].
    #[arg(long, env = "SLIPHER_NODE_MEMORY_MIB", value_name = "MIB")]
    pub node_memory_mib: Option<usize>,
    /// Memory each query may use on each compute node, in MiB [default: 1024, at most --node-memory-mib].
    #[arg(long, env = "SLIPHER_QUERY_MEMORY_MIB", value_name = "MIB")]
    pub query_memory_mib: Option<usize>,
}

impl LocalOptions {
    /// With what the file says where neither flag nor variable did.
    pub fn merged(mut self, file: &FileConfig) -> Self {
        merge!(self, file, compute_nodes, node_memory_mib, query_memory_mib);
        self.leader = self.leader.merged(file);
        self
    }
}

/// Options of `slipher leader`.
#[derive(Clone, Debug, Default, Args)]
pub struct LeaderOptions {
    /// Where the data is kept [default: slipher-data].
    #[arg(long, env = "SLIPHER_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The address to listen on [default: 127.0.0.1].
    #[arg(long, env = "SLIPHER_HOST", value_name = "ADDRESS")]
    pub host: Option<String>,
    /// Port for PostgreSQL clients; 0 picks one [default: 5439].
    #[arg(long, env = "SLIPHER_PG_PORT", value_name = "PORT")]
    pub pg_port: Option<u16>,
    /// Port for Flight SQL clients; 0 picks one [default: 5440].
    #[arg(long, env = "SLIPHER_FLIGHT_PORT", value_name = "PORT")]
    pub flight_port: Option<u16>,
    /// Port for HTTP: health, metrics, statements without a connection; 0 picks one [default: 5480].
    #[arg(long, env = "SLIPHER_HTTP_PORT", value_name = "PORT")]
    pub http_port: Option<u16>,
    /// Port for compute nodes; 0 picks one [default: 5441].
    #[arg(long, env = "SLIPHER_INTERNAL_PORT", value_name = "PORT")]
    pub internal_port: Option<u16>,
    /// Password of the superuser `admin`; without it one is generated and kept in the data directory.
    #[arg(long, env = "SLIPHER_ADMIN_PASSWORD", value_name = "PASSWORD", hide_env_values = true)]
    pub admin_password: Option<String>,
    /// Slices of a new cluster: the units of distribution. Without it there are as many as lanes need, and more when lanes are added [default: 8, up to 256 by lanes].
    #[arg(long, env = "SLIPHER_SLICES", value_name = "S")]
    pub slices: Option<u32>,
    /// Copies of each slice in a new cluster, where there are enough nodes [default: 2].
    #[arg(long, env = "SLIPHER_REPLICATION_FACTOR", value_name = "COPIES")]
    pub replication_factor: Option<u32>,
    /// Partitions of a query in each of its tasks [default: as many as the smallest compute node works on at a time, which are its processors; at least 2].
    #[arg(long, env = "SLIPHER_LANES", value_name = "P")]
    pub lanes: Option<usize>,
    /// COPY reads files below this directory; without it COPY from files is refused.
    #[arg(long, env = "SLIPHER_LOAD_DIR", value_name = "DIR")]
    pub load_dir: Option<PathBuf>,
    /// Memory of all queries on the leader, in MiB [default: 1024, at most 15 % of the machine's or container's memory].
    #[arg(long, env = "SLIPHER_LEADER_MEMORY_MIB", value_name = "MIB")]
    pub leader_memory_mib: Option<usize>,
    /// A join's side of at most so many estimated rows is copied to every node rather than shuffled [default: 131072].
    #[arg(long, env = "SLIPHER_BROADCAST_ROWS_MAX", value_name = "ROWS")]
    pub broadcast_rows_max: Option<usize>,
    /// Flight SQL clients fetch results of at least so many estimated rows straight from the compute nodes [default: 100000].
    #[arg(long, env = "SLIPHER_DIRECT_ROWS_MIN", value_name = "ROWS")]
    pub direct_rows_min: Option<usize>,
    /// How often files of failed loads are looked for, and how old they must be, in seconds [default: 60].
    #[arg(long, env = "SLIPHER_SWEEP_SECONDS", value_name = "SECONDS")]
    pub sweep_seconds: Option<u64>,
    /// How often tables with many tiny segments, deleted rows or rows out of order are looked for, to be rewritten, in seconds; 0: never
    /// [default: 1].
    #[arg(long, env = "SLIPHER_COMPACT_SECONDS", value_name = "SECONDS")]
    pub compact_seconds: Option<u64>,
    /// A compute node of which nothing is heard for so long counts as dead, in seconds; one that has ended is noticed at once
    /// [default: 10].
    #[arg(long, env = "SLIPHER_NODE_SILENCE_SECONDS", value_name = "SECONDS")]
    pub node_silence_seconds: Option<u64>,
    /// Sessions of PostgreSQL clients at a time, and as many of Flight SQL clients, and statements over HTTP; one more gets 53300
    /// [default: 500].
    #[arg(long, env = "SLIPHER_MAX_CONNECTIONS", value_name = "COUNT")]
    pub max_connections: Option<usize>,
    /// Memory for results.
    #[command(flatten)]
    pub results: ResultsArgs,
    /// Encryption.
    #[command(flatten)]
    pub tls: TlsArgs,
}

impl LeaderOptions {
    /// With what the file says where neither flag nor variable did.
    pub fn merged(mut self, file: &FileConfig) -> Self {
        merge!(
            self,
            file,
            data_dir,
            host,
            pg_port,
            flight_port,
            http_port,
            internal_port,
            admin_password,
            slices,
            replication_factor,
            lanes,
            load_dir,
            leader_memory_mib,
            broadcast_rows_max,
            direct_rows_min,
            sweep_seconds,
            compact_seconds,
            node_silence_seconds,
            max_connections
        );
        self.results = self.results.merged(file);
        self.tls = self.tls.merged(file);
        self
    }
}

/// Options of `slipher compute`.
#[derive(Clone, Debug, Default, Args)]
pub struct ComputeOptions {
    /// The leader's host and internal port [default: 127.0.0.1:5441].
    #[arg(long, env = "SLIPHER_LEADER", value_name = "HOST:PORT")]
    pub leader: Option<String>,
    /// Where the data is kept [default: slipher-compute-data].
    #[arg(long, env = "SLIPHER_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The address to listen on; port 0 picks one [default: 127.0.0.1:5451].
    #[arg(long, env = "SLIPHER_LISTEN", value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// Host and port under which the leader and other nodes reach this node [default: the listening address].
    #[arg(long, env = "SLIPHER_ADVERTISE", value_name = "HOST:PORT")]
    pub advertise: Option<String>,
    /// The address at which clients fetch results; port 0 picks one [default: the port after that of --listen].
    #[arg(long, env = "SLIPHER_FLIGHT_LISTEN", value_name = "ADDRESS:PORT")]
    pub flight_listen: Option<String>,
    /// Host and port under which clients reach that [default: the host of --advertise].
    #[arg(long, env = "SLIPHER_FLIGHT_ADVERTISE", value_name = "HOST:PORT")]
    pub flight_advertise: Option<String>,
    /// Partitions that this node works on at a time: a node that works on twice as many as others gets twice as much data [default: its processors].
    #[arg(long, env = "SLIPHER_LANES", value_name = "P")]
    pub lanes: Option<usize>,
    /// Memory for results.
    #[command(flatten)]
    pub results: ResultsArgs,
    /// Encryption of results.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// A name for people [default: the advertised address].
    #[arg(long, env = "SLIPHER_NAME")]
    pub name: Option<String>,
    /// Memory of all queries on this node, in MiB; whoever needs more waits, spills or fails with 53200 [default: 60 % of the machine's or container's memory].
    #[arg(long, env = "SLIPHER_NODE_MEMORY_MIB", value_name = "MIB")]
    pub node_memory_mib: Option<usize>,
    /// Memory each query may use on this node, in MiB [default: 1024, at most --node-memory-mib].
    #[arg(long, env = "SLIPHER_QUERY_MEMORY_MIB", value_name = "MIB")]
    pub query_memory_mib: Option<usize>,
}

impl ComputeOptions {
    /// With what the file says where neither flag nor variable did.
    pub fn merged(mut self, file: &FileConfig) -> Self {
        merge!(
            self,
            file,
            leader,
            data_dir,
            listen,
            advertise,
            flight_listen,
            flight_advertise,
            name,
            lanes,
            node_memory_mib,
            query_memory_mib
        );
        self.results = self.results.merged(file);
        self.tls = self.tls.merged(file);
        self
    }
}
