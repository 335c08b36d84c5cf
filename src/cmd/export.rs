//! `pinbench export`: the first steps of a trial, with everything another program needs to repeat them.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use pinbench::schedule::{EXIT_INTERRUPTED, Export, Job, Task};

use crate::cmd::args::{ProfileArg, TrialPlanArgs};
use crate::cmd::console::{print, this_command};
use crate::cmd::export_runs::{self, Format};
use crate::cmd::workspace::Workspace;
use crate::cmd::{data as sets, sweep, task};

/// Write runs as CSV, JSON or for TensorBoard, or the first steps of a trial for another program to repeat
///
/// The runs are all finished ones of the experiments, whatever their plan and machine. The steps are for when pinbench itself
/// is in doubt: `just cross-check` has PyTorch repeat them and compares every bit.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pinbench export m1 --profile smoke --csv --out /tmp/m1
  pinbench export m1 --tensorboard --out /tmp/m1
  pinbench export --trial 3f9a --steps 50 --out /tmp/steps

--csv writes runs.csv, a line a run, and epochs.csv, a line a measurement;
--json runs.json, which has both: experiment, profile, arm, seed, trial_id, run,
plan_hash, environment_class, beside, started, steps, train_s, final_weights,
epochs. --tensorboard writes an event file a run, with hyperparameters.

Steps are written into DIR as:
  trial.json          config, seed, plan, libtorch, seed of the initial weights
                      and their SHA-256
  steps.json          of each step: its images, the seed of its dropout, its loss
  state.safetensors   weights and optimizer after the last of them
  images.u8           the training file, image by image
  labels.u16          their labels, little-endian")]
pub(crate) struct ExportArgs {
    /// Ids of experiments, or unique starts of them, or paths of their files; all when none is given
    #[arg(value_name = "EXPERIMENT")]
    pub experiments: Vec<String>,
    /// Start of the trial's id; `pinbench list` has the ids
    #[arg(long, value_name = "ID", required_unless_present_any = ["csv", "json", "tensorboard"])]
    pub trial: Option<String>,
    /// Write the runs there are as CSV
    #[arg(long, conflicts_with_all = ["json", "tensorboard", "plan", "threads", "device", "set", "steps"])]
    csv: bool,
    /// Write them as JSON
    #[arg(long, conflicts_with_all = ["tensorboard", "plan", "threads", "device", "set", "steps"])]
    json: bool,
    /// Write them as TensorBoard reads them
    #[arg(long, conflicts_with_all = ["plan", "threads", "device", "set", "steps"])]
    tensorboard: bool,
    #[command(flatten)]
    pub profile: ProfileArg,
    #[command(flatten)]
    pub plan: TrialPlanArgs,
    /// Steps, from the first
    #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u64).range(1..))]
    pub steps: u64,
    /// Folder the files are written into
    #[arg(long, value_name = "DIR", required = true)]
    pub out: PathBuf,
}

impl ExportArgs {
    /// `None`: the first steps of a trial.
    pub(crate) fn format(&self) -> Option<Format> {
        let formats =
            [(self.csv, Format::Csv), (self.json, Format::Json), (self.tensorboard, Format::TensorBoard)];
        formats.into_iter().find_map(|(is_asked, format)| is_asked.then_some(format))
    }
}

pub(crate) fn run(workspace: &Workspace, args: &ExportArgs) -> Result<ExitCode> {
    if let Some(format) = args.format() {
        let experiments = workspace.experiments(&args.experiments, args.profile.name().as_ref())?;
        return export_runs::run(workspace, &experiments, args.trial.as_deref(), format, &args.out);
    }
    sweep::require_torch()?;
    let experiments = workspace.experiments(&args.experiments, args.profile.name().as_ref())?;
    // clap asks for it where no format was given.
    let start = args.trial.as_deref().unwrap_or_default();
    let (experiment, trial) = sweep::only_trial(&experiments, start)?;
    let plan = sweep::plan_of(&experiments, &trial, &args.plan.plan())?;
    let root = sets::fetch_missing(workspace, std::iter::once(trial.config.data.set))?;
    fs::create_dir_all(&args.out).with_context(|| format!("cannot create '{}'", args.out.display()))?;
    let folder = std::path::absolute(&args.out)?;
    let task = Task::Export(Export { folder, steps: args.steps });
    let job = Job {
        experiment: experiment.id.clone(),
        profile: experiment.profile.name.to_string(),
        ..workspace.job(trial, plan, &root, task, this_command())
    };
    if !task::run(workspace, &job)? {
        return Ok(ExitCode::from(EXIT_INTERRUPTED));
    }
    print(&args.out.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// Written last, and removed before the first: whoever finds it finds all of them, and of one export.
#[cfg(feature = "torch")]
const LAST: &str = "trial.json";
#[cfg(feature = "torch")]
const MEAN: &str = "mean.f32";
#[cfg(feature = "torch")]
const STD: &str = "std.f32";

/// In the process that has the environment of the plan and was prepared for its threads.
#[cfg(feature = "torch")]
pub(crate) fn child(
    job: &Job,
    export: &Export,
    interrupt: &pinbench::schedule::Interrupt,
) -> Result<ExitCode> {
    use anyhow::bail;
    use pinbench::schedule::{EXIT_SEALED, Event};
    use pinbench::stream::{Key, Stream};
    use pinbench::train::{self, Options};

    train::prepare_process(job.plan.threads)?;
    let data = pinbench::data::load(job.trial.config.data.set, &job.data)?;
    let mut first = FirstSteps::new(export.steps, interrupt);
    let options = Options { diagnostics: job.diagnostics, ..Options::default() };
    let trained = train::train(&job.trial, &job.plan, &data, options, &mut first)?;
    let Some(state) = first.state else {
        if interrupt.is_asked() {
            return Ok(ExitCode::from(EXIT_INTERRUPTED));
        }
        bail!("the trial ends after {} steps, {} were asked for; ask for fewer", trained.steps, export.steps);
    };
    // A set that is not normalised has no statistics, so that an earlier export's would stay.
    for earlier in [LAST, MEAN, STD].map(|name| export.folder.join(name)) {
        if earlier.exists() {
            fs::remove_file(&earlier).with_context(|| format!("cannot replace '{}'", earlier.display()))?;
        }
    }
    let write = |name: &str, bytes: &[u8]| write(&export.folder, name, bytes);
    write("images.u8", &data.train.pixels)?;
    let labels: Vec<u8> = data.train.labels.iter().flat_map(|label| label.to_le_bytes()).collect();
    write("labels.u16", &labels)?;
    write("state.safetensors", &state)?;
    if let Some(normalisation) = train::Normalisation::of(&job.trial, &data.train)? {
        let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        write(MEAN, &bytes(&normalisation.mean))?;
        write(STD, &bytes(&normalisation.std))?;
    }
    let seed = job.trial.seed;
    let step = |(row, images): &(pinbench::row::StepRow, Vec<u32>)| {
        let dropout = Key::new(seed, Stream::Dropout, u64::from(row.epoch), row.step).torch_seed();
        serde_json::json!({ "dropout_seed": dropout, "images": images, "loss": row.loss })
    };
    let steps: Vec<serde_json::Value> = first.steps.iter().map(step).collect();
    write("steps.json", &serde_json::to_vec(&steps)?)?;
    let shape = data.train.shape;
    let about = serde_json::json!({
        "trial": job.trial,
        "plan": job.plan,
        "torch": train::torch()?,
        "experiment": job.experiment,
        "layers": job.trial.config.model.layers(),
        "shape": [shape.channels, shape.height, shape.width],
        "classes": job.trial.config.data.set.classes(),
        "init_seed": Key::new(seed, Stream::Init, 0, 0).torch_seed(),
        "initial_weights": trained.initial_weights,
    });
    write(LAST, &serde_json::to_vec_pretty(&about)?)?;
    crate::cmd::console::tell(&Event::Done);
    Ok(ExitCode::from(EXIT_SEALED))
}

#[cfg(feature = "torch")]
fn write(folder: &std::path::Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = folder.join(name);
    fs::write(&path, bytes).with_context(|| format!("cannot write '{}'", path.display()))
}

/// Stops after so many steps, and has the state after the last.
#[cfg(feature = "torch")]
struct FirstSteps<'a> {
    wanted: u64,
    interrupt: &'a pinbench::schedule::Interrupt,
    chosen: Vec<u32>,
    steps: Vec<(pinbench::row::StepRow, Vec<u32>)>,
    state: Option<Vec<u8>>,
}

#[cfg(feature = "torch")]
impl<'a> FirstSteps<'a> {
    fn new(wanted: u64, interrupt: &'a pinbench::schedule::Interrupt) -> Self {
        Self { wanted, interrupt, chosen: Vec::new(), steps: Vec::new(), state: None }
    }
}

#[cfg(feature = "torch")]
impl pinbench::train::Observer for FirstSteps<'_> {
    fn started(&mut self, _: &pinbench::train::Started) {}

    fn chose(&mut self, images: &[u32]) {
        self.chosen = images.to_vec();
    }

    fn stepped(&mut self, row: &pinbench::row::StepRow) -> pinbench::train::Control {
        self.steps.push((*row, std::mem::take(&mut self.chosen)));
        match self.steps.len() as u64 {
            done if done == self.wanted || self.interrupt.is_asked() => pinbench::train::Control::Stop,
            _ => pinbench::train::Control::Continue,
        }
    }

    fn measured(&mut self, _: &pinbench::row::EpochRow) {}

    fn kept(&mut self, kept: pinbench::train::Kept) {
        self.state = (kept.step == self.wanted).then_some(kept.state);
    }
}
