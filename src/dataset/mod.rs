//! Data sets as definitions: what each is called, its shape, its classes and the identity of its content.
//!
//! The built-in ones are TOML files that are compiled in (`builtin/`). A user's own stand in the head of their `.pin`
//! files in the data cache, and are [defined](define) when the program starts.

mod definition;
pub mod pin;

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::{LazyLock, OnceLock, RwLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use definition::{Content, Definition, DefinitionError, Format, Import, NAME_RULE, Published, Source};

use crate::digest::Digest;
use crate::text::edit_distance;

pub const MAX_CLASSES: usize = 1_000;
/// Pixels of an image's side.
pub const MAX_SIDE: u32 = 4_096;
const MAX_NAME: usize = 64;

/// A data set by its name, as an experiment writes it: `mnist`. Small enough to be copied anywhere.
///
/// A name may have no definition here: a record from another machine names its user's set. Such a set counts as one
/// without images and classes; an experiment that names it is refused, and so is loading it.
#[derive(Clone, Copy)]
pub struct Name(&'static Entry);

struct Entry {
    name: &'static str,
    definition: OnceLock<Definition>,
}

/// Size of one image, in the order its bytes are stored: channel by channel, row by row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
}

impl Shape {
    /// Bytes of one image, one a value.
    pub fn len(&self) -> usize {
        self.channels * self.height * self.width
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Display for Shape {
    /// `28×28`, or `64×48×3` with colours: width, height, channels.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×{}", self.width, self.height)?;
        if self.channels == 1 { Ok(()) } else { write!(f, "×{}", self.channels) }
    }
}

const BUILT_IN: [&str; 3] = [
    include_str!("builtin/mnist.toml"),
    include_str!("builtin/fashion_mnist.toml"),
    include_str!("builtin/cifar10.toml"),
];

/// Every name there has been in this process, in the order of the names. Entries stay: there are as many as sets that
/// files and records name.
static ENTRIES: LazyLock<RwLock<BTreeMap<&'static str, &'static Entry>>> = LazyLock::new(|| {
    let entry = |text| {
        // The compiled-in texts parse: a test reads each.
        let definition = Definition::parse(text).expect("a built-in definition");
        let entry = Entry::leaked(&definition.name);
        let _ = entry.definition.set(definition);
        (entry.name, entry)
    };
    RwLock::new(BUILT_IN.map(entry).into_iter().collect())
});

impl Entry {
    fn leaked(name: &str) -> &'static Self {
        Box::leak(Box::new(Self { name: name.to_owned().leak(), definition: OnceLock::new() }))
    }
}

/// Whether `text` can be the name of a set, see [`NAME_RULE`].
pub fn is_name(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= MAX_NAME
        && text.bytes().next().is_some_and(letter)
        && text.bytes().all(|byte| letter(byte) || matches!(byte, b'_' | b'-'))
}

/// Makes a definition known to this process, unless its name has one already.
pub fn define(definition: Definition) -> Name {
    // The name was checked when the definition was parsed.
    let name = Name::interned(&definition.name);
    let _ = name.0.definition.set(definition);
    name
}

impl Name {
    fn interned(text: &str) -> Self {
        // A panic elsewhere leaves the map whole: nothing is changed but by the one insertion.
        let mut entries = ENTRIES.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(entry) = entries.get(text) {
            return Self(entry);
        }
        let entry = Entry::leaked(text);
        entries.insert(entry.name, entry);
        Self(entry)
    }

    /// All defined sets, by name.
    pub fn all() -> Vec<Self> {
        let entries = ENTRIES.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        entries.values().map(|entry| Self(entry)).filter(|name| name.definition().is_some()).collect()
    }

    /// The sets that are fetched, not added, by name.
    pub fn built_in() -> Vec<Self> {
        Self::all().into_iter().filter(|name| name.published().is_some()).collect()
    }

    pub fn mnist() -> Self {
        Self::interned("mnist")
    }

    pub fn fashion_mnist() -> Self {
        Self::interned("fashion_mnist")
    }

    pub fn cifar10() -> Self {
        Self::interned("cifar10")
    }

    pub fn as_str(self) -> &'static str {
        self.0.name
    }

    /// What people read: the name that its authors gave it, where the definition has one.
    pub fn title(self) -> &'static str {
        self.definition().and_then(|definition| definition.title.as_deref()).unwrap_or(self.0.name)
    }

    pub fn definition(self) -> Option<&'static Definition> {
        self.0.definition.get()
    }

    /// Files and sources of a set that is not a user's own.
    pub fn published(self) -> Option<&'static Published> {
        match &self.definition()?.content {
            Content::Published(published) => Some(published),
            Content::Packed(_) => None,
        }
    }

    /// What the images of a class show.
    pub fn class_name(self, class: u16) -> &'static str {
        let classes = self.definition().map(|definition| &definition.classes[..]).unwrap_or_default();
        classes.get(usize::from(class)).map_or("?", String::as_str)
    }

    pub fn shape(self) -> Shape {
        self.definition().map_or(Shape { channels: 0, height: 0, width: 0 }, |definition| definition.shape)
    }

    pub fn classes(self) -> u16 {
        // At most MAX_CLASSES.
        self.definition().map_or(0, |definition| definition.classes.len() as u16)
    }

    /// Images in the published training part; validation images are taken out of these.
    pub fn train_len(self) -> u32 {
        self.definition().map_or(0, |definition| definition.train)
    }

    pub fn test_len(self) -> u32 {
        self.definition().map_or(0, |definition| definition.test)
    }

    /// Identity of the content, the part of a trial's config that stands for the data.
    ///
    /// For files as they are published it is the SHA-256 of what `LC_ALL=C sha256sum *` prints in the set's cache
    /// folder: one line a file, `<64 hex digits>  <file name>`, ordered by name. So anyone can check it with coreutils
    /// alone, and where the bytes came from is no part of it. For a user's own set it is the SHA-256 of its `.pin`
    /// file after the definition: sizes, labels and pixels.
    pub fn digest(self) -> Digest {
        self.definition().map_or_else(|| Digest::of(b""), |definition| definition.digest)
    }

    /// Deserializes a name that must have a definition.
    pub fn defined<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Name {}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.name.cmp(other.0.name)
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({})", self.0.name)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.name)
    }
}

impl<'de> Deserialize<'de> for Name {
    /// Takes also a name that has no definition here; see [`Name::defined`].
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if !is_name(&text) {
            return Err(serde::de::Error::custom(format!(
                "'{text}' is no name of a data set: expected {NAME_RULE}"
            )));
        }
        Ok(Self::interned(&text))
    }
}

#[derive(Debug, thiserror::Error)]
pub struct UnknownName(String);

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(found) = self;
        let known = Name::all();
        let known: Vec<&str> = known.iter().map(|name| name.as_str()).collect();
        let near = known.iter().min_by_key(|name| edit_distance(name, found));
        write!(f, "unknown data set `{found}`")?;
        if let Some(near) =
            near.filter(|near| edit_distance(near, found) <= found.chars().count().div_ceil(3))
        {
            write!(f, "; did you mean `{near}`?")?;
        }
        write!(
            f,
            " (known: {}); one of your own is added with `pinbench data add NAME FOLDER`",
            known.join(", ")
        )
    }
}

impl FromStr for Name {
    type Err = UnknownName;

    /// Finds a defined set.
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let entries = ENTRIES.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let name = entries.get(text).map(|entry| Self(entry)).filter(|name| name.definition().is_some());
        name.ok_or_else(|| UnknownName(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digests_are_pinned_because_they_are_part_of_every_trial_id() {
        let sets = [Name::mnist(), Name::fashion_mnist(), Name::cifar10()];
        assert_eq!(sets.map(|name| name.digest().to_string()), PINNED);
    }
    const PINNED: [&str; 3] = [
        "474311efcf1fd213e64768801dc6195673bffb8385179d6c55cd8748b9e2e8ca",
        "d0a13531871adf77cb1d75902c9d2a2fdf613723748f5e8c24e0169faf064dc8",
        "5fdcf57d170bdbc7da569af1dabd64d7d3c7507e9e7aa861fc7b691d5355c232",
    ];

    #[test]
    fn a_name_is_written_the_same_on_the_command_line_and_in_a_file() {
        assert_eq!(Name::built_in().len(), BUILT_IN.len());
        for name in Name::built_in() {
            assert_eq!(name.to_string().parse::<Name>().unwrap(), name);
            assert_eq!(serde_json::to_string(&name).unwrap(), format!("\"{name}\""));
        }
        let error = "mnst".parse::<Name>().unwrap_err().to_string();
        assert!(
            error.starts_with("unknown data set `mnst`; did you mean `mnist`? (known: cifar10, "),
            "{error}"
        );
        assert!(error.ends_with("is added with `pinbench data add NAME FOLDER`"), "{error}");
    }

    #[test]
    fn a_set_of_another_machine_has_a_name_and_nothing_else() {
        let name: Name = serde_json::from_str("\"of_another-machine\"").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"of_another-machine\"");
        assert_eq!((name.classes(), name.shape().len(), name.train_len()), (0, 0, 0));
        assert_eq!(name.class_name(3), "?");
        assert!(!Name::all().contains(&name) && "of_another-machine".parse::<Name>().is_err());
        for text in ["", "..", "a/b", "A", "-a", &"a".repeat(65)] {
            assert!(serde_json::from_value::<Name>(text.into()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_definition_that_comes_after_its_name_is_that_of_the_name() {
        let name: Name = serde_json::from_str("\"late\"").unwrap();
        let text = "name = 'late'\nshape = [1, 2, 3]\nclasses = ['a', 'b']\ntrain = 4\ntest = 1\n\
                    digest = '474311efcf1fd213e64768801dc6195673bffb8385179d6c55cd8748b9e2e8ca'\n\
                    import = { pinbench = '1', format = 'idx', test = '1' }";
        assert_eq!(define(Definition::parse(text).unwrap()), name);
        assert_eq!((name.classes(), name.class_name(1), name.train_len()), (2, "b", 4));
        assert_eq!("late".parse::<Name>().unwrap(), name);
        assert!(!Name::built_in().contains(&name));
    }

    #[test]
    fn pins_are_ordered_by_file_name() {
        for name in Name::built_in() {
            let pins = name.published().unwrap().spec.pins;
            assert!(pins.is_sorted_by(|one, next| one.file < next.file), "{name}");
        }
    }

    #[test]
    fn pinned_lengths_agree_with_counts_and_shape() {
        for name in [Name::mnist(), Name::fashion_mnist(), Name::cifar10()] {
            let images = (name.train_len() + name.test_len()) as usize;
            let published = name.published().unwrap();
            let headers = if published.format == Format::Idx { 2 * (16 + 8) } else { 0 };
            assert_eq!(published.spec.bytes(), (images * (name.shape().len() + 1) + headers) as u64);
        }
    }
}
