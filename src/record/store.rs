//! The store: one folder that holds every run, shared by any number of processes.
//!
//! ```text
//! <store>/store.json                        {"format":1}
//!         trials/<trial id, 12 hex>/<run id>/run.json, run.json.sha256, steps.parquet, epochs.parquet
//!         staging/<run id>/                 a run that is not sealed yet, or was killed before it was
//!         checkpoints/<trial id>-<plan hash>/<run id>-<step>/checkpoint.json, state.safetensors, … of a run under way
//!         locks/<trial id>-<plan hash>.lock who runs a trial; locks/run-<run id>.lock who writes a staging folder
//!         damaged/<trial id>-<run id>/      set aside, with the reason beside it in a .txt of the same name
//! ```
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
use crate::record::schema::{FORMAT, check_format};
use crate::record::storage::{Disk, Storage};
use crate::record::{RunId, RunRecord, StoreError};

const MARKER: &str = "store.json";

/// A handle; clones are the same store.
#[derive(Clone)]
pub struct Store {
    root: PathBuf,
    pub(super) storage: Arc<dyn Storage>,
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
        let store = Self { root: path.to_owned(), storage };
        if !store.has_marker()? {
            store.require_empty()?;
            store.create()?;
        }
        Ok(store)
    }

    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Whether there is a marker, and one of a format that is read.
    fn has_marker(&self) -> Result<bool, StoreError> {
        let path = self.root.join(MARKER);
        let bytes = match self.storage.read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
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
        check_format(format).map_err(|source| StoreError::Format { path: self.root.clone(), source })?;
        Ok(true)
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
            Some(found) if !self.has_marker()? => {
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
        let bytes = format!("{{\"format\":{FORMAT}}}\n");
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
        self.trials().join(trial.short()).join(&run.0)
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
        assert_eq!(std::fs::read_to_string(path.join(MARKER)).unwrap(), format!("{{\"format\":{FORMAT}}}\n"));
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
                && error.contains(&format!("format {FORMAT}"))
                && error.contains("update"),
            "{error}"
        );
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
