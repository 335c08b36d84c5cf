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

#[derive(Clone, Default, PartialEq, Debug)]
pub struct Listing {
    /// By run id, so by age.
    pub records: Vec<RunRecord>,
    /// By path.
    pub problems: Vec<Problem>,
}

/// The one key every format has; the rest of a record is read only when this says that it can be.
#[derive(Deserialize)]
struct WireFormat {
    format: u32,
}

impl Store {
    /// Every run of the store.
    pub fn records(&self) -> Result<Listing, StoreError> {
        let mut listing = Listing::default();
        let folders = visible(self.names(&self.trials())?).map(|name| self.trials().join(name));
        let mut trials: Vec<PathBuf> = folders.collect();
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
        CONFUSION_FILE => rows.confusion = frame::to_confusion(&frame)?,
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
mod tests {
    use super::*;
    use crate::record::schema::FORMAT;
    use crate::record::{StoreError, samples};

    const SUM_FILE: &str = "run.json.sha256";
    const FILES: [&str; 7] =
        [RECORD_FILE, SUM_FILE, STEPS_FILE, EPOCHS_FILE, CONFUSION_FILE, DIAGNOSTICS_FILE, CHAIN_FILE];

    /// A store with runs of these names, and the folder of the first.
    fn store(runs: &[&str]) -> (tempfile::TempDir, Store, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        for (seed, run) in runs.iter().enumerate() {
            let record = samples::record(seed as u64, run);
            store.seal(&record, &samples::rows(&samples::steps(50), &samples::epochs())).unwrap();
        }
        let first = samples::record(0, runs[0]);
        let first = store.run_folder(&first.trial_id, &first.run);
        (folder, store, first)
    }

    /// The one problem of the store, by listing or else by loading what is listed.
    fn only_problem(store: &Store) -> Problem {
        let Listing { records, mut problems } = store.records().unwrap();
        problems.extend(records.iter().filter_map(|record| store.load(record).err()));
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems.remove(0)
    }

    /// Replaces run.json and its sum by a record that says something else.
    fn rewrite(folder: &Path, change: impl FnOnce(&str) -> String) {
        let text = change(&std::fs::read_to_string(folder.join(RECORD_FILE)).unwrap());
        std::fs::write(folder.join(RECORD_FILE), &text).unwrap();
        let sum = format!("{}  {RECORD_FILE}\n", Digest::of(text.as_bytes()));
        std::fs::write(folder.join(SUM_FILE), sum).unwrap();
    }

    /// The golden store of format 1, which had neither confusion matrices nor diagnostics: it stays for ever.
    #[test]
    fn a_run_of_format_1_is_read_and_has_no_rows_of_what_came_later() {
        let store = Store::open(Path::new("tests/data/store-format-1")).unwrap();
        let Listing { records, problems } = store.records().unwrap();
        assert_eq!((records.len(), &problems[..]), (1, &[][..]));
        let run = store.load(&records[0]).unwrap();
        assert_eq!((run.record.format, run.record.trial_id), (1, run.record.trial.id()));
        assert_eq!((run.steps.len(), run.epochs.len()), (4, 7));
        assert_eq!((run.confusion, run.diagnostics), (vec![], vec![]));
        assert_eq!(run.record.outcome.unwrap().diagnose_ns, None);
    }

    /// The golden store of format 3, whose steps have no times of a device: it stays for ever.
    #[test]
    fn a_run_of_format_3_is_read_whole() {
        let store = Store::open(Path::new("tests/data/store-format-3")).unwrap();
        let Listing { records, problems } = store.records().unwrap();
        assert_eq!((records.len(), &problems[..]), (1, &[][..]));
        let run = store.load(&records[0]).unwrap();
        let record = &records[0];
        assert_eq!((record.format, record.trial_id), (3, record.trial.id()));
        assert_eq!((record.config_hash, record.plan_hash), (record.trial.config.hash(), record.plan.hash()));
        assert_eq!(run.steps.len(), 64);
        assert!(run.steps.iter().all(|step| step.device.is_none() && step.times.total_ns > 0));
        assert!(!run.confusion.is_empty() && !run.chain.is_empty());
    }

    /// Of old runs the plan said how many trained at a time and of how many images a pass was. The first is a fact of the run,
    /// the second a part of the config, so that the run is another trial now: it stays in the folder where it was sealed.
    #[test]
    fn a_run_of_an_older_format_with_micro_batches_beside_others_is_found_as_the_trial_it_is_now() {
        let (_folder, store, run) = store(&["run-a"]);
        rewrite(&run, |text| {
            let text = text.replace(&format!("\"format\": {FORMAT}"), "\"format\": 4");
            text.replacen("\"huge_pages\":", "\"jobs\": 4, \"micro_batch\": 16, \"huge_pages\":", 1)
        });
        let Listing { records, problems } = store.records().unwrap();
        assert_eq!((records.len(), &problems[..]), (1, &[][..]));
        let (record, before) = (&records[0], samples::record(0, "run-a"));
        assert_eq!((record.beside, record.trial.config.train.micro_batch), (3, Some(16)));
        assert_eq!((record.plan_hash, &record.plan), (before.plan_hash, &before.plan));
        assert_eq!((record.trial_id, record.stored_as()), (record.trial.id(), before.trial_id));
        assert_ne!(record.trial_id, before.trial_id);
        assert_eq!(record.config_hash, record.trial.config.hash());
        assert_eq!(store.load(record).unwrap().steps.len(), 50);
    }

    #[test]
    fn a_run_without_the_rows_of_its_steps_is_whole_while_their_digest_is_there() {
        let (_folder, store, run) = store(&["run-a"]);
        let sum = run.join(sum_file(STEPS_FILE));
        let digest = Digest::of_file(&run.join(STEPS_FILE)).unwrap();
        std::fs::write(&sum, format!("{digest}  {STEPS_FILE}\n")).unwrap();
        std::fs::remove_file(run.join(STEPS_FILE)).unwrap();
        let Listing { records, problems } = store.records().unwrap();
        assert_eq!(problems, []);
        assert_eq!(store.check(&records[0]), Ok(()));
        let loaded = store.load(&records[0]).unwrap();
        assert_eq!((loaded.steps.len(), loaded.epochs), (0, samples::epochs()));
        std::fs::write(&sum, format!("{}  {STEPS_FILE}\n", Digest::of(b"others"))).unwrap();
        assert!(matches!(only_problem(&store).fault, Fault::Digest { .. }));
        std::fs::remove_file(&sum).unwrap();
        assert_eq!(only_problem(&store).fault, Fault::Missing);
    }

    /// The golden store of format 4, whose records do not say what a plan came to: it stays for ever.
    #[test]
    fn a_run_of_format_4_is_read_whole() {
        let store = Store::open(Path::new("tests/data/store-format-4")).unwrap();
        let Listing { records, problems } = store.records().unwrap();
        assert_eq!((records.len(), &problems[..]), (1, &[][..]));
        let run = store.load(&records[0]).unwrap();
        let record = &records[0];
        assert_eq!((record.format, record.trial_id, &record.effective), (4, record.trial.id(), &None));
        assert_eq!((run.steps.len(), run.epochs.len()), (16, 7));
    }

    #[test]
    fn a_run_that_is_read_whole_is_a_problem_where_its_rows_are_damaged() {
        let (_folder, store, first) = store(&["run-a", "run-b"]);
        samples::flip_a_bit(&first.join(STEPS_FILE));
        let listed = || store.records().unwrap();
        assert_eq!(store.whole(listed(), |_| false), listed());
        let Listing { records, problems } = store.whole(listed(), |_| true);
        assert_eq!((records.len(), records[0].run.0.as_str(), problems.len()), (1, "run-b", 1));
        assert!(problems[0].is_of(&samples::record(0, "run-a").trial_id), "{problems:?}");
        assert!(!problems[0].is_of(&records[0].trial_id));
    }

    #[test]
    fn a_flipped_bit_in_any_file_is_found_and_costs_only_that_run() {
        for file in FILES {
            let (_folder, store, run) = store(&["run-a", "run-b"]);
            samples::flip_a_bit(&run.join(file));
            let problem = only_problem(&store);
            assert!(problem.fault.is_damage(), "{problem}");
            let named = problem.to_string();
            assert!(
                named.contains("expected") && named.contains("found") && named.contains("rerun"),
                "{named}"
            );
            assert!(named.contains(file) || file == SUM_FILE, "{named}");
        }
    }

    #[test]
    fn every_bit_of_the_record_counts() {
        let (_folder, store, run) = store(&["run-a"]);
        let whole = std::fs::read(run.join(RECORD_FILE)).unwrap();
        for position in (0..whole.len()).step_by(37) {
            let mut bytes = whole.clone();
            bytes[position] ^= 1 << (position % 8);
            std::fs::write(run.join(RECORD_FILE), bytes).unwrap();
            assert!(matches!(only_problem(&store).fault, Fault::Digest { .. }), "byte {position}");
        }
    }

    #[test]
    fn a_file_that_is_cut_short_or_empty_is_found() {
        for (file, share) in FILES.iter().flat_map(|&file| [(file, 2), (file, usize::MAX)]) {
            let (_folder, store, run) = store(&["run-a"]);
            let bytes = std::fs::read(run.join(file)).unwrap();
            std::fs::write(run.join(file), &bytes[..bytes.len() / share]).unwrap();
            assert!(only_problem(&store).fault.is_damage());
        }
    }

    #[test]
    fn a_missing_file_is_named_by_the_listing_itself() {
        for file in FILES {
            let (_folder, store, run) = store(&["run-a"]);
            std::fs::remove_file(run.join(file)).unwrap();
            let listing = store.records().unwrap();
            assert_eq!(listing.records, []);
            assert_eq!(listing.problems, [Problem::new(&run, file, Fault::Missing)]);
        }
    }

    #[test]
    fn a_newer_record_is_skipped_with_both_formats_and_not_called_damaged() {
        let (_folder, store, run) = store(&["run-a"]);
        rewrite(&run, |text| {
            text.replace(&format!("\"format\": {FORMAT}"), "\"format\": 7, \"from_the_future\": true")
        });
        let problem = only_problem(&store);
        let text = problem.to_string();
        assert!(
            text.contains("format 7")
                && text.contains(&format!("format {FORMAT}"))
                && text.contains("update"),
            "{text}"
        );
        assert!(matches!(store.set_aside(&problem), Err(StoreError::NotDamaged(_))));
        assert!(run.join(RECORD_FILE).exists());
    }

    #[test]
    fn a_record_that_is_not_one_is_refused_with_the_reason() {
        for (text, reason) in [("{", "EOF"), ("{\"format\":1}", "missing field"), ("[1]", "invalid length")] {
            let (_folder, store, run) = store(&["run-a"]);
            rewrite(&run, |_| text.to_owned());
            let problem = only_problem(&store).to_string();
            assert!(problem.contains("is not a run record") && problem.contains(reason), "{problem}");
        }
        let (_folder, store, run) = store(&["run-a"]);
        rewrite(&run, |text| text.replacen('{', "{\"surprise\": 1,", 1));
        assert!(only_problem(&store).to_string().contains("unknown field `surprise`"));
    }

    #[test]
    fn a_copied_run_is_not_counted_twice() {
        let (_folder, store, run) = store(&["run-a"]);
        let copy = run.with_file_name("run-b");
        std::fs::create_dir(&copy).unwrap();
        for file in FILES {
            std::fs::copy(run.join(file), copy.join(file)).unwrap();
        }
        let listing = store.records().unwrap();
        assert_eq!((listing.records.len(), listing.problems.len()), (1, 1));
        assert!(listing.problems[0].to_string().contains("belongs elsewhere"), "{}", listing.problems[0]);
    }

    #[test]
    fn frames_under_the_right_digest_with_the_wrong_columns_are_refused() {
        let (_folder, store, run) = store(&["run-a"]);
        let epochs = std::fs::read(run.join(EPOCHS_FILE)).unwrap();
        let digest = |file| Digest::of_file(&run.join(file)).unwrap().to_string();
        rewrite(&run, |text| text.replace(&digest(STEPS_FILE), &digest(EPOCHS_FILE)));
        std::fs::write(run.join(STEPS_FILE), epochs).unwrap();
        let problem = only_problem(&store).to_string();
        assert!(
            problem.contains("steps.parquet' does not hold the rows") && problem.contains("wall_ns"),
            "{problem}"
        );
    }

    #[test]
    fn what_is_no_run_is_a_problem_and_hidden_files_are_not() {
        let (_folder, store, run) = store(&["run-a"]);
        let trial = run.parent().unwrap();
        std::fs::write(trial.join("notes.txt"), "x").unwrap();
        std::fs::write(store.trials().join("more.txt"), "x").unwrap();
        std::fs::write(trial.join(".DS_Store"), "x").unwrap();
        std::fs::create_dir(store.trials().join("0123456789ab")).unwrap();
        let listing = store.records().unwrap();
        let mut expected = [trial.join("notes.txt"), store.trials().join("more.txt")];
        expected.sort();
        assert_eq!(listing.records.len(), 1);
        assert!(listing.problems.iter().all(|problem| problem.fault == Fault::NotARun));
        assert!(listing.problems.iter().map(|problem| &problem.folder).eq(&expected));
    }

    #[test]
    fn the_order_is_by_run_whatever_the_order_of_sealing() {
        let (_folder, store, _) = store(&["run-c", "run-a", "run-b"]);
        let listing = store.records().unwrap();
        let names: Vec<_> = listing.records.iter().map(|record| record.run.0.as_str()).collect();
        assert_eq!(names, ["run-a", "run-b", "run-c"]);
        assert_eq!(store.records().unwrap(), listing);
    }

    #[test]
    fn a_damaged_run_is_set_aside_with_its_reason_and_can_be_made_again() {
        let (_folder, store, run) = store(&["run-a", "run-b"]);
        for round in ["", "-2"] {
            samples::flip_a_bit(&run.join(STEPS_FILE));
            let problem = only_problem(&store);
            let moved = store.set_aside(&problem).unwrap();
            let name = format!("{}-run-a{round}", samples::trial(0).id().short());
            assert_eq!(moved, store.damaged().join(&name));
            assert_eq!(samples::names(&moved).len(), FILES.len());
            let why = std::fs::read_to_string(store.damaged().join(format!("{name}.txt"))).unwrap();
            assert_eq!(why, format!("{problem}\n"));
            assert_eq!(store.records().unwrap().problems, []);
            store
                .seal(&samples::record(0, "run-a"), &samples::rows(&samples::steps(50), &samples::epochs()))
                .unwrap();
        }
        assert_eq!(store.records().unwrap().records.len(), 2);
    }
}
