//! What the page over all experiments of a folder leads with: its `index.toml`.

use std::path::Path;

use serde::Deserialize;

use crate::experiment::located::{LocatedError, Source};
use crate::language::Localised;

/// Stem of the one file in a folder of experiments that is no experiment.
pub const STEM: &str = "index";

/// The question of a folder of experiments, and in which order it is answered. What is found is not written here: it comes from
/// the verdicts.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Front {
    /// The question that all of them ask.
    pub title: Localised,
    pub why: Localised,
    /// Whose claims are put to the test, if somebody's: they are counted apart from those that were added.
    pub source: Option<FrontSource>,
    /// Ids of claims, and folders of explanations, that a reader sees first.
    #[serde(default)]
    pub findings: Vec<String>,
    /// Ids of experiments as they are read; those that are absent follow.
    #[serde(default)]
    pub order: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrontSource {
    /// Such as "the notes".
    pub name: Localised,
    /// Ids of its claims.
    pub claims: Vec<String>,
}

impl Front {
    /// Reads `text` as the content of `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, LocatedError> {
        toml::from_str(text).map_err(|error| Source { path, text }.refused(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_front_is_read_and_a_mistake_in_it_has_its_line() {
        let path = Path::new("experiments/index.toml");
        let front = Front::parse(path, "title = \"Why?\"\nwhy = \"So.\"\norder = [\"a\"]\n").unwrap();
        assert_eq!((front.title.en(), front.order.len(), front.findings.len()), ("Why?", 1, 0));
        let error =
            Front::parse(path, "title = \"Why?\"\nwhy = \"\"\nfinding = []\n").unwrap_err().to_string();
        assert!(error.contains("index.toml:3:") && error.contains("finding"), "{error}");
    }
}
