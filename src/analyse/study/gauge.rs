//! Quantities of a process that stand beside a hypothesis.

use crate::analyse::timing::Cost;
use crate::clock::Phase;
use crate::experiment::study::Gauge;

/// How people call it, its unit, and its decimals.
pub fn about(gauge: Gauge) -> (&'static str, &'static str, usize) {
    match gauge {
        Gauge::Faults => ("page faults a step", "", 0),
        Gauge::DiskFaults => ("page faults a step that read from a disk", "", 0),
        Gauge::KernelShare => ("kernel's part of the processor time", "%", 1),
        Gauge::KernelTime => ("kernel's processor time a step", "ms", 1),
        Gauge::Processors => ("processors in use", "", 2),
        Gauge::Image => ("time of an image", "µs", 1),
        Gauge::Step => ("time of a step", "ms", 1),
        Gauge::PeakMemory => ("most memory in use", "MiB", 0),
        Gauge::Load => ("making the batch", "µs an image", 2),
        Gauge::Copy => ("transfer to the device", "µs an image", 2),
        Gauge::Forward => ("forward pass", "µs an image", 1),
        Gauge::Backward => ("backward pass", "µs an image", 1),
        Gauge::Optimizer => ("optimizer", "µs an image", 2),
        Gauge::ReadBack => ("reading the loss back", "µs an image", 2),
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
