//! Real clients: psycopg2 over the PostgreSQL protocol and the ADBC driver over Flight SQL, against three compute nodes.

use super::harness::{Cluster, PASSWORD, in_project};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::error::SqlState;

/// The clients, in versions that the scripts were written for.
const PACKAGES: &[&str] = &[
    "psycopg2-binary==2.9.13",
    "adbc-driver-manager==1.13.0",
    "adbc-driver-flightsql==1.13.0",
    "pyarrow==26.0.1",
    "kubernetes-validate==1.37.0",
    "PyYAML==6.0.3",
    "duckdb==1.5.5",
    "duckdb-extension-tpcds==1.5.5",
];

/// The Python of an environment that has [`PACKAGES`]; made once and kept in the target directory.
pub fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients");
        let (python, installed) = (environment.join("bin/python"), environment.join("installed"));
        let wanted = PACKAGES.join("\n");
        if std::fs::read_to_string(&installed).is_ok_and(|text| text == wanted) {
            return python;
        }
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment), "making a Python environment");
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES);
        run(&mut pip, "installing the clients with pip (this test needs a package index)");
        std::fs::write(&installed, wanted).expect("noting what was installed");
        python
    })
}

/// Runs a command to its end; panics with everything it printed when it fails.
fn run(command: &mut Command, doing: &str) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{doing}: starting {command:?}: {error}"));
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{doing}: {command:?} ended with {}:\n{printed}", output.status);
    printed
}

fn script(name: &str) -> PathBuf {
    in_project("tests/clients").join(name)
}

/// Runs a script of checks and answers what it printed; panics unless all pass.
pub async fn check(mut command: Command) -> String {
    let printed =
        tokio::task::spawn_blocking(move || run(&mut command, "running the client")).await.expect("the client's thread");
    assert!(printed.contains("passed, 0 failed"), "{printed}");
    printed
}

/// Runs `tests/clients/<name>` against `port` of a new cluster.
async fn run_script(name: &str, port: fn(&Cluster) -> u16, options: &[&str]) {
    let python = python();
    let cluster = Cluster::start_with(3, options);
    let mut command = Command::new(python);
    command.arg(script(name)).args(["127.0.0.1", &port(&cluster).to_string(), "admin", PASSWORD]);
    check(command).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn psycopg2_works() {
    run_script("postgres.py", |cluster| cluster.pg_port, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_adbc_driver_works() {
    run_script("flight_sql.py", |cluster| cluster.flight_port, &[]).await;
}

/// The same with results fetched from the compute nodes wherever a plan allows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_adbc_driver_fetches_from_the_nodes() {
    run_script("flight_sql.py", |cluster| cluster.flight_port, &["--direct-rows-min", "1"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_run_over_http() {
    run_script("rest.py", |cluster| cluster.http_port, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_works_on_a_terminal() {
    let python = python();
    let cluster = Cluster::start(2);
    let mut command = Command::new(python);
    command.arg(script("terminal.py"));
    command.args([&cluster.flight_port.to_string(), PASSWORD, env!("CARGO_BIN_EXE_slipher")]);
    check(command).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encryption_can_be_required() {
    check_tls(&["--tls-required"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encryption_can_be_offered() {
    check_tls(&[]).await;
}

/// Runs `tls.py` against two compute nodes with certificates of a root of their own.
async fn check_tls(options: &[&str]) {
    let python = python();
    let directory = tempfile::tempdir().expect("a directory");
    let [root, certificate, key] = write_certificates(directory.path());
    let mut all = vec!["--tls-certificate", &certificate, "--tls-key", &key];
    all.extend(options);
    let leader_options: Vec<&str> = all.iter().copied().chain(["--direct-rows-min", "1"]).collect();
    let cluster = Cluster::start_with_all(2, &leader_options, &all);
    let mut command = Command::new(python);
    command.arg(script("tls.py"));
    command.args([cluster.pg_port, cluster.flight_port, cluster.http_port].map(|port| port.to_string()));
    command.args([PASSWORD, &root, env!("CARGO_BIN_EXE_slipher"), if options.is_empty() { "optional" } else { "required" }]);
    check(command).await;
}

/// A root, and a certificate of it for this machine with its key: files in `directory`.
fn write_certificates(directory: &Path) -> [String; 3] {
    let mut root = CertificateParams::new(Vec::new()).expect("parameters of the root");
    // Two names: a certificate with the name of its issuer counts as self-signed.
    root.distinguished_name.push(DnType::CommonName, "the test's root");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root_key = KeyPair::generate().expect("a key");
    let root_certificate = root.self_signed(&root_key).expect("the root");
    let key = KeyPair::generate().expect("a key");
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let server = CertificateParams::new(names).expect("parameters of the certificate");
    let certificate = server.signed_by(&key, &Issuer::new(root, root_key)).expect("the certificate");
    let files = [("root.pem", root_certificate.pem()), ("server.pem", certificate.pem()), ("server.key", key.serialize_pem())];
    files.map(|(name, content)| {
        let path = directory.join(name);
        std::fs::write(&path, content).expect("writing a certificate");
        path.to_string_lossy().into_owned()
    })
}

/// The Compose file and the Kubernetes manifests fit the published schemas and this binary's options.
#[test]
fn the_manifests_are_valid() {
    let script = in_project("tests/deploy/check_manifests.py");
    let mut check = Command::new(python());
    check.arg(script).arg(env!("CARGO_BIN_EXE_slipher"));
    let printed = run(&mut check, "checking the manifests");
    assert!(printed.contains("passed, 0 failed"), "{printed}");
}

/// SQL's DEALLOCATE closes what the protocol prepared.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deallocate_closes_prepared_statements() {
    let cluster = Cluster::start(1);
    let client = cluster.connect().await;
    let statement = client.prepare("SELECT $1::int + 1").await.expect("preparing");
    let row = client.query_one(&statement, &[&41]).await.expect("running");
    assert_eq!(row.get::<_, i32>(0), 42);
    let unknown = client.batch_execute("DEALLOCATE nobody").await.expect_err("an unknown name");
    assert_eq!(unknown.code(), Some(&SqlState::INVALID_SQL_STATEMENT_NAME), "{unknown:?}");
    client.batch_execute("DEALLOCATE ALL").await.expect("closing all");
    let gone = client.query_one(&statement, &[&41]).await.expect_err("a closed statement");
    assert_eq!(gone.code(), Some(&SqlState::INVALID_SQL_STATEMENT_NAME), "{gone:?}");
}

/// What PREPARE has prepared and what the protocol has are found by the same names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prepared_statements_share_their_names() {
    let cluster = Cluster::start(1);
    let client = cluster.connect().await;
    client.batch_execute("PREPARE plus (int) AS SELECT $1 + 1 AS n").await.expect("preparing");
    let execute = client.prepare("EXECUTE plus (41)").await.expect("preparing EXECUTE");
    assert_eq!(execute.columns()[0].name(), "n");
    let row = client.query_one(&execute, &[]).await.expect("running");
    assert_eq!(row.get::<_, i32>(0), 42);
    let own = client.prepare("SELECT $1::int * 2").await.expect("preparing");
    // The client calls its statements s0, s1 and so on, those of all its connections together.
    let mut found = None;
    for number in 0..10_000 {
        if let Ok(rows) = client.simple_query(&format!("EXECUTE s{number} (4)")).await {
            assert!(rows.iter().any(|row| matches!(row, SimpleQueryMessage::Row(row) if row.get(0) == Some("8"))), "{rows:?}");
            found = Some(number);
            break;
        }
    }
    let number = found.expect("EXECUTE knows what the protocol has prepared");
    let taken = client.batch_execute(&format!("PREPARE s{number} AS SELECT 1")).await.expect_err("a name that is taken");
    assert_eq!(taken.code(), Some(&SqlState::DUPLICATE_PSTATEMENT), "{taken:?}");
    client.batch_execute(&format!("DEALLOCATE s{number}")).await.expect("letting it go");
    client.query_one(&own, &[&1]).await.expect_err("it is gone");
}

/// Moments are instants in binary values, whatever the session's zone; names in upper case are told of every row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_reach_what_clients_see() {
    let cluster = Cluster::start(1);
    let client = cluster.connect().await;
    client.batch_execute("SET timezone TO 'Asia/Seoul'").await.expect("setting the zone");
    let row = client.query_one("SELECT timestamptz '2024-01-01 09:00' AS moment", &[]).await.expect("reading");
    let instant = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_704_067_200);
    assert_eq!(row.get::<_, std::time::SystemTime>(0), instant);
    let row = client.query_one("SELECT $1::timestamptz::varchar", &[&instant]).await.expect("sending");
    assert_eq!(row.get::<_, &str>(0), "2024-01-01 09:00:00+09");
    client.batch_execute("SET describe_field_name_in_uppercase TO on").await.expect("setting upper case");
    let row = client.query_one("SELECT 1 AS a, 2 AS \"b c\"", &[]).await.expect("reading");
    let names: Vec<&str> = row.columns().iter().map(tokio_postgres::Column::name).collect();
    assert_eq!(names, ["A", "B C"]);
    let shown = client.simple_query("SELECT 1 AS a").await.expect("reading");
    assert!(shown.iter().any(|row| matches!(row, SimpleQueryMessage::Row(row) if row.columns()[0].name() == "A")));
}
