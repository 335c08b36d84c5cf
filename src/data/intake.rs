//! Where sources deliver: a staging folder beside the cache entry, which takes in pinned content only.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::data::archive;
use crate::dataset::pin::{CopyError, Mismatch, Pin, Spec};

/// What a fetch tells whoever is watching. Showing it is the caller's business.
pub trait Observer {
    /// Something a person should know: which source is tried, why it failed, what was set aside.
    fn note(&mut self, text: &str);

    /// `done` of `total` bytes of `what`. Called often; a new `what` starts a new bar.
    fn progress(&mut self, what: &str, done: u64, total: Option<u64>);
}

/// Why a source did not deliver.
#[derive(Debug)]
pub(crate) enum SourceError {
    /// Its own fault, in words; the next source may do better.
    Refused(String),
    /// Ours: the cache cannot be written, whatever the source.
    Cache { path: PathBuf, error: io::Error },
}

impl From<io::Error> for SourceError {
    /// Failures to read, which are the source's. Failures to write are named where they happen.
    fn from(error: io::Error) -> Self {
        Self::Refused(error.to_string())
    }
}

impl From<Mismatch> for SourceError {
    fn from(mismatch: Mismatch) -> Self {
        Self::Refused(mismatch.to_string())
    }
}

impl SourceError {
    /// Says which path could not be written.
    pub(crate) fn cache(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |error| Self::Cache { path, error }
    }
}

/// The files of one set as they come in.
///
/// Contract: a source asks [`Intake::missing`], offers what it has, and stops when [`Intake::is_complete`].
/// Only content that equals its pin is counted, so files of one set may come from several sources.
pub(crate) struct Intake<'observer> {
    spec: Spec,
    staging: PathBuf,
    scratch: PathBuf,
    parts: PathBuf,
    accepted: BTreeSet<&'static str>,
    observer: &'observer mut dyn Observer,
}

/// The three folders of an intake, on the same file system as the cache entry.
pub(crate) struct Folders {
    /// Becomes the cache entry.
    pub staging: PathBuf,
    /// For a source's own files; thrown away.
    pub scratch: PathBuf,
    /// Unfinished downloads, kept for the next fetch when this one is cut off. Not created yet.
    pub parts: PathBuf,
}

impl<'observer> Intake<'observer> {
    pub(crate) fn new(spec: Spec, folders: Folders, observer: &'observer mut dyn Observer) -> Self {
        let Folders { staging, scratch, parts } = folders;
        Self { spec, staging, scratch, parts, accepted: BTreeSet::new(), observer }
    }

    pub(crate) fn spec(&self) -> Spec {
        self.spec
    }

    pub(crate) fn scratch(&self) -> &Path {
        &self.scratch
    }

    pub(crate) fn parts(&self) -> &Path {
        &self.parts
    }

    pub(crate) fn missing(&self) -> Vec<Pin> {
        self.spec.pins.iter().filter(|pin| !self.accepted.contains(pin.file)).copied().collect()
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.accepted.len() == self.spec.pins.len()
    }

    pub(crate) fn note(&mut self, text: &str) {
        self.observer.note(text);
    }

    pub(crate) fn progress(&mut self, what: &str, done: u64, total: Option<u64>) {
        self.observer.progress(what, done, total);
    }

    /// Takes a file of an archive, raw or gzipped, if it is one that is missing; others are left unread.
    pub(crate) fn offer(&mut self, file_name: &str, content: &mut dyn Read) -> Result<(), SourceError> {
        let plain = file_name.strip_suffix(".gz");
        let wanted = plain.unwrap_or(file_name);
        let Some(pin) = self.missing().into_iter().find(|pin| pin.file == wanted) else { return Ok(()) };
        match plain {
            Some(_) => self.accept(&pin, archive::gunzip(content, archive::MAX_UNPACKED)),
            None => self.accept(&pin, content),
        }
    }

    /// Writes `content` as the file of `pin`, on disk for good before it counts.
    pub(crate) fn accept(&mut self, pin: &Pin, content: impl Read) -> Result<(), SourceError> {
        let path = self.staging.join(pin.file);
        // Replaces what a refused source may have left there.
        let file = File::create(&path).map_err(SourceError::cache(&path))?;
        let watched = Watched { content, pin, done: 0, observer: &mut *self.observer };
        pin.copy_verified(watched, &file).map_err(|error| match error {
            CopyError::Read(error) => SourceError::Refused(format!("'{}': {error}", pin.file)),
            CopyError::Write(error) => SourceError::Cache { path: path.clone(), error },
            CopyError::Mismatch(mismatch) => mismatch.into(),
        })?;
        file.sync_all().map_err(SourceError::cache(&path))?;
        self.accepted.insert(pin.file);
        Ok(())
    }
}

/// Reports progress on what is read through it.
struct Watched<'a, R> {
    content: R,
    pin: &'a Pin,
    done: u64,
    observer: &'a mut dyn Observer,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer)?;
        self.done += read as u64;
        self.observer.progress(self.pin.file, self.done, Some(self.pin.bytes));
        Ok(read)
    }
}

#[cfg(test)]
pub(crate) mod fake {
    //! An intake in a temporary folder, for tests of sources.

    use std::fs;

    use tempfile::TempDir;

    use super::*;

    /// Remembers what it was told.
    #[derive(Default)]
    pub(crate) struct Notes {
        pub notes: Vec<String>,
        pub progress: Vec<(String, u64, Option<u64>)>,
    }

    impl Observer for Notes {
        fn note(&mut self, text: &str) {
            self.notes.push(text.to_owned());
        }

        fn progress(&mut self, what: &str, done: u64, total: Option<u64>) {
            self.progress.push((what.to_owned(), done, total));
        }
    }

    /// Runs `supply` on an empty intake of `spec`; `Ok` holds the names that are still missing.
    pub(crate) fn missing_after(
        spec: Spec,
        home: &TempDir,
        supply: impl FnOnce(&mut Intake<'_>) -> Result<(), SourceError>,
    ) -> Result<Vec<&'static str>, String> {
        let mut notes = Notes::default();
        let mut intake = Intake::new(spec, folders(home), &mut notes);
        match supply(&mut intake) {
            Ok(()) => Ok(intake.missing().iter().map(|pin| pin.file).collect()),
            Err(SourceError::Refused(reason)) => Err(reason),
            Err(SourceError::Cache { path, error }) => panic!("{}: {error}", path.display()),
        }
    }

    fn folders(home: &TempDir) -> Folders {
        let [staging, scratch, parts] =
            ["staging", "scratch", "parts"].map(|folder| home.path().join(folder));
        fs::create_dir_all(&staging).unwrap();
        fs::create_dir_all(&scratch).unwrap();
        Folders { staging, scratch, parts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::pin;

    #[test]
    fn raw_and_gzipped_files_are_taken_and_strangers_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let spec = pin::fake::spec("set", &[("one", b"1"), ("two", b"22"), ("three", b"333")]);
        let missing = fake::missing_after(spec, &home, |intake| {
            intake.offer("one", &mut &b"1"[..])?;
            intake.offer("two.gz", &mut &archive::fake::gzip(b"22")[..])?;
            intake.offer("README", &mut &b"text"[..])
        });
        assert_eq!(missing.unwrap(), ["three"]);
    }

    #[test]
    fn a_refused_file_stays_missing_and_may_come_again() {
        let home = tempfile::tempdir().unwrap();
        let spec = pin::fake::spec("set", &[("one", b"right")]);
        let missing = fake::missing_after(spec, &home, |intake| {
            for wrong in [&b"wrong"[..], b"right and more", b"rig"] {
                assert!(intake.offer("one", &mut &wrong[..]).is_err());
                assert!(!intake.is_complete());
            }
            intake.offer("one", &mut &b"right"[..])
        });
        assert!(missing.unwrap().is_empty());
        assert_eq!(std::fs::read(home.path().join("staging/one")).unwrap(), b"right");
    }

    #[test]
    fn progress_counts_bytes_up_to_the_pinned_length() {
        let home = tempfile::tempdir().unwrap();
        let spec = pin::fake::spec("set", &[("one", b"12345")]);
        let mut notes = fake::Notes::default();
        let [staging, scratch, parts] = [(); 3].map(|()| home.path().to_owned());
        let mut intake = Intake::new(spec, Folders { staging, scratch, parts }, &mut notes);
        intake.offer("one", &mut &b"12345"[..]).unwrap();
        assert_eq!(notes.progress.last(), Some(&("one".to_owned(), 5, Some(5))));
    }
}
