//! `pinbench reproduce`: train what is due, then make the reports.

use std::process::ExitCode;

use anyhow::Result;
use pinbench::report::Lead;

use crate::cli::ReproduceArgs;
use crate::cmd::Workspace;
use crate::cmd::console::table;
use crate::cmd::list::dry_run;
use crate::cmd::report::{Choice, Reporter};
use crate::cmd::sweep::sweep;

pub fn run(workspace: &Workspace, args: &ReproduceArgs) -> Result<ExitCode> {
    if args.sweep.dry_run {
        let then = format!("then the reports would be written into '{}'", args.report.display());
        return dry_run(workspace, &args.sweep, None, &then);
    }
    let swept = sweep(workspace, &args.sweep, None, false)?;
    if swept.tally.interrupted {
        return Ok(swept.exit_code());
    }
    let choice = match swept.environment.clone() {
        Some(environment) => Choice::Exactly(swept.plan.clone(), Box::new(environment)),
        None => Choice::Fullest(Some(swept.plan.base.name)),
    };
    let listing = swept.store.records()?;
    let reporter = Reporter {
        workspace,
        store: Some(&swept.store),
        listing: &listing,
        profile: args.sweep.profile.name(),
        out: &args.report,
        steps: true,
    };
    let written = reporter.write(&swept.experiments, &choice, Some((&swept.plan.base, swept.at_once)))?;
    take_away(&written.leads).iter().for_each(|line| workspace.note(line));
    Ok(swept.exit_code())
}

/// Experiments whose sentences are still read on a terminal; of more, what their claims came to.
const MOST_TOLD: usize = 3;

/// What the pages say, for who does not open them at once.
fn take_away(leads: &[Lead]) -> Vec<String> {
    if leads.len() <= MOST_TOLD {
        let told = |lead: &Lead| {
            let sentences = lead.sentences.iter().map(|sentence| format!("  {sentence}"));
            std::iter::once(lead.title.clone()).chain(sentences).collect::<Vec<String>>()
        };
        return leads.iter().flat_map(told).collect();
    }
    let row = |lead: &Lead| {
        let counts: Vec<String> =
            lead.verdicts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
        vec![lead.id.clone(), counts.join(", ")]
    };
    table(&leads.iter().map(row).collect::<Vec<_>>())
}
