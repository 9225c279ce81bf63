//! How servers end: whoever is served gets a moment to come to an end, and then the server ends without.

use std::time::Duration;

/// How long connections may take to end what they do after a shutdown was asked for. An idle one never does.
pub const DRAIN_MAX_SECONDS: u64 = 3;

/// Runs `server`, which stops accepting when `shutdown` comes, until its last connection has ended or [`DRAIN_MAX_SECONDS`] have passed since.
pub async fn drained<E>(server: impl Future<Output = Result<(), E>>, shutdown: impl Future<Output = ()>) -> Result<(), E> {
    let forced_end = async {
        shutdown.await;
        tokio::time::sleep(Duration::from_secs(DRAIN_MAX_SECONDS)).await;
    };
    tokio::select! {
        ended = server => ended,
        () = forced_end => Ok(()),
    }
}
