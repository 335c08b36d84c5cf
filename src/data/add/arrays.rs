//! Images and labels as arrays in files: IDX, NumPy and the binary records of CIFAR.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::data::add::picture::{Picture, Size};
use crate::data::add::{AddError, Read};
use crate::data::{archive, cifar, idx, npy};

named! {
    /// What the files of a folder are.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(super) enum Kind {
        Idx = "idx",
        Npy = "npy",
        Cifar = "cifar",
    }
}

/// Files with the names of the classes, one a line in the order of the labels.
const CLASS_NAMES: [&str; 3] = ["classes.txt", "batches.meta.txt", "fine_label_names.txt"];

/// The largest array a `.gz` may hold: more than the memory of most machines that would train on it.
const MAX_UNPACKED: u64 = 64 << 30;

impl Kind {
    /// By the files' names; `None` where they are none of these.
    pub(super) fn of(folder: &Path) -> Option<Self> {
        [Self::Npy, Self::Idx, Self::Cifar].into_iter().find(|kind| !kind.files(folder).is_empty())
    }

    /// The files of this kind, by name.
    fn files(self, folder: &Path) -> Vec<PathBuf> {
        let is_mine = |path: &PathBuf| {
            let name = plain_name(path);
            path.is_file()
                && match self {
                    Self::Idx => name.contains("idx") && name.ends_with("ubyte"),
                    Self::Npy => name.ends_with(".npy"),
                    Self::Cifar => name.ends_with(".bin"),
                }
        };
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_mine).collect();
        files.sort();
        // A folder may keep what it was unpacked from: the same array twice.
        let unpacked = files.clone();
        files.retain(|path| !is_packed(path) || !unpacked.contains(&path.with_extension("")));
        files
    }

    pub(super) fn read(self, folder: &Path) -> Result<Read, AddError> {
        let files = self.files(folder);
        let (test, train): (Vec<PathBuf>, Vec<PathBuf>) =
            files.into_iter().partition(|file| is_of_test(file));
        let part = |files: &[PathBuf]| match self {
            Self::Cifar => records(files),
            Self::Idx | Self::Npy => self.pair(folder, files),
        };
        let (pictures, test) = match (train.is_empty(), test.is_empty()) {
            (false, true) => (part(&train)?, None),
            (true, _) => (part(&test)?, None),
            (false, false) => (part(&train)?, Some(part(&test)?)),
        };
        Ok(Read { format: self.name(), classes: class_names(folder)?, pictures, test, broken: Vec::new() })
    }

    /// The pictures of one file of images and one of labels.
    fn pair(self, folder: &Path, files: &[PathBuf]) -> Result<Vec<Picture>, AddError> {
        let is_labels = |file: &&PathBuf| {
            let name = plain_name(file);
            name.contains("label") || name.starts_with('y')
        };
        let (labels, images): (Vec<&PathBuf>, Vec<&PathBuf>) = files.iter().partition(is_labels);
        let ([images], [labels]) = (&images[..], &labels[..]) else {
            let found = files.iter().map(|file| plain_name(file)).collect();
            return Err(AddError::Pair { folder: folder.to_owned(), found });
        };
        let labels = self.labels(labels)?;
        let bytes = bytes(images)?;
        let said = |what: String| AddError::Format { path: (*images).clone(), what };
        let (dims, pixels) = match self {
            Self::Npy => {
                let array = npy::decode(&bytes).map_err(|error| said(error.to_string()))?;
                let pixels = array.pixels().map_err(|error| said(error.to_string()))?;
                (array.dims, pixels)
            }
            _ => {
                let array = idx::decode(&bytes).map_err(|error| said(error.to_string()))?;
                (array.dims, array.values)
            }
        };
        let Some(layout) = Layout::of(&dims) else {
            let expected = "images × height × width, with 1 or 3 channels last or second";
            return Err(said(format!("holds {dims:?} values, expected {expected}")));
        };
        if dims[0] != labels.len() {
            return Err(said(format!("holds {} images, there are {} labels", dims[0], labels.len())));
        }
        let name = plain_name(images);
        let image = |(index, pixels): (usize, &[u8])| layout.picture(&name, index, labels[index], pixels);
        Ok(pixels.chunks_exact(layout.len()).enumerate().map(image).collect())
    }

    fn labels(self, path: &Path) -> Result<Vec<u16>, AddError> {
        let bytes = bytes(path)?;
        let said = |what: String| AddError::Format { path: path.to_owned(), what };
        if self == Self::Npy {
            let labels = npy::decode(&bytes).and_then(|array| array.labels());
            return labels.map_err(|error| said(error.to_string()));
        }
        let labels = idx::decode(&bytes).map_err(|error| said(error.to_string()))?;
        Ok(labels.values.iter().map(|&label| u16::from(label)).collect())
    }
}

/// Where the values of one image stand in an array.
#[derive(Clone, Copy)]
struct Layout {
    size: Size,
    channels: usize,
    /// The channels are whole planes, else they stand pixel by pixel.
    is_planar: bool,
}

impl Layout {
    fn of(dims: &[usize]) -> Option<Self> {
        let (height, width, channels, is_planar) = match *dims {
            [_, height, width] => (height, width, 1, false),
            [_, height, width, channels @ (1 | 3)] => (height, width, channels, false),
            [_, channels @ (1 | 3), height, width] => (height, width, channels, true),
            _ => return None,
        };
        let side = |side: usize| u32::try_from(side).ok().filter(|side| *side > 0);
        Some(Self { size: Size { width: side(width)?, height: side(height)? }, channels, is_planar })
    }

    fn len(self) -> usize {
        self.size.width as usize * self.size.height as usize * self.channels
    }

    fn picture(self, file: &str, index: usize, label: u16, values: &[u8]) -> Picture {
        let plane = self.len() / self.channels;
        let pixels = if self.is_planar && self.channels > 1 {
            (0..self.len()).map(|at| values[at % self.channels * plane + at / self.channels]).collect()
        } else {
            values.to_vec()
        };
        let (size, channels) = (self.size, self.channels);
        Picture { name: format!("{file}, image {index}"), label, size, channels, pixels, is_resized: false }
    }
}

/// The pictures of CIFAR's files, one after the other: those of CIFAR-100 have a coarse label before the fine one.
fn records(files: &[PathBuf]) -> Result<Vec<Picture>, AddError> {
    let layout = Layout { size: Size { width: 32, height: 32 }, channels: 3, is_planar: true };
    let mut pictures = Vec::new();
    for path in files {
        let bytes = bytes(path)?;
        let name = plain_name(path);
        // The names are those of the authors' archives: `train.bin` and `test.bin` are of CIFAR-100.
        let labels = if name.contains("batch") { 1 } else { 2 };
        let records = cifar::records(&bytes, labels)
            .map_err(|error| AddError::Format { path: path.clone(), what: error.to_string() })?;
        let picture = |(index, record): (usize, &[u8])| {
            let (labels, pixels) = record.split_at(labels);
            layout.picture(&name, index, u16::from(labels[labels.len() - 1]), pixels)
        };
        pictures.extend(records.enumerate().map(picture));
    }
    Ok(pictures)
}

fn is_of_test(path: &Path) -> bool {
    let name = plain_name(path);
    name.contains("test") || name.contains("t10k")
}

fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

/// A file's name in small letters, without `.gz`.
fn plain_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    name.strip_suffix(".gz").map_or(name.clone(), str::to_owned)
}

fn bytes(path: &Path) -> Result<Vec<u8>, AddError> {
    let failed = |source| AddError::Read { path: path.to_owned(), source };
    if !is_packed(path) {
        return fs::read(path).map_err(failed);
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(failed)?;
    archive::gunzip(file, MAX_UNPACKED).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn class_names(folder: &Path) -> Result<Option<Vec<String>>, AddError> {
    let Some(path) = CLASS_NAMES.map(|name| folder.join(name)).into_iter().find(|path| path.is_file()) else {
        return Ok(None);
    };
    let text = fs::read_to_string(&path);
    let text = text.map_err(|source| AddError::Read { path: path.clone(), source })?;
    // What some editors begin a file with is no letter of a name.
    let text = text.trim_start_matches('\u{feff}').trim_end();
    let names: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
    match names.iter().position(String::is_empty) {
        // Which label a name belongs to is its line.
        Some(at) => {
            let what =
                format!("has nothing in line {}: expected a name a line, in the order of the labels", at + 1);
            Err(AddError::Format { path, what })
        }
        None => Ok(Some(names)),
    }
}
