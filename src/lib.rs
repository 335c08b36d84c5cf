//! pinbench: reproducible benchmarks of small CNN trainings.

#[macro_use]
mod named;

pub mod analyse;
pub mod clock;
pub mod data;
pub mod dataset;
pub mod digest;
pub mod experiment;
#[doc(hidden)]
pub mod fuzzing;
pub mod language;
pub mod machine;
pub mod network;
pub mod number;
pub mod planted;
pub mod record;
pub mod report;
pub mod row;
pub mod schedule;
pub mod stats;
pub mod stream;
pub mod text;
#[cfg(feature = "torch")]
pub mod train;
pub mod words;
pub mod work;
