//! Clusters of real processes on loopback, on ports nobody else has.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio_postgres::{Client, NoTls};

/// Password of `admin` in every test cluster.
pub const PASSWORD: &str = "test-password";
/// How long a process may take until it says that it is ready.
const READY_MAX_SECONDS: u64 = 60;
/// How long a process may take to end after SIGTERM.
const STOP_MAX_SECONDS: u64 = 20;

/// A file of the project. Cargo says where that is when it runs the tests: a binary from a shared cache may have been built elsewhere.
pub fn in_project(path: &str) -> PathBuf {
    let root = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    PathBuf::from(root).join(path)
}

/// One `slipher` process; killed when dropped.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts `slipher` with `arguments` and waits for a line that contains `ready`.
    pub fn start(arguments: &[String], ready: &str) -> Self {
        Self::try_start(arguments, ready, &[]).unwrap_or_else(|why| panic!("{why}"))
    }

    /// The same with an environment of its own; an error when it ends before it is ready.
    pub fn try_start(arguments: &[String], ready: &str, environment: &[(&str, &str)]) -> Result<Self, String> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_slipher"))
            .args(arguments)
            .env("SLIPHER_LOG", std::env::var("SLIPHER_LOG").unwrap_or_else(|_| "warn".to_owned()))
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .expect("starting slipher");
        let stdout = child.stdout.take().expect("its output");
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // The receiver is gone once the process is ready.
                drop(sender.send(line));
            }
        });
        let mut lines = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(READY_MAX_SECONDS);
        while !lines.iter().any(|line: &String| line.contains(ready)) {
            let left = deadline.saturating_duration_since(Instant::now());
            match receiver.recv_timeout(left) {
                Ok(line) => lines.push(line),
                Err(error) => {
                    drop(child.kill());
                    drop(child.wait());
                    return Err(format!("slipher {arguments:?} did not print \"{ready}\": {error}; it printed {lines:?}"));
                }
            }
        }
        Ok(Self { child })
    }

    /// Whether it ends by itself within a time.
    pub fn ends_within(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.is_running() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        !self.is_running()
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.child.kill().expect("killing a process");
        self.child.wait().expect("waiting for a killed process");
    }

    /// SIGTERM; panics when the process does not end in order.
    pub fn stop(&mut self) {
        self.signal("TERM");
        let deadline = Instant::now() + Duration::from_secs(STOP_MAX_SECONDS);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("asking for its end") {
                assert!(status.success(), "slipher ended with {status} after SIGTERM");
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("slipher did not end within {STOP_MAX_SECONDS} s of SIGTERM");
    }

    /// Sends a signal: `STOP`, `CONT`, `TERM`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status().expect("sending a signal");
        assert!(sent.success(), "sending SIG{name} to {pid}");
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("asking for its end").is_none()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs `slipher` with arguments that it must refuse; answers what it says on standard error.
pub fn refused(arguments: &[String]) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_slipher"))
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .expect("starting slipher");
    let deadline = Instant::now() + Duration::from_secs(READY_MAX_SECONDS);
    let status = loop {
        if let Some(status) = child.try_wait().expect("asking for its end") {
            break status;
        }
        if Instant::now() > deadline {
            drop(child.kill());
            panic!("slipher {arguments:?} runs");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut said = String::new();
    let mut stderr = child.stderr.take().expect("its errors");
    std::io::Read::read_to_string(&mut stderr, &mut said).expect("reading its errors");
    assert!(!status.success(), "slipher {arguments:?} ended with {status}:\n{said}");
    said
}

/// A leader and its compute nodes, each a process of its own.
pub struct Cluster {
    pub leader: Process,
    pub nodes: Vec<Process>,
    pub pg_port: u16,
    pub flight_port: u16,
    pub http_port: u16,
    internal_port: u16,
    node_ports: Vec<u16>,
    dir: tempfile::TempDir,
    leader_options: Vec<String>,
    node_options: Vec<String>,
}

impl Cluster {
    /// A new cluster with `node_count` compute nodes and 8 slices.
    pub fn start(node_count: usize) -> Self {
        Self::start_with(node_count, &[])
    }

    /// The same with more options for the leader.
    pub fn start_with(node_count: usize, leader_options: &[&str]) -> Self {
        Self::start_with_all(node_count, leader_options, &[])
    }

    /// The same with more options for the compute nodes, too.
    pub fn start_with_all(node_count: usize, leader_options: &[&str], node_options: &[&str]) -> Self {
        // The same on machines of any size.
        let is_said = leader_options.contains(&"--slices");
        let slices: &[&str] = if is_said { &[] } else { &["--slices", "8"] };
        Self::start_as_told(node_count, &[leader_options, slices].concat(), node_options)
    }

    /// The same with these options only: the cluster has as many slices as its lanes want.
    pub fn start_as_told(node_count: usize, leader_options: &[&str], node_options: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(dir.path().join("load")).expect("the load directory");
        let ports = free_ports(4 + node_count);
        let leader_options: Vec<String> = leader_options.iter().map(|option| (*option).to_owned()).collect();
        let leader = start_leader(dir.path(), &ports, &leader_options, &[]).unwrap_or_else(|why| panic!("{why}"));
        let mut cluster = Self {
            leader,
            nodes: Vec::new(),
            pg_port: ports[0],
            flight_port: ports[1],
            internal_port: ports[2],
            http_port: ports[3],
            node_ports: ports[4..].to_vec(),
            dir,
            leader_options,
            node_options: node_options.iter().map(|option| (*option).to_owned()).collect(),
        };
        for index in 0..node_count {
            let node = cluster.start_node(index);
            cluster.nodes.push(node);
        }
        cluster
    }

    /// Starts a compute node that is not running.
    pub fn start_node(&self, index: usize) -> Process {
        self.try_start_node(index, &[]).unwrap_or_else(|why| panic!("{why}"))
    }

    fn try_start_node(&self, index: usize, environment: &[(&str, &str)]) -> Result<Process, String> {
        let mut arguments = vec![
            "compute".to_owned(),
            "--leader".to_owned(),
            format!("127.0.0.1:{}", self.internal_port),
            "--flight-listen".to_owned(),
            "127.0.0.1:0".to_owned(),
            "--listen".to_owned(),
            format!("127.0.0.1:{}", self.node_ports[index]),
            "--data-dir".to_owned(),
            self.node_dir(index).to_string_lossy().into_owned(),
        ];
        arguments.extend(self.node_options.iter().cloned());
        Process::try_start(&arguments, "compute node listens", environment)
    }

    /// Starts one more compute node.
    pub fn add_node(&mut self) {
        self.node_ports.extend(free_ports(1));
        let node = self.start_node(self.nodes.len());
        self.nodes.push(node);
    }

    /// Starts one more compute node, with options of its own.
    pub fn add_node_with(&mut self, options: &[&str]) {
        let own = options.iter().map(|option| (*option).to_owned()).collect();
        let others = std::mem::replace(&mut self.node_options, own);
        self.add_node();
        self.node_options = others;
    }

    /// What `/metrics` says.
    pub fn metrics(&self) -> String {
        self.get("/metrics")
    }

    /// What the leader answers to a GET, headers and all.
    pub fn get(&self, path: &str) -> String {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.http_port)).expect("connecting");
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("asking");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("reading");
        answer
    }

    /// Starts a compute node again after it was killed.
    pub fn restart_node(&mut self, index: usize) {
        self.nodes[index] = self.start_node(index);
    }

    /// Starts the leader again after it was killed.
    pub fn restart_leader(&mut self) {
        self.restart_leader_with(&[]).unwrap_or_else(|why| panic!("{why}"));
    }

    /// Starts the leader again with an environment of its own; an error when it ends before it is ready.
    pub fn restart_leader_with(&mut self, environment: &[(&str, &str)]) -> Result<(), String> {
        let ports = [self.pg_port, self.flight_port, self.internal_port, self.http_port];
        self.leader = start_leader(self.dir.path(), &ports, &self.leader_options, environment)?;
        Ok(())
    }

    /// A leader on the cluster's directory and ports, after its leader has ended.
    pub fn start_leader_again(&self) -> Process {
        let ports = [self.pg_port, self.flight_port, self.internal_port, self.http_port];
        start_leader(self.dir.path(), &ports, &self.leader_options, &[]).unwrap_or_else(|why| panic!("{why}"))
    }

    /// What the leader says when it is started and must end by itself.
    pub fn leader_refuses(&self) -> String {
        let ports = [self.pg_port, self.flight_port, self.internal_port, self.http_port];
        refused(&leader_arguments(self.dir.path(), &ports, &self.leader_options))
    }

    /// The same for a compute node.
    pub fn restart_node_with(&mut self, index: usize, environment: &[(&str, &str)]) -> Result<(), String> {
        self.nodes[index] = self.try_start_node(index, environment)?;
        Ok(())
    }

    /// Where compute node `index` keeps its data.
    pub fn node_dir(&self, index: usize) -> PathBuf {
        self.dir.path().join(format!("node-{index}"))
    }

    /// Where the leader keeps its data.
    pub fn leader_dir(&self) -> PathBuf {
        self.dir.path().join("leader")
    }

    /// The port compute nodes join at.
    pub fn internal_port(&self) -> u16 {
        self.internal_port
    }

    /// The port of compute node `index`.
    pub fn node_port(&self, index: usize) -> u16 {
        self.node_ports[index]
    }

    /// Where all of them keep their data.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where COPY may read.
    pub fn load_dir(&self) -> PathBuf {
        self.dir.path().join("load")
    }

    /// A PostgreSQL connection as `admin`.
    pub async fn connect(&self) -> Client {
        connect(self.pg_port).await
    }
}

fn start_leader(dir: &Path, ports: &[u16], options: &[String], environment: &[(&str, &str)]) -> Result<Process, String> {
    Process::try_start(&leader_arguments(dir, ports, options), "Compute nodes join with", environment)
}

fn leader_arguments(dir: &Path, ports: &[u16], options: &[String]) -> Vec<String> {
    let mut arguments = vec![
        "leader".to_owned(),
        "--data-dir".to_owned(),
        dir.join("leader").to_string_lossy().into_owned(),
        "--load-dir".to_owned(),
        dir.join("load").to_string_lossy().into_owned(),
        "--admin-password".to_owned(),
        PASSWORD.to_owned(),
    ];
    for (flag, port) in ["--pg-port", "--flight-port", "--internal-port", "--http-port"].iter().zip(ports) {
        arguments.extend([(*flag).to_owned(), port.to_string()]);
    }
    arguments.extend(options.iter().cloned());
    arguments
}

/// A PostgreSQL connection as `admin` to a port of this machine.
pub async fn connect(port: u16) -> Client {
    connect_as(port, "admin", PASSWORD).await
}

/// The same as another user.
pub async fn connect_as(port: u16, user: &str, password: &str) -> Client {
    connect_to(port, user, password, "dev").await.expect("connecting")
}

/// The same to a database.
pub async fn connect_to(port: u16, user: &str, password: &str, database: &str) -> Result<Client, tokio_postgres::Error> {
    let parameters = format!("host=127.0.0.1 port={port} user={user} password={password} dbname={database} connect_timeout=10");
    let (client, connection) = tokio_postgres::connect(&parameters, NoTls).await?;
    tokio::spawn(async move {
        // A test that kills its server sees the error at its statement.
        drop(connection.await);
    });
    Ok(client)
}

/// Ports that were free a moment ago, outside of the range that the system gives to whoever asks for any. Each is given away once: the
/// processes of another test could have it while its own are between two lives.
pub fn free_ports(count: usize) -> Vec<u16> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().expect("the ports that were given away");
    let mut ports = Vec::new();
    while ports.len() < count {
        let port = rand::random_range(10_000..32_000u16);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() && given.insert(port) {
            ports.push(port);
        }
    }
    ports
}

/// The rows of a simple query as text, NULL as `NULL`.
pub async fn rows(client: &Client, sql: &str) -> Result<Vec<Vec<String>>, tokio_postgres::Error> {
    let messages = client.simple_query(sql).await?;
    Ok(messages
        .into_iter()
        .filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|column| row.get(column).unwrap_or("NULL").to_owned()).collect())
            }
            _ => None,
        })
        .collect())
}

#[tokio::test]
async fn a_cluster_of_processes_answers_and_stops_in_order() {
    let mut cluster = Cluster::start(3);
    let client = cluster.connect().await;
    client.batch_execute("CREATE TABLE t (k int, v varchar(10)) DISTKEY(k)").await.expect("create");
    client.batch_execute("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, NULL)").await.expect("insert");
    assert_eq!(rows(&client, "SELECT k, v FROM t ORDER BY k").await.expect("select"), [["1", "a"], ["2", "b"], ["3", "NULL"]]);
    cluster.leader.stop();
    cluster.nodes.iter_mut().for_each(Process::stop);
}
