//! Certificate and key from files, read again when the files change.

use crate::{Error, ErrorKind, Result};
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

/// The files are looked at for a change no more often than this.
const CHECK_PERIOD_MS: u64 = 1_000;

/// The certificate that connections are encrypted with.
#[derive(Debug)]
pub(super) struct Certificates {
    certificate: PathBuf,
    key: PathBuf,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    certified: Arc<CertifiedKey>,
    /// What the files looked like when they were last read, with or without success.
    stamp: Stamp,
    checked: Instant,
}

/// Length and time of change of both files. A file that cannot be looked at has none.
type Stamp = [Option<(u64, SystemTime)>; 2];

impl Certificates {
    /// Reads both files.
    pub(super) fn open(certificate: PathBuf, key: PathBuf) -> Result<Self> {
        let stamp = stamp(&certificate, &key);
        let certified = Arc::new(read(&certificate, &key)?);
        Ok(Self { certificate, key, current: Mutex::new(Current { certified, stamp, checked: Instant::now() }) })
    }

    /// The certificate for a new connection. Files that changed into something unusable leave the one before in use.
    fn current(&self) -> Arc<CertifiedKey> {
        let mut current = self.current.lock();
        if current.checked.elapsed() >= Duration::from_millis(CHECK_PERIOD_MS) {
            current.checked = Instant::now();
            let stamp = stamp(&self.certificate, &self.key);
            if stamp != current.stamp {
                current.stamp = stamp;
                match read(&self.certificate, &self.key) {
                    Ok(certified) => {
                        current.certified = Arc::new(certified);
                        tracing::info!(file = %self.certificate.display(), "the changed TLS certificate is in use");
                    }
                    // Between the writing of the two files they do not fit; the next look is a second away.
                    Err(error) => {
                        tracing::warn!(%error, "the changed TLS files are not usable; the certificate before stays in use")
                    }
                }
            }
        }
        Arc::clone(&current.certified)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

fn stamp(certificate: &Path, key: &Path) -> Stamp {
    [certificate, key].map(|path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    })
}

fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey> {
    let unusable = |what: &str, path: &Path, why: &dyn std::fmt::Display| {
        Error::new(ErrorKind::Config, format!("reading the {what} \"{}\": {why}", path.display()))
    };
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| unusable("TLS certificate", certificate, &error))?;
    if chain.is_empty() {
        return Err(unusable("TLS certificate", certificate, &"the file holds none").with_hint("it must be in PEM format"));
    }
    let secret = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| unusable("TLS key", key, &error).with_hint("it must be in PEM format, without a passphrase"))?;
    CertifiedKey::from_der(chain, secret, &ring::default_provider()).map_err(|error| {
        unusable("TLS key", key, &error).with_detail(format!("the certificate is \"{}\"", certificate.display()))
    })
}
