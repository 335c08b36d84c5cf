//! Claims to verdicts.
//!
//! Every comparison of a claim comes down to one number a seed: a difference of two arms, the logarithm of their
//! ratio, a distance to a bound, a slope. With δ the least effect that matters and α = 5 %:
//!
//! - *supported*: the 95 % interval of the mean lies above 0, and the mean is at least δ;
//! - *refuted*: the interval lies below δ, so that an effect that matters is excluded, reversed ones included;
//! - *inconclusive*: neither. One seed alone never decides.
//!
//! Two arms are *equal* when the 90 % interval lies within ±δ: two one-sided tests at 5 % (Schuirmann, Journal of
//! Pharmacokinetics and Biopharmaceutics 15(6), 1987). They are not when the 95 % interval lies outside of it.
//!
//! A claim of several comparisons is supported when all are (an intersection-union test, which needs no correction:
//! Berger, Technometrics 24(4), 1982) and refuted when one is, each then tested at α over their number (Bonferroni).

use std::collections::BTreeMap;

use crate::analyse::quantity;
use crate::analyse::summary::Summary;
use crate::analyse::verdict::{Assessment, Evidence, Verdict};
use crate::experiment::Experiment;
use crate::experiment::claim::{Claim, Statement, Test};
use crate::experiment::metric::{Metric, Scale};
use crate::stats::{self, inference};
use crate::stream::Seed;

const ALPHA: f64 = 0.05;
/// More seeds than these are not worth naming.
const MOST_SEEDS: usize = 1000;

/// The verdict on every claim of `experiment`, in its order.
pub fn assess<'a>(experiment: &'a Experiment, summary: &Summary) -> Vec<Assessment<'a>> {
    experiment.claims.iter().map(|claim| assess_claim(claim, summary)).collect()
}

fn assess_claim<'a>(claim: &'a Claim, summary: &Summary) -> Assessment<'a> {
    if let Some(mistake) = &claim.mistake {
        let remarks = vec![format!("the claim cannot be evaluated: {mistake}")];
        return Assessment { claim, verdict: Verdict::NotEvaluated, evidence: Vec::new(), remarks };
    }
    let mut remarks = Vec::new();
    let comparisons: Vec<Comparison> =
        claim.tests.iter().flat_map(|test| Comparison::all(test, summary, &mut remarks)).collect();
    let count = comparisons.len();
    let evidence: Vec<Evidence> = comparisons.iter().map(|comparison| comparison.evidence(count)).collect();
    Assessment { claim, verdict: overall(&evidence), evidence, remarks }
}

fn overall(evidence: &[Evidence]) -> Verdict {
    let any = |verdict| evidence.iter().any(|evidence| evidence.verdict == verdict);
    let all = |verdict| evidence.iter().all(|evidence| evidence.verdict == verdict);
    if evidence.is_empty() || all(Verdict::NotEvaluated) {
        Verdict::NotEvaluated
    } else if any(Verdict::Refuted) {
        Verdict::Refuted
    } else if all(Verdict::Supported) {
        Verdict::Supported
    } else {
        Verdict::Inconclusive
    }
}

/// One number a seed, and what would make it true.
struct Comparison {
    what: String,
    metric: Metric,
    kind: Kind,
    /// On the scale that is tested: a logarithm for ratios.
    values: Vec<(Seed, f64)>,
    margin: f64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Above 0 by the margin: a difference of arms, or a slope.
    Above,
    /// Within the margin of 0.
    Equal,
    /// A distance to a bound, in the metric's own unit whatever its scale.
    Bound,
}

impl Comparison {
    fn all(test: &Test, summary: &Summary, remarks: &mut Vec<String>) -> Vec<Self> {
        let metric = test.metric;
        if metric.quantity.facts().is_timing && !summary.times_are_comparable() {
            remark(remarks, format!("{metric}: the runs were not executed alike, so times are not compared"));
            return Vec::new();
        }
        let mut arms = Arms { test, summary, remarks };
        match &test.statement {
            Statement::Order(list) => {
                let pair = |pair: &[usize]| arms.pair(pair[0], pair[1], "above", Kind::Above);
                list.windows(2).map(pair).collect()
            }
            Statement::Equal(a, b) => vec![arms.pair(*a, *b, "equal to", Kind::Equal)],
            Statement::Above(arm, bound) => vec![arms.bound(*arm, *bound, 1.0)],
            Statement::Below(arm, bound) => vec![arms.bound(*arm, *bound, -1.0)],
            Statement::Rises(list) => vec![arms.trend(list, 1.0)],
            Statement::Falls(list) => vec![arms.trend(list, -1.0)],
        }
    }

    /// As one of `count` comparisons of its claim.
    fn evidence(&self, count: usize) -> Evidence {
        let values: Vec<f64> = self.values.iter().map(|(_, value)| *value).collect();
        let facts = self.metric.quantity.facts();
        let interval = inference::interval(&values, ALPHA);
        let is_ratio = self.is_ratio();
        let show = |value: f64| if is_ratio { 100.0 * value.exp_m1() } else { value };
        let verdict = self.verdict(&values, count);
        let sd = stats::sample_sd(&values).filter(|sd| *sd > 0.0);
        Evidence {
            what: self.what.clone(),
            unit: if is_ratio { "%" } else { facts.unit },
            places: if is_ratio { 1 } else { facts.places },
            values: self.values.iter().map(|&(seed, value)| (seed, show(value))).collect(),
            estimate: stats::mean(&values).map(show),
            interval: interval.map(|(low, high)| (show(low), show(high))),
            margin: show(self.margin),
            effect_size: stats::mean(&values).zip(sd).map(|(mean, sd)| mean / sd),
            seeds_more: (verdict == Verdict::Inconclusive).then(|| self.seeds_more(&values)).flatten(),
            verdict,
            method: match self.kind {
                Kind::Above => "paired t, 95 % interval",
                Kind::Equal => "two one-sided paired t tests at 5 %",
                Kind::Bound => "one-sample t, 95 % interval",
            },
        }
    }

    fn is_ratio(&self) -> bool {
        self.kind != Kind::Bound && self.metric.quantity.facts().scale == Scale::Ratio
    }

    fn verdict(&self, values: &[f64], count: usize) -> Verdict {
        let Some(mean) = stats::mean(values) else { return Verdict::NotEvaluated };
        let alpha = ALPHA / count as f64;
        let (Some(supports), Some(refutes)) = (
            inference::interval(values, if self.kind == Kind::Equal { 2.0 * ALPHA } else { ALPHA }),
            inference::interval(values, alpha),
        ) else {
            return Verdict::Inconclusive;
        };
        let margin = self.margin;
        let (supported, refuted) = match self.kind {
            Kind::Equal => {
                (supports.0 > -margin && supports.1 < margin, refutes.0 > margin || refutes.1 < -margin)
            }
            Kind::Above | Kind::Bound => (supports.0 > 0.0 && mean >= margin, refutes.1 < margin),
        };
        match (supported, refuted) {
            (true, _) => Verdict::Supported,
            (false, true) => Verdict::Refuted,
            (false, false) => Verdict::Inconclusive,
        }
    }

    /// How many more seeds would decide it one way or the other, if mean and spread are as they seem.
    fn seeds_more(&self, values: &[f64]) -> Option<u32> {
        let (mean, sd, n) = (stats::mean(values)?, stats::sample_sd(values)?, values.len());
        let (effect, alpha) = match self.kind {
            Kind::Equal if mean.abs() < self.margin => (self.margin - mean.abs(), ALPHA),
            Kind::Equal => (mean.abs() - self.margin, ALPHA / 2.0),
            Kind::Above | Kind::Bound if mean >= self.margin => (mean, ALPHA / 2.0),
            Kind::Above | Kind::Bound => (self.margin - mean, ALPHA / 2.0),
        };
        let needed = inference::values_needed(effect, sd, n + 1, alpha, MOST_SEEDS)?;
        Some((needed - n) as u32)
    }
}

/// The arms of a summary, looked at through one test.
struct Arms<'a> {
    test: &'a Test,
    summary: &'a Summary<'a>,
    remarks: &'a mut Vec<String>,
}

impl Arms<'_> {
    fn pair(&mut self, a: usize, b: usize, relation: &str, kind: Kind) -> Comparison {
        let (first, second) = (self.values(a, kind), self.values(b, kind));
        let difference = |(seed, value): (&Seed, &f64)| Some((*seed, value - second.get(seed)?));
        let values = first.iter().filter_map(difference).collect();
        self.comparison(format!("{} {relation} {}", self.name(a), self.name(b)), kind, values)
    }

    fn bound(&mut self, arm: usize, bound: f64, sign: f64) -> Comparison {
        let values = self.values(arm, Kind::Bound).into_iter();
        let values = values.map(|(seed, value)| (seed, sign * (value - bound))).collect();
        let relation = if sign > 0.0 { "above" } else { "below" };
        self.comparison(format!("{} {relation} {bound}", self.name(arm)), Kind::Bound, values)
    }

    /// The mean change from each arm to the next, which is that from the first to the last over their distance, but
    /// with every arm having its say: the slope of least squares over the arms' ranks.
    fn trend(&mut self, list: &[usize], sign: f64) -> Comparison {
        let arms: Vec<BTreeMap<Seed, f64>> = list.iter().map(|&arm| self.values(arm, Kind::Above)).collect();
        let slope = |seed: &Seed| {
            let values: Option<Vec<f64>> = arms.iter().map(|arm| arm.get(seed).copied()).collect();
            Some((*seed, sign * slope(&values?)))
        };
        let values = arms[0].keys().filter_map(slope).collect();
        let names: Vec<&str> = list.iter().map(|&arm| self.name(arm)).collect();
        let relation = if sign > 0.0 { "rises" } else { "falls" };
        self.comparison(format!("{relation} over {}", names.join(", ")), Kind::Above, values)
    }

    fn comparison(&self, what: String, kind: Kind, values: Vec<(Seed, f64)>) -> Comparison {
        let metric = self.test.metric;
        let what = format!("{metric}: {what}");
        let mut comparison = Comparison { what, metric, kind, values, margin: self.test.margin };
        if comparison.is_ratio() {
            comparison.margin = comparison.margin.ln_1p();
        }
        comparison
    }

    fn name(&self, arm: usize) -> &str {
        &self.summary.arms[arm].name
    }

    /// The arm's values by seed, as logarithms where arms are compared by their ratio. A seed without one is remarked.
    fn values(&mut self, arm: usize, kind: Kind) -> BTreeMap<Seed, f64> {
        let (metric, arm) = (self.test.metric, &self.summary.arms[arm]);
        let is_ratio = kind != Kind::Bound && metric.quantity.facts().scale == Scale::Ratio;
        let mut values = BTreeMap::new();
        for (run, measures) in &arm.counted {
            let value = quantity::value(metric, run, measures);
            let usable = value.filter(|value| value.is_finite() && (!is_ratio || *value > 0.0));
            let seed = run.record.trial.seed;
            match usable {
                Some(value) => drop(values.insert(seed, if is_ratio { value.ln() } else { value })),
                None => {
                    let found = value.map_or("none".to_owned(), |value| value.to_string());
                    let text = format!("{}, seed {seed}: no usable {metric} ({found}), left out", arm.name);
                    remark(self.remarks, text);
                }
            }
        }
        if arm.counted.is_empty() {
            remark(self.remarks, format!("{}: no finished run", arm.name));
        }
        values
    }
}

/// Each remark once: one arm stands in several comparisons.
fn remark(remarks: &mut Vec<String>, text: String) {
    if !remarks.contains(&text) {
        remarks.push(text);
    }
}

/// Least squares over the ranks 0, 1, 2, …
fn slope(values: &[f64]) -> f64 {
    let middle = (values.len() - 1) as f64 / 2.0;
    let moment: f64 = values.iter().enumerate().map(|(rank, value)| (rank as f64 - middle) * value).sum();
    let spread: f64 = (0..values.len()).map(|rank| (rank as f64 - middle).powi(2)).sum();
    moment / spread
}
