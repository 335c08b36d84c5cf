//! What is wrong with one stored run. It is reported, never read as data, and never deleted.

use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::experiment::TrialId;
use crate::record::schema::UnknownFormat;
use crate::record::{Store, StoreError};

/// A run that is in the store and cannot be used.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("'{}' {fault}; {}", file.display(), fault.advice())]
pub struct Problem {
    /// The run, or what stands where one is expected.
    pub folder: PathBuf,
    /// The file the problem is in.
    pub file: PathBuf,
    pub fault: Fault,
}

#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum Fault {
    #[error("is missing, expected it beside the other files of the run")]
    Missing,
    #[error("is damaged: expected SHA-256 {expected}, found {found}")]
    Digest { expected: Digest, found: Digest },
    #[error("is damaged: expected the SHA-256 of the file it is named after, found '{found}'")]
    Sum { found: String },
    #[error("is not a run record: {reason}")]
    Json { reason: String },
    #[error("belongs elsewhere: expected '{expected}' as its place, found it in '{found}'")]
    Misplaced { expected: String, found: String },
    #[error("does not hold the rows of a run: {reason}")]
    Frame { reason: String },
    #[error("is not the folder of a run")]
    NotARun,
    #[error("holds runs as a store of another layout has them")]
    Layout,
    #[error("has {0}")]
    Format(UnknownFormat),
    #[error("cannot be read: {reason}")]
    Unreadable { reason: String },
}

impl Fault {
    /// Whether the content is bad, as opposed to this process being unable to read it.
    pub fn is_damage(&self) -> bool {
        !matches!(self, Self::Layout | Self::Format(_) | Self::Unreadable { .. })
    }

    fn advice(&self) -> &'static str {
        match self {
            Self::Layout => {
                "its runs are skipped; `pinbench merge` takes them from the store that it was copied from"
            }
            Self::Format(_) => "the run is skipped",
            Self::Unreadable { .. } => "the run is skipped; check the disk and the permissions",
            _ => "the run is skipped; where its trial has no other, the trial counts as not done: rerun it",
        }
    }
}

impl Problem {
    /// `file` is a name in `folder`, or empty for the folder itself.
    pub(super) fn new(folder: &Path, file: &str, fault: Fault) -> Self {
        let path = if file.is_empty() { folder.to_owned() } else { folder.join(file) };
        Self { folder: folder.to_owned(), file: path, fault }
    }

    /// Of reading `file`, which is expected to be there.
    pub(super) fn io(folder: &Path, file: &str, error: &io::Error) -> Self {
        let fault = match error.kind() {
            io::ErrorKind::NotFound => Fault::Missing,
            _ => Fault::Unreadable { reason: error.to_string() },
        };
        Self::new(folder, file, fault)
    }

    /// Whether it is of a run of this trial.
    pub fn is_of(&self, trial: &TrialId) -> bool {
        let short = trial.short();
        self.fault != Fault::NotARun && self.folder.parent().is_some_and(|parent| parent.ends_with(&short))
    }
}

impl Store {
    /// Moves a damaged run out of the readers' way, into `damaged/`, with the problem as a text beside it.
    pub fn set_aside(&self, problem: &Problem) -> Result<PathBuf, StoreError> {
        if !problem.fault.is_damage() {
            return Err(StoreError::NotDamaged(Box::new(problem.clone())));
        }
        self.ensure_folder(&self.damaged())?;
        // Before anything is in it: a power loss must not take the folder and keep the move.
        self.sync(self.path())?;
        let name = self.free_name(&problem.folder)?;
        let target = self.damaged().join(&name);
        // Moved before it is explained: of two processes that do this at once, one fails here and leaves
        // nothing.
        let moved = self.storage.rename(&problem.folder, &target);
        moved.map_err(StoreError::io("set aside", &problem.folder))?;
        let why = self.damaged().join(format!("{name}.txt"));
        let text = format!("{problem}\n");
        self.storage.write_new(&why, text.as_bytes()).map_err(StoreError::io("write", &why))?;
        self.sync(&self.damaged())?;
        if let Some(parent) = problem.folder.parent() {
            self.sync(parent)?;
        }
        Ok(target)
    }

    /// The last two names of its path, `<trial id>-<run id>`, with a number behind it where that is taken.
    fn free_name(&self, folder: &Path) -> Result<String, StoreError> {
        let parts: Vec<_> = folder.iter().map(|part| part.to_string_lossy()).collect();
        let (stem, taken) = (parts[parts.len().saturating_sub(2)..].join("-"), self.names(&self.damaged())?);
        let is_free = |name: &String| !taken.contains(name) && !taken.contains(&format!("{name}.txt"));
        let numbered = (2..).map(|number| format!("{stem}-{number}"));
        // The numbers do not end before the names in a folder do.
        Ok(std::iter::once(stem.clone()).chain(numbered).find(is_free).unwrap_or(stem))
    }
}
