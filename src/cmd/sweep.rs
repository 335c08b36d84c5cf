//! What `run` and `reproduce` share: say what is due, then run it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use pinbench::experiment::claim::Claim;
use pinbench::experiment::{
    Arm, Experiment, Plan, PlanAsked, PlanChange, PlanHash, ProfileName, Trial, TrialId,
};
use pinbench::machine::Environment;
use pinbench::record::{Block, Listing, Problem, Standing, Store};
use pinbench::row::Diagnostics;
use pinbench::schedule::{
    self, Basis, Children, EXIT_INTERRUPTED, Exclusive, Interrupt, Item, Job, Paces, Sweep, Tally, Task,
    items, together,
};
use pinbench::stream::{Key, Stream};
use pinbench::text;

use crate::cmd::args::{EXIT_FAILURE, SweepArgs, WrongUsage};
use crate::cmd::console::{say, this_command, warn};
use crate::cmd::data as sets;
use crate::cmd::progress::Progress;
use crate::cmd::workspace::{Workspace, command};

/// What a sweep was asked for and what became of it.
pub(super) struct Swept {
    pub experiments: Vec<Experiment>,
    pub plan: PlanAsked,
    pub at_once: u32,
    /// `None` where libtorch is not linked, so that runs of any machine count.
    pub environment: Option<Environment>,
    pub store: Store,
    pub tally: Tally,
    /// Trials that are not done although nothing went wrong in this sweep: diverged before, or another's.
    open: usize,
}

impl Swept {
    pub(super) fn exit_code(&self) -> ExitCode {
        match self.tally {
            Tally { interrupted: true, .. } => ExitCode::from(EXIT_INTERRUPTED),
            tally if tally.is_clean() && self.open == 0 => ExitCode::SUCCESS,
            _ => ExitCode::from(EXIT_FAILURE),
        }
    }
}

/// The trials of a command line.
struct Asked<'a> {
    experiments: &'a [Experiment],
    profile: Option<&'a ProfileName>,
    seeds: Option<usize>,
    wanted: schedule::Asked<'a>,
    /// Trials under way at a time.
    at_once: u32,
    diagnostics: Diagnostics,
    /// Start of the one trial's id.
    trial: Option<&'a str>,
    /// Whether blocks that were not measured together are due again.
    retime: bool,
}

/// Stays whole: it is the order in which things have to happen, and each of its lines depends on the one before.
pub(super) fn sweep(
    workspace: &Workspace,
    args: &SweepArgs,
    trial: Option<&str>,
    retime: bool,
) -> Result<Swept> {
    let (profile, plan) = (args.profile.name(), args.plan.plan()?);
    let experiments = workspace.experiments(&args.experiments, profile.as_ref())?;
    let at_once = args.plan.at_once();
    refuse_too_many(at_once)?;
    refuse_varied_threads(at_once, &experiments)?;
    let (environment, class) = workspace.environment(&plan.base)?;
    let own = class.map(|_| environment.clone());
    let store = workspace.open_store()?;
    let seeds = args.seeds.limit();
    let asked = Asked {
        experiments: &experiments,
        profile: profile.as_ref(),
        seeds,
        wanted: schedule::Asked { plan: &plan, environment: own.as_ref(), alone: at_once == 1 },
        at_once,
        diagnostics: args.diagnostics(),
        trial,
        retime,
    };
    let mut tally = Tally::default();
    let listing = whole_runs(&store, &experiments)?;
    let found = asked.items(&store, &listing)?;
    let mut open = not_done(&found);
    if found.iter().any(Item::is_due) {
        let root = ready(workspace, &found)?;
        // Only now: until here Ctrl-C ends the process at once, and nothing is lost by it.
        let interrupt = Interrupt::install()?;
        let _machine = machine_alone(&interrupt)?;
        // Whoever had the machine may have run some of these.
        let listing = whole_runs(&store, &experiments)?;
        set_damaged_aside(&store, &listing.problems, &trial_ids(&experiments))?;
        let found = asked.items(&store, &listing)?;
        open = not_done(&found);
        let due: Vec<&Item> =
            interleaved(each_once(found.iter().filter(|item| item.is_due()), at_once, |item| item));
        let times = asked.times(&due, &listing);
        announce(workspace, at_once, &found, &due, &times);
        let jobs = asked.jobs(&due, workspace, &root);
        let mut progress = Progress::new(workspace.quiet, &due, &times);
        let sweep = Sweep {
            store: &store,
            environment: &environment,
            interrupt: &interrupt,
            at_once: at_once as usize,
        };
        tally = sweep.run(&jobs, &Children::of_this_program(&interrupt)?, &mut progress)?;
        progress.finish();
        conclude(workspace, &tally, due.len());
    } else {
        listing.problems.iter().for_each(|problem| warn(&problem.to_string()));
        announce(workspace, at_once, &found, &[], &[]);
    }
    Ok(Swept { experiments, plan, at_once, environment: own, store, tally, open })
}

/// Trials at once have a core each, also those that share a GPU: more of them would only wait for each other.
pub(super) fn refuse_too_many(jobs: u32) -> Result<(), WrongUsage> {
    if jobs == 1 {
        return Ok(());
    }
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    if jobs > cores {
        let cores = text::plural(cores as usize, "core");
        return Err(WrongUsage(format!(
            "--jobs {jobs} asks for a core each, found {cores}; give at most as many as there are cores"
        )));
    }
    Ok(())
}

/// Several at once have a thread each, and a factor goes before that.
pub(super) fn refuse_varied_threads(jobs: u32, experiments: &[Experiment]) -> Result<(), WrongUsage> {
    let varied = experiments.iter().find(|experiment| jobs > 1 && experiment.varied().threads.is_some());
    varied.map_or(Ok(()), |experiment| {
        Err(WrongUsage(format!(
            "'{}' varies `plan.threads`, and --jobs {jobs} trains on one thread each; leave --jobs out, or name experiments \
             that leave the threads alone",
            experiment.id
        )))
    })
}

fn trial_ids(experiments: &[Experiment]) -> BTreeSet<TrialId> {
    let trials = experiments.iter().flat_map(|experiment| experiment.profile.trials());
    trials.map(|(_, trial)| trial.id()).collect()
}

/// The runs there are. Those of the trials in question are read whole: what a report would find damaged is not done.
pub(super) fn whole_runs(store: &Store, experiments: &[Experiment]) -> Result<Listing> {
    let trials = trial_ids(experiments);
    Ok(store.whole(store.records()?, |record| trials.contains(&record.trial_id)))
}

pub(super) fn set_aside(store: &Store, problem: &Problem) -> Result<()> {
    let moved = store.set_aside(problem)?;
    let (file, fault) = (problem.file.display(), &problem.fault);
    warn(&format!("'{file}' {fault}; the run is set aside as '{}'", moved.display()));
    Ok(())
}

/// Moves damaged runs of these trials out of the way, so that they are run again and named once; the others are named.
fn set_damaged_aside(store: &Store, problems: &[Problem], trials: &BTreeSet<TrialId>) -> Result<()> {
    for problem in problems {
        if problem.fault.is_damage() && trials.iter().any(|trial| problem.is_of(trial)) {
            set_aside(store, problem)?;
        } else {
            warn(&problem.to_string());
        }
    }
    Ok(())
}

/// What training needs and can be said to lack before it begins; returns where the data are.
fn ready(workspace: &Workspace, found: &[Item]) -> Result<PathBuf> {
    require_torch()?;
    require_devices(found.iter().filter(|item| item.is_due()).map(|item| &item.plan))?;
    sets::fetch_missing(workspace, found.iter().map(|item| item.trial.config.data.set))
}

/// Timed runs never share a machine: waits until nobody else's are under way, and says for whom.
pub(super) fn machine_alone(interrupt: &Interrupt) -> Result<Exclusive> {
    let machine = Exclusive::wait(interrupt, &mut |holder| {
        say(&format!("waiting for {holder}… (its sweep has this machine to itself)"));
    })?;
    Ok(machine)
}

/// Why a start of an id does not name one trial.
pub(super) fn not_one_trial(found: usize, start: &str, profile: Option<&ProfileName>) -> WrongUsage {
    let of = profile.map_or("these experiments".to_owned(), |profile| format!("the profile '{profile}'"));
    WrongUsage(match found {
        0 => format!(
            "no trial of {of} has an id that starts with '{start}'; `pinbench list` has the ids, and of a file elsewhere \
             `pinbench list FILE`, which is then named here too"
        ),
        _ => format!("'{start}' is the start of several trial ids; give more of it"),
    })
}

/// The one trial whose id starts so, of the experiments under their profiles, and the first of those that have it.
pub(super) fn only_trial<'a>(experiments: &'a [Experiment], start: &str) -> Result<(&'a Experiment, Trial)> {
    let mut found: Vec<(&Experiment, Trial)> = Vec::new();
    for experiment in experiments {
        for (_, trial) in experiment.profile.trials() {
            let is_new = || found.iter().all(|(_, known)| known.id() != trial.id());
            if trial.id().to_string().starts_with(start) && is_new() {
                found.push((experiment, trial));
            }
        }
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        count => Err(not_one_trial(count, start, None).into()),
    }
}

/// The plan that `asked` and the files of a trial ask for. Several arms may share the trial: those whose levels say
/// nothing of the plan go before the others, and they have to agree.
pub(super) fn plan_of(
    experiments: &[Experiment],
    trial: &Trial,
    asked: &PlanAsked,
) -> Result<Plan, WrongUsage> {
    let of = |experiment: &Experiment| -> Vec<(bool, Plan, String)> {
        let arms = experiment.profile.trials().filter(|(_, other)| other.id() == trial.id());
        let arms = arms.map(|(arm, _)| &experiment.profile.arms[arm]);
        let told = |arm: &Arm| format!("arm '{}' of {}", arm.name, experiment.id);
        arms.map(|arm| (arm.varied == PlanChange::default(), asked.of_one(arm), told(arm))).collect()
    };
    let all: Vec<(bool, Plan, String)> = experiments.iter().flat_map(of).collect();
    let has_plain = all.iter().any(|(is_plain, ..)| *is_plain);
    let wanted = all.into_iter().filter(|(is_plain, ..)| *is_plain || !has_plain);
    let mut plans: Vec<(Plan, String)> = wanted.map(|(_, plan, arm)| (plan, arm)).collect();
    plans.dedup_by(|(one, _), (other, _)| one == other);
    match &plans[..] {
        [(plan, _)] => Ok(plan.clone()),
        [(one, arm), (other, other_arm), ..] => Err(WrongUsage(format!(
            "trial {} runs under more than one plan: {arm} under {one}, {other_arm} under {other}; say which, as in \
             `--set plan.KEY=VALUE`",
            trial.id().short()
        ))),
        [] => Ok(asked.base.clone()),
    }
}

fn not_done(found: &[Item]) -> usize {
    let is_open = |item: &&Item| matches!(item.standing, Standing::Diverged(_) | Standing::Running(_));
    found.iter().filter(is_open).count()
}

/// Each trial once under a plan, also where two experiments ask for it: but a block whose times a claim compares is run whole,
/// one run after the other. Of experiments that share trials those measure them together that need their times.
pub(super) fn each_once<'a: 'b, 'b, T>(
    found: impl Iterator<Item = &'b T>,
    at_once: u32,
    item: impl Fn(&'b T) -> &'b Item<'a>,
) -> Vec<&'b T> {
    let mut seen: BTreeSet<(TrialId, PlanHash)> = BTreeSet::new();
    let mut of_blocks: BTreeSet<(&str, TrialId, PlanHash)> = BTreeSet::new();
    let (first, then): (Vec<&T>, Vec<&T>) = found.partition(|one| needs_times(item(one).experiment));
    let is_new = |one: &&'b T| {
        let item = item(one);
        let (id, plan) = item.key();
        let is_timed = at_once == 1 && needs_times(item.experiment);
        let is_new_of_block = is_timed && of_blocks.insert((item.experiment.id.as_str(), id, plan));
        seen.insert((id, plan)) || is_new_of_block
    };
    first.into_iter().chain(then).filter(is_new).collect()
}

fn needs_times(experiment: &Experiment) -> bool {
    experiment.claims.iter().any(Claim::compares_times)
}

/// Leaves those of the trial whose id starts so, which must be one.
pub(super) fn of_trial(
    found: &mut Vec<Item>,
    trial: Option<&str>,
    profile: Option<&ProfileName>,
) -> Result<(), WrongUsage> {
    let Some(start) = trial else { return Ok(()) };
    found.retain(|item| item.id.to_string().starts_with(start));
    match found.iter().map(|item| item.id).collect::<BTreeSet<TrialId>>().len() {
        1 => Ok(()),
        count => Err(not_one_trial(count, start, profile)),
    }
}

impl<'a> Asked<'a> {
    fn items<'b>(&self, store: &Store, listing: &'b Listing) -> Result<Vec<Item<'b>>>
    where
        'a: 'b,
    {
        let mut found = Vec::new();
        for experiment in self.experiments {
            let holder = |id: &TrialId, plan: &PlanHash| store.holder(id, plan);
            found.extend(items(experiment, self.seeds, &self.wanted, &listing.records, holder)?);
        }
        if self.retime {
            schedule::retime(&mut found);
        }
        of_trial(&mut found, self.trial, self.profile)?;
        Ok(found)
    }

    fn times(&self, due: &[&Item], listing: &Listing) -> Vec<(Duration, Basis)> {
        let mut paces = Paces::from_runs(&listing.records);
        let time = |item: &&Item| {
            let class = self.wanted.class(&item.plan);
            let pace = paces.of(&item.trial.config, &item.plan, class.as_ref());
            (pace.time(&item.trial.config, self.diagnostics), pace.basis)
        };
        due.iter().map(time).collect()
    }

    fn jobs(&self, due: &[&Item], workspace: &Workspace, data: &Path) -> Vec<Job> {
        let mut seen = BTreeSet::new();
        let job = |item: &&Item| {
            // Then it is done already, for the block of another experiment.
            let is_repeated = !seen.insert(item.key());
            let named = workspace.told(item.experiment);
            let again = command("run", &named, item.experiment, &item.plan, self.at_once);
            let command = format!("{again} --trial {}", item.id.short());
            let task = Task::Train { fault: None, again: self.retime || is_repeated };
            Job {
                experiment: item.experiment.id.clone(),
                profile: item.experiment.profile.name.to_string(),
                diagnostics: self.diagnostics,
                beside: self.at_once.min(due.len() as u32) - 1,
                block: block_of(item, due),
                ..workspace.job(item.trial.clone(), item.plan.clone(), data, task, command)
            }
        };
        due.iter().map(job).collect()
    }
}

/// Times of arms are compared within a seed: a seed is a block.
fn block_of(item: &Item, due: &[&Item]) -> Option<Block> {
    let place =
        due.iter().filter(|other| is_of_block(other, item)).position(|other| other.key() == item.key())?;
    (item.experiment.profile.arms.len() > 1)
        .then_some(Block { block: item.trial.seed.0, place: place as u32 })
}

fn is_of_block(one: &Item, other: &Item) -> bool {
    (&one.experiment.id, one.trial.seed) == (&other.experiment.id, other.trial.seed)
}

/// Runs of a block one after the other, in an order drawn from its number: a drift of the machine then makes no arm look
/// slower than another over the seeds.
fn interleaved<'a, 'b>(mut due: Vec<&'b Item<'a>>) -> Vec<&'b Item<'a>> {
    for block in due.chunk_by_mut(|one, other| is_of_block(one, other)) {
        let order = Key::new(block[0].trial.seed, Stream::Blocks, 0, 0).permutation(block.len() as u32);
        let drawn: Vec<&Item> = order.into_iter().map(|index| block[index as usize]).collect();
        block.copy_from_slice(&drawn);
    }
    due
}

#[cfg(feature = "torch")]
pub(super) fn require_torch() -> Result<()> {
    Ok(())
}

#[cfg(not(feature = "torch"))]
pub(super) fn require_torch() -> Result<()> {
    Err(crate::cmd::args::without_torch())
}

/// Before anything is fetched, and before every run would fail for the same reason.
#[cfg(feature = "torch")]
pub(super) fn require_devices<'a>(plans: impl Iterator<Item = &'a Plan>) -> Result<()> {
    let mut has_gpu = false;
    for plan in plans {
        pinbench::train::check_device(plan)?;
        has_gpu |= plan.device != pinbench::experiment::plan::Device::Cpu;
    }
    if has_gpu {
        warn("CUDA: run by its authors on one kind of GPU alone; docs/gpu.md says what was checked there");
    }
    Ok(())
}

/// [`require_torch`] has refused before.
#[cfg(not(feature = "torch"))]
pub(super) fn require_devices<'a>(_: impl Iterator<Item = &'a Plan>) -> Result<()> {
    Ok(())
}

pub(super) fn require_device(plan: &Plan) -> Result<()> {
    require_devices(std::iter::once(plan))
}

fn announce(workspace: &Workspace, at_once: u32, found: &[Item], due: &[&Item], times: &[(Duration, Basis)]) {
    for item in found {
        match &item.standing {
            Standing::Running(holder) => warn(&format!(
                "{}, seed {}: is being run by {holder} and left to it",
                item.arm.name, item.trial.seed
            )),
            Standing::Diverged(record) => warn(&format!(
                "{}, seed {}: diverged in run {} and is not run again",
                item.arm.name, item.trial.seed, record.run
            )),
            _ => {}
        }
    }
    let done = found.iter().filter(|item| matches!(item.standing, Standing::Done(_))).count();
    workspace.note(&format!("{} of {} done, {} due", done, text::plural(found.len(), "trial"), due.len()));
    if due.is_empty() {
        return;
    }
    if at_once > 1 {
        workspace.note(&format!("{at_once} at a time, one thread each; times are not measured"));
    }
    let total = together(times.iter().map(|(time, _)| *time), at_once);
    workspace.note(&format!("this will take about {} ({})", text::duration(total), basis(times)));
}

/// What an estimate rests on.
pub(super) fn basis(times: &[(Duration, Basis)]) -> String {
    let guessed = times.iter().filter(|(_, basis)| *basis == Basis::Guess).count();
    match guessed {
        0 => "from runs of the same plan on this machine".to_owned(),
        all if all == times.len() => {
            "a guess from another machine: no run under such a plan was timed here yet".to_owned()
        }
        some => format!("{} by a guess from another machine", text::plural(some, "run")),
    }
}

fn conclude(workspace: &Workspace, tally: &Tally, due: usize) {
    // Whoever had the machine before ran what was due, which has been said.
    if due == 0 && !tally.interrupted {
        return;
    }
    let mut parts = vec![format!("{} of {} finished", tally.finished, text::plural(due, "run"))];
    for (count, what) in
        [(tally.diverged, "diverged"), (tally.failed, "failed"), (tally.busy, "left to another process")]
    {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    workspace.note(&parts.join(", "));
    if tally.interrupted {
        say(&format!(
            "interrupted; what is done is kept, and the same command goes on where it stopped:\n  {}",
            this_command()
        ));
    } else if tally.failed > 0 {
        say(&format!("to try what failed again:\n  {}", this_command()));
    }
}
