//! `pinbench diff`: where two stored runs part, and what differs around them.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use pinbench::analyse::replay::{Comparison, Grade, compare};
use pinbench::record::{RunRecord, Status};
use serde::Serialize;

use crate::cmd::args::{EXIT_FAILURE, WrongUsage};
use crate::cmd::console::{print, print_json};
use crate::cmd::verify::{describe, spread};
use crate::cmd::workspace::Workspace;

/// Compare two stored runs: the first step and tensor that differ, and what differs around them
///
/// When a trial came out differently, here or on another machine.
#[derive(Args)]
#[command(after_help = "\
Example:
  pinbench diff 20260102T030405.678901Z-4242-0 20260103T

--json prints one object with the keys of `verify`'s comparison, and first and
second, the run ids. The exit code is 0 for identical runs and 1 for others.")]
pub(crate) struct DiffArgs {
    /// Id of a run, or of a trial for its newest run, or the start of one
    pub first: String,
    /// The run to compare it with
    pub second: String,
    /// For scripts
    #[arg(long)]
    pub json: bool,
}

/// Documented in the help of `diff`; keys are added, never changed.
#[derive(Serialize)]
struct Compared<'a> {
    first: &'a str,
    second: &'a str,
    #[serde(flatten)]
    comparison: &'a Comparison,
}

pub(crate) fn run(workspace: &Workspace, args: &DiffArgs) -> Result<ExitCode> {
    let store = workspace
        .existing_store()?
        .ok_or_else(|| WrongUsage(format!("there are no runs in '{}' yet", workspace.store.display())))?;
    let listing = workspace.listing(Some(&store))?;
    let (first, second) = (find(&listing.records, &args.first)?, find(&listing.records, &args.second)?);
    if first.run == second.run {
        let text = format!("'{}' and '{}' are the same run, {}", args.first, args.second, first.run);
        return Err(WrongUsage(text).into());
    }
    let (a, b) = (store.load(first)?, store.load(second)?);
    let comparison = compare(&a, &b, spread(&store, first, &listing.records));
    if args.json {
        let (first, second) = (first.run.0.as_str(), second.run.0.as_str());
        print_json(&Compared { first, second, comparison: &comparison })?;
    } else {
        print(&format!("{}\n{}\n{}", first.run, second.run, comparison.headline()))?;
        describe(&comparison)?;
    }
    let is_same = comparison.grade == Grade::Identical;
    Ok(if is_same { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILURE) })
}

/// A run by the start of its id, or the newest run of a trial: a finished one, where there is one.
fn find<'a>(records: &'a [RunRecord], id: &str) -> Result<&'a RunRecord> {
    let by_run: Vec<&RunRecord> = records.iter().filter(|record| record.run.0.starts_with(id)).collect();
    let of_trial = |record: &&RunRecord| record.trial_id.to_string().starts_with(id);
    let finished = |record: &&RunRecord| of_trial(record) && record.status == Status::Finished;
    match by_run[..] {
        [one] => Ok(one),
        [] => records.iter().rev().find(finished).or_else(|| records.iter().rev().find(of_trial)).ok_or_else(
            || WrongUsage(format!("no run and no trial with an id that starts with '{id}'")).into(),
        ),
        _ => Err(WrongUsage(format!("'{id}' is the start of several run ids; give more of it")).into()),
    }
}
