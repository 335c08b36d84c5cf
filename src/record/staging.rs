//! A run, or a checkpoint of one, on its way into the store: written and synced in a folder of its own, then moved into
//! place at once.
//!
//! `stage → add … → seal` (or `keep`). Whatever ends the process before the rename in `seal` leaves a folder under
//! `staging/` that no reader looks at; what ends it after leaves a complete run. The folder belongs to the
//! holder of its lock, which dies with its process, so that [`Store::clean`] can tell a living run from a dead
//! one.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::digest::Digest;
use crate::experiment::TrialId;
use crate::record::schema::{CHAIN_FILE, CONFUSION_FILE, DIAGNOSTICS_FILE, EPOCHS_FILE, FORMAT, STEPS_FILE};
use crate::record::storage::{Attempt, Lock};
use crate::record::store::check_name;
use crate::record::{Rows, RunId, RunRecord, Store, StoreError, frame, parquet};

pub(super) const RECORD_FILE: &str = "run.json";

/// The file with the SHA-256 of a JSON file, as `sha256sum -c` reads it.
///
/// A file beside the record and not a field in it: the digest is of the very bytes, so no rule for a
/// canonical form has to outlive a change of format, and a reader needs no pinbench to check it.
pub(super) fn sum_file(json: &str) -> String {
    format!("{json}.sha256")
}

/// A folder under `staging/` that this process writes; dropped without `seal`, it is removed.
pub struct Staging {
    store: Store,
    folder: PathBuf,
    lock_path: PathBuf,
    /// Dropped after the folder is gone or in place.
    _lock: Lock,
    files: BTreeMap<String, Digest>,
    sealed: bool,
}

/// A staging folder whose process is gone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Abandoned {
    pub run: RunId,
    pub path: PathBuf,
}

impl Store {
    /// Makes the folder a run is written into; to be called as it starts, so that a run that is killed leaves
    /// a trace.
    pub fn stage(&self, run: &RunId) -> Result<Staging, StoreError> {
        check_name(&run.0)?;
        self.ensure_folder(&self.locks())?;
        self.ensure_folder(&self.staging())?;
        let folder = self.staging().join(&run.0);
        let exists = || StoreError::Exists { run: run.clone(), path: folder.clone() };
        let lock_path = self.staging_lock(run);
        let Attempt::Taken(lock) = self.try_lock(&lock_path)? else { return Err(exists()) };
        // Only now: a folder without a lock looks abandoned.
        match self.storage.create_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists()),
            created => created.map_err(StoreError::io("create", &folder))?,
        }
        let files = BTreeMap::new();
        Ok(Staging { store: self.clone(), folder, lock_path, _lock: lock, files, sealed: false })
    }

    /// Stores a run in one call.
    pub fn seal(&self, record: &RunRecord, rows: &Rows) -> Result<RunRecord, StoreError> {
        self.stage(&record.run)?.seal(record, rows)
    }

    /// What killed processes left, by run id.
    pub fn abandoned(&self) -> Result<Vec<Abandoned>, StoreError> {
        let mut abandoned = Vec::new();
        for name in self.names(&self.staging())? {
            let (run, path) = (RunId(name.clone()), self.staging().join(name));
            if check_name(&run.0).is_ok() && self.is_abandoned(&run, &path)? {
                abandoned.push(Abandoned { run, path });
            }
        }
        Ok(abandoned)
    }

    /// A living run has its lock from before its folder is there until after it is not: a folder that is
    /// there once its lock was seen free is nobody's.
    fn is_abandoned(&self, run: &RunId, folder: &Path) -> Result<bool, StoreError> {
        let lock = self.staging_lock(run);
        let holder = self.storage.lock_note(&lock).map_err(StoreError::io("read", &lock))?;
        Ok(holder.is_none() && self.storage.list(folder).is_ok())
    }

    /// Removes what killed processes left, and names it. Folders of living ones are not touched.
    pub fn clean(&self) -> Result<Vec<Abandoned>, StoreError> {
        let (mut cleaned, abandoned) = (Vec::new(), self.abandoned()?);
        if !abandoned.is_empty() {
            // A power loss may have kept the one folder and not the other.
            self.ensure_folder(&self.locks())?;
        }
        for abandoned in abandoned {
            let lock = self.staging_lock(&abandoned.run);
            // Two processes may clean at once; one of them has the lock.
            match self.try_lock(&lock)? {
                Attempt::Busy(_) => continue,
                Attempt::Taken(_held) => self.remove_staging(&abandoned.path, &lock)?,
            }
            cleaned.push(abandoned);
        }
        Ok(cleaned)
    }

    fn staging_lock(&self, run: &RunId) -> PathBuf {
        self.locks().join(format!("run-{run}.lock"))
    }

    /// The lock's file goes last and while it is held. No other run will ever use its name, so that nobody
    /// can be left with a lock on a file that is no longer there.
    fn remove_staging(&self, folder: &Path, lock: &Path) -> Result<(), StoreError> {
        gone(self.storage.remove_dir_all(folder)).map_err(StoreError::io("remove", folder))?;
        gone(self.storage.remove_file(lock)).map_err(StoreError::io("remove", lock))
    }
}

impl Staging {
    /// Writes one more file of the run, durably; its digest goes into the record.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        check_name(name)?;
        self.write(name, bytes)?;
        self.files.insert(name.to_owned(), Digest::of(bytes));
        Ok(())
    }

    /// Writes the rows and the record and moves the folder into place. On return the run is durable.
    ///
    /// `format` and `files` of the record are filled in; the record as it was stored comes back.
    pub fn seal(mut self, record: &RunRecord, rows: &Rows) -> Result<RunRecord, StoreError> {
        self.add_rows(&record.run, &record.trial_id, rows)?;
        let record = RunRecord { format: FORMAT, files: self.files.clone(), ..record.clone() };
        check_name(&record.run.0)?;
        self.conclude(RECORD_FILE, &record.run, &record)?;
        self.publish(&self.store.trial_folder(&record.trial_id), &record.run)?;
        Ok(record)
    }

    pub(super) fn add_rows(&mut self, run: &RunId, trial: &TrialId, rows: &Rows) -> Result<(), StoreError> {
        for (file, mut frame) in [
            (STEPS_FILE, frame::from_steps(&rows.steps)?),
            (EPOCHS_FILE, frame::from_epochs(&rows.epochs)?),
            (CONFUSION_FILE, frame::from_confusion(&rows.confusion)?),
            (DIAGNOSTICS_FILE, frame::from_diagnostics(&rows.diagnostics)?),
            (CHAIN_FILE, frame::from_chain(&rows.chain)?),
        ] {
            self.add(file, &parquet::encode(file, &mut frame, run, trial)?)?;
        }
        Ok(())
    }

    /// Digests of the files so far, by name.
    pub(super) fn files(&self) -> &BTreeMap<String, Digest> {
        &self.files
    }

    /// Writes the file that names all the others, and its sum; the folder is whole and durable on return.
    pub(super) fn conclude(
        &self,
        file: &str,
        run: &RunId,
        content: &impl Serialize,
    ) -> Result<(), StoreError> {
        let mut bytes = serde_json::to_vec_pretty(content)
            .map_err(|source| StoreError::Json { run: run.clone(), source })?;
        bytes.push(b'\n');
        self.write(file, &bytes)?;
        self.write(&sum_file(file), format!("{}  {file}\n", Digest::of(&bytes)).as_bytes())?;
        self.concluded()
    }

    /// Nothing more is written: the names in the folder are durable on return.
    pub(super) fn concluded(&self) -> Result<(), StoreError> {
        self.store.sync(&self.folder)
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.folder.join(name);
        self.store.storage.write_new(&path, bytes).map_err(StoreError::io("write", &path))
    }

    /// Moves the folder to `name` in `parent`, some levels below the root.
    ///
    /// Looking first gives the better message; that nothing is ever overwritten does not rest on it, for a
    /// rename does not replace a folder with something in it.
    pub(super) fn publish(&mut self, parent: &Path, name: &RunId) -> Result<(), StoreError> {
        let target = parent.join(&name.0);
        // Durable before the run is in it, whoever made it: a power loss must not take a folder and keep the
        // move.
        let mut above = self.store.path().to_owned();
        for part in parent.strip_prefix(&above).unwrap_or(parent) {
            let folder = above.join(part);
            self.store.ensure_folder(&folder)?;
            self.store.sync(&above)?;
            above = folder;
        }
        if self.store.names(parent)?.contains(&name.0) {
            return Err(StoreError::Exists { run: name.clone(), path: target });
        }
        self.store.storage.rename(&self.folder, &target).map_err(StoreError::io("write", &target))?;
        self.sealed = true;
        self.store.sync(parent)?;
        self.store.sync(&self.store.staging())
    }
}

impl Drop for Staging {
    /// An error has nobody to go to, and needs none: what cannot be removed here is found by `abandoned`.
    fn drop(&mut self) {
        let storage = &self.store.storage;
        if self.sealed || storage.remove_dir_all(&self.folder).is_ok() {
            let _ = storage.remove_file(&self.lock_path);
        }
    }
}

/// That it is not there is what was wanted.
pub(super) fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::samples;

    fn store(folder: &tempfile::TempDir) -> Store {
        Store::open(&folder.path().join("runs")).unwrap()
    }

    fn seal(store: &Store, record: &RunRecord) -> Result<RunRecord, StoreError> {
        store.seal(record, &samples::rows(&samples::steps(5), &samples::epochs()))
    }

    #[test]
    fn a_sealed_run_comes_back_as_it_was_measured() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let sealed = seal(&store, &samples::record(0, "run-a")).unwrap();
        assert_eq!((sealed.format, sealed.files.len()), (FORMAT, 5));
        let listing = store.records().unwrap();
        assert_eq!((&listing.records[..], &listing.problems[..]), (&[sealed.clone()][..], &[][..]));
        let loaded = store.load(&sealed).unwrap();
        assert_eq!((loaded.steps, loaded.epochs), (samples::steps(5), samples::epochs()));
        assert_eq!(samples::names(&store.staging()).len() + samples::names(&store.locks()).len(), 0);
    }

    #[test]
    fn a_diverged_run_keeps_its_infinite_loss_and_its_nan() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let (mut steps, mut epochs) = (samples::steps(2), samples::epochs());
        (steps[0].loss, steps[1].loss, epochs[0].loss) = (f64::INFINITY, f64::NAN, f64::NEG_INFINITY);
        let sealed = store.seal(&samples::record(0, "run-a"), &samples::rows(&steps, &epochs)).unwrap();
        let loaded = store.load(&sealed).unwrap();
        assert_eq!((loaded.steps[0].loss, loaded.epochs[0].loss), (f64::INFINITY, f64::NEG_INFINITY));
        assert_eq!(loaded.steps[1].loss.to_bits(), f64::NAN.to_bits());
    }

    #[test]
    fn a_run_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let first = seal(&store, &samples::record(0, "run-a")).unwrap();
        let error = store
            .seal(&samples::record(0, "run-a"), &samples::rows(&samples::steps(9), &[]))
            .unwrap_err()
            .to_string();
        assert!(error.contains("run 'run-a' is already stored in") && error.contains("never overwritten"));
        assert_eq!(store.load(&first).unwrap().steps, samples::steps(5));
        assert_eq!(samples::names(&store.staging()), [""; 0]);
    }

    #[test]
    fn the_record_can_be_checked_without_pinbench() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let sealed = seal(&store, &samples::record(0, "run-a")).unwrap();
        let run = store.run_folder(&sealed.trial_id, &sealed.run);
        let digest = Digest::of_file(&run.join("run.json")).unwrap();
        assert_eq!(
            std::fs::read_to_string(run.join("run.json.sha256")).unwrap(),
            format!("{digest}  run.json\n")
        );
        for (name, digest) in sealed.files {
            assert_eq!(Digest::of_file(&run.join(name)).unwrap(), digest);
        }
    }

    #[test]
    fn a_further_file_is_in_the_record_and_verified() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let record = samples::record(0, "run-a");
        let mut staging = store.stage(&record.run).unwrap();
        staging.add("weights.safetensors", b"weights").unwrap();
        let sealed = staging.seal(&record, &Rows::default()).unwrap();
        assert_eq!(store.verified(&sealed, "weights.safetensors").unwrap(), b"weights");
        assert_eq!(store.check(&sealed), Ok(()));
    }

    #[test]
    fn a_run_that_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let mut staging = store.stage(&RunId("run-a".to_owned())).unwrap();
        staging.add("half", b"written").unwrap();
        drop(staging);
        assert_eq!(samples::names(&store.staging()).len() + samples::names(&store.locks()).len(), 0);
    }

    #[test]
    fn cleaning_removes_what_a_dead_process_left_and_leaves_a_living_one_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let mut living = store.stage(&RunId("living".to_owned())).unwrap();
        living.add("half", b"written").unwrap();
        std::fs::create_dir_all(store.staging().join("dead")).unwrap();
        std::fs::write(store.staging().join("dead/steps.parquet"), b"half").unwrap();
        let dead = Abandoned { run: RunId("dead".to_owned()), path: store.staging().join("dead") };
        assert_eq!(store.abandoned().unwrap(), std::slice::from_ref(&dead));
        assert_eq!(store.clean().unwrap(), [dead]);
        assert_eq!(samples::names(&store.staging()), ["living"]);
        assert_eq!(samples::names(&store.locks()), ["run-living.lock"]);
        let record = samples::record(0, "living");
        assert_eq!(living.seal(&record, &Rows::default()).unwrap().files.len(), 6);
    }

    #[test]
    fn a_name_that_leads_out_of_the_store_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        for name in ["", "..", "../out", "a/b", "/etc", ".hidden", "a b", "ä"] {
            let error = seal(&store, &samples::record(0, name)).unwrap_err();
            assert!(matches!(&error, StoreError::Name { name: found } if found == name), "{error}");
        }
        let mut staging = store.stage(&RunId("run-a".to_owned())).unwrap();
        assert!(matches!(staging.add("../out", b""), Err(StoreError::Name { .. })));
    }

    #[test]
    fn fifty_threads_that_create_and_fill_one_store_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for thread in 0..50 {
                let folder = &folder;
                scope.spawn(move || {
                    seal(&store(folder), &samples::record(thread % 5, &format!("run-{thread}"))).unwrap()
                });
            }
        });
        check_fifty_runs(&store(&folder));
    }

    #[test]
    fn fifty_processes_that_create_and_fill_one_store_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let test = "record::staging::tests::one_of_fifty_processes";
        let path = folder.path().join("runs");
        let children: Vec<_> = (0..50).map(|number| samples::child(test, &path, number)).collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        check_fifty_runs(&store(&folder));
    }

    #[test]
    #[ignore = "started by fifty_processes_that_create_and_fill_one_store_lose_nothing"]
    fn one_of_fifty_processes() {
        let Some((path, number)) = samples::as_child() else { return };
        let store = Store::open(&path).unwrap();
        seal(&store, &samples::record(number % 5, &format!("run-{number}"))).unwrap();
    }

    fn check_fifty_runs(store: &Store) {
        let listing = store.records().unwrap();
        assert_eq!((listing.records.len(), &listing.problems[..]), (50, &[][..]));
        for record in &listing.records {
            assert_eq!(store.load(record).unwrap().steps, samples::steps(5));
        }
        assert_eq!(store.abandoned().unwrap(), []);
        assert_eq!(samples::names(store.path()), ["locks", "staging", "store.json", "trials"]);
    }
}
