//! The verbs: one file each, glue only.

pub(crate) mod against;
mod args;
pub(crate) mod audit;
pub(crate) mod baseline;
mod built_in;
pub(crate) mod bundle;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod console;
pub(crate) mod data;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod export_runs;
pub(crate) mod help;
pub(crate) mod index;
pub(crate) mod init;
pub(crate) mod list;
pub(crate) mod manifest;
pub(crate) mod measure;
pub(crate) mod merge;
pub(crate) mod probe;
mod progress;
pub(crate) mod report;
pub(crate) mod reproduce;
pub(crate) mod run;
pub(crate) mod show;
mod sweep;
mod task;
pub(crate) mod time;
pub(crate) mod trace;
#[cfg(feature = "torch")]
pub(crate) mod train;
pub(crate) mod verify;
mod workspace;

pub(crate) use args::{Global, WrongUsage};
pub(crate) use workspace::Workspace;

#[cfg(not(feature = "torch"))]
pub(crate) use args::without_torch;
pub(crate) use args::{EXIT_FAILURE, EXIT_USAGE};
