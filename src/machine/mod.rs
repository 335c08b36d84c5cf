//! The machine a run has: what it is, and what its operating system counts.

mod counters;
mod environment;
mod hardware;

pub use counters::{HostTime, peak_rss_bytes, usage};
pub use environment::{Environment, EnvironmentClass, Torch};
pub use hardware::{HardwareCount, HardwareCounters};
