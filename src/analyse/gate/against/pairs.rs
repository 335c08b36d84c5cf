//! Which arm of one program is which of the other, and which of them are asked first.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use crate::stream::Seed;

/// A trial, as `pinbench list --json` has it. Other keys are another version's.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Listed {
    pub experiment: String,
    pub profile: String,
    pub arm: String,
    pub seed: Seed,
    pub trial_id: String,
    pub config: Value,
    pub plan_hash: String,
}

/// An arm that both programs have: one config, whatever either calls it.
#[derive(Clone, PartialEq, Debug)]
pub struct Pair {
    pub old: Listed,
    pub new: Listed,
    /// One that both have listed; `None` where they have none in common.
    pub seed: Option<Seed>,
    /// Where the plans are not the same, no bit is promised.
    pub is_same_plan: bool,
}

#[derive(Clone, PartialEq, Debug, Default)]
pub struct Paired {
    pub pairs: Vec<Pair>,
    pub only_old: Vec<String>,
    pub only_new: Vec<String>,
}

impl Listed {
    /// `experiment: arm`
    pub fn name(&self) -> String {
        format!("{}: {}", self.experiment, self.arm)
    }

    fn is_same_arm(&self, other: &Self) -> bool {
        (&self.experiment, &self.arm) == (&other.experiment, &other.arm)
    }

    /// What a config hash is of. Each program hashes in its own way; what they hash is compared here.
    fn is_same_config(&self, other: &Self) -> bool {
        self.config == other.config
    }

    /// What is trained on what: two arms of one kind have much of a step in common.
    fn kind(&self) -> String {
        let model = &self.config["model"];
        let network = if model["name"].is_null() { &model["layers"] } else { &model["name"] };
        format!("{} {network}", self.config["data"]["set"])
    }

    #[cfg(test)]
    pub fn named(experiment: &str, arm: &str) -> Self {
        let text = |text: &str| text.to_owned();
        let config = serde_json::json!({ "data": { "set": "mnist" }, "model": { "name": "simple_cnn" } });
        let (profile, trial_id, plan_hash) = (text("smoke"), text("t"), text("p"));
        let (experiment, arm, seed) = (text(experiment), text(arm), Seed(0));
        Self { experiment, profile, arm, seed, trial_id, config, plan_hash }
    }
}

/// Pairs by config, under the same plan where there is one. Two arms of the new program that are one training are asked
/// once. `old` may have more experiments than were asked for: of those it alone has, arms are named only where the
/// experiment is one that was asked for.
pub fn pair(old: &[Listed], new: &[Listed]) -> Paired {
    let mut paired = Paired::default();
    let mut asked: Vec<&Listed> = Vec::new();
    for arm in first_of_arms(new) {
        if asked.iter().any(|other| other.is_same_config(arm) && other.plan_hash == arm.plan_hash) {
            continue;
        }
        asked.push(arm);
        match counterpart(old, arm) {
            Some(found) => paired.pairs.push(pair_of(old, found, new, arm)),
            None => paired.only_new.push(arm.name()),
        }
    }
    let experiments: BTreeSet<&str> = new.iter().map(|arm| arm.experiment.as_str()).collect();
    let is_lost = |arm: &&Listed| {
        experiments.contains(arm.experiment.as_str()) && !new.iter().any(|other| other.is_same_config(arm))
    };
    paired.only_old = first_of_arms(old).filter(is_lost).map(Listed::name).collect();
    paired
}

/// Each arm once, whatever its seeds.
fn first_of_arms(all: &[Listed]) -> impl Iterator<Item = &Listed> {
    let is_first =
        |(index, arm): &(usize, &Listed)| !all[..*index].iter().any(|other| other.is_same_arm(arm));
    all.iter().enumerate().filter(is_first).map(|(_, arm)| arm)
}

/// The arm of the same config: of the same plan and name where there is one.
fn counterpart<'a>(old: &'a [Listed], arm: &Listed) -> Option<&'a Listed> {
    let nearness = |other: &&Listed| {
        (other.plan_hash == arm.plan_hash, other.is_same_arm(arm), other.experiment == arm.experiment)
    };
    // The first of those that are equally near.
    old.iter().rev().filter(|other| other.is_same_config(arm)).max_by_key(nearness)
}

/// Under the first seed that both have of their arm.
fn pair_of(old: &[Listed], old_arm: &Listed, new: &[Listed], new_arm: &Listed) -> Pair {
    let is_same_plan = old_arm.plan_hash == new_arm.plan_hash;
    let of = |all: &[Listed], arm: &Listed| -> Vec<Listed> {
        all.iter().filter(|other| other.is_same_arm(arm)).cloned().collect()
    };
    let before = of(old, old_arm);
    for new in of(new, new_arm) {
        if let Some(old) = before.iter().find(|old| old.seed == new.seed) {
            let seed = Some(new.seed);
            return Pair { old: old.clone(), new, seed, is_same_plan };
        }
    }
    Pair { old: old_arm.clone(), new: new_arm.clone(), seed: None, is_same_plan }
}

impl Paired {
    /// Leaves so many pairs, one of each kind of network and data first and then one of each experiment; returns how many
    /// went. The order stays.
    pub fn keep(&mut self, most: usize) -> usize {
        let (mut kinds, mut experiments) = (BTreeSet::new(), BTreeSet::new());
        let mut ranked: Vec<(u8, usize)> = Vec::new();
        for (index, pair) in self.pairs.iter().enumerate() {
            let is_new_kind = kinds.insert(pair.new.kind());
            let is_new_experiment = experiments.insert(pair.new.experiment.clone());
            ranked.push((if is_new_kind { 0 } else { 2 - u8::from(is_new_experiment) }, index));
        }
        ranked.sort_unstable();
        let kept: BTreeSet<usize> = ranked.into_iter().take(most).map(|(_, index)| index).collect();
        let all = self.pairs.len();
        let mut index = 0..;
        self.pairs.retain(|_| index.next().is_some_and(|index| kept.contains(&index)));
        all - self.pairs.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arm(experiment: &str, name: &str, batch: u32, seed: u64) -> Listed {
        let mut arm = Listed { seed: Seed(seed), ..Listed::named(experiment, name) };
        arm.config["train"] = serde_json::json!({ "batch": batch });
        arm
    }

    fn names(pairs: &[Pair]) -> Vec<(String, String)> {
        pairs.iter().map(|pair| (pair.old.name(), pair.new.name())).collect()
    }

    #[test]
    fn arms_are_paired_by_config_whatever_they_are_called_and_the_others_are_named_once() {
        let old =
            [arm("m1", "64", 64, 0), arm("m1", "64", 64, 1), arm("m1", "32", 32, 0), arm("x", "a", 7, 0)];
        let new = [arm("n1", "small", 64, 1), arm("n1", "large", 128, 1), arm("n1", "large", 128, 2)];
        let paired = pair(&old, &new);
        assert_eq!(names(&paired.pairs), [("m1: 64".to_owned(), "n1: small".to_owned())]);
        // The first seed that both have.
        assert_eq!((paired.pairs[0].seed, paired.pairs[0].old.seed), (Some(Seed(1)), Seed(1)));
        // Of experiments that were not asked for nothing is missed.
        assert_eq!((paired.only_old.len(), paired.only_new), (0, vec!["n1: large".to_owned()]));
        assert_eq!(pair(&old, &[arm("m1", "64", 64, 9)]).only_old, ["m1: 32"]);
        assert_eq!(pair(&old, &[arm("m1", "64", 64, 9)]).pairs[0].seed, None);
    }

    #[test]
    fn one_training_is_asked_once_and_of_several_plans_the_same_is_compared() {
        let planned =
            |name: &str, plan: &str| Listed { plan_hash: plan.to_owned(), ..arm("m1", name, 64, 0) };
        let (old, new) = ([planned("a", "1"), planned("b", "2")], [planned("c", "2"), planned("d", "2")]);
        let paired = pair(&old, &new);
        assert_eq!(names(&paired.pairs), [("m1: b".to_owned(), "m1: c".to_owned())]);
        assert!(paired.pairs[0].is_same_plan);
        let other = pair(&old, &[planned("c", "3")]);
        assert!(!other.pairs[0].is_same_plan && other.pairs[0].old.arm == "a");
    }

    #[test]
    fn a_few_arms_are_of_different_networks_first_and_then_of_different_experiments() {
        let mut deep = arm("c2", "deep", 1, 0);
        deep.config["model"] = serde_json::json!({ "layers": [1, 2] });
        let all = [arm("m1", "64", 64, 0), arm("m1", "128", 128, 0), arm("m2", "8", 8, 0), deep];
        let kept = |most: usize| {
            let mut paired = pair(&all, &all);
            let left = paired.keep(most);
            (paired.pairs.into_iter().map(|pair| pair.new.arm).collect::<Vec<_>>(), left)
        };
        assert_eq!(kept(2), (vec!["64".to_owned(), "deep".to_owned()], 2));
        assert_eq!(kept(3), (vec!["64".to_owned(), "8".to_owned(), "deep".to_owned()], 1));
        assert_eq!(kept(9).1, 0);
    }
}
