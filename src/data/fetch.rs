//! Getting a data set into the cache: whole and verified, or not at all.
//!
//! Files are gathered in a temporary folder beside the cache entry, and one rename makes them the entry. A
//! fetch that is killed leaves a temporary folder that the next one removes, and unfinished downloads that it
//! resumes; neither is ever read as data.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::data::intake::{Folders, Intake, Observer, SourceError};
use crate::data::source::{self, Source};
use crate::dataset::Name;
use crate::dataset::pin::{CopyError, Spec};
use crate::text;

/// What a user may add to the sources that are built in.
#[derive(Clone, Default, Debug)]
pub struct Options {
    /// Folders or `.tar.gz` files that are tried before everything else, in this order.
    pub from: Vec<PathBuf>,
}

/// How a set came to be in the cache.
#[derive(Clone, PartialEq, Debug)]
pub struct Fetched {
    /// Where it is.
    pub folder: PathBuf,
    /// The sources that were used; none when the set was there already.
    pub sources: Vec<String>,
    /// Where an entry with wrong content was moved to.
    pub set_aside: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error(
        "data set '{set}' is a user's own, which no source has: `pinbench data add {set} FOLDER` adds it"
    )]
    Own { set: &'static str },
    #[error(
        "no source has the whole data set '{set}':\n{}\nput {} (raw or .gz) in a folder, or in a .tar.gz, and run `pinbench data fetch {set} --from PATH`",
        list(reasons),
        quoted(files)
    )]
    NoSource { set: &'static str, files: Vec<&'static str>, reasons: Vec<(String, String)> },
    #[error(
        "no space left at '{}': '{set}' needs about {} there while it is fetched, and a package client as much in its own cache; free some, or set PINBENCH_DATA to a folder on another disk, and run `pinbench data fetch {set}`",
        root.display(), text::bytes(*needed)
    )]
    DiskFull { set: &'static str, root: PathBuf, needed: u64 },
    #[error(
        "cannot {action} '{}': {source}; mend that, or set PINBENCH_DATA to a folder you can write, and run `pinbench data fetch {set}`",
        path.display()
    )]
    Cache { set: &'static str, action: &'static str, path: PathBuf, source: io::Error },
}

fn list(reasons: &[(String, String)]) -> String {
    let lines: Vec<String> = reasons.iter().map(|(source, reason)| format!("  {source}: {reason}")).collect();
    lines.join("\n")
}

fn quoted(files: &[&str]) -> String {
    let quoted: Vec<String> = files.iter().map(|file| format!("'{file}'")).collect();
    quoted.join(", ")
}

/// Makes sure that the cache under `root` holds `name`, verified.
///
/// Does nothing when it does. An entry with wrong or missing files is set aside as `<name>.bad-<n>`, never
/// deleted. Two processes that fetch the same set wait for each other.
pub fn fetch(
    name: Name,
    root: &Path,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<Fetched, FetchError> {
    let published = name.published().ok_or(FetchError::Own { set: name.as_str() })?;
    let sources = source::all(published, &options.from);
    Fetch { spec: published.spec, root }.run(&sources, observer)
}

/// One fetch of any set, so that tests can fetch a small one.
struct Fetch<'a> {
    spec: Spec,
    root: &'a Path,
}

/// What is at the place of a cache entry.
enum Found {
    Nothing,
    Verified,
    Bad(String),
}

impl Fetch<'_> {
    fn run(&self, sources: &[Box<dyn Source>], observer: &mut dyn Observer) -> Result<Fetched, FetchError> {
        let folder = self.root.join(self.spec.set);
        let present = |folder| Fetched { folder, sources: Vec::new(), set_aside: None };
        // Before anything is written: a cache that is complete may be read-only.
        if let Found::Verified = self.inspect(&folder) {
            return Ok(present(folder));
        }
        fs::create_dir_all(self.root).map_err(self.failed("create", self.root))?;
        // Held to the end: what is left over now was left by a fetch that is dead.
        let _lock = self.lock(observer)?;
        self.remove_leftovers()?;
        let set_aside = match self.inspect(&folder) {
            Found::Verified => return Ok(present(folder)),
            Found::Nothing => None,
            Found::Bad(reason) => Some(self.set_aside(&folder, &reason, observer)?),
        };
        let sources = self.gather_into(&folder, sources, observer)?;
        Ok(Fetched { folder, sources, set_aside })
    }

    /// Makes the entry `folder`, and returns the sources it came from.
    fn gather_into(
        &self,
        folder: &Path,
        sources: &[Box<dyn Source>],
        observer: &mut dyn Observer,
    ) -> Result<Vec<String>, FetchError> {
        // Removed when dropped, with whatever is still in it.
        let temporary = self.create_temporary()?;
        let in_temporary = |name| {
            let folder = temporary.path().join(name);
            fs::create_dir(&folder).map_err(self.failed("create", &folder)).map(|()| folder)
        };
        let staging = in_temporary("staging")?;
        let parts = self.hidden("parts");
        let folders = Folders { staging: staging.clone(), scratch: in_temporary("scratch")?, parts };
        let used = self.gather(sources, &mut Intake::new(self.spec, folders, observer))?;
        self.install(&staging, folder)?;
        self.remove_parts()?;
        Ok(used)
    }

    /// `.mnist.lock` and the like: beside the entries, and no entry's name.
    fn hidden(&self, kind: &str) -> PathBuf {
        self.root.join(format!(".{}.{kind}", self.spec.set))
    }

    fn lock(&self, observer: &mut dyn Observer) -> Result<File, FetchError> {
        let path = self.hidden("lock");
        let file = File::create(&path).map_err(self.failed("create", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                observer.note(&format!("another process is fetching '{}'; waiting for it", self.spec.set));
                file.lock().map_err(self.failed("lock", &path))?;
                Ok(file)
            }
            Err(TryLockError::Error(error)) => Err(self.failed("lock", &path)(error)),
        }
    }

    fn temporary_prefix(&self) -> String {
        format!(".{}.tmp-", self.spec.set)
    }

    fn remove_leftovers(&self) -> Result<(), FetchError> {
        for entry in fs::read_dir(self.root).map_err(self.failed("read", self.root))? {
            let entry = entry.map_err(self.failed("read", self.root))?;
            if entry.file_name().to_string_lossy().starts_with(&self.temporary_prefix()) {
                fs::remove_dir_all(entry.path()).map_err(self.failed("remove", &entry.path()))?;
            }
        }
        Ok(())
    }

    fn create_temporary(&self) -> Result<TempDir, FetchError> {
        let mut builder = tempfile::Builder::new();
        builder
            .prefix(&self.temporary_prefix())
            .tempdir_in(self.root)
            .map_err(self.failed("write to", self.root))
    }

    fn inspect(&self, folder: &Path) -> Found {
        match fs::symlink_metadata(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Found::Nothing,
            _ => {}
        }
        for pin in self.spec.pins {
            let copied = File::open(folder.join(pin.file)).map_err(CopyError::Read);
            let bad = match copied.and_then(|file| pin.copy_verified(file, io::sink())) {
                Ok(()) => continue,
                Err(CopyError::Mismatch(mismatch)) => mismatch.to_string(),
                Err(CopyError::Read(error) | CopyError::Write(error)) => format!("'{}': {error}", pin.file),
            };
            return Found::Bad(bad);
        }
        Found::Verified
    }

    fn set_aside(
        &self,
        folder: &Path,
        reason: &str,
        observer: &mut dyn Observer,
    ) -> Result<PathBuf, FetchError> {
        let numbered = |n: u64| self.root.join(format!("{}.bad-{n}", self.spec.set));
        let mut n = 1;
        while fs::symlink_metadata(numbered(n)).is_ok() {
            n += 1;
        }
        let aside = numbered(n);
        fs::rename(folder, &aside).map_err(self.failed("set aside", folder))?;
        observer.note(&format!(
            "{reason}: the cached '{}' is not used and was set aside as '{}'",
            self.spec.set,
            aside.display()
        ));
        Ok(aside)
    }

    /// Asks one source after the other until nothing is missing; returns those that gave something.
    fn gather(
        &self,
        sources: &[Box<dyn Source>],
        intake: &mut Intake<'_>,
    ) -> Result<Vec<String>, FetchError> {
        let mut used = Vec::new();
        let mut reasons = Vec::new();
        for source in sources {
            let name = source.describe();
            intake.note(&format!("{}: trying {name}", self.spec.set));
            let before = intake.missing().len();
            let outcome = source.supply(intake);
            if intake.missing().len() < before {
                used.push(name.clone());
            }
            if intake.is_complete() {
                return Ok(used);
            }
            let reason = self.reason(outcome, intake)?;
            intake.note(&format!("{name}: {reason}"));
            reasons.push((name, reason));
        }
        let files = intake.missing().iter().map(|pin| pin.file).collect();
        Err(FetchError::NoSource { set: self.spec.set, files, reasons })
    }

    /// Why a source left files missing; an error when asking another one is of no use.
    fn reason(&self, outcome: Result<(), SourceError>, intake: &Intake<'_>) -> Result<String, FetchError> {
        match outcome {
            Err(SourceError::Refused(reason)) => Ok(reason),
            Err(SourceError::Cache { path, error }) => Err(self.failed("write", &path)(error)),
            Ok(()) => {
                let files: Vec<&str> = intake.missing().iter().map(|pin| pin.file).collect();
                Ok(format!("does not hold {}", quoted(&files)))
            }
        }
    }

    /// The files are synced already; the folders around them must be, or a crash could lose an entry that was
    /// reported.
    fn install(&self, staging: &Path, folder: &Path) -> Result<(), FetchError> {
        let sync = |folder: &Path| File::open(folder).and_then(|folder| folder.sync_all());
        sync(staging).map_err(self.failed("sync", staging))?;
        fs::rename(staging, folder).map_err(self.failed("move the files to", folder))?;
        sync(self.root).map_err(self.failed("sync", self.root))
    }

    fn remove_parts(&self) -> Result<(), FetchError> {
        let parts = self.hidden("parts");
        match fs::remove_dir_all(&parts) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.failed("remove", &parts)(error))
            }
            _ => Ok(()),
        }
    }

    fn failed(&self, action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FetchError + use<> {
        let (set, root, path) = (self.spec.set, self.root.to_owned(), path.to_owned());
        // Compressed and decoded files are there at the same time.
        let needed = 2 * self.spec.bytes();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                FetchError::DiskFull { set, root, needed }
            }
            _ => FetchError::Cache { set, action, path, source },
        }
    }
}

#[cfg(test)]
mod tests;
