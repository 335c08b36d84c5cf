//! Quantities of a process that stand beside a hypothesis.

use crate::analyse::timing::Cost;
use crate::clock::Phase;
use crate::experiment::study::Gauge;

/// Keys of its name and its unit, or the unit itself, and its decimals.
pub fn about(gauge: Gauge) -> (&'static str, &'static str, usize) {
    match gauge {
        Gauge::Faults => ("gauge.faults", "", 0),
        Gauge::DiskFaults => ("gauge.disk-faults", "", 0),
        Gauge::KernelShare => ("gauge.kernel-share", "%", 1),
        Gauge::KernelTime => ("gauge.kernel-time", "ms", 1),
        Gauge::Processors => ("gauge.processors", "", 2),
        Gauge::Image => ("gauge.image", "µs", 1),
        Gauge::Step => ("gauge.step", "ms", 1),
        Gauge::PeakMemory => ("gauge.peak-memory", "MiB", 0),
        Gauge::Load => ("gauge.load", "gauge.us-an-image", 2),
        Gauge::Copy => ("gauge.copy", "gauge.us-an-image", 2),
        Gauge::Forward => ("gauge.forward", "gauge.us-an-image", 1),
        Gauge::Backward => ("gauge.backward", "gauge.us-an-image", 1),
        Gauge::Optimizer => ("gauge.optimizer", "gauge.us-an-image", 2),
        Gauge::ReadBack => ("gauge.read-back", "gauge.us-an-image", 2),
    }
}

/// `None` where it was not counted.
pub fn of(gauge: Gauge, cost: &Cost) -> Option<f64> {
    let phase = |phase| Some(cost.phase_us_per_image(phase));
    match gauge {
        Gauge::Faults => Some(cost.faults_per_step),
        Gauge::DiskFaults => Some(cost.major_faults_per_step),
        Gauge::KernelShare => cost.system_share.map(|share| share * 100.0),
        Gauge::KernelTime => Some(cost.system_ms_per_step),
        Gauge::Processors => cost.cpu_use,
        Gauge::Image => Some(cost.us_per_image),
        Gauge::Step => Some(cost.ms_per_step),
        Gauge::PeakMemory => cost.peak_rss_bytes.map(|bytes| bytes as f64 / f64::from(1 << 20)),
        Gauge::Load => phase(Phase::Load),
        Gauge::Copy => phase(Phase::Copy),
        Gauge::Forward => phase(Phase::Forward),
        Gauge::Backward => phase(Phase::Backward),
        Gauge::Optimizer => phase(Phase::Optimizer),
        Gauge::ReadBack => phase(Phase::ReadBack),
    }
}
