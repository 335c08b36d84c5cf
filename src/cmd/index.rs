//! `pinbench run --manifest FILE --index N`: one task of a cluster's array.
//!
//! Nothing here reads more of the store than the folder of its own trial, takes the machine's lock or fetches anything: a
//! thousand of these run at a time, several on a node.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use jiff::Timestamp;
use pinbench::data;
use pinbench::machine::Environment;
use pinbench::record::{RunRecord, Sameness, Status, Store};
use pinbench::schedule::{
    self, Children, EXIT_BUSY, EXIT_LATER, Ending, Event, Indexed, Interrupt, Job, Limit, Manifest, Sweep,
    Tally, Task,
};
use pinbench::text;

use crate::cmd::args::{EXIT_FAILURE, WrongUsage};
use crate::cmd::console::{say, warn};
use crate::cmd::manifest::load;
use crate::cmd::sweep;
use crate::cmd::workspace::Workspace;

#[derive(Args)]
pub(crate) struct IndexArgs {
    /// Train one index of a manifest, as a cluster's task: `pinbench manifest` makes one
    ///
    /// It fetches nothing, waits for nobody, and may run beside others: its results count, its times do not. One that is done
    /// ends at once. SIGUSR1 or SIGTERM, or the end of a Slurm job coming near, makes it keep what it has and end with exit
    /// code 85; the same command goes on from there.
    #[arg(
        long,
        value_name = "FILE",
        requires = "index",
        conflicts_with_all = ["experiments", "name", "plan", "threads", "device", "set", "jobs", "seeds",
            "no_diagnostics", "dry_run", "trial", "retime"]
    )]
    manifest: Option<PathBuf>,
    /// Which of the manifest's trials, from 0
    #[arg(long, value_name = "N", requires = "manifest")]
    index: Option<usize>,
}

impl IndexArgs {
    pub(crate) fn task(&self) -> Option<(&Path, usize)> {
        Some((self.manifest.as_deref()?, self.index?))
    }
}

pub(crate) fn run(workspace: &Workspace, path: &Path, index: usize) -> Result<ExitCode> {
    sweep::require_torch()?;
    let manifest = load(&workspace.root.join(path))?;
    let task = manifest.task(index).map_err(|error| WrongUsage(error.to_string()))?;
    let plan = &task.arm.plan;
    let (environment, _) = workspace.environment(plan)?;
    let environment = environment.with_threads(plan.threads).on_this_host();
    manifest.check_program(environment.binary).map_err(|error| WrongUsage(error.to_string()))?;
    sweep::require_device(plan)?;
    let host = environment.host.as_deref().unwrap_or("a machine without a name");
    let what =
        format!("index {index}: {}, seed {}, trial {}", task.arm.arm, task.trial.seed, task.id.short());
    let store = workspace.open_store()?.without_need_of_locks();
    if let Some(done) = done(&store, &task, &environment)? {
        workspace.note(&format!("{what}: {} already, run {}", done.status.name(), done.run));
        return Ok(code_of(&done.status));
    }
    if environment.class() != task.arm.class {
        warn(&format!(
            "this machine is {}, the manifest was made on {}: its runs are a class of their own",
            environment.class(),
            task.arm.class
        ));
    }
    let data = data_of(&task)?;
    let interrupt = Interrupt::install_patient()?;
    let limit = Limit::of_this_job();
    if let Some(limit) = limit {
        interrupt.ask_after(limit.work(Timestamp::now()))?;
    }
    workspace.note(&format!("{what}, on {host}"));
    let job = job(workspace, &manifest, &task, &environment, data);
    let sweep = Sweep { store: &store, environment: &environment, interrupt: &interrupt, at_once: 1 };
    let tally = sweep.run(&[job], &Children::of_this_program(&interrupt)?, &mut Lines { workspace })?;
    if tally.interrupted {
        let left = limit.map_or(String::new(), |limit| {
            format!(" with {} left to this job", text::duration(limit.left(Timestamp::now())))
        });
        say(&format!("stopped{left}; what is done is kept, and the same command goes on"));
    }
    Ok(exit_code(tally))
}

/// The run of this class that stands for the task, once every byte of it was checked. A diverged one stands too: another
/// would only repeat it.
fn done(store: &Store, task: &Indexed, environment: &Environment) -> Result<Option<RunRecord>> {
    let (plan, class) = (task.arm.plan_hash, environment.class());
    let is_it = |record: &RunRecord| {
        let is_same =
            record.trial_id == task.id && record.plan_hash == plan && record.environment_class == class;
        is_same && record.program.is_none() && Sameness::of(record).is_some()
    };
    let mut whole = None;
    for record in store.runs_of(&task.id)?.into_iter().filter(is_it) {
        match store.check(&record) {
            Ok(()) => whole = Some(record),
            // Another task of the same trial may have done so meanwhile.
            Err(problem) if problem.fault.is_damage() && sweep::set_aside(store, &problem).is_ok() => {}
            Err(problem) => warn(&problem.to_string()),
        }
    }
    Ok(whole)
}

fn data_of(task: &Indexed) -> Result<PathBuf> {
    let (root, set) = (std::path::absolute(data::root()?)?, task.trial.config.data.set);
    if !data::is_present(set, &root) {
        bail!(
            "the data set {set} is not in '{}', and a task fetches nothing; run `pinbench data fetch {set}` once where \
             there is a network, and let PINBENCH_DATA name a folder that the nodes see",
            root.display()
        );
    }
    let (expected, found) = (task.trial.config.data.digest, set.digest());
    if expected != found {
        bail!(
            "the manifest was frozen over {set} with digest {}, '{}' holds one with {}; put that set there \
             (`pinbench data add` takes its .pin file), or freeze the manifest anew",
            expected.short(),
            root.display(),
            found.short()
        );
    }
    Ok(root)
}

fn job(
    workspace: &Workspace,
    manifest: &Manifest,
    task: &Indexed,
    environment: &Environment,
    data: PathBuf,
) -> Job {
    let command = format!("{} --trial {}", task.arm.command, task.id.short());
    Job {
        experiment: task.arm.experiment.clone(),
        profile: task.arm.profile.clone(),
        diagnostics: manifest.diagnostics,
        // Nobody here knows who else has a task on this machine: as many as fit, and at least one.
        beside: (environment.cores / task.arm.plan.threads.max(1)).max(2) - 1,
        ..workspace.job(task.trial.clone(), task.arm.plan.clone(), &data, Task::Indexed, command)
    }
}

fn code_of(status: &Status) -> ExitCode {
    match status {
        Status::Finished => ExitCode::SUCCESS,
        Status::Diverged { .. } | Status::Failed { .. } => ExitCode::from(EXIT_FAILURE),
    }
}

fn exit_code(tally: Tally) -> ExitCode {
    match tally {
        Tally { interrupted: true, .. } => ExitCode::from(EXIT_LATER),
        Tally { busy: 1.., .. } => ExitCode::from(EXIT_BUSY),
        tally if tally.is_clean() => ExitCode::SUCCESS,
        _ => ExitCode::from(EXIT_FAILURE),
    }
}

/// What a log file of a task is to say.
struct Lines<'a> {
    workspace: &'a Workspace,
}

impl schedule::Observer for Lines<'_> {
    fn begin(&mut self, _: usize) {}

    fn event(&mut self, _: usize, event: &Event) {
        match event {
            Event::Started { done: 0, .. } => {}
            Event::Started { done, steps, .. } => {
                self.workspace.note(&format!("resumed after {done} of {steps} steps"));
            }
            Event::Note { text } => warn(text),
            _ => {}
        }
    }

    fn end(&mut self, _: usize, ending: &Ending) {
        match ending {
            Ending::Sealed { run, status: Status::Failed { reason } } => {
                say(&format!("run {run} failed: {reason}"))
            }
            Ending::Sealed { run, status } => self.workspace.note(&format!("run {run} {}", status.name())),
            Ending::Busy => say("another process has this trial, which is left to it"),
            _ => {}
        }
    }
}
