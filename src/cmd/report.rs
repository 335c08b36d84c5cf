//! `pinbench report`: pages of the runs there are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use pinbench::analyse::ArmRuns;
use pinbench::experiment::front::Front;
use pinbench::experiment::plan::{Device, PlanName};
use pinbench::experiment::{Arm, Experiment, Plan, PlanAsked, PlanChange, Profile, ProfileName, TrialId};
use pinbench::machine::{Environment, EnvironmentClass};
use pinbench::record::{Fault, Listing, Problem, RunId, RunRecord, Status, Store, bundle};
use pinbench::report::{Download, Entry, Explained, File, Input, Lead, lead, render, render_index};
use pinbench::stream::Seed;
use pinbench::text;

use crate::cli::ReportArgs;
use crate::cmd::Workspace;
use crate::cmd::console::{print, warn};
use crate::cmd::workspace::command;

/// Every report has it; a folder without it is not replaced.
pub const PAGE: &str = "index.html";
const STEPS: &str = "steps.parquet";
/// What a folder with an explanation has beside its page.
pub const EXPLANATION: &str = "explanation.json";

pub fn run(workspace: &Workspace, args: &ReportArgs) -> Result<ExitCode> {
    let profile = args.profile.name();
    let experiments = workspace.experiments(&args.experiments, profile.as_ref())?;
    let store = workspace.existing_store()?;
    let listing = workspace.listing(store.as_ref())?;
    let reporter = Reporter {
        workspace,
        store: store.as_ref(),
        listing: &listing,
        profile,
        out: &args.out,
        steps: !args.no_steps,
    };
    let Written { empty, .. } = reporter.write(&experiments, &Choice::Fullest(args.plan()), None)?;
    if !empty.is_empty() {
        warn(&format!(
            "there is no run of {} in '{}', so that there are no numbers on {}; `pinbench run` makes some",
            empty.join(", "),
            workspace.store.display(),
            if empty.len() == 1 { "its page" } else { "their pages" }
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Which of the runs of a profile make a page: of one plan, and of one class, but for seeds that are whole on another alone.
pub enum Choice {
    Exactly(PlanAsked, Box<Environment>),
    /// Plan and class that have most trials of the profile done; among equals one whose runs had the machine to themselves,
    /// and then that of the newest run. Only of a plan of that name, if one is given.
    Fullest(Option<PlanName>),
}

pub struct Reporter<'a> {
    pub workspace: &'a Workspace,
    pub store: Option<&'a Store>,
    pub listing: &'a Listing,
    /// The one that was asked for.
    pub profile: Option<ProfileName>,
    pub out: &'a Path,
    /// Whether the rows of all steps are offered beside the page: they are most of a report's bytes.
    pub steps: bool,
}

/// What was written.
pub struct Written {
    /// Of each experiment that was asked for, what a reader takes away.
    pub leads: Vec<Lead>,
    /// Ids of those that have no run.
    pub empty: Vec<String>,
}

/// The runs a page is of.
struct Chosen<'a> {
    records: Vec<&'a RunRecord>,
    /// What is said of the others.
    left_out: Option<String>,
}

/// Warnings that were given: a run of two experiments is loaded for both.
type Said = BTreeSet<String>;

impl Reporter<'_> {
    /// Writes the reports of `asked` and the pages over all experiments, and prints their paths.
    ///
    /// Each experiment is loaded once, and what a page needs beyond the index is made for those alone that were asked for.
    /// `plan`, and so many trials at a time, is what a page says to run again where there is no run to take it from.
    pub fn write(
        &self,
        asked: &[Experiment],
        choice: &Choice,
        plan: Option<(&Plan, u32)>,
    ) -> Result<Written> {
        let (known, named) = self.workspace.indexed(asked, self.profile.as_ref(), &self.listing.records)?;
        let explanations = explanations(self.out);
        let front = self.workspace.front(&known)?;
        let findings = front.as_ref().map_or(&[][..], |front| &front.findings);
        let (mut said, mut entries) = (Said::new(), BTreeMap::new());
        let mut written = Written { leads: Vec::new(), empty: Vec::new() };
        for experiment in asked {
            let mut input = self.input(experiment, choice, plan, &explanations, &mut said)?;
            input.downloads = downloads(&input.arms)?;
            input.downloads.retain(|download| self.steps || download.name != STEPS);
            let files = render(&input).with_context(|| format!("the report of '{}'", experiment.id))?;
            let folder = self.out.join(&experiment.id);
            replace(&folder, &files)?;
            print(&folder.join(PAGE).display().to_string())?;
            if input.arms.iter().all(|arm| arm.runs.is_empty() && arm.damaged.is_empty()) {
                let under = experiment.profile.name.under();
                written.empty.push(format!("{}{under}", experiment.id));
            }
            written.leads.push(lead(&input));
            entries.insert(&experiment.id, Entry::of(&input, true, findings)?);
        }
        for experiment in known.iter().filter(|known| asked.iter().all(|asked| asked.id != known.id)) {
            let input = self.input(experiment, choice, None, &[], &mut said)?;
            let is_made = self.out.join(&experiment.id).join(PAGE).exists();
            entries.insert(&experiment.id, Entry::of(&input, is_made, findings)?);
        }
        let index =
            self.write_index(entries.into_values().collect(), &explanations, front.as_ref(), &named)?;
        print(&index.display().to_string())?;
        Ok(written)
    }

    /// Writes the pages over all experiments beside their folders, and returns the path of the first.
    ///
    /// `named` is how a command line names the experiments.
    fn write_index(
        &self,
        entries: Vec<Entry>,
        explanations: &[Explained],
        front: Option<&Front>,
        named: &str,
    ) -> Result<PathBuf> {
        let named = if named.is_empty() { String::new() } else { format!(" {named}") };
        let profile = self.profile.as_ref().map(ProfileName::option).unwrap_or_default();
        let command = format!("pinbench reproduce{named}{profile}");
        let files =
            render_index(entries, explanations, front, &command).context("the index of the reports")?;
        let writing =
            || format!("cannot write the index into '{}'; check space and permissions", self.out.display());
        fs::create_dir_all(self.out).with_context(writing)?;
        for File { name, bytes } in files {
            let mut draft = tempfile::NamedTempFile::new_in(self.out).with_context(writing)?;
            draft.write_all(&bytes).with_context(writing)?;
            let kept = draft.persist(self.out.join(&name)).with_context(writing)?;
            // A temporary file is its owner's alone; a page is everybody's.
            kept.set_permissions(fs::Permissions::from_mode(0o644)).with_context(writing)?;
        }
        Ok(self.out.join(PAGE))
    }

    /// All but the downloads, which most readers of an input have no use for.
    fn input<'e>(
        &self,
        experiment: &'e Experiment,
        choice: &Choice,
        plan: Option<(&Plan, u32)>,
        explanations: &'e [Explained],
        said: &mut Said,
    ) -> Result<Input<'e>> {
        let profile = &experiment.profile;
        let chosen = self.choose(experiment, choice);
        if let (Some(left_out), Choice::Fullest(_)) = (&chosen.left_out, choice) {
            let text = format!("{}: {left_out}; `--plan` chooses the plan", experiment.id);
            warn_once(text, said);
        }
        let again = chosen.records.first().map(|record| (&record.plan, record.beside + 1));
        let plan = again.or(plan);
        let named = self.workspace.named(experiment);
        let command = match plan {
            Some((plan, at_once)) => command("reproduce", &named, &profile.name, plan, at_once),
            None => format!("pinbench reproduce {named}{}", profile.name.option()),
        };
        let mut arms: Vec<ArmRuns> =
            profile.arms.iter().map(|arm| self.load(arm, &chosen.records, said)).collect();
        self.add_unreadable(&mut arms, profile);
        let left_out = chosen.left_out;
        let downloads = Vec::new();
        Ok(Input { experiment, arms, left_out, explanations, command, downloads })
    }

    fn choose(&self, experiment: &Experiment, choice: &Choice) -> Chosen<'_> {
        let profile = &experiment.profile;
        let trials: Vec<(&Arm, TrialId)> =
            profile.trials().map(|(arm, trial)| (&profile.arms[arm], trial.id())).collect();
        let varied = experiment.varied();
        let arms_of = |record: &RunRecord| -> Vec<&Arm> {
            let is_of =
                |(arm, trial): &&(&Arm, TrialId)| *trial == record.trial_id && arm.varied.is_in(&record.plan);
            trials.iter().filter(is_of).map(|(arm, _)| *arm).collect()
        };
        let mut groups: Vec<(Group, Vec<&RunRecord>)> = Vec::new();
        for record in self.listing.records.iter().filter(|record| record.planted.is_none()) {
            if arms_of(record).is_empty() {
                continue;
            }
            let machine = match varied.threads {
                Some(_) => record.environment.with_threads(0).class(),
                None => record.environment_class.clone(),
            };
            let group = (varied.apart_from(&record.plan), machine);
            match groups.iter_mut().find(|(known, _)| *known == group) {
                Some((_, records)) => records.push(record),
                None => groups.push((group, vec![record])),
            }
        }
        let is_exactly = |record: &RunRecord, asked: &PlanAsked, environment: &Environment| {
            let class = environment.with_threads(record.plan.threads).class();
            let is_asked = |arm: &&Arm| asked.of(arm) == record.plan;
            record.environment_class == class && arms_of(record).iter().any(is_asked)
        };
        let is_wanted = |(_, records): &(Group, Vec<&RunRecord>)| match choice {
            Choice::Exactly(asked, environment) => is_exactly(records[0], asked, environment),
            Choice::Fullest(name) => name.is_none_or(|name| records[0].plan.name == name),
        };
        let wanted = groups.iter().filter(|group| is_wanted(group)).max_by_key(|(_, records)| rank(records));
        let wanted = wanted.map(|(group, _)| group.clone());
        let (chosen, others): (Vec<_>, Vec<_>) =
            groups.into_iter().partition(|(group, _)| Some(group) == wanted.as_ref());
        let mut records: Vec<&RunRecord> = chosen.into_iter().flat_map(|(_, records)| records).collect();
        let (alike, others): (Vec<_>, Vec<_>) = others
            .into_iter()
            .partition(|((plan, _), _)| wanted.as_ref().is_some_and(|(wanted, _)| wanted == plan));
        let alike: Vec<Vec<&RunRecord>> = alike.into_iter().map(|(_, records)| records).collect();
        let unused = pool(&mut records, alike, profile);
        let others = others.into_iter().flat_map(|(_, records)| records);
        // Those trained for another experiment that shares a trial were never meant for this one.
        let own = others.chain(unused).filter(|record| record.experiment == experiment.id);
        Chosen { records, left_out: left_out(own) }
    }

    fn load<'e>(&self, arm: &'e Arm, chosen: &[&RunRecord], said: &mut Said) -> ArmRuns<'e> {
        let mut found = ArmRuns::new(arm, Vec::new());
        let (Some(store), hash) = (self.store, arm.config.hash()) else { return found };
        let is_of = |record: &&&RunRecord| record.config_hash == hash && arm.varied.is_in(&record.plan);
        for record in chosen.iter().filter(is_of) {
            match store.load(record) {
                Ok(run) => found.runs.push(run),
                Err(problem) => {
                    found.damaged.extend(damaged(record.trial.seed, &problem));
                    warn_once(problem.to_string(), said);
                }
            }
        }
        found
    }

    /// Runs whose record itself is damaged: which trial they are of is told by the folder they lie in.
    fn add_unreadable(&self, arms: &mut [ArmRuns], profile: &Profile) {
        for (index, trial) in profile.trials() {
            let folder = trial.id().short();
            let of_trial = self.listing.problems.iter().filter(|problem| {
                let parent = problem.folder.parent().and_then(Path::file_name);
                parent.is_some_and(|name| name == folder.as_str())
            });
            arms[index].damaged.extend(of_trial.filter_map(|problem| damaged(trial.seed, problem)));
        }
    }
}

/// What runs have in common whose times compare: the plan, apart from what the arms vary, and the machine.
type Group = ((PlanChange, Device), EnvironmentClass);

/// Adds the runs of seeds that are whole on another machine and not on the one the page is of, whose own of such a seed then do
/// not count: arms are compared within a machine. Gives back those that are not used. `others` are of the same plan, by
/// machine.
fn pool<'a>(
    records: &mut Vec<&'a RunRecord>,
    others: Vec<Vec<&'a RunRecord>>,
    profile: &Profile,
) -> Vec<&'a RunRecord> {
    let has = |records: &[&RunRecord], (arm, trial): &(usize, TrialId)| {
        let is_of =
            |record: &&&RunRecord| record.trial_id == *trial && profile.arms[*arm].varied.is_in(&record.plan);
        records.iter().filter(is_of).any(|record| record.status == Status::Finished)
    };
    let mut unused = Vec::new();
    let mut pooled = BTreeSet::new();
    for seed in &profile.seeds {
        let of_seed: Vec<(usize, TrialId)> = profile
            .trials()
            .filter(|(_, trial)| trial.seed == *seed)
            .map(|(arm, trial)| (arm, trial.id()))
            .collect();
        let is_whole = |records: &[&RunRecord]| of_seed.iter().all(|trial| has(records, trial));
        if is_whole(records) {
            continue;
        }
        let Some(other) = others.iter().find(|other| is_whole(other)) else { continue };
        let is_of = |record: &&&RunRecord| record.trial.seed == *seed;
        records.retain(|record| !is_of(&record));
        records.extend(other.iter().filter(is_of));
        pooled.extend(other.iter().filter(is_of).map(|record| &record.run));
    }
    unused.extend(others.into_iter().flatten().filter(|record| !pooled.contains(&record.run)));
    unused
}

/// The greater, the rather a page is made of these runs: trials that came to their end, whether each had the machine to
/// itself, and the newest that finished, or else that did not.
fn rank<'a>(records: &[&'a RunRecord]) -> (usize, bool, Option<&'a RunId>, Option<&'a RunId>) {
    let is_ended = |record: &&&RunRecord| !matches!(record.status, Status::Failed { .. });
    let ended: BTreeSet<_> =
        records.iter().filter(is_ended).map(|record| (record.trial_id, record.plan_hash)).collect();
    let newest_of = |finished: bool| {
        let of_kind = records.iter().filter(|record| (record.status == Status::Finished) == finished);
        of_kind.map(|record| &record.run).max()
    };
    let is_alone = records.iter().all(|record| record.is_alone());
    (ended.len(), is_alone, newest_of(true), newest_of(false))
}

/// What a page of one plan does not show, without a full stop.
fn left_out<'a>(others: impl Iterator<Item = &'a RunRecord>) -> Option<String> {
    let mut by_plan: BTreeMap<String, usize> = BTreeMap::new();
    others.for_each(|record| *by_plan.entry(record.plan.name.to_string()).or_default() += 1);
    let all: usize = by_plan.values().sum();
    let plans: Vec<String> = by_plan.iter().map(|(plan, runs)| format!("plan {plan}: {runs}")).collect();
    let are = if all == 1 { "is" } else { "are" };
    let runs = text::plural(all, "run");
    (all > 0).then(|| format!("{runs} of another plan or machine {are} left out ({})", plans.join(", ")))
}

/// The seed and the file, if it is the run's content that is bad.
fn damaged(seed: Seed, problem: &Problem) -> Option<(Seed, String)> {
    let is_of_a_run = !matches!(problem.fault, Fault::NotARun | Fault::Misplaced { .. });
    let file = problem.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    (problem.fault.is_damage() && is_of_a_run).then_some((seed, file))
}

fn warn_once(text: String, said: &mut Said) {
    if !said.contains(&text) {
        warn(&text);
        said.insert(text);
    }
}

/// Those that lie in `out`, by folder: what is there decides, whatever it is called.
fn explanations(out: &Path) -> Vec<Explained> {
    let entries = fs::read_dir(out).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|folder| folder.join(PAGE).exists()).collect();
    folders.sort();
    let mut found = Vec::new();
    for folder in folders {
        let (path, name) = (folder.join(EXPLANATION), folder.file_name().unwrap_or_default());
        // Most folders hold the page of an experiment.
        let Ok(json) = fs::read_to_string(&path) else { continue };
        match Explained::parse(&name.to_string_lossy(), &json) {
            Ok(explained) => found.push(explained),
            Err(reason) => warn(&format!("'{}' is not linked: {reason}", path.display())),
        }
    }
    found
}

/// A run record, with the arm that its frames call it by.
#[derive(serde::Serialize)]
struct ArmRecord {
    arm: String,
    #[serde(flatten)]
    record: RunRecord,
}

fn downloads(arms: &[ArmRuns]) -> Result<Vec<Download>> {
    let labelled: Vec<bundle::Labelled> =
        arms.iter().flat_map(|arm| arm.runs.iter().map(|run| (arm.arm.name.as_str(), run))).collect();
    if labelled.is_empty() {
        return Ok(Vec::new());
    }
    let record =
        |&(arm, run): &bundle::Labelled<'_>| ArmRecord { arm: arm.to_owned(), record: run.record.clone() };
    let records: Vec<ArmRecord> = labelled.iter().map(record).collect();
    let download =
        |name: &str, about: &str, bytes| Download { name: name.to_owned(), about: about.to_owned(), bytes };
    let mut downloads = vec![
        download(
            "epochs.csv",
            "loss and accuracy of every split after every epoch, CSV",
            bundle::epochs_csv(&labelled)?,
        ),
        download("epochs.parquet", "the same, Parquet", bundle::epochs_parquet(&labelled)?),
        download(STEPS, "every step: loss, times and counters, Parquet", bundle::steps_parquet(&labelled)?),
        download(
            "runs.json",
            "the run records by arm: configs, plans, environments and digests, JSON",
            serde_json::to_vec_pretty(&records)?,
        ),
    ];
    if labelled.iter().any(|(_, run)| !run.confusion.is_empty()) {
        let about = "confusion matrices of every split after every epoch, Parquet";
        downloads.push(download("confusion.parquet", about, bundle::confusion_parquet(&labelled)?));
    }
    if labelled.iter().any(|(_, run)| !run.diagnostics.is_empty()) {
        let about = "top-3 share, calibration, gradients, units and curvature by epoch, CSV";
        downloads.push(download("diagnostics.csv", about, bundle::diagnostics_csv(&labelled)?));
    }
    Ok(downloads)
}

/// Puts `files` in place of the report in `folder`: whole, or not at all.
pub fn replace(folder: &Path, files: &[File]) -> Result<()> {
    let is_report = folder.join(PAGE).exists();
    if folder.exists() && !is_report && fs::read_dir(folder)?.next().is_some() {
        bail!(
            "'{}' is in the way: it holds no {PAGE}, so it is no report; move it, or choose another folder",
            folder.display()
        );
    }
    let parent = folder.parent().unwrap_or(Path::new("."));
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let writing =
        || format!("cannot write the report into '{}'; check space and permissions", parent.display());
    fs::create_dir_all(parent).with_context(writing)?;
    // Removed when dropped: the draft if something fails, the old report if nothing does.
    let scratch = tempfile::Builder::new().prefix(&format!(".{name}.tmp-")).tempdir_in(parent);
    let scratch = scratch.with_context(writing)?;
    let (draft, old) = (scratch.path().join("new"), scratch.path().join("old"));
    fs::create_dir(&draft).with_context(writing)?;
    for file in files {
        fs::write(draft.join(&file.name), &file.bytes).with_context(writing)?;
    }
    swap(&draft, folder, &old).with_context(writing)
}

/// Two renames: for a moment there is no report, and never half of one.
fn swap(draft: &Path, folder: &Path, old: &Path) -> io::Result<()> {
    match fs::rename(folder, old) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(draft, folder).inspect_err(|_| {
        // The first error is the one worth telling; the old report stays in the scratch folder's place otherwise.
        let _ = fs::rename(old, folder);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> File {
        File { name: name.to_owned(), bytes: text.as_bytes().to_vec() }
    }

    #[test]
    fn a_report_is_replaced_as_a_whole_and_nothing_else_is_left() {
        let out = tempfile::tempdir().unwrap();
        let folder = out.path().join("m1");
        replace(&folder, &[file(PAGE, "one"), file("old.csv", "x")]).unwrap();
        replace(&folder, &[file(PAGE, "two")]).unwrap();
        assert_eq!(fs::read_to_string(folder.join(PAGE)).unwrap(), "two");
        assert!(!folder.join("old.csv").exists());
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_is_no_report_is_not_replaced() {
        let out = tempfile::tempdir().unwrap();
        fs::write(out.path().join("thesis.tex"), "years of work").unwrap();
        let error = replace(out.path(), &[file(PAGE, "page")]).unwrap_err().to_string();
        assert!(error.contains("is in the way"), "{error}");
        assert!(out.path().join("thesis.tex").exists());
    }
}
