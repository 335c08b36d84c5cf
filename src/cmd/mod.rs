//! The verbs: one file each, glue only.

pub mod against;
pub mod audit;
pub mod baseline;
mod built_in;
pub mod bundle;
pub mod check;
pub mod completions;
pub mod console;
pub mod data;
pub mod diff;
pub mod doctor;
pub mod explain;
pub mod export;
pub mod export_runs;
pub mod help;
pub mod index;
pub mod init;
pub mod list;
pub mod manifest;
pub mod measure;
pub mod merge;
pub mod probe;
mod progress;
pub mod report;
pub mod reproduce;
pub mod run;
pub mod show;
mod sweep;
mod task;
pub mod time;
pub mod trace;
#[cfg(feature = "torch")]
pub mod train;
pub mod verify;
mod workspace;

pub use workspace::{Workspace, WrongUsage};

pub const EXIT_FAILURE: u8 = 1;
pub const EXIT_USAGE: u8 = 2;

#[cfg(not(feature = "torch"))]
pub fn without_torch() -> anyhow::Error {
    anyhow::anyhow!(
        "this pinbench was built without libtorch and cannot train; build it with the feature `torch`, which is on \
         by default: `just build`"
    )
}
