//! `pinbench run`: train what is due.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::cmd::args::SweepArgs;
use crate::cmd::list::dry_run;
use crate::cmd::sweep::sweep;
use crate::cmd::workspace::Workspace;

/// Train what is missing of the experiments, without a report
///
/// When you want the runs first and the pages later, or one trial alone: a trial is an arm, which is one setting that is
/// compared, under a seed.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pinbench run m1 --profile full --seeds 1
  pinbench run m1 --trial 3f9a                one trial, by the start of its id
  pinbench run m1 --profile full --jobs 4     four at a time, for results alone
  pinbench run m1 --dry-run                   what is due, and how long it takes
  pinbench run --manifest m.json --index 7    a cluster's task

Words such as arm, profile and plan: pinbench help words.")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub sweep: SweepArgs,
    /// Only the trial whose id starts so; `pinbench list` has the ids
    #[arg(long, value_name = "ID")]
    pub trial: Option<String>,
    /// Train again, for its times, what is done but was not measured beside the other arms of its seed
    ///
    /// The arms of a seed are a block: they run one after the other, in an order drawn from the seed, and their times are
    /// compared within it. A block that was interrupted has times that lie apart: what is trained again goes on from no checkpoint.
    #[arg(long, conflicts_with_all = ["jobs", "dry_run", "trial"])]
    pub retime: bool,
    #[command(flatten)]
    pub index: crate::cmd::index::IndexArgs,
}

pub(crate) fn run(workspace: &Workspace, args: &RunArgs) -> Result<ExitCode> {
    if let Some((manifest, index)) = args.index.task() {
        return crate::cmd::index::run(workspace, manifest, index);
    }
    if args.sweep.dry_run {
        return dry_run(workspace, &args.sweep, args.trial.as_deref(), "");
    }
    Ok(sweep(workspace, &args.sweep, args.trial.as_deref(), args.retime)?.exit_code())
}
