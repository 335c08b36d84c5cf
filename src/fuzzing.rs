//! Doors for `fuzz/` and `tests/hostile.rs`: bytes that nobody vouches for, on the way a user's take. No interface.

use std::fs;
use std::path::Path;
use std::sync::mpsc;

use crate::data::archive;
use crate::data::intake::{Folders, Intake, Observer, SourceError};
use crate::data::source::{self, cifar_pack};
use crate::dataset::{Format, Name};
use crate::record::{Problem, RunRecord, listing};
use crate::schedule::{Event, child};

/// What a listing makes of a `run.json` that lies in `folder` beside files of these names.
pub fn record(folder: &Path, bytes: &[u8], names: &[String]) -> Result<RunRecord, Problem> {
    listing::judge(folder, bytes, names)
}

/// What a parent makes of a child's output: events, and the last of what is none.
pub fn events(bytes: &[u8]) -> (Vec<Event>, String) {
    let (sender, events) = mpsc::channel();
    let noise = child::read_events(bytes, &sender);
    drop(sender);
    (events.into_iter().collect(), noise)
}

/// Names of the files of a set that is fetched.
pub fn files(set: Name) -> impl Iterator<Item = &'static str> {
    set.published().into_iter().flat_map(|published| published.spec.pins).map(|pin| pin.file)
}

/// Offers a package of a set that is fetched to a cache under `root`: how many files were taken, or why it was refused.
pub fn unpack(set: Name, package: &[u8], root: &Path) -> Result<usize, String> {
    let [staging, scratch, parts] = ["staging", "scratch", "parts"].map(|folder| root.join(folder));
    for folder in [&staging, &scratch] {
        fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    }
    let published = set.published().ok_or("no files")?;
    let mut nobody = Nobody;
    let mut intake = Intake::new(published.spec, Folders { staging, scratch, parts }, &mut nobody);
    let open = || archive::gunzip(package, archive::MAX_UNPACKED);
    let plain = source::supply_tar(open(), &mut intake);
    let packed = match published.format {
        Format::Cifar => cifar_pack::read_labels(open())
            .and_then(|labels| cifar_pack::supply(open(), &labels, &mut intake)),
        Format::Idx => Ok(()),
    };
    match plain.and(packed) {
        Ok(()) => Ok(published.spec.pins.len() - intake.missing().len()),
        Err(SourceError::Refused(reason)) => Err(reason),
        Err(SourceError::Cache { path, error }) => panic!("'{}': {error}", path.display()),
    }
}

struct Nobody;

impl Observer for Nobody {
    fn note(&mut self, _: &str) {}
    fn progress(&mut self, _: &str, _: u64, _: Option<u64>) {}
}
