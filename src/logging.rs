//! Structured logs on standard error, and traces for a collector.

use opentelemetry::KeyValue;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use slipher_common::{Error, ErrorKind, Result};
use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// Logs at `level` and above; SLIPHER_LOG (as in `info,slipher_leader=debug`) changes that, SLIPHER_LOG_FORMAT=json the form.
pub fn start(level: &str) {
    let default = format!("{level},datafusion_distributed=error,sled=warn,opentelemetry=warn,opentelemetry_sdk=warn");
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

/// Sends spans to an OpenTelemetry collector until it is dropped.
pub struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Exports to `endpoint` (OTLP over gRPC, `http://host:4317`) as the service `slipher-{role}`; nothing without one. To be called
    /// in the runtime.
    pub fn start(endpoint: Option<&str>, role: &'static str) -> Result<Self> {
        let Some(endpoint) = endpoint else { return Ok(Self(None)) };
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build();
        let exporter = exporter.map_err(|error| {
            Error::new(ErrorKind::Config, format!("sending traces to \"{endpoint}\": {error}"))
                .with_hint("give the collector's address as http://host:4317")
        })?;
        let resource = Resource::builder().with_service_name(format!("slipher-{role}"));
        let resource = resource.with_attribute(KeyValue::new("service.version", slipher_common::VERSION)).build();
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
        opentelemetry::global::set_tracer_provider(provider.clone());
        Ok(Self(Some(provider)))
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        // The last spans are sent here.
        if let Some(provider) = self.0.take()
            && let Err(error) = tokio::task::block_in_place(|| provider.shutdown())
        {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}
