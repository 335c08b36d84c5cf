//! The verbs: one file each, glue only.

pub mod against;
mod args;
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

pub use args::{Global, WrongUsage};
pub use workspace::Workspace;

#[cfg(not(feature = "torch"))]
pub use args::without_torch;
pub use args::{EXIT_FAILURE, EXIT_USAGE};
