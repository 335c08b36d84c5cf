//! `pinbench run`: train what is due.

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::RunArgs;
use crate::cmd::Workspace;
use crate::cmd::sweep::sweep;

pub fn run(workspace: &Workspace, args: &RunArgs) -> Result<ExitCode> {
    Ok(sweep(workspace, &args.sweep, args.trial.as_deref())?.exit_code())
}
