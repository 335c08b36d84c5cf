//! What can go wrong with the store as a whole. What is wrong with one run is a `Problem` instead.

use std::io;
use std::path::{Path, PathBuf};

use crate::record::frame::FrameError;
use crate::record::schema::UnknownFormat;
use crate::record::{Problem, RunId};

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "no space left to write '{}'; nothing half-written stays behind, so free some space and run the command \
         again", path.display()
    )]
    Full { path: PathBuf },
    #[error(
        "'{}' is on a read-only file system; make it writable, or give --store or PINBENCH_STORE a folder that is",
        path.display()
    )]
    ReadOnly { path: PathBuf },
    #[error(
        "no permission to {doing} '{}'; give this user access, or give --store or PINBENCH_STORE a folder of its own",
        path.display()
    )]
    Denied { doing: &'static str, path: PathBuf },
    #[error("cannot {doing} '{}': {source}; check the disk and the path", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("the runs cannot be in '{}': '{}' is a file, expected a folder; give --store or PINBENCH_STORE another one",
        path.display(), file.display())]
    IsAFile { path: PathBuf, file: PathBuf },
    #[error(
        "'{}' is not a pinbench store: expected a 'store.json' or an empty folder, found '{found}'; give \
         --store or PINBENCH_STORE another folder", path.display()
    )]
    NotAStore { path: PathBuf, found: String },
    #[error(
        "'{}' is damaged: expected {{\"format\":N}}, found '{found}'; if the folder is a pinbench store, write \
         {{\"format\":6}} into that file where the names in 'trials' have two letters, and {{\"format\":5}} where they have 12",
        path.display()
    )]
    Marker { path: PathBuf, found: String },
    #[error("the store '{}' cannot be read: {source}", path.display())]
    Format { path: PathBuf, source: UnknownFormat },
    #[error("run '{run}' is already stored in '{}', and runs are never overwritten; give it a new id", path.display())]
    Exists { run: RunId, path: PathBuf },
    #[error(
        "'{name}' cannot be the name of a run or of its file: expected letters, digits, '.', '-' and '_', not \
         starting with '.'; use `RunId::new`"
    )]
    Name { name: String },
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the record of run '{run}' cannot be written as JSON: {source}; report this as a bug")]
    Json { run: RunId, source: serde_json::Error },
    #[error("refused to set aside a run that is not damaged: {0}")]
    NotDamaged(Box<Problem>),
}

impl StoreError {
    /// For `map_err`: the error of `doing` something with `path`, as the kinds a user can act on.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path },
            io::ErrorKind::PermissionDenied => Self::Denied { doing, path },
            _ => Self::Io { doing, path, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_user_can_act_on_is_named_with_the_path_and_the_way_out() {
        let text =
            |kind| StoreError::io("write", Path::new("/s/run.json"))(io::Error::from(kind)).to_string();
        for (kind, expected) in [
            (io::ErrorKind::StorageFull, "free some space"),
            (io::ErrorKind::QuotaExceeded, "free some space"),
            (io::ErrorKind::ReadOnlyFilesystem, "PINBENCH_STORE"),
            (io::ErrorKind::PermissionDenied, "no permission to write"),
            (io::ErrorKind::NotADirectory, "cannot write '/s/run.json': not a directory"),
        ] {
            let text = text(kind);
            assert!(text.contains("/s/run.json") && text.contains(expected), "{text}");
        }
    }
}
