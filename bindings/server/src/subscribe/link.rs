//! The connection in use, for the threads that need it: it may be another one each time.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forebay_threads::{Client, CloseCode, Payload};

/// The connection in use, and whether the operator wants an end.
#[derive(Debug)]
pub(super) struct Link {
    state: Mutex<State>,
    changed: Condvar,
    /// What a connection is closed with on purpose.
    code: CloseCode,
}

#[derive(Debug, Default)]
struct State {
    client: Option<Arc<Client>>,
    is_stopped: bool,
}

impl Link {
    pub(super) fn new(code: CloseCode) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), code }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing here panics with the lock held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection is in use from now on. If the operator wanted an end while it was being made it is closed, and `false`.
    pub(super) fn set(&self, client: &Arc<Client>) -> bool {
        let is_stopped = {
            let mut state = self.lock();
            state.client = Some(Arc::clone(client));
            state.is_stopped
        };
        if is_stopped {
            client.close(self.code, "");
        }
        !is_stopped
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.lock().is_stopped
    }

    /// The operator wants an end: closes, which also wakes who waits for a message.
    pub(super) fn stop(&self) {
        let client = {
            let mut state = self.lock();
            state.is_stopped = true;
            self.changed.notify_all();
            state.client.clone()
        };
        if let Some(client) = client {
            client.close(self.code, "");
        }
    }

    /// Waits so long, or until the operator wants an end; whether that is so.
    pub(super) fn wait(&self, duration: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), duration, |state| !state.is_stopped);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_stopped
    }

    /// Sends requests that want no answer. A connection that has ended needs none: the next one says where it stands.
    pub(super) fn send(&self, requests: &[String]) {
        let client = self.lock().client.clone();
        let Some(client) = client.filter(|_| !requests.is_empty()) else { return };
        for request in requests {
            let _ = client.send(Payload::Text(request));
        }
    }

    /// Closes in good order, unless a signal's thread is doing it. What still comes is passed over: the server's Close is
    /// behind it.
    pub(super) fn leave(&self, client: &Client) {
        std::thread::scope(|scope| {
            if !self.is_stopped() {
                scope.spawn(|| client.close(self.code, ""));
            }
            while client.receive().is_ok() {}
        });
    }
}

#[cfg(test)]
mod tests {
    use forebay_threads::{ClientOptions, Server, ServerOptions};

    use super::*;

    #[test]
    fn a_connection_that_was_made_after_the_end_is_closed() {
        let server = Server::bind("127.0.0.1:0", ServerOptions::default()).unwrap();
        let (url, handle) = (format!("ws://{}", server.local_addr().unwrap()), server.handle());
        let running = std::thread::spawn(|| server.run());
        let connect = || Arc::new(Client::connect(&url, ClientOptions::default()).unwrap());
        let link = Link::new(CloseCode::NORMAL);
        let (first, second) = (connect(), connect());
        assert!(link.set(&first));
        link.stop();
        assert!(!link.set(&second));
        for client in [first, second] {
            while client.receive().is_ok() {} // It ends.
        }
        handle.shutdown();
        running.join().unwrap().unwrap();
    }
}
