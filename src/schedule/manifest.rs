//! A frozen list of trainings: which index is which trial, for schedulers that number their tasks.
//!
//! A manifest is made and checked once, and each of a thousand tasks reads it: what it may run, with which program, from
//! which data. It has no state. What is done is what the store says, so that nothing has to be kept in step.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::experiment::{Config, Plan, PlanHash, Trial, TrialId};
use crate::machine::EnvironmentClass;
use crate::row::Diagnostics;
use crate::stream::Seed;

/// Rises with every change of what a manifest holds.
const VERSION: u32 = 1;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The program that made it: another build may compute other bits.
    pub program: Digest,
    pub pinbench: String,
    pub diagnostics: Diagnostics,
    /// Digest of the content of each data set, by name.
    pub data: BTreeMap<String, Digest>,
    pub arms: Vec<ManifestArm>,
    /// By index.
    pub tasks: Vec<ManifestTask>,
}

/// What the tasks of an arm share.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestArm {
    pub experiment: String,
    pub profile: String,
    pub arm: String,
    pub config: Config,
    pub plan: Plan,
    pub plan_hash: PlanHash,
    /// Of the machine the manifest was made on. Runs elsewhere are runs of their own class.
    pub class: EnvironmentClass,
    /// Seconds of a run from start to end, and whether that was measured or guessed.
    pub estimate_s: f64,
    pub estimate_basis: String,
    /// Runs one of its trials on a machine of one's own, but for `--trial`.
    pub command: String,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestTask {
    /// Index among the arms.
    pub arm: usize,
    pub seed: Seed,
    pub trial_id: TrialId,
}

/// A task with what it runs.
#[derive(Clone, PartialEq, Debug)]
pub struct Indexed<'a> {
    pub arm: &'a ManifestArm,
    pub trial: Trial,
    pub id: TrialId,
}

/// The file: the content and its digest.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    manifest: u32,
    /// SHA-256 of the canonical JSON (RFC 8785) of the content.
    digest: Digest,
    content: Manifest,
}

#[derive(Deserialize)]
struct WireVersion {
    manifest: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("cannot read the manifest '{}': {source}; `pinbench manifest EXPERIMENT > FILE` makes one", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("'{}' is not a manifest: {reason}; `pinbench manifest EXPERIMENT > FILE` makes one", path.display())]
    Json { path: PathBuf, reason: String },
    #[error("'{}' is a manifest of version {found}, expected {VERSION}; use the pinbench that made it, or make it anew", path.display())]
    Version { path: PathBuf, found: u32 },
    #[error(
        "'{}' was changed since it was made: expected the digest {expected}, found {found}; copy it again, or make it anew",
        path.display()
    )]
    Changed { path: PathBuf, expected: Digest, found: Digest },
    #[error(
        "the manifest has no index {index}: it has {tasks}, from 0; `pinbench manifest FILE --missing` has those to run"
    )]
    Index { index: usize, tasks: usize },
    #[error(
        "index {index} of the manifest is trial {expected}, and this program makes it {found}; use the pinbench that made \
         the manifest, or make it anew"
    )]
    Trial { index: usize, expected: TrialId, found: TrialId },
    #[error(
        "the manifest was made with the program {expected}, this is {found}; run the same package, or make it anew"
    )]
    Program { expected: Digest, found: String },
    #[error("the manifest cannot be written as JSON: {0}; report this as a bug")]
    Unwritten(#[from] serde_json::Error),
}

impl Manifest {
    pub fn load(path: &Path) -> Result<Self, ManifestError> {
        let bytes =
            std::fs::read(path).map_err(|source| ManifestError::Read { path: path.to_owned(), source })?;
        Self::parse(path, &bytes)
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, ManifestError> {
        let path = || path.to_owned();
        let json = |error: serde_json::Error| ManifestError::Json { path: path(), reason: error.to_string() };
        let WireVersion { manifest: found } = serde_json::from_slice(bytes).map_err(json)?;
        if found != VERSION {
            return Err(ManifestError::Version { path: path(), found });
        }
        let Wire { digest: expected, content, .. } = serde_json::from_slice(bytes).map_err(json)?;
        match content.digest()? {
            found if found == expected => Ok(content),
            found => Err(ManifestError::Changed { path: path(), expected, found }),
        }
    }

    pub fn digest(&self) -> Result<Digest, ManifestError> {
        Ok(Digest::of(&serde_json_canonicalizer::to_vec(self)?))
    }

    /// The file, a line a key.
    pub fn text(&self) -> Result<String, ManifestError> {
        let wire = Wire { manifest: VERSION, digest: self.digest()?, content: self.clone() };
        Ok(serde_json::to_string_pretty(&wire)?)
    }

    /// What `index` runs. That this program calls the trial by the same id is part of what was frozen.
    pub fn task(&self, index: usize) -> Result<Indexed<'_>, ManifestError> {
        let tasks = self.tasks.len();
        let found = self.tasks.get(index).and_then(|task| Some((task, self.arms.get(task.arm)?)));
        let (task, arm) = found.ok_or(ManifestError::Index { index, tasks })?;
        let trial = Trial { config: arm.config.clone(), seed: task.seed };
        match trial.id() {
            id if id == task.trial_id => Ok(Indexed { arm, trial, id }),
            found => Err(ManifestError::Trial { index, expected: task.trial_id, found }),
        }
    }

    pub fn check_program(&self, found: Option<Digest>) -> Result<(), ManifestError> {
        if found == Some(self.program) {
            return Ok(());
        }
        let found = found.map_or("unknown".to_owned(), |found| found.to_string());
        Err(ManifestError::Program { expected: self.program, found })
    }

    /// Indices of what is not done, in order.
    pub fn missing(&self, is_done: impl Fn(TrialId, PlanHash) -> bool) -> Vec<usize> {
        let is_open = |(_, task): &(usize, &ManifestTask)| {
            self.arms.get(task.arm).is_none_or(|arm| !is_done(task.trial_id, arm.plan_hash))
        };
        self.tasks.iter().enumerate().filter(is_open).map(|(index, _)| index).collect()
    }
}

/// Indices as a scheduler's array takes them, such as `0-3,7`, in parts of so many: a cluster has a largest index. Those of a
/// part count from its first.
pub fn expressions(indices: &[usize], part: usize) -> Vec<(usize, String)> {
    let part = part.max(1);
    let parts = indices.chunk_by(|one, next| one / part == next / part);
    parts
        .map(|inside| (inside[0] / part * part, inside))
        .map(|(first, inside)| (first, ranges(first, inside)))
        .collect()
}

fn ranges(first: usize, indices: &[usize]) -> String {
    let range = |range: &[usize]| match range {
        [only] => (only - first).to_string(),
        // non-empty: a chunk
        longer => format!("{}-{}", longer[0] - first, longer[longer.len() - 1] - first),
    };
    let ranges = indices.chunk_by(|one, next| one + 1 == *next).map(range);
    ranges.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::samples;

    fn manifest() -> Manifest {
        let arms = samples::profile().arms;
        let record = samples::finished(&arms[0], 0).record;
        let arm = ManifestArm {
            experiment: record.experiment,
            profile: record.profile,
            arm: arms[0].name.to_string(),
            config: arms[0].config.clone(),
            plan_hash: record.plan.hash(),
            plan: record.plan,
            class: record.environment_class,
            estimate_s: 12.5,
            estimate_basis: "guessed".to_owned(),
            command: "pinbench run m1".to_owned(),
        };
        let task = |seed| {
            let trial = Trial { config: arm.config.clone(), seed: Seed(seed) };
            ManifestTask { arm: 0, seed: Seed(seed), trial_id: trial.id() }
        };
        Manifest {
            program: Digest::of(b"program"),
            pinbench: "0.1.0".to_owned(),
            diagnostics: Diagnostics::On,
            data: BTreeMap::new(),
            tasks: (0..5).map(task).collect(),
            arms: vec![arm],
        }
    }

    #[test]
    fn a_manifest_comes_back_as_it_was_frozen_and_one_that_was_touched_is_refused() {
        let path = Path::new("m.json");
        let text = manifest().text().unwrap();
        assert_eq!(Manifest::parse(path, text.as_bytes()).unwrap(), manifest());
        let touched = text.replace("\"seed\": 3", "\"seed\": 9");
        let error = Manifest::parse(path, touched.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("'m.json' was changed since it was made"), "{error}");
        let newer = text.replace("\"manifest\": 1", "\"manifest\": 2");
        let error = Manifest::parse(path, newer.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("version 2, expected 1"), "{error}");
        assert!(Manifest::parse(path, b"{}").unwrap_err().to_string().contains("is not a manifest"));
    }

    #[test]
    fn an_index_is_a_trial_and_what_is_not_in_the_manifest_is_named() {
        let mut manifest = manifest();
        let task = manifest.task(3).unwrap();
        assert_eq!((task.trial.seed, task.id), (Seed(3), task.trial.id()));
        let error = manifest.task(5).unwrap_err().to_string();
        assert!(error.contains("no index 5: it has 5, from 0"), "{error}");
        manifest.tasks[2].trial_id = manifest.tasks[1].trial_id;
        assert!(matches!(manifest.task(2), Err(ManifestError::Trial { index: 2, .. })));
    }

    #[test]
    fn another_build_does_not_run_it() {
        assert!(manifest().check_program(Some(Digest::of(b"program"))).is_ok());
        let error = manifest().check_program(Some(Digest::of(b"other"))).unwrap_err().to_string();
        assert!(
            error.contains(&Digest::of(b"other").to_string()) && error.contains("same package"),
            "{error}"
        );
        assert!(manifest().check_program(None).is_err());
    }

    #[test]
    fn what_is_not_done_is_an_array_expression_in_parts_of_the_largest_array() {
        let manifest = manifest();
        let done = [manifest.tasks[0].trial_id, manifest.tasks[3].trial_id];
        let missing =
            manifest.missing(|trial, plan| plan == manifest.arms[0].plan_hash && done.contains(&trial));
        assert_eq!(missing, [1, 2, 4]);
        let text = |indices: &[usize], part| expressions(indices, part);
        assert_eq!(text(&missing, 1001), [(0, "1-2,4".to_owned())]);
        let many: Vec<usize> = (0..2500).filter(|index| *index != 1200).collect();
        let parts: Vec<(usize, String)> = [(0, "0-999"), (1000, "0-199,201-999"), (2000, "0-499")]
            .map(|(first, text)| (first, text.to_owned()))
            .into();
        assert_eq!(text(&many, 1000), parts);
        assert_eq!(text(&[], 1000), []);
    }
}
