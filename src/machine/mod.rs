//! The machine a run has: what it is, and what its operating system, its processor and its GPU count.

mod counters;
mod environment;
mod gpu;
mod hardware;

pub use counters::{HostTime, Watch, Watched, peak_rss_bytes, usage};
pub use environment::{Environment, EnvironmentClass, Torch};
pub use gpu::{Amount, Cuda, Gpu, GpuClock, GpuClocks, GpuCounters};
pub use hardware::{HardwareCount, HardwareCounters};
