//! The store: one folder that holds every run, shared by any number of processes.
//!
//! ```text
//! <store>/store.json                        {"format":6}
//!         trials/ab/<trial id, 12 hex>/<run id>/run.json, run.json.sha256, steps.parquet, epochs.parquet
//!         staging/<run id>/                 a run that is not sealed yet, or was killed before it was
//!         checkpoints/ab/<trial id>-<plan hash>/<run id>-<step>/checkpoint.json, state.safetensors, … of a run under way
//!         locks/ab/<trial id>-<plan hash>.lock who runs a trial; locks/run-<run id>.lock who writes a staging folder
//!         damaged/<trial id>-<run id>/      set aside, with the reason beside it in a .txt of the same name
//! ```
//!
//! `ab` is how the trial's id begins, so that no folder has as many entries as there are trials: a file system of a cluster
//! is slow where thousands of nodes make entries in one folder. The marker says which layout a store has. One whose format is
//! below 6 has everything one folder higher, and keeps it so, whoever writes: an older pinbench reads what a newer one adds, and
//! no run has two places where it could be. `pinbench merge OLD --store NEW` takes its runs over.
//!
//! A run under `trials/` is complete and never changes: it gets there by one rename of a folder that was
//! written and synced elsewhere (`staging`). What may be taken away from it are the rows of its steps, which are most of its
//! bytes: `sha256sum steps.parquet > steps.parquet.sha256 && rm steps.parquet` leaves a run without them and its digest. Opening and reading write nothing, so a store on a read-only
//! disk can be read.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};

use crate::experiment::TrialId;
use crate::record::claim::note;
use crate::record::schema::check_up_to;
use crate::record::storage::{Attempt, Disk, Lock, Storage, has_no_locks};
use crate::record::{RunId, RunRecord, StoreError};

const MARKER: &str = "store.json";

/// What the marker of a new store says.
const LATEST: u32 = 6;
/// Since when what is of a trial lies below the first letters of its id.
const SHARDED: u32 = 6;

/// A handle; clones are the same store.
#[derive(Clone)]
pub struct Store {
    root: PathBuf,
    pub(super) storage: Arc<dyn Storage>,
    /// Of its marker.
    format: u32,
    needs_locks: bool,
}

#[derive(Serialize, Deserialize)]
struct WireMarker {
    format: u32,
}

impl Store {
    /// `$PINBENCH_STORE`, else `runs/` of the workspace.
    pub fn default_path(workspace: &Path) -> PathBuf {
        path_from(env::var_os("PINBENCH_STORE"), workspace)
    }

    /// Opens the store at `path`, or makes one where there is nothing yet.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_on(Arc::new(Disk), path)
    }

    pub(super) fn open_on(storage: Arc<dyn Storage>, path: &Path) -> Result<Self, StoreError> {
        let store = Self { root: path.to_owned(), storage, format: LATEST, needs_locks: true };
        if let Some(format) = store.marker()? {
            return Ok(Self { format, ..store });
        }
        store.require_empty()?;
        store.create()?;
        Ok(store)
    }

    /// The same store for a process that owns what it writes in another way: where the file system has no locks, or has them
    /// for one node alone and says so, a lock is had by everybody. Asking for a holder still fails, so that nothing that needs
    /// to know takes "nobody" for an answer.
    #[must_use]
    pub fn without_need_of_locks(self) -> Self {
        Self { needs_locks: false, ..self }
    }

    /// Takes the lock with a note of who has it, or has the holder's.
    pub(super) fn try_lock(&self, path: &Path) -> Result<Attempt, StoreError> {
        match self.storage.try_lock(path, &note()) {
            Err(error) if !self.needs_locks && has_no_locks(&error) => Ok(Attempt::Taken(Lock::new(()))),
            tried => tried.map_err(StoreError::io("lock", path)),
        }
    }

    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The format that the marker says, if there is one, which is one that is read.
    fn marker(&self) -> Result<Option<u32>, StoreError> {
        let path = self.root.join(MARKER);
        let bytes = match self.storage.read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                let file = self.root.ancestors().find(|path| path.is_file()).unwrap_or(&self.root);
                return Err(StoreError::IsAFile { path: self.root.clone(), file: file.to_owned() });
            }
            bytes => bytes.map_err(StoreError::io("read", &path))?,
        };
        let Ok(WireMarker { format }) = serde_json::from_slice(&bytes) else {
            let found = String::from_utf8_lossy(&bytes).chars().take(40).collect();
            return Err(StoreError::Marker { path, found });
        };
        check_up_to(LATEST, format)
            .map_err(|source| StoreError::Format { path: self.root.clone(), source })?;
        Ok(Some(format))
    }

    /// Hidden files are nobody's content, and what begins like the marker is another process that creates the
    /// store at this moment, or was killed at it.
    fn require_empty(&self) -> Result<(), StoreError> {
        let names = match self.storage.list(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            names => names.map_err(StoreError::io("list", &self.root))?,
        };
        match names.into_iter().find(|name| !name.starts_with('.') && !name.starts_with(MARKER)) {
            // Another process may have made the store whole between our two looks.
            Some(found) if self.marker()?.is_none() => {
                Err(StoreError::NotAStore { path: self.root.clone(), found })
            }
            _ => Ok(()),
        }
    }

    /// The marker appears whole or not at all; two processes that create one store write the same bytes.
    fn create(&self) -> Result<(), StoreError> {
        static CREATED: AtomicU32 = AtomicU32::new(0);
        self.create_path(&self.root)?;
        let draft = format!("{MARKER}.{}-{}", std::process::id(), CREATED.fetch_add(1, Ordering::Relaxed));
        let draft = self.root.join(draft);
        let bytes = format!("{{\"format\":{LATEST}}}\n");
        self.replace(&draft, bytes.as_bytes())?;
        let marker = self.root.join(MARKER);
        self.storage.rename(&draft, &marker).map_err(StoreError::io("write", &marker))?;
        self.sync(&self.root)
    }

    /// Writes `path` anew. What may be there was left by a process of the same number that was killed at it.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let written = match self.storage.write_new(path, bytes) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.storage.remove_file(path).map_err(StoreError::io("remove", path))?;
                self.storage.write_new(path, bytes)
            }
            written => written,
        };
        written.map_err(|error| {
            // Half a draft harms nobody, so that the error worth telling is the first.
            let _ = self.storage.remove_file(path);
            StoreError::io("write", path)(error)
        })
    }

    /// Durably, before the marker is: who finds a marker may take the path to it for granted.
    fn create_path(&self, folder: &Path) -> Result<(), StoreError> {
        let parent = match folder.parent() {
            Some(parent) if parent != "" => parent,
            _ => Path::new("."),
        };
        let created = match self.storage.create_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && parent != Path::new(".") => {
                self.create_path(parent)?;
                self.storage.create_dir(folder)
            }
            created => created,
        };
        match created {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(StoreError::io("create", folder)(error)),
            Ok(()) => self.sync(parent),
        }
    }

    /// Makes `folder` unless it is there. The caller syncs the parent once what it puts inside must last.
    pub(super) fn ensure_folder(&self, folder: &Path) -> Result<(), StoreError> {
        match self.storage.create_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            created => created.map_err(StoreError::io("create", folder)),
        }
    }

    pub(super) fn sync(&self, folder: &Path) -> Result<(), StoreError> {
        self.storage.sync_dir(folder).map_err(StoreError::io("sync", folder))
    }

    /// Names in the folder, sorted; none where it does not exist yet.
    pub(super) fn names(&self, folder: &Path) -> Result<Vec<String>, StoreError> {
        match self.storage.list(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            names => names.map_err(StoreError::io("list", folder)),
        }
    }

    pub(super) fn trials(&self) -> PathBuf {
        self.root.join("trials")
    }

    pub(super) fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    pub(super) fn locks(&self) -> PathBuf {
        self.root.join("locks")
    }

    pub(super) fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    pub(super) fn damaged(&self) -> PathBuf {
        self.root.join("damaged")
    }

    /// Where the run of a record is.
    pub fn folder_of(&self, record: &RunRecord) -> PathBuf {
        self.run_folder(&record.stored_as(), &record.run)
    }

    /// Where a sealed run is.
    pub fn run_folder(&self, trial: &TrialId, run: &RunId) -> PathBuf {
        self.trial_folder(trial).join(&run.0)
    }

    /// Where the runs of a trial are.
    pub(super) fn trial_folder(&self, trial: &TrialId) -> PathBuf {
        self.sharded(&self.trials(), trial).join(trial.short())
    }

    /// Where in `folder` that has something of every trial the trial's is.
    pub(super) fn sharded(&self, folder: &Path, trial: &TrialId) -> PathBuf {
        // A short id has twelve digits.
        if self.is_sharded() { folder.join(&trial.short()[..2]) } else { folder.to_owned() }
    }

    pub(super) fn is_sharded(&self) -> bool {
        self.format >= SHARDED
    }
}

fn path_from(variable: Option<OsString>, workspace: &Path) -> PathBuf {
    let set = variable.filter(|path| !path.is_empty());
    set.map_or_else(|| workspace.join("runs"), PathBuf::from)
}

/// A name from a record becomes part of a path, so that it must not lead out of its folder.
pub(super) fn check_name(name: &str) -> Result<(), StoreError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain) {
        return Ok(());
    }
    Err(StoreError::Name { name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::samples;

    #[test]
    fn the_store_is_where_the_variable_says_else_in_the_workspace() {
        let workspace = Path::new("/home/someone");
        assert_eq!(path_from(None, workspace), Path::new("/home/someone/runs"));
        assert_eq!(path_from(Some("".into()), workspace), Path::new("/home/someone/runs"));
        assert_eq!(path_from(Some("/elsewhere".into()), workspace), Path::new("/elsewhere"));
    }

    #[test]
    fn a_store_is_made_with_the_folders_above_it_and_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("not/there/yet");
        Store::open(&path).unwrap();
        assert_eq!(std::fs::read_to_string(path.join(MARKER)).unwrap(), "{\"format\":6}\n");
        assert_eq!(samples::names(&path), [MARKER]);
        assert_eq!(Store::open(&path).unwrap().records().unwrap().records, []);
    }

    #[test]
    fn a_folder_with_only_hidden_files_and_a_draft_of_a_killed_process_becomes_a_store() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".gitkeep"), "").unwrap();
        std::fs::write(folder.path().join("store.json.4242-0"), "{\"for").unwrap();
        Store::open(folder.path()).unwrap();
    }

    #[test]
    fn a_folder_of_something_else_is_refused_and_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("thesis.tex"), "").unwrap();
        let error = Store::open(folder.path()).err().unwrap().to_string();
        assert!(error.contains("is not a pinbench store") && error.contains("thesis.tex"), "{error}");
        assert_eq!(samples::names(folder.path()), ["thesis.tex"]);
    }

    #[test]
    fn a_newer_store_is_refused_with_both_formats() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(MARKER), "{\"format\":7,\"layout\":\"sharded\"}").unwrap();
        let error = Store::open(folder.path()).err().unwrap().to_string();
        assert!(
            error.contains("format 7")
                && error.contains(&format!("format {LATEST}"))
                && error.contains("update"),
            "{error}"
        );
    }

    /// The layout of stores of formats 1 to 5, whose names an older pinbench reads too.
    #[test]
    fn a_store_without_shards_goes_on_as_it_is_and_is_merged_both_ways_with_one_that_has_them() {
        let (old_folder, new_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(old_folder.path().join(MARKER), "{\"format\":5}\n").unwrap();
        let [old, new] = [&old_folder, &new_folder].map(|folder| Store::open(folder.path()).unwrap());
        let rows = samples::rows(&samples::steps(5), &samples::epochs());
        let seal = |store: &Store, seed| {
            let record = store.seal(&samples::record(seed, &format!("run-{seed}")), &rows).unwrap();
            store.claim(&record.trial_id, &record.plan_hash).map(drop).unwrap();
            record
        };
        let (first, second) = (seal(&old, 0), seal(&new, 1));
        let [one, other] = [&first, &second].map(|record| record.trial_id.short());
        let lock =
            |record: &RunRecord| format!("{}-{}.lock", record.trial_id.short(), record.plan_hash.short());
        assert_eq!(samples::names(&old.trials()), [one.as_str()]);
        assert_eq!(samples::names(&old.locks()), [lock(&first)]);
        assert_eq!(samples::names(&new.trials()), [&other[..2]]);
        assert_eq!(samples::names(&new.trials().join(&other[..2])), [other.as_str()]);
        assert_eq!(samples::names(&new.locks().join(&other[..2])), [lock(&second)]);
        for (into, source) in [(&old, &new), (&new, &old)] {
            let merged = into.merge(std::slice::from_ref(source)).unwrap().remove(0);
            assert_eq!(
                (merged.taken + merged.there, merged.problems.len()),
                (source.records().unwrap().records.len(), 0)
            );
        }
        for store in [&old, &new] {
            let listing = Store::open(store.path()).unwrap().records().unwrap();
            assert_eq!((listing.records, listing.problems), (vec![first.clone(), second.clone()], vec![]));
            for record in [&first, &second] {
                assert_eq!(store.check(record), Ok(()));
                assert_eq!(store.runs_of(&record.trial_id).unwrap(), std::slice::from_ref(record));
            }
        }
        assert!(samples::names(&old.trials()).iter().all(|name| name.len() == one.len()));
        // Copied by hand, each was a damaged run file by file, or as a whole trial.
        for (into, from) in [(&old, &new), (&new, &old)] {
            let name = samples::names(&from.trials()).remove(0);
            std::fs::rename(from.trials().join(&name), into.trials().join(&name)).unwrap();
            let listing = into.records().unwrap();
            assert_eq!((listing.records.len(), listing.problems.len()), (2, 1), "{:?}", listing.problems);
            assert!(!listing.problems[0].fault.is_damage(), "{:?}", listing.problems);
            std::fs::rename(into.trials().join(&name), from.trials().join(&name)).unwrap();
        }
        assert_eq!(std::fs::read_to_string(old_folder.path().join(MARKER)).unwrap(), "{\"format\":5}\n");
    }

    #[test]
    fn a_damaged_marker_is_named_with_what_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(MARKER), "{\"fromat\":1}").unwrap();
        let error = Store::open(folder.path()).err().unwrap().to_string();
        assert!(error.contains("store.json' is damaged") && error.contains("fromat"), "{error}");
    }

    #[test]
    fn a_path_through_a_file_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        for path in [file.clone(), file.join("runs")] {
            let error = Store::open(&path).err().unwrap().to_string();
            assert!(error.contains(&path.display().to_string()), "{error}");
            let is_a_file = format!("'{}' is a file, expected a folder", file.display());
            assert!(error.contains(&is_a_file), "{error}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_folder_without_the_right_to_write_is_named_with_a_way_out() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        Store::open(folder.path()).unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
        if std::fs::create_dir(folder.path().join("root may do anything")).is_ok() {
            return; // the same refusal is simulated in `crash`
        }
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.records().unwrap().records, []);
        let error = store
            .seal(&samples::record(0, "run-a"), &crate::record::Rows::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains("no permission to create") && error.contains("PINBENCH_STORE"), "{error}");
    }
}
