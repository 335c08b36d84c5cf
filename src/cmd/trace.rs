//! `pinbench trace`: where the time of a trial's steps goes, operator by operator, and the page that says so.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use pinbench::experiment::plan::Device;
use pinbench::experiment::{Experiment, ProfileName, Trial};
use pinbench::language::Language;
use pinbench::report::PAGE;
use pinbench::schedule::{EXIT_INTERRUPTED, Job, Task, Trace};

use crate::cmd::args::{TrialPlanArgs, WrongUsage};
use crate::cmd::console::{print, this_command};
use crate::cmd::workspace::Workspace;
use crate::cmd::{data as sets, sweep, task};

/// Trace the steps of a trial: its time by operator, beside what this machine could do
///
/// When a training is slow and you want to know in which operators, and how far from the machine's own rates it is.
/// Trains the trial for some steps as `run` does, then for as many under libtorch's profiler. A traced run is no result:
/// it goes into no store.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pinbench trace 3f9a
  pinbench trace 3f9a --plan eager --out /tmp/eager
  pinbench trace 3f9a own/mine.toml

Writes into DIR/trace-TRIAL:
  index.html     time and rates of each phase, roofline, operators, counters;
                 index.ko.html in Korean
  operators.csv  operator, calls, self and total time over the profiled steps
  trace.json     every operator of these steps, for Perfetto or chrome://tracing
Nothing else should run meanwhile.")]
pub(crate) struct TraceArgs {
    /// Start of the trial's id, of whatever profile; `pinbench list` has the ids
    #[arg(value_name = "TRIAL")]
    pub trial: String,
    /// Ids of the experiments it may be of, or paths of their files; all that are known when none is given
    #[arg(value_name = "EXPERIMENT")]
    pub experiments: Vec<String>,
    /// Steps without the profiler, and as many with it
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u32).range(5..=500))]
    pub steps: u32,
    #[command(flatten)]
    pub plan: TrialPlanArgs,
    /// Folder the trace's own folder is written into
    #[arg(long, value_name = "DIR", default_value = "reports")]
    pub out: PathBuf,
}

pub(crate) fn run(workspace: &Workspace, args: &TraceArgs) -> Result<ExitCode> {
    sweep::require_torch()?;
    let plan = args.plan.plan();
    if plan.base.device != Device::Cpu {
        return Err(WrongUsage(format!(
            "a trace is of the processor: its rates and the profiler's events would not see what device '{}' does; \
             use `--device cpu`",
            plan.base.device
        ))
        .into());
    }
    let experiments: Vec<Experiment> =
        workspace.experiments(&args.experiments, None)?.iter().flat_map(Experiment::each).collect();
    let (experiment, trial) = sweep::only_trial(&experiments, &args.trial)?;
    let plan = sweep::plan_of(&experiments, &trial, &plan)?;
    let profile = &experiment.profile.name;
    let root = sets::fetch_missing(workspace, std::iter::once(trial.config.data.set))?;
    let folder = args.out.join(format!("trace-{}", trial.id().short()));
    fs::create_dir_all(&folder).with_context(|| format!("cannot create '{}'", folder.display()))?;
    let page = folder.join(PAGE);
    // What is found afterwards is then of this trace.
    let pages = Language::ALL.map(|language| language.file(PAGE));
    let names = pages.iter().map(String::as_str).chain([OPERATORS, EVENTS]);
    for path in names.map(|name| folder.join(name)).filter(|path| path.exists()) {
        fs::remove_file(&path).with_context(|| format!("cannot replace '{}'", path.display()))?;
    }
    let task = Task::Trace(Trace { folder: std::path::absolute(&folder)?, steps: args.steps });
    let job = Job {
        // It makes no run, so that this is for the page alone.
        experiment: sharing(&experiments, profile, &trial).join(", "),
        profile: profile.to_string(),
        ..workspace.job(trial, plan, &root, task, this_command())
    };
    let steps = args.steps;
    workspace.note(&format!("{steps} steps of plan '{}', then {steps} under the profiler", job.plan));
    if !task::run(workspace, &job)? {
        return Ok(ExitCode::from(EXIT_INTERRUPTED));
    }
    print(&page.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// All experiments that have the trial under the profile: none of them is the one that was asked for.
fn sharing<'a>(experiments: &'a [Experiment], profile: &ProfileName, trial: &Trial) -> Vec<&'a str> {
    let has = |experiment: &&Experiment| {
        experiment.profile.name == *profile
            && experiment.profile.trials().any(|(_, other)| other.id() == trial.id())
    };
    experiments.iter().filter(has).map(|experiment| experiment.id.as_str()).collect()
}

/// In the process that has the environment of the plan: trains, measures the machine, and writes all there is.
#[cfg(feature = "torch")]
pub(crate) fn child(job: &Job, trace: &Trace, interrupt: &pinbench::schedule::Interrupt) -> Result<ExitCode> {
    use jiff::Timestamp;
    use pinbench::analyse::roofline::Roofline;
    use pinbench::analyse::{disturbed_share, operators};
    use pinbench::machine::{Environment, Watch};
    use pinbench::record::{RunId, Status};
    use pinbench::report::File;
    use pinbench::report::trace::{Input, WARM_UP, csv, glance, pages, warning};
    use pinbench::schedule::{EXIT_SEALED, Event};
    use pinbench::train::{self, Wanted};
    use pinbench::words::Words;

    train::prepare_process(job.plan.threads)?;
    let environment = Environment::capture(&job.workspace, Some(train::torch()?));
    let data = pinbench::data::load(job.trial.config.data.set, &job.data)?;
    let (started, events) = (Timestamp::now(), trace.folder.join(EVENTS));
    let wanted = Wanted {
        warm_up: WARM_UP,
        steps: trace.steps as usize,
        trace: &events,
        is_asked: &|| interrupt.is_asked(),
    };
    let watch = Watch::start(None);
    let traced = train::trace(&job.trial, &job.plan, &data, &wanted)?;
    let Some(table) = &traced.operators else { return too_short(traced.ending, job) };
    let operators = operators::parse(table)?;
    let work = job.trial.config.step_work(&job.plan)?;
    let roofline = Roofline::of(&traced.plain, &traced.profiled, &work, train::ceilings()?)
        .context("no step took any time; this is a bug in pinbench")?;
    let watched = watch.stop();
    let others = watched.others_cpu_s.map(|used_s| (used_s, watched.time.as_secs_f64()));
    let disturbed = disturbed_share(others, watched.steal_share, environment.cores);
    let table = csv(&operators);
    let record = job.record(RunId::new(started, std::process::id()), started, &environment, Status::Finished);
    let input = Input {
        roofline: &roofline,
        operators: &operators,
        peak_rss_bytes: traced.peak_rss_bytes,
        hardware: &traced.hardware,
        gpu: &traced.gpu,
        timing_ns: traced.timing_ns,
        disturbed,
        record: &record,
        files: beside(&table, &events)?,
    };
    write(&trace.folder.join(OPERATORS), table.as_bytes())?;
    for File { name, bytes } in pages(&input)? {
        write(&trace.folder.join(name), &bytes)?;
    }
    let words = Words::english();
    let warning = disturbed.map(|disturbed| warning(disturbed, words));
    for text in glance(&roofline, &operators, words).into_iter().chain(warning) {
        crate::cmd::console::tell(&Event::Note { text });
    }
    crate::cmd::console::tell(&Event::Done);
    Ok(ExitCode::from(EXIT_SEALED))
}

/// What lies beside the page for a program to read.
#[cfg(feature = "torch")]
fn beside(table: &str, events: &std::path::Path) -> Result<Vec<pinbench::report::trace::Beside>> {
    let of =
        |name: &str, about, bytes| pinbench::report::trace::Beside { name: name.to_owned(), about, bytes };
    Ok(vec![
        of(OPERATORS, "traced.operators-csv", table.len() as u64),
        of(EVENTS, "traced.events-json", size(events)?),
    ])
}

const OPERATORS: &str = "operators.csv";
const EVENTS: &str = "trace.json";

/// Why there are not enough steps.
#[cfg(feature = "torch")]
fn too_short(ending: pinbench::train::Ending, job: &Job) -> Result<ExitCode> {
    use anyhow::bail;
    use pinbench::train::Ending;

    match ending {
        Ending::Stopped { .. } => Ok(ExitCode::from(EXIT_INTERRUPTED)),
        Ending::Diverged { step, loss } => {
            bail!(
                "the loss of step {step} is {loss}: what follows is no usual step; trace a trial that does not diverge"
            )
        }
        Ending::Finished => bail!(
            "an epoch is one step of {} images, and the state is hashed after each epoch, which the profiler cannot tell \
             from the step; trace a trial of half that batch or less",
            job.trial.config.train.batch
        ),
    }
}

/// libtorch does not say when it cannot write its trace.
#[cfg(feature = "torch")]
fn size(path: &std::path::Path) -> Result<u64> {
    let about = || format!("libtorch did not write '{}'; see whether the disk is full", path.display());
    Ok(fs::metadata(path).with_context(about)?.len())
}

#[cfg(feature = "torch")]
fn write(path: &std::path::Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write '{}'", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str = r#"
title = "a"
why = "a test"
[data]
set = "mnist"
validation = 0.2
[model]
name = "simple_cnn"
activation = "relu"
dropout = 0.5
[optim]
name = "adam"
lr = 0.001
[train]
batch = 64
epochs = 1
[profiles.smoke]
seeds = [0]
[profiles.quick]
seeds = [0]
[profiles.full]
seeds = [0]
"#;

    /// The page of a trial of three experiments named the one that comes first, whichever somebody was looking at.
    #[test]
    fn a_trial_of_several_experiments_is_of_all_of_them() {
        let parse = |id: &str, text: &str| Experiment::parse(format!("{id}.toml").as_ref(), text).unwrap();
        let other = TOML.replace("batch = 64", "batch = 128");
        let experiments = [parse("f1", TOML), parse("f2", &other), parse("m1", TOML)];
        let (_, trial) = experiments[0].profile.trials().next().unwrap();
        assert_eq!(sharing(&experiments, &"smoke".into(), &trial), ["f1", "m1"]);
    }
}
