//! Whether the runs have come to what a claim needs to be judged.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::analyse::measure::Measures;
use crate::analyse::quantity;
use crate::analyse::summary::{ArmSummary, Summary};
use crate::experiment::claim::{Alike, Claim};
use crate::experiment::metric::{Metric, Quantity};
use crate::language::Localised;
use crate::record::LoadedRun;
use crate::stream::Seed;
use crate::words::Words;
use crate::{stats, text};

/// What the claim needs and the runs of its arms are not, each with what was found. Where arms are compared at an equal
/// value of something, the values are remarked also when they are equal.
pub(super) fn unmet(claim: &Claim, summary: &Summary, remarks: &mut Vec<Localised>) -> Vec<Localised> {
    let needs = &claim.needs;
    let loss = Metric { quantity: Quantity::TrainEvalLoss, at: None };
    let (mut few, mut high, mut other) = (Vec::new(), Vec::new(), Vec::new());
    for arm in claim.arms().into_iter().map(|arm| &summary.arms[arm]) {
        let found = |key: &str, value: (&str, &dyn Display)| {
            Words::each(|words| words.say(key, &[("arm", &arm.name.to(words.language)), value]))
        };
        // The rows of its steps may have been taken away from a run.
        let updates =
            arm.counted.iter().filter_map(|(run, _)| Some(run.record.outcome.as_ref()?.steps)).min();
        let least = updates.filter(|found| needs.updates.is_some_and(|wanted| *found < wanted));
        few.extend(least.map(|least| found("remark.updates-found", ("n", &text::count(least)))));
        let worst = values(loss, arm).map(|(_, loss)| loss).max_by(f64::total_cmp);
        let worst = worst.filter(|found| needs.train_loss.is_some_and(|wanted| *found > wanted));
        high.extend(worst.map(|worst| found("remark.loss-found", ("loss", &text::fixed(worst, 4)))));
        let plan = arm.counted.iter().map(|(run, _)| run.record.plan.name);
        let plan = plan.into_iter().find(|found| needs.plan.is_some_and(|wanted| *found != wanted));
        other.extend(plan.map(|plan| found("remark.plan-found", ("plan", &plan))));
    }
    let mut unmet = Vec::new();
    let mut say = |key: &str, wanted: (&str, &dyn Display), found: Vec<Localised>| {
        if !found.is_empty() {
            unmet.push(Words::each(|words| words.say(key, &[wanted, ("found", &words.list_of(&found))])));
        }
    };
    say("remark.updates", ("n", &text::count(needs.updates.unwrap_or(0))), few);
    say("remark.loss", ("loss", &needs.train_loss.unwrap_or(0.0)), high);
    say("remark.plan", ("plan", &needs.plan.map(|plan| plan.to_string()).unwrap_or_default()), other);
    if let Some(alike) = &needs.alike {
        let (said, are_alike) = are_alike(alike, claim, summary);
        if are_alike { remarks.push(said) } else { unmet.push(said) }
    }
    unmet
}

/// The values in which the arms are to be alike, in words, and whether they are.
fn are_alike(Alike { metric, within }: &Alike, claim: &Claim, summary: &Summary) -> (Localised, bool) {
    let places = metric.quantity.facts().places;
    let mut means = Vec::new();
    let mut said = Vec::new();
    let of_arms: Vec<(&ArmSummary, BTreeMap<Seed, f64>)> = claim
        .arms()
        .into_iter()
        .map(|arm| (&summary.arms[arm], values(*metric, &summary.arms[arm]).collect()))
        .collect();
    // Arms are compared within seeds, so that a seed which only one of them has says nothing of what is compared.
    let is_shared = |seed: &Seed| of_arms.iter().all(|(_, values)| values.contains_key(seed));
    for (arm, values) in &of_arms {
        let found: Vec<f64> =
            values.iter().filter(|(seed, _)| is_shared(seed)).map(|(_, value)| *value).collect();
        let mean = stats::mean(&found);
        said.push(Words::each(|words| {
            let none = || words.word("word.none").to_owned();
            let number = mean.map_or_else(none, |mean| text::fixed(mean, places));
            words.say("remark.alike-value", &[("arm", &arm.name.to(words.language)), ("value", &number)])
        }));
        means.push(mean.unwrap_or(f64::NAN));
    }
    let (low, high) =
        (means.iter().copied().fold(f64::NAN, f64::min), means.iter().copied().fold(f64::NAN, f64::max));
    let are_alike = means.iter().all(|mean| mean.is_finite()) && high - low <= *within;
    let text = Words::each(|words| {
        let said = said.iter().map(|said: &Localised| said.to(words.language)).collect::<Vec<_>>().join(", ");
        let metric = words.metric(*metric);
        match are_alike {
            true => words.say("remark.alike", &[("metric", &metric), ("values", &said)]),
            false => {
                let all: [(&str, &dyn Display); 3] =
                    [("metric", &metric), ("within", within), ("values", &said)];
                words.say("remark.not-alike", &all)
            }
        }
    });
    (text, are_alike)
}

/// The usable values of a metric in the arm's runs.
pub(super) fn values<'s>(metric: Metric, arm: &'s ArmSummary) -> impl Iterator<Item = (Seed, f64)> + 's {
    let value = move |(run, measures): &(&LoadedRun, Measures)| {
        Some((run.record.trial.seed, quantity::value(metric, run, measures)?))
    };
    arm.counted.iter().filter_map(value).filter(|(_, value)| value.is_finite())
}
