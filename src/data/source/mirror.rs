//! A folder on a web server.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use ureq::Agent;

use crate::data::archive;
use crate::data::intake::{Intake, SourceError};
use crate::data::source::download::{self, Download};
use crate::data::source::{Source, supply_tar};
use crate::dataset::pin::Pin;
use crate::digest::Digest;

/// How a mirror holds a set.
pub(super) enum Form {
    /// Each file as `<name>.gz`.
    GzipFiles,
    /// All of them in one archive of this name.
    TarGz(&'static str),
}

pub(super) struct Mirror {
    base: String,
    form: Form,
    agent: Agent,
}

impl Mirror {
    /// `base` is the URL of the folder, without a slash at its end.
    pub(super) fn new(base: String, form: Form) -> Self {
        let agent = download::agent(base.starts_with("https://"));
        Self { base, form, agent }
    }

    /// Downloads one file, resuming what is left of an earlier try, and hands it to `take`.
    ///
    /// When a resumed file is refused, the old half may be to blame: it is fetched once more from the start.
    fn deliver(
        &self,
        file: &str,
        unpacked: u64,
        intake: &mut Intake<'_>,
        take: impl Fn(File, &mut Intake<'_>) -> Result<(), SourceError>,
    ) -> Result<(), SourceError> {
        let url = format!("{}/{file}", self.base);
        let part = part_path(intake.parts(), &url);
        let download = Download { agent: &self.agent, url: &url, part: &part, limit: packed_limit(unpacked) };
        let resumed = part.exists();
        download.complete(intake)?;
        let mut taken = take(open(&part)?, intake);
        remove(&part)?;
        if let (true, Err(SourceError::Refused(reason))) = (resumed, &taken) {
            intake
                .note(&format!("{url}: what was resumed is refused ({reason}); fetching it from the start"));
            download.complete(intake)?;
            taken = take(open(&part)?, intake);
            remove(&part)?;
        }
        taken.map_err(|error| match error {
            SourceError::Refused(reason) => SourceError::Refused(format!("{file}: {reason}")),
            fatal => fatal,
        })
    }

    fn supply_file(&self, pin: &Pin, intake: &mut Intake<'_>) -> Result<(), SourceError> {
        self.deliver(&format!("{}.gz", pin.file), pin.bytes, intake, |part, intake| {
            intake.accept(pin, archive::gunzip(part, archive::MAX_UNPACKED))
        })
    }
}

impl Source for Mirror {
    fn describe(&self) -> String {
        self.base.clone()
    }

    fn supply(&self, intake: &mut Intake<'_>) -> Result<(), SourceError> {
        match self.form {
            Form::GzipFiles => intake.missing().iter().try_for_each(|pin| self.supply_file(pin, intake)),
            Form::TarGz(archive) => self.deliver(archive, intake.spec().bytes(), intake, |part, intake| {
                supply_tar(archive::gunzip(part, archive::MAX_UNPACKED), intake)
            }),
        }
    }
}

/// Compressed data is hardly ever longer than what it holds; the allowance is for headers.
fn packed_limit(unpacked: u64) -> u64 {
    unpacked + unpacked / 64 + (1 << 20)
}

/// Parts of different mirrors are kept apart: the same file may be compressed differently there.
fn part_path(parts: &Path, url: &str) -> PathBuf {
    let file = url.rsplit('/').next().unwrap_or_default();
    parts.join(format!("{}-{file}.part", Digest::of(url.as_bytes()).short()))
}

fn open(part: &Path) -> Result<File, SourceError> {
    File::open(part).map_err(SourceError::cache(part))
}

fn remove(part: &Path) -> Result<(), SourceError> {
    match fs::remove_file(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(SourceError::cache(part)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod loopback;
#[cfg(test)]
mod tests;
