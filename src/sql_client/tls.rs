//! Connections to Flight servers, plain and encrypted.

use super::report::Failure;
use hyper_util::rt::TokioIo;
use slipher_common::flight::{PLAIN_SCHEME, TLS_SCHEME};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};

/// How long connecting may take.
const CONNECT_TIMEOUT_SECONDS: u64 = 10;

/// Connects as the arguments say.
#[derive(Clone)]
pub(super) struct Connector {
    tls: TlsConnector,
}

impl Connector {
    /// Trusts the certificates in `roots`, or those that the system trusts.
    pub(super) fn new(roots: Option<&Path>) -> Result<Self, Failure> {
        let unusable = |why: String| Failure::Usage(format!("preparing TLS: {why}"));
        let mut store = RootCertStore::empty();
        let certificates = match roots {
            Some(path) => read_roots(path).map_err(unusable)?,
            // A system without any is no matter until a server is to be trusted.
            None => rustls_native_certs::load_native_certs().certs,
        };
        let (added, _) = store.add_parsable_certificates(certificates);
        if let Some(path) = roots.filter(|_| added == 0) {
            return Err(unusable(format!("the file \"{}\" holds no certificate", path.display())));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().map_err(|error| unusable(error.to_string()))?;
        let mut config = config.with_root_certificates(store).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { tls: TlsConnector::from(Arc::new(config)) })
    }

    /// Connects to `grpc://host:port` or `grpc+tls://host:port`.
    pub(super) async fn connect(&self, address: &str) -> Result<Channel, String> {
        let (scheme, host) = match (address.strip_prefix(PLAIN_SCHEME), address.strip_prefix(TLS_SCHEME)) {
            (Some(host), _) => ("http", host),
            (_, Some(host)) => ("https", host),
            _ => return Err("its scheme is not known".to_owned()),
        };
        let endpoint = Endpoint::from_shared(format!("{scheme}://{host}")).map_err(|error| error.to_string())?;
        let endpoint = endpoint.connect_timeout(Duration::from_secs(CONNECT_TIMEOUT_SECONDS)).tcp_nodelay(true);
        let endpoint = endpoint.user_agent("slipher-sql").map_err(|error| error.to_string())?;
        let channel = match scheme {
            "http" => endpoint.connect().await,
            _ => {
                let tls = self.tls.clone();
                endpoint.connect_with_connector(tower::service_fn(move |uri: Uri| encrypted(tls.clone(), uri))).await
            }
        };
        channel.map_err(|error| chain(&error))
    }
}

fn read_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    read.map_err(|error| format!("reading the certificates \"{}\": {error}", path.display()))
}

async fn encrypted(tls: TlsConnector, uri: Uri) -> io::Result<TokioIo<tokio_rustls::client::TlsStream<TcpStream>>> {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
    let stream = TcpStream::connect((host.as_str(), uri.port_u16().unwrap_or_default())).await?;
    stream.set_nodelay(true)?;
    tls.connect(name, stream).await.map(TokioIo::new)
}

/// An error with its causes, which transport errors keep to themselves.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
