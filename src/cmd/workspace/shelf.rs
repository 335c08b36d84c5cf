//! Where experiments and studies are looked for, and how one is found by what a user calls it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use pinbench::experiment::front;
use pinbench::experiment::study::Study;
use pinbench::experiment::{Experiment, ExperimentError};
use pinbench::text::{edit_distance, shell_word};

use crate::cmd::args::WrongUsage;
use crate::cmd::built_in;

/// Where an experiment is looked for by its id.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Shelf {
    /// The folder of `--experiments`.
    Given(PathBuf),
    /// `experiments` in the current folder.
    Here,
    /// `experiments` in a folder above it.
    Above(PathBuf),
    /// In no folder: those of the study, which are inside the program.
    BuiltIn,
}

/// The experiments on a shelf, by id.
pub(super) type Known = Vec<(String, Place)>;

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Place {
    File(PathBuf),
    /// The text itself.
    BuiltIn(&'static str),
}

impl Shelf {
    pub(super) fn of(given: Option<&Path>, root: &Path) -> Self {
        if let Some(folder) = given {
            return Self::Given(folder.to_owned());
        }
        // One without a .toml file is somebody else's.
        let has_some = |folder: &&Path| tomls(&folder.join(FOLDER)).is_ok_and(|files| !files.is_empty());
        match root.ancestors().find(has_some) {
            Some(folder) if folder == root => Self::Here,
            Some(folder) => Self::Above(folder.join(FOLDER)),
            None => Self::BuiltIn,
        }
    }

    pub(super) fn folder(&self) -> Option<&Path> {
        match self {
            Self::Given(folder) | Self::Above(folder) => Some(folder),
            Self::Here => Some(Path::new(FOLDER)),
            Self::BuiltIn => None,
        }
    }

    /// The folder whose runs are meant: from anywhere below a study the same store.
    pub(super) fn home<'a>(&'a self, root: &'a Path) -> &'a Path {
        match self {
            Self::Above(folder) => folder.parent().unwrap_or(root),
            _ => root,
        }
    }

    /// Words of a command line, and the option without which they would mean another experiment.
    pub(super) fn with_option(&self, mut words: Vec<String>) -> String {
        if let Self::Given(folder) = self {
            words.push(format!("--experiments {}", shell_word(&folder.to_string_lossy())));
        }
        words.join(" ")
    }

    /// The same for whoever reads it on another machine, where an absolute path leads nowhere: of such a folder its own name.
    pub(super) fn with_told_option(&self, words: Vec<String>) -> String {
        match self {
            Self::Given(folder) if folder.is_absolute() => {
                let name = folder.file_name().map_or_else(|| folder.clone(), PathBuf::from);
                Self::Given(name).with_option(words)
            }
            _ => self.with_option(words),
        }
    }

    pub(super) fn known(&self) -> Result<Known> {
        let Some(folder) = self.folder() else {
            let all = built_in::EXPERIMENTS.iter();
            return Ok(all.map(|&(id, text)| (id.to_owned(), Place::BuiltIn(text))).collect());
        };
        tomls(folder).map_err(|error| {
            let folder = folder.display();
            WrongUsage(format!(
                "cannot read the experiments in '{folder}': {error}; give --experiments the folder of their files, or leave \
                 it out for those of a folder 'experiments' here or above, else those built into the program"
            ))
            .into()
        })
    }

    pub(super) fn find(&self, known: &[(String, Place)], asked: &str) -> Result<(String, Place)> {
        let found =
            find(known, asked, "experiment").map_err(|reason| WrongUsage(format!("{reason}, {self}")))?;
        Ok(found.clone())
    }
}

/// Where that is, as part of a sentence.
impl std::fmt::Display for Shelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.folder() {
            Some(folder) => write!(f, "in '{}'", folder.display()),
            None => f.write_str("built into the program, for there is no folder 'experiments' here or above"),
        }
    }
}

/// Of experiments that no `--experiments` names.
const FOLDER: &str = "experiments";

/// Of studies.
pub(super) const STUDIES: &str = "studies";

/// Stem and path of each .toml file in a folder, by stem, but for the folder's front.
pub(super) fn tomls(folder: &Path) -> std::io::Result<Known> {
    let mut found = Known::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_front = path.file_stem().is_some_and(|stem| stem == front::STEM);
        let is_toml = !is_front && path.extension().is_some_and(|extension| extension == "toml");
        if let Some(stem) = path.file_stem().filter(|_| is_toml) {
            found.push((stem.to_string_lossy().into_owned(), Place::File(path)));
        }
    }
    found.sort_by(|left, right| left.0.cmp(&right.0));
    Ok(found)
}

impl Place {
    pub(super) fn load(&self, id: &str) -> Result<Experiment, ExperimentError> {
        match self {
            Self::File(path) => Experiment::load(path),
            Self::BuiltIn(text) => Ok(Experiment::parse(Path::new(&format!("{id}.toml")), text)?),
        }
    }

    pub(super) fn load_study(&self, id: &str) -> Result<Study> {
        Ok(match self {
            Self::File(path) => Study::load(path)?,
            Self::BuiltIn(text) => {
                Study::parse(Path::new(&format!("{id}.toml")), text).map_err(ExperimentError::from)?
            }
        })
    }

    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(one), Self::File(other)) => {
                one == other
                    || fs::canonicalize(one)
                        .ok()
                        .zip(fs::canonicalize(other).ok())
                        .is_some_and(|(a, b)| a == b)
            }
            _ => self == other,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "'{}'", path.display()),
            Self::BuiltIn(_) => f.write_str("the one built into the program"),
        }
    }
}

/// Whether an experiment is named by its file rather than by its id, which has no slash and no ending.
pub(crate) fn is_path(asked: &str) -> bool {
    asked.contains('/') || asked.ends_with(".toml")
}

/// The path so that it is taken for one again.
pub(super) fn path_word(file: &Path) -> String {
    let word = file.to_string_lossy().into_owned();
    if is_path(&word) { word } else { format!("./{word}") }
}

/// The experiment or study in the file of that path.
pub(super) fn at_path(asked: &str, what: &str) -> Result<(String, Place)> {
    let path = PathBuf::from(asked);
    let reason = match fs::metadata(&path) {
        Ok(about) if about.is_dir() => {
            let expected = match what {
                "study" => "expected a study's file".to_owned(),
                _ => format!("expected an experiment's file; for its experiments give --experiments {asked}"),
            };
            format!("'{asked}' is a folder, {expected}")
        }
        Ok(_) => {
            let stem = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            return Ok((stem, Place::File(path)));
        }
        Err(error) => format!(
            "cannot read the {what}'s file '{asked}': {error}; expected the path of a .toml file, or an id{}",
            if what == "study" { "" } else { ", which `pinbench list` has" }
        ),
    };
    Err(WrongUsage(reason).into())
}

/// Adds what is not there yet. Two experiments of one id would have one page.
pub(super) fn add(chosen: &mut Known, (id, place): (String, Place)) -> Result<(), WrongUsage> {
    match chosen.iter().find(|(other, _)| *other == id) {
        None => chosen.push((id, place)),
        Some((_, other)) if other.is(&place) => {}
        Some((_, other)) => {
            return Err(WrongUsage(format!(
                "{other} and {place} both have the id '{id}', the stem of their names; rename one, or run them in turn"
            )));
        }
    }
    Ok(())
}

/// `what` is what all of them are.
pub(super) fn find<'a>(
    known: &'a [(String, Place)],
    asked: &str,
    what: &str,
) -> Result<&'a (String, Place), String> {
    if let Some(exact) = known.iter().find(|(id, _)| id == asked) {
        return Ok(exact);
    }
    let starting: Vec<_> =
        known.iter().filter(|(id, _)| !asked.is_empty() && id.starts_with(asked)).collect();
    match starting[..] {
        [one] => Ok(one),
        [] => Err(unknown(known, asked, what)),
        _ => {
            let ids: Vec<&str> = starting.iter().map(|(id, _)| id.as_str()).collect();
            let several = if what == "study" { "studies" } else { "experiments" };
            Err(format!("'{asked}' is the start of several {several}: {}", ids.join(", ")))
        }
    }
}

fn unknown(known: &[(String, Place)], asked: &str, what: &str) -> String {
    let near = known
        .iter()
        .map(|(id, _)| (start_distance(id, asked), id))
        .filter(|(distance, id)| *distance <= 2.max(id.len().min(asked.len()) / 3))
        .min();
    let hint = near.map(|(_, id)| format!("; did you mean '{id}'?")).unwrap_or_default();
    let ids: Vec<&str> = known.iter().map(|(id, _)| id.as_str()).collect();
    format!("unknown {what} '{asked}'{hint} (known: {})", ids.join(", "))
}

/// The smaller of the edit distances of `asked` to `id` and to the start of `id` that is as long.
fn start_distance(id: &str, asked: &str) -> usize {
    let start: String = id.chars().take(asked.chars().count()).collect();
    edit_distance(id, asked).min(edit_distance(&start, asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        ["m1-batch-size", "m10-dropout", "m2-activation"]
            .map(|id| (id.to_owned(), Place::BuiltIn("")))
            .to_vec()
    }

    #[test]
    fn an_experiment_is_found_by_its_id_or_a_unique_start() {
        let known = known();
        assert_eq!(find(&known, "m2", "experiment").unwrap().0, "m2-activation");
        assert_eq!(find(&known, "m10-dropout", "experiment").unwrap().0, "m10-dropout");
        assert_eq!(
            find(&known, "m1", "experiment").unwrap_err(),
            "'m1' is the start of several experiments: m1-batch-size, m10-dropout"
        );
    }

    #[test]
    fn an_unknown_experiment_names_the_nearest_and_all() {
        let text = find(&known(), "m2-actvation", "experiment").unwrap_err();
        assert!(text.contains("did you mean 'm2-activation'?") && text.contains("m10-dropout"), "{text}");
        assert!(find(&known(), "m3", "experiment").unwrap_err().contains("did you mean"));
        assert!(!find(&known(), "something-else", "experiment").unwrap_err().contains("did you mean"));
        assert!(find(&known(), "", "experiment").is_err());
    }
}
