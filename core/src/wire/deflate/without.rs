//! Without the feature nobody is agreed with: there is no inflater, and no compressor.

use bytes::BytesMut;
use core::convert::Infallible;

use super::{Context, InflateError, WindowBits};

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

#[derive(Debug)]
pub(crate) struct Deflater(Infallible);

impl Deflater {
    pub(crate) fn new(_: WindowBits, _: u8, _: u8) -> Self {
        unreachable!("options ask for no compression")
    }

    pub(crate) fn reset(&mut self) {
        match self.0 {}
    }

    pub(crate) const fn resident_bytes(&self) -> usize {
        match self.0 {}
    }

    pub(crate) fn compress<'a>(&mut self, _: impl IntoIterator<Item = &'a [u8]>, _: &mut BytesMut) {
        match self.0 {}
    }
}
