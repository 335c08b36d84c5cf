//! `pinbench check`: fresh runs against stored baselines, an alarm only after a rerun.

pub(crate) mod args;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use pinbench::analyse::gate::{
    Asked, Bar, Exit, Finding, Findings, Rerun, Sample, Subject, Verdict, confirm, judge,
};
use pinbench::experiment::baseline::{self, Baseline};
use pinbench::experiment::plan::Device;
use pinbench::experiment::probe::{self as probes, ProbeFile};
use pinbench::experiment::{Arm, Experiment, Plan, PlanAsked, PlanChange, ProfileName, Trial};
use pinbench::planted::Planted;
use pinbench::record::{Listing, Store};
use pinbench::report::gate;
use pinbench::row::Diagnostics;
use pinbench::schedule::{
    Children, EXIT_INTERRUPTED, Exclusive, Interrupt, Job, Pace, Sweep, Task, together,
};
use pinbench::stream::Seed;
use pinbench::text;

use crate::cmd::against;
use crate::cmd::args::{SeedList, WrongUsage};
use crate::cmd::check::args::{CheckArgs, write};
use crate::cmd::console::{causes, print, say, warn};
use crate::cmd::progress::Progress;
use crate::cmd::workspace::Workspace;
use crate::cmd::{data as sets, probe, sweep};

/// So many seeds are trained unless they look worse.
const FIRST_SEEDS: usize = 3;

/// A check that could not be made to its end: exit code 1 would say that something is worse.
#[derive(Debug)]
pub(crate) struct NotJudged;

impl std::fmt::Display for NotJudged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the check did not come to its end")
    }
}

pub(crate) fn run(workspace: &Workspace, args: &CheckArgs) -> Result<ExitCode> {
    judged(workspace, args).context(NotJudged)
}

fn judged(workspace: &Workspace, args: &CheckArgs) -> Result<ExitCode> {
    if let Some(binary) = &args.against.against {
        return against::run(workspace, args, binary);
    }
    let Cases { cases, probed, mut files } = cases(workspace, args)?;
    let mut bench = Bench::new(workspace, args.planted)?;
    if !probed.is_empty() {
        bench.be_alone()?;
        workspace
            .note(&format!("asking {} for single steps", text::plural(probe::count(&probed), "network")));
    }
    let probes = probe::check(workspace, &probed, args.planted, &bench.interrupt)?;
    let Some(probes) = probes else { return Ok(interrupted()) };
    let Some(judged) = trained(workspace, args, &cases, &mut bench)? else { return Ok(interrupted()) };
    files.extend(judged);
    // Of a file's own profile first: those of another go to the only file there is if nothing was asked for it.
    let has_own = |findings: &Findings| {
        let is_of =
            |file: &Findings| (&file.experiment, &file.profile) == (&findings.experiment, &findings.profile);
        files.iter().any(is_of)
    };
    let (own, others): (Vec<Findings>, Vec<Findings>) = probes.into_iter().partition(has_own);
    own.into_iter().chain(others).for_each(|findings| add(&mut files, findings));
    unanswered(&cases, &mut files);
    print(gate::table(&files).trim_end())?;
    let written = [
        write(args.markdown.as_deref(), || Ok(gate::markdown(&files)?)),
        write(args.junit.as_deref(), || Ok(gate::junit(&files)?)),
        write(args.json.as_deref(), || Ok(gate::json(&files))),
    ];
    let mut exit = Exit::of(&files);
    for error in written.into_iter().filter_map(Result::err) {
        say(&format!("error: {}", causes(&error)));
        exit = exit.max(Exit::NotComparable);
    }
    if files.is_empty() {
        let place = workspace.baselines();
        let place = place.map_or("in the program".to_owned(), |folder| format!("in '{}'", folder.display()));
        let profile = args.profile().map(|profile| format!(" of profile {profile}")).unwrap_or_default();
        let accept = baseline::accept_command("EXPERIMENT", &args.profile().unwrap_or_default());
        warn(&format!("there is no baseline{profile} {place}; run `{accept}`"));
    }
    let kept = if exit == Exit::Holds { Vec::new() } else { bench.keep()? };
    if !kept.is_empty() {
        say(&format!("the runs are kept: {}", kept.join(", ")));
    }
    Ok(ExitCode::from(exit.code()))
}

/// Findings of each baseline's trainings: of a few seeds, and of the rest where those look worse. `None` where somebody
/// interrupted.
fn trained(
    workspace: &Workspace,
    args: &CheckArgs,
    cases: &[Case],
    bench: &mut Bench,
) -> Result<Option<Vec<Findings>>> {
    let first = cases.iter().map(|case| case.first(args)).collect::<Result<Vec<Request>>>()?;
    let Some(store) = bench.train(&first)? else { return Ok(None) };
    let mut runs = Vec::new();
    for request in &first {
        runs.push(samples(&store, request)?);
    }
    let look = |runs: &[Vec<Sample>]| -> Vec<Findings> {
        cases.iter().zip(runs).map(|(case, runs)| judge(&case.asked, Some(&case.baseline), runs)).collect()
    };
    let wanted = |judged: &[Findings], kind: Rerun| -> Vec<Request> {
        let each = cases.iter().zip(judged).zip(&first);
        let wanted: Vec<Request> =
            each.map(|((case, findings), first)| case.again(findings, first, kind)).collect();
        if wanted.iter().any(|request| !request.trials.is_empty()) {
            workspace.note("an alarm counts only if more runs say so: training its arms again");
        }
        wanted
    };
    let others = wanted(&look(&runs), Rerun::OtherSeeds);
    let Some(store) = bench.train(&others)? else { return Ok(None) };
    for (runs, request) in runs.iter_mut().zip(&others) {
        runs.extend(samples(&store, request)?);
    }
    let judged = look(&runs);
    let same = wanted(&judged, Rerun::SameSeeds);
    let Some(store) = bench.train(&same)? else { return Ok(None) };
    let mut files = Vec::new();
    for ((case, findings), request) in cases.iter().zip(judged).zip(&same) {
        let again = judge(&case.asked, Some(&case.baseline), &samples(&store, request)?);
        files.push(confirm(findings, &again));
    }
    Ok(Some(files))
}

/// What single steps say comes first: of the same file, else of the only one of the experiment that has none, else as one of
/// its own.
fn add(files: &mut Vec<Findings>, mut probes: Findings) {
    let of_experiment = |file: &Findings| file.experiment == probes.experiment;
    let is_only = files.iter().filter(|file| of_experiment(file)).count() == 1;
    let has_steps = |file: &Findings| file.all.iter().any(|finding| finding.subject == Subject::Probe);
    let is_of = |file: &&mut Findings| {
        of_experiment(file) && (file.profile == probes.profile || (is_only && !has_steps(file)))
    };
    match files.iter_mut().find(is_of) {
        Some(file) => {
            for finding in &mut probes.all {
                finding.profile = Some(probes.profile.clone()).filter(|profile| *profile != file.profile);
            }
            drop(file.all.splice(0..0, probes.all));
        }
        None => files.push(probes),
    }
}

/// Arms that single steps alone answer for, and that nobody asked.
fn unanswered(cases: &[Case], files: &mut [Findings]) {
    for case in cases {
        let of_experiment = |file: &&Findings| file.experiment == case.asked.experiment;
        let is_answered =
            |arm: &str| files.iter().filter(of_experiment).any(|file| file.steps_of(Some(arm)).is_some());
        let is_there = |arm: &&String| case.asked.arms.iter().any(|(label, _)| label == *arm);
        let missed = case.baseline.by_steps_alone.iter().filter(is_there).filter(|arm| !is_answered(arm));
        let finding =
            |arm: &String| Finding::new(Some(arm), Subject::Probe, Verdict::NotComparable(Bar::NotProbed));
        let missed: Vec<Finding> = missed.map(finding).collect();
        let is_of = |file: &&mut Findings| {
            (&file.experiment, &file.profile) == (&case.asked.experiment, &case.asked.profile)
        };
        if let Some(file) = files.iter_mut().find(is_of) {
            file.all.extend(missed);
        }
    }
}

fn interrupted() -> ExitCode {
    say("interrupted: nothing was judged and no run is kept; the same command starts over");
    ExitCode::from(EXIT_INTERRUPTED)
}

/// What was asked for.
struct Cases {
    cases: Vec<Case>,
    probed: Vec<(Experiment, ProbeFile)>,
    /// Findings about files that are of no use.
    files: Vec<Findings>,
}

/// A baseline and the experiment it is of.
struct Case {
    experiment: Experiment,
    asked: Asked,
    baseline: Baseline,
}

/// Arms of one experiment to train, under which seeds and how.
struct Request {
    experiment: String,
    /// The experiment as a command line names it.
    named: String,
    profile: ProfileName,
    /// Label of the arm, a trial of it and the plan it is run under.
    trials: Vec<(String, Trial, Plan)>,
}

/// The baselines and the probes that were asked for, and findings about those that are of no use.
fn cases(workspace: &Workspace, args: &CheckArgs) -> Result<Cases> {
    let (mut cases, mut probed, mut files) = (Vec::new(), Vec::new(), Vec::new());
    let mut file_names = BTreeSet::new();
    let profile = args.profile();
    let experiments = workspace.experiments(&args.experiments, profile.as_ref())?;
    let mut known = BTreeSet::new();
    for experiment in experiments {
        known.insert(experiment.id.clone());
        let named = workspace.named(&experiment);
        let before = cases.len() + probed.len() + files.len();
        for under in experiment.each() {
            let (id, profile) = (&under.id, &under.profile.name);
            file_names.extend([baseline::file_name(id, profile), probes::file_name(id, profile)]);
        }
        // Under the profile that was asked for, else under each. Steps of another answer for one that has none.
        let has_trainings = profile.is_some() && matches!(workspace.baseline(&experiment), Ok(Some(_)));
        if has_trainings && matches!(workspace.probes(&experiment), Ok(None)) {
            let steps = experiment.each().find_map(|under| Some((workspace.probes(&under).ok()??, under)));
            probed.extend(steps.map(|(probes, under)| (under, probes)));
        }
        let asked_for = experiment.clone();
        let each = experiment
            .each()
            .filter(|under| profile.is_none() || under.profile.name == asked_for.profile.name);
        for experiment in each {
            match workspace.probes(&experiment) {
                Ok(probes) => probed.extend(probes.map(|probes| (experiment.clone(), probes))),
                Err(error) => {
                    files.push(Findings::unreadable(&experiment.id, experiment.profile.name.clone(), error));
                }
            }
            match workspace.baseline(&experiment) {
                Ok(Some(baseline)) => {
                    let asked = Asked::of(&experiment, &named);
                    cases.push(Case { experiment, asked, baseline });
                }
                Ok(None) => {}
                Err(error) => {
                    files.push(Findings::unreadable(&experiment.id, experiment.profile.name.clone(), error));
                }
            }
        }
        // One that was named is missed, under the profile it would be accepted for.
        if before == cases.len() + probed.len() + files.len() && !args.experiments.is_empty() {
            files.push(judge(&Asked::of(&experiment, &named), None, &[]));
        }
    }
    // What is inside the program belongs together: a test sees to it.
    if let Some(folder) = workspace.baselines().filter(|_| args.experiments.is_empty()) {
        files.extend(orphans(&folder, &known, &file_names, profile.as_ref())?);
    }
    Ok(Cases { cases, probed, files })
}

/// Baselines whose experiment is gone, or that profile of it, and files that are no baselines. `file_names` are those of the
/// experiments there are.
fn orphans(
    folder: &Path,
    known: &BTreeSet<String>,
    file_names: &BTreeSet<String>,
    profile: Option<&ProfileName>,
) -> Result<Vec<Findings>> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read '{}'", folder.display()))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    let mut orphans = Vec::new();
    for name in names {
        // A name may have dots of its own. Which profiles an experiment has is known of those that were looked at.
        let is_of = |id: &str| name.strip_prefix(id).is_some_and(|rest| rest.starts_with('.'));
        let is_there = file_names.contains(&name) || (profile.is_some() && known.iter().any(|id| is_of(id)));
        match baseline::parse_file_name(&name).or_else(|| probes::parse_file_name(&name)) {
            Some((experiment, of)) if !is_there && profile.is_none_or(|asked| *asked == of) => {
                orphans.push(Findings::orphaned(&experiment, of));
            }
            Some(_) => {}
            None => warn(&format!(
                "'{}' is no baseline: expected EXPERIMENT.PROFILE.toml",
                folder.join(&name).display()
            )),
        }
    }
    Ok(orphans)
}

impl Case {
    /// Every arm under the seeds that were asked for, else under the first of the baseline's.
    fn first(&self, args: &CheckArgs) -> Result<Request> {
        let Some(SeedList(asked)) = &args.seeds else {
            return Ok(self.request(|arm| self.first_seeds(arm), |_| true));
        };
        for arm in &self.baseline.arms {
            let known = self.seeds(&arm.label);
            if let Some(seed) = asked.iter().find(|seed| !known.contains(seed)) {
                let known: Vec<String> = known.iter().map(Seed::to_string).collect();
                return Err(WrongUsage(format!(
                    "seed {seed} is not in the baseline of {}, arm '{}', which has {}; a run is compared with that of its seed",
                    self.asked.named,
                    arm.label,
                    known.join(", ")
                ))
                .into());
            }
        }
        Ok(self.request(|_| asked.clone(), |_| true))
    }

    /// What has to be trained before an alarm counts: of the arms with one the rest of the seeds, or the same again.
    fn again(&self, findings: &Findings, first: &Request, kind: Rerun) -> Request {
        let wanted = findings.reruns();
        let is_wanted =
            |arm: &str| wanted.iter().any(|(label, rerun)| (label.as_str(), *rerun) == (arm, kind));
        let trained = |arm: &str| -> Vec<Seed> {
            first.trials.iter().filter(|(label, ..)| label == arm).map(|(_, trial, _)| trial.seed).collect()
        };
        let seeds = |arm: &str| match kind {
            // Those of the first look, and any other that ended otherwise than it should.
            Rerun::SameSeeds => {
                let all: BTreeSet<Seed> = trained(arm).into_iter().chain(findings.seeds_named(arm)).collect();
                all.into_iter().collect()
            }
            Rerun::OtherSeeds => {
                let used = trained(arm);
                self.seeds(arm).into_iter().filter(|seed| !used.contains(seed)).collect()
            }
        };
        self.request(seeds, is_wanted)
    }

    /// Some that finished, and one that diverged: it has no numbers.
    fn first_seeds(&self, arm: &str) -> Vec<Seed> {
        let Some(arm) = self.baseline.arm(arm) else { return Vec::new() };
        let finished = arm.runs.iter().map(|run| run.seed).take(FIRST_SEEDS);
        let mut seeds: Vec<Seed> = finished.chain(arm.diverged.iter().copied().take(1)).collect();
        seeds.sort_unstable();
        seeds
    }

    fn seeds(&self, arm: &str) -> Vec<Seed> {
        let Some(arm) = self.baseline.arm(arm) else { return Vec::new() };
        let mut seeds: Vec<Seed> = arm.runs.iter().map(|run| run.seed).chain(arm.diverged.clone()).collect();
        seeds.sort_unstable();
        seeds
    }

    /// Arms whose config is no longer the baseline's are not trained: there is nothing to compare them with.
    fn request(&self, seeds: impl Fn(&str) -> Vec<Seed>, is_wanted: impl Fn(&str) -> bool) -> Request {
        let stored = self.baseline.plan;
        let base = Plan::named(stored.name, stored.threads, stored.device);
        // As it was accepted: what a command line said then goes before the file again.
        let (name, threads) = (Some(stored.name), Some(stored.threads));
        let plan = PlanAsked { base, set: PlanChange { name, threads, ..PlanChange::default() } };
        let mut trials = Vec::new();
        for arm in &self.experiment.profile.arms {
            let is_known =
                self.baseline.arm(&arm.label).is_some_and(|stored| stored.config_hash == arm.config.hash());
            if is_known && is_wanted(&arm.label) {
                let trial =
                    |seed| (arm.label.clone(), Trial { config: arm.config.clone(), seed }, plan.of(arm));
                trials.extend(seeds(&arm.label).into_iter().map(trial));
            }
        }
        Request {
            experiment: self.experiment.id.clone(),
            named: self.asked.named.clone(),
            profile: self.asked.profile.clone(),
            trials,
        }
    }
}

/// The runs of a request, as the gate looks at them, in order of age.
fn samples(store: &Store, request: &Request) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for record in store.records()?.records {
        // Arms may share a trial.
        let arms = request
            .trials
            .iter()
            .filter(|(_, trial, plan)| (trial.id(), plan.hash()) == (record.trial_id, record.plan_hash));
        let mut arms = arms.peekable();
        if arms.peek().is_none() {
            continue;
        }
        let run = store.load(&record)?;
        samples.extend(arms.filter_map(|(arm, ..)| Sample::of(arm, &run)));
    }
    Ok(samples)
}

/// Trains into stores of its own: a stored run would hide what has changed since.
pub(crate) struct Bench<'a> {
    workspace: &'a Workspace,
    interrupt: Interrupt,
    /// Held from the first training on.
    machine: Option<Exclusive>,
    planted: Option<Planted>,
    folders: Vec<tempfile::TempDir>,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(workspace: &'a Workspace, planted: Option<Planted>) -> Result<Self> {
        sweep::require_torch()?;
        let interrupt = Interrupt::install()?;
        Ok(Self { workspace, interrupt, machine: None, planted, folders: Vec::new() })
    }

    /// Waits for the machine where it was not asked for yet: what trains nothing waits for nobody.
    pub(crate) fn be_alone(&mut self) -> Result<()> {
        if self.machine.is_none() {
            self.machine = Some(sweep::machine_alone(&self.interrupt)?);
        }
        Ok(())
    }

    pub(crate) fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// The store with the runs, as many at a time as there are cores for: nothing is timed. `None` when it was
    /// interrupted.
    fn train(&mut self, requests: &[Request]) -> Result<Option<Store>> {
        let folder =
            tempfile::Builder::new().prefix("pinbench-check-").tempdir().context("a folder for runs")?;
        let store = Store::open(&folder.path().join("runs"))?;
        self.folders.push(folder);
        let trials = requests.iter().flat_map(|request| &request.trials).map(|(_, trial, _)| trial);
        let root = sets::fetch_missing(self.workspace, trials.map(|trial| trial.config.data.set))?;
        let plans = requests.iter().flat_map(|request| &request.trials).map(|(.., plan)| plan);
        let at_once = plans.map(at_once).min().unwrap_or(1);
        let mut seen = BTreeSet::new();
        let (mut jobs, mut names, mut times) = (Vec::new(), Vec::new(), Vec::new());
        for request in requests {
            for (arm, trial, plan) in &request.trials {
                if seen.insert((trial.id(), plan.hash())) {
                    names.push(format!("{} {arm}, seed {}", request.experiment, trial.seed));
                    times
                        .push(Pace::of(&trial.config, plan, None, &[]).time(&trial.config, Diagnostics::Off));
                    let job = self.job(request, (trial, plan), &store, &root);
                    jobs.push(Job { beside: at_once - 1, ..job });
                }
            }
        }
        if jobs.is_empty() {
            return Ok(Some(store));
        }
        self.be_alone()?;
        let total = together(times.iter().copied(), at_once);
        let due = text::plural(jobs.len(), "run");
        self.workspace.note(&format!("{due} to train, about {} by a guess", text::duration(total)));
        let (environment, _) = self.workspace.environment(&jobs[0].plan)?;
        let sweep = Sweep {
            store: &store,
            environment: &environment,
            interrupt: &self.interrupt,
            at_once: at_once as usize,
        };
        let mut progress = Progress::named(self.workspace.quiet, names, times);
        let tally = sweep.run(&jobs, &Children::of_this_program(&self.interrupt)?, &mut progress)?;
        progress.finish();
        Ok((!tally.interrupted).then_some(store))
    }

    fn job(&self, request: &Request, (trial, plan): (&Trial, &Plan), store: &Store, data: &Path) -> Job {
        let task = Task::Train { fault: self.planted, again: false };
        let command = format!("pinbench check {}{}", request.named, request.profile.option());
        Job {
            experiment: request.experiment.clone(),
            profile: request.profile.to_string(),
            store: store.path().to_owned(),
            ..self.workspace.job(trial.clone(), plan.clone(), data, task, command)
        }
    }

    /// Leaves the runs where they are, and says where; a store without any goes.
    fn keep(self) -> Result<Vec<String>> {
        let mut kept = Vec::new();
        for folder in self.folders {
            let Listing { records, problems } = Store::open(&folder.path().join("runs"))?.records()?;
            if !(records.is_empty() && problems.is_empty()) {
                kept.push(folder.keep().join("runs").display().to_string());
            }
        }
        Ok(kept)
    }

    /// The runs of all of these, in their order: what new baselines are made of. What several of them have in common is
    /// trained once.
    pub(crate) fn samples(&mut self, asked: &[Wanted]) -> Result<Option<Vec<Vec<Sample>>>> {
        let requests: Vec<Request> = asked.iter().map(|wanted| wanted.request(self.workspace)).collect();
        let Some(store) = self.train(&requests)? else { return Ok(None) };
        requests.iter().map(|request| samples(&store, request)).collect::<Result<_>>().map(Some)
    }
}

/// Arms of an experiment to be trained under these seeds and this plan.
pub(crate) struct Wanted<'a> {
    pub experiment: &'a Experiment,
    pub arms: Vec<&'a Arm>,
    pub plan: PlanAsked,
    /// Whatever plan an arm is of: a twin of it is under another.
    pub is_twin: bool,
    pub seeds: Vec<Seed>,
}

impl Wanted<'_> {
    fn request(&self, workspace: &Workspace) -> Request {
        let mut trials = Vec::new();
        for arm in &self.arms {
            let plan = if self.is_twin { self.plan.of_one(arm) } else { self.plan.of(arm) };
            let trial = |&seed| (arm.label.clone(), Trial { config: arm.config.clone(), seed }, plan.clone());
            trials.extend(self.seeds.iter().map(trial));
        }
        let (named, profile) = (workspace.named(self.experiment), self.experiment.profile.name.clone());
        Request { experiment: self.experiment.id.clone(), named, profile, trials }
    }
}

/// How many of such a plan train at a time.
fn at_once(plan: &Plan) -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    if plan.device == Device::Cpu { (cores / plan.threads.max(1)).max(1) } else { 1 }
}
