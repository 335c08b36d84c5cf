//! A data set as a definition: what stands in a TOML file, compiled in or in the head of a user's own `.pin` file.

use serde::{Deserialize, Serialize};

use crate::dataset::pin::{Pin, Spec};
use crate::dataset::{MAX_CLASSES, MAX_SIDE, Shape, is_name};
use crate::digest::Digest;

/// What is known of a data set without its pixels. Kept for the life of the process, see [`Name`](super::Name).
#[derive(Debug)]
pub struct Definition {
    pub name: String,
    /// As its authors write the name, for the titles of figures.
    pub title: Option<String>,
    pub shape: Shape,
    /// What the images of each class show, by label.
    pub classes: Vec<String>,
    /// Images in the published training part; validation images are taken out of these.
    pub train: u32,
    pub test: u32,
    /// The part of a trial's config that stands for the data.
    pub digest: Digest,
    pub content: Content,
}

/// Where the pixels of a set lie in the cache.
#[derive(Debug)]
pub enum Content {
    /// In a folder of the set's name, in files as others publish them.
    Published(Published),
    /// In one file `NAME.pin`, which `pinbench data add` wrote.
    Packed(Import),
}

#[derive(Debug)]
pub struct Published {
    pub format: Format,
    pub(crate) spec: Spec,
    /// One archive that holds all files, as their authors name it.
    pub archive: Option<String>,
    /// In the order they are tried.
    pub sources: Vec<Source>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// One file of images and one of labels a part; names begin with `train` and `t10k`.
    Idx,
    /// Records of a label and an image; names begin with `data_batch` and `test_batch`.
    Cifar,
}

/// A place that files of a set can be had from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A folder on this machine, where a package of the distribution puts the files.
    Folder(String),
    /// Address of a folder on a web server, without a slash at its end.
    Mirror(String),
    /// Name and exact version of an npm package.
    Npm(String),
    /// Name of a Debian package.
    Debian(String),
}

/// How the pixels of a user's own set came to be.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// The pinbench that made it.
    pub pinbench: String,
    /// Kind of the files: `class folders`, `idx`, `cifar` or `npy`.
    pub format: String,
    /// Program and version that decoded pictures; absent where pixels were stored as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decoder: Option<String>,
    /// How pictures of another size were resized; absent where none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    #[serde(default)]
    pub resized: u32,
    /// Where the test images come from.
    pub test: String,
    /// Broken pictures that were left out, by their path below the folder.
    #[serde(default)]
    pub skipped: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// Channels, height, width.
    shape: [u32; 3],
    classes: Vec<String>,
    train: u32,
    test: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format>,
    #[serde(skip_serializing_if = "Option::is_none")]
    archive: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sources: Vec<Source>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    files: Vec<WireFile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    import: Option<Import>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireFile {
    file: String,
    bytes: u64,
    sha256: Digest,
}

/// Why a text is no definition.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    #[error(transparent)]
    Toml(#[from] toml::de::Error),
    #[error("`{key}` is {found}, expected {expected}")]
    Value { key: &'static str, found: String, expected: String },
}

fn value(key: &'static str, found: impl ToString, expected: impl ToString) -> DefinitionError {
    DefinitionError::Value { key, found: found.to_string(), expected: expected.to_string() }
}

impl Definition {
    /// Parses and checks: name, 1 or 3 channels, sides, 2 to 1,000 different classes, images in the training part.
    pub fn parse(text: &str) -> Result<Self, DefinitionError> {
        let wire: Wire = toml::from_str(text)?;
        wire.check()?;
        let Wire { name, title, shape: [channels, height, width], classes, train, test, .. } = wire;
        let shape = Shape { channels: channels as usize, height: height as usize, width: width as usize };
        let (digest, content) = match (wire.format, wire.import, wire.digest) {
            (Some(format), None, None) => {
                let spec = spec(&name, wire.files);
                let published = Published { format, spec, archive: wire.archive, sources: wire.sources };
                (spec.digest(), Content::Published(published))
            }
            (None, Some(import), Some(digest)) => (digest, Content::Packed(import)),
            _ => {
                let expected = "a `format` with [[files]], or a `digest` with [import]";
                return Err(value("format", "in the way of, or missing beside, another key", expected));
            }
        };
        Ok(Self { name, title, shape, classes, train, test, digest, content })
    }

    /// How the pixels of a user's own set came to be.
    pub fn import(&self) -> Option<&Import> {
        match &self.content {
            Content::Packed(import) => Some(import),
            Content::Published(_) => None,
        }
    }

    /// The text that [`parse`](Self::parse) reads, of a packed set.
    pub(crate) fn packed_text(&self, import: &Import) -> Result<String, toml::ser::Error> {
        let Shape { channels, height, width } = self.shape;
        toml::to_string(&Wire {
            name: self.name.clone(),
            title: self.title.clone(),
            // In range: parsed or checked from 32 bits.
            shape: [channels, height, width].map(|side| side as u32),
            classes: self.classes.clone(),
            train: self.train,
            test: self.test,
            digest: Some(self.digest),
            format: None,
            archive: None,
            sources: Vec::new(),
            files: Vec::new(),
            import: Some(import.clone()),
        })
    }
}

impl Wire {
    fn check(&self) -> Result<(), DefinitionError> {
        let [channels, height, width] = self.shape;
        let sides = 1..=MAX_SIDE;
        let mut classes: Vec<&str> = self.classes.iter().map(String::as_str).collect();
        classes.sort_unstable();
        let twice = classes.windows(2).find(|pair| pair[0] == pair[1]);
        if !is_name(&self.name) {
            Err(value("name", format!("'{}'", self.name), NAME_RULE))
        } else if self.title.as_ref().is_some_and(|title| title.trim().is_empty()) {
            Err(value("title", "empty", "a name, or no such key"))
        } else if !matches!(channels, 1 | 3) || !sides.contains(&height) || !sides.contains(&width) {
            let expected = format!("1 or 3 channels, and a height and a width of 1 to {MAX_SIDE}");
            Err(value("shape", format!("{:?}", self.shape), expected))
        } else if !(2..=MAX_CLASSES).contains(&classes.len()) {
            Err(value("classes", format!("{} names", classes.len()), format!("2 to {MAX_CLASSES} names")))
        } else if let Some(twice) = twice {
            Err(value("classes", format!("'{}' twice", twice[0]), "names that differ"))
        } else if self.train == 0 || self.test == 0 {
            Err(value("train", format!("{}, `test` {}", self.train, self.test), "at least 1 image each"))
        } else {
            Ok(())
        }
    }
}

/// What a name must be: it stands in files, in commands and in a path.
pub const NAME_RULE: &str =
    "small letters, digits, `_` and `-`, 1 to 64 of them, of which the first is a letter or a digit";

/// The strings live as long as the definition does, which is as long as the process.
fn spec(set: &str, files: Vec<WireFile>) -> Spec {
    let pin = |WireFile { file, bytes, sha256 }| Pin {
        file: String::leak(file),
        bytes,
        sha256: sha256.to_string().leak(),
    };
    Spec { set: set.to_owned().leak(), pins: files.into_iter().map(pin).collect::<Vec<_>>().leak() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "\
        name = \"pets\"\nshape = [3, 48, 64]\nclasses = [\"cat\", \"dog\"]\ntrain = 90\ntest = 10\n\
        digest = \"ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db\"\n\
        [import]\npinbench = \"0.1.0\"\nformat = \"class folders\"\ntest = \"a share of 0.1\"\n";

    #[test]
    fn a_packed_definition_is_written_as_it_is_read() {
        let own = Definition::parse(OWN).unwrap();
        let Content::Packed(import) = &own.content else { panic!("{own:?}") };
        let again = Definition::parse(&own.packed_text(import).unwrap()).unwrap();
        assert_eq!(format!("{own:?}"), format!("{again:?}"));
        assert_eq!(own.shape, Shape { channels: 3, height: 48, width: 64 });
    }

    #[test]
    fn what_no_set_can_be_is_refused_with_key_found_and_expected() {
        let many: Vec<String> = (0..1001).map(|class| format!("\"{class}\"")).collect();
        let many = format!("[{}]", many.join(", "));
        for (from, to, error) in [
            ("\"pets\"", "\"../pets\"", "`name` is '../pets', expected small letters"),
            ("[3, 48, 64]", "[2, 48, 64]", "`shape` is [2, 48, 64], expected 1 or 3 channels"),
            ("[3, 48, 64]", "[3, 0, 64]", "`shape` is [3, 0, 64]"),
            ("[\"cat\", \"dog\"]", "[\"cat\"]", "`classes` is 1 names, expected 2 to 1000 names"),
            ("[\"cat\", \"dog\"]", &many, "`classes` is 1001 names"),
            ("\"dog\"", "\"cat\"", "`classes` is 'cat' twice"),
            ("name = \"pets\"", "name = \"pets\"\ntitle = \" \"", "`title` is empty, expected a name"),
            ("train = 90", "train = 0", "`train` is 0, `test` 10, expected at least 1 image each"),
            ("test = 10\n", "test = 10\nformat = \"idx\"\n", "`format` is"),
        ] {
            let text = OWN.replacen(from, to, 1);
            let found = Definition::parse(&text).unwrap_err().to_string();
            assert!(found.starts_with(error), "{found}");
        }
        assert!(Definition::parse("name = 3").is_err());
    }
}
