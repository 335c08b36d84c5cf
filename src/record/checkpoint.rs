//! Checkpoints: how far a run has come, so that the next process goes on from there instead of starting anew.
//!
//! A checkpoint is a folder like that of a run: written and synced apart, then moved into place at once, with a digest
//! of every file. The one before is removed only then, so that there is a whole one at any moment. Whoever keeps or
//! reads them holds the claim on the trial.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::experiment::{PlanHash, TrialId};
use crate::machine::EnvironmentClass;
use crate::record::problem::Fault;
use crate::record::staging::{Staging, gone};
use crate::record::{Problem, Rows, RunId, RunRecord, Status, Store, StoreError, Wanted};
use crate::row::Diagnostics;

/// Rises with every change of what a checkpoint holds: an older one is of no use, and its run starts anew.
const FORMAT: u32 = 1;
const FILE: &str = "checkpoint.json";
const STATE_FILE: &str = "state.safetensors";

/// What has to be the same for a run to go on bit for bit as it would have gone on without a stop.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointKey {
    pub trial_id: TrialId,
    pub plan_hash: PlanHash,
    pub environment_class: EnvironmentClass,
    /// Of the running program: another build may compute other bits.
    pub binary: Option<Digest>,
    pub diagnostics: Diagnostics,
}

impl CheckpointKey {
    /// Whether nobody goes on from it: its trial has come to an end under its plan, on its class of machine. A run beside
    /// others is no end for one that is due again for its times.
    pub fn has_ended(&self, records: &[RunRecord]) -> bool {
        let (trial, plan, class) = (self.trial_id, self.plan_hash, Some(self.environment_class.clone()));
        let wanted = Wanted { trial, plan, class, alone: true };
        records.iter().any(|record| wanted.matches(record) && !matches!(record.status, Status::Failed { .. }))
    }
}

#[derive(Clone, PartialEq, Debug)]
pub struct Checkpoint {
    pub key: CheckpointKey,
    /// When the first process of the run started: UTC, RFC 3339.
    pub started: String,
    /// Steps that are done.
    pub step: u64,
    /// Steps at which the run was taken up before.
    pub resumed: Vec<u64>,
    /// Trainings beside it, at most, so far.
    pub beside: u32,
    pub peak_rss_bytes: u64,
    /// What the training needs: weights, optimizer, position.
    pub state: Vec<u8>,
    pub rows: Rows,
}

/// How far a run had come, without what it takes to go on.
#[derive(Clone, PartialEq, Debug)]
pub struct CheckpointKept {
    pub key: CheckpointKey,
    /// Steps that are done.
    pub step: u64,
}

/// What a look for a checkpoint found.
#[derive(Default)]
pub struct Found {
    /// The newest that is whole and of the same key.
    pub checkpoint: Option<Checkpoint>,
    /// What was not used and why, for people. Damaged ones have been set aside.
    pub notes: Vec<String>,
}

/// Content of `checkpoint.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    checkpoint: u32,
    /// Format of the frames.
    format: u32,
    key: CheckpointKey,
    started: String,
    step: u64,
    resumed: Vec<u64>,
    #[serde(default)]
    beside: u32,
    peak_rss_bytes: u64,
    files: BTreeMap<String, Digest>,
}

#[derive(Deserialize)]
struct WireVersion {
    checkpoint: u32,
}

impl Store {
    /// Keeps `checkpoint` of the run, durably, and removes the ones before it.
    pub fn keep(&self, run: &RunId, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let folder = self.checkpoint_folder(&checkpoint.key.trial_id, &checkpoint.key.plan_hash);
        let older = self.names(&folder)?;
        // So that names sort by step.
        let name = RunId(format!("{run}-{:010}", checkpoint.step));
        let mut staging: Staging = self.stage(&name)?;
        staging.add(STATE_FILE, &checkpoint.state)?;
        staging.add_rows(run, &checkpoint.key.trial_id, &checkpoint.rows)?;
        let Checkpoint { key, started, step, resumed, beside, peak_rss_bytes, .. } = checkpoint.clone();
        let wire = Wire {
            checkpoint: FORMAT,
            format: crate::record::schema::FORMAT,
            key,
            started,
            step,
            resumed,
            beside,
            peak_rss_bytes,
            files: staging.files().clone(),
        };
        staging.conclude(FILE, run, &wire)?;
        staging.publish(&folder, &name)?;
        older.iter().try_for_each(|name| self.retire(&folder.join(name)))
    }

    /// The newest checkpoint of the trial under the plan that `key` can go on from.
    pub fn find_checkpoint(&self, key: &CheckpointKey) -> Result<Found, StoreError> {
        let mut found = Found::default();
        let folder = self.checkpoint_folder(&key.trial_id, &key.plan_hash);
        let mut whole = Vec::new();
        for name in self.names(&folder)? {
            let path = folder.join(name);
            match self.read_checkpoint(&path) {
                Ok(Read::Whole(checkpoint)) => whole.push(*checkpoint),
                Ok(Read::OfAnotherVersion) => {
                    found.notes.push("a checkpoint of another version of pinbench was not used".to_owned());
                }
                Err(problem) if problem.fault.is_damage() => {
                    let place = self.set_aside(&problem)?;
                    found.notes.push(format!(
                        "a checkpoint is damaged and was set aside in '{}': {problem}",
                        place.display()
                    ));
                }
                Err(problem) => found.notes.push(format!("a checkpoint was not used: {problem}")),
            }
        }
        whole.sort_by_key(|checkpoint| checkpoint.step);
        // What cannot be used stays until this run has a checkpoint of its own.
        for checkpoint in whole.into_iter().rev() {
            match difference(&checkpoint.key, key) {
                None if found.checkpoint.is_none() => found.checkpoint = Some(checkpoint),
                None => {}
                Some(what) => {
                    let step = checkpoint.step;
                    found.notes.push(format!("a checkpoint after {step} steps was not used: {what}"));
                }
            }
        }
        Ok(found)
    }

    /// How far the newest checkpoint of the trial under the plan has come. Neither state nor rows are read, and what
    /// cannot be is passed over: whoever goes on from it finds out.
    pub fn kept(&self, trial: &TrialId, plan: &PlanHash) -> Result<Option<CheckpointKept>, StoreError> {
        self.newest_kept(&self.checkpoint_folder(trial, plan))
    }

    /// The same of every trial that has a checkpoint.
    pub fn all_kept(&self) -> Result<Vec<CheckpointKept>, StoreError> {
        let mut kept = Vec::new();
        for folder in self.checkpoint_folders()? {
            kept.extend(self.newest_kept(&folder)?);
        }
        Ok(kept)
    }

    /// Of every trial under a plan.
    fn checkpoint_folders(&self) -> Result<Vec<PathBuf>, StoreError> {
        let inside = |folder: PathBuf| -> Result<Vec<PathBuf>, StoreError> {
            Ok(self.names(&folder)?.into_iter().map(|name| folder.join(name)).collect())
        };
        let mut folders = inside(self.checkpoints())?;
        if self.is_sharded() {
            folders = folders.into_iter().map(inside).collect::<Result<Vec<_>, _>>()?.concat();
        }
        Ok(folders)
    }

    fn newest_kept(&self, folder: &Path) -> Result<Option<CheckpointKept>, StoreError> {
        let read = |name: &String| self.read_wire(&folder.join(name)).ok().flatten();
        let kept = self.names(folder)?.iter().filter_map(read).max_by_key(|wire| wire.step);
        Ok(kept.map(|Wire { key, step, .. }| CheckpointKept { key, step }))
    }

    /// Removes the checkpoints of a trial under a plan, which has come to its end.
    pub fn remove_checkpoints(&self, trial: &TrialId, plan: &PlanHash) -> Result<(), StoreError> {
        let folder = self.checkpoint_folder(trial, plan);
        self.names(&folder)?.iter().try_for_each(|name| self.retire(&folder.join(name)))
    }

    /// Removes checkpoints of runs that ended and could not remove their own; their number.
    pub fn clean_checkpoints(&self, records: &[RunRecord]) -> Result<usize, StoreError> {
        let mut removed = 0;
        for folder in self.checkpoint_folders()? {
            for name in self.names(&folder)? {
                let path = folder.join(name);
                // What cannot be read says of no run that it has ended.
                let Ok(Some(Wire { key, .. })) = self.read_wire(&path) else { continue };
                if !key.has_ended(records) {
                    continue;
                }
                // Who has the claim may be running the trial again, on another machine class.
                let Ok(_claim) = self.claim(&key.trial_id, &key.plan_hash) else { continue };
                // Who had it until now may have kept a newer one in its place.
                if path.exists() {
                    self.retire(&path)?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    /// Out of the way at once, then removed: half of a checkpoint must never look like one.
    fn retire(&self, path: &Path) -> Result<(), StoreError> {
        let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else { return Ok(()) };
        self.ensure_folder(&self.staging())?;
        let aside = self.staging().join(name);
        // Where a disk has no locks another process of the same trial may have retired it meanwhile.
        gone(self.storage.rename(path, &aside)).map_err(StoreError::io("remove", path))?;
        // A power loss must not undo the move and keep the removals.
        self.sync(parent)?;
        self.sync(&self.staging())?;
        // Another process may be cleaning up.
        gone(self.storage.remove_dir_all(&aside)).map_err(StoreError::io("remove", &aside))
    }

    /// `None` of another version of pinbench.
    fn read_wire(&self, folder: &Path) -> Result<Option<Wire>, Problem> {
        let bytes = self.summed(folder, FILE)?;
        let json =
            |error: serde_json::Error| Problem::new(folder, FILE, Fault::Json { reason: error.to_string() });
        let version: WireVersion = serde_json::from_slice(&bytes).map_err(json)?;
        if version.checkpoint != FORMAT {
            return Ok(None);
        }
        let wire: Wire = serde_json::from_slice(&bytes).map_err(json)?;
        Ok((wire.format == crate::record::schema::FORMAT).then_some(wire))
    }

    fn read_checkpoint(&self, folder: &Path) -> Result<Read, Problem> {
        let Some(wire) = self.read_wire(folder)? else { return Ok(Read::OfAnotherVersion) };
        let rows = self.rows_in(folder, &wire.files, wire.format, &[])?;
        let state = self.verified_in(folder, &wire.files, STATE_FILE)?;
        let Wire { key, started, step, resumed, beside, peak_rss_bytes, .. } = wire;
        let checkpoint = Checkpoint { key, started, step, resumed, beside, peak_rss_bytes, state, rows };
        Ok(Read::Whole(Box::new(checkpoint)))
    }

    fn checkpoint_folder(&self, trial: &TrialId, plan: &PlanHash) -> PathBuf {
        self.sharded(&self.checkpoints(), trial).join(format!("{}-{}", trial.short(), plan.short()))
    }
}

enum Read {
    Whole(Box<Checkpoint>),
    OfAnotherVersion,
}

/// Why a run cannot go on from what was kept under another key.
fn difference(kept: &CheckpointKey, wanted: &CheckpointKey) -> Option<String> {
    if kept.trial_id != wanted.trial_id || kept.plan_hash != wanted.plan_hash {
        return Some("it is of another trial or plan".to_owned());
    }
    if kept.environment_class != wanted.environment_class {
        return Some(format!(
            "it was made on {}, this is {}",
            kept.environment_class, wanted.environment_class
        ));
    }
    if kept.binary != wanted.binary {
        return Some("it was made by another build of pinbench, which may compute other bits".to_owned());
    }
    (kept.diagnostics != wanted.diagnostics).then(|| "it was made with other --no-diagnostics".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Listing, samples};

    fn key() -> CheckpointKey {
        let record = samples::record(0, "run-a");
        CheckpointKey {
            trial_id: record.trial_id,
            plan_hash: record.plan_hash,
            environment_class: record.environment_class,
            binary: Some(Digest::of(b"program")),
            diagnostics: Diagnostics::On,
        }
    }

    fn checkpoint(step: u64) -> Checkpoint {
        Checkpoint {
            key: key(),
            started: "2026-01-02T03:04:05Z".to_owned(),
            step,
            resumed: vec![3],
            beside: 1,
            peak_rss_bytes: 1 << 20,
            state: step.to_le_bytes().repeat(100),
            rows: samples::rows(&samples::steps(step), &samples::epochs()),
        }
    }

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        (folder, store)
    }

    fn folders(store: &Store) -> Vec<PathBuf> {
        let folder = store.checkpoint_folder(&key().trial_id, &key().plan_hash);
        store.names(&folder).unwrap().into_iter().map(|name| folder.join(name)).collect()
    }

    #[test]
    fn the_newest_checkpoint_comes_back_whole_and_is_the_only_one() {
        let (_folder, store) = store();
        assert!(store.find_checkpoint(&key()).unwrap().checkpoint.is_none());
        let run = RunId("run-a".to_owned());
        for step in [5, 9, 10] {
            store.keep(&run, &checkpoint(step)).unwrap();
        }
        let found = store.find_checkpoint(&key()).unwrap();
        assert_eq!((found.checkpoint, found.notes), (Some(checkpoint(10)), vec![]));
        assert_eq!(folders(&store).len(), 1);
        // Readers of runs do not see it, and nothing is left behind.
        assert_eq!(store.records().unwrap(), Listing::default());
        assert_eq!(store.abandoned().unwrap(), []);
        store.remove_checkpoints(&key().trial_id, &key().plan_hash).unwrap();
        assert!(store.find_checkpoint(&key()).unwrap().checkpoint.is_none());
    }

    #[test]
    fn a_flipped_bit_in_any_file_is_found_and_the_checkpoint_set_aside() {
        let (_folder, probe) = store();
        probe.keep(&RunId("run-a".to_owned()), &checkpoint(5)).unwrap();
        let files = samples::names(&folders(&probe)[0]);
        assert_eq!(files.len(), 8, "{files:?}");
        for file in files {
            let (_folder, store) = store();
            store.keep(&RunId("run-a".to_owned()), &checkpoint(5)).unwrap();
            samples::flip_a_bit(&folders(&store)[0].join(&file));
            let found = store.find_checkpoint(&key()).unwrap();
            assert!(found.checkpoint.is_none(), "{file}");
            assert!(
                found.notes[0].contains("set aside") && found.notes[0].contains("expected"),
                "{:?}",
                found.notes
            );
            assert_eq!((folders(&store).len(), store.names(&store.damaged()).unwrap().len()), (0, 2));
        }
    }

    #[test]
    fn what_another_build_or_machine_kept_is_not_used_and_the_note_says_why() {
        let other = |change: fn(&mut CheckpointKey)| {
            let (_folder, store) = store();
            store.keep(&RunId("run-a".to_owned()), &checkpoint(5)).unwrap();
            let mut wanted = key();
            change(&mut wanted);
            let found = store.find_checkpoint(&wanted).unwrap();
            assert!(found.checkpoint.is_none());
            found.notes.concat()
        };
        assert!(other(|key| key.binary = None).contains("another build"));
        assert!(other(|key| key.diagnostics = Diagnostics::Off).contains("--no-diagnostics"));
        let elsewhere = other(|key| {
            key.environment_class = serde_json::from_value("9 × Other CPU".into()).unwrap();
        });
        assert!(elsewhere.contains("9 × Other CPU"), "{elsewhere}");
    }

    #[test]
    fn how_far_a_run_has_come_is_read_without_its_state() {
        let (_folder, store) = store();
        let key = key();
        assert_eq!(store.kept(&key.trial_id, &key.plan_hash).unwrap(), None);
        assert_eq!(store.all_kept().unwrap(), []);
        store.keep(&RunId("run-a".to_owned()), &checkpoint(5)).unwrap();
        std::fs::remove_file(folders(&store)[0].join(STATE_FILE)).unwrap();
        let kept = CheckpointKept { key: key.clone(), step: 5 };
        assert_eq!(store.kept(&key.trial_id, &key.plan_hash).unwrap(), Some(kept.clone()));
        assert_eq!(store.all_kept().unwrap(), [kept]);
        samples::flip_a_bit(&folders(&store)[0].join(FILE));
        assert_eq!(store.all_kept().unwrap(), []);
    }

    #[test]
    fn a_checkpoint_that_outlived_its_run_is_cleaned() {
        let (_folder, store) = store();
        store.keep(&RunId("run-a".to_owned()), &checkpoint(5)).unwrap();
        assert_eq!(store.clean_checkpoints(&[]).unwrap(), 0);
        let record = store.seal(&samples::record(0, "run-a"), &Rows::default()).unwrap();
        // Hours of a run that was due again for its times, or on another machine, went by what these had ended.
        let beside = RunRecord { beside: 1, ..record.clone() };
        let mut elsewhere = record.clone();
        elsewhere.environment_class = serde_json::from_value("9 × Other CPU".into()).unwrap();
        assert_eq!(store.clean_checkpoints(&[beside, elsewhere]).unwrap(), 0);
        assert_eq!(store.clean_checkpoints(&[record]).unwrap(), 1);
        assert_eq!(folders(&store).len(), 0);
    }
}
