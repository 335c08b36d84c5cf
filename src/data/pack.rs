//! A user's own data set in one file, `NAME.pin`: its definition, then labels and pixels as the loader wants them.
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | `PINSET1` and a line feed |
//! | 4 | length *d* of the definition |
//! | *d* | the definition, TOML in UTF-8 ([`Definition`]) |
//! | 24 | channels, height, width, classes, training images *n*, test images *m* |
//! | 2*n*, 2*m* | labels of the training images, then of the test images |
//! | *n*·*p*, *m*·*p* | their pixels, *p* = channels·height·width bytes an image: channel by channel, row by row |
//!
//! All numbers are unsigned and little-endian: labels have 16 bits, the others 32. The digest in the definition is the
//! SHA-256 of everything after the definition: of the content, whatever the set is called and whoever made it. Nothing
//! is allocated from what a head claims before the file has proved to be as long as that.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use crate::data::{DataSet, Images};
use crate::dataset::{self, Content, Definition, DefinitionError, Import, Name, Shape};
use crate::digest::{Digest, Hasher};

const MAGIC: &[u8; 8] = b"PINSET1\n";
/// Names of 1,000 classes and of the pictures left out, with room to spare.
const MAX_DEFINITION: u32 = 16 << 20;
const SIZES: usize = 6 * 4;

pub const EXTENSION: &str = "pin";

#[derive(Debug, thiserror::Error)]
pub enum PackError {
    #[error("is no data set of pinbench: it starts with {found:02x?}, expected {MAGIC:02x?}")]
    Magic { found: Vec<u8> },
    #[error("is cut short or too long: {found} bytes, expected {expected}; copy it anew")]
    Length { expected: u64, found: u64 },
    #[error("has a definition of {found} bytes, expected at most {MAX_DEFINITION}")]
    Head { found: u32 },
    #[error("has a definition that is no UTF-8")]
    Utf8,
    #[error("has a definition that is none: {0}")]
    Definition(#[from] DefinitionError),
    #[error("defines '{name}' and is named '{file}'; name it '{name}.pin'")]
    Name { name: String, file: String },
    #[error("defines published files, not the content of a `.pin` file")]
    NotPacked,
    #[error(
        "holds {found:?} as channels, height, width, classes and images, its definition says {expected:?}"
    )]
    Sizes { expected: [u32; 6], found: [u32; 6] },
    #[error("has content with SHA-256 {found}, its definition says {expected}; copy it anew")]
    Digest { expected: Digest, found: Digest },
    #[error("has label {found} at image {image}, expected 0 to {last}")]
    Label { image: usize, found: u16, last: usize },
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
}

/// Images that become a set, and what is known of them.
pub(crate) struct Draft {
    pub name: String,
    pub classes: Vec<String>,
    pub train: Images,
    pub test: Images,
    pub import: Import,
}

impl Draft {
    /// Writes the set as a `.pin` file, and returns its definition.
    pub(crate) fn write(&self, mut to: impl Write) -> io::Result<Definition> {
        let mut hasher = Hasher::new();
        self.each_piece(|piece| {
            hasher.update(piece);
            Ok(())
        })?;
        let definition = Definition {
            name: self.name.clone(),
            title: None,
            shape: self.train.shape,
            classes: self.classes.clone(),
            // In range: `data add` refuses more.
            train: self.train.len() as u32,
            test: self.test.len() as u32,
            digest: hasher.finish(),
            content: Content::Packed(self.import.clone()),
        };
        let text = definition.packed_text(&self.import).map_err(io::Error::other)?;
        to.write_all(MAGIC)?;
        to.write_all(&(text.len() as u32).to_le_bytes())?;
        to.write_all(text.as_bytes())?;
        self.each_piece(|piece| to.write_all(piece))?;
        Ok(definition)
    }

    /// The content, in pieces.
    fn each_piece(&self, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let Shape { channels, height, width } = self.train.shape;
        let sizes = [channels, height, width, self.classes.len(), self.train.len(), self.test.len()];
        for size in sizes {
            take(&(size as u32).to_le_bytes())?;
        }
        for images in [&self.train, &self.test] {
            let labels: Vec<u8> = images.labels.iter().flat_map(|label| label.to_le_bytes()).collect();
            take(&labels)?;
        }
        take(&self.train.pixels)?;
        take(&self.test.pixels)
    }
}

/// The definition of a `.pin` file, without its content.
pub fn read_definition(path: &Path) -> Result<Definition, PackError> {
    head(&mut BufReader::new(File::open(path)?)).map(|(definition, _)| definition)
}

/// Reads a whole set and compares its content with its definition.
pub fn read(path: &Path) -> Result<(Definition, Images, Images), PackError> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    decode(BufReader::new(file), bytes)
}

/// What [`read`] does of a file of `len` bytes.
pub fn decode(mut from: impl Read, len: u64) -> Result<(Definition, Images, Images), PackError> {
    let (definition, at) = head(&mut from)?;
    let expected = sizes(&definition);
    let [.., train, test] = expected.map(u64::from);
    let content = SIZES as u64 + (train + test) * (2 + definition.shape.len() as u64);
    if len != at + content {
        return Err(PackError::Length { expected: at + content, found: len });
    }
    let mut hasher = Hasher::new();
    let mut take = |bytes: u64| -> Result<Vec<u8>, PackError> {
        let mut piece = vec![0; bytes as usize];
        from.read_exact(&mut piece)?;
        hasher.update(&piece);
        Ok(piece)
    };
    let found = take(SIZES as u64)?;
    let found: Vec<u32> = found.as_chunks().0.iter().map(|size| u32::from_le_bytes(*size)).collect();
    if found != expected {
        // As many were read as SIZES holds.
        let found = std::array::from_fn(|index| found[index]);
        return Err(PackError::Sizes { expected, found });
    }
    let [train_labels, test_labels] = [labels(&take(2 * train)?), labels(&take(2 * test)?)];
    let image = definition.shape.len() as u64;
    let [train_pixels, test_pixels] = [take(train * image)?, take(test * image)?];
    let found = hasher.finish();
    if found != definition.digest {
        return Err(PackError::Digest { expected: definition.digest, found });
    }
    let shape = definition.shape;
    let train = Images { pixels: train_pixels, labels: train_labels, shape };
    let test = Images { pixels: test_pixels, labels: test_labels, shape };
    for images in [&train, &test] {
        let classes = definition.classes.len();
        if let Some(image) = images.first_label_not_below(classes) {
            return Err(PackError::Label { image, found: images.labels[image], last: classes - 1 });
        }
    }
    Ok((definition, train, test))
}

fn labels(bytes: &[u8]) -> Vec<u16> {
    bytes.as_chunks().0.iter().map(|label| u16::from_le_bytes(*label)).collect()
}

fn sizes(definition: &Definition) -> [u32; 6] {
    let Shape { channels, height, width } = definition.shape;
    // In range: a definition has 32 bits for each.
    let [channels, height, width] = [channels, height, width].map(|side| side as u32);
    [channels, height, width, definition.classes.len() as u32, definition.train, definition.test]
}

/// The definition, and where the content begins.
fn head(from: &mut impl Read) -> Result<(Definition, u64), PackError> {
    let mut magic = Vec::new();
    from.by_ref().take(MAGIC.len() as u64).read_to_end(&mut magic)?;
    if magic != MAGIC {
        return Err(PackError::Magic { found: magic });
    }
    let mut len = [0; 4];
    from.read_exact(&mut len)?;
    let len = u32::from_le_bytes(len);
    if len > MAX_DEFINITION {
        return Err(PackError::Head { found: len });
    }
    let mut text = Vec::new();
    from.by_ref().take(len.into()).read_to_end(&mut text)?;
    if text.len() != len as usize {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    let definition = Definition::parse(&String::from_utf8(text).map_err(|_| PackError::Utf8)?)?;
    match definition.content {
        Content::Packed(_) => Ok((definition, (MAGIC.len() + 4) as u64 + u64::from(len))),
        Content::Published(_) => Err(PackError::NotPacked),
    }
}

/// Makes the users' own sets under `root` known, and returns what is wrong with those that are none. Reads a few KiB a
/// set; a folder that is not there has none.
pub fn define_own(root: &Path) -> Vec<(String, PackError)> {
    let Ok(entries) = std::fs::read_dir(root) else { return Vec::new() };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let mut wrong = Vec::new();
    for path in paths {
        let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
        if stem.starts_with('.') || path.extension().is_none_or(|extension| extension != EXTENSION) {
            continue;
        }
        let defined = read_definition(&path).and_then(|definition| match definition.name == stem {
            true => Ok(dataset::define(definition)),
            false => Err(PackError::Name { name: definition.name, file: format!("{stem}.{EXTENSION}") }),
        });
        if let Err(error) = defined {
            wrong.push((path.display().to_string(), error));
        }
    }
    wrong
}

/// Loads an own set: the content must be that of the definition this process has.
pub(super) fn load(name: Name, path: &Path) -> Result<DataSet, PackError> {
    let (definition, train, test) = read(path)?;
    if definition.digest != name.digest() {
        return Err(PackError::Digest { expected: name.digest(), found: definition.digest });
    }
    Ok(DataSet { name, train, test })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> Draft {
        let shape = Shape { channels: 1, height: 2, width: 3 };
        let images = |labels: Vec<u16>| Images {
            pixels: (0..labels.len() * shape.len()).map(|index| index as u8).collect(),
            labels,
            shape,
        };
        Draft {
            name: "little".to_owned(),
            classes: (0..300).map(|class| format!("class {class}")).collect(),
            train: images(vec![299, 0, 7]),
            test: images(vec![5]),
            import: Import { format: "npy".to_owned(), ..Import::default() },
        }
    }

    fn packed() -> Vec<u8> {
        let mut bytes = Vec::new();
        draft().write(&mut bytes).unwrap();
        bytes
    }

    fn decoded(bytes: &[u8]) -> Result<(Definition, Images, Images), PackError> {
        decode(bytes, bytes.len() as u64)
    }

    #[test]
    fn a_set_is_read_as_it_was_written() {
        let (definition, train, test) = decoded(&packed()).unwrap();
        assert_eq!((definition.name.as_str(), definition.train, definition.test), ("little", 3, 1));
        assert_eq!((train.labels, test.labels), (vec![299, 0, 7], vec![5]));
        assert_eq!((train.pixels, test.pixels), ((0..18).collect(), (0..6).collect()));
    }

    #[test]
    fn the_digest_is_that_of_the_content_and_knows_no_names() {
        let named = |name: &str, class: &str| {
            let mut draft = Draft { name: name.to_owned(), ..draft() };
            draft.classes[3] = class.to_owned();
            draft.write(io::sink()).unwrap().digest
        };
        assert_eq!(named("a", "cat"), named("b", "dog"));
        let bytes = packed();
        let content = bytes.len() - SIZES - 4 * (2 + 6);
        assert_eq!(Digest::of(&bytes[content..]), named("a", "cat"));
    }

    #[test]
    fn every_truncation_and_every_addition_is_refused() {
        let mut bytes = packed();
        for len in 0..bytes.len() {
            assert!(decoded(&bytes[..len]).is_err(), "{len} bytes were accepted");
        }
        bytes.push(0);
        let error = decoded(&bytes).err().unwrap().to_string();
        assert!(error.starts_with("is cut short or too long"), "{error}");
    }

    #[test]
    fn no_flipped_byte_of_the_content_is_taken() {
        let bytes = packed();
        for position in bytes.len() - SIZES - 4 * (2 + 6)..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[position] ^= 0x40;
            assert!(decoded(&bytes).is_err(), "byte {position}");
        }
    }

    #[test]
    fn a_giant_claim_is_refused_by_the_length_of_the_file() {
        let text = String::from_utf8_lossy(&packed()).replace("train = 3", "train = 4000000000");
        // The definition grew by nine digits, of which its length knows nothing: it ends within its last line.
        assert!(decoded(text.as_bytes()).is_err());
        let mut draft = draft();
        draft.train.labels = vec![999; 3];
        let mut bytes = Vec::new();
        draft.write(&mut bytes).unwrap();
        let error = decoded(&bytes).err().unwrap().to_string();
        assert_eq!(error, "has label 999 at image 0, expected 0 to 299");
    }

    #[test]
    fn own_sets_are_found_by_their_files_and_what_is_none_is_named() {
        let root = tempfile::tempdir().unwrap();
        let write = |file: &str, bytes: &[u8]| std::fs::write(root.path().join(file), bytes).unwrap();
        let mut bytes = Vec::new();
        Draft { name: "found-here".to_owned(), ..draft() }.write(&mut bytes).unwrap();
        write("found-here.pin", &bytes);
        write("other-name.pin", &bytes);
        write("text.pin", b"text");
        write(".half.pin", b"PINS");
        write("README", b"text");
        let wrong = define_own(root.path());
        let said: Vec<String> = wrong.iter().map(|(_, error)| error.to_string()).collect();
        assert_eq!(
            said,
            [
                "defines 'found-here' and is named 'other-name.pin'; name it 'found-here.pin'",
                "is no data set of pinbench: it starts with [74, 65, 78, 74], expected [50, 49, 4e, 53, 45, 54, 31, 0a]",
            ]
        );
        let name: Name = "found-here".parse().unwrap();
        assert_eq!(name.classes(), 300);
        let path = root.path().join("found-here.pin");
        assert_eq!(load(name, &path).unwrap().train.labels, [299, 0, 7]);
        assert!(define_own(&root.path().join("nothing")).is_empty());
    }
}
