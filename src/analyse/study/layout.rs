//! What a study measures: its conditions, and which of them each hypothesis compares.

use serde::{Deserialize, Serialize};

use crate::experiment::study::{Change, Level, Study, Test};
use crate::experiment::{Config, Experiment, LocatedError, Plan};
use crate::planted::Planted;
use crate::record::{Condition, Design};

/// Kept beside a measurement, so that a page is made of it whatever has become of the experiments.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Layout {
    /// From which all conditions differ by what their names say.
    pub base: Plan,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub demonstration: Option<Demonstration>,
    pub levels: Levels,
    /// In the order of the hypotheses.
    pub tests: Vec<Arranged>,
}

/// Indices of two conditions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Levels {
    pub low: usize,
    pub high: usize,
}

/// The levels with the suspected cause and without.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Compared {
    pub given: Levels,
    pub removed: Levels,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arranged {
    Compared(Compared),
    /// Under this base the removal changes nothing.
    AlreadySo,
    /// It compares the same conditions as the hypothesis of this index, which has the numbers.
    SameAs(usize),
    /// It needs no conditions of its own.
    Nothing,
}

/// Measurements whose right explanation is known beforehand, to see whether it is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Demonstration {
    /// The fault is in every condition of the high level: a cause that no removal takes away.
    Planted(Planted),
    /// An A/A run: whatever a condition is called, both levels are the low one.
    Alike,
}

/// Conditions as they are collected.
struct Conditions<'a> {
    study: &'a Study,
    experiments: [&'a Experiment; 2],
    /// Config and plan of either level.
    arms: [(Config, Plan); 2],
    demonstration: Option<Demonstration>,
    conditions: Vec<Condition>,
    /// To which level each belongs.
    levels: Vec<usize>,
}

impl Layout {
    /// Of the experiments of the low and the high level.
    pub fn of(
        study: &Study,
        experiments: [&Experiment; 2],
        base: &Plan,
        demonstration: Option<Demonstration>,
    ) -> Result<(Design, Self), LocatedError> {
        let base = study.plan.apply(base);
        let arm = |key: &str, level: &Level, experiment: &Experiment| {
            level.arm(experiment, &base).map_err(|message| study.error_at(key, message))
        };
        let low = arm("low", &study.low, experiments[0])?;
        let (experiments, high) = match demonstration {
            Some(Demonstration::Alike) => ([experiments[0]; 2], low.clone()),
            _ => (experiments, arm("high", &study.high, experiments[1])?),
        };
        let mut all = Conditions {
            study,
            experiments,
            arms: [low, high],
            demonstration,
            conditions: Vec::new(),
            levels: Vec::new(),
        };
        let levels = all.levels_under(&Change::default(), "low")?;
        let control = all.again(levels.low);
        let mut tests: Vec<Arranged> = Vec::new();
        for (index, hypothesis) in study.hypotheses.iter().enumerate() {
            tests.push(match &hypothesis.test {
                Test::Remove { given, remove } => {
                    let key = format!("hypotheses.{index}.remove");
                    let given_levels = all.levels_under(given, &format!("hypotheses.{index}.given"))?;
                    let removed = all.levels_under(&given.then(remove), &key)?;
                    arrange(Compared { given: given_levels, removed }, &tests)
                }
                _ => Arranged::Nothing,
            });
        }
        let design = Design { conditions: all.conditions, alike: Some((levels.low, control)) };
        Ok((design, Self { base, demonstration, levels, tests }))
    }

    /// What hypotheses are tested by chance, each once.
    pub fn tested(&self, study: &Study) -> usize {
        let is_tested = |index: &usize| {
            matches!(self.tests[*index], Arranged::Compared(_))
                || matches!(study.hypotheses[*index].test, Test::Phases(_))
        };
        (0..study.hypotheses.len()).filter(is_tested).count()
    }
}

fn arrange(compared: Compared, before: &[Arranged]) -> Arranged {
    let same = before.iter().position(|other| *other == Arranged::Compared(compared));
    match same {
        _ if compared.given == compared.removed => Arranged::AlreadySo,
        Some(index) => Arranged::SameAs(index),
        None => Arranged::Compared(compared),
    }
}

impl Conditions<'_> {
    /// Both levels under a change; `key` is where the study says it.
    fn levels_under(&mut self, change: &Change, key: &str) -> Result<Levels, LocatedError> {
        Ok(Levels { low: self.index(0, change, key)?, high: self.index(1, change, key)? })
    }

    fn index(&mut self, level: usize, change: &Change, key: &str) -> Result<usize, LocatedError> {
        let (config, plan) = &self.arms[level];
        let applied = change.apply(config, plan);
        let (config, plan) = applied.map_err(|message| self.study.error_at(key, message))?;
        let is_same = |index: &usize| {
            let other = &self.conditions[*index];
            self.levels[*index] == level && (&other.config, &other.plan) == (&config, &plan)
        };
        if let Some(index) = (0..self.conditions.len()).find(is_same) {
            return Ok(index);
        }
        let of = [&self.study.low, &self.study.high][level];
        let changed = change.to_string();
        let name = if changed.is_empty() { of.name.to_string() } else { format!("{}, {changed}", of.name) };
        let fault = match self.demonstration {
            Some(Demonstration::Planted(planted)) if level == 1 => Some(planted),
            _ => None,
        };
        let experiment = self.experiments[level].id.clone();
        self.conditions.push(Condition { name, experiment, config, plan, fault });
        self.levels.push(level);
        Ok(self.conditions.len() - 1)
    }

    /// The same once more under another name: what the two differ by is the floor under every sentence.
    fn again(&mut self, index: usize) -> usize {
        let condition = self.conditions[index].clone();
        let name = format!("{}, again", condition.name);
        self.conditions.push(Condition { name, ..condition });
        // Of neither level: no change is to be found in it.
        self.levels.push(usize::MAX);
        self.conditions.len() - 1
    }
}

/// The conditions of a study's curve, at the high level: each value as it is, then with `removal`.
pub fn curve(
    study: &Study,
    experiment: &Experiment,
    base: &Plan,
    removal: &Change,
) -> Result<Design, LocatedError> {
    let Some(curve) = &study.curve else { return Ok(Design::default()) };
    let mut conditions = Vec::new();
    let (config, plan) =
        study.high.arm(experiment, base).map_err(|message| study.error_at("high", message))?;
    for (index, value) in curve.values.iter().enumerate() {
        let wrong = |message: String| study.error_at(&format!("curve.values.{index}"), message);
        let at = Change::of(&curve.key, value).map_err(wrong)?;
        for change in [at.clone(), at.then(removal)] {
            let (config, plan) = change.apply(&config, &plan).map_err(wrong)?;
            let (name, experiment) = (change.to_string(), experiment.id.clone());
            conditions.push(Condition { name, experiment, config, plan, fault: None });
        }
    }
    Ok(Design { conditions, alike: None })
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::analyse::samples;
    use crate::experiment::plan::{Device, PlanName};
    use crate::experiment::study::tests::{TEXT, study};

    pub fn layout(name: PlanName, demonstration: Option<Demonstration>) -> (Design, Layout) {
        let (experiment, base) = (samples::experiment(), Plan::named(name, 2, Device::Cpu));
        let mut study = study();
        study.plan = crate::experiment::PlanChange::default();
        Layout::of(&study, [&experiment; 2], &base, demonstration).unwrap()
    }

    #[test]
    fn each_condition_is_measured_once_whoever_compares_it() {
        let (design, layout) = layout(PlanName::Eager, None);
        let names: Vec<&str> = design.conditions.iter().map(|condition| condition.name.as_str()).collect();
        assert_eq!(names[..3], ["batch 64", "batch 1024", "batch 64, again"]);
        assert_eq!(names[3..5], ["batch 64, plan.allocator=keep", "batch 1024, plan.allocator=keep"]);
        assert_eq!((names.len(), design.alike), (3 + 4 * 2, Some((0, 2))));
        let (Arranged::Compared(faults), Arranged::Compared(pages)) = (layout.tests[0], layout.tests[2])
        else {
            panic!("not compared")
        };
        assert_eq!((faults.given, pages.given), (layout.levels, faults.removed));
        assert_eq!((layout.tests[3], layout.tested(&study())), (Arranged::Nothing, 5));
        let hash =
            |index: usize| (design.conditions[index].config.hash(), design.conditions[index].plan.hash());
        assert_eq!(hash(0), hash(2));
        let mut all: Vec<_> = (0..names.len()).map(|index| format!("{:?}", hash(index))).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), names.len() - 1, "only the control is the same");
    }

    #[test]
    fn what_the_base_has_without_the_cause_already_is_not_compared() {
        let (design, layout) = layout(PlanName::Tuned, None);
        assert_eq!((layout.tests[0], layout.tests[2]), (Arranged::AlreadySo, Arranged::AlreadySo));
        assert_eq!(design.conditions.len(), 3 + 2 * 2);
        let twice = TEXT
            .replace("remove = { \"train.micro_batch\" = 64 }", "remove = { \"plan.allocator\" = \"keep\" }");
        let study = Study::parse(std::path::Path::new("slow.toml"), &twice).unwrap();
        let (experiment, base) = (samples::experiment(), Plan::named(PlanName::Eager, 2, Device::Cpu));
        let (_, layout) = Layout::of(&study, [&experiment; 2], &base, None).unwrap();
        assert_eq!((layout.tests[1], layout.tested(&study)), (Arranged::SameAs(0), 4));
    }

    #[test]
    fn a_demonstration_is_the_low_level_twice_or_has_its_fault_at_the_high_level_alone() {
        let (design, layout) = layout(PlanName::Eager, Some(Demonstration::Alike));
        assert!(design.conditions.iter().all(|condition| condition.config.train.batch == 64));
        assert_eq!((layout.levels, design.conditions.len()), (Levels { low: 0, high: 1 }, 11));
        let planted = Some(Demonstration::Planted(Planted::DelayLoad));
        let (design, _) = self::layout(PlanName::Eager, planted);
        for condition in &design.conditions {
            assert_eq!(condition.fault.is_some(), condition.config.train.batch == 1024, "{}", condition.name);
        }
    }

    #[test]
    fn a_change_that_cannot_be_made_is_named_with_its_line() {
        let (experiment, base) = (samples::experiment(), Plan::named(PlanName::Eager, 2, Device::Cpu));
        for (from, to, parts) in [
            ("train.micro_batch", "train.micro", [":32:1", "train.micro"]),
            ("\"train.batch\" = 1024 }", "\"train.batch\" = 0 }", [":6:1", "expected 1 to"]),
        ] {
            let study = Study::parse(std::path::Path::new("slow.toml"), &TEXT.replace(from, to)).unwrap();
            let error = Layout::of(&study, [&experiment; 2], &base, None).unwrap_err().to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
    }

    #[test]
    fn a_curve_has_every_value_with_the_cause_and_without() {
        let (study, experiment) = (study(), samples::experiment());
        let base = Plan::named(PlanName::Eager, 2, Device::Cpu);
        let removal = Change::of("plan.allocator", &serde_json::json!("keep")).unwrap();
        let design = curve(&study, &experiment, &base, &removal).unwrap();
        let names: Vec<&str> = design.conditions.iter().map(|condition| condition.name.as_str()).collect();
        assert_eq!(names[..2], ["train.batch=64", "train.batch=64, plan.allocator=keep"]);
        assert_eq!((names.len(), design.conditions[5].config.train.batch), (6, 1024));
    }
}
