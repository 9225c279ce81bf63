//! Structured logs on standard error.

use tracing_subscriber::EnvFilter;

/// Logs at `level` and above; SLIPHER_LOG (as in `info,slipher_leader=debug`) changes that, SLIPHER_LOG_FORMAT=json the form.
pub fn start(level: &str) {
    let default = format!("{level},datafusion_distributed=error,sled=warn");
    let filter = EnvFilter::try_from_env("SLIPHER_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start, as in tests, keeps the first.
    if std::env::var("SLIPHER_LOG_FORMAT").is_ok_and(|format| format == "json") {
        drop(builder.json().try_init());
    } else {
        drop(builder.try_init());
    }
}
