//! The parts that all programs have in common: the status port ([`status`]), the probe port ([`probe`]), long-lived
//! [`tasks`], [`signals`], the [`log`], the limit of open [`files`], and the return of free [`memory`] to the operating
//! system. Metrics are written in two text formats: OpenMetrics, and the older Prometheus format, which every tool can
//! read.
//!
//! For the metrics used here, the two formats differ only in `_total`: OpenMetrics omits it from a counter's name in
//! the HELP and TYPE lines. A client that does not request OpenMetrics, such as promtool, gets the older format.

mod connections;
pub mod files;
mod host;
pub mod log;
pub mod memory;
mod open_connections;
pub mod ports;
pub mod probe;
mod process;
pub mod signals;
pub mod status;
pub mod tasks;

use std::fmt;

use prometheus_client::{
    encoding::text::{encode_eof, encode_registry},
    registry::Registry,
};

pub use self::host::Hosts;

/// A text format for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The Prometheus text format, version 0.0.4.
    Prometheus,
}

impl Format {
    /// Returns the format that an `Accept` header requests.
    pub(crate) fn accepted(accept: Option<&str>) -> Self {
        match accept {
            Some(accept) if accept.contains("application/openmetrics-text") => Self::OpenMetrics,
            _ => Self::Prometheus,
        }
    }

    /// Returns the `Content-Type` of the response.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Returns the registered metrics and the metrics of the process as text.
    ///
    /// # Errors
    /// None in practice: writing to memory does not fail.
    pub fn encode(self, registry: &Registry) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, registry)?;
        encode_registry(&mut text, &process::PROCESS)?;
        encode_eof(&mut text)?;
        Ok(match self {
            Self::OpenMetrics => text,
            Self::Prometheus => older(&text),
        })
    }
}

/// Converts OpenMetrics to the older format. A counter's name gets `_total` in HELP and TYPE, too, and lines that
/// version 0.0.4 does not know are removed. Most of the text is samples: all samples between two comment lines are
/// copied at once.
fn older(text: &str) -> String {
    let mut older = String::with_capacity(text.len() + text.len() / 64);
    let mut counter = None;
    let mut rest = text;
    while !rest.is_empty() {
        if !rest.starts_with('#') {
            let end = rest.find("\n#").map_or(rest.len(), |end| end + 1);
            let (samples, after) = rest.split_at(end);
            older.push_str(samples);
            rest = after;
            continue;
        }
        let end = rest.find('\n').map_or(rest.len(), |end| end + 1);
        let (line, after) = rest.split_at(end);
        if let Some(named) = line.strip_prefix("# HELP ") {
            // The type of the metric is in the next line.
            let name = named.split(' ').next().unwrap_or_default();
            let is_counter = after.starts_with(&format!("# TYPE {name} counter"));
            counter = is_counter.then_some(name);
        }
        rest = after;
        match counter {
            _ if line.starts_with("# EOF") || line.starts_with("# UNIT ") => {}
            Some(name) => older.push_str(&line.replacen(name, &format!("{name}_total"), 1)),
            None => older.push_str(line),
        }
    }
    older
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

    use super::*;

    #[test]
    fn counters_are_named_as_their_samples() {
        let mut registry = Registry::default();
        let counter = Counter::<u64>::default();
        counter.inc();
        registry.register("reports", "Reports", counter);
        registry.register("total_reports", "A gauge", Gauge::<i64>::default());
        let text = Format::Prometheus.encode(&registry).unwrap();
        let expected = "# HELP reports_total Reports.\n# TYPE reports_total counter\nreports_total 1\n\
            # HELP total_reports A gauge.\n# TYPE total_reports gauge\ntotal_reports 0\n";
        let (ours, process) = text.split_at(expected.len());
        assert_eq!(ours, expected);
        assert!(process.starts_with("# HELP process_"), "{process}");
    }

    #[test]
    fn who_asks_for_open_metrics_gets_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1";
        assert_eq!(Format::accepted(Some(prometheus)), Format::OpenMetrics);
        assert_eq!(Format::accepted(Some("*/*")), Format::Prometheus);
        assert_eq!(Format::accepted(None), Format::Prometheus);
    }
}
