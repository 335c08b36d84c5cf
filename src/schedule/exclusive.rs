//! The machine for one sweep at a time: two at once would time each other.
//!
//! An advisory lock of the operating system, so that it ends with its process however that ends. It holds for one
//! user: there is no folder that every user may write and none may abuse. It is always in the same place: in
//! `$XDG_RUNTIME_DIR`, which a session has and a job of cron has not, the two did not see each other. Only
//! `$PINBENCH_LOCK_DIR` moves it, for tests, and where `/tmp` is no place for it.

use std::env;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::schedule::Interrupt;

const POLL: Duration = Duration::from_millis(200);

/// The machine is this process's for as long as it lives.
#[must_use = "the lock ends when it is dropped"]
pub struct Exclusive {
    _file: File,
}

#[derive(Debug, thiserror::Error)]
pub enum ExclusiveError {
    #[error("cannot lock '{}': {source}; check its permissions, or set PINBENCH_LOCK_DIR to a folder of yours", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("interrupted while waiting for another sweep to end")]
    Interrupted,
}

impl Exclusive {
    /// Waits until no other sweep has the machine. `waiting` is told once whom for.
    pub fn wait(interrupt: &Interrupt, waiting: &mut dyn FnMut(&str)) -> Result<Self, ExclusiveError> {
        Self::wait_at(&path(), interrupt, waiting)
    }

    fn wait_at(
        path: &Path,
        interrupt: &Interrupt,
        waiting: &mut dyn FnMut(&str),
    ) -> Result<Self, ExclusiveError> {
        let failed = |source| ExclusiveError::Io { path: path.to_owned(), source };
        let mut file = open(path).map_err(failed)?;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(source)) => return Err(failed(source)),
                Err(TryLockError::WouldBlock) if !told => {
                    told = true;
                    waiting(&holder(&mut file));
                }
                Err(TryLockError::WouldBlock) => {}
            }
            if interrupt.is_asked() {
                return Err(ExclusiveError::Interrupted);
            }
            thread::sleep(POLL);
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// Never removed: who removes it could leave two processes each with a lock on "the" file.
fn path() -> PathBuf {
    let set = env::var_os("PINBENCH_LOCK_DIR").filter(|folder| !folder.is_empty());
    let folder = set.map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    // SAFETY: takes nothing and cannot fail (getuid(2)).
    let uid = unsafe { libc::getuid() };
    folder.join(format!("pinbench-{uid}.lock"))
}

/// Not through a link, which in a shared folder may be somebody else's.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    options.open(path)
}

/// The number is a courtesy: a holder that has not written it yet still holds.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text) {
        Ok(_) if text.trim().parse::<u32>().is_ok() => format!("pid {}", text.trim()),
        _ => "another pinbench".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_waits_for_the_pid_of_the_first_and_ends_cleanly_when_interrupted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first =
            Exclusive::wait_at(&path, &Interrupt::default(), &mut |_| panic!("nobody has it")).unwrap();
        let (interrupt, mut told) = (Interrupt::default(), Vec::new());
        interrupt.ask();
        let second = Exclusive::wait_at(&path, &interrupt, &mut |holder| told.push(holder.to_owned()));
        assert!(matches!(second, Err(ExclusiveError::Interrupted)));
        assert_eq!(told, [format!("pid {}", std::process::id())]);
        drop(first);
        let third = Exclusive::wait_at(&path, &Interrupt::default(), &mut |_| panic!("it is free"));
        assert!(third.is_ok());
    }

    #[test]
    fn a_link_in_place_of_the_lock_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        std::os::unix::fs::symlink(folder.path().join("victim"), &path).unwrap();
        let refused = Exclusive::wait_at(&path, &Interrupt::default(), &mut |_| {});
        assert!(matches!(refused, Err(ExclusiveError::Io { .. })));
        assert!(!folder.path().join("victim").exists());
    }
}
