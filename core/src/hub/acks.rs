//! Acknowledgements and credit.

use super::Hub;
use crate::error::AckError;
use crate::id::{SessionId, TopicId};

impl Hub {
    pub(super) fn acknowledge_through(&mut self, _: SessionId, _: TopicId, _: u64) -> Result<u32, AckError> {
        Err(AckError::UnknownLane)
    }

    pub(super) fn acknowledge_message(&mut self, _: SessionId, _: TopicId, _: u64) -> Result<(), AckError> {
        Err(AckError::UnknownLane)
    }

    pub(super) fn grant_credit(&mut self, _: SessionId, _: TopicId, _: u32) -> bool {
        false
    }
}
