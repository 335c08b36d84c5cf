//! What probes gave now, beside what they gave when they were accepted.

use std::fmt;

use crate::data::{self, Limits};
use crate::digest::Hasher;
use crate::experiment::probe::{Answers, Handed, Known, Part, Quantity, Stored, Structure};
use crate::experiment::{Config, Length};
use crate::stream::Seed;

/// So many times the envelope of rounding is beyond it. The weakest fault that was planted is hundreds of times further away
/// (docs/gate.md), and an instruction set that no twin had may be a few times further than those that were.
const BEYOND: f64 = 30.0;
/// No envelope is narrower: what is stored has seven digits.
const LEAST_ENVELOPE: f64 = 1e-7;
/// Of a rate, which a cosine may give with another last bit.
const RATE_TOLERANCE: f64 = 1e-9;

/// What is no longer as it was accepted.
#[derive(Clone, PartialEq, Debug)]
pub struct Change {
    pub part: Part,
    /// What of it: `conv1.weight`, or `labels`.
    pub name: String,
    /// How far away it is, in envelopes of rounding; `None` of what is compared exactly.
    pub distance: Option<f64>,
    /// Parts that are elsewhere too, which follow from it or not.
    pub others: Vec<Part>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            Part::Input | Part::Forward | Part::Evaluation => {
                write!(f, "{}: {}", self.part.name(), self.name)?
            }
            part if self.distance.is_none() => write!(f, "{}: {}", part.name(), self.name)?,
            part => write!(f, "{} of {}", part.name(), self.name)?,
        }
        match self.distance {
            None => {}
            Some(distance) if distance.is_finite() => {
                write!(f, " is {distance:.0} envelopes of rounding away")?
            }
            Some(_) => f.write_str(" is not a number, or was none")?,
        }
        if !self.others.is_empty() {
            let others: Vec<&str> = self.others.iter().map(|part| part.name()).collect();
            write!(f, ", and so are {}", others.join(", "))?;
        }
        Ok(())
    }
}

/// The first thing in the order of a step that is otherwise; `None` where all is within rounding.
pub fn compare(stored: &Stored, found: &Answers) -> Option<Change> {
    if let Some(name) = handed_otherwise(&stored.handed, &found.handed) {
        return Some(Change { part: Part::Input, name: name.to_owned(), distance: None, others: Vec::new() });
    }
    if stored
        .handed
        .rates
        .iter()
        .zip(&found.handed.rates)
        .any(|(a, b)| (a - b).abs() > RATE_TOLERANCE * a.abs())
    {
        let name = "another learning rate".to_owned();
        return Some(Change { part: Part::Optimizer, name, distance: None, others: Vec::new() });
    }
    let mut outside: Vec<(Part, &str, f64)> = Vec::new();
    for (quantity, envelopes) in distances(stored, found).filter(|(_, envelopes)| *envelopes > BEYOND) {
        outside.push((quantity.part, &quantity.name, envelopes));
    }
    let part = outside.iter().map(|(part, ..)| *part).min()?;
    // A gradient comes from the last layer to the first: the last one that is otherwise is where it began.
    let of_part: Vec<_> = outside.iter().filter(|(other, ..)| *other == part).collect();
    let first = if part == Part::Gradient { of_part.last() } else { of_part.first() };
    let (_, name, _) = first?;
    // In whole batches and in short ones: the larger of the two.
    let distance = of_part.iter().filter(|(_, other, _)| other == name).map(|(.., distance)| *distance);
    let mut others: Vec<Part> =
        outside.iter().map(|(other, ..)| *other).filter(|other| *other != part).collect();
    others.sort_unstable();
    others.dedup();
    Some(Change { part, name: (*name).to_owned(), distance: Some(distance.fold(0.0, f64::max)), others })
}

/// How far the answers are from the stored ones at most, in envelopes, over what rounding may move.
pub fn largest_distance(stored: &Stored, found: &Answers) -> f64 {
    distances(stored, found).map(|(_, envelopes)| envelopes).fold(0.0, f64::max)
}

/// Of every quantity that says something, in envelopes.
fn distances<'a>(stored: &'a Stored, found: &'a Answers) -> impl Iterator<Item = (&'a Quantity, f64)> {
    stored.quantities.iter().filter_map(|Known { envelope, quantity }| {
        let other = found.quantities.iter().find(|other| other.is_like(quantity));
        let distance = other.and_then(|other| quantity.distance(other)).unwrap_or(f64::INFINITY);
        Some((quantity, distance / (*envelope)?.max(LEAST_ENVELOPE)))
    })
}

fn handed_otherwise(stored: &Handed, found: &Handed) -> Option<&'static str> {
    [
        ("another order of the images", stored.order == found.order),
        ("other labels", stored.labels == found.labels),
        ("other pixels", stored.pixels == found.pixels),
        ("other numbers of images a step", stored.images == found.images),
        ("another number of steps", stored.rates.len() == found.rates.len()),
    ]
    .into_iter()
    .find_map(|(name, is_equal)| (!is_equal).then_some(name))
}

/// Seeds whose order a structure takes in: of two, so that one that stands for both is seen.
const SEEDS: [Seed; 2] = [Seed(0), Seed(1)];

/// What a whole training of `config` consists of; `None` of a set that is not defined here, or a split that is not possible.
pub fn structure(config: &Config) -> Option<Structure> {
    let images = u64::from(config.data.train_images());
    let length = Length::of(&config.train, images);
    let limits = Limits { train: config.data.train_limit, validation: config.data.eval_limit };
    let mut hasher = Hasher::new();
    for seed in SEEDS {
        let split = data::split(config.data.set.train_len(), config.data.validation, limits, seed).ok()?;
        for epoch in [0, length.epochs.saturating_sub(1)] {
            let order = data::order(seed, epoch, &split.train);
            order.iter().for_each(|position| hasher.update(&position.to_le_bytes()));
        }
    }
    Some(Structure {
        images,
        steps_per_epoch: length.steps_per_epoch,
        steps: length.steps,
        order: hasher.finish().short(),
    })
}

/// Keys of a config that have changed, as `optim.lr 0.01 → 0.012`.
pub fn changed_keys(stored: &Config, now: &Config) -> Vec<String> {
    let flat = |config: &Config| {
        let mut keys = Vec::new();
        flatten("", &serde_json::to_value(config).unwrap_or_default(), &mut keys);
        keys
    };
    let (stored, now) = (flat(stored), flat(now));
    let value = |keys: &[(String, String)], key: &str| {
        keys.iter()
            .find(|(other, _)| other == key)
            .map_or_else(|| "none".to_owned(), |(_, value)| value.clone())
    };
    let mut names: Vec<&String> = stored.iter().chain(&now).map(|(key, _)| key).collect();
    names.sort_unstable();
    names.dedup();
    let changed = names.into_iter().map(|key| (key, value(&stored, key), value(&now, key)));
    changed.filter(|(_, from, to)| from != to).map(|(key, from, to)| format!("{key} {from} → {to}")).collect()
}

fn flatten(prefix: &str, value: &serde_json::Value, into: &mut Vec<(String, String)>) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&key, value, into);
            }
        }
        serde_json::Value::Null => {}
        serde_json::Value::String(text) => into.push((prefix.to_owned(), text.clone())),
        other => into.push((prefix.to_owned(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::samples;

    fn answers(scale: f64, name: &str) -> Answers {
        let [order, labels, pixels] = ["a", "b", "c"].map(str::to_owned);
        let quantity = |part, of: &str, is_last| {
            let factor = if name == of { scale } else { 1.0 };
            let values = vec![vec![Some(factor), Some(0.5)]; 3];
            Quantity { part, name: of.to_owned(), is_last, values, grains: Vec::new() }
        };
        Answers {
            handed: Handed { order, labels, pixels, rates: vec![0.001; 3], images: vec![32; 3] },
            quantities: vec![
                quantity(Part::Forward, "loss", false),
                quantity(Part::Gradient, "conv1.weight", false),
                quantity(Part::Gradient, "fc.weight", false),
                quantity(Part::Optimizer, "conv1.weight", false),
                quantity(Part::Evaluation, "loss", true),
            ],
        }
    }

    fn stored() -> Stored {
        Stored::new(answers(1.0, ""), &[answers(1.0 + 1e-6, "fc.weight")])
    }

    #[test]
    fn within_rounding_nothing_is_said_and_beyond_it_the_first_part_is_named() {
        assert_eq!(compare(&stored(), &answers(1.0 + 2e-5, "fc.weight")), None);
        let change = compare(&stored(), &answers(1.0 + 6e-5, "fc.weight")).unwrap();
        assert_eq!(change.to_string(), "gradient of fc.weight is 60 envelopes of rounding away");
        // Both the weight's gradient and its update have that name: the gradient comes first.
        let change = compare(&stored(), &answers(1.001, "conv1.weight")).unwrap();
        assert_eq!((change.part, &change.others[..]), (Part::Gradient, &[Part::Optimizer][..]));
        let change = compare(&stored(), &answers(f64::NAN, "loss")).unwrap();
        assert!(change.to_string().starts_with("forward: loss"), "{change}");
    }

    #[test]
    fn what_is_handed_over_and_the_rate_are_compared_exactly() {
        let mut found = answers(1.0, "");
        found.handed.labels = "other".to_owned();
        assert_eq!(compare(&stored(), &found).unwrap().to_string(), "input: other labels");
        let mut found = answers(1.0, "");
        found.handed.rates[1] = 0.001_001;
        let change = compare(&stored(), &found).unwrap();
        assert_eq!(change.to_string(), "optimizer: another learning rate");
        found.handed.rates[1] = 0.001 + 1e-15;
        assert_eq!(compare(&stored(), &found), None);
    }

    #[test]
    fn a_config_that_changed_is_named_by_its_keys() {
        let config = samples::profile().arms[0].config.clone();
        let mut other = config.clone();
        other.optim.lr = 0.012;
        other.train.patience = Some(3);
        let keys = changed_keys(&config, &other);
        assert_eq!(
            keys,
            [format!("optim.lr {} → 0.012", config.optim.lr), "train.patience none → 3".to_owned()]
        );
        assert_eq!(changed_keys(&config, &config), Vec::<String>::new());
    }

    #[test]
    fn a_structure_moves_with_what_a_training_consists_of() {
        let config = samples::profile().arms[0].config.clone();
        let whole = structure(&config).unwrap();
        let mut other = config.clone();
        other.data.train_limit = Some(1_000);
        assert_ne!(structure(&other), Some(whole.clone()));
        assert_eq!(structure(&config), Some(whole));
    }
}
