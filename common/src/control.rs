//! Connections for control: pings and cancellations. They go to the same port as everything else, but are connections of their own, served
//! on threads of their own at both ends ([`Threads::control`](crate::threads::Threads::control)): whoever waits on them waits for nobody's
//! rows. A node tells them from others by their first bytes.

use crate::Result;
use crate::channels::endpoint;
use crate::preface::Preface;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::error::Error as _;
use std::io;
use std::sync::Arc;
use tokio::runtime::Handle;
use tonic::Status;
use tonic::transport::Channel;

/// The control connections of one process to compute nodes, by address.
#[derive(Clone, Debug)]
pub struct ControlChannels {
    channels: Arc<Mutex<HashMap<String, Channel>>>,
    /// Where they are served, whoever uses them.
    runtime: Handle,
}

impl ControlChannels {
    /// Connections that are served on `runtime`.
    pub fn new(runtime: Handle) -> Self {
        Self { channels: Arc::default(), runtime }
    }

    /// Where they are served.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// The control connection to `address`; made at first use and again after it broke.
    pub fn channel(&self, address: &str) -> Result<Channel> {
        let mut channels = self.channels.lock();
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        let endpoint = endpoint(address)?;
        let _served_there = self.runtime.enter();
        let channel = Preface::Control.channel(&endpoint);
        channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }
}

/// Whether a call failed because nobody listens at the address: the process has ended. All else may be a moment's silence.
pub fn nobody_listens(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipher_proto::compute::PingRequest;
    use slipher_proto::compute::node_control_client::NodeControlClient;

    #[tokio::test]
    async fn a_port_nobody_listens_at_is_told_from_one_that_is_silent() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let channels = ControlChannels::new(Handle::current());
        let ping = async || {
            let mut call = tonic::Request::new(PingRequest::default());
            call.set_timeout(std::time::Duration::from_millis(200));
            NodeControlClient::new(channels.channel(&address).unwrap()).ping(call).await.unwrap_err()
        };
        assert!(!nobody_listens(&ping().await), "a listener that takes nothing from its queue is silent");
        drop(listener);
        // The first call may find the old connection broken.
        let refused = nobody_listens(&ping().await) || nobody_listens(&ping().await);
        assert!(refused);
    }
}
