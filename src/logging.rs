//! Structured logs on standard error.

use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// Logs at `level` and above; SLIPHER_LOG (as in `info,slipher_leader=debug`) changes that, SLIPHER_LOG_FORMAT=json the form.
pub fn start(level: &str) {
    let default = format!("{level},datafusion_distributed=error,sled=warn");
    let filter = EnvFilter::try_from_env("SLIPHER_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Colours are for people: NO_COLOR and files get none.
    let coloured = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let builder = builder.with_ansi(coloured);
    // A second start, as in tests, keeps the first.
    if std::env::var("SLIPHER_LOG_FORMAT").is_ok_and(|format| format == "json") {
        drop(builder.json().try_init());
    } else {
        drop(builder.try_init());
    }
}
