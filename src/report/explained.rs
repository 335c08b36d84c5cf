//! An explanation as other pages know it: from the `explanation.json` beside its page.

use serde::Deserialize;
use serde_json::Value;

use crate::experiment::Arm;
use crate::experiment::claim::{Claim, Statement};
use crate::report::explain::wire::FORMAT;
use crate::report::view::ExplanationView;

/// What its page says first, in so many sentences.
const SENTENCES: usize = 3;

#[derive(Clone, PartialEq, Debug)]
pub struct Explained {
    /// Name of the folder of its page.
    pub folder: String,
    pub title: String,
    pub says: Vec<String>,
    /// Plan it was measured under.
    pub plan: String,
    /// The two batches whose times it explains; absent in a demonstration, which explains nothing.
    batches: Option<(u32, u32)>,
}

#[derive(Deserialize)]
struct Wire {
    format: u32,
    base: String,
    small: u32,
    large: u32,
    demonstration: Option<Value>,
    /// Absent in what was written before pages were linked by it, as `says` is.
    title: Option<String>,
    #[serde(default)]
    says: Vec<String>,
}

impl Explained {
    /// `json` is what lies in `folder`.
    pub fn parse(folder: &str, json: &str) -> Result<Self, String> {
        let wire: Wire = serde_json::from_str(json).map_err(|error| error.to_string())?;
        if wire.format != FORMAT {
            return Err(format!("has format {}, expected {FORMAT}", wire.format));
        }
        Ok(Self {
            folder: folder.to_owned(),
            title: wire.title.unwrap_or_else(|| folder.to_owned()),
            says: wire.says.into_iter().take(SENTENCES).collect(),
            plan: wire.base,
            batches: wire.demonstration.is_none().then_some((wire.small, wire.large)),
        })
    }

    /// Whether `claim` compares times of both batches. `arms` are those it speaks of.
    pub fn concerns(&self, claim: &Claim, arms: &[Arm]) -> bool {
        let Some((small, large)) = self.batches else { return false };
        claim.tests.iter().filter(|test| test.metric.quantity.facts().is_timing).any(|test| {
            let compared = compared(&test.statement);
            let has = |batch| compared.iter().any(|&arm| arms[arm].config.train.batch == batch);
            has(small) && has(large)
        })
    }
}

fn compared(statement: &Statement) -> Vec<usize> {
    match statement {
        Statement::Order(arms) | Statement::Rises(arms) | Statement::Falls(arms) => arms.clone(),
        Statement::Equal(a, b) => vec![*a, *b],
        Statement::Above(..) | Statement::Below(..) => Vec::new(),
    }
}

impl ExplanationView {
    /// As seen from a page to which `up` leads from the folder of all pages, and whose runs are of `plan`.
    pub fn of(explained: &Explained, up: &str, plan: &str) -> Self {
        let other = if plan == explained.plan { "" } else { plan };
        Self {
            href: format!("{up}{}/index.html", explained.folder),
            title: explained.title.clone(),
            plan: explained.plan.clone(),
            other_plan: other.to_owned(),
            says: explained.says.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::explain::{Demonstration, Explanation, simulated};
    use crate::analyse::samples;
    use crate::report::explain::to_json;

    fn explained(demonstration: Option<Demonstration>) -> Explained {
        let design = crate::analyse::explain::Design { demonstration, ..simulated::design() };
        let explanation = Explanation::of(&design, &simulated::faults(3, 8), None);
        Explained::parse("explain-it", &to_json(&explanation)).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let explained = explained(None);
        assert_eq!(
            (explained.title.as_str(), explained.plan.as_str()),
            ("Why batch 1024 is slower than batch 128", "eager")
        );
        assert!(explained.says[0].starts_with("An image in a batch of 1024 costs"), "{:?}", explained.says);
        assert_eq!(explained.batches, Some((128, 1024)));
        let old = r#"{"format":1,"base":"eager","small":128,"large":1024,"demonstration":null}"#;
        assert_eq!(Explained::parse("explain-it", old).unwrap().title, "explain-it");
        assert!(Explained::parse("x", "{}").is_err());
        assert!(Explained::parse("x", &old.replace(":1,", ":2,")).unwrap_err().contains("expected 1"));
    }

    #[test]
    fn it_concerns_claims_that_compare_the_times_of_its_batches() {
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
            r#"{ metric = "val_acc", order = "128 > 1024", margin = 0.02 }"#,
            r#"{ metric = "load_share", bound = "1024 > 0.5", margin = 0.02 }"#,
        ] {
            assert!(!concerns(other, &explained(None)), "{other}");
        }
    }
}
