//! `pinbench explain batch-size`: measure what a large batch costs, take causes away, and write the page that says so.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow};
use pinbench::analyse::explain::{Block, Condition, Explanation, HYPOTHESES, Stored, conditions, order};
use pinbench::data;
use pinbench::experiment::plan::{Device, PlanName};
use pinbench::experiment::{Experiment, Plan, ProfileName, Trial};
use pinbench::machine::Environment;
use pinbench::record::{LoadedRun, RunRecord, Status, Store};
use pinbench::report::Download;
use pinbench::report::explain::{Provenance, explain, summary};
use pinbench::row::Diagnostics;
use pinbench::schedule::{Children, EXIT_INTERRUPTED, Interrupt, Job, Pace, Sweep};
use pinbench::stream::Seed;
use pinbench::text;

use crate::cli::ExplainArgs;
use crate::cmd::console::{print, this_command};
use crate::cmd::progress::Progress;
use crate::cmd::workspace::torch;
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
    sweep::require_torch()?;
    let experiments = workspace.experiments(&[EXPERIMENT.to_owned()])?;
    let experiment = experiments.first().ok_or_else(|| WrongUsage(format!("there is no {EXPERIMENT}")))?;
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    let base = Plan::named(PlanName::Eager, threads, Device::Cpu);
    let root = std::path::absolute(data::root()?)?;
    sets::fetch_missing(workspace, std::iter::once(base_trial(experiment)?.config.data.set), &root)?;
    let folder =
        tempfile::Builder::new().prefix("pinbench-explain-").tempdir().context("a folder for runs")?;
    let store = Store::open(&folder.path().join("runs"))?;
    let interrupt = Interrupt::install()?;
    let _machine = sweep::machine_alone(&interrupt)?;
    let measurements = measurements(experiment, &base, args.blocks)?;
    let jobs: Vec<Job> =
        measurements.iter().map(|measurement| measurement.job(&store, workspace, &root)).collect();
    let names = measurements.iter().map(Measurement::name).collect();
    let times: Vec<_> = jobs
        .iter()
        .map(|job| Pace::of(&job.trial.config, &job.plan, None, &[]).time(&job.trial.config))
        .collect();
    let (blocks, conditions) =
        (text::plural(args.blocks as usize, "block"), jobs.len() / args.blocks as usize);
    workspace.note(&format!(
        "{blocks} of {conditions} short trainings each, {}",
        text::duration(times.iter().sum())
    ));
    let environment = Environment::capture(&workspace.root, torch(threads)?);
    let mut progress = Progress::named(workspace.quiet, names, times);
    let sweep = Sweep { store: &store, environment: &environment, interrupt: &interrupt };
    let tally = sweep.run(&jobs, &mut Children::of_this_program(&interrupt)?, &mut progress)?;
    progress.finish();
    if tally.interrupted {
        return Ok(ExitCode::from(EXIT_INTERRUPTED));
    }
    let blocks = blocks_of(&store, &measurements, args.blocks)?;
    let stored = stored(workspace, experiment)?;
    let explanation = Explanation::of(
        &blocks,
        Some(&Stored { accuracy: TARGET, runs: &stored }).filter(|stored| !stored.runs.is_empty()),
    );
    let page = write(args, &explanation, &blocks)?;
    print(summary(&explanation).trim_end())?;
    print(&page.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// One short training.
struct Measurement {
    block: u32,
    condition: Condition,
    trial: Trial,
    plan: Plan,
}

fn base_trial(experiment: &Experiment) -> Result<Trial> {
    let trials = experiment.profile(ProfileName::Full).trials();
    trials.map(|(_, trial)| trial).next().ok_or_else(|| anyhow!("'{}' has no trial", experiment.id))
}

/// Every condition once a block. A block has a seed of its own, so that its trials are its own.
fn measurements(experiment: &Experiment, base: &Plan, blocks: u32) -> Result<Vec<Measurement>> {
    let wanted = conditions(HYPOTHESES);
    let trial = base_trial(experiment)?;
    let mut measurements = Vec::new();
    for block in 0..blocks {
        for condition in order(&wanted, block as usize) {
            let mut config = trial.config.clone();
            config.train.batch = condition.batch;
            config.train.max_steps = Some((IMAGES / condition.batch).clamp(STEPS.0, STEPS.1));
            config.data.eval_limit = Some(EVALUATED);
            let (trial, plan) =
                (Trial { config, seed: Seed(u64::from(block)) }, condition.variant.apply(base));
            measurements.push(Measurement { block, condition, trial, plan });
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
            export: None,
            planted: None,
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

/// Finished runs of the experiment at the notes' setting, of the newest plan and machine: how long a target takes.
fn stored(workspace: &Workspace, experiment: &Experiment) -> Result<Vec<LoadedRun>> {
    let Some(store) = workspace.existing_store()? else { return Ok(Vec::new()) };
    let records = workspace.listing(Some(&store))?.records;
    let trials: Vec<_> =
        experiment.profile(ProfileName::Full).trials().map(|(_, trial)| trial.id()).collect();
    let is_wanted = |record: &&RunRecord| {
        trials.contains(&record.trial_id) && record.status == Status::Finished && record.planted.is_none()
    };
    let Some(newest) = records.iter().rev().find(is_wanted) else { return Ok(Vec::new()) };
    let is_alike = |record: &&RunRecord| {
        (record.plan_hash, &record.environment_class) == (newest.plan_hash, &newest.environment_class)
    };
    let runs = records.iter().filter(is_wanted).filter(is_alike).map(|record| Ok(store.load(record)?));
    runs.collect()
}

/// The page, and the rows of every measurement beside it.
fn write(args: &ExplainArgs, explanation: &Explanation, blocks: &[Block]) -> Result<PathBuf> {
    let folder = args.out.join("explain-batch-size");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create '{}'", folder.display()))?;
    let runs =
        || blocks.iter().enumerate().flat_map(|(block, runs)| runs.runs.iter().map(move |run| (block, run)));
    let mut csv = String::from("block,batch,variant,step,images,total_ns,minor_faults,user_us,system_us\n");
    for (block, (condition, run)) in runs() {
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
    let about = "every step of every measurement: time and counters, CSV".to_owned();
    let downloads = [Download { name: "steps.csv".to_owned(), about, bytes: csv.into_bytes() }];
    let records: Vec<&RunRecord> = runs().map(|(_, (_, run))| &run.record).collect();
    let command = this_command();
    let page = explain(explanation, &Provenance { command: &command, records, downloads: &downloads })?;
    for (name, bytes) in [("index.html", page.as_bytes()), ("steps.csv", &downloads[0].bytes)] {
        let path = folder.join(name);
        fs::write(&path, bytes).with_context(|| format!("cannot write '{}'", path.display()))?;
    }
    Ok(folder.join("index.html"))
}
