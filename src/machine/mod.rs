//! The machine a run has: what it is, and what its operating system counts.

mod counters;
mod environment;

pub use counters::{HostTime, peak_rss_bytes, usage};
pub use environment::{Environment, EnvironmentClass, Torch};
