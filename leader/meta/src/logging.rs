//! raft logs through slog; this hands its lines to tracing.

/// A logger for a replica.
pub(super) fn logger() -> slog::Logger {
    slog::Logger::root(ToTracing, slog::o!())
}

struct ToTracing;

impl slog::Drain for ToTracing {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &slog::Record<'_>, _values: &slog::OwnedKVList) -> Result<(), slog::Never> {
        // One level lower than raft's: its elections are details to somebody who runs a warehouse.
        match record.level() {
            slog::Level::Critical | slog::Level::Error => tracing::error!(target: "slipher::raft", "{}", record.msg()),
            slog::Level::Warning => tracing::warn!(target: "slipher::raft", "{}", record.msg()),
            slog::Level::Info => tracing::debug!(target: "slipher::raft", "{}", record.msg()),
            slog::Level::Debug | slog::Level::Trace => tracing::trace!(target: "slipher::raft", "{}", record.msg()),
        }
        Ok(())
    }
}
