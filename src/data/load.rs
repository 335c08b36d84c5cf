//! Reading a data set out of the cache into plain arrays.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::data::cifar::{self, CifarError};
use crate::data::idx::{self, IdxError};
use crate::data::pack::{self, PackError};
use crate::dataset::pin::{CopyError, Mismatch, Pin, Spec};
use crate::dataset::{Format, Name, Shape};

/// A whole data set as it was published; validation images are still part of `train`.
pub struct DataSet {
    pub name: Name,
    pub train: Images,
    pub test: Images,
}

/// Images of one shape, one byte a value.
pub struct Images {
    /// Image by image, each channel by channel and row by row: N×C×H×W.
    pub pixels: Vec<u8>,
    pub labels: Vec<u16>,
    pub shape: Shape,
}

impl Images {
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The first image whose label is none of so many classes.
    pub(crate) fn first_label_not_below(&self, classes: usize) -> Option<usize> {
        self.labels.iter().position(|&label| usize::from(label) >= classes)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("data set '{set}' is not in '{}'; run `pinbench data fetch {set}`", root.display())]
    Missing { set: &'static str, root: PathBuf },
    #[error(
        "data set '{set}' lacks '{file}' in '{}'; run `pinbench data fetch {set}`, which sets that folder aside and fetches the set anew",
        folder.display()
    )]
    MissingFile { set: &'static str, folder: PathBuf, file: &'static str },
    #[error(
        "{mismatch}, in '{}': it was not used; run `pinbench data fetch {set}`, which sets that folder aside and fetches the set anew",
        folder.display()
    )]
    Mismatch { set: &'static str, folder: PathBuf, mismatch: Mismatch },
    #[error("cannot read '{}': {source}; mend that, or run `pinbench data fetch {set}`", path.display())]
    Unreadable { set: &'static str, path: PathBuf, source: io::Error },
    #[error("'{file}' of '{set}' has the pinned SHA-256 and does not decode: {source}; please report this")]
    Format { set: &'static str, file: &'static str, source: FormatError },
    #[error(
        "data set '{set}' is of a user's own and not in '{}'; add it with `pinbench data add {set} FOLDER`, or with the '{set}.pin' that whoever made it has",
        root.display()
    )]
    NotAdded { set: &'static str, root: PathBuf },
    #[error(
        "'{}' {source}; to make it anew, remove it and run `pinbench data add {set} FOLDER`",
        path.display()
    )]
    Pack { set: &'static str, path: PathBuf, source: Box<PackError> },
}

/// Why verified bytes are no images of the set: a wrong pin, or a decoder's mistake.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    #[error(transparent)]
    Idx(#[from] IdxError),
    #[error(transparent)]
    Cifar(#[from] CifarError),
    #[error("holds {found:?} values, expected {expected:?}")]
    Dims { expected: Vec<usize>, found: Vec<usize> },
    #[error("image {image} has label {found}, the set has {classes} classes")]
    Label { image: usize, found: u16, classes: u16 },
}

/// Reads, verifies and decodes `name` from the cache under `root`.
///
/// Every file's SHA-256 is checked every time: it takes a fraction of a second, and a run on changed data
/// would be recorded under a digest that is not its own.
pub fn load(name: Name, root: &Path) -> Result<DataSet, LoadError> {
    let Some(published) = name.published() else { return load_own(name, root) };
    let folder = Folder { spec: published.spec, path: root.join(name.as_str()) };
    let (train, test) = match published.format {
        Format::Idx => {
            let part = |part, count| folder.idx(name, part, count as usize);
            (part("train", name.train_len())?, part("t10k", name.test_len())?)
        }
        Format::Cifar => (folder.cifar(name, "data_batch")?, folder.cifar(name, "test_batch")?),
    };
    Ok(DataSet { name, train, test })
}

fn load_own(name: Name, root: &Path) -> Result<DataSet, LoadError> {
    let (set, path) = (name.as_str(), place(name, root));
    if name.definition().is_none() || !path.is_file() {
        return Err(LoadError::NotAdded { set, root: root.to_owned() });
    }
    pack::load(name, &path).map_err(|source| LoadError::Pack { set, path, source: source.into() })
}

/// Where the cache under `root` has a set: a folder, or the one file of a user's own.
pub fn place(name: Name, root: &Path) -> PathBuf {
    match name.published() {
        Some(_) => root.join(name.as_str()),
        None => root.join(format!("{name}.{}", pack::EXTENSION)),
    }
}

/// Whether all files of a set are at its [`place`]; what they hold is seen when they are read.
pub fn is_present(name: Name, root: &Path) -> bool {
    let place = place(name, root);
    match name.published() {
        Some(published) => published.spec.pins.iter().all(|pin| place.join(pin.file).is_file()),
        None => place.is_file(),
    }
}

struct Folder {
    spec: Spec,
    path: PathBuf,
}

impl Folder {
    /// The `count` images and labels of one part, which is what its two files' names begin with.
    fn idx(&self, name: Name, part: &str, count: usize) -> Result<Images, LoadError> {
        let shape = name.shape();
        let mut images = Images { pixels: Vec::new(), labels: Vec::new(), shape };
        for pin in self.part(part) {
            let bytes = self.read(pin)?;
            if pin.file.contains("labels") {
                let labels = values(&bytes, &[count]).map_err(self.bad_format(pin))?;
                images.labels = labels.into_iter().map(u16::from).collect();
                self.check_labels(name, &images, pin)?;
            } else {
                let dims = [count, shape.height, shape.width];
                images.pixels = values(&bytes, &dims).map_err(self.bad_format(pin))?;
            }
        }
        Ok(images)
    }

    fn cifar(&self, name: Name, part: &str) -> Result<Images, LoadError> {
        let mut images = Images { pixels: Vec::new(), labels: Vec::new(), shape: name.shape() };
        for pin in self.part(part) {
            let bytes = self.read(pin)?;
            let mut records =
                cifar::decode_records(&bytes).map_err(|error| self.bad_format(pin)(error.into()))?;
            images.pixels.append(&mut records.pixels);
            images.labels.extend(records.labels.into_iter().map(u16::from));
            self.check_labels(name, &images, pin)?;
        }
        Ok(images)
    }

    fn check_labels(&self, name: Name, images: &Images, pin: &'static Pin) -> Result<(), LoadError> {
        let Some(image) = images.first_label_not_below(name.classes().into()) else { return Ok(()) };
        let error = FormatError::Label { image, found: images.labels[image], classes: name.classes() };
        Err(self.bad_format(pin)(error))
    }

    /// The files whose names begin with `part`, in the order of the pins.
    fn part(&self, part: &str) -> impl Iterator<Item = &'static Pin> {
        self.spec.pins.iter().filter(move |pin| pin.file.starts_with(part))
    }

    fn read(&self, pin: &'static Pin) -> Result<Vec<u8>, LoadError> {
        let set = self.spec.set;
        let path = self.path.join(pin.file);
        let unreadable = |source| LoadError::Unreadable { set, path: path.clone(), source };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.missing(pin)),
            Err(error) => return Err(unreadable(error)),
        };
        let mut bytes = Vec::with_capacity(pin.bytes as usize);
        match pin.copy_verified(file, &mut bytes) {
            Ok(()) => Ok(bytes),
            Err(CopyError::Read(error) | CopyError::Write(error)) => Err(unreadable(error)),
            Err(CopyError::Mismatch(mismatch)) => {
                Err(LoadError::Mismatch { set, folder: self.path.clone(), mismatch })
            }
        }
    }

    fn missing(&self, pin: &Pin) -> LoadError {
        let (set, folder) = (self.spec.set, self.path.clone());
        if folder.exists() {
            return LoadError::MissingFile { set, folder, file: pin.file };
        }
        LoadError::Missing { set, root: folder.parent().map(Path::to_owned).unwrap_or(folder) }
    }

    fn bad_format(&self, pin: &'static Pin) -> impl FnOnce(FormatError) -> LoadError + use<> {
        let set = self.spec.set;
        move |source| LoadError::Format { set, file: pin.file, source }
    }
}

fn values(bytes: &[u8], dims: &[usize]) -> Result<Vec<u8>, FormatError> {
    let idx = idx::decode(bytes)?;
    if idx.dims != dims {
        return Err(FormatError::Dims { expected: dims.to_vec(), found: idx.dims });
    }
    Ok(idx.values.to_vec())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::data::root::root;
    use crate::dataset::pin;

    fn error(name: Name, root: &Path) -> String {
        match load(name, root) {
            Ok(_) => panic!("'{name}' was loaded from '{}'", root.display()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_missing_set_is_an_error_with_the_command_that_fetches_it() {
        let root = tempfile::tempdir().unwrap();
        let text = error(Name::cifar10(), root.path());
        assert!(text.starts_with("data set 'cifar10' is not in '"), "{text}");
        assert!(text.ends_with("run `pinbench data fetch cifar10`"), "{text}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("mnist")).unwrap();
        let text = error(Name::mnist(), root.path());
        assert!(text.starts_with("data set 'mnist' lacks 'train-images-idx3-ubyte' in '"), "{text}");
    }

    #[test]
    fn a_wrong_file_is_refused_with_file_expected_found_and_the_command_to_run() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("mnist")).unwrap();
        let file = File::create(root.path().join("mnist/train-images-idx3-ubyte")).unwrap();
        file.set_len(47_040_016).unwrap();
        let text = error(Name::mnist(), root.path());
        assert!(text.starts_with("'train-images-idx3-ubyte' has SHA-256 "), "{text}");
        assert!(text.contains(", expected ba891046e6505d7a"), "{text}");
        assert!(text.contains("run `pinbench data fetch mnist`"), "{text}");
        file.set_len(5).unwrap();
        let text = error(Name::mnist(), root.path());
        assert!(
            text.starts_with("'train-images-idx3-ubyte' is cut short: 5 bytes, expected 47040016"),
            "{text}"
        );
    }

    #[test]
    fn a_folder_in_place_of_a_file_is_an_error_with_its_path() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("mnist/train-images-idx3-ubyte")).unwrap();
        let text = error(Name::mnist(), root.path());
        assert!(text.starts_with("cannot read '"), "{text}");
    }

    #[test]
    fn records_of_several_batches_follow_each_other() {
        let home = tempfile::tempdir().unwrap();
        let [one, two] = [&[3, 8][..], &[0]].map(cifar::fake::records);
        fs::write(home.path().join("data_batch_1.bin"), &one).unwrap();
        fs::write(home.path().join("data_batch_2.bin"), &two).unwrap();
        let spec = pin::fake::spec("set", &[("data_batch_1.bin", &one), ("data_batch_2.bin", &two)]);
        let folder = Folder { spec, path: home.path().to_owned() };
        let images = folder.cifar(Name::cifar10(), "data_batch").unwrap();
        assert_eq!(images.labels, [3, 8, 0]);
        assert_eq!(images.pixels.len(), 3 * images.shape.len());
    }

    #[test]
    fn sizes_that_are_not_the_sets_own_are_refused() {
        let one_label = [0, 0, 8, 1, 0, 0, 0, 1, 7];
        assert_eq!(values(&one_label, &[1]).unwrap(), [7]);
        let text = values(&one_label, &[2]).unwrap_err().to_string();
        assert_eq!(text, "holds [1] values, expected [2]");
    }

    /// The set from this machine's cache. Without it the test fails, and says with which command to get it: it passed in
    /// silence, and nobody knew that it had looked at nothing.
    fn real(name: Name) -> DataSet {
        let root = root().unwrap_or_else(|error| panic!("{error}"));
        load(name, &root).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn real_sets_have_their_counts_and_every_class_in_both_parts() {
        for set in Name::built_in().into_iter().map(real) {
            for (images, count) in [(&set.train, set.name.train_len()), (&set.test, set.name.test_len())] {
                assert_eq!(images.len(), count as usize, "{}", set.name);
                assert_eq!(images.pixels.len(), images.len() * set.name.shape().len(), "{}", set.name);
                assert!((0..set.name.classes()).all(|class| images.labels.contains(&class)), "{}", set.name);
            }
        }
    }

    #[test]
    fn real_sets_start_with_the_published_labels() {
        let published = [
            (Name::mnist(), [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]),
            (Name::fashion_mnist(), [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]),
            (Name::cifar10(), [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]),
        ];
        for (name, labels) in published {
            assert_eq!(real(name).test.labels[..10], labels, "{name}");
        }
    }
}
