//! The application decides about opening requests: soon, late, never, twice, or after the peer has gone.

use forebay_core::{ConnId, Verdict, VerdictError};

use super::super::World;

/// A verdict that a mini client has to expect ([`Client::refusals`](crate::mini::Client::refusals)).
pub(in super::super) const REFUSAL: u16 = 401;

impl World {
    /// A connection waits for a verdict; now and then it does in vain.
    pub(in super::super) fn is_asked(&mut self, side: usize, conn: ConnId) {
        let is_decided = !self.choices.one_in(6);
        let place = &mut self.sides[side];
        let request = place.hub.upgrade_request(conn).expect("it is told while it waits");
        assert_eq!((request.host, request.path), ("world.example:8080", "/"));
        assert!(
            request.origin.is_none_or(|origin| origin.ends_with("world.example:8080")),
            "no stranger is asked about"
        );
        assert!(place.asked.insert(conn, is_decided).is_none(), "{conn:?} is asked about twice");
        self.summary.asked += 1;
    }

    /// The application decides about some of those who wait, or about all.
    pub(in super::super) fn decide(&mut self, side: usize, all: bool) {
        let waiting: Vec<ConnId> =
            self.sides[side].asked.iter().filter(|(_, is_decided)| **is_decided).map(|(conn, _)| *conn).collect();
        for conn in waiting {
            if all || self.choices.one_in(4) {
                self.resolve(side, conn);
            }
        }
    }

    fn resolve(&mut self, side: usize, conn: ConnId) {
        let verdict = match self.choices.below(8) {
            0 => Verdict::refuse(REFUSAL, "not you").with_header("WWW-Authenticate", "Bearer"),
            1 => Verdict::accept_as("somebody").with_header("X-Hello", "somebody"),
            2 => Verdict::accept().with_header("Connection", "close"),
            _ => Verdict::accept(),
        };
        let place = &mut self.sides[side];
        let (before, is_waiting) = (*place.hub.stats(), place.hub.upgrade_request(conn).is_some());
        let resolved = place.hub.resolve_upgrade(conn, &verdict, self.now);
        let after = *place.hub.stats();
        match resolved {
            Ok(()) => {
                assert!(is_waiting && place.hub.upgrade_request(conn).is_none(), "{conn:?}");
                let is_refused = matches!(verdict, Verdict::Refuse { .. });
                assert_eq!(after.rejected_requests - before.rejected_requests, u64::from(is_refused));
                place.asked.remove(&conn);
                place.decided.push(conn);
            }
            Err(VerdictError::NotWaiting) => {
                assert!(!is_waiting && after.stale_inputs == before.stale_inputs + 1, "{conn:?} was waiting");
                place.asked.remove(&conn);
            }
            Err(error) => assert!(is_waiting && error == VerdictError::InvalidHeader, "{error}"),
        }
    }

    /// Once more, for somebody who was decided about or has gone.
    pub(in super::super) fn decide_again(&mut self, side: usize) {
        let place = &mut self.sides[side];
        let gone = place.ended.keys().copied();
        let over: Vec<ConnId> = place.decided.iter().copied().chain(gone).collect();
        if over.is_empty() {
            return;
        }
        let conn = *self.choices.pick(&over);
        let before = place.hub.stats().stale_inputs;
        assert_eq!(place.hub.resolve_upgrade(conn, &Verdict::accept(), self.now), Err(VerdictError::NotWaiting));
        assert_eq!((place.hub.stats().stale_inputs, place.hub.upgrade_request(conn).is_none()), (before + 1, true));
    }
}
