//! Two runs of one trial beside each other: how alike they are, where they part, and what differed around them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::analyse::Measures;
use crate::record::{LoadedRun, RunRecord};
use crate::row::{ChainRow, EpochRow, StepRow};
use crate::stats::{self, Spread};

/// Largest distance of two step losses that still counts as the same computation in another order of additions, in
/// units of the last place of a 32-bit float.
pub const ULPS: u32 = 16;

/// Chance that two honest runs are called different.
pub const ALPHA: f64 = 0.01;

named! {
    /// How alike two runs are, the best first.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Grade {
        /// Every loss, score and weight has the same bits.
        Identical = "bit-identical",
        /// Every step loss is within [`ULPS`].
        Ulps = "equal within a few ulp",
        /// Validation accuracy differs by no more than two seeds do.
        Equivalent = "statistically equivalent",
        Different = "different",
    }
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Comparison {
    /// Whether the two are of one trial. Of others the grade says how alike they came out and nothing of a replay.
    pub is_replay: bool,
    pub grade: Grade,
    /// What the two environments promise.
    pub expected: Grade,
    /// Why no more is promised; empty for bits.
    pub reason: String,
    /// The first step that is not the same.
    pub parting: Option<Parting>,
    /// Largest distance of two step losses in units of the last place; `None` where the steps are not as many.
    pub ulps: Option<u32>,
    /// Difference in validation accuracy, second minus first, and how much two honest runs may differ.
    pub accuracy: Option<(f64, f64)>,
    pub changes: Vec<Change>,
}

impl Comparison {
    /// The grade in words, which are about replays.
    pub fn headline(&self) -> &'static str {
        if self.is_replay { self.grade.name() } else { "of different trials: not a replay" }
    }

    pub fn is_as_expected(&self) -> bool {
        self.grade <= self.expected
    }
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Parting {
    pub step: u64,
    /// Of that step in nats; `None` where one run has no such step.
    pub losses: (Option<f64>, Option<f64>),
    /// The first step after which the hashes of tensors differ, and which ones; `None` where no such step was kept.
    pub tensors: Option<(u64, Vec<String>)>,
}

/// One thing that is not the same around two runs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Change {
    pub what: String,
    pub first: String,
    pub second: String,
}

/// Compares two runs. `spread` is of validation accuracy over seeds of the runs' config; without it, the images of the validation split are what chance
/// is taken from.
pub fn compare(first: &LoadedRun, second: &LoadedRun, spread: Option<Spread>) -> Comparison {
    let changes = changes(&first.record, &second.record);
    let (expected, reason) = expected(&first.record, &second.record);
    let ulps = ulps(&first.steps, &second.steps);
    let accuracy = accuracy(first, second, spread);
    let is_within = accuracy.map(|(difference, tolerance): (f64, f64)| difference.abs() <= tolerance);
    let grade = if is_identical(first, second) {
        Grade::Identical
    // Steps may be the same and what is measured of their weights not.
    } else if ulps.is_some_and(|ulps| ulps <= ULPS) && is_within != Some(false) {
        Grade::Ulps
    } else if is_within == Some(true) {
        Grade::Equivalent
    } else {
        Grade::Different
    };
    let (is_replay, parting) = (first.record.trial_id == second.record.trial_id, parting(first, second));
    Comparison { is_replay, grade, expected, reason, parting, ulps, accuracy, changes }
}

fn is_identical(first: &LoadedRun, second: &LoadedRun) -> bool {
    let weights = |run: &LoadedRun| {
        let outcome = run.record.outcome.as_ref();
        outcome.map(|outcome| (outcome.initial_weights, outcome.final_weights, outcome.kept_epoch))
    };
    let steps = |run: &LoadedRun| -> Vec<_> { run.steps.iter().map(computed).collect() };
    let epochs = |run: &LoadedRun| -> Vec<_> { run.epochs.iter().map(scored).collect() };
    // Runs of old formats have no chain, and the rows of its steps may have been taken away from a run.
    let chains = first.chain.is_empty() || second.chain.is_empty() || first.chain == second.chain;
    let have_steps = !first.steps.is_empty() && !second.steps.is_empty();
    chains
        && weights(first).is_some()
        && weights(first) == weights(second)
        && (!have_steps || steps(first) == steps(second))
        && epochs(first) == epochs(second)
        && first.confusion == second.confusion
}

fn computed(row: &StepRow) -> (u64, u32, u64, u32) {
    (row.step, row.images, row.loss.to_bits(), row.correct)
}

fn scored(row: &EpochRow) -> (u32, &'static str, u32, u64, u64) {
    (row.epoch, row.split.name(), row.images, row.loss.to_bits(), row.accuracy.to_bits())
}

/// `None` where one run has more steps, a loss is finite in one only, or no rows of steps were kept.
fn ulps(first: &[StepRow], second: &[StepRow]) -> Option<u32> {
    if first.len() != second.len() || first.is_empty() {
        return None;
    }
    let distance = |(a, b): (&StepRow, &StepRow)| ulp_distance(a.loss as f32, b.loss as f32);
    first.iter().zip(second).map(distance).try_fold(0, |most, distance| Some(most.max(distance?)))
}

/// Floats between the two, on the number line of all floats.
fn ulp_distance(a: f32, b: f32) -> Option<u32> {
    let place = |value: f32| {
        let bits = value.to_bits() as i32;
        i64::from(if bits < 0 { i32::MIN.wrapping_sub(bits) } else { bits })
    };
    match (a.is_finite(), b.is_finite()) {
        (true, true) => u32::try_from((place(a) - place(b)).abs()).ok(),
        (false, false) => Some(0),
        _ => None,
    }
}

fn accuracy(first: &LoadedRun, second: &LoadedRun, spread: Option<Spread>) -> Option<(f64, f64)> {
    let score = |run: &LoadedRun| Measures::of(run).validation.map(|score| score.accuracy);
    let (a, b) = (score(first)?, score(second)?);
    let images = f64::from(first.epochs.iter().rev().find(|row| row.split.name() == "validation")?.images);
    // An accuracy is known to one image: seeds that happen to be equal do not make it certain.
    let image = 1.0 / images;
    let tolerance = match spread {
        // The difference of two draws has √2 of the spread of one.
        Some(Spread { sd: Some(sd), n, .. }) if n >= 3 => {
            stats::inference::quantile(n as f64 - 1.0, 1.0 - ALPHA / 2.0)? * sd.max(image) * 2.0_f64.sqrt()
        }
        _ => {
            let share = f64::midpoint(a, b);
            let z = stats::inference::normal_quantile(1.0 - ALPHA / 2.0);
            (z * (2.0 * share * (1.0 - share) / images).sqrt()).max(image)
        }
    };
    Some((b - a, tolerance))
}

fn parting(first: &LoadedRun, second: &LoadedRun) -> Option<Parting> {
    let (a, b) = (links(&first.chain), links(&second.chain));
    let step = if a.is_empty() || b.is_empty() {
        first_loss(&first.steps, &second.steps)?
    } else {
        first_link(&a, &b)?
    };
    let loss = |run: &LoadedRun| run.steps.iter().find(|row| row.step == step).map(|row| row.loss);
    Some(Parting {
        step,
        losses: (loss(first), loss(second)),
        tensors: first_tensors(&first.chain, &second.chain),
    })
}

fn links(chain: &[ChainRow]) -> Vec<(u64, u64)> {
    chain.iter().filter(|row| row.of.is_empty()).map(|row| (row.step, row.hash)).collect()
}

/// By bisection: two chains that agree at a step agree at every step before.
fn first_link(a: &[(u64, u64)], b: &[(u64, u64)]) -> Option<u64> {
    let both = a.len().min(b.len());
    let (mut same, mut parted) = (0, both);
    while same < parted {
        let middle = same.midpoint(parted);
        if a[middle] == b[middle] {
            same = middle + 1;
        } else {
            parted = middle;
        }
    }
    let longer = if a.len() > b.len() { a } else { b };
    longer.get(same).map(|(step, _)| *step)
}

fn first_loss(a: &[StepRow], b: &[StepRow]) -> Option<u64> {
    let both = a.len().min(b.len());
    let same = a.iter().zip(b).take_while(|(a, b)| computed(a) == computed(b)).count();
    // Without rows of one nobody knows where they part.
    if both == 0 || (same == both && a.len() == b.len()) { None } else { Some(same as u64) }
}

fn first_tensors(a: &[ChainRow], b: &[ChainRow]) -> Option<(u64, Vec<String>)> {
    let tensors = |chain: &[ChainRow]| -> BTreeMap<(u64, String), u64> {
        let rows = chain.iter().filter(|row| !row.of.is_empty());
        rows.map(|row| ((row.step, row.of.clone()), row.hash)).collect()
    };
    let (a, b) = (tensors(a), tensors(b));
    let differs = |(key, hash): &(&(u64, String), &u64)| b.get(*key).is_some_and(|other| other != *hash);
    let (step, _) = a.iter().find(differs)?.0;
    let names = a.iter().filter(differs).filter(|((at, _), _)| at == step).map(|((_, name), _)| name.clone());
    Some((*step, names.collect()))
}

/// What two runs of one trial promise each other, and why not more.
fn expected(first: &RunRecord, second: &RunRecord) -> (Grade, String) {
    if first.trial_id != second.trial_id {
        return (Grade::Different, "they are of different trials".to_owned());
    }
    if first.plan_hash != second.plan_hash {
        return (Grade::Equivalent, "they were executed under different plans".to_owned());
    }
    if first.environment_class != second.environment_class {
        return (Grade::Equivalent, "they are of different environment classes".to_owned());
    }
    if first.environment.pinbench != second.environment.pinbench {
        return (Grade::Equivalent, "they are of different versions of pinbench".to_owned());
    }
    (Grade::Identical, String::new())
}

/// What differs in trial, plan and environment, but for what changes from minute to minute.
pub fn changes(first: &RunRecord, second: &RunRecord) -> Vec<Change> {
    let facts = |record: &RunRecord| {
        let mut facts = BTreeMap::new();
        for (name, value) in [
            ("trial", serde_json::to_value(&record.trial)),
            ("plan", serde_json::to_value(&record.plan)),
            ("environment", serde_json::to_value(&record.environment)),
        ] {
            // They were read from JSON, and have a form in it.
            flatten(name, &value.unwrap_or_default(), &mut facts);
        }
        facts.remove("environment.load_1m");
        facts
    };
    let (first, second) = (facts(first), facts(second));
    let mut names: Vec<&String> = first.keys().chain(second.keys()).collect();
    names.sort();
    names.dedup();
    let text = |facts: &BTreeMap<String, String>, name: &String| {
        facts.get(name).cloned().unwrap_or_else(|| "absent".to_owned())
    };
    let change =
        |name: &String| Change { what: name.clone(), first: text(&first, name), second: text(&second, name) };
    names.into_iter().filter(|name| first.get(*name) != second.get(*name)).map(change).collect()
}

fn flatten(path: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| flatten(&format!("{path}.{name}"), value, into));
        }
        Value::Null => {}
        Value::String(text) => {
            into.insert(path.to_owned(), text.clone());
        }
        other => {
            into.insert(path.to_owned(), other.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::samples;
    use crate::row::Split;

    fn run() -> LoadedRun {
        let mut run = samples::finished(&samples::profile().arms[0], 0);
        run.chain = chain(&run.steps, |_| 0);
        run
    }

    /// A chain over the losses with a tensor every third step; `salt` changes the tensor's hash.
    fn chain(steps: &[StepRow], salt: impl Fn(u64) -> u64) -> Vec<ChainRow> {
        let (mut rows, mut link) = (Vec::new(), 1_u64);
        for row in steps {
            link = link.rotate_left(7) ^ row.loss.to_bits().wrapping_mul(0x9e37_79b9_7f4a_7c15);
            if row.step % 3 == 2 {
                let of = "model.conv1.weight".to_owned();
                rows.push(ChainRow { step: row.step, of, hash: salt(row.step) });
                rows.push(ChainRow { step: row.step, of: "model.fc1.bias".to_owned(), hash: 9 });
                link ^= salt(row.step);
            }
            rows.push(ChainRow { step: row.step, of: String::new(), hash: link });
        }
        rows
    }

    #[test]
    fn a_run_is_identical_to_its_copy() {
        let found = compare(&run(), &run(), None);
        assert_eq!((found.grade, found.expected), (Grade::Identical, Grade::Identical));
        assert!(found.is_as_expected() && found.changes.is_empty() && found.parting.is_none());
    }

    /// The steps of both are the same, and what one measures of the weights is broken.
    #[test]
    fn equal_steps_do_not_bear_out_another_accuracy() {
        let (whole, mut other) = (run(), run());
        let last = other.epochs.iter_mut().rev().find(|row| row.split == Split::Validation).unwrap();
        last.accuracy = 0.1;
        let found = compare(&whole, &other, None);
        assert_eq!((found.grade, found.ulps), (Grade::Different, Some(0)), "{found:?}");
    }

    #[test]
    fn the_first_step_that_differs_is_found_wherever_it_is() {
        let whole = run();
        for step in [0, 1, 5, whole.steps.len() - 1] {
            let mut other = run();
            other.steps[step].loss += 1e-3;
            other.chain = chain(&other.steps, |_| 0);
            let found = compare(&whole, &other, None);
            let parting = found.parting.clone().unwrap();
            assert_eq!(parting.step, step as u64);
            assert_eq!(parting.losses, (Some(whole.steps[step].loss), Some(other.steps[step].loss)));
            assert!(found.grade > Grade::Identical && !found.is_as_expected());
            // Without a chain the losses say the same.
            let (mut old, mut older) = (whole.clone(), other.clone());
            (old.chain, older.chain) = (vec![], vec![]);
            assert_eq!(compare(&old, &older, None).parting.unwrap().step, step as u64);
        }
    }

    #[test]
    fn a_tensor_that_differs_is_named_at_the_first_step_it_was_looked_at() {
        let mut other = run();
        other.chain = chain(&other.steps, |step| u64::from(step >= 5));
        let parting = compare(&run(), &other, None).parting.unwrap();
        assert_eq!(parting.tensors, Some((5, vec!["model.conv1.weight".to_owned()])));
        assert_eq!(parting.step, 5);
    }

    #[test]
    fn a_run_that_is_shorter_parts_where_it_ends() {
        let mut other = run();
        other.steps.truncate(4);
        other.chain = chain(&other.steps, |_| 0);
        let found = compare(&run(), &other, None);
        assert_eq!(found.parting.unwrap().step, 4);
        assert_eq!(found.ulps, None);
    }

    #[test]
    fn losses_a_few_units_in_the_last_place_apart_are_not_identical_and_not_different() {
        let mut other = run();
        let loss = other.steps[3].loss as f32;
        other.steps[3].loss = f64::from(f32::from_bits(loss.to_bits() + 3));
        let mut first = run();
        first.steps[3].loss = f64::from(loss);
        let found = compare(&first, &other, None);
        assert_eq!((found.grade, found.ulps), (Grade::Ulps, Some(3)));
    }

    #[test]
    fn distances_are_counted_across_zero_and_never_to_what_is_not_finite() {
        assert_eq!(ulp_distance(1.0, 1.0 + f32::EPSILON), Some(1));
        assert_eq!(ulp_distance(-0.0, 0.0), Some(0));
        assert_eq!(ulp_distance(f32::from_bits(1), -f32::from_bits(1)), Some(2));
        assert_eq!(ulp_distance(f32::NAN, 1.0), None);
        assert_eq!(ulp_distance(f32::INFINITY, f32::NAN), Some(0));
    }

    #[test]
    fn accuracy_within_the_spread_of_seeds_is_equivalent_and_beyond_it_different() {
        let shifted = |by: f64| {
            let mut other = run();
            other.steps.iter_mut().for_each(|row| row.loss += 0.1);
            other.epochs.iter_mut().for_each(|row| row.accuracy += by);
            other
        };
        let spread = Some(Spread { sd: Some(0.002), n: 5, mean: 0.9 });
        // t with 4 degrees of freedom at 0.995 is 4.604.
        let (_, tolerance) = compare(&run(), &shifted(0.0), spread).accuracy.unwrap();
        assert!((tolerance - 4.604 * 0.002 * 2.0_f64.sqrt()).abs() < 1e-5, "{tolerance}");
        assert_eq!(compare(&run(), &shifted(0.01), spread).grade, Grade::Equivalent);
        assert_eq!(compare(&run(), &shifted(-0.05), spread).grade, Grade::Different);
    }

    /// Runs of batch 64 and of batch 128 were called "statistically equivalent", the word for a replay that came out well.
    #[test]
    fn runs_of_different_trials_are_no_replay_however_alike() {
        let mut other = run();
        assert_eq!(compare(&run(), &other, None).headline(), "bit-identical");
        other.record.trial.seed = crate::stream::Seed(1);
        other.record.trial_id = other.record.trial.id();
        other.steps.iter_mut().for_each(|row| row.loss += 0.1);
        let found = compare(&run(), &other, None);
        assert_eq!((found.grade, found.headline()), (Grade::Equivalent, "of different trials: not a replay"));
    }

    #[test]
    fn what_differs_around_the_runs_is_named_and_lowers_what_is_expected() {
        let mut other = run();
        other.record.environment.kernel = "6.2".to_owned();
        other.record.environment.load_1m = Some(99.0);
        let found = compare(&run(), &other, None);
        let what: Vec<&str> = found.changes.iter().map(|change| change.what.as_str()).collect();
        assert_eq!((what, found.expected), (vec!["environment.kernel"], Grade::Identical));
        other.record.environment.cores = 9;
        other.record.environment_class = other.record.environment.class();
        let found = compare(&run(), &other, None);
        assert_eq!(found.expected, Grade::Equivalent);
        assert!(found.reason.contains("classes") && found.is_as_expected());
    }
}
