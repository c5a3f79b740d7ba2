//! `[deflate]`.

use forebay_core::{Config, DeflateOptions, Options};

use super::refuse;
use super::section::{Refusals, Section};
use super::value::{number, size, truth};

pub(super) fn read_deflate(hub: &mut Options, mut section: Section<'_>, refusals: &Refusals) {
    let mut options = DeflateOptions::default();
    let mut enabled = false;
    section.read("enabled", &mut enabled, truth);
    section.read("level", &mut options.level, number);
    section.read("memory_level", &mut options.memory_level, number);
    section.read("window_bits", &mut options.window_bits, number);
    section.read("message_bytes_min", &mut options.message_bytes_min, size);
    section.read("direct", &mut options.direct, truth);
    section.read("context_bytes_max", &mut options.context_bytes_max, size);
    let section = section.finish();
    // Numbers are good or not, whether or not they are in force here.
    let in_force = Options { deflate: Some(options), ..*hub };
    if refusals.is_empty()
        && let Err(error) = Config::try_from(in_force)
    {
        return refuse(&section, error);
    }
    hub.deflate = enabled.then_some(options);
}
