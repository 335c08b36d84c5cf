//! A folder or archive that is already on this machine.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::data::archive;
use crate::data::intake::{Intake, SourceError};
use crate::data::source::{Source, supply_tar};
use crate::dataset::pin::Pin;

/// Where the files lie below the folder that a user names: as torchvision, the CIFAR-10 archive and registry
/// packages lay them out. Another pinbench cache is found under the name of the set.
const PLACES: [&str; 5] = ["", "raw", "MNIST/raw", "FashionMNIST/raw", "cifar-10-batches-bin"];

/// Files raw or gzipped in a folder, or in an archive there, or in the archive that `path` itself is.
pub(super) struct Folder {
    path: PathBuf,
    archive: Option<&'static str>,
}

impl Folder {
    pub(super) fn new(path: PathBuf, archive: Option<&'static str>) -> Self {
        Self { path, archive }
    }

    /// Tries every file that could be `pin`, and returns why those that exist were refused.
    fn supply_pin(&self, pin: &Pin, intake: &mut Intake<'_>) -> Result<Option<String>, SourceError> {
        let mut refused = None;
        for path in self.candidates(pin, intake.spec().set) {
            match supply_file(&path, pin, intake) {
                Ok(()) => return Ok(None),
                Err(SourceError::Refused(reason)) => refused = Some(format!("{}: {reason}", path.display())),
                Err(fatal) => return Err(fatal),
            }
        }
        Ok(refused)
    }

    fn candidates(&self, pin: &Pin, set: &str) -> Vec<PathBuf> {
        // The files are also handed around as `train-images.idx3-ubyte`.
        let dotted = pin.file.replace("-idx", ".idx");
        let names = [pin.file.to_owned(), format!("{}.gz", pin.file), format!("{dotted}.gz"), dotted];
        let places = PLACES.into_iter().chain([set]);
        let paths = places.flat_map(|place| names.iter().map(move |name| Path::new(place).join(name)));
        paths.map(|path| self.path.join(path)).filter(|path| path.is_file()).collect()
    }
}

impl Source for Folder {
    fn describe(&self) -> String {
        format!("'{}'", self.path.display())
    }

    fn supply(&self, intake: &mut Intake<'_>) -> Result<(), SourceError> {
        if !self.path.exists() {
            return Err(SourceError::Refused("does not exist".to_owned()));
        }
        if self.path.is_file() {
            return supply_archive(&self.path, intake);
        }
        let mut refused = Vec::new();
        for pin in intake.missing() {
            refused.extend(self.supply_pin(&pin, intake)?);
        }
        let archive = self.archive.map(|archive| self.path.join(archive)).filter(|path| path.is_file());
        match archive {
            Some(archive) if !intake.is_complete() => supply_archive(&archive, intake),
            _ if refused.is_empty() => Ok(()),
            _ => Err(SourceError::Refused(refused.join("; "))),
        }
    }
}

fn supply_file(path: &Path, pin: &Pin, intake: &mut Intake<'_>) -> Result<(), SourceError> {
    let file = File::open(path)?;
    if path.extension().is_some_and(|extension| extension == "gz") {
        intake.accept(pin, archive::gunzip(file, archive::MAX_UNPACKED))
    } else {
        intake.accept(pin, file)
    }
}

pub(super) fn supply_archive(path: &Path, intake: &mut Intake<'_>) -> Result<(), SourceError> {
    let file = File::open(path)?;
    supply_tar(archive::gunzip(file, archive::MAX_UNPACKED), intake)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::data::archive::fake::{gzip, tar};
    use crate::data::intake::fake::missing_after;
    const CIFAR_ARCHIVE: &str = "cifar-10-binary.tar.gz";
    use crate::dataset::pin;

    const ONE: &str = "train-images-idx3-ubyte";
    const TWO: &str = "train-labels-idx1-ubyte";

    /// What is missing after a set of two files was looked for in a folder with `files`.
    fn missing_with(files: &[(&str, Vec<u8>)]) -> Result<Vec<&'static str>, String> {
        let home = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = home.path().join("from").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let spec = pin::fake::spec("set", &[(ONE, b"images"), (TWO, b"labels")]);
        let source = Folder::new(home.path().join("from"), Some(CIFAR_ARCHIVE));
        missing_after(spec, &home, |intake| source.supply(intake))
    }

    #[test]
    fn files_are_found_raw_gzipped_dotted_and_in_the_usual_subfolders() {
        let raw = |path| (path, b"images".to_vec());
        let zipped = |path| (path, gzip(b"labels"));
        for files in [
            [raw(ONE), zipped("train-labels-idx1-ubyte.gz")],
            [raw("train-images.idx3-ubyte"), zipped("raw/train-labels.idx1-ubyte.gz")],
            [raw("MNIST/raw/train-images-idx3-ubyte"), zipped("set/train-labels-idx1-ubyte.gz")],
        ] {
            assert_eq!(missing_with(&files), Ok(vec![]), "{files:?}");
        }
    }

    #[test]
    fn a_wrong_file_is_named_and_a_right_one_beside_it_still_used() {
        let reason = missing_with(&[(ONE, b"imagez".to_vec())]).unwrap_err();
        assert!(reason.contains("from/train-images-idx3-ubyte: '"), "{reason}");
        assert!(reason.contains("expected"), "{reason}");
        let both = [(ONE, b"imagez".to_vec()), ("train-images-idx3-ubyte.gz", gzip(b"images"))];
        assert_eq!(missing_with(&both), Ok(vec![TWO]));
    }

    #[test]
    fn a_truncated_gzip_file_is_refused_with_its_path() {
        let mut zipped = gzip(b"images");
        zipped.truncate(zipped.len() - 4);
        let reason = missing_with(&[("train-images-idx3-ubyte.gz", zipped)]).unwrap_err();
        assert!(reason.contains("train-images-idx3-ubyte.gz"), "{reason}");
    }

    #[test]
    fn an_archive_in_the_folder_is_picked_for_the_expected_names() {
        let archive =
            tar(&[("../../../x", b"no"), ("a/train-images-idx3-ubyte", b"images"), (TWO, b"labels")]);
        assert_eq!(missing_with(&[(CIFAR_ARCHIVE, gzip(&archive))]), Ok(vec![]));
    }

    #[test]
    fn the_path_may_be_the_archive_itself() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("any.tgz");
        fs::write(&path, gzip(&tar(&[("package/data/one", b"1")]))).unwrap();
        let spec = pin::fake::spec("set", &[("one", b"1")]);
        let missing = missing_after(spec, &home, |intake| Folder::new(path, None).supply(intake));
        assert_eq!(missing, Ok(vec![]));
    }

    #[test]
    fn a_folder_that_is_not_there_says_so() {
        let home = tempfile::tempdir().unwrap();
        let spec = pin::fake::spec("set", &[("one", b"1")]);
        let absent = Folder::new(home.path().join("absent"), None);
        let reason = missing_after(spec, &home, |intake| absent.supply(intake)).unwrap_err();
        assert_eq!(reason, "does not exist");
    }
}
