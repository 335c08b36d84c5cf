//! An explanation as other pages know it: from the `explanation.json` beside its page.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::analyse::study::Explanation;
use crate::experiment::claim::Claim;
use crate::experiment::study::Study;
use crate::experiment::{Arm, Config};
use crate::language::{Language, Localised};
use crate::report::PAGE;
use crate::report::study::wire::{self, FORMAT};
use crate::report::view::ExplanationView;

/// What its page says first, in so many sentences.
const SENTENCES: usize = 3;

#[derive(Clone, PartialEq, Debug)]
pub struct Explained {
    /// Name of the folder of its page.
    pub folder: String,
    pub title: Localised,
    pub says: Vec<Localised>,
    /// Whether its page is there in Korean too.
    pub is_korean: bool,
    /// Plan it was measured under.
    pub plan: String,
    /// What its page was made from, where that lies beside it.
    pub source: Option<Box<(Study, Explanation)>>,
    /// What the two levels set whose times it explains; absent where they are of two experiments, and in a demonstration,
    /// which explains nothing.
    levels: Option<[Map<String, Value>; 2]>,
}

#[derive(Deserialize)]
struct Wire {
    title: String,
    base: String,
    low: WireLevel,
    high: WireLevel,
    demonstration: Option<Value>,
    says: Vec<String>,
    /// Absent in those that older versions wrote.
    korean: Option<WireSaid>,
}

#[derive(Deserialize)]
struct WireSaid {
    title: String,
    says: Vec<String>,
}

#[derive(Deserialize)]
struct WireLevel {
    experiment: String,
    set: Map<String, Value>,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

impl Explained {
    /// Those whose pages lie in `folder`, each in a folder of its own: what is there decides, whatever it is called. And the
    /// reasons why others cannot be linked.
    pub fn all_in(folder: &Path) -> (Vec<Self>, Vec<String>) {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut folders: Vec<PathBuf> =
            entries.map(|entry| entry.path()).filter(|folder| has_page(folder)).collect();
        folders.sort();
        let (mut found, mut problems) = (Vec::new(), Vec::new());
        for folder in folders {
            let (path, name) = (folder.join(wire::NAME), folder.file_name().unwrap_or_default());
            // Most folders hold the page of an experiment.
            let Ok(json) = fs::read_to_string(&path) else { continue };
            match Self::parse(&name.to_string_lossy(), &json) {
                Ok(explained) => {
                    let is_korean = explained.is_korean && folder.join(Language::Ko.file(PAGE)).exists();
                    found.push(Self { is_korean, ..explained });
                }
                Err(reason) => problems.push(format!("'{}' is not linked: {reason}", path.display())),
            }
        }
        (found, problems)
    }

    /// `json` is what lies in `folder`.
    pub fn parse(folder: &str, json: &str) -> Result<Self, String> {
        let Format { format } = serde_json::from_str(json).map_err(|error| error.to_string())?;
        if format != FORMAT {
            return Err(format!("has format {format}, expected {FORMAT}"));
        }
        let wire: Wire = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let is_one = wire.low.experiment == wire.high.experiment && wire.low.set != wire.high.set;
        let korean = wire.korean;
        let says = wire.says.into_iter().enumerate().map(|(index, said)| {
            Localised::of(said, korean.as_ref().and_then(|korean| korean.says.get(index).cloned()))
        });
        Ok(Self {
            folder: folder.to_owned(),
            title: Localised::of(wire.title, korean.as_ref().map(|korean| korean.title.clone())),
            says: says.take(SENTENCES).collect(),
            is_korean: korean.is_some(),
            plan: wire.base,
            source: None,
            levels: (is_one && wire.demonstration.is_none()).then_some([wire.low.set, wire.high.set]),
        })
    }

    /// Whether `claim` compares times of both levels, under no other plan than the one that was measured. `arms` are those it
    /// speaks of.
    pub fn concerns(&self, claim: &Claim, arms: &[Arm]) -> bool {
        let Some(levels) = &self.levels else { return false };
        claim.tests.iter().filter(|test| test.metric.quantity.facts().is_timing).any(|test| {
            let compared = test.statement.arms();
            let is_of_plan = |arm: &Arm| arm.varied.name.is_none_or(|name| name.to_string() == self.plan);
            let is_level = |set, arm: &Arm| is_of_plan(arm) && is_at(set, &arm.config);
            levels.iter().all(|set| compared.iter().any(|&arm| is_level(set, &arms[arm])))
        })
    }
}

fn has_page(folder: &Path) -> bool {
    Language::ALL.into_iter().any(|language| folder.join(language.file(PAGE)).exists())
}

/// Whether the config has all that a level sets.
fn is_at(set: &Map<String, Value>, config: &Config) -> bool {
    let tree = serde_json::to_value(config).unwrap_or_default();
    set.iter().all(|(key, value)| tree.pointer(&format!("/{}", key.replace('.', "/"))) == Some(value))
}

impl ExplanationView {
    /// As seen from a page to which `up` leads from the folder of all pages, and whose runs are of `plan`.
    pub(super) fn of(explained: &Explained, up: &str, plan: &str, language: Language) -> Self {
        let other = if plan == explained.plan { "" } else { plan };
        let page = if explained.is_korean { language } else { Language::En };
        Self {
            href: format!("{up}{}/{}", explained.folder, page.file(PAGE)),
            title: explained.title.to(language).to_owned(),
            plan: explained.plan.clone(),
            other_plan: other.to_owned(),
            says: explained.says.iter().map(|said| said.to(language).to_owned()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::samples;
    use crate::analyse::study::Demonstration;
    use crate::experiment::plan::PlanName;
    use crate::report::study::tests::Sample;

    fn explained(demonstration: Option<Demonstration>) -> Explained {
        Explained::parse("explain-it", &Sample::new(demonstration).file("explanation.json")).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let explained = explained(None);
        assert_eq!((explained.title.en(), explained.plan.as_str()), ("Why is a large batch slow?", "eager"));
        assert!(
            explained.says[0].en().starts_with("An image with batch 1024 takes 1."),
            "{:?}",
            explained.says
        );
        assert!(explained.levels.is_some());
        assert!(Explained::parse("x", "{}").is_err());
        let old = Explained::parse("x", r#"{"format":1,"base":"eager"}"#).unwrap_err();
        assert_eq!(old, "has format 1, expected 2");
    }

    #[test]
    fn it_concerns_claims_that_compare_the_times_of_its_levels() {
        let concerns = |tests: &str, explained: &Explained| {
            let claim = format!("[[claims]]\nid = \"X\"\nsays = \"a claim\"\ntests = [{tests}]\n");
            let experiment = samples::parse(&format!("{}\n{claim}", samples::TOML));
            let arms = &experiment.profile.arms;
            explained.concerns(&experiment.claims[0], arms)
        };
        let time = r#"{ metric = "train_minutes", order = "1024 > 64 > 128", margin = 0.02 }"#;
        assert!(concerns(time, &explained(None)));
        assert!(!concerns(time, &explained(Some(Demonstration::Alike))), "a demonstration explains nothing");
        for other in [
            r#"{ metric = "train_minutes", order = "64 > 128", margin = 0.02 }"#,
            r#"{ metric = "val_acc", order = "64 > 1024", margin = 0.02 }"#,
            r#"{ metric = "load_share", bound = "1024 > 0.5", margin = 0.02 }"#,
        ] {
            assert!(!concerns(other, &explained(None)), "{other}");
        }
        // Arms that are under another plan than the one that was measured are none of its concern.
        let claim = format!("[[claims]]\nid = \"X\"\nsays = \"a claim\"\ntests = [{time}]\n");
        let mut experiment = samples::parse(&format!("{}\n{claim}", samples::TOML));
        for (name, expected) in [(PlanName::Eager, true), (PlanName::Tuned, false)] {
            experiment.profile.arms.iter_mut().for_each(|arm| arm.varied.name = Some(name));
            assert_eq!(explained(None).concerns(&experiment.claims[0], &experiment.profile.arms), expected);
        }
    }
}
