//! Sessions that outlive their connection.

use core::time::Duration;

use super::Hub;
use crate::error::{AuthenticateError, ResumeError};
use crate::id::{ConnId, SessionId};
use crate::output::{ResumeLane, SessionToken};

impl Hub {
    /// What is to be known of a session to resume it.
    pub(super) fn token(&self, session: SessionId) -> SessionToken {
        SessionToken { session, secret: self.entropy.secret_of(session.to_bits()) }
    }

    pub(super) fn set_principal(&mut self, _: ConnId, _: &str) -> Result<(), AuthenticateError> {
        Err(AuthenticateError::UnknownConnection)
    }

    pub(super) fn make_resumable(&mut self, _: ConnId, _: Option<Duration>) -> Result<SessionToken, ResumeError> {
        Err(ResumeError::UnknownConnection)
    }

    pub(super) fn resume_session(
        &mut self,
        _: ConnId,
        _: SessionToken,
        _: &[ResumeLane<'_>],
    ) -> Result<SessionId, ResumeError> {
        Err(ResumeError::UnknownSession)
    }
}
