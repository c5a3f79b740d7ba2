//! `/metrics`: the hub's numbers and the process's, in the text format of OpenMetrics.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::process;
use crate::serving::Handle;

/// As the OpenMetrics specification has it.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a scrape shows.
pub(super) fn registry(handle: &Handle) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(handle.collector());
    registry.register_collector(Box::new(Process));
    let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("forebay_build", "What is running", build);
    registry
}

/// A scrape.
pub(super) fn page(registry: &Registry) -> Result<String, fmt::Error> {
    let mut page = String::new();
    text::encode(&mut page, registry)?;
    Ok(page)
}

/// The memory of the process, by its customary name.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(bytes) = process::resident_bytes() else { return Ok(()) };
        let help = "Memory of the process, with everything the operating system counts.";
        let name = "process_resident_memory";
        encoder.encode_descriptor(name, help, Some(&Unit::Bytes), MetricType::Gauge)?.encode_gauge(&bytes)
    }
}
