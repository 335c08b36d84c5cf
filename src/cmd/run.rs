//! `pinbench run`: train what is due.

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::RunArgs;
use crate::cmd::Workspace;
use crate::cmd::list::dry_run;
use crate::cmd::sweep::sweep;

pub fn run(workspace: &Workspace, args: &RunArgs) -> Result<ExitCode> {
    if args.sweep.dry_run {
        return dry_run(workspace, &args.sweep, args.trial.as_deref(), "");
    }
    Ok(sweep(workspace, &args.sweep, args.trial.as_deref(), args.retime)?.exit_code())
}
