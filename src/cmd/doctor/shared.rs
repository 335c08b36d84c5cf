//! Whether several processes, and several machines, can share the store: its locks, and the clock of its disk.

use std::fs::{self, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use pinbench::record::has_no_locks;
use pinbench::text;

use super::{Check, existing};

/// Run ids begin with the time, and tasks read the end of their job from the clock.
const SKEW: Duration = Duration::from_secs(2);
/// Exit code of the second process when it found the lock held, as it should be.
const HELD: u8 = 3;

const LOCKS: &str = "locks of the store";
const ADVICE: &str = "run sweeps on this store from one machine at a time; tasks of a manifest need no lock";
const WITHOUT: &str = "only tasks of a manifest, `report` and other reading work here; for `run` and `merge` name a folder on another disk with --store";

/// What `store` lies on, or will.
pub(super) fn checks(store: &Path) -> [Check; 2] {
    let folder = real(store);
    [locks(&folder), clock(&folder)]
}

/// Mounts are known by real paths: `/scratch` may be a link.
fn real(store: &Path) -> PathBuf {
    let folder = existing(store);
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
}

/// The option of the store's mount by which a lock is seen by processes of one machine alone: which of the folders under
/// `staging/` belong to living runs cannot be told there.
pub(super) fn locks_within(store: &Path) -> Option<String> {
    mounted(&real(store))?.within
}

fn mounted(folder: &Path) -> Option<Mount> {
    fs::read_to_string("/proc/self/mounts").ok().and_then(|mounts| mount_of(&mounts, folder))
}

/// Holds a lock and lets a second process try for it: both of this machine, for no command alone can ask another.
fn locks(folder: &Path) -> Check {
    let failed =
        |error: &dyn std::fmt::Display| Check::warn(LOCKS, format!("cannot be tried: {error}"), ADVICE);
    let file = match tempfile::Builder::new().prefix(".pinbench-lock-").tempfile_in(folder) {
        Ok(file) => file,
        Err(error) => return failed(&error),
    };
    match file.as_file().try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(error)) if has_no_locks(&error) => {
            return Check::warn(LOCKS, format!("there are none here: {error}"), WITHOUT);
        }
        Err(error) => return failed(&error),
    }
    match second_process(file.path()) {
        Ok(code) if code == Some(i32::from(HELD)) => held(folder),
        Ok(Some(0)) => Check::warn(LOCKS, "a second process took a lock that was held", ADVICE),
        Ok(_) => failed(&"the second process could not open the file"),
        Err(error) => failed(&error),
    }
}

/// Held against a process of this machine; whether against those of others depends on how the disk is mounted.
fn held(folder: &Path) -> Check {
    let Some(Mount { kind, within }) = mounted(folder) else {
        return Check::ok(LOCKS, "held against a second process");
    };
    match within {
        Some(option) => Check::warn(
            LOCKS,
            format!("{kind} mounted with '{option}': they hold within one machine alone"),
            ADVICE,
        ),
        None => Check::ok(LOCKS, format!("held against a second process, on {kind}")),
    }
}

#[derive(PartialEq, Debug)]
struct Mount {
    kind: String,
    /// An option by which locks hold within one machine.
    within: Option<String>,
}

/// Of Lustre and NFS.
const WITHIN: [&str; 4] = ["localflock", "local_lock=flock", "local_lock=all", "nolock"];

/// The mount with the longest path above the folder; the last of equals, which is on top.
fn mount_of(mounts: &str, folder: &Path) -> Option<Mount> {
    let fields = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        // Blanks in paths are written so (fstab(5)).
        Some((fields.next()?.replace("\\040", " "), fields.next()?, fields.next()?))
    });
    let above = fields.filter(|(path, ..)| folder.starts_with(path));
    let (_, kind, options) = above.max_by_key(|(path, ..)| path.len())?;
    let within = options.split(',').find(|option| WITHIN.contains(option)).map(str::to_owned);
    Some(Mount { kind: kind.to_owned(), within })
}

fn second_process(path: &Path) -> io::Result<Option<i32>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["doctor", "--probe-lock"]).arg(path).stdin(Stdio::null());
    Ok(command.stdout(Stdio::null()).stderr(Stdio::null()).status()?.code())
}

/// What the second process does.
pub(super) fn probe(path: &Path) -> Result<ExitCode> {
    match fs::OpenOptions::new().write(true).open(path)?.try_lock() {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(TryLockError::WouldBlock) => Ok(ExitCode::from(HELD)),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// The server of a network disk stamps files by its own clock.
fn clock(folder: &Path) -> Check {
    const NAME: &str = "clock of the disk";
    let stamped = || -> io::Result<Duration> {
        let before = SystemTime::now();
        let file = tempfile::tempfile_in(folder)?;
        fs::File::sync_all(&file)?;
        let (stamp, after) = (file.metadata()?.modified()?, SystemTime::now());
        let ahead = stamp.duration_since(after).unwrap_or_default();
        Ok(ahead.max(before.duration_since(stamp).unwrap_or_default()))
    };
    match stamped() {
        Ok(skew) if skew > SKEW => Check::warn(
            NAME,
            format!("{} away from this machine's", text::duration(skew)),
            "set both by NTP: runs sort by their start, and a task reads the end of its job from the clock",
        ),
        Ok(skew) => Check::ok(NAME, format!("within {} ms of this machine's", skew.as_millis() + 1)),
        Err(error) => Check::warn(NAME, format!("unknown: {error}"), "make sure that NTP sets it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_that_locks_within_one_machine_is_known_by_its_options() {
        let mounts = "disk / ext4 rw 0 0\n\
                      10.0.0.1@tcp:/l /scratch lustre rw,localflock 0 0\n\
                      10.0.0.1@tcp:/l /scratch/my\\040own lustre rw,flock 0 0\n\
                      server:/home /home nfs4 rw,local_lock=all 0 0\n";
        let within = |folder: &str| mount_of(mounts, Path::new(folder)).unwrap();
        let mount = |kind: &str, within: Option<&str>| Mount {
            kind: kind.to_owned(),
            within: within.map(str::to_owned),
        };
        assert_eq!(within("/scratch/runs"), mount("lustre", Some("localflock")));
        assert_eq!(within("/scratch/my own/runs"), mount("lustre", None));
        assert_eq!(within("/home/me"), mount("nfs4", Some("local_lock=all")));
        assert_eq!(within("/scratches"), mount("ext4", None));
    }

    #[test]
    fn the_clock_of_this_disk_is_this_machines_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let check = clock(folder.path());
        assert!(check.advice.is_none(), "{}", check.value);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
