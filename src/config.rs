//! The configuration file.

use serde::Deserialize;
use slipher_common::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// Every key a file may have; the same names as the flags.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    pub compute_nodes: Option<usize>,
    pub node_memory_mib: Option<usize>,
    pub query_memory_mib: Option<usize>,
    pub results_mib: Option<usize>,
    pub user_results_mib: Option<usize>,
    pub max_connections: Option<usize>,
    pub data_dir: Option<PathBuf>,
    pub host: Option<String>,
    pub pg_port: Option<u16>,
    pub flight_port: Option<u16>,
    pub http_port: Option<u16>,
    pub internal_port: Option<u16>,
    pub admin_password: Option<String>,
    pub slices: Option<u32>,
    pub replication_factor: Option<u32>,
    pub lanes: Option<usize>,
    pub load_dir: Option<PathBuf>,
    pub leader_memory_mib: Option<usize>,
    pub broadcast_rows_max: Option<usize>,
    pub direct_rows_min: Option<usize>,
    pub sweep_seconds: Option<u64>,
    pub compact_seconds: Option<u64>,
    pub node_silence_seconds: Option<u64>,
    pub leader: Option<String>,
    pub listen: Option<String>,
    pub advertise: Option<String>,
    pub flight_listen: Option<String>,
    pub flight_advertise: Option<String>,
    pub name: Option<String>,
    pub otlp_endpoint: Option<String>,
    pub tls_certificate: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    pub tls_required: Option<bool>,
}

/// Reads `path`, or nothing.
pub fn read(path: Option<&Path>) -> Result<FileConfig> {
    let Some(path) = path else {
        return Ok(FileConfig::default());
    };
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::io(format_args!("reading the configuration \"{}\"", path.display()), &error))?;
    toml::from_str(&text).map_err(|error| {
        Error::new(ErrorKind::Config, format!("reading the configuration \"{}\": {}", path.display(), error.message()))
            .with_detail(error.to_string())
            .with_hint("`slipher leader --help` and `slipher compute --help` list the keys, with dashes for underscores")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("slipher.toml");
        std::fs::write(&path, "pg_port = 5439\npg_prot = 5440\n").unwrap();
        let error = read(Some(&path)).unwrap_err();
        assert!(error.message.contains("pg_prot"), "{error}");
        std::fs::write(&path, "pg_port = 6000\n").unwrap();
        assert_eq!(read(Some(&path)).unwrap().pg_port, Some(6000));
    }
}
