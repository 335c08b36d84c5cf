//! A user's own pictures become a data set: read, brought to one size, split, packed into `NAME.pin` in the cache.
//!
//! `add` reads everything before it writes anything, and one rename makes the set: a stop leaves nothing half-made.

mod arrays;
mod folder;
mod picture;
mod warnings;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use crate::data::intake::Observer;
use crate::data::pack::{self, Draft, PackError};
use crate::data::{Images, pack::EXTENSION};
use crate::dataset::{Import, MAX_CLASSES, MAX_SIDE, NAME_RULE, Name, is_name};
use crate::digest::Digest;
use crate::stream::{Key, Seed, Stream};

pub use picture::Size;
use picture::{DECODER, FILTER, Picture};

/// What is held out for the test where neither the folder nor the user has a test part.
pub const TEST_SHARE: f64 = 0.1;

#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What every picture is brought to; they must all have one size when absent.
    pub size: Option<Size>,
    pub test: Test,
    /// Leaves broken pictures out, and records their names.
    pub skip_broken: bool,
}

/// Where the test images come from.
#[derive(Clone, Debug, Default)]
pub enum Test {
    /// From files of a test part in the folder; a share of [`TEST_SHARE`] where there are none.
    #[default]
    Found,
    /// From another folder.
    Folder(PathBuf),
    /// A share of the pictures of each class, 0 < share < 1.
    Share(f64),
}

impl Options {
    fn are_default(&self) -> bool {
        self.size.is_none() && matches!(self.test, Test::Found) && !self.skip_broken
    }
}

/// Who is told how far it is, and who says that it shall stop.
pub struct Watch<'a> {
    pub observer: &'a mut dyn Observer,
    pub is_stopped: &'a dyn Fn() -> bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Added {
    pub path: PathBuf,
    pub digest: Digest,
    /// Of each class its name, its training images and its test images.
    pub counts: Vec<(String, usize, usize)>,
    pub shape: crate::dataset::Shape,
    /// What a user should look at.
    pub warnings: Vec<String>,
    /// The same content was in the cache under this name.
    pub was_there: bool,
}

/// A picture that cannot be used, and why.
#[derive(Clone, PartialEq, Debug)]
pub struct Broken {
    pub name: String,
    pub reason: String,
}

/// The pictures of one folder.
struct Read {
    format: &'static str,
    /// Absent where labels are numbers without names.
    classes: Option<Vec<String>>,
    pictures: Vec<Picture>,
    /// A test part of its own.
    test: Option<Vec<Picture>>,
    broken: Vec<Broken>,
}

#[derive(Debug, thiserror::Error)]
pub enum AddError {
    #[error("'{0}' is no name for a data set: expected {NAME_RULE}")]
    Name(String),
    #[error("'{0}' is the name of a set that is built in; choose another one")]
    BuiltIn(Name),
    #[error("there is a set '{name}' already, with other content (digest {}); choose another name, or remove '{}'", found.short(), path.display())]
    Taken { name: String, found: Digest, path: PathBuf },
    #[error("there is a set '{name}' already, with the same images and other names of classes ({}); choose another name, or remove '{}'", found.join(", "), path.display())]
    OtherNames { name: String, found: Vec<String>, path: PathBuf },
    #[error("'{}' holds neither class folders nor arrays: expected a folder a class with PNG or JPEG files in it, IDX files (`…-idx3-ubyte`), CIFAR's `.bin` files, or `.npy` files of images and labels", .0.display())]
    Nothing(PathBuf),
    #[error("cannot read '{}': {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("'{}' {what}", path.display())]
    Format { path: PathBuf, what: String },
    #[error("'{}' holds {}: expected one file of images and one of labels, or two of each, of which one pair has `test` or `t10k` in its names", folder.display(), found.join(", "))]
    Pair { folder: PathBuf, found: Vec<String> },
    #[error("class folder '{class}' holds the folder '{}': expected pictures; where '{class}' is a part of the set, name it: `pinbench data add NAME FOLDER/train --test FOLDER/test`", folder.display())]
    Nested { class: String, folder: PathBuf },
    #[error("class '{class}' is in the test folder '{}' and not in the training folder; the two need the same names of classes", folder.display())]
    OtherClass { class: String, folder: PathBuf },
    #[error("the number of classes in '{}' is {found}, expected 2 to {MAX_CLASSES}", folder.display())]
    Classes { folder: PathBuf, found: usize },
    #[error("class {} of '{}' is {name:?}: expected a name of one line that no other class has", number, folder.display())]
    ClassName { number: usize, name: String, folder: PathBuf },
    #[error("'{}' is a set that was packed already: --size, --test, --test-share and --skip-broken are for pictures; leave them out", .0.display())]
    Packed(PathBuf),
    #[error("{} has label {label}, there are names for {classes} classes", name)]
    Label { name: String, label: u16, classes: usize },
    #[error("pictures have several sizes: '{}' is {}, '{}' is {}, and so are {} of {of} other than the first; say which one you want, as in `--size 64` or `--size 64x48`", first.0, first.1, other.0, other.1, count)]
    Sizes { first: (String, Size), other: (String, Size), count: usize, of: usize },
    #[error("size {0} is not possible: expected 1 to {MAX_SIDE} pixels a side")]
    Size(Size),
    #[error("a test share of {0} is not possible: expected above 0 and below 1, such as {TEST_SHARE}")]
    Share(f64),
    #[error("no images are left to {what}: there are {of}; add pictures, or choose another test share")]
    Empty { what: &'static str, of: usize },
    #[error("{} of {of} files are broken or no pictures:\n{}\nmend or remove them, or leave them out with `--skip-broken`, which records their names", broken.len(), listed(broken))]
    Broken { broken: Vec<Broken>, of: usize },
    #[error("'{}' {source}", path.display())]
    Pack { path: PathBuf, source: PackError },
    #[error("cannot write '{}': {source}; free some space, or set PINBENCH_DATA to a folder you can write", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("stopped; nothing was added")]
    Interrupted,
}

impl AddError {
    /// Whether another command line would do, rather than other pictures.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Name(_)
            | Self::BuiltIn(_)
            | Self::Taken { .. }
            | Self::OtherNames { .. }
            | Self::Nothing(_) => true,
            Self::Packed(_) | Self::Size(_) | Self::Share(_) | Self::Sizes { .. } => true,
            Self::Read { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }
}

/// Lines of the first so many, and how many more there are.
fn listed(broken: &[Broken]) -> String {
    const SHOWN: usize = 20;
    let lines = broken.iter().take(SHOWN).map(|Broken { name, reason }| format!("  {name}: {reason}"));
    let more = broken.len().saturating_sub(SHOWN);
    let more = (more > 0).then(|| format!("  and {more} more"));
    lines.chain(more).collect::<Vec<_>>().join("\n")
}

/// Makes `from`, a folder of pictures or arrays or a `.pin` file, the data set `name` in the cache under `root`.
pub fn add(
    name: &str,
    from: &Path,
    options: &Options,
    root: &Path,
    watch: &mut Watch<'_>,
) -> Result<Added, AddError> {
    if !is_name(name) {
        return Err(AddError::Name(name.to_owned()));
    }
    if let Some(built_in) = Name::built_in().into_iter().find(|set| set.as_str() == name) {
        return Err(AddError::BuiltIn(built_in));
    }
    check_options(options)?;
    let (draft, warnings) = if from.extension().is_some_and(|extension| extension == EXTENSION) {
        if !options.are_default() {
            return Err(AddError::Packed(from.to_owned()));
        }
        (packed(name, from)?, Vec::new())
    } else {
        draft(name, from, options, watch)?
    };
    if (watch.is_stopped)() {
        return Err(AddError::Interrupted);
    }
    install(&draft, root, warnings)
}

fn check_options(options: &Options) -> Result<(), AddError> {
    let sides = 1..=MAX_SIDE;
    match options.size {
        Some(size) if !sides.contains(&size.width) || !sides.contains(&size.height) => {
            return Err(AddError::Size(size));
        }
        _ => {}
    }
    match options.test {
        Test::Share(share) if !(share > 0.0 && share < 1.0) => Err(AddError::Share(share)),
        _ => Ok(()),
    }
}

/// A set that was handed on, whatever it was called.
fn packed(name: &str, from: &Path) -> Result<Draft, AddError> {
    let failed = |source| AddError::Pack { path: from.to_owned(), source };
    // A pipe would be waited for.
    if from.exists() && !from.is_file() {
        return Err(AddError::Format { path: from.to_owned(), what: "is no file".to_owned() });
    }
    let (definition, train, test) = pack::read(from).map_err(failed)?;
    let import = definition.import().cloned().unwrap_or_default();
    Ok(Draft { name: name.to_owned(), classes: definition.classes, train, test, import })
}

/// Reads, checks, splits; the warnings are for the user.
fn draft(
    name: &str,
    from: &Path,
    options: &Options,
    watch: &mut Watch<'_>,
) -> Result<(Draft, Vec<String>), AddError> {
    let mut read = read(from, None, options.size, watch)?;
    let mut test = match &options.test {
        Test::Folder(folder) => {
            let mut other = self::read(folder, read.classes.as_deref(), options.size, watch)?;
            read.broken.append(&mut other.broken);
            let named = other.classes.take();
            let mut pictures = other.test.unwrap_or(other.pictures);
            relabel(&mut pictures, named.as_deref(), &read, folder)?;
            Some(pictures)
        }
        Test::Found => read.test.take(),
        Test::Share(_) => {
            // A test part of its own goes with the rest, of which a share is drawn.
            read.pictures.extend(read.test.take().into_iter().flatten());
            None
        }
    };
    let skipped = skipped(&read, options.skip_broken)?;
    let classes = classes(&read, test.as_deref(), from)?;
    let (train, test, how) = match (test.take(), &options.test) {
        (Some(test), Test::Folder(_)) => (read.pictures, test, "a folder of its own".to_owned()),
        (Some(test), _) => (read.pictures, test, "files of their own".to_owned()),
        (None, test) => {
            let share = if let Test::Share(share) = test { *share } else { TEST_SHARE };
            let (train, test) = held_out(read.pictures, classes.len(), share);
            (train, test, format!("a share of {share} of each class"))
        }
    };
    let (train, test) = fit(train, test, options.size)?;
    let resized = train.iter().chain(&test).filter(|picture| picture.is_resized).count();
    let mut warnings = warnings::of(&classes, &train, &test, resized);
    warnings.extend(skipped.iter().map(|name| format!("'{name}' is broken and was left out")));
    let import = Import {
        pinbench: env!("CARGO_PKG_VERSION").to_owned(),
        format: read.format.to_owned(),
        decoder: (read.format == folder::FORMAT).then(|| DECODER.to_owned()),
        filter: (resized > 0).then(|| FILTER.to_owned()),
        resized: resized as u32,
        test: how,
        skipped,
    };
    let channels = train.iter().chain(&test).map(|picture| picture.channels).max().unwrap_or(1);
    let (train, test) = (images(train, channels)?, images(test, channels)?);
    Ok((Draft { name: name.to_owned(), classes, train, test, import }, warnings))
}

fn read(
    from: &Path,
    classes: Option<&[String]>,
    size: Option<Size>,
    watch: &mut Watch<'_>,
) -> Result<Read, AddError> {
    let failed = |source| AddError::Read { path: from.to_owned(), source };
    if !fs::metadata(from).map_err(failed)?.is_dir() {
        return Err(AddError::Nothing(from.to_owned()));
    }
    if let Some(kind) = arrays::Kind::of(from) {
        return kind.read(from);
    }
    folder::read(from, classes, size, watch)
}

/// Labels of a test folder's pictures become those of the training folder, by the names of the classes: the two may number them
/// differently. Labels without names are places among the training folder's classes, or their names where those are numbers.
fn relabel(
    pictures: &mut [Picture],
    named: Option<&[String]>,
    training: &Read,
    folder: &Path,
) -> Result<(), AddError> {
    let are_numbers = |names: &[String]| names.iter().all(|name| name.parse::<u16>().is_ok());
    let by_number = training.classes.as_deref().is_none_or(are_numbers);
    for picture in pictures {
        let number = picture.label.to_string();
        let name = match named {
            Some(names) => names.get(usize::from(picture.label)),
            None if by_number => Some(&number),
            None => continue,
        };
        // A label beyond the names is told of, with its picture, where classes are counted.
        let Some(name) = name else { continue };
        let label = match &training.classes {
            Some(classes) => classes.iter().position(|class| class == name),
            None => name.parse().ok(),
        };
        let unknown = || AddError::OtherClass { class: name.clone(), folder: folder.to_owned() };
        // Below MAX_CLASSES, which is checked with the classes.
        picture.label = label.map(|label| label.min(u16::MAX.into()) as u16).ok_or_else(unknown)?;
    }
    Ok(())
}

fn skipped(read: &Read, skip_broken: bool) -> Result<Vec<String>, AddError> {
    if read.broken.is_empty() || skip_broken {
        return Ok(read.broken.iter().map(|broken| broken.name.clone()).collect());
    }
    let of = read.pictures.len() + read.broken.len();
    Err(AddError::Broken { broken: read.broken.clone(), of })
}

/// Names of the classes: the user's, or the labels as numbers.
fn classes(read: &Read, test: Option<&[Picture]>, from: &Path) -> Result<Vec<String>, AddError> {
    let pictures = read.pictures.iter().chain(test.into_iter().flatten());
    let last = pictures.max_by_key(|picture| picture.label);
    let labels = last.map_or(0, |picture| usize::from(picture.label) + 1);
    let classes = match (&read.classes, last) {
        (Some(classes), Some(last)) if labels > classes.len() => {
            let (name, label) = (last.name.clone(), last.label);
            return Err(AddError::Label { name, label, classes: classes.len() });
        }
        (Some(classes), _) => classes.clone(),
        (None, _) => (0..labels).map(|label| label.to_string()).collect(),
    };
    check_classes(classes.len(), from)?;
    for (number, name) in classes.iter().enumerate() {
        if name.contains(char::is_control) || classes[..number].contains(name) {
            let (number, name) = (number + 1, name.clone());
            return Err(AddError::ClassName { number, name, folder: from.to_owned() });
        }
    }
    Ok(classes)
}

fn check_classes(found: usize, folder: &Path) -> Result<(), AddError> {
    match found {
        2..=MAX_CLASSES => Ok(()),
        _ => Err(AddError::Classes { folder: folder.to_owned(), found }),
    }
}

/// Takes `share` of the pictures of each class out for the test, from a fixed stream: the same pictures in the same
/// order give the same parts, on any machine. Both parts keep the order.
fn held_out(pictures: Vec<Picture>, classes: usize, share: f64) -> (Vec<Picture>, Vec<Picture>) {
    let mut of_class: Vec<Vec<usize>> = vec![Vec::new(); classes];
    for (index, picture) in pictures.iter().enumerate() {
        // Checked: labels are below the number of classes.
        of_class[usize::from(picture.label)].push(index);
    }
    let mut is_test = vec![false; pictures.len()];
    for (class, indices) in of_class.iter().enumerate() {
        let count = (share * indices.len() as f64).round() as usize;
        let drawn = Key::new(Seed(0), Stream::TestShare, 0, class as u64).permutation(indices.len() as u32);
        for &place in drawn.iter().take(count) {
            is_test[indices[place as usize]] = true;
        }
    }
    let (test, train): (Vec<_>, Vec<_>) =
        pictures.into_iter().zip(is_test).partition(|(_, is_test)| *is_test);
    let pictures = |part: Vec<(Picture, bool)>| part.into_iter().map(|(picture, _)| picture).collect();
    (pictures(train), pictures(test))
}

/// All pictures in one size, and some in each part.
fn fit(
    train: Vec<Picture>,
    test: Vec<Picture>,
    size: Option<Size>,
) -> Result<(Vec<Picture>, Vec<Picture>), AddError> {
    let of = train.len() + test.len();
    let (Some(first), false) = (train.first(), test.is_empty()) else {
        return Err(AddError::Empty { what: if train.is_empty() { "train on" } else { "test on" }, of });
    };
    let size = if let Some(size) = size {
        size
    } else {
        let odd: Vec<_> = train.iter().chain(&test).filter(|picture| picture.size != first.size).collect();
        if let Some(other) = odd.first() {
            let named = |picture: &Picture| (picture.name.clone(), picture.size);
            return Err(AddError::Sizes { first: named(first), other: named(other), count: odd.len(), of });
        }
        check_options(&Options { size: Some(first.size), ..Options::default() })?;
        first.size
    };
    let resized = |part: Vec<Picture>| part.into_iter().map(|picture| picture.resized(size)).collect();
    Ok((resized(train), resized(test)))
}

/// As the loader wants them. Each picture goes as soon as its pixels are taken over.
fn images(pictures: Vec<Picture>, channels: usize) -> Result<Images, AddError> {
    // Not empty: `fit` has seen to it.
    let shape = pictures[0].shape(channels);
    let mut pixels = Vec::with_capacity(pictures.len() * shape.len());
    let labels = pictures.iter().map(|picture| picture.label).collect();
    for picture in pictures {
        picture.append_planes(channels, &mut pixels);
    }
    Ok(Images { pixels, labels, shape })
}

fn install(draft: &Draft, root: &Path, warnings: Vec<String>) -> Result<Added, AddError> {
    let path = root.join(format!("{}.{EXTENSION}", draft.name));
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| AddError::Write { path, source }
    };
    fs::create_dir_all(root).map_err(failed(root))?;
    remove_leftovers(&draft.name, root);
    let mut builder = tempfile::Builder::new();
    let temporary = builder.prefix(&leftover_prefix(&draft.name)).tempfile_in(root).map_err(failed(root))?;
    // Whoever adds the same name meanwhile sees by the lock that this is no leftover. A file system without locks has none.
    let _ = temporary.as_file().try_lock();
    let mut writer = BufWriter::new(temporary);
    let definition = draft.write(&mut writer).and_then(|definition| {
        writer.flush()?;
        writer.get_ref().as_file().sync_all()?;
        Ok(definition)
    });
    let definition = definition.map_err(failed(&path))?;
    let temporary = writer.into_inner().map_err(|error| failed(&path)(error.into_error()))?;
    let was_there = match temporary.persist_noclobber(&path) {
        Ok(_) => false,
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            let found = pack::read(&path).map_err(|source| AddError::Pack { path: path.clone(), source })?.0;
            if found.digest != definition.digest {
                return Err(AddError::Taken { name: draft.name.clone(), found: found.digest, path });
            }
            if found.classes != definition.classes {
                return Err(AddError::OtherNames { name: draft.name.clone(), found: found.classes, path });
            }
            true
        }
        Err(error) => return Err(failed(&path)(error.error)),
    };
    fs::File::open(root).and_then(|folder| folder.sync_all()).map_err(failed(root))?;
    let counts = counts(&draft.classes, &draft.train, &draft.test);
    Ok(Added { path, digest: definition.digest, counts, shape: definition.shape, warnings, was_there })
}

fn leftover_prefix(name: &str) -> String {
    format!(".{name}.{EXTENSION}.tmp-")
}

/// What an `add` of the same name left that was killed. That it cannot be removed is no reason not to add.
fn remove_leftovers(name: &str, root: &Path) {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let prefix = leftover_prefix(name);
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)) {
        let is_in_use = fs::File::open(entry.path())
            .is_ok_and(|file| matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)));
        if !is_in_use {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn counts(classes: &[String], train: &Images, test: &Images) -> Vec<(String, usize, usize)> {
    let of = |images: &Images| {
        let mut counts = BTreeMap::new();
        images.labels.iter().for_each(|&label| *counts.entry(usize::from(label)).or_insert(0) += 1);
        counts
    };
    let (train, test) = (of(train), of(test));
    let count = |counts: &BTreeMap<usize, usize>, class: usize| counts.get(&class).copied().unwrap_or(0);
    let classes = classes.iter().enumerate();
    classes.map(|(class, name)| (name.clone(), count(&train, class), count(&test, class))).collect()
}

#[cfg(test)]
mod tests;
