//! `pinbench reproduce`: train what is due, then make the reports.

use std::fs;
use std::process::ExitCode;

use anyhow::Result;
use pinbench::experiment::Experiment;
use pinbench::report::{Explained, Lead};
use pinbench::schedule::EXIT_INTERRUPTED;

use crate::cli::ReproduceArgs;
use crate::cmd::Workspace;
use crate::cmd::console::{print, table};
use crate::cmd::explain::{ExplainArgs, Made, explain};
use crate::cmd::list::dry_run;
use crate::cmd::report::{Choice, EXPLANATION, Reporter};
use crate::cmd::sweep::sweep;

pub fn run(workspace: &Workspace, args: &ReproduceArgs) -> Result<ExitCode> {
    if args.sweep.dry_run {
        let explained = match args.sweep.experiments.is_empty() {
            true => format!(", and `pinbench explain {STUDY}` would run where its experiment is among these"),
            false => String::new(),
        };
        let then = format!("then the reports would be written into '{}'{explained}", args.report.display());
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
    // What went wrong there is said at the end: the pages of what was trained are made in any case.
    let explained = explanation(workspace, args, &swept.experiments);
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
    let (made, is_interrupted) = explained?;
    if let Some(made) = &made {
        made.says.iter().for_each(|line| workspace.note(line));
        print(&made.page.display().to_string())?;
    }
    Ok(if is_interrupted { ExitCode::from(EXIT_INTERRUPTED) } else { swept.exit_code() })
}

/// What a newcomer's index leads with.
const STUDY: &str = "batch-size";

/// Explains what the built-in experiments leave open, where all of them were asked for and it is not there yet. Before the
/// pages, which link it. Whether somebody interrupted that stands beside it.
fn explanation(
    workspace: &Workspace,
    args: &ReproduceArgs,
    experiments: &[Experiment],
) -> Result<(Option<Made>, bool)> {
    if !args.sweep.experiments.is_empty() || !cfg!(feature = "torch") {
        return Ok((None, false));
    }
    let study = workspace.study(STUDY)?;
    if experiments.iter().all(|experiment| experiment.id != study.low.experiment) {
        return Ok((None, false));
    }
    let path = args.report.join(format!("explain-{STUDY}")).join(EXPLANATION);
    if fs::read_to_string(&path).is_ok_and(|json| Explained::parse(STUDY, &json).is_ok()) {
        workspace.note(&format!("'{}' is there; `pinbench explain {STUDY}` makes it anew", path.display()));
        return Ok((None, false));
    }
    let made = explain(workspace, &ExplainArgs::of(STUDY, &args.report))?;
    let is_interrupted = made.as_ref().is_none_or(|made| made.is_interrupted);
    Ok((made, is_interrupted))
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
            lead.verdicts.iter().map(|(verdict, count)| format!("{} {count}", verdict.says(false))).collect();
        vec![lead.id.clone(), counts.join(", ")]
    };
    table(&leads.iter().map(row).collect::<Vec<_>>())
}
