//! Reading the store: every run once, either as its record or as a problem.
//!
//! A listing reads and verifies `run.json` and sees that the other files are there; it opens no frame, so
//! that thousands of runs are listed in a fraction of a second. [`Store::check`] and [`Store::load`] verify a
//! run's other files by digest, and nothing is decoded before.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::digest::Digest;
use crate::experiment::TrialId;
use crate::record::frame::FrameError;
use crate::record::problem::{Fault, Problem};
use crate::record::schema::{
    self, CHAIN_FILE, CONFUSION_FILE, DIAGNOSTICS_FILE, EPOCHS_FILE, STEPS_FILE, check_format,
};
use crate::record::staging::{RECORD_FILE, sum_file};
use crate::record::store::check_name;
use crate::record::{LoadedRun, Rows, RunId, RunRecord, Store, StoreError, frame, parquet};
use crate::row::ConfusionRow;

#[derive(Clone, Default, PartialEq, Debug)]
pub struct Listing {
    /// By run id, so by age.
    pub records: Vec<RunRecord>,
    /// By path.
    pub problems: Vec<Problem>,
}

/// Digits in the name of the folder of a trial, and of a shard.
const TRIAL: usize = 12;
const SHARD: usize = 2;

/// The one key every format has; the rest of a record is read only when this says that it can be.
#[derive(Deserialize)]
struct WireFormat {
    format: u32,
}

impl Store {
    /// Every run of the store.
    pub fn records(&self) -> Result<Listing, StoreError> {
        let mut listing = Listing::default();
        let path = |name: &String| self.trials().join(name);
        let names: Vec<String> = visible(self.names(&self.trials())?).collect();
        let (names, others): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| self.may_have(name));
        let other = |name| Problem::new(&path(name), "", Fault::Layout);
        listing.problems.extend(others.iter().map(other));
        let mut trials: Vec<PathBuf> = names.iter().map(path).collect();
        if self.is_sharded() {
            trials = trials.iter().flat_map(|shard| self.inside(shard, &mut listing)).collect();
        }
        for run in trials.iter().flat_map(|trial| self.inside(trial, &mut listing)).collect::<Vec<_>>() {
            match self.record_in(&run) {
                Ok(Some(record)) => listing.records.push(record),
                Ok(None) => {}
                Err(problem) => listing.problems.push(problem),
            }
        }
        listing.records.sort_by(|a, b| (&a.run, &a.trial_id).cmp(&(&b.run, &b.trial_id)));
        listing.problems.sort_by(|a, b| a.file.cmp(&b.file));
        Ok(listing)
    }

    /// Whether a folder of this name under `trials/` can be one of this store's layout: somebody may have copied folders of
    /// another store into it, whose runs are whole.
    fn may_have(&self, name: &str) -> bool {
        let is_other = name.len() == if self.is_sharded() { TRIAL } else { SHARD };
        !is_other || name.contains(|letter: char| !letter.is_ascii_hexdigit())
    }

    /// What is in a folder that was listed; nothing, or a problem, where it is none.
    fn inside(&self, folder: &Path, listing: &mut Listing) -> Vec<PathBuf> {
        match self.storage.list(folder) {
            Ok(names) => visible(names).map(|name| folder.join(name)).collect(),
            Err(error) => {
                listing.problems.extend(problem_of_folder(folder, &error));
                Vec::new()
            }
        }
    }

    /// One run of a trial, whole; `None` where there is none.
    pub fn run(&self, trial: &TrialId, run: &RunId) -> Result<Option<LoadedRun>, Problem> {
        let record = self.record_in(&self.run_folder(trial, run))?;
        record.map(|record| self.load(&record)).transpose()
    }

    /// The verified record of the run in `folder`; `None` when the folder went away since it was listed.
    pub(super) fn record_in(&self, folder: &Path) -> Result<Option<RunRecord>, Problem> {
        let names = match self.storage.list(folder) {
            Ok(names) => names,
            Err(error) => return problem_of_folder(folder, &error).map_or(Ok(None), Err),
        };
        let bytes = self.summed(folder, RECORD_FILE)?;
        judge(folder, &bytes, &names).map(Some)
    }

    /// The listing with those of the runs that `is_wanted` names read whole: one that is damaged is a problem and no run.
    pub fn whole(&self, listing: Listing, is_wanted: impl Fn(&RunRecord) -> bool) -> Listing {
        let Listing { records, mut problems } = listing;
        let mut whole = Vec::new();
        for record in records {
            match if is_wanted(&record) { self.check(&record) } else { Ok(()) } {
                Ok(()) => whole.push(record),
                Err(problem) => problems.push(problem),
            }
        }
        Listing { records: whole, problems }
    }

    /// Verifies every file of the run against the digest in its record.
    pub fn check(&self, record: &RunRecord) -> Result<(), Problem> {
        let folder = self.folder_of(record);
        record.files.iter().try_for_each(|(name, &digest)| {
            if self.is_left_out(&folder, name, digest)? {
                return Ok(());
            }
            self.verified_in(&folder, &record.files, name).map(drop)
        })
    }

    /// Whether the rows of the steps were taken away from the run, of which their digest is left, in the form of `sha256sum`.
    pub(super) fn is_left_out(&self, folder: &Path, name: &str, digest: Digest) -> Result<bool, Problem> {
        let sum = sum_file(STEPS_FILE);
        // A folder that cannot be listed is an error of whoever reads the file.
        let names =
            if name == STEPS_FILE { self.storage.list(folder).unwrap_or_default() } else { Vec::new() };
        let is_there = |file: &str| names.iter().any(|name| name == file);
        if is_there(STEPS_FILE) || !is_there(&sum) {
            return Ok(false);
        }
        let (sum, expected) = (self.read(folder, &sum)?, digest);
        match digest_of_sum(folder, STEPS_FILE, &sum)? {
            found if found == expected => Ok(true),
            found => Err(Problem::new(folder, STEPS_FILE, Fault::Digest { expected, found })),
        }
    }

    /// Reads the rows of a run whose record is at hand; each file is verified before it is decoded.
    pub fn load(&self, record: &RunRecord) -> Result<LoadedRun, Problem> {
        self.load_without(record, &[])
    }

    /// The same, but that the files in `undecoded` are only verified: who has no use for their rows saves most of the time
    /// and nearly all of the memory.
    pub fn load_without(&self, record: &RunRecord, undecoded: &[&str]) -> Result<LoadedRun, Problem> {
        let folder = self.folder_of(record);
        let rows = self.rows_in(&folder, &record.files, record.format, undecoded)?;
        Ok(LoadedRun::new(record.clone(), rows))
    }

    /// The rows of what was sealed in `folder` under `format`, with these digests.
    pub(super) fn rows_in(
        &self,
        folder: &Path,
        files: &BTreeMap<String, Digest>,
        format: u32,
        undecoded: &[&str],
    ) -> Result<Rows, Problem> {
        let mut rows = Rows::default();
        for &file in schema::frames(format) {
            if let Some(&digest) = files.get(file)
                && self.is_left_out(folder, file, digest)?
            {
                continue;
            }
            let bytes = self.verified_in(folder, files, file)?;
            if undecoded.contains(&file) {
                continue;
            }
            read_frame(&mut rows, file, format, bytes)
                .map_err(|error| Problem::new(folder, file, Fault::Frame { reason: error.to_string() }))?;
        }
        Ok(rows)
    }

    #[cfg(test)]
    /// Content of a file of the run. The bytes that were verified are the ones returned: the file is read
    /// once.
    pub fn verified(&self, record: &RunRecord, name: &str) -> Result<Vec<u8>, Problem> {
        self.verified_in(&self.folder_of(record), &record.files, name)
    }

    pub(super) fn verified_in(
        &self,
        folder: &Path,
        files: &BTreeMap<String, Digest>,
        name: &str,
    ) -> Result<Vec<u8>, Problem> {
        let Some(&expected) = files.get(name) else {
            return Err(Problem::new(folder, name, Fault::Missing));
        };
        let bytes = self.read(folder, name)?;
        match Digest::of(&bytes) {
            found if found == expected => Ok(bytes),
            found => Err(Problem::new(folder, name, Fault::Digest { expected, found })),
        }
    }

    /// A JSON file that has its sum beside it, verified.
    pub(super) fn summed(&self, folder: &Path, file: &str) -> Result<Vec<u8>, Problem> {
        let bytes = self.read(folder, file)?;
        check_sum(folder, file, &bytes, &self.read(folder, &sum_file(file))?)?;
        Ok(bytes)
    }

    pub(super) fn read(&self, folder: &Path, name: &str) -> Result<Vec<u8>, Problem> {
        self.storage.read(&folder.join(name)).map_err(|error| Problem::io(folder, name, &error))
    }
}

fn read_frame(rows: &mut Rows, file: &'static str, format: u32, bytes: Vec<u8>) -> Result<(), FrameError> {
    let frame = parquet::decode(file, bytes)?;
    match file {
        STEPS_FILE => rows.steps = frame::to_steps(&frame, format)?,
        EPOCHS_FILE => rows.epochs = frame::to_epochs(&frame)?,
        CONFUSION_FILE => {
            rows.confusion = frame::to_confusion(&frame)?;
            rows.confusion.retain(ConfusionRow::is_filled);
        }
        DIAGNOSTICS_FILE => rows.diagnostics = frame::to_diagnostics(&frame)?,
        CHAIN_FILE => rows.chain = frame::to_chain(&frame)?,
        _ => {}
    }
    Ok(())
}

/// The record in `bytes`, if it may lie in `folder` beside files of these names.
pub(crate) fn judge(folder: &Path, bytes: &[u8], names: &[String]) -> Result<RunRecord, Problem> {
    let record = parse(folder, bytes)?;
    check_place(folder, &record)?;
    check_files(folder, &record, names)?;
    Ok(record)
}

/// Hidden files belong to file managers and version control.
fn visible(names: Vec<String>) -> impl Iterator<Item = String> {
    names.into_iter().filter(|name| !name.starts_with('.'))
}

fn problem_of_folder(folder: &Path, error: &io::Error) -> Option<Problem> {
    match error.kind() {
        io::ErrorKind::NotFound => None,
        io::ErrorKind::NotADirectory => Some(Problem::new(folder, "", Fault::NotARun)),
        _ => Some(Problem::io(folder, "", error)),
    }
}

/// The digest in the file that is the sum of `file`.
fn digest_of_sum(folder: &Path, file: &str, sum: &[u8]) -> Result<Digest, Problem> {
    let sum = String::from_utf8_lossy(sum);
    let digest = sum.split_whitespace().next().and_then(|hex| hex.parse().ok());
    digest.ok_or_else(|| {
        let found = sum.chars().take(80).collect();
        Problem::new(folder, &sum_file(file), Fault::Sum { found })
    })
}

fn check_sum(folder: &Path, file: &str, bytes: &[u8], sum: &[u8]) -> Result<(), Problem> {
    let expected = digest_of_sum(folder, file, sum)?;
    match Digest::of(bytes) {
        found if found == expected => Ok(()),
        found => Err(Problem::new(folder, file, Fault::Digest { expected, found })),
    }
}

fn parse(folder: &Path, bytes: &[u8]) -> Result<RunRecord, Problem> {
    let problem = |fault| Problem::new(folder, RECORD_FILE, fault);
    let json = |error: serde_json::Error| problem(Fault::Json { reason: error.to_string() });
    let WireFormat { format } = serde_json::from_slice(bytes).map_err(json)?;
    check_format(format).map_err(|unknown| problem(Fault::Format(unknown)))?;
    if format >= 5 {
        return serde_json::from_slice(bytes).map_err(json);
    }
    upgraded(serde_json::from_slice(bytes).map_err(json)?).map_err(json)
}

/// A record that lies among others in a file of a page.
pub(crate) fn parse_listed(tree: Value) -> Result<RunRecord, Fault> {
    let json = |error: serde_json::Error| Fault::Json { reason: error.to_string() };
    let WireFormat { format } = WireFormat::deserialize(&tree).map_err(json)?;
    check_format(format).map_err(Fault::Format)?;
    if format >= 5 { serde_json::from_value(tree) } else { upgraded(tree) }.map_err(json)
}

/// A record of a format before 5.
fn upgraded(mut tree: Value) -> Result<RunRecord, serde_json::Error> {
    let is_moved = upgrade(&mut tree);
    let mut record: RunRecord = serde_json::from_value(tree)?;
    if is_moved {
        record.stored_as = Some(record.trial_id);
        record.trial_id = record.trial.id();
        record.config_hash = record.trial.config.hash();
    }
    record.plan_hash = record.plan.hash();
    Ok(record)
}

/// Takes out of the plan of a record before format 5 what a plan no longer says: how many trainings ran at a time is a fact
/// of the run, and micro-batches are a part of the config. Returns whether the config has changed, and with it the trial.
fn upgrade(record: &mut Value) -> bool {
    let plan = record.get_mut("plan").and_then(Value::as_object_mut);
    let (jobs, micro_batch) = match plan {
        Some(plan) => (plan.remove("jobs"), plan.remove("micro_batch")),
        None => (None, None),
    };
    if let (Some(jobs), Some(record)) = (jobs.as_ref().and_then(Value::as_u64), record.as_object_mut()) {
        record.insert("beside".to_owned(), jobs.saturating_sub(1).into());
    }
    let train = record.pointer_mut("/trial/config/train").and_then(Value::as_object_mut);
    match (micro_batch.filter(|micro_batch| !micro_batch.is_null()), train) {
        (Some(micro_batch), Some(train)) => {
            train.insert("micro_batch".to_owned(), micro_batch);
            true
        }
        _ => false,
    }
}

/// A copied or renamed folder would be counted as a run of its own.
fn check_place(folder: &Path, record: &RunRecord) -> Result<(), Problem> {
    let expected = Path::new(&record.stored_as().short()).join(&record.run.0);
    // A name that is a path of its own could stand for a place elsewhere.
    let is_name = |name: &str| check_name(name).is_ok();
    if folder.ends_with(&expected) && is_name(&record.run.0) && record.files.keys().all(|name| is_name(name))
    {
        return Ok(());
    }
    let (expected, found) = (expected.display().to_string(), folder.display().to_string());
    Err(Problem::new(folder, RECORD_FILE, Fault::Misplaced { expected, found }))
}

fn check_files(folder: &Path, record: &RunRecord, names: &[String]) -> Result<(), Problem> {
    let mut expected =
        record.files.keys().map(String::as_str).chain(schema::frames(record.format).iter().copied());
    let is_there = |file: &str| names.iter().any(|name| name == file);
    // Of the rows of the steps their sum may be all that is left: what is in it is looked at when they are read.
    let is_left_out = |file: &str| file == STEPS_FILE && is_there(&sum_file(STEPS_FILE));
    match expected.find(|file| !is_there(file) && !is_left_out(file)) {
        Some(missing) => Err(Problem::new(folder, missing, Fault::Missing)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
