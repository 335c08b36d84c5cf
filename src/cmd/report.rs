//! `pinbench report`: pages of the runs there are.

mod choose;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use pinbench::analyse::ArmRuns;
use pinbench::experiment::plan::PlanName;
use pinbench::experiment::{Arm, Experiment, Plan, Profile, ProfileName, TrialId};
use pinbench::language::Language;
use pinbench::record::schema::{CHAIN_FILE, STEPS_FILE};
use pinbench::record::{Fault, Listing, LoadedRun, Problem, RunRecord, Store};
use pinbench::report::kept::index::{Index, Other};
use pinbench::report::kept::{self, Kind};
use pinbench::report::{Entry, Explained, File, Input, Lead, PAGE, index_pages, lead, render, render_index};
use pinbench::stream::Seed;
use pinbench::text;

use crate::cmd::args::{PlanChoice, ProfileArg, WrongUsage};
use crate::cmd::console::{print, warn};
use crate::cmd::workspace::{Workspace, command};

pub(crate) use self::choose::Choice;
use self::choose::choose;

/// Make the reports of the runs there are
///
/// When runs came from elsewhere, or you want the page of a sweep that is still under way. Takes the runs of the plan and
/// machine with most trials done, among equals those that ran alone, then the newest; trains nothing and needs no libtorch.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pinbench report m1
  pinbench report --profile full --plan eager --out /tmp/reports

Writes DIR/EXPERIMENT/index.html and, beside it, the frames and records it is made of;
DIR/index.html, DIR/open-questions.html, DIR/methods.html and DIR/claims.csv over all experiments.")]
pub(crate) struct ReportArgs {
    /// Ids of experiments, or unique starts of them, or paths of their files; all when none is given
    #[arg(value_name = "EXPERIMENT")]
    pub experiments: Vec<String>,
    #[command(flatten)]
    pub profile: ProfileArg,
    /// Only runs of this plan: tuned, eager, fused, winograd or graph [default: that with most trials done]
    #[arg(long, value_enum, value_name = "NAME", hide_possible_values = true)]
    plan: Option<PlanChoice>,
    /// Folder the reports are written into, one folder an experiment [default: reports]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Languages of the pages: en, ko or both; the English ones have plain names, others lie beside them as index.ko.html
    /// [default: en,ko; with `--from` those that the pages are in]
    #[arg(long = "lang", value_name = "LANG", value_delimiter = ',', hide_possible_values = true)]
    lang: Vec<LanguageChoice>,
    /// Use the rows of every step, and keep them beside a page, however many they are [default: up to 2 million a page]
    #[arg(long)]
    steps: bool,
    /// Do without the rows of every step, for a folder that is kept in a repository: what needs them is then not shown
    #[arg(long, conflicts_with = "steps")]
    no_steps: bool,
    /// Read no store: make the pages in this folder again from the files beside them, in place or in --out
    #[arg(long, value_name = "DIR", conflicts_with_all = ["experiments", "name", "plan", "steps", "no_steps"])]
    pub from: Option<PathBuf>,
}

/// Beside [`Language`], which knows no command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum LanguageChoice {
    En,
    Ko,
}

impl ReportArgs {
    /// Each once, English first; `None` where nothing was said.
    pub(crate) fn languages(&self) -> Option<&'static [Language]> {
        let asked = |choice: &LanguageChoice| match choice {
            LanguageChoice::En => Language::En,
            LanguageChoice::Ko => Language::Ko,
        };
        let asked: Vec<Language> = self.lang.iter().map(asked).collect();
        (!asked.is_empty()).then(|| Language::among(&asked))
    }

    pub(crate) fn plan(&self) -> Option<PlanName> {
        self.plan.map(PlanChoice::name)
    }

    /// Whether pages use the rows of steps; `None` where nothing was said.
    fn steps(&self) -> Option<bool> {
        (self.steps || self.no_steps).then_some(self.steps)
    }
}

pub(crate) fn run(workspace: &Workspace, args: &ReportArgs) -> Result<ExitCode> {
    if let Some(from) = &args.from {
        return remake(from, args.out.as_deref().unwrap_or(from), args.languages());
    }
    let out = args.out.as_deref().unwrap_or(Path::new(DEFAULT_OUT));
    let profile = args.profile.name();
    let experiments = workspace.experiments(&args.experiments, profile.as_ref())?;
    if let Some(varied) =
        experiments.iter().find(|experiment| experiment.varied().name.is_some() && args.plan().is_some())
    {
        let id = &varied.id;
        return Err(WrongUsage(format!(
            "--plan: the arms of '{id}' differ by their plan, so that a page of it is of all of them"
        ))
        .into());
    }
    let store = workspace.existing_store()?;
    let listing = workspace.listing(store.as_ref())?;
    let reporter = Reporter {
        workspace,
        store: store.as_ref(),
        listing: &listing,
        profile,
        out,
        steps: args.steps(),
        languages: args.languages().unwrap_or(&Language::ALL),
    };
    let Written { empty, .. } = reporter.write(&experiments, &Choice::Fullest(args.plan()), None)?;
    if !empty.is_empty() {
        let (under, option) = match args.plan() {
            Some(plan) => (format!(" under the plan {plan}"), format!(" --plan {plan}")),
            None => Default::default(),
        };
        warn(&format!(
            "there is no run of {}{under} in '{}', so that there are no numbers on {}; `pinbench run{option}` makes some",
            empty.join(", "),
            workspace.store.display(),
            if empty.len() == 1 { "its page" } else { "their pages" }
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Where pages are written that nobody has said a place for.
const DEFAULT_OUT: &str = "reports";

/// Makes every page in `from` again from the files beside it, into the same places of `out`, in the languages it is in or in
/// others.
fn remake(from: &Path, out: &Path, languages: Option<&'static [Language]>) -> Result<ExitCode> {
    let pages = kept::tree(from)?;
    for kept::Place { kind, folder } in &pages {
        // Below `from` by construction.
        let place = out.join(folder.strip_prefix(from).unwrap_or(folder));
        let files = match kind {
            Kind::Index => kept::remake_index(folder, languages, |index| index.with_neighbours(&place))?,
            Kind::Experiment | Kind::Explanation => kept::remake(*kind, folder, languages)?,
        };
        let first = files.first().map_or(PAGE.to_owned(), |file| file.name.clone());
        match kind {
            Kind::Index => write_beside(&place, files)?,
            Kind::Experiment | Kind::Explanation => replace(&place, &files)?,
        }
        print(&place.join(first).display().to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) struct Reporter<'a> {
    pub workspace: &'a Workspace,
    pub store: Option<&'a Store>,
    pub listing: &'a Listing,
    /// The one that was asked for.
    pub profile: Option<ProfileName>,
    pub out: &'a Path,
    /// Whether pages use the rows of all steps, which then lie beside them: they are most of a report's bytes. Where nothing
    /// was said, a page does that has [`MOST_STEPS`] at most.
    pub steps: Option<bool>,
    pub languages: &'a [Language],
}

/// What was written.
pub(crate) struct Written {
    /// Of each experiment that was asked for, what a reader takes away.
    pub leads: Vec<Lead>,
    /// Ids of those that have no run.
    pub empty: Vec<String>,
}

/// A page that was made before, of an experiment of this id.
#[derive(Debug)]
struct Earlier {
    id: String,
    folder: PathBuf,
    command: Option<String>,
}

/// Rows of steps beyond which a page does without them unless they were asked for: ten million take a minute and gigabytes.
const MOST_STEPS: u64 = 2_000_000;

/// Warnings that were given: a run of two experiments is loaded for both.
type Said = BTreeSet<String>;

impl Reporter<'_> {
    /// Writes the reports of `asked` and the pages over all experiments, and prints their paths.
    ///
    /// Each experiment is loaded once, and what a page needs beyond the index is made for those alone that were asked for.
    /// `plan`, and so many trials at a time, is what a page says to run again where there is no run to take it from.
    pub(crate) fn write(
        &self,
        asked: &[Experiment],
        choice: &Choice,
        plan: Option<(&Plan, u32)>,
    ) -> Result<Written> {
        let (known, named) = self.workspace.indexed(asked, self.profile.as_ref(), &self.listing.records)?;
        let (explanations, problems) = kept::explained(self.out);
        problems.iter().for_each(|problem| warn(problem));
        let mut index = Index {
            pages: Vec::new(),
            others: Vec::new(),
            command: self.command(&named),
            front: self.workspace.front(&known)?,
            languages: self.languages.to_vec(),
            neighbours: Vec::new(),
        };
        let findings = index.front()?.map(|front| front.findings).unwrap_or_default();
        let (mut said, mut entries) = (Said::new(), BTreeMap::new());
        let mut written = Written { leads: Vec::new(), empty: Vec::new() };
        for experiment in asked {
            let mut input = self.input(experiment, choice, plan, &explanations, &mut said)?;
            input.downloads = kept::experiment::downloads(&input)?;
            let files = render(&input).with_context(|| format!("the report of '{}'", experiment.id))?;
            let folder = self.out.join(&experiment.id);
            replace(&folder, &files)?;
            print(&folder.join(self.first_page()).display().to_string())?;
            if input.arms.iter().all(|arm| arm.runs.is_empty() && arm.damaged.is_empty()) {
                let under = experiment.profile.name.under();
                written.empty.push(format!("{}{under}", experiment.id));
            }
            written.leads.push(lead(&input));
            entries.insert(experiment.id.clone(), Entry::of(&input, |_| true, &findings)?);
        }
        self.translate_others(&entries)?;
        for Earlier { id, folder, command } in self.earlier(&known, &entries) {
            match kept::index::entry(&folder, &findings, self.languages, Path::exists) {
                Ok(entry) => {
                    entries.insert(id, entry);
                    index.command.extend(command.map(|command| format!("\n{command}")));
                }
                Err(error) => warn(&format!("left out of the index: {error}")),
            }
        }
        index.pages = entries.keys().cloned().collect();
        // One page alone is run again by its own command, which has its plan and its device.
        if let [only] = &index.pages[..]
            && let Ok(asked) = kept::experiment::asked(&self.out.join(only))
        {
            index.command = asked.command;
        }
        let others = known.iter().filter(|known| !entries.contains_key(&known.id));
        index.others = others.map(|experiment| self.without_page(experiment)).collect();
        let index = index.with_neighbours(self.out);
        let files = render_index(entries.into_values().collect(), &explanations, &index)?;
        write_beside(self.out, files)?;
        print(&self.out.join(self.first_page()).display().to_string())?;
        Ok(written)
    }

    /// Pages that lie there already are in the languages of the index: it links no others, and they link it.
    fn translate_others(&self, made: &BTreeMap<String, Entry>) -> Result<()> {
        let folders = match kept::index::folders(self.out) {
            Ok(folders) => folders,
            Err(error) => {
                warn(&format!("pages stay in their languages: {error}"));
                return Ok(());
            }
        };
        for (name, (kind, folder)) in folders {
            if kind == Kind::Index || made.contains_key(&name) {
                continue;
            }
            let again = || match kept::languages(kind, &folder)? == self.languages {
                true => Ok(None),
                false => kept::remake(kind, &folder, Some(Language::among(self.languages))).map(Some),
            };
            match again() {
                Ok(files) => files.iter().try_for_each(|files| replace(&folder, files))?,
                Err(error) => warn(&format!("'{}' stays in its languages: {error}", folder.display())),
            }
        }
        Ok(())
    }

    /// Name of the page that a path is printed of.
    fn first_page(&self) -> String {
        self.languages.first().unwrap_or(&Language::En).file(PAGE)
    }

    /// `named` is how a command line names the experiments.
    fn command(&self, named: &str) -> String {
        let named = if named.is_empty() { String::new() } else { format!(" {named}") };
        let profile = self.profile.as_ref().map(ProfileName::option).unwrap_or_default();
        format!("pinbench reproduce{named}{profile}")
    }

    /// Pages that were made before and stand beside the index, by id: of the same profile, if one was asked for. Those of
    /// files elsewhere, which this command line does not name, with the command that makes them again.
    fn earlier(&self, known: &[Experiment], made: &BTreeMap<String, Entry>) -> Vec<Earlier> {
        let mut found = Vec::new();
        // That it cannot be read has been said where the others were translated.
        for (name, (kind, folder)) in kept::index::folders(self.out).unwrap_or_default() {
            if kind != Kind::Experiment || made.contains_key(&name) {
                continue;
            }
            // Whatever lies there is not what was asked for, and must not keep the index from being written.
            let kept::experiment::Asked { id, profile, command } = match kept::experiment::asked(&folder) {
                Ok(asked) => asked,
                Err(error) => {
                    warn(&format!("left out of the index: {error}"));
                    continue;
                }
            };
            let known = known.iter().find(|known| known.id == id);
            let wanted = known.map(|known| &known.profile.name).or(self.profile.as_ref());
            // A copy under another name is no page that an index could link.
            if id == name && wanted.is_none_or(|wanted| *wanted == profile) {
                found.push(Earlier { id, folder, command: known.is_none().then_some(command) });
            }
        }
        found
    }

    fn without_page(&self, experiment: &Experiment) -> Other {
        let profile = &experiment.profile;
        let trials: BTreeSet<TrialId> = profile.trials().map(|(_, trial)| trial.id()).collect();
        let records = &self.listing.records;
        Other {
            id: experiment.id.clone(),
            text: experiment.text.clone(),
            profile: profile.name.clone(),
            is_measured: records.iter().any(|record| trials.contains(&record.trial_id)),
        }
    }

    /// All but the downloads, which most readers of an input have no use for.
    fn input<'e>(
        &'e self,
        experiment: &'e Experiment,
        choice: &Choice,
        plan: Option<(&Plan, u32)>,
        explanations: &'e [Explained],
        said: &mut Said,
    ) -> Result<Input<'e>> {
        let profile = &experiment.profile;
        let chosen = choose(self.listing, experiment, choice);
        if let (Some(left_out), Choice::Fullest(_)) = (&chosen.left_out, choice) {
            let text = format!("{}: {left_out}; `--plan` chooses the plan", experiment.id);
            warn_once(text, said);
        }
        let again = chosen.records.first().map(|record| (&record.plan, record.beside + 1));
        let plan = again.or(plan);
        let named = self.workspace.told(experiment);
        let command = match plan {
            Some((plan, at_once)) => command("reproduce", &named, experiment, plan, at_once),
            None => {
                let plan = match choice {
                    Choice::Fullest(Some(plan)) => format!(" --plan {plan}"),
                    _ => String::new(),
                };
                format!("pinbench reproduce {named}{}{plan}", profile.name.option())
            }
        };
        let steps = self.uses_steps(experiment, &chosen.records, said);
        let mut arms: Vec<ArmRuns> =
            profile.arms.iter().map(|arm| self.load(arm, &chosen.records, steps, said)).collect();
        self.add_unreadable(&mut arms, profile);
        let left_out = chosen.left_out;
        let downloads = Vec::new();
        let languages = self.languages;
        Ok(Input { experiment, arms, left_out, explanations, command, downloads, languages })
    }

    fn uses_steps(&self, experiment: &Experiment, records: &[&RunRecord], said: &mut Said) -> bool {
        let rows = records.iter().filter_map(|record| Some(record.outcome.as_ref()?.steps)).sum();
        let uses = self.steps.unwrap_or(rows <= MOST_STEPS);
        if self.steps.is_none() && !uses {
            let (id, rows) = (&experiment.id, text::count(rows));
            let without = format!("{id}: its page does without the {rows} rows of its steps");
            warn_once(
                format!("{without}, and shows nothing that needs them; `report --steps` uses them"),
                said,
            );
        }
        uses
    }

    fn load<'e>(&self, arm: &'e Arm, chosen: &[&RunRecord], steps: bool, said: &mut Said) -> ArmRuns<'e> {
        let mut found = ArmRuns::new(arm, Vec::new());
        let (Some(store), hash) = (self.store, arm.config.hash()) else { return found };
        let is_of = |record: &&&RunRecord| record.config_hash == hash && arm.is_under(&record.plan);
        let records: Vec<&RunRecord> = chosen.iter().filter(is_of).copied().collect();
        // A page has no number of which the rows do not lie beside it, and none of a chain.
        let undecoded: &[&str] = if steps { &[CHAIN_FILE] } else { &[CHAIN_FILE, STEPS_FILE] };
        for (record, loaded) in records.iter().zip(load_all(store, &records, undecoded)) {
            match loaded {
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
        let mut by_folder: BTreeMap<&OsStr, Vec<&Problem>> = BTreeMap::new();
        for problem in &self.listing.problems {
            if let Some(name) = problem.folder.parent().and_then(Path::file_name) {
                by_folder.entry(name).or_default().push(problem);
            }
        }
        if by_folder.is_empty() {
            return;
        }
        for (index, trial) in profile.trials() {
            let of_trial = by_folder.get(OsStr::new(&trial.id().short())).into_iter().flatten();
            arms[index].damaged.extend(of_trial.filter_map(|problem| damaged(trial.seed, problem)));
        }
    }
}

/// The runs of these records in their order, read by as many threads as there are processors: reading is most of what a report
/// of many runs takes.
fn load_all(store: &Store, records: &[&RunRecord], undecoded: &[&str]) -> Vec<Result<LoadedRun, Problem>> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let load = |share: &[&RunRecord]| -> Vec<Result<LoadedRun, Problem>> {
        share.iter().map(|record| store.load_without(record, undecoded)).collect()
    };
    thread::scope(|scope| {
        let shares = records.chunks(records.len().div_ceil(threads).max(1));
        let loading: Vec<_> = shares.map(|share| scope.spawn(move || load(share))).collect();
        let loaded =
            loading.into_iter().map(|share| share.join().unwrap_or_else(|panic| resume_unwind(panic)));
        loaded.flatten().collect()
    })
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

/// Puts `files` in place of the report in `folder`: whole, or not at all.
pub(crate) fn replace(folder: &Path, files: &[File]) -> Result<()> {
    // Of `.` neither a name nor a folder around it is told.
    let folder = &folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let is_report = Language::ALL.into_iter().any(|language| folder.join(language.file(PAGE)).exists());
    if folder.exists() && !is_report && fs::read_dir(folder)?.next().is_some() {
        bail!(
            "'{}' is in the way: it holds no {PAGE}, so it is no report; move it, or choose another folder",
            folder.display()
        );
    }
    let parent = folder.parent().unwrap_or(Path::new("."));
    require_folder(parent)?;
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

/// What is there and no folder is in the way, whatever the disk says of it.
fn require_folder(folder: &Path) -> Result<()> {
    if folder.exists() && !folder.is_dir() {
        bail!(WrongUsage(format!("'{}' is a file, expected a folder for the pages", folder.display())));
    }
    Ok(())
}

/// Puts `files` of an index into `folder`, each whole, and leaves what else is there but its pages in other languages.
fn write_beside(folder: &Path, files: Vec<File>) -> Result<()> {
    let writing =
        || format!("cannot write the index into '{}'; check space and permissions", folder.display());
    require_folder(folder)?;
    fs::create_dir_all(folder).with_context(writing)?;
    for stale in index_pages().filter(|name| files.iter().all(|file| file.name != *name)) {
        match fs::remove_file(folder.join(stale)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).with_context(writing),
            _ => {}
        }
    }
    for File { name, bytes } in files {
        write_whole(&folder.join(&name), &bytes).with_context(writing)?;
    }
    Ok(())
}

/// What was there before stays until all of it is written. What is no file, as `/dev/stdout`, is written to and never replaced.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return fs::write(path, bytes);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut draft = tempfile::NamedTempFile::new_in(folder)?;
    draft.write_all(bytes)?;
    let kept = draft.persist(path)?;
    // A temporary file is its owner's alone; a page is everybody's.
    kept.set_permissions(fs::Permissions::from_mode(0o644))
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

    /// The folder around `.` was taken for one without a name: "cannot write the report into ''".
    #[test]
    fn a_report_is_replaced_by_a_path_that_ends_in_no_name() {
        let out = tempfile::tempdir().unwrap();
        let folder = out.path().join("m1");
        replace(&folder, &[file(PAGE, "one")]).unwrap();
        fs::create_dir(folder.join("x")).unwrap();
        replace(&folder.join("x/.."), &[file(PAGE, "two")]).unwrap();
        assert_eq!(fs::read_to_string(folder.join(PAGE)).unwrap(), "two");
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
