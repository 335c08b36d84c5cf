//! `pinbench reproduce`: train what is due, then make the reports.

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::ReproduceArgs;
use crate::cmd::Workspace;
use crate::cmd::console::print;
use crate::cmd::list::dry_run;
use crate::cmd::report::{Choice, Reporter};
use crate::cmd::sweep::sweep;

pub fn run(workspace: &Workspace, args: &ReproduceArgs) -> Result<ExitCode> {
    if args.sweep.dry_run {
        let then = format!("then the reports would be written into '{}'", args.report.display());
        return dry_run(workspace, &args.sweep, None, &then);
    }
    let swept = sweep(workspace, &args.sweep, None)?;
    if swept.tally.interrupted {
        return Ok(swept.exit_code());
    }
    let choice = match swept.class.clone() {
        Some(class) => Choice::Exactly(swept.plan.hash(), class),
        None => Choice::Newest(Some(swept.plan.name)),
    };
    let listing = swept.store.records()?;
    let reporter = Reporter {
        store: Some(&swept.store),
        records: &listing.records,
        profile: swept.profile,
        out: &args.report,
        steps: true,
    };
    for experiment in &swept.experiments {
        let page = reporter.write(experiment, &choice, Some(&swept.plan))?;
        print(&page.display().to_string())?;
    }
    let index = reporter.write_index(&workspace.readable_experiments()?, &choice)?;
    print(&index.display().to_string())?;
    Ok(swept.exit_code())
}
