//! Where everything is: the folder pinbench was started in, its experiments, its store and the data cache.

mod shelf;

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use pinbench::experiment::baseline::{self, Baseline};
use pinbench::experiment::front::{self, Front};
use pinbench::experiment::plan::Device;
use pinbench::experiment::probe::{self, ProbeFile};
use pinbench::experiment::study::Study;
use pinbench::experiment::{Experiment, ExperimentError, Plan, ProfileName, Trial, read_if_there};
use pinbench::machine::{Environment, EnvironmentClass, Gpu, Torch};
use pinbench::record::{Listing, RunRecord, Store};
use pinbench::row::Diagnostics;
use pinbench::schedule::{Job, Task};
use pinbench::text::shell_word;

use crate::cmd::args::{Global, WrongUsage};
use crate::cmd::{built_in, console};

pub(super) use self::shelf::is_path;
use self::shelf::{Known, Place, STUDIES, Shelf, add, at_path, find, path_word, tomls};

pub(crate) struct Workspace {
    /// The current folder.
    pub root: PathBuf,
    pub store: PathBuf,
    shelf: Shelf,
    pub quiet: bool,
}

impl Workspace {
    pub(crate) fn of(global: &Global) -> Result<Self> {
        let root = env::current_dir().context("the current folder is gone; change into another one")?;
        let shelf = Shelf::of(global.experiments.as_deref(), &root);
        let store = global.store.as_ref().map(|store| root.join(store));
        Ok(Self {
            // Absolute, because children are told of it.
            store: root.join(store.unwrap_or_else(|| Store::default_path(shelf.home(&root)))),
            shelf,
            quiet: global.quiet,
            root,
        })
    }

    /// A line of progress.
    pub(crate) fn note(&self, line: &str) {
        if !self.quiet {
            console::say(line);
        }
    }

    /// The experiments asked for, each by id, a unique start of it or the path of its file; all on the shelf, in order of
    /// their ids, when none is named. Under `profile` those that have it, the others being named in a warning; else each
    /// under its own default.
    pub(crate) fn experiments(
        &self,
        asked: &[String],
        profile: Option<&ProfileName>,
    ) -> Result<Vec<Experiment>> {
        let all = asked.is_empty();
        // A file is found without a shelf.
        let needs_shelf = all || asked.iter().any(|asked| !is_path(asked));
        let known = if needs_shelf { self.shelf.known()? } else { Known::new() };
        let mut chosen: Known = if all { known.clone() } else { Known::new() };
        for asked in asked {
            let found = if is_path(asked) {
                at_path(asked, "experiment")?
            } else {
                self.shelf.find(&known, asked)?
            };
            add(&mut chosen, found)?;
        }
        if chosen.is_empty() {
            return Err(WrongUsage(format!("no experiment {}: expected a .toml file", self.shelf)).into());
        }
        if needs_shelf && matches!(self.shelf, Shelf::Above(_) | Shelf::BuiltIn) {
            self.note(&format!("experiments are those {}", self.shelf));
        }
        let experiments: Vec<Experiment> =
            chosen.iter().map(|(id, place)| Ok(place.load(id)?)).collect::<Result<_>>()?;
        let experiments = under(experiments, profile)?;
        let mistakes = experiments.iter().flat_map(|experiment| &experiment.claims);
        for mistake in mistakes.filter_map(|claim| claim.mistake.as_ref()) {
            console::warn(&format!("a claim is left out: {mistake}"));
        }
        Ok(experiments)
    }

    /// The study of that id, or a unique start of it, in a folder `studies` here or above or in the program, or in the file of
    /// that path.
    pub(crate) fn study(&self, asked: &str) -> Result<Study> {
        if is_path(asked) {
            let (_, place) = at_path(asked, "study")?;
            return place.load_study(asked);
        }
        let folder = self.root.ancestors().map(|folder| folder.join(STUDIES)).find(|folder| folder.is_dir());
        let mut known = folder.map_or_else(|| Ok(Known::new()), |folder| tomls(&folder))?;
        let others = built_in::STUDIES.iter().filter(|(id, _)| known.iter().all(|(other, _)| other != id));
        let others: Known = others.map(|&(id, text)| (id.to_owned(), Place::BuiltIn(text))).collect();
        known.extend(others);
        let (id, place) = find(&known, asked, "study").map_err(WrongUsage)?;
        place.load_study(id)
    }

    /// An experiment as a study names it: by a path that goes out from the study's own folder, or by its id on the shelf, else
    /// among those built into the program, examples included.
    pub(crate) fn experiment_of(&self, study: &Study, asked: &str) -> Result<Experiment> {
        if is_path(asked) {
            return Ok(Experiment::load(&study.folder().unwrap_or(Path::new("")).join(asked))?);
        }
        // A folder without the study's experiments is no mistake.
        let mut known = self.shelf.known().unwrap_or_default();
        let built_in = built_in::EXPERIMENTS.iter().chain(built_in::EXAMPLES);
        let others = built_in.filter(|(id, _)| known.iter().all(|(other, _)| other != id));
        let others: Known = others.map(|&(id, text)| (id.to_owned(), Place::BuiltIn(text))).collect();
        known.extend(others);
        let (id, place) = find(&known, asked, "experiment").map_err(WrongUsage)?;
        Ok(place.load(id)?)
    }

    /// What an index over all pages is of, and how a command line names that: the shelf's experiments that can be read
    /// (the others are a warning) and those asked for that have a file elsewhere. Of those built into the program, which
    /// nobody has put there, only what was asked for or has a run.
    pub(crate) fn indexed(
        &self,
        asked: &[Experiment],
        profile: Option<&ProfileName>,
        records: &[RunRecord],
    ) -> Result<(Vec<Experiment>, String)> {
        let mut indexed = Vec::new();
        let mut is_whole = true;
        for (id, place) in self.shelf.known()? {
            let is_asked = asked.iter().any(|experiment| experiment.id == id);
            let has_run = || records.iter().any(|record| record.experiment == id);
            if matches!(place, Place::BuiltIn(_)) && !is_asked && !has_run() {
                is_whole = false;
                continue;
            }
            match place.load(&id) {
                Ok(experiment) => indexed.extend(match profile {
                    Some(profile) => experiment.under(profile),
                    None => Some(experiment),
                }),
                Err(error) => console::warn(&format!("left out of the index: {error}")),
            }
        }
        for experiment in asked.iter().filter(|experiment| self.is_elsewhere(experiment)) {
            is_whole = false;
            indexed.retain(|other: &Experiment| other.id != experiment.id);
            indexed.push(experiment.clone());
        }
        indexed.sort_by(|left, right| left.id.cmp(&right.id));
        let words = if is_whole { Vec::new() } else { indexed.iter().map(|one| self.word(one)).collect() };
        Ok((indexed, self.shelf.with_told_option(words)))
    }

    /// What the pages over all experiments of the shelf lead with, where it says: the text of its file, which was read.
    ///
    /// That of the program is about its own experiments: it leads nobody's who has none of them among the `indexed`.
    pub(crate) fn front(&self, indexed: &[Experiment]) -> Result<Option<String>> {
        let name = Path::new(front::STEM).with_extension("toml");
        let Some(folder) = self.shelf.folder() else {
            let is_meant = indexed.iter().any(|experiment| experiment.file.is_none());
            return Ok(is_meant.then(|| built_in::FRONT.to_owned()));
        };
        let path = folder.join(name);
        let Some(text) = read_if_there(&path)? else { return Ok(None) };
        let front = Front::parse(&path, &text).map_err(ExperimentError::from)?;
        let known = self.shelf.known()?;
        for id in front.order.iter().filter(|id| known.iter().all(|(known, _)| known != *id)) {
            console::warn(&format!("'{}' orders '{id}', and there is no such experiment", path.display()));
        }
        Ok(Some(text))
    }

    /// The experiment as a command line names it, with the folder that was given.
    pub(crate) fn named(&self, experiment: &Experiment) -> String {
        let words = vec![self.word(experiment)];
        if self.is_elsewhere(experiment) { words.join(" ") } else { self.shelf.with_option(words) }
    }

    /// The experiment as a record or a page names it to whoever reads that on another machine, where an absolute path leads
    /// nowhere: by its id where every program has the same file, else by the file that lies beside the page.
    pub(crate) fn told(&self, experiment: &Experiment) -> String {
        let is_built_in =
            built_in::EXPERIMENTS.iter().any(|&(id, text)| id == experiment.id && text == experiment.text);
        match &experiment.file {
            _ if is_built_in => shell_word(&experiment.id),
            Some(file) if file.is_absolute() => shell_word(&format!("{}.toml", experiment.id)),
            _ => self.named(experiment),
        }
    }

    fn word(&self, experiment: &Experiment) -> String {
        match &experiment.file {
            Some(file) if self.is_elsewhere(experiment) => shell_word(&path_word(file)),
            _ => shell_word(&experiment.id),
        }
    }

    /// Whether it is a file that is not on the shelf.
    fn is_elsewhere(&self, experiment: &Experiment) -> bool {
        experiment.file.as_deref().is_some_and(|file| file.parent() != self.shelf.folder())
    }

    /// Where the baseline of an experiment is: beside its file. `None` of one that has none.
    pub(crate) fn baseline_path(&self, experiment: &Experiment) -> Option<PathBuf> {
        let folder = experiment.file.as_ref()?.parent()?;
        Some(
            folder.join(baseline::FOLDER).join(baseline::file_name(&experiment.id, &experiment.profile.name)),
        )
    }

    /// The baseline of an experiment, if it has one.
    pub(crate) fn baseline(&self, experiment: &Experiment) -> Result<Option<Baseline>, ExperimentError> {
        if let Some(path) = self.baseline_path(experiment) {
            return Baseline::load(&path);
        }
        let name = baseline::file_name(&experiment.id, &experiment.profile.name);
        let built_in = built_in::BASELINES.iter().find(|(stem, _)| name.strip_suffix(".toml") == Some(*stem));
        Ok(built_in.map(|(_, text)| Baseline::parse(Path::new(&name), text)).transpose()?)
    }

    /// Where the probes of an experiment are: beside its baseline.
    pub(crate) fn probes_path(&self, experiment: &Experiment) -> Option<PathBuf> {
        let name = probe::file_name(&experiment.id, &experiment.profile.name);
        Some(experiment.file.as_ref()?.parent()?.join(baseline::FOLDER).join(name))
    }

    /// The probes of an experiment, if it has any.
    pub(crate) fn probes(&self, experiment: &Experiment) -> Result<Option<ProbeFile>, ExperimentError> {
        if let Some(path) = self.probes_path(experiment) {
            return ProbeFile::load(&path);
        }
        let name = probe::file_name(&experiment.id, &experiment.profile.name);
        let built_in =
            built_in::PROBES.iter().find(|(stem, _)| name.strip_suffix(".probes.json") == Some(*stem));
        built_in.map(|(_, text)| ProbeFile::parse(&name, text)).transpose()
    }

    /// A job of no experiment, which looks for no diagnosis, runs beside nobody and in no block.
    pub(crate) fn job(&self, trial: Trial, plan: Plan, data: &Path, task: Task, command: String) -> Job {
        Job {
            experiment: String::new(),
            profile: String::new(),
            trial,
            plan,
            store: self.store.clone(),
            data: data.to_owned(),
            workspace: self.root.clone(),
            diagnostics: Diagnostics::Off,
            task,
            beside: 0,
            block: None,
            command,
        }
    }

    /// Folder of the baselines on the shelf, where that is a folder.
    pub(crate) fn baselines(&self) -> Option<PathBuf> {
        Some(self.shelf.folder()?.join(baseline::FOLDER))
    }

    /// The folder of `--experiments`, where that was given, absolute.
    pub(crate) fn given_shelf(&self) -> Option<PathBuf> {
        match &self.shelf {
            Shelf::Given(folder) => Some(self.root.join(folder)),
            _ => None,
        }
    }

    /// The store, made if there is none yet.
    pub(crate) fn open_store(&self) -> Result<Store> {
        Ok(Store::open(&self.store)?)
    }

    /// The store if there is one: reading makes none.
    pub(crate) fn existing_store(&self) -> Result<Option<Store>> {
        // What cannot be looked at is an error of opening it, which says what to do.
        let is_missing = matches!(self.store.try_exists(), Ok(false));
        // A hidden file, such as version control's, makes no store.
        let is_hidden = |entry: io::Result<fs::DirEntry>| {
            entry.is_ok_and(|entry| entry.file_name().as_encoded_bytes().starts_with(b"."))
        };
        let is_empty = fs::read_dir(&self.store).is_ok_and(|mut entries| entries.all(is_hidden));
        if is_missing || is_empty { Ok(None) } else { Ok(Some(self.open_store()?)) }
    }

    /// Every run there is; what cannot be used is a warning.
    pub(crate) fn listing(&self, store: Option<&Store>) -> Result<Listing> {
        let Some(store) = store else { return Ok(Listing::default()) };
        let listing = store.records()?;
        for problem in &listing.problems {
            console::warn(&problem.to_string());
        }
        Ok(listing)
    }

    /// The environment children have under `plan`, and its class; without libtorch no class can be told.
    pub(crate) fn environment(&self, plan: &Plan) -> Result<(Environment, Option<EnvironmentClass>)> {
        let environment = capture(&self.root, plan, torch(plan.threads)?);
        let class = environment.torch.is_some().then(|| environment.class());
        Ok((environment, class))
    }
}

/// The environment of runs under `plan`, of which libtorch says `torch`: with the GPU, where that is the plan's device.
pub(super) fn capture(root: &Path, plan: &Plan, torch: Option<Torch>) -> Environment {
    let environment = Environment::capture(root, torch);
    let Device::Cuda(index) = plan.device else { return environment };
    let gpu = Gpu::of(index).unwrap_or_else(|reason| {
        console::warn(&format!(
            "which GPU '{}' is cannot be told ({reason}): runs on different GPUs would not be kept apart",
            plan.device
        ));
        Gpu::unknown()
    });
    Environment { gpu: Some(gpu), ..environment }
}

/// What libtorch would say of itself in a child with so many threads.
#[cfg(feature = "torch")]
pub(super) fn torch(threads: u32) -> Result<Option<Torch>> {
    let torch = pinbench::train::torch().context("libtorch does not answer; run `pinbench doctor`")?;
    Ok(Some(Torch { threads, ..torch }))
}

#[cfg(not(feature = "torch"))]
pub(super) fn torch(_: u32) -> Result<Option<Torch>> {
    Ok(None)
}

/// Those of the experiments that have the profile, where one is asked for.
fn under(experiments: Vec<Experiment>, profile: Option<&ProfileName>) -> Result<Vec<Experiment>> {
    let Some(name) = profile else { return Ok(experiments) };
    let (mut found, mut without) = (Vec::new(), Vec::new());
    for experiment in &experiments {
        match experiment.under(name) {
            Some(under) => found.push(under),
            None => without.push(without_profile(experiment)),
        }
    }
    let without = without.join(", ");
    if found.is_empty() {
        return Err(WrongUsage(format!("no profile '{name}': {without}")).into());
    }
    if !without.is_empty() {
        console::warn(&format!("left out, having no profile '{name}': {without}"));
    }
    Ok(found)
}

/// `m1 (has smoke, quick)`
fn without_profile(experiment: &Experiment) -> String {
    let names: Vec<&str> = experiment.profiles().iter().map(|profile| profile.name.0.as_str()).collect();
    match names.len() {
        0 => format!("{} (has none: leave out --profile)", experiment.id),
        _ => format!("{} (has {})", experiment.id, names.join(", ")),
    }
}

/// `pinbench VERB EXPERIMENT …` with what is not the default, of an experiment that is [named](Workspace::named) so.
/// What its levels say of a plan is theirs to say.
pub(super) fn command(verb: &str, named: &str, of: &Experiment, plan: &Plan, at_once: u32) -> String {
    let device = match plan.device.to_string().as_str() {
        "cpu" => String::new(),
        other => format!(" --device {other}"),
    };
    // `--jobs` is one thread each, and tasks of a manifest may have several: other threads, other weights.
    let threads = match (at_once, plan.threads) {
        (2.., 1) => format!("--jobs {at_once}"),
        (_, threads) => format!("--threads {threads}"),
    };
    let changes = plan.changes().without(&of.varied());
    let set: String =
        changes.pairs().into_iter().map(|(key, value)| format!(" --set {key}={value}")).collect();
    format!("pinbench {verb} {named}{} --plan {} {threads}{set}{device}", of.profile.name.option(), plan.name)
}

#[cfg(test)]
mod tests {
    use pinbench::experiment::plan::{Device, PlanChange, PlanName};

    use super::*;

    /// A training whose arms differ in what they say of a plan.
    fn experiment() -> Experiment {
        let text = r#"
title = "tiles"
data = { set = "mnist" }
model = { name = "simple_cnn", activation = "relu" }
optim = { name = "adam", lr = 0.001 }
train = { batch = 64, epochs = 1 }
[[factors]]
label = "convolution"
levels = [
    { label = "direct", set = { "plan.name" = "fused" } },
    { label = "2", set = { "plan.name" = "winograd" } },
    { label = "4", set = { "plan.name" = "winograd", "plan.policy" = 2 } },
]
[profiles.full]
seeds = [0]
"#;
        Experiment::parse(Path::new("tiles.toml"), text).unwrap()
    }

    #[test]
    fn a_command_repeats_how_many_trials_ran_at_once() {
        let alone = Plan::named(PlanName::Tuned, 1, Device::Cpu);
        let said = |at_once| command("run", "tiles", &experiment(), &alone, at_once);
        assert_eq!(said(1), "pinbench run tiles --profile full --plan tuned --threads 1");
        assert_eq!(said(4), "pinbench run tiles --profile full --plan tuned --jobs 4");
    }

    /// Every arm of a page had the runs of the one that says most, and its command asked for that one's plan.
    #[test]
    fn a_run_is_of_the_arm_that_says_most_of_its_plan() {
        let experiment = experiment();
        let plans =
            ["plan.name=fused", "plan.name=winograd", "plan.name=winograd,plan.policy=2"].map(|text| {
                let plain = Plan::named(PlanName::Eager, 1, Device::Cpu);
                text.split(',').fold(plain, |plan, change| PlanChange::parse(change).unwrap().apply(&plan))
            });
        for (index, arm) in experiment.profile.arms.iter().enumerate() {
            let are_its_own = plans.each_ref().map(|plan| arm.is_under(plan));
            assert_eq!(are_its_own, [0, 1, 2].map(|other| other == index), "{}", arm.label);
        }
        let again = command("run", "tiles", &experiment, &plans[2], 1);
        assert_eq!(again, "pinbench run tiles --profile full --plan winograd --threads 1");
    }
}
