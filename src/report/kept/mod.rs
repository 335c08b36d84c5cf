//! What lies beside a page so that the page can be made again, and checked, from its folder alone.
//!
//! `page.json` says what kind of page it is and holds what no other file there does; it has the SHA-256 of every other file but
//! the pages. [`kept::experiment`], [`kept::index`] and [`kept::explanation`](crate::report::kept) write it and read it back.

pub mod experiment;
pub mod explanation;
pub mod index;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::language::Language;
use crate::report::kept::index::Index;
use crate::report::{self, Download, Explained, File, ReportError, study};

pub const NAME: &str = "page.json";
const FORMAT: u32 = 1;
/// The program that makes pages: another may write another sentence of the same numbers.
pub const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// What a folder holds the page of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Experiment,
    Index,
    Explanation,
}

/// The keys that every `page.json` has, beside those of its kind.
#[derive(Serialize, Deserialize)]
struct Wire<T> {
    format: u32,
    kind: Kind,
    /// Version of the program that made the page.
    pinbench: String,
    #[serde(flatten)]
    of: T,
    /// Of the files beside it that are no pages.
    sha256: BTreeMap<String, Digest>,
}

#[derive(Deserialize)]
struct Head {
    format: u32,
    kind: Kind,
}

#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    #[error("cannot read '{path}': {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "'{folder}' has no {NAME}: expected a folder that `pinbench report` or `pinbench explain` wrote, of this version or later"
    )]
    None { folder: PathBuf },
    #[error("'{path}' is of format {found}, expected {FORMAT}; use the pinbench that wrote it")]
    Format { path: PathBuf, found: u32 },
    #[error("'{path}' has changed since its page was made: its SHA-256 is {found}, expected {expected}")]
    Digest { path: PathBuf, expected: Digest, found: Digest },
    #[error("'{path}' does not hold what its page was made from: {reason}")]
    Content { path: PathBuf, reason: String },
    #[error(transparent)]
    Report(#[from] ReportError),
}

impl KeptError {
    /// Whether there is no page at the place that was named.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::None { .. } => true,
            Self::Read { source, .. } => {
                matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
            }
            _ => false,
        }
    }
}

/// What is kept in a folder; `None` where no page is that could be made again.
pub fn kind(folder: &Path) -> Result<Option<Kind>, KeptError> {
    let path = folder.join(NAME);
    match fs::read(&path) {
        Ok(bytes) => head(&path, &bytes).map(|head| Some(head.kind)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(source) => Err(KeptError::Read { path, source }),
    }
}

/// A page of a tree.
pub struct Place {
    pub kind: Kind,
    pub folder: PathBuf,
}

/// The pages in `folder`, an index after the pages it is over: that of the folder itself, those in it, and where it is no page
/// those one folder below.
pub fn tree(folder: &Path) -> Result<Vec<Place>, KeptError> {
    let own = kind(folder)?.map(|kind| Place { kind, folder: folder.to_owned() });
    if let Some(Place { kind: Kind::Experiment | Kind::Explanation, .. }) = own {
        return Ok(own.into_iter().collect());
    }
    let mut places = Vec::new();
    for (kind, folder) in index::folders(folder)?.into_values() {
        match kind {
            Kind::Index => places.extend(tree(&folder)?),
            _ => places.push(Place { kind, folder }),
        }
    }
    places.extend(own);
    match places.is_empty() {
        true => Err(KeptError::None { folder: folder.to_owned() }),
        false => Ok(places),
    }
}

/// The languages that the page in `folder` is in.
pub fn languages(kind: Kind, folder: &Path) -> Result<Vec<Language>, KeptError> {
    #[derive(Deserialize)]
    struct Made {
        #[serde(default = "explanation::all_languages")]
        languages: Vec<Language>,
    }
    Ok(Folder::<Made>::open(folder, kind)?.of.languages)
}

/// The files of the page in `folder`, made again from what lies there, in the languages it is in or in others.
pub fn remake(
    kind: Kind,
    folder: &Path,
    languages: Option<&'static [Language]>,
) -> Result<Vec<File>, KeptError> {
    match kind {
        Kind::Experiment => {
            let explanations = explanations(Explained::all_in(&folder.join("..")), languages);
            let experiment::Page { experiment, mut content } = experiment::read(folder)?;
            content.languages = languages.unwrap_or(content.languages);
            Ok(report::render(&content.input(&experiment, &explanations)?)?)
        }
        Kind::Explanation => {
            let mut page = explanation::read(folder)?;
            page.languages = languages.map_or(page.languages, <[Language]>::to_vec);
            Ok(study::render(&page)?)
        }
        Kind::Index => remake_index(folder, languages, |index| index),
    }
}

/// As [`remake`], of an index that is `changed` before.
pub fn remake_index(
    folder: &Path,
    languages: Option<&'static [Language]>,
    changed: impl FnOnce(Index) -> Index,
) -> Result<Vec<File>, KeptError> {
    let mut index = changed(index::read(folder)?);
    index.languages = languages.map_or(index.languages, <[Language]>::to_vec);
    let findings = index.front()?.map(|front| front.findings).unwrap_or_default();
    let is_made = |page: &Path| page.exists() || languages.is_some();
    let entry = |id: &String| index::entry(&folder.join(id), &findings, &index.languages, is_made);
    let entries = index.pages.iter().map(entry).collect::<Result<_, _>>()?;
    report::render_index(entries, &explanations(explained(folder), languages), &index)
}

/// Those in `folder`, each with what its page was made from, and the reasons why others cannot be linked.
pub fn explained(folder: &Path) -> (Vec<Explained>, Vec<String>) {
    let (mut explanations, mut problems) = Explained::all_in(folder);
    for one in &mut explanations {
        match explanation::read(&folder.join(&one.folder)) {
            Ok(page) => one.source = Some(Box::new((page.study, page.explanation))),
            // An older page has its sentences alone.
            Err(KeptError::None { .. }) => {}
            Err(error) => problems.push(format!("what is said of '{}' has no figure: {error}", one.folder)),
        }
    }
    (explanations, problems)
}

/// `found`, which are made again too where `languages` are asked for.
fn explanations(found: (Vec<Explained>, Vec<String>), languages: Option<&[Language]>) -> Vec<Explained> {
    let (mut explanations, _) = found;
    if let Some(languages) = languages {
        explanations.iter_mut().for_each(|one| one.is_korean = languages.contains(&Language::Ko));
    }
    explanations
}

fn head(path: &Path, bytes: &[u8]) -> Result<Head, KeptError> {
    let head: Head = parse(path, bytes)?;
    match head.format {
        FORMAT => Ok(head),
        found => Err(KeptError::Format { path: path.to_owned(), found }),
    }
}

/// `page.json` itself, the last of the `files`.
fn download<T: Serialize>(kind: Kind, of: T, files: &[Download]) -> Result<Download, ReportError> {
    let sha256 = files.iter().map(|file| (file.name.clone(), Digest::of(&file.bytes))).collect();
    let wire = Wire { format: FORMAT, kind, pinbench: PROGRAM.to_owned(), of, sha256 };
    let bytes = serde_json::to_vec_pretty(&wire).map_err(ReportError::json)?;
    Ok(Download::of(NAME, "download.page", bytes))
}

/// A folder whose `page.json` was read.
struct Folder<T> {
    path: PathBuf,
    of: T,
    sha256: BTreeMap<String, Digest>,
}

impl<T: DeserializeOwned> Folder<T> {
    fn open(path: &Path, kind: Kind) -> Result<Self, KeptError> {
        let file = path.join(NAME);
        let bytes = match fs::read(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(KeptError::None { folder: path.to_owned() });
            }
            bytes => bytes.map_err(|source| KeptError::Read { path: file.clone(), source })?,
        };
        match head(&file, &bytes)?.kind {
            found if found == kind => {}
            found => {
                let reason = format!("it is of kind {found:?}, expected {kind:?}").to_lowercase();
                return Err(KeptError::Content { path: file, reason });
            }
        }
        let Wire { of, sha256, .. } = parse(&file, &bytes)?;
        Ok(Self { path: path.to_owned(), of, sha256 })
    }
}

impl<T> Folder<T> {
    fn has(&self, name: &str) -> bool {
        self.sha256.contains_key(name)
    }

    /// Content of a file of the folder: the bytes that were verified are those returned.
    fn verified(&self, name: &str) -> Result<Vec<u8>, KeptError> {
        let path = self.path.join(name);
        let Some(&expected) = self.sha256.get(name) else {
            return Err(KeptError::Content {
                path: self.path.join(NAME),
                reason: format!("it names no '{name}'"),
            });
        };
        let bytes = fs::read(&path).map_err(|source| KeptError::Read { path: path.clone(), source })?;
        match Digest::of(&bytes) {
            found if found == expected => Ok(bytes),
            found => Err(KeptError::Digest { path, expected, found }),
        }
    }

    fn text(&self, name: &str) -> Result<String, KeptError> {
        String::from_utf8(self.verified(name)?).map_err(|error| self.content(name, &error))
    }

    fn json<V: DeserializeOwned>(&self, name: &str) -> Result<V, KeptError> {
        parse(&self.path.join(name), &self.verified(name)?)
    }

    fn content(&self, name: &str, reason: &dyn std::fmt::Display) -> KeptError {
        KeptError::Content { path: self.path.join(name), reason: reason.to_string() }
    }
}

fn parse<V: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<V, KeptError> {
    let content =
        |error: serde_json::Error| KeptError::Content { path: path.to_owned(), reason: error.to_string() };
    serde_json::from_slice(bytes).map_err(content)
}

/// The last part of a folder's path, as links between pages name it.
fn name_of(folder: &Path) -> String {
    // `.` and a path that ends in `..` have a name too.
    let whole = fs::canonicalize(folder);
    let folder = whole.as_deref().unwrap_or(folder);
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
