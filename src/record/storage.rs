//! The file system as the store uses it: the few operations that durability rests on, behind one trait.
//!
//! The store's protocol is written against [`Storage`], so that the tests run the same code on a disk that
//! loses power (`simulated`). The contract is what POSIX and journalling file systems give, and no more: a
//! name is durable only after `sync_dir` of its folder, and only `rename` is atomic.

use std::any::Any;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::thread;
use std::time::Duration;

pub(super) trait Storage: Send + Sync {
    /// Creates one folder. Not durable before `sync_dir` of its parent.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Creates a file that must not exist, with content that is durable on return; its name is not before
    /// `sync_dir`. Creating, writing and syncing are one operation so that the sync is on the descriptor that
    /// wrote: only there does the kernel promise to report a failed write-back (fsync(2), errors).
    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Atomic. A folder replaces at most an empty one.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes names made, moved and removed in this folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Names in the folder, sorted.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;

    fn remove_file(&self, path: &Path) -> io::Result<()>;

    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Takes the lock at `path`, creating it, and leaves `note` in it for those who find it taken. Never
    /// waits for the holder. The lock ends with the guard or with the process, however that ends; the file
    /// stays.
    fn try_lock(&self, path: &Path, note: &[u8]) -> io::Result<Attempt>;

    /// The note of whoever holds the lock; `None` when nobody does. Needs no right to write.
    fn lock_note(&self, path: &Path) -> io::Result<Option<Vec<u8>>>;
}

pub(super) enum Attempt {
    Taken(Lock),
    /// With the holder's note, which may be empty when it has only just begun.
    Busy(Vec<u8>),
}

/// A lock for as long as this lives.
pub(super) struct Lock(#[expect(dead_code, reason = "held for its Drop")] Box<dyn Any + Send + Sync>);

impl Lock {
    pub(super) fn new(guard: impl Any + Send + Sync) -> Self {
        Self(Box::new(guard))
    }
}

/// The file system of the operating system.
pub(super) struct Disk;

/// What Linux and its network file systems answer where there are no locks: not implemented, none available, not supported.
const NO_LOCKS: [i32; 4] = [libc::ENOSYS, libc::ENOLCK, libc::EOPNOTSUPP, 524];

/// Whether the file system cannot lock at all.
pub fn has_no_locks(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| NO_LOCKS.contains(&code))
}

/// How often, and how far apart, a lock is tried that nobody holds but somebody is asking about.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(1);

impl Storage for Disk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::create_new(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        let mut names = fs::read_dir(path)?.map(name).collect::<io::Result<Vec<_>>>()?;
        names.sort_unstable();
        Ok(names)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn try_lock(&self, path: &Path, note: &[u8]) -> io::Result<Attempt> {
        let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
        for _ in 0..LOCK_TRIES {
            if held_when_tried(file.try_lock())? {
                if held_when_tried(file.try_lock_shared())? {
                    break;
                }
                // Only somebody who asks, with a shared lock for some microseconds.
                file.unlock()?;
                thread::sleep(LOCK_PAUSE);
            } else {
                file.set_len(0)?; // a holder that died left its note
                file.write_all(note)?;
                return Ok(Attempt::Taken(Lock::new(Held(file))));
            }
        }
        read_note(&mut file).map(Attempt::Busy)
    }

    fn lock_note(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        if held_when_tried(file.try_lock_shared())? {
            return read_note(&mut file).map(Some);
        }
        file.unlock()?;
        Ok(None)
    }
}

/// A lock that ends with this, and not with the last copy of its descriptor: a child that another thread is
/// starting has copies of all of them until it is executed.
struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        // What fails here ends with the descriptor.
        let _ = self.0.unlock();
    }
}

fn held_when_tried(tried: Result<(), TryLockError>) -> io::Result<bool> {
    match tried {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn read_note(file: &mut File) -> io::Result<Vec<u8>> {
    let mut note = Vec::new();
    file.read_to_end(&mut note)?;
    Ok(note)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A disk on which nothing can be locked, with this error.
    struct Lockless(i32);

    impl Storage for Lockless {
        fn create_dir(&self, path: &Path) -> io::Result<()> {
            Disk.create_dir(path)
        }
        fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
            Disk.write_new(path, bytes)
        }
        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            Disk.rename(from, to)
        }
        fn sync_dir(&self, path: &Path) -> io::Result<()> {
            Disk.sync_dir(path)
        }
        fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
            Disk.read(path)
        }
        fn list(&self, path: &Path) -> io::Result<Vec<String>> {
            Disk.list(path)
        }
        fn remove_file(&self, path: &Path) -> io::Result<()> {
            Disk.remove_file(path)
        }
        fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
            Disk.remove_dir_all(path)
        }
        fn try_lock(&self, _: &Path, _: &[u8]) -> io::Result<Attempt> {
            Err(io::Error::from_raw_os_error(self.0))
        }
        fn lock_note(&self, _: &Path) -> io::Result<Option<Vec<u8>>> {
            Err(io::Error::from_raw_os_error(self.0))
        }
    }

    #[test]
    fn a_store_that_cannot_be_locked_is_written_by_who_needs_no_lock_and_by_nobody_else() {
        use crate::record::{Rows, Store, samples};

        for code in NO_LOCKS {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open_on(Arc::new(Lockless(code)), folder.path()).unwrap();
            let record = samples::record(0, "run-a");
            assert!(store.seal(&record, &Rows::default()).is_err());
            let owner = store.clone().without_need_of_locks();
            assert!(owner.claim(&record.trial_id, &record.plan_hash).is_ok());
            owner.seal(&record, &Rows::default()).unwrap();
            assert_eq!(store.records().unwrap().records.len(), 1);
            // Who asks what is abandoned learns that it cannot be told.
            owner.stage(&crate::record::RunId("run-b".to_owned())).map(std::mem::forget).unwrap();
            assert!(owner.clean().is_err());
        }
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_on(Arc::new(Lockless(libc::EACCES)), folder.path()).unwrap();
        let record = samples::record(0, "run-a");
        assert!(store.without_need_of_locks().seal(&record, &Rows::default()).is_err());
    }

    #[test]
    fn a_file_that_exists_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        Disk.write_new(&path, b"first").unwrap();
        let error = Disk.write_new(&path, b"second").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(Disk.read(&path).unwrap(), b"first");
    }

    #[test]
    fn a_lock_is_had_once_and_again_after_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        assert_eq!(Disk.lock_note(&path).unwrap(), None);
        let Attempt::Taken(held) = Disk.try_lock(&path, b"a longer note").unwrap() else { panic!("busy") };
        let Attempt::Busy(note) = Disk.try_lock(&path, b"second").unwrap() else { panic!("taken twice") };
        assert_eq!(note, b"a longer note");
        assert_eq!(Disk.lock_note(&path).unwrap(), Some(note));
        drop(held);
        assert_eq!(Disk.lock_note(&path).unwrap(), None);
        let Attempt::Taken(_held) = Disk.try_lock(&path, b"third").unwrap() else { panic!("busy") };
        assert_eq!(Disk.lock_note(&path).unwrap(), Some(b"third".to_vec()));
    }

    #[test]
    fn asking_who_holds_a_lock_never_makes_it_look_held() {
        // Asking takes the lock for a moment: tried only once, a claim beside it was refused now and then.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                (0..2000).for_each(|_| {
                    Disk.lock_note(&path).unwrap();
                })
            });
            while !asking.is_finished() {
                assert!(matches!(Disk.try_lock(&path, b"note").unwrap(), Attempt::Taken(_)));
            }
        });
    }
}
