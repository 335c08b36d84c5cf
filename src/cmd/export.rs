//! `pinbench export`: the first steps of a trial, with everything another program needs to repeat them.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use pinbench::data;
use pinbench::schedule::{Children, Ending, Executor as _, Export, Interrupt, Job};

use crate::cli::ExportArgs;
use crate::cmd::console::print;
use crate::cmd::{Workspace, data as sets, sweep};

pub fn run(workspace: &Workspace, args: &ExportArgs) -> Result<ExitCode> {
    sweep::require_torch()?;
    let experiments = workspace.experiments(&args.experiments)?;
    let (experiment, trial) = sweep::only_trial(&experiments, args.profile.name(), &args.trial)?;
    let root = std::path::absolute(data::root()?)?;
    sets::fetch_missing(workspace, std::iter::once(trial.config.data.set), &root)?;
    fs::create_dir_all(&args.out).with_context(|| format!("cannot create '{}'", args.out.display()))?;
    let folder = std::path::absolute(&args.out)?;
    let job = Job {
        experiment: experiment.id.clone(),
        profile: args.profile.name().to_string(),
        trial,
        plan: args.plan.plan(),
        store: workspace.store.clone(),
        data: root,
        workspace: workspace.root.clone(),
        diagnostics: pinbench::row::Diagnostics::Off,
        export: Some(Export { folder: folder.clone(), steps: args.steps }),
        trace: None,
        planted: None,
        command: String::new(),
    };
    let interrupt = Interrupt::install()?;
    // It seals no run, so that to the scheduler it "died": what counts is the last file it writes.
    let ending = Children::of_this_program(&interrupt)?.execute(&job, &mut |_| {})?;
    if !folder.join(LAST).exists() {
        bail!("nothing was exported: {}", reason(ending));
    }
    print(&args.out.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn reason(ending: Ending) -> String {
    match ending {
        Ending::Died { reason } => reason,
        other => format!("{other:?}"),
    }
}

/// Written last: whoever finds it finds all of them.
const LAST: &str = "trial.json";

/// In the process that has the environment of the plan and was prepared for its threads.
#[cfg(feature = "torch")]
pub fn child(job: &Job, export: &Export) -> Result<ExitCode> {
    use pinbench::stream::{Key, Stream};
    use pinbench::train::{self, Options};

    train::prepare_process(job.plan.threads)?;
    let data = data::load(job.trial.config.data.set, &job.data)?;
    let mut first = FirstSteps { wanted: export.steps, ..FirstSteps::default() };
    let options = Options { diagnostics: job.diagnostics, ..Options::default() };
    let trained = train::train(&job.trial, &job.plan, &data, options, &mut first)?;
    let state = first.state.context("the trial has fewer steps than were asked for")?;
    let write = |name: &str, bytes: &[u8]| write(&export.folder, name, bytes);
    write("images.u8", &data.train.pixels)?;
    write("labels.u8", &data.train.labels)?;
    write("state.safetensors", &state)?;
    let seed = job.trial.seed;
    let steps: Vec<serde_json::Value> = first
        .steps
        .iter()
        .map(|(row, images)| {
            let dropout = Key::new(seed, Stream::Dropout, u64::from(row.epoch), row.step).torch_seed();
            serde_json::json!({ "dropout_seed": dropout, "images": images, "loss": row.loss })
        })
        .collect();
    write("steps.json", &serde_json::to_vec(&steps)?)?;
    let shape = data.train.shape;
    let about = serde_json::json!({
        "trial": job.trial,
        "plan": job.plan,
        "torch": train::torch()?,
        "shape": [shape.channels, shape.height, shape.width],
        "init_seed": Key::new(seed, Stream::Init, 0, 0).torch_seed(),
        "initial_weights": trained.initial_weights,
    });
    write(LAST, &serde_json::to_vec_pretty(&about)?)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(feature = "torch")]
fn write(folder: &std::path::Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = folder.join(name);
    fs::write(&path, bytes).with_context(|| format!("cannot write '{}'", path.display()))
}

/// Stops after so many steps, and has the state after the last.
#[cfg(feature = "torch")]
#[derive(Default)]
struct FirstSteps {
    wanted: u64,
    chosen: Vec<u32>,
    steps: Vec<(pinbench::row::StepRow, Vec<u32>)>,
    state: Option<Vec<u8>>,
}

#[cfg(feature = "torch")]
impl pinbench::train::Observer for FirstSteps {
    fn started(&mut self, _: &pinbench::train::Started) {}

    fn chose(&mut self, images: &[u32]) {
        self.chosen = images.to_vec();
    }

    fn stepped(&mut self, row: &pinbench::row::StepRow) -> pinbench::train::Control {
        self.steps.push((*row, std::mem::take(&mut self.chosen)));
        match self.steps.len() as u64 {
            done if done == self.wanted => pinbench::train::Control::Stop,
            _ => pinbench::train::Control::Continue,
        }
    }

    fn measured(&mut self, _: &pinbench::row::EpochRow) {}

    fn kept(&mut self, kept: pinbench::train::Kept) {
        self.state = (kept.step == self.wanted).then_some(kept.state);
    }
}
