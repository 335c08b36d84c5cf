//! Whether the runs have come to what a claim needs to be judged.

use crate::analyse::measure::Measures;
use crate::analyse::quantity;
use crate::analyse::summary::{ArmSummary, Summary};
use crate::experiment::claim::{Alike, Claim};
use crate::experiment::metric::{Metric, Quantity};
use crate::record::LoadedRun;
use crate::stream::Seed;
use crate::{stats, text};

/// What the claim needs and the runs of its arms are not, each with what was found. Where arms are compared at an equal
/// value of something, the values are remarked also when they are equal.
pub fn unmet(claim: &Claim, summary: &Summary, remarks: &mut Vec<String>) -> Vec<String> {
    let needs = &claim.needs;
    let loss = Metric { quantity: Quantity::TrainEvalLoss, at: None };
    let (mut few, mut high, mut other) = (Vec::new(), Vec::new(), Vec::new());
    for arm in claim.arms().into_iter().map(|arm| &summary.arms[arm]) {
        let name = &arm.name;
        // The rows of its steps may have been taken away from a run.
        let updates =
            arm.counted.iter().filter_map(|(run, _)| Some(run.record.outcome.as_ref()?.steps)).min();
        let least = updates.filter(|found| needs.updates.is_some_and(|wanted| *found < wanted));
        few.extend(least.map(|found| format!("{name} has {}", text::count(found))));
        let worst = values(loss, arm).map(|(_, loss)| loss).max_by(f64::total_cmp);
        let worst = worst.filter(|found| needs.train_loss.is_some_and(|wanted| *found > wanted));
        high.extend(worst.map(|found| format!("{name} is at {}", text::fixed(found, 4))));
        let plan = arm.counted.iter().map(|(run, _)| run.record.plan.name);
        let plan = plan.into_iter().find(|found| needs.plan.is_some_and(|wanted| *found != wanted));
        other.extend(plan.map(|found| format!("{name} ran under {found}")));
    }
    let mut unmet = Vec::new();
    let mut say = |what: String, found: Vec<String>| {
        if !found.is_empty() {
            unmet.push(format!("{what}: {}", text::and(&found)));
        }
    };
    say(format!("needs {} updates of each run", text::count(needs.updates.unwrap_or(0))), few);
    say(format!("needs a training loss of {} nats in eval mode", needs.train_loss.unwrap_or(0.0)), high);
    say(needs.plan.map(|plan| format!("is about plan {plan}")).unwrap_or_default(), other);
    if let Some(alike) = &needs.alike {
        let (said, are_alike) = are_alike(alike, claim, summary);
        if are_alike { remarks.push(said) } else { unmet.push(said) }
    }
    unmet
}

/// The values in which the arms are to be alike, in words, and whether they are.
fn are_alike(Alike { metric, within }: &Alike, claim: &Claim, summary: &Summary) -> (String, bool) {
    let places = metric.quantity.facts().places;
    let mut means = Vec::new();
    let mut said = Vec::new();
    for arm in claim.arms().into_iter().map(|arm| &summary.arms[arm]) {
        let found: Vec<f64> = values(*metric, arm).map(|(_, value)| value).collect();
        let mean = stats::mean(&found);
        let number = mean.map_or_else(|| "none".to_owned(), |mean| text::fixed(mean, places));
        said.push(format!("{} {number}", arm.name));
        means.push(mean.unwrap_or(f64::NAN));
    }
    let (low, high) =
        (means.iter().copied().fold(f64::NAN, f64::min), means.iter().copied().fold(f64::NAN, f64::max));
    let are_alike = means.iter().all(|mean| mean.is_finite()) && high - low <= *within;
    let said = said.join(", ");
    let text = match are_alike {
        true => format!("compared at an equal {metric}: {said}"),
        false => format!("is to be compared at an equal {metric}, within {within}, and that is: {said}"),
    };
    (text, are_alike)
}

/// The usable values of a metric in the arm's runs.
pub fn values<'s>(metric: Metric, arm: &'s ArmSummary) -> impl Iterator<Item = (Seed, f64)> + 's {
    let value = move |(run, measures): &(&LoadedRun, Measures)| {
        Some((run.record.trial.seed, quantity::value(metric, run, measures)?))
    };
    arm.counted.iter().filter_map(value).filter(|(_, value)| value.is_finite())
}
