//! Without the feature nobody is agreed with: there is no inflater.

use bytes::BytesMut;
use core::convert::Infallible;

use super::{Context, InflateError};

#[derive(Debug)]
pub(crate) struct Inflater(Infallible);

impl Default for Inflater {
    fn default() -> Self {
        unreachable!("options ask for no compression")
    }
}

impl Inflater {
    pub(crate) const RESIDENT_BYTES: usize = 0;

    pub(crate) fn start(&mut self, _: Option<&Context>) {
        match self.0 {}
    }

    pub(crate) fn inflate(&mut self, _: &[u8], _: bool, _: &mut BytesMut, _: usize) -> Result<(), InflateError> {
        match self.0 {}
    }
}
