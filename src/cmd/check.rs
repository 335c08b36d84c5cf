//! `pinbench check`: fresh runs against stored baselines, an alarm only after a rerun.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use pinbench::analyse::gate::{Asked, Exit, Findings, Rerun, Sample, confirm, judge};
use pinbench::data;
use pinbench::experiment::baseline::{self, Baseline};
use pinbench::experiment::{Experiment, Plan, PlanAsked, PlanChange, ProfileName, Trial};
use pinbench::planted::Planted;
use pinbench::record::{Listing, Store};
use pinbench::report::gate;
use pinbench::row::Diagnostics;
use pinbench::schedule::{Children, EXIT_INTERRUPTED, Exclusive, Interrupt, Job, Pace, Sweep, Task};
use pinbench::stream::Seed;
use pinbench::text;

use crate::cli::CheckArgs;
use crate::cmd::console::{print, say, warn};
use crate::cmd::progress::Progress;
use crate::cmd::{Workspace, data as sets, sweep};

pub fn run(workspace: &Workspace, args: &CheckArgs) -> Result<ExitCode> {
    let (cases, mut files) = cases(workspace, args)?;
    let mut bench = Bench::new(workspace, args.planted)?;
    let first = cases.iter().map(|case| case.first(args)).collect::<Vec<_>>();
    let Some(store) = bench.train(&first)? else { return Ok(interrupted()) };
    let mut judged = Vec::new();
    for (case, asked) in cases.iter().zip(&first) {
        judged.push(judge(&case.asked, Some(&case.baseline), &samples(&store, asked)?));
    }
    let again: Vec<Vec<Request>> = cases.iter().zip(&judged).zip(&first).map(reruns).collect();
    if again.iter().any(|requests| !requests.is_empty()) {
        workspace.note("an alarm counts only if it recurs: running its arms again");
    }
    for ((case, findings), requests) in cases.iter().zip(judged).zip(&again) {
        let mut all = Vec::new();
        for request in requests {
            let Some(store) = bench.train(std::slice::from_ref(request))? else { return Ok(interrupted()) };
            all.extend(judge(&case.asked, Some(&case.baseline), &samples(&store, request)?).all);
        }
        files.push(confirm(findings.clone(), &Findings { all, ..findings }));
    }
    print(gate::table(&files).trim_end())?;
    write(args.markdown.as_deref(), || Ok(gate::markdown(&files)?))?;
    write(args.junit.as_deref(), || Ok(gate::junit(&files)?))?;
    write(args.json.as_deref(), || Ok(gate::json(&files)))?;
    let exit = Exit::of(&files);
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

fn interrupted() -> ExitCode {
    say("interrupted: nothing was judged and no run is kept; the same command starts over");
    ExitCode::from(EXIT_INTERRUPTED)
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

/// The baselines that were asked for, and findings about those that are of no use.
fn cases(workspace: &Workspace, args: &CheckArgs) -> Result<(Vec<Case>, Vec<Findings>)> {
    let (mut cases, mut files) = (Vec::new(), Vec::new());
    let profile = args.profile();
    let experiments = workspace.experiments(&args.experiments, profile.as_ref())?;
    let mut known = BTreeSet::new();
    for experiment in experiments {
        known.insert(experiment.id.clone());
        let named = workspace.named(&experiment);
        let before = cases.len() + files.len();
        // Under the profile that was asked for, else under each.
        let asked_for = experiment.clone();
        let each = experiment
            .each()
            .filter(|under| profile.is_none() || under.profile.name == asked_for.profile.name);
        for experiment in each {
            match workspace.baseline(&experiment) {
                Ok(Some(mut baseline)) => {
                    if args.no_times {
                        baseline.forget_times();
                    }
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
        if before == cases.len() + files.len() && !args.experiments.is_empty() {
            files.push(judge(&Asked::of(&experiment, &named), None, &[]));
        }
    }
    // What is inside the program belongs together: a test sees to it.
    if let Some(folder) = workspace.baselines().filter(|_| args.experiments.is_empty()) {
        files.extend(orphans(&folder, &known, profile.as_ref())?);
    }
    Ok((cases, files))
}

/// Baselines whose experiment is gone, and files that are no baselines.
fn orphans(folder: &Path, known: &BTreeSet<String>, profile: Option<&ProfileName>) -> Result<Vec<Findings>> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read '{}'", folder.display()))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    let mut orphans = Vec::new();
    for name in names {
        match baseline::parse_file_name(&name) {
            Some((experiment, of))
                if !known.contains(&experiment) && profile.is_none_or(|asked| *asked == of) =>
            {
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
    /// Every arm under the seeds that were asked for, else under those of the baseline.
    fn first(&self, args: &CheckArgs) -> Request {
        let seeds = args.seeds.as_ref().map(|seeds| seeds.0.clone());
        self.request(|arm| seeds.clone().unwrap_or_else(|| self.seeds(arm)), |_| true)
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

/// What has to be run again before an alarm counts. Runs under other seeds come first: where an arm needs both, its
/// losses are judged by those.
fn reruns(((case, findings), first): ((&Case, &Findings), &Request)) -> Vec<Request> {
    let wanted = findings.reruns();
    let arms = |kind: Rerun| -> BTreeSet<&str> {
        wanted.iter().filter(|(_, rerun)| *rerun == kind).map(|(arm, _)| arm.as_str()).collect()
    };
    let trained = |arm: &str| -> Vec<Seed> {
        first.trials.iter().filter(|(label, ..)| label == arm).map(|(_, trial, _)| trial.seed).collect()
    };
    let fresh = |arm: &str| -> Vec<Seed> {
        let used = trained(arm);
        let above = case.seeds(arm).into_iter().chain(used.clone()).map(|seed| seed.0).max().unwrap_or(0);
        (1..=used.len() as u64).map(|more| Seed(above + more)).collect()
    };
    let (others, same) = (arms(Rerun::OtherSeeds), arms(Rerun::SameSeeds));
    let requests =
        [case.request(fresh, |arm| others.contains(arm)), case.request(trained, |arm| same.contains(arm))];
    requests.into_iter().filter(|request| !request.trials.is_empty()).collect()
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
        let run = store.load(&record)?;
        samples.extend(arms.filter_map(|(arm, ..)| Sample::of(arm, &run)));
    }
    Ok(samples)
}

/// Trains into stores of its own: a stored run would hide what has changed since.
pub struct Bench<'a> {
    workspace: &'a Workspace,
    interrupt: Interrupt,
    _machine: Exclusive,
    planted: Option<Planted>,
    folders: Vec<tempfile::TempDir>,
}

impl<'a> Bench<'a> {
    pub fn new(workspace: &'a Workspace, planted: Option<Planted>) -> Result<Self> {
        sweep::require_torch()?;
        let interrupt = Interrupt::install()?;
        let machine = sweep::machine_alone(&interrupt)?;
        Ok(Self { workspace, interrupt, _machine: machine, planted, folders: Vec::new() })
    }

    /// The store with the runs; `None` when it was interrupted.
    fn train(&mut self, requests: &[Request]) -> Result<Option<Store>> {
        let folder =
            tempfile::Builder::new().prefix("pinbench-check-").tempdir().context("a folder for runs")?;
        let store = Store::open(&folder.path().join("runs"))?;
        self.folders.push(folder);
        let root = std::path::absolute(data::root()?)?;
        let trials = || requests.iter().flat_map(|request| &request.trials).map(|(_, trial, _)| trial);
        sets::fetch_missing(self.workspace, trials().map(|trial| trial.config.data.set), &root)?;
        let mut seen = BTreeSet::new();
        let (mut jobs, mut names, mut times) = (Vec::new(), Vec::new(), Vec::new());
        for request in requests {
            for (arm, trial, plan) in &request.trials {
                if seen.insert((trial.id(), plan.hash())) {
                    names.push(format!("{} {arm}, seed {}", request.experiment, trial.seed));
                    times
                        .push(Pace::of(&trial.config, plan, None, &[]).time(&trial.config, Diagnostics::Off));
                    jobs.push(self.job(request, (trial, plan), &store, &root));
                }
            }
        }
        if jobs.is_empty() {
            return Ok(Some(store));
        }
        let total: Duration = times.iter().sum();
        let due = text::plural(jobs.len(), "run");
        self.workspace.note(&format!("{due} to train, about {} by a guess", text::duration(total)));
        let (environment, _) = self.workspace.environment(&jobs[0].plan)?;
        let sweep =
            Sweep { store: &store, environment: &environment, interrupt: &self.interrupt, at_once: 1 };
        let mut progress = Progress::named(self.workspace.quiet, names, times);
        let tally = sweep.run(&jobs, &Children::of_this_program(&self.interrupt)?, &mut progress)?;
        progress.finish();
        Ok((!tally.interrupted).then_some(store))
    }

    fn job(&self, request: &Request, (trial, plan): (&Trial, &Plan), store: &Store, data: &Path) -> Job {
        Job {
            experiment: request.experiment.clone(),
            profile: request.profile.to_string(),
            trial: trial.clone(),
            plan: plan.clone(),
            store: store.path().to_owned(),
            data: data.to_owned(),
            workspace: self.workspace.root.clone(),
            // The gate looks at none.
            diagnostics: Diagnostics::Off,
            task: Task::Train { fault: self.planted, again: false },
            beside: 0,
            block: None,
            command: format!("pinbench check {}{}", request.named, request.profile.option()),
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

    /// Trains every arm of an experiment under these seeds: what a new baseline is made of.
    pub fn samples(
        &mut self,
        experiment: &Experiment,
        plan: &PlanAsked,
        seeds: &[Seed],
    ) -> Result<Option<Vec<Sample>>> {
        let mut trials = Vec::new();
        for arm in &experiment.profile.arms {
            let plan = plan.of(arm);
            let trial = |&seed| (arm.label.clone(), Trial { config: arm.config.clone(), seed }, plan.clone());
            trials.extend(seeds.iter().map(trial));
        }
        let named = self.workspace.named(experiment);
        let request = Request {
            experiment: experiment.id.clone(),
            named,
            profile: experiment.profile.name.clone(),
            trials,
        };
        let Some(store) = self.train(std::slice::from_ref(&request))? else { return Ok(None) };
        samples(&store, &request).map(Some)
    }
}

fn write(path: Option<&Path>, content: impl FnOnce() -> Result<String>) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let folder: PathBuf = path.parent().map(Path::to_owned).unwrap_or_default();
    if folder != Path::new("") {
        fs::create_dir_all(&folder).with_context(|| format!("cannot create '{}'", folder.display()))?;
    }
    fs::write(path, content()?).with_context(|| format!("cannot write '{}'", path.display()))
}
