//! The application's say in opening handshakes.

use std::fmt;
use std::sync::Arc;

use forebay_core::{ConnId, Hub, Instant, UpgradeRequest, Verdict};

type Decide = dyn Fn(&UpgradeRequest<'_>) -> Verdict + Send + Sync;

/// Who decides about opening requests (`ServerOptions::on_upgrade`).
///
/// ```
/// use forebay_shell::{UpgradeHook, Verdict};
/// let hook = UpgradeHook::new(|request| match (request.path, request.query) {
///     ("/live", Some("token=secret")) => Verdict::accept_as("alice"),
///     ("/live", _) => Verdict::refuse(401, "who are you?"),
///     _ => Verdict::refuse(404, "nothing here"),
/// });
/// # let _ = hook;
/// ```
#[derive(Clone)]
pub struct UpgradeHook(Option<Arc<Decide>>);

impl UpgradeHook {
    /// This function, which is called by the server's worker for each opening request that is a good one and of an origin
    /// that is admitted; it must not block. A verdict that cannot be written is logged, and the request refused with 500.
    #[must_use]
    pub fn new(decide: impl Fn(&UpgradeRequest<'_>) -> Verdict + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(decide)))
    }

    /// Whoever hears of it from `Server::run_with`: [`Event::UpgradeRequested`](forebay_core::Event::UpgradeRequested) is told,
    /// and [`Hub::resolve_upgrade`] has to follow within `handshake_timeout`, in that call or in a later one (`Handle::wake`).
    #[must_use]
    pub const fn deferred() -> Self {
        Self(None)
    }

    /// Decides, if it is asked; whether it was.
    pub(crate) fn decide(&self, hub: &mut Hub, conn: ConnId, now: Instant) -> bool {
        let Some(decide) = &self.0 else { return false };
        // It may have ended since.
        let Some(verdict) = hub.upgrade_request(conn).map(|request| decide(&request)) else { return true };
        if let Err(error) = hub.resolve_upgrade(conn, &verdict, now) {
            log::error!("a verdict on an opening request was not taken: {error}");
            let refusal = Verdict::refuse(500, "the server could not decide");
            // It waits for a verdict, and this is one.
            let _ = hub.resolve_upgrade(conn, &refusal, now);
        }
        true
    }
}

impl fmt::Debug for UpgradeHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "UpgradeHook(function)" } else { "UpgradeHook(deferred)" })
    }
}
