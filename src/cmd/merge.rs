//! `pinbench merge`: the runs of other stores into this one.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use pinbench::record::{Problem, Store};
use pinbench::text;

use crate::cmd::args::{EXIT_FAILURE, WrongUsage};
use crate::cmd::console::{print, say, warn};
use crate::cmd::workspace::Workspace;

/// Bring the runs of other stores into this one
///
/// When machines without a common disk have trained parts of one study. By content: every digest is verified, what is there
/// already is left, nothing is overwritten, and the sources stay as they are; they may be written meanwhile.
#[derive(Args)]
#[command(after_help = "\
Example:
  pinbench merge node1/runs node2/runs --store runs

A run that contradicts one there, of the same trial, plan, program and machine
class, is named with both hosts and left out, and the exit code is 1. So is a
damaged one; one that is damaged here is named and left, with exit code 1.
Runs of other machine classes are runs of their own.")]
pub(crate) struct MergeArgs {
    /// Folders of runs, which are only read
    #[arg(value_name = "STORE", required = true)]
    stores: Vec<PathBuf>,
}

pub(crate) fn run(workspace: &Workspace, args: &MergeArgs) -> Result<ExitCode> {
    let sources: Vec<Store> = args.stores.iter().map(|path| open(workspace, path)).collect::<Result<_>>()?;
    let store = workspace.open_store()?;
    let (mut conflicts, mut damaged) = (0, 0);
    let mut own: Vec<Problem> = Vec::new();
    for (source, merged) in sources.iter().zip(store.merge(&sources)?) {
        merged.conflicts.iter().for_each(|conflict| say(&format!("conflict: {conflict}")));
        merged.problems.iter().for_each(|problem| warn(&problem.to_string()));
        print(&format!(
            "{}: {} taken over, {} there already, {}, {} damaged or unreadable",
            source.path().display(),
            text::plural(merged.taken, "run"),
            merged.there,
            text::plural(merged.conflicts.len(), "conflict"),
            merged.problems.len(),
        ))?;
        conflicts += merged.conflicts.len();
        damaged += merged.problems.len();
        own.extend(merged.own_problems);
    }
    if !own.is_empty() {
        own.iter().for_each(|problem| warn(&problem.to_string()));
        say(&format!(
            "{} of '{}' itself; `pinbench doctor --clean --store {}` sets damaged ones aside, and then the same merge takes what \
             the others have of them",
            text::plural(own.len(), "damaged or unreadable run"),
            store.path().display(),
            text::shell_word(&store.path().display().to_string())
        ));
    }
    Ok(if conflicts + damaged + own.len() > 0 { ExitCode::from(EXIT_FAILURE) } else { ExitCode::SUCCESS })
}

/// A source that is not there is a mistake, and must not be made by looking at it.
fn open(workspace: &Workspace, path: &PathBuf) -> Result<Store> {
    let path = workspace.root.join(path);
    if !path.join("store.json").is_file() {
        return Err(WrongUsage(format!(
            "'{}' is no folder of runs: expected a store.json in it; name the folder that --store names there",
            path.display()
        ))
        .into());
    }
    if path.canonicalize().ok() == workspace.store.canonicalize().ok() {
        let path = path.display();
        return Err(WrongUsage(format!("'{path}' is the store that is merged into; name others")).into());
    }
    Store::open(&path).with_context(|| format!("cannot read '{}'", path.display()))
}
