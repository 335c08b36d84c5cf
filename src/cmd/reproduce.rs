//! `pinbench reproduce`: train what is due, then make the reports.

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::ReproduceArgs;
use crate::cmd::Workspace;
use crate::cmd::report::{Choice, Reporter};
use crate::cmd::sweep::sweep;

pub fn run(workspace: &Workspace, args: &ReproduceArgs) -> Result<ExitCode> {
    let swept = sweep(workspace, &args.sweep, None)?;
    if swept.tally.interrupted {
        return Ok(swept.exit_code());
    }
    let choice = match swept.class.clone() {
        Some(class) => Choice::Exactly(swept.plan.hash(), class),
        None => Choice::Fullest(Some(swept.plan.name)),
    };
    let listing = swept.store.records()?;
    let reporter = Reporter {
        store: Some(&swept.store),
        listing: &listing,
        profile: swept.profile,
        out: &args.report,
        steps: true,
    };
    reporter.write(&swept.experiments, &workspace.readable_experiments()?, &choice, Some(&swept.plan))?;
    Ok(swept.exit_code())
}
