//! `pinbench explain batch-size`: measure what a large batch costs, take causes away, and write the page that says so.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow};
use pinbench::analyse::explain::{
    BATCHES, Block, Condition, Demonstration, Design, Explanation, LARGE, SMALL, Stored, order,
};
use pinbench::data;
use pinbench::experiment::plan::{Device, PlanName};
use pinbench::experiment::{Experiment, Plan, Trial};
use pinbench::planted::Planted;
use pinbench::record::{self, LoadedRun, RunRecord, Status, Store};
use pinbench::report::Download;
use pinbench::report::explain::{Provenance, explain, summary, to_json};
use pinbench::row::Diagnostics;
use pinbench::schedule::{Children, EXIT_INTERRUPTED, Interrupt, Job, Pace, Sweep, Task};
use pinbench::stream::Seed;
use pinbench::text;

use crate::cli::ExplainArgs;
use crate::cmd::console::{print, say, this_command};
use crate::cmd::progress::Progress;
use crate::cmd::{Workspace, WrongUsage, data as sets, sweep};

/// The study's experiment on the batch, whose model and data are measured.
const EXPERIMENT: &str = "m1-batch-size";
/// Validation accuracy that stored trainings are asked how long they took to reach: all of them do, within an epoch or two.
const TARGET: f64 = 0.98;
/// Images a measurement trains on, about: two seconds of them, but for the largest batches.
const IMAGES: u32 = 6_000;
/// Steps of a measurement. The least leaves as many after the warm-up as are needed for a median.
const STEPS: (u32, u32) = (9, 60);
const EVALUATED: u32 = 500;

pub fn run(workspace: &Workspace, args: &ExplainArgs) -> Result<ExitCode> {
    let design = design(args)?;
    sweep::require_torch()?;
    let experiments = workspace.experiments(&[EXPERIMENT.to_owned()], Some(&"full".into()))?;
    let experiment = experiments.first().ok_or_else(|| WrongUsage(format!("there is no {EXPERIMENT}")))?;
    let root = std::path::absolute(data::root()?)?;
    sets::fetch_missing(workspace, std::iter::once(base_trial(experiment)?.config.data.set), &root)?;
    let folder =
        tempfile::Builder::new().prefix("pinbench-explain-").tempdir().context("a folder for runs")?;
    let store = Store::open(&folder.path().join("runs"))?;
    let interrupt = Interrupt::install()?;
    let _machine = sweep::machine_alone(&interrupt)?;
    let measurements = measurements(experiment, &design, args.blocks)?;
    let jobs: Vec<Job> =
        measurements.iter().map(|measurement| measurement.job(&store, workspace, &root)).collect();
    let names = measurements.iter().map(Measurement::name).collect();
    let times: Vec<_> = jobs
        .iter()
        .map(|job| Pace::of(&job.trial.config, &job.plan, None, &[]).time(&job.trial.config, job.diagnostics))
        .collect();
    let conditions = jobs.len() / args.blocks as usize;
    workspace.note(&format!(
        "{} of {conditions} short trainings each, {}",
        text::plural(args.blocks as usize, "block"),
        text::duration(times.iter().sum())
    ));
    let (environment, _) = workspace.environment(&design.base)?;
    let mut progress = Progress::named(workspace.quiet, names, times);
    let sweep = Sweep { store: &store, environment: &environment, interrupt: &interrupt, at_once: 1 };
    let tally = sweep.run(&jobs, &Children::of_this_program(&interrupt)?, &mut progress)?;
    progress.finish();
    let blocks = if tally.interrupted { (tally.ended() / conditions) as u32 } else { args.blocks };
    if tally.interrupted {
        let outcome = if blocks == 0 { "nothing to explain yet" } else { "the page is of the whole blocks" };
        say(&format!(
            "interrupted after {} of {}: {outcome}",
            blocks,
            text::plural(args.blocks as usize, "block")
        ));
        if blocks == 0 {
            return Ok(ExitCode::from(EXIT_INTERRUPTED));
        }
    }
    let blocks = blocks_of(&store, &measurements, blocks)?;
    let stored = match design.demonstration {
        None => stored(workspace, experiment)?,
        Some(_) => Vec::new(),
    };
    let explanation = Explanation::of(
        &design,
        &blocks,
        Some(&Stored { accuracy: TARGET, runs: &stored }).filter(|stored| !stored.runs.is_empty()),
    );
    let page = write(args, &explanation, &blocks)?;
    if args.out.join("index.html").exists() {
        workspace.note("`pinbench report` links it from the other pages");
    }
    print(summary(&explanation).trim_end())?;
    print(&page.display().to_string())?;
    Ok(if tally.interrupted { ExitCode::from(EXIT_INTERRUPTED) } else { ExitCode::SUCCESS })
}

fn design(args: &ExplainArgs) -> Result<Design> {
    let demonstration = match args.planted {
        Some(planted) if planted.phase().is_none() => {
            let slow: Vec<&str> = Planted::ALL
                .into_iter()
                .filter(|planted| planted.phase().is_some())
                .map(Planted::name)
                .collect();
            let slow = slow.join(", ");
            return Err(
                WrongUsage(format!("'{planted}' makes no step slower; expected one of {slow}")).into()
            );
        }
        Some(planted) => Some(Demonstration::Planted(planted)),
        None => args.aa.then_some(Demonstration::Alike),
    };
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    let batches = if args.no_curve || args.aa { vec![SMALL, LARGE] } else { BATCHES.to_vec() };
    Ok(Design { base: Plan::named(args.plan(), threads, Device::Cpu), batches, demonstration })
}

/// One short training.
struct Measurement {
    block: u32,
    /// Within the block.
    place: u32,
    condition: Condition,
    trial: Trial,
    plan: Plan,
    planted: Option<Planted>,
}

fn base_trial(experiment: &Experiment) -> Result<Trial> {
    let trials = experiment.profile.trials();
    trials.map(|(_, trial)| trial).next().ok_or_else(|| anyhow!("'{}' has no trial", experiment.id))
}

/// Every condition once a block. A block has a seed of its own, so that its trials are its own; in an A/A run, where all
/// conditions are the same, each measurement has one.
fn measurements(experiment: &Experiment, design: &Design, blocks: u32) -> Result<Vec<Measurement>> {
    let wanted = design.conditions();
    let is_alike = design.demonstration == Some(Demonstration::Alike);
    let trial = base_trial(experiment)?;
    let mut measurements = Vec::new();
    for block in 0..blocks {
        for (place, condition) in order(&wanted, block as usize).into_iter().enumerate() {
            let trained = design.trained(condition);
            let mut config = trial.config.clone();
            config.train.batch = trained.batch;
            config.train.micro_batch = trained.variant.micro_batch();
            // As many as the condition's own batch would have: an A/A run is then as noisy as what it stands for.
            config.train.max_steps = Some((IMAGES / condition.batch).clamp(STEPS.0, STEPS.1));
            config.data.eval_limit = Some(EVALUATED);
            let seed = if is_alike { measurements.len() as u64 } else { u64::from(block) };
            let (trial, plan) = (Trial { config, seed: Seed(seed) }, trained.variant.apply(&design.base));
            measurements.push(Measurement {
                block,
                place: place as u32,
                condition,
                trial,
                plan,
                planted: design.planted(condition),
            });
        }
    }
    Ok(measurements)
}

impl Measurement {
    fn name(&self) -> String {
        format!("block {}: {}", self.block + 1, self.condition)
    }

    fn job(&self, store: &Store, workspace: &Workspace, data: &std::path::Path) -> Job {
        Job {
            experiment: EXPERIMENT.to_owned(),
            profile: "explain".to_owned(),
            trial: self.trial.clone(),
            plan: self.plan.clone(),
            store: store.path().to_owned(),
            data: data.to_owned(),
            workspace: workspace.root.clone(),
            diagnostics: Diagnostics::Off,
            task: Task::Train { fault: self.planted, again: false },
            beside: 0,
            block: Some(record::Block { block: self.block.into(), place: self.place }),
            command: this_command(),
        }
    }
}

fn blocks_of(store: &Store, measurements: &[Measurement], blocks: u32) -> Result<Vec<Block>> {
    let mut by_key = BTreeMap::new();
    for record in store.records()?.records.iter().filter(|record| record.status == Status::Finished) {
        by_key.insert((record.trial_id, record.plan_hash), store.load(record)?);
    }
    let runs = |block: u32| {
        let of_block = measurements.iter().filter(move |measurement| measurement.block == block);
        // What failed is missing, and the explanation names it.
        let run = |measurement: &Measurement| {
            let run = by_key.get(&(measurement.trial.id(), measurement.plan.hash()))?;
            Some((measurement.condition, run.clone()))
        };
        Block { runs: of_block.filter_map(run).collect() }
    };
    Ok((0..blocks).map(runs).collect())
}

/// Finished runs of the experiment at the notes' setting, of the newest plan and machine: how long a target takes. Runs
/// that trained beside others do not say it.
fn stored(workspace: &Workspace, experiment: &Experiment) -> Result<Vec<LoadedRun>> {
    let Some(store) = workspace.existing_store()? else { return Ok(Vec::new()) };
    let records = workspace.listing(Some(&store))?.records;
    let trials: Vec<_> = experiment.profile.trials().map(|(_, trial)| trial.id()).collect();
    let is_wanted = |record: &&RunRecord| {
        trials.contains(&record.trial_id)
            && record.status == Status::Finished
            && record.planted.is_none()
            && record.is_alone()
    };
    let Some(newest) = records.iter().rev().find(is_wanted) else { return Ok(Vec::new()) };
    let is_alike = |record: &&RunRecord| {
        (record.plan_hash, &record.environment_class) == (newest.plan_hash, &newest.environment_class)
    };
    let runs = records.iter().filter(is_wanted).filter(is_alike).map(|record| Ok(store.load(record)?));
    runs.collect()
}

/// The page, and beside it the explanation for programs and the rows of every measurement.
fn write(args: &ExplainArgs, explanation: &Explanation, blocks: &[Block]) -> Result<PathBuf> {
    let folder = args.out.join(folder_name(&explanation.design));
    fs::create_dir_all(&folder).with_context(|| format!("cannot create '{}'", folder.display()))?;
    let download = |name: &str, about: &str, text: String| Download {
        name: name.to_owned(),
        about: about.to_owned(),
        bytes: text.into_bytes(),
    };
    let downloads = [
        download(
            "explanation.json",
            "slowdown, parts, findings and knobs with their intervals, JSON",
            to_json(explanation),
        ),
        download("steps.csv", "every step of every measurement: time and counters, CSV", steps_csv(blocks)),
    ];
    let records: Vec<&RunRecord> =
        blocks.iter().flat_map(|block| &block.runs).map(|(_, run)| &run.record).collect();
    let command = this_command();
    let has_index = args.out.join("index.html").exists();
    let provenance = Provenance { command: &command, records, downloads: &downloads, has_index };
    let page = explain(explanation, &provenance)?;
    let files = downloads.iter().map(|download| (download.name.as_str(), download.bytes.as_slice()));
    for (name, bytes) in files.chain([("index.html", page.as_bytes())]) {
        let path = folder.join(name);
        fs::write(&path, bytes).with_context(|| format!("cannot write '{}'", path.display()))?;
    }
    Ok(folder.join("index.html"))
}

/// A demonstration must not take the place of an explanation that is meant, nor one plan that of another.
fn folder_name(design: &Design) -> String {
    let mut name = "explain-batch-size".to_owned();
    if design.base.name != PlanName::Eager {
        name.push_str(&format!("-{}", design.base.name));
    }
    match design.demonstration {
        Some(Demonstration::Planted(planted)) => name.push_str(&format!("-{planted}")),
        Some(Demonstration::Alike) => name.push_str("-aa"),
        None => {}
    }
    name
}

fn steps_csv(blocks: &[Block]) -> String {
    let mut csv = String::from("block,batch,variant,step,images,total_ns,minor_faults,user_us,system_us\n");
    let runs =
        blocks.iter().enumerate().flat_map(|(block, runs)| runs.runs.iter().map(move |run| (block, run)));
    for (block, (condition, run)) in runs {
        for step in &run.steps {
            csv.push_str(&format!(
                "{block},{},{:?},{},{},{},{},{},{}\n",
                condition.batch,
                condition.variant.name(),
                step.step,
                step.images,
                step.times.total_ns,
                step.usage.minor_faults,
                step.usage.user_us,
                step.usage.system_us
            ));
        }
    }
    csv
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demonstration_and_another_plan_have_folders_of_their_own() {
        let folder = |name, demonstration| {
            let base = Plan::named(name, 2, Device::Cpu);
            folder_name(&Design { base, batches: BATCHES.to_vec(), demonstration })
        };
        assert_eq!(folder(PlanName::Eager, None), "explain-batch-size");
        assert_eq!(folder(PlanName::Tuned, Some(Demonstration::Alike)), "explain-batch-size-tuned-aa");
        let planted = Some(Demonstration::Planted(Planted::DelayLoad));
        assert_eq!(folder(PlanName::Eager, planted), "explain-batch-size-delay-load");
    }
}
