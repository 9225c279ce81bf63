//! Handshakes, plain clients and changed certificates, over real sockets.

use super::*;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use std::net::SocketAddr;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A certificate for "localhost" in `directory`; answers it as clients trust it.
fn write_certificate(directory: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(directory.join("cert.pem"), cert.pem()).unwrap();
    std::fs::write(directory.join("key.pem"), signing_key.serialize_pem()).unwrap();
    cert.der().clone()
}

fn options(directory: &Path, required: bool) -> TlsOptions {
    TlsOptions { certificate: directory.join("cert.pem"), key: directory.join("key.pem"), required }
}

/// Echoes one byte on every connection, `e` for an encrypted one and `p` for a plain one.
async fn start(options: &TlsOptions) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tls = ServerTls::open(options).unwrap();
    let mut incoming = Incoming::new(listener, Some(&tls), &["test"], Refusal(b"refused")).unwrap();
    let address = incoming.address();
    tokio::spawn(async move {
        while let Some(mut stream) = incoming.next().await {
            let kind = if stream.is_encrypted() { b"e" } else { b"p" };
            let _ = stream.read_u8().await;
            stream.write_all(kind).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    address
}

/// What a client that trusts `root` is answered, or why it does not connect.
async fn encrypted(address: SocketAddr, root: &CertificateDer<'static>) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    stream.write_all(b"x").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

async fn plain(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"x").await.unwrap();
    let mut answer = Vec::new();
    // A server that closes with input unread may reset the connection after its answer.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn one_port_takes_both_kinds() {
    let directory = tempfile::tempdir().unwrap();
    let root = write_certificate(directory.path());
    let address = start(&options(directory.path(), false)).await;
    assert_eq!(encrypted(address, &root).await.unwrap(), "e");
    assert_eq!(plain(address).await, "p");
}

#[tokio::test]
async fn plain_clients_are_refused_where_encryption_is_required() {
    let directory = tempfile::tempdir().unwrap();
    let root = write_certificate(directory.path());
    let address = start(&options(directory.path(), true)).await;
    assert_eq!(plain(address).await, "refused");
    assert_eq!(encrypted(address, &root).await.unwrap(), "e");
}

#[tokio::test]
async fn a_client_that_says_nothing_holds_nobody_up() {
    let directory = tempfile::tempdir().unwrap();
    let root = write_certificate(directory.path());
    let address = start(&options(directory.path(), true)).await;
    let _silent = TcpStream::connect(address).await.unwrap();
    let mut halfway = TcpStream::connect(address).await.unwrap();
    halfway.write_all(&[HANDSHAKE_RECORD]).await.unwrap();
    assert_eq!(encrypted(address, &root).await.unwrap(), "e");
}

#[tokio::test]
async fn changed_certificates_are_used_and_broken_ones_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let first = write_certificate(directory.path());
    let address = start(&options(directory.path(), true)).await;
    assert_eq!(encrypted(address, &first).await.unwrap(), "e");

    std::fs::write(directory.path().join("key.pem"), "no key").unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(encrypted(address, &first).await.unwrap(), "e");

    let second = write_certificate(directory.path());
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(encrypted(address, &second).await.unwrap(), "e");
    encrypted(address, &first).await.unwrap_err();
}

#[test]
fn unusable_files_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let message = |options: &TlsOptions| ServerTls::open(options).unwrap_err().message;
    let missing = options(directory.path(), true);
    assert!(message(&missing).contains("cert.pem"), "{}", message(&missing));
    write_certificate(directory.path());
    std::fs::write(directory.path().join("key.pem"), "").unwrap();
    assert!(message(&missing).contains("key.pem"), "{}", message(&missing));
    let other = tempfile::tempdir().unwrap();
    write_certificate(other.path());
    std::fs::copy(other.path().join("key.pem"), directory.path().join("key.pem")).unwrap();
    assert!(message(&missing).contains("key.pem"), "{}", message(&missing));
    std::fs::write(directory.path().join("cert.pem"), "nothing").unwrap();
    assert!(message(&missing).contains("cert.pem"), "{}", message(&missing));
}
