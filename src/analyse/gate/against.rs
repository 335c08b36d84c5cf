//! A revision of the program beside another: the ratio of their step times over blocks, and whether their bits are equal.
//!
//! [`pair`] what both list → [`Bits`] of a training each → [`Race`] of blocks of step times → [`Against::exit`]. In a block
//! both programs time the same arm, one right after the other, so that a machine that drifts slows both; a stored time has
//! no such neighbour and is a hint.

mod pairs;
mod race;

pub use pairs::{Listed, Pair, Paired, pair};
pub use race::{Decision, EFFECT, LEAST, Race, ratio};

use serde_json::Value;

use crate::analyse::gate::Exit;
use crate::analyse::timing::Standing;
use crate::stream::Seed;

/// Everything that was compared.
#[derive(Clone, PartialEq, Debug)]
pub struct Against {
    /// What each program says it is.
    pub old: String,
    pub new: String,
    pub arms: Vec<ArmFound>,
    /// Arms that one side alone has, as `experiment: arm`.
    pub only_old: Vec<String>,
    pub only_new: Vec<String>,
    /// Arms that both have and that were left out, because so many are more than were asked for.
    pub left_out: usize,
    /// Whether step times were asked for.
    pub is_timed: bool,
}

/// An arm that both have.
#[derive(Clone, PartialEq, Debug)]
pub struct ArmFound {
    /// As this program names it.
    pub name: String,
    /// As the other one does, where that is otherwise.
    pub old_name: Option<String>,
    pub bits: Bits,
    /// `None` where no block came to an end.
    pub time: Option<Decision>,
}

/// What a short training of either program came to.
#[derive(Clone, PartialEq, Debug)]
pub enum Bits {
    Equal {
        seed: Seed,
    },
    /// These parts differ.
    Changed {
        seed: Seed,
        parts: Vec<String>,
    },
    /// Nothing says that they have to be equal.
    NotPromised(String),
    /// The other program trained it and this one did not.
    Failed(String),
    /// The other one did not train it either.
    NotTrained(String),
}

/// What is compared of a run: everything that is one number or digest under one seed.
#[derive(Clone, PartialEq, Debug)]
pub struct Trained {
    /// As records have it.
    pub status: Value,
    pub class: Value,
    pub initial_weights: Value,
    pub final_weights: Value,
    pub steps: Value,
    /// Losses and accuracies at the end, by name.
    pub scores: Vec<(String, Value)>,
}

impl Bits {
    /// Of a pair that ran under the same seed.
    pub fn of(pair: &Pair, seed: Seed, old: &Trained, new: &Trained) -> Self {
        let is_diverged = |run: &Trained| run.status["state"] == "diverged";
        if is_diverged(new) && !is_diverged(old) {
            return Self::Failed(format!("it diverges under seed {seed}"));
        }
        if !pair.is_same_plan {
            return Self::NotPromised("the two programs plan it in different ways".to_owned());
        }
        if old.class != new.class {
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let (old, new) = (text(&old.class), text(&new.class));
            return Self::NotPromised(format!("the runs are of other classes, {old} and {new}"));
        }
        let weights = [
            ("how it ended", &old.status, &new.status),
            ("first weights", &old.initial_weights, &new.initial_weights),
            ("number of steps", &old.steps, &new.steps),
            ("final weights", &old.final_weights, &new.final_weights),
        ];
        let differ = weights.iter().filter(|(_, old, new)| old != new).map(|(name, ..)| (*name).to_owned());
        let mut parts: Vec<String> = differ.collect();
        for (name, value) in &new.scores {
            // What one of them does not measure is no change of what it measures.
            let before = old.scores.iter().find(|(other, _)| other == name);
            if let Some((_, before)) = before.filter(|(_, before)| before != value) {
                parts.push(format!("{name} ({before}, now {value})"));
            }
        }
        if parts.is_empty() { Self::Equal { seed } } else { Self::Changed { seed, parts } }
    }

    /// Whether both programs trained it, so that both can time it.
    pub fn is_trained(&self) -> bool {
        !matches!(self, Self::Failed(_) | Self::NotTrained(_))
    }

    pub fn exit(&self) -> Exit {
        match self {
            Self::Equal { .. } | Self::NotPromised(_) => Exit::Holds,
            Self::Changed { .. } => Exit::Changed,
            Self::Failed(_) => Exit::Regressed,
            Self::NotTrained(_) => Exit::NotComparable,
        }
    }
}

impl ArmFound {
    /// What the time says, where times were asked for; `None` where none could be measured.
    pub fn time_exit(&self, is_timed: bool) -> Option<Exit> {
        let Some(decision) = &self.time else {
            return (is_timed && self.bits.is_trained()).then_some(Exit::Inconclusive);
        };
        Some(match decision.standing {
            Standing::Slower => Exit::Regressed,
            Standing::Faster => Exit::Holds,
            Standing::Open { within: Some(within) } if within < EFFECT => Exit::Holds,
            Standing::Open { .. } => Exit::Inconclusive,
        })
    }

    pub fn exit(&self, is_timed: bool) -> Exit {
        match (&self.bits, self.time_exit(is_timed)) {
            // Nothing was compared.
            (Bits::NotPromised(_), None) => Exit::NotComparable,
            (bits, time) => time.map_or(bits.exit(), |time| time.max(bits.exit())),
        }
    }
}

impl Against {
    pub fn exit(&self) -> Exit {
        // Without a pair nothing was compared.
        let exits = self.arms.iter().map(|arm| arm.exit(self.is_timed));
        exits.max().unwrap_or(Exit::NotComparable)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn trained(weights: &str, loss: f64) -> Trained {
        Trained {
            status: json!({ "state": "finished" }),
            class: json!("x86"),
            initial_weights: json!("a"),
            final_weights: json!(weights),
            steps: json!(4),
            scores: vec![("test loss".to_owned(), json!(loss))],
        }
    }

    fn bits(is_same_plan: bool, old: &Trained, new: &Trained) -> Bits {
        let arm = Listed::named("m1", "64");
        Bits::of(&Pair { old: arm.clone(), new: arm, seed: Some(Seed(3)), is_same_plan }, Seed(3), old, new)
    }

    #[test]
    fn bits_part_where_weights_or_what_was_measured_do_and_are_not_promised_under_another_plan_or_class() {
        let (old, seed) = (trained("w", 0.5), Seed(3));
        assert_eq!(bits(true, &old, &old), Bits::Equal { seed });
        let other = bits(true, &old, &trained("v", 0.5));
        assert_eq!(other, Bits::Changed { seed, parts: vec!["final weights".to_owned()] });
        let Bits::Changed { parts, .. } = bits(true, &old, &trained("w", 0.25)) else { panic!() };
        assert_eq!(parts, ["test loss (0.5, now 0.25)"]);
        assert!(matches!(bits(false, &old, &trained("v", 0.5)), Bits::NotPromised(_)));
        let elsewhere = Trained { class: json!("arm"), ..trained("v", 0.5) };
        let Bits::NotPromised(why) = bits(true, &old, &elsewhere) else { panic!() };
        assert!(why.contains("x86 and arm"), "{why}");
        let diverged = Trained { status: json!({ "state": "diverged", "step": 3 }), ..trained("w", 0.5) };
        assert!(matches!(bits(false, &old, &diverged), Bits::Failed(_)));
        assert_eq!(bits(true, &diverged, &diverged), Bits::Equal { seed });
    }

    #[test]
    fn slower_decides_over_changed_and_nothing_compared_is_not_comparable() {
        let arm = |bits: Bits, standing: Option<Standing>| ArmFound {
            name: "m1: 64".to_owned(),
            old_name: None,
            bits,
            time: standing.map(|standing| Decision { standing, ..Decision::none() }),
        };
        let against = |arms: Vec<ArmFound>| Against {
            old: String::new(),
            new: String::new(),
            arms,
            only_old: vec![],
            only_new: vec![],
            left_out: 0,
            is_timed: true,
        };
        let equal = || Bits::Equal { seed: Seed(0) };
        let changed = || Bits::Changed { seed: Seed(0), parts: vec![] };
        let within = |within: f64| Some(Standing::Open { within: Some(within) });
        for (arms, code) in [
            (vec![], 4),
            (vec![arm(equal(), within(1.04))], 0),
            (vec![arm(equal(), Some(Standing::Faster))], 0),
            (vec![arm(equal(), within(1.06))], 3),
            (vec![arm(equal(), None)], 3),
            (vec![arm(changed(), within(1.06))], 5),
            (vec![arm(changed(), within(1.01)), arm(equal(), Some(Standing::Slower))], 1),
            (vec![arm(Bits::Failed(String::new()), within(1.01))], 1),
            (vec![arm(Bits::NotTrained(String::new()), within(1.01))], 4),
        ] {
            assert_eq!(against(arms.clone()).exit().code(), code, "{arms:?}");
        }
        let untimed = Against { is_timed: false, ..against(vec![arm(equal(), None)]) };
        assert_eq!(untimed.exit(), Exit::Holds);
    }
}
