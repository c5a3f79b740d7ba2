//! A server that listens, whatever it runs on.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use forebay_threads::{Bytes, CallError, Document, Message, ServerOptions, Snapshot};
use prometheus_client::collector::Collector;

use crate::cli::Binding;

/// A server that listens.
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    pub(crate) handle: Handle,
    /// Serves until it has stopped.
    pub(crate) run: Box<dyn FnOnce() -> io::Result<()> + Send>,
}

/// Its handle.
#[derive(Clone, Debug)]
pub(crate) enum Handle {
    Threads(forebay_threads::Handle),
    Smol(forebay_smol::Handle),
}

impl Serving {
    /// Listens.
    ///
    /// # Errors
    /// The address cannot be had.
    pub(crate) fn bind(binding: Binding, listen: &str, mut options: ServerOptions) -> io::Result<Self> {
        options.documents = vec![Document {
            path: "/forebay.js".to_owned(),
            content_type: "text/javascript; charset=utf-8".to_owned(),
            body: Bytes::from_static(include_bytes!("../web/forebay.js")),
        }];
        #[cfg(unix)]
        match forebay_threads::raise_open_files() {
            Ok(limit) => log::debug!("open files: at most {limit:?}"),
            Err(error) => log::warn!("the limit of open files stays as it is: {error}"),
        }
        Ok(match binding {
            Binding::Threads => {
                let server = forebay_threads::Server::bind(listen, options)?;
                let (address, handle) = (server.local_addr()?, Handle::Threads(server.handle()));
                Self { address, handle, run: Box::new(|| server.run()) }
            }
            Binding::Smol => {
                let server = smol::block_on(forebay_smol::Server::bind(listen, options))?;
                let (address, handle) = (server.local_addr()?, Handle::Smol(server.handle()));
                Self { address, handle, run: Box::new(|| smol::block_on(server.run())) }
            }
        })
    }
}

impl Handle {
    /// Everything there is to see, with at most `lanes_max` lanes; `None` if the server has stopped.
    pub(crate) fn snapshot(&self, lanes_max: usize) -> Option<Snapshot> {
        match self {
            Self::Threads(handle) => handle.snapshot(lanes_max),
            Self::Smol(handle) => smol::block_on(handle.snapshot(lanes_max)),
        }
    }

    /// The same, unless it takes longer than `timeout`: `None`.
    pub(crate) fn snapshot_timeout(&self, lanes_max: usize, timeout: Duration) -> Option<Snapshot> {
        match self {
            Self::Threads(handle) => handle.snapshot_timeout(lanes_max, timeout),
            Self::Smol(handle) => smol::block_on(handle.snapshot_timeout(lanes_max, timeout)),
        }
    }

    /// Its numbers, for a registry.
    pub(crate) fn collector(&self) -> Box<dyn Collector> {
        Box::new(match self {
            Self::Threads(handle) => handle.collector(),
            Self::Smol(handle) => handle.collector(),
        })
    }

    /// Publishes; whether the server runs. What it refuses is counted by the hub.
    pub(crate) fn publish(&self, topic: &str, message: Message<'_>) -> bool {
        let published = match self {
            Self::Threads(handle) => handle.publish(topic, message),
            Self::Smol(handle) => smol::block_on(handle.publish(topic, message)),
        };
        !matches!(published, Err(CallError::Stopped))
    }

    /// The same; waits where a lane with the policy `block` has no room.
    pub(crate) fn publish_wait(&self, topic: &str, message: Message<'_>, timeout: Duration) -> bool {
        let published = match self {
            Self::Threads(handle) => handle.publish_wait(topic, message, timeout),
            Self::Smol(handle) => smol::block_on(handle.publish_wait(topic, message, timeout)),
        };
        !matches!(published, Err(CallError::Stopped))
    }

    /// Asks the server to stop.
    pub(crate) fn shutdown(&self) {
        match self {
            Self::Threads(handle) => handle.shutdown(),
            Self::Smol(handle) => handle.shutdown(),
        }
    }
}
