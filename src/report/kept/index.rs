//! The page over all pages of a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::analyse::ArmRuns;
use crate::experiment::front::{self, Front};
use crate::experiment::{Experiment, ProfileName};
use crate::language::Language;
use crate::report::kept::{Folder, KeptError, Kind, download, experiment, kind};
use crate::report::{Download, Entry, Input, PAGE, ReportError};

/// What an index is made from, beside the pages in its folder.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Index {
    /// Ids of the experiments whose pages lie beside it.
    pub pages: Vec<String>,
    /// Those without a page, of which no number is shown.
    pub others: Vec<Other>,
    /// Runs all of it again.
    pub command: String,
    /// Of its pages.
    pub languages: Vec<Language>,
    /// The folder's `index.toml`, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub front: Option<String>,
    /// Other indexes over the same experiments, in the folders beside this one's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub neighbours: Vec<Neighbour>,
}

/// An index that another is linked from.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Neighbour {
    /// Name of its folder.
    pub folder: String,
    pub languages: Vec<Language>,
}

impl Neighbour {
    /// Its page, from an index of this language.
    pub fn href(&self, language: Language) -> String {
        let own = self.languages.contains(&language).then_some(language);
        let file = own.or(self.languages.first().copied()).unwrap_or(Language::En).file(PAGE);
        format!("../{}/{file}", self.folder)
    }
}

/// An experiment that has no page in the folder.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Other {
    pub id: String,
    /// Its file.
    pub text: String,
    pub profile: ProfileName,
    /// Whether there are runs of it elsewhere.
    pub is_measured: bool,
}

impl Index {
    /// Ids of its experiments, with a page or without.
    fn experiments(&self) -> BTreeSet<&str> {
        self.pages.iter().chain(self.others.iter().map(|other| &other.id)).map(String::as_str).collect()
    }

    /// Those beside `folder`, in which the index lies or will: over the same experiments, as under another profile.
    pub fn with_neighbours(mut self, folder: &Path) -> Self {
        let name = super::name_of(folder);
        // A folder that is not there yet has no `..`, and one that is there may be a link.
        let parent = match folder.exists() {
            true => folder.join(".."),
            false => Path::new(".").join(folder.parent().unwrap_or(Path::new(""))),
        };
        // What cannot be read as an index is none that a reader could be sent to.
        let folders = folders(&parent).unwrap_or_default();
        let others = folders
            .into_iter()
            .filter(|(other, (kind, _))| *kind == Kind::Index && *other != name && !other.starts_with('.'));
        let neighbour = |(folder, (_, path)): (String, (Kind, PathBuf))| {
            let index = read(&path).ok().filter(|index| index.experiments() == self.experiments())?;
            Some(Neighbour { folder, languages: index.languages })
        };
        self.neighbours = others.filter_map(neighbour).collect();
        self
    }

    /// What the index leads with.
    pub fn front(&self) -> Result<Option<Front>, KeptError> {
        let path = Path::new(front::STEM).with_extension("toml");
        let parse = |text: &String| {
            Front::parse(&path, text)
                .map_err(|error| KeptError::Content { path: path.clone(), reason: error.to_string() })
        };
        self.front.as_ref().map(parse).transpose()
    }

    /// Those without a page, as the index shows them.
    pub fn others(&self) -> Result<Vec<Entry>, KeptError> {
        self.others.iter().map(|other| other.entry(&self.languages)).collect()
    }
}

impl Other {
    fn entry(&self, languages: &[Language]) -> Result<Entry, KeptError> {
        let path = PathBuf::from(format!("{}.toml", self.id));
        let refused = |reason: String| KeptError::Content { path: path.clone(), reason };
        let experiment = Experiment::parse(&path, &self.text).map_err(|error| refused(error.to_string()))?;
        let experiment = experiment
            .under(&self.profile)
            .ok_or_else(|| refused(format!("it has no profile '{}'", self.profile)))?;
        let arms = experiment.profile.arms.iter().map(|arm| ArmRuns::new(arm, Vec::new())).collect();
        let input = Input {
            experiment: &experiment,
            arms,
            left_out: None,
            explanations: &[],
            languages,
            command: String::new(),
            downloads: Vec::new(),
        };
        let entry = Entry::of(&input, |_| false, &[]).map_err(ReportError::from)?;
        Ok(if self.is_measured { entry.measured_elsewhere() } else { entry })
    }
}

/// `page.json` of an index, beside its other files.
pub(in crate::report) fn downloads(index: &Index, others: &[Download]) -> Result<Vec<Download>, ReportError> {
    let mut files = others.to_vec();
    files.push(download(Kind::Index, index, others)?);
    Ok(files)
}

pub fn read(folder: &Path) -> Result<Index, KeptError> {
    Ok(Folder::<Index>::open(folder, Kind::Index)?.of)
}

/// The folders of pages in `folder`, by name.
pub fn folders(folder: &Path) -> Result<BTreeMap<String, (Kind, PathBuf)>, KeptError> {
    let entries =
        fs::read_dir(folder).map_err(|source| KeptError::Read { path: folder.to_owned(), source })?;
    let mut found = BTreeMap::new();
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if let Some(kind) = kind(&path)? {
            found.insert(super::name_of(&path), (kind, path));
        }
    }
    Ok(found)
}

/// The entry of the page in `folder`, which lies beside an index in these languages; `findings` as for [`Entry::of`], `is_made`
/// of the page's file in a language.
pub fn entry(
    folder: &Path,
    findings: &[String],
    languages: &[Language],
    is_made: impl Fn(&Path) -> bool,
) -> Result<Entry, KeptError> {
    let experiment::Page { experiment, content } = experiment::read(folder)?;
    let input = Input { languages, ..content.input(&experiment, &[])? };
    let is_made = |language: Language| is_made(&folder.join(language.file(PAGE)));
    Ok(Entry::of(&input, is_made, findings).map_err(ReportError::from)?)
}
