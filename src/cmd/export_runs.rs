//! `pinbench export --csv | --json | --tensorboard`: the runs there are, for other programs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use pinbench::experiment::{Experiment, Plan, Trial, TrialId};
use pinbench::record::{LoadedRun, Problem, RunRecord, Status, Store, tensorboard};
use pinbench::row::{EpochRow, Split};
use serde::Serialize;

use crate::cmd::args::{EXIT_FAILURE, WrongUsage};
use crate::cmd::console::{print, warn};
use crate::cmd::workspace::Workspace;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Csv,
    Json,
    TensorBoard,
}

/// A run in a line. Keys are added, never changed: the help of `export` has them.
#[derive(Serialize)]
struct Row<'a> {
    experiment: &'a str,
    profile: &'a str,
    arm: &'a str,
    seed: u64,
    trial_id: String,
    run: &'a str,
    plan_hash: String,
    environment_class: String,
    beside: u32,
    started: &'a str,
    steps: u64,
    train_s: f64,
    final_weights: String,
    epochs: Vec<EpochRow>,
}

/// An arm's run.
struct Found<'a> {
    experiment: &'a Experiment,
    arm: &'a str,
    run: LoadedRun,
}

/// `trial` is the start of the id of the one that is wanted alone.
pub(crate) fn run(
    workspace: &Workspace,
    experiments: &[Experiment],
    trial: Option<&str>,
    format: Format,
    out: &Path,
) -> Result<ExitCode> {
    let store = workspace.existing_store()?;
    let listing = workspace.listing(store.as_ref())?;
    // A record that cannot be read is of the trial in whose folder it lies.
    let trials = experiments.iter().flat_map(|one| one.profile.trials()).map(|(_, trial)| trial.id());
    let trials: BTreeSet<TrialId> =
        trials.filter(|id| trial.is_none_or(|start| id.to_string().starts_with(start))).collect();
    let is_ours = |problem: &&Problem| trials.iter().any(|trial| problem.is_of(trial));
    let unread = listing.problems.iter().filter(|problem| problem.fault.is_damage()).filter(is_ours);
    let (mut found, mut damaged) = (Vec::new(), unread.count());
    for (experiment, arm, record) in experiments.iter().flat_map(|one| of(one, &listing.records)) {
        if trial.is_some_and(|start| !record.trial_id.to_string().starts_with(start)) {
            continue;
        }
        match store.as_ref().map(|store: &Store| store.load(record)) {
            Some(Ok(run)) => found.push(Found { experiment, arm, run }),
            Some(Err(problem)) => {
                warn(&problem.to_string());
                damaged += 1;
            }
            None => {}
        }
    }
    if found.is_empty() && damaged == 0 {
        let store = workspace.store.display();
        let text = format!(
            "there is no finished run of these experiments in '{store}'; `pinbench run` makes some, and those of a file \
             elsewhere need its path: `pinbench export FILE …`"
        );
        return Err(WrongUsage(text).into());
    }
    let folder = workspace.root.join(out);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create '{}'", folder.display()))?;
    match format {
        Format::Csv => csv(&found, &folder)?,
        Format::Json => {
            let rows: Vec<Row> = found.iter().map(row).collect();
            write(&folder.join("runs.json"), &serde_json::to_vec_pretty(&rows)?)?;
        }
        Format::TensorBoard => found.iter().try_for_each(|found| events(found, &folder))?,
    }
    print(&folder.display().to_string())?;
    Ok(if damaged > 0 { ExitCode::from(EXIT_FAILURE) } else { ExitCode::SUCCESS })
}

/// The finished runs of an experiment, with their arms: of arms that share a trial, the one whose plan it has.
fn of<'a>(
    experiment: &'a Experiment,
    records: &'a [RunRecord],
) -> impl Iterator<Item = (&'a Experiment, &'a str, &'a RunRecord)> {
    let trials: Vec<(usize, Trial)> = experiment.profile.trials().collect();
    let ids: Vec<_> = trials.iter().map(|(arm, trial)| (trial.id(), *arm)).collect();
    let arm_of = move |record: &RunRecord| {
        let varied = |arm: usize, plan: &Plan| experiment.profile.arms[arm].is_under(plan);
        let (_, arm) = ids.iter().find(|(id, arm)| *id == record.trial_id && varied(*arm, &record.plan))?;
        Some(experiment.profile.arms[*arm].name.en())
    };
    let is_result = |record: &&RunRecord| record.status == Status::Finished && record.planted.is_none();
    records.iter().filter(is_result).filter_map(move |record| Some((experiment, arm_of(record)?, record)))
}

fn row<'a>(found: &'a Found) -> Row<'a> {
    let record = &found.run.record;
    let outcome = record.outcome.as_ref();
    Row {
        experiment: &found.experiment.id,
        profile: found.experiment.profile.name.0.as_str(),
        arm: found.arm,
        seed: record.trial.seed.0,
        trial_id: record.trial_id.to_string(),
        run: &record.run.0,
        plan_hash: record.plan_hash.to_string(),
        environment_class: record.environment_class.to_string(),
        beside: record.beside,
        started: &record.started,
        steps: outcome.map_or(0, |outcome| outcome.steps),
        train_s: outcome.map_or(0.0, |outcome| outcome.train_ns as f64 / 1e9),
        final_weights: outcome.map_or(String::new(), |outcome| outcome.final_weights.to_string()),
        epochs: found.run.epochs.clone(),
    }
}

/// `runs.csv` has a line a run, with the last measurement of each split, `epochs.csv` a line a measurement.
fn csv(found: &[Found], folder: &Path) -> Result<()> {
    let mut runs = "experiment,profile,arm,seed,trial_id,run,plan_hash,environment_class,beside,started,steps,train_s,final_weights"
        .to_owned();
    let measured = [Split::Train, Split::TrainEval, Split::Validation, Split::Test];
    measured.iter().for_each(|split| runs += &format!(",{split}_loss,{split}_accuracy"));
    runs.push('\n');
    let mut epochs = "run,epoch,split,images,loss,accuracy,wall_ns\n".to_owned();
    for row in found.iter().map(row) {
        let seconds = row.train_s.to_string();
        let (seed, beside, steps) = (row.seed.to_string(), row.beside.to_string(), row.steps.to_string());
        let cells = [
            row.experiment,
            row.profile,
            row.arm,
            &seed,
            &row.trial_id,
            row.run,
            &row.plan_hash,
            &row.environment_class,
            &beside,
            row.started,
            &steps,
            &seconds,
            &row.final_weights,
        ];
        runs += &cells.map(cell).join(",");
        for split in measured {
            let last = row.epochs.iter().rfind(|epoch| epoch.split == split);
            runs += &last.map_or(",,".to_owned(), |last| format!(",{},{}", last.loss, last.accuracy));
        }
        runs.push('\n');
        for EpochRow { epoch, split, images, loss, accuracy, wall_ns } in &row.epochs {
            epochs += &format!("{},{epoch},{split},{images},{loss},{accuracy},{wall_ns}\n", row.run);
        }
    }
    write(&folder.join("runs.csv"), runs.as_bytes())?;
    write(&folder.join("epochs.csv"), epochs.as_bytes())
}

/// RFC 4180.
fn cell(text: &str) -> String {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// `DIR/EXPERIMENT/ARM/seed-N-RUN/`, for TensorBoard calls a run by its folder.
fn events(found: &Found, folder: &Path) -> Result<()> {
    let record = &found.run.record;
    let arm: String = found
        .arm
        .chars()
        .map(|letter| if letter.is_alphanumeric() || ".-".contains(letter) { letter } else { '-' })
        .collect();
    let run = format!("seed-{}-{}", record.trial.seed, record.run);
    let folder = folder.join(&found.experiment.id).join(arm).join(run);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create '{}'", folder.display()))?;
    write(&folder.join(tensorboard::file_name(&found.run)), &tensorboard::events(&found.run))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write '{}'", path.display()))
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn a_cell_with_a_comma_is_quoted_and_its_quotes_doubled() {
        assert_eq!(cell("2 × CPU, libtorch"), "\"2 × CPU, libtorch\"");
        assert_eq!(cell("a \"b\", c"), "\"a \"\"b\"\", c\"");
        assert_eq!(cell("batch 64"), "batch 64");
    }
}
