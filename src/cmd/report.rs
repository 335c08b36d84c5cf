//! `pinbench report`: pages of the runs there are.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use pinbench::analyse::ArmRuns;
use pinbench::experiment::plan::PlanName;
use pinbench::experiment::{Arm, Experiment, Plan, PlanHash, ProfileName};
use pinbench::machine::EnvironmentClass;
use pinbench::record::{LoadedRun, RunRecord, Status, Store, bundle};
use pinbench::report::{Download, File, Input, Lead, lead, render, render_index};
use pinbench::text;

use crate::cli::ReportArgs;
use crate::cmd::Workspace;
use crate::cmd::console::{print, warn};
use crate::cmd::workspace::command;

/// Every report has it; a folder without it is not replaced.
const PAGE: &str = "index.html";
const STEPS: &str = "steps.parquet";

pub fn run(workspace: &Workspace, args: &ReportArgs) -> Result<ExitCode> {
    let experiments = workspace.experiments(&args.experiments)?;
    let store = workspace.existing_store()?;
    let listing = workspace.listing(store.as_ref())?;
    let reporter = Reporter {
        workspace,
        store: store.as_ref(),
        records: &listing.records,
        profile: args.profile.name(),
        out: &args.out,
        steps: !args.no_steps,
    };
    for experiment in &experiments {
        let page = reporter.write(experiment, &Choice::Newest(args.plan()), None)?.page;
        print(&page.display().to_string())?;
    }
    let index = reporter.write_index(&experiments, &Choice::Newest(args.plan()))?;
    print(&index.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// Which of the runs of a profile make a page: never of two plans or two classes, whose times do not compare.
pub enum Choice {
    Exactly(PlanHash, EnvironmentClass),
    /// Plan and class of the newest finished run, one that trained beside others only where there is no other; only of a
    /// plan of that name, if one is given.
    Newest(Option<PlanName>),
}

pub struct Reporter<'a> {
    pub workspace: &'a Workspace,
    pub store: Option<&'a Store>,
    pub records: &'a [RunRecord],
    pub profile: ProfileName,
    pub out: &'a Path,
    /// Whether the rows of all steps are offered beside the page: they are most of a report's bytes.
    pub steps: bool,
}

/// What became of one report.
pub struct Written {
    pub page: PathBuf,
    pub lead: Lead,
}

impl Reporter<'_> {
    /// Writes the report of one experiment.
    ///
    /// `plan` is what the page says to run again where there is no run to take it from.
    pub fn write(&self, experiment: &Experiment, choice: &Choice, plan: Option<&Plan>) -> Result<Written> {
        let input = self.input(experiment, choice, plan)?;
        let files = render(&input).with_context(|| format!("the report of '{}'", experiment.id))?;
        let folder = self.out.join(&experiment.id);
        replace(&folder, &files)?;
        Ok(Written { page: folder.join(PAGE), lead: lead(&input) })
    }

    /// Writes the pages over all experiments, those asked for among them, beside their folders, and returns the path of the
    /// first.
    pub fn write_index(&self, asked: &[Experiment], choice: &Choice) -> Result<PathBuf> {
        let (experiments, named) = self.workspace.indexed(asked, self.records)?;
        let inputs = experiments.iter().map(|experiment| self.input(experiment, choice, None));
        let inputs = inputs.collect::<Result<Vec<Input>>>()?;
        let named = if named.is_empty() { named } else { format!(" {named}") };
        let command = format!("pinbench reproduce{named} --profile {}", self.profile);
        let files = render_index(&inputs, self.profile, &command).context("the index of the reports")?;
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

    fn input<'e>(
        &self,
        experiment: &'e Experiment,
        choice: &Choice,
        plan: Option<&Plan>,
    ) -> Result<Input<'e>> {
        let profile = experiment.profile(self.profile);
        let chosen = self.choose(experiment, choice);
        let plan = chosen.first().map(|record| &record.plan).or(plan);
        let named = self.workspace.named(experiment);
        let command = match plan {
            Some(plan) => command("reproduce", &named, &self.profile, plan),
            None => format!("pinbench reproduce {named} --profile {}", self.profile),
        };
        let arms: Vec<ArmRuns> =
            profile.arms.iter().map(|arm| ArmRuns { arm, runs: self.load(arm, &chosen) }).collect();
        let mut downloads = downloads(&arms)?;
        downloads.retain(|download| self.steps || download.name != STEPS);
        Ok(Input { experiment, profile: self.profile, arms, command, downloads })
    }

    fn choose(&self, experiment: &Experiment, choice: &Choice) -> Vec<&RunRecord> {
        let trials: Vec<_> = experiment.profile(self.profile).trials().map(|(_, trial)| trial.id()).collect();
        let of_profile = self.records.iter();
        let of_profile =
            of_profile.filter(|record| record.planted.is_none() && trials.contains(&record.trial_id));
        let group = |record: &RunRecord| (record.plan_hash, record.environment_class.clone());
        match choice {
            Choice::Exactly(plan, class) => {
                let is_chosen =
                    |record: &&RunRecord| record.plan_hash == *plan && record.environment_class == *class;
                of_profile.filter(is_chosen).collect()
            }
            Choice::Newest(name) => {
                let is_named = |record: &&RunRecord| name.is_none_or(|name| record.plan.name == name);
                let candidates: Vec<_> = of_profile.filter(is_named).collect();
                let finished = || candidates.iter().rev().filter(|record| record.status == Status::Finished);
                // Runs that had the machine to themselves have times, too.
                let alone = finished().find(|record| record.plan.jobs.is_none());
                let Some(newest) =
                    alone.or_else(|| finished().next()).or(candidates.last()).map(|record| group(record))
                else {
                    return Vec::new();
                };
                let (chosen, others): (Vec<_>, Vec<_>) =
                    candidates.into_iter().partition(|record| group(record) == newest);
                if !others.is_empty() {
                    warn(&format!(
                        "{}: {} of another plan or machine left out; `--plan` chooses the plan",
                        experiment.id,
                        text::plural(others.len(), "run")
                    ));
                }
                chosen
            }
        }
    }

    fn load(&self, arm: &Arm, chosen: &[&RunRecord]) -> Vec<LoadedRun> {
        let (Some(store), hash) = (self.store, arm.config.hash()) else { return Vec::new() };
        let mut runs = Vec::new();
        for record in chosen.iter().filter(|record| record.config_hash == hash) {
            match store.load(record) {
                Ok(run) => runs.push(run),
                Err(problem) => warn(&problem.to_string()),
            }
        }
        runs
    }
}

fn downloads(arms: &[ArmRuns]) -> Result<Vec<Download>> {
    let labelled: Vec<bundle::Labelled> =
        arms.iter().flat_map(|arm| arm.runs.iter().map(|run| (arm.arm.label.as_str(), run))).collect();
    if labelled.is_empty() {
        return Ok(Vec::new());
    }
    let records: Vec<&RunRecord> = labelled.iter().map(|(_, run)| &run.record).collect();
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
            "the run records: configs, plans, environments and digests, JSON",
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
fn replace(folder: &Path, files: &[File]) -> Result<()> {
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
