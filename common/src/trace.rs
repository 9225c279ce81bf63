//! Spans of distributed traces (OpenTelemetry). Without an exporter they cost next to nothing.
//!
//! The current span is that of the future which is polled: run work with [`Span::around`], and what it does adds its own below. To
//! other nodes it travels as headers ([`headers`], [`Span::remote`]) in the form of W3C Trace Context.

use opentelemetry::trace::{FutureExt, Status, TraceContextExt, Tracer, WithContext};
use opentelemetry::{Context, KeyValue, StringValue, Value, global};
use std::collections::HashMap;
use std::fmt;
use std::future::Future;

/// The instrumentation that all spans are of.
const TRACER: &str = "slipher";

/// A span; it ends when dropped.
#[derive(Clone)]
pub struct Span(Context);

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Span").field(&self.0.span().span_context().span_id()).finish()
    }
}

impl Default for Span {
    /// A span that nobody sees.
    fn default() -> Self {
        Self(Context::new())
    }
}

impl Span {
    /// Begins a span below the current one.
    pub fn start(name: &'static str) -> Self {
        Self::below(&Context::current(), name)
    }

    /// Begins a span below that of another process, by the headers it sent; a trace of its own where they name none.
    pub fn remote<'a>(name: &'static str, headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let carrier: HashMap<String, String> =
            headers.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let parent = global::get_text_map_propagator(|propagator| propagator.extract_with_context(&Context::new(), &carrier));
        Self::below(&parent, name)
    }

    fn below(parent: &Context, name: &'static str) -> Self {
        let span = global::tracer(TRACER).start_with_context(name, parent);
        Self(parent.with_span(span))
    }

    /// Notes something about it.
    pub fn set(&self, name: &'static str, value: impl Into<Value>) {
        self.0.span().set_attribute(KeyValue::new(name, value));
    }

    /// Notes that it failed, and why: a SQLSTATE, not a message, which may quote data.
    pub fn fail(&self, sqlstate: &'static str) {
        self.set("db.response.status_code", StringValue::from(sqlstate));
        self.0.span().set_status(Status::error(sqlstate));
    }

    /// `work`, with this as the current span.
    pub fn around<F: Future>(&self, work: F) -> WithContext<F> {
        work.with_context(self.0.clone())
    }
}

/// `work` for another thread: the spans that it begins there are below the current one here.
pub fn carried<T>(work: impl FnOnce() -> T + Send) -> impl FnOnce() -> T + Send {
    let current = Context::current();
    move || {
        let _current = current.attach();
        work()
    }
}

/// The current span as headers of a call to another process; none where nobody sees it.
pub fn headers() -> HashMap<String, String> {
    let mut carrier = HashMap::new();
    global::get_text_map_propagator(|propagator| propagator.inject_context(&Context::current(), &mut carrier));
    carrier
}
