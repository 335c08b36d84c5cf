//! Where everything is: the folder pinbench was started in, its experiments, its store and the data cache.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use pinbench::experiment::plan::Device;
use pinbench::experiment::{Experiment, Plan};
use pinbench::machine::{Environment, EnvironmentClass, Gpu, Torch};
use pinbench::record::{Listing, Store};
use pinbench::text::edit_distance;

use crate::cli::Global;
use crate::cmd::console;

pub struct Workspace {
    /// The current folder.
    pub root: PathBuf,
    pub store: PathBuf,
    experiments: PathBuf,
    pub quiet: bool,
}

/// A mistake of whoever typed the command.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WrongUsage(pub String);

impl Workspace {
    pub fn of(global: &Global) -> Result<Self> {
        let root = env::current_dir().context("the current folder is gone; change into another one")?;
        let store = global.store.as_ref().map(|store| root.join(store));
        Ok(Self {
            // Absolute, because children are told of it.
            store: root.join(store.unwrap_or_else(|| Store::default_path(&root))),
            experiments: global.experiments.clone(),
            quiet: global.quiet,
            root,
        })
    }

    /// Folder of the baselines.
    pub fn baselines(&self) -> PathBuf {
        self.experiments.join(pinbench::experiment::baseline::FOLDER)
    }

    /// A line of progress.
    pub fn note(&self, line: &str) {
        if !self.quiet {
            console::say(line);
        }
    }

    /// The experiments asked for, by id or a unique start of it; all, in order of their ids, when none is named.
    pub fn experiments(&self, asked: &[String]) -> Result<Vec<Experiment>> {
        let known = self.known_experiments()?;
        let mut chosen: Vec<&(String, PathBuf)> = Vec::new();
        for asked in asked {
            let found = find(&known, asked).map_err(|reason| WrongUsage(self.in_folder(&reason)))?;
            if !chosen.iter().any(|(id, _)| *id == found.0) {
                chosen.push(found);
            }
        }
        if asked.is_empty() {
            chosen = known.iter().collect();
        }
        if chosen.is_empty() {
            let reason = format!("no experiment in '{}': expected a .toml file", self.experiments.display());
            return Err(WrongUsage(reason).into());
        }
        let experiments: Vec<Experiment> =
            chosen.into_iter().map(|(_, path)| Ok(Experiment::load(path)?)).collect::<Result<_>>()?;
        let mistakes = experiments.iter().flat_map(|experiment| &experiment.claims);
        for mistake in mistakes.filter_map(|claim| claim.mistake.as_ref()) {
            console::warn(&format!("a claim is left out: {mistake}"));
        }
        Ok(experiments)
    }

    /// Those that can be read, for pages over all of them; the others are a warning.
    pub fn readable_experiments(&self) -> Result<Vec<Experiment>> {
        let mut readable = Vec::new();
        for (_, path) in self.known_experiments()? {
            match Experiment::load(&path) {
                Ok(experiment) => readable.push(experiment),
                Err(error) => console::warn(&format!("left out of the index: {error}")),
            }
        }
        Ok(readable)
    }

    fn in_folder(&self, reason: &str) -> String {
        format!("{reason}, in '{}'", self.experiments.display())
    }

    /// Id and path of each, by id.
    fn known_experiments(&self) -> Result<Vec<(String, PathBuf)>> {
        let folder = &self.experiments;
        let entries = fs::read_dir(folder).map_err(|error| {
            let folder = folder.display();
            WrongUsage(format!(
                "cannot read the experiments in '{folder}': {error}; change into the repository, or give --experiments DIR"
            ))
        })?;
        let mut known = Vec::new();
        for entry in entries {
            let path = entry.with_context(|| format!("cannot read '{}'", folder.display()))?.path();
            let is_toml = path.extension().is_some_and(|extension| extension == "toml");
            if let Some(stem) = path.file_stem().filter(|_| is_toml) {
                known.push((stem.to_string_lossy().into_owned(), path));
            }
        }
        known.sort();
        Ok(known)
    }

    /// The store, made if there is none yet.
    pub fn open_store(&self) -> Result<Store> {
        Ok(Store::open(&self.store)?)
    }

    /// The store if there is one: reading makes none.
    pub fn existing_store(&self) -> Result<Option<Store>> {
        // What cannot be looked at is an error of opening it, which says what to do.
        let is_missing = matches!(self.store.try_exists(), Ok(false));
        let is_empty = fs::read_dir(&self.store).is_ok_and(|mut entries| entries.next().is_none());
        if is_missing || is_empty { Ok(None) } else { Ok(Some(self.open_store()?)) }
    }

    /// Every run there is; what cannot be used is a warning.
    pub fn listing(&self, store: Option<&Store>) -> Result<Listing> {
        let Some(store) = store else { return Ok(Listing::default()) };
        let listing = store.records()?;
        for problem in &listing.problems {
            console::warn(&problem.to_string());
        }
        Ok(listing)
    }

    /// The environment children have under `plan`, and its class; without libtorch no class can be told.
    pub fn environment(&self, plan: &Plan) -> Result<(Environment, Option<EnvironmentClass>)> {
        let environment = capture(&self.root, plan, torch(plan.threads)?);
        let class = environment.torch.is_some().then(|| environment.class());
        Ok((environment, class))
    }
}

/// The environment of runs under `plan`, of which libtorch says `torch`: with the GPU, where that is the plan's device.
pub fn capture(root: &Path, plan: &Plan, torch: Option<Torch>) -> Environment {
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
pub fn torch(threads: u32) -> Result<Option<Torch>> {
    let torch = pinbench::train::torch().context("libtorch does not answer; run `pinbench doctor`")?;
    Ok(Some(Torch { threads, ..torch }))
}

#[cfg(not(feature = "torch"))]
pub fn torch(_: u32) -> Result<Option<Torch>> {
    Ok(None)
}

fn find<'a>(known: &'a [(String, PathBuf)], asked: &str) -> Result<&'a (String, PathBuf), String> {
    if let Some(exact) = known.iter().find(|(id, _)| id == asked) {
        return Ok(exact);
    }
    let starting: Vec<_> =
        known.iter().filter(|(id, _)| !asked.is_empty() && id.starts_with(asked)).collect();
    match starting[..] {
        [one] => Ok(one),
        [] => Err(unknown(known, asked)),
        _ => {
            let ids: Vec<&str> = starting.iter().map(|(id, _)| id.as_str()).collect();
            Err(format!("'{asked}' is the start of several experiments: {}", ids.join(", ")))
        }
    }
}

fn unknown(known: &[(String, PathBuf)], asked: &str) -> String {
    let near = known
        .iter()
        .map(|(id, _)| (start_distance(id, asked), id))
        .filter(|(distance, id)| *distance <= 2.max(id.len().min(asked.len()) / 3))
        .min();
    let hint = near.map(|(_, id)| format!("; did you mean '{id}'?")).unwrap_or_default();
    let ids: Vec<&str> = known.iter().map(|(id, _)| id.as_str()).collect();
    format!("unknown experiment '{asked}'{hint} (known: {})", ids.join(", "))
}

/// The smaller of the edit distances of `asked` to `id` and to the start of `id` that is as long.
fn start_distance(id: &str, asked: &str) -> usize {
    let start: String = id.chars().take(asked.chars().count()).collect();
    edit_distance(id, asked).min(edit_distance(&start, asked))
}

/// `pinbench VERB EXPERIMENT …` with what is not the default.
pub fn command(verb: &str, experiment: &str, profile: &dyn std::fmt::Display, plan: &Plan) -> String {
    let device = match plan.device.to_string().as_str() {
        "cpu" => String::new(),
        other => format!(" --device {other}"),
    };
    let threads = match plan.jobs {
        // One thread each, which is not said again.
        Some(jobs) => format!("--jobs {jobs}"),
        None => format!("--threads {}", plan.threads),
    };
    format!(
        "pinbench {verb} {} --profile {profile} --plan {} {threads}{device}",
        console::shell_word(experiment),
        plan.name
    )
}

#[cfg(test)]
mod tests {
    use pinbench::experiment::plan::{Device, PlanName};

    use super::*;

    fn known() -> Vec<(String, PathBuf)> {
        ["m1-batch-size", "m10-dropout", "m2-activation"].map(|id| (id.to_owned(), PathBuf::new())).to_vec()
    }

    #[test]
    fn an_experiment_is_found_by_its_id_or_a_unique_start() {
        let known = known();
        assert_eq!(find(&known, "m2").unwrap().0, "m2-activation");
        assert_eq!(find(&known, "m10-dropout").unwrap().0, "m10-dropout");
        assert_eq!(
            find(&known, "m1").unwrap_err(),
            "'m1' is the start of several experiments: m1-batch-size, m10-dropout"
        );
    }

    #[test]
    fn an_unknown_experiment_names_the_nearest_and_all() {
        let text = find(&known(), "m2-actvation").unwrap_err();
        assert!(text.contains("did you mean 'm2-activation'?") && text.contains("m10-dropout"), "{text}");
        assert!(find(&known(), "m3").unwrap_err().contains("did you mean"));
        assert!(!find(&known(), "something-else").unwrap_err().contains("did you mean"));
        assert!(find(&known(), "").is_err());
    }

    #[test]
    fn a_command_repeats_how_many_trials_ran_at_once() {
        let alone = Plan::named(PlanName::Tuned, 1, Device::Cpu);
        let said = |plan: &Plan| command("run", "m1", &"full", plan);
        assert_eq!(said(&alone), "pinbench run m1 --profile full --plan tuned --threads 1");
        let beside = Plan { jobs: Some(4), ..alone };
        assert_eq!(said(&beside), "pinbench run m1 --profile full --plan tuned --jobs 4");
    }
}
