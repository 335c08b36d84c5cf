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

use crate::analyse::caveat::Caveat;
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
/// What is asked for when the number of seeds is planned (Cohen, Statistical Power Analysis, 1988).
const POWER: f64 = 0.8;

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
        let barred_by = summary.times_barred_by().filter(|_| metric.quantity.facts().is_timing);
        if let Some(caveat) = barred_by {
            let why = match caveat {
                Caveat::SideBySide(_) => "the runs trained side by side",
                _ => "the runs were not executed alike",
            };
            remark(remarks, format!("{metric}: {why}, so times are not compared"));
        }
        let mut arms = Arms { test, summary, remarks };
        let mut comparisons = match &test.statement {
            Statement::Order(list) => {
                let pair = |pair: &[usize]| arms.pair(pair[0], pair[1], "above", Kind::Above);
                list.windows(2).map(pair).collect()
            }
            Statement::Equal(a, b) => vec![arms.pair(*a, *b, "equal to", Kind::Equal)],
            Statement::Above(arm, bound) => vec![arms.bound(*arm, *bound, 1.0)],
            Statement::Below(arm, bound) => vec![arms.bound(*arm, *bound, -1.0)],
            Statement::Rises(list) => vec![arms.trend(list, 1.0)],
            Statement::Falls(list) => vec![arms.trend(list, -1.0)],
        };
        if barred_by.is_some() {
            // They stay, so that the claim is not decided by what is left of it.
            comparisons.iter_mut().for_each(|comparison| comparison.values.clear());
        }
        comparisons
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
            is_two_sided: self.kind == Kind::Equal,
            effect_size: stats::mean(&values).zip(sd).map(|(mean, sd)| mean / sd),
            seeds_more: (verdict == Verdict::Inconclusive).then(|| self.seeds_more(&values, count)).flatten(),
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
    fn seeds_more(&self, values: &[f64], count: usize) -> Option<u32> {
        let (mean, sd, n) = (stats::mean(values)?, stats::sample_sd(values)?, values.len());
        let needed =
            |effect, alpha, power| inference::values_needed(effect, sd, (n + 1, MOST_SEEDS), alpha, power);
        let (margin, refuting) = (self.margin, ALPHA / 2.0 / count as f64);
        let needed = match self.kind {
            // Both sides must be excluded, so each with less than half of the risk.
            Kind::Equal if mean.abs() < margin => needed(margin - mean.abs(), ALPHA, 0.9),
            Kind::Equal => needed(mean.abs() - margin, refuting, POWER),
            // The interval must leave 0 out, and the mean must come out above the margin again.
            Kind::Above | Kind::Bound if mean >= margin => {
                Some(needed(mean, ALPHA / 2.0, POWER)?.max(needed(mean - margin, 0.5, POWER)?))
            }
            Kind::Above | Kind::Bound => needed(margin - mean, refuting, POWER),
        };
        Some((needed? - n) as u32)
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
        let values: Vec<(Seed, f64)> = first.iter().filter_map(difference).collect();
        for seed in first.keys().chain(second.keys()) {
            if !(first.contains_key(seed) && second.contains_key(seed)) {
                let text = format!(
                    "seed {seed}: only one of {} and {} has it, left out",
                    self.name(a),
                    self.name(b)
                );
                remark(self.remarks, text);
            }
        }
        self.comparison(format!("{} {relation} {}", self.name(a), self.name(b)), kind, values)
    }

    fn bound(&mut self, arm: usize, bound: f64, sign: f64) -> Comparison {
        let values = self.values(arm, Kind::Bound).into_iter();
        let values = values.map(|(seed, value)| (seed, sign * (value - bound))).collect();
        let relation = if sign > 0.0 { "above" } else { "below" };
        self.comparison(format!("{} {relation} {bound}", self.name(arm)), Kind::Bound, values)
    }

    /// The slope of least squares over the arms' ranks: the mean change from an arm to the next.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::samples;
    use crate::analyse::summary::ArmRuns;
    use crate::experiment::plan::{Device, Plan, PlanName};
    use crate::stats::inference::draws::Normal;

    /// The batch-size experiment with one claim of `tests` in TOML.
    fn experiment(tests: &str) -> Experiment {
        let claim = format!("[[claims]]\nid = \"X\"\nsays = \"a claim\"\ntests = [{tests}]\n");
        samples::parse(&format!("{}\n{claim}", samples::TOML))
    }

    /// Arms whose validation accuracies by seed are `accuracies`.
    fn arms<'a>(experiment: &'a Experiment, accuracies: &[&[f64]]) -> Vec<ArmRuns<'a>> {
        let profile = &experiment.profile;
        let mut arms = Vec::new();
        for (arm, accuracies) in profile.arms.iter().zip(accuracies) {
            let run = |(seed, &accuracy): (usize, &f64)| {
                let mut run = samples::finished(arm, seed as u64);
                samples::set_validation(&mut run, accuracy);
                run
            };
            arms.push(ArmRuns::new(arm, accuracies.iter().enumerate().map(run).collect()));
        }
        arms
    }

    fn verdict_of(tests: &str, accuracies: &[&[f64]]) -> (Verdict, Vec<Evidence>, Vec<String>) {
        let experiment = experiment(tests);
        let arms = arms(&experiment, accuracies);
        let summary = Summary::of(&experiment, &arms);
        let mut found = assess(&experiment, &summary);
        let Assessment { verdict, evidence, remarks, claim } = found.remove(0);
        assert_eq!(claim.mistake, None);
        (verdict, evidence, remarks)
    }

    const ABOVE: &str = "{ metric = \"val_acc\", order = \"64 > 128\", margin = 0.005 }";
    const EQUAL: &str = "{ metric = \"val_acc\", equal = \"64 = 128\", margin = 0.005 }";

    #[test]
    fn a_clear_order_is_supported_and_its_reverse_refuted() {
        let (high, low) = ([0.95, 0.952, 0.949], [0.93, 0.931, 0.93]);
        let (verdict, evidence, remarks) = verdict_of(ABOVE, &[&high, &low]);
        assert_eq!((verdict, remarks), (Verdict::Supported, vec![]));
        assert!((evidence[0].estimate.unwrap() - 0.02).abs() < 1e-12);
        assert_eq!(evidence[0].what, "validation accuracy: batch 64 above batch 128");
        assert_eq!(verdict_of(ABOVE, &[&low, &high]).0, Verdict::Refuted);
    }

    #[test]
    fn an_effect_too_small_to_matter_is_refuted_and_an_unclear_one_is_not() {
        // Surely above 0, and surely below the margin.
        assert_eq!(verdict_of(ABOVE, &[&[0.951, 0.9512, 0.9511], &[0.95, 0.95, 0.95]]).0, Verdict::Refuted);
        let (verdict, evidence, _) = verdict_of(ABOVE, &[&[0.95, 0.97, 0.96], &[0.95, 0.94, 0.96]]);
        assert_eq!(verdict, Verdict::Inconclusive);
        assert!(evidence[0].seeds_more.is_some_and(|more| more > 0));
    }

    #[test]
    fn one_seed_decides_nothing_however_large_the_difference() {
        for tests in [ABOVE, EQUAL] {
            let (verdict, evidence, _) = verdict_of(tests, &[&[0.99], &[0.1]]);
            assert_eq!((verdict, evidence[0].interval), (Verdict::Inconclusive, None));
        }
    }

    #[test]
    fn arms_are_equal_only_when_shown_to_be_within_the_margin() {
        let base = [0.95, 0.951, 0.952];
        assert_eq!(verdict_of(EQUAL, &[&base, &base]).0, Verdict::Supported);
        assert_eq!(verdict_of(EQUAL, &[&base, &[0.9501, 0.9509, 0.9521]]).0, Verdict::Supported);
        // A difference that is not found is no equality.
        assert_eq!(verdict_of(EQUAL, &[&base, &[0.94, 0.96, 0.95]]).0, Verdict::Inconclusive);
        assert_eq!(verdict_of(EQUAL, &[&base, &[0.92, 0.921, 0.922]]).0, Verdict::Refuted);
    }

    #[test]
    fn a_chain_is_supported_by_all_of_its_links_and_refuted_by_one() {
        let chain = "{ metric = \"val_acc\", order = \"64 > 128 > 1024\", margin = 0.005 }";
        let [high, middle, low] = [[0.95, 0.952, 0.949], [0.93, 0.931, 0.93], [0.9, 0.9, 0.901]];
        assert_eq!(verdict_of(chain, &[&high, &middle, &low]).0, Verdict::Supported);
        assert_eq!(verdict_of(chain, &[&high, &low, &middle]).0, Verdict::Refuted);
        let falls = "{ metric = \"val_acc\", falls = [\"64\", \"128\", \"1024\"], margin = 0.005 }";
        let (verdict, evidence, _) = verdict_of(falls, &[&high, &middle, &low]);
        assert_eq!(verdict, Verdict::Supported);
        assert!((evidence[0].estimate.unwrap() - 0.025).abs() < 1e-3);
    }

    #[test]
    fn bounds_are_on_the_mean_of_an_arm() {
        let bound = |text: &str| format!("{{ metric = \"val_acc\", bound = \"{text}\", margin = 0.001 }}");
        let values: [&[f64]; 1] = [&[0.95, 0.951, 0.952]];
        assert_eq!(verdict_of(&bound("64 > 0.9"), &values).0, Verdict::Supported);
        assert_eq!(verdict_of(&bound("64 < 0.9"), &values).0, Verdict::Refuted);
        assert_eq!(verdict_of(&bound("64 > 0.951"), &values).0, Verdict::Inconclusive);
    }

    #[test]
    fn ratios_are_compared_as_ratios_and_said_in_percent() {
        let experiment = experiment("{ metric = \"train_minutes\", order = \"1024 > 64\", margin = 0.1 }");
        let profile = &experiment.profile;
        let mut arms = samples::arms(profile, &[0, 1, 2]);
        for (arm, ns) in [(0, 10_000_000), (2, 15_000_000)] {
            for run in &mut arms[arm].runs {
                run.steps = (0..40).map(|index| samples::step(index, 64, ns)).collect();
            }
        }
        let summary = Summary::of(&experiment, &arms);
        let found = assess(&experiment, &summary);
        let evidence = &found[0].evidence[0];
        assert_eq!((found[0].verdict, evidence.unit), (Verdict::Supported, "%"));
        assert!((evidence.estimate.unwrap() - 50.0).abs() < 1e-9 && (evidence.margin - 10.0).abs() < 1e-9);
        // Runs of two plans have no times to compare, and what is left must not decide.
        let record = &mut arms[2].runs[0].record;
        record.plan = Plan::named(PlanName::Eager, 2, Device::Cpu);
        record.plan_hash = record.plan.hash();
        let summary = Summary::of(&experiment, &arms);
        let found = assess(&experiment, &summary);
        assert_eq!(found[0].verdict, Verdict::NotEvaluated);
        assert!(found[0].remarks[0].contains("not executed alike"), "{:?}", found[0].remarks);
        // Neither have runs that trained side by side, however alike.
        for record in arms.iter_mut().flat_map(|arm| arm.runs.iter_mut()).map(|run| &mut run.record) {
            record.beside = 1;
            record.plan = Plan::named(PlanName::Tuned, 1, Device::Cpu);
            record.plan_hash = record.plan.hash();
        }
        let summary = Summary::of(&experiment, &arms);
        let found = assess(&experiment, &summary);
        assert_eq!(found[0].verdict, Verdict::NotEvaluated);
        assert!(found[0].remarks[0].contains("trained side by side"), "{:?}", found[0].remarks);
    }

    #[test]
    fn what_is_missing_is_remarked_and_the_rest_is_evaluated() {
        let (verdict, evidence, remarks) =
            verdict_of(ABOVE, &[&[0.95, 0.952, 0.949, 0.99], &[0.93, f64::NAN, 0.93]]);
        assert_eq!(verdict, Verdict::Supported);
        assert_eq!(evidence[0].values.iter().map(|(seed, _)| seed.0).collect::<Vec<_>>(), [0, 2]);
        assert!(remarks.iter().any(|remark| remark.contains("batch 128, seed 1")), "{remarks:?}");
        assert!(remarks.iter().any(|remark| remark.contains("seed 3: only one")), "{remarks:?}");
        assert_eq!(verdict_of(ABOVE, &[&[0.95, 0.96]]).0, Verdict::NotEvaluated);
    }

    /// Verdicts on simulated studies of `n` seeds whose arms differ by `effect` with a deviation of 0.004.
    fn share(tests: &str, wanted: Verdict, n: usize, effect: f64, stream: u8) -> f64 {
        let experiment = experiment(tests);
        let mut normal = Normal::new(stream);
        let studies = 1000;
        let mut found = 0;
        for _ in 0..studies {
            let mut draw = |mean: f64| (0..n).map(|_| normal.draw(mean, 0.004)).collect::<Vec<f64>>();
            let (high, low) = (draw(0.9 + effect), draw(0.9));
            let values: Vec<(Seed, f64)> =
                high.iter().zip(&low).enumerate().map(|(seed, (a, b))| (Seed(seed as u64), a - b)).collect();
            let comparison = Comparison {
                what: String::new(),
                metric: experiment.claims[0].tests[0].metric,
                kind: if tests == EQUAL { Kind::Equal } else { Kind::Above },
                values,
                margin: 0.005,
            };
            found += usize::from(comparison.evidence(1).verdict == wanted);
        }
        found as f64 / f64::from(studies)
    }

    #[test]
    fn arms_that_do_not_differ_are_seldom_said_to() {
        for n in [3, 5] {
            // 2.5 % and four standard errors over 1000 studies.
            let false_alarms = share(ABOVE, Verdict::Supported, n, 0.0, 11);
            assert!(false_alarms <= 0.025 + 0.02, "{n}: {false_alarms}");
            // Arms at the margin of equality are called equal at most in 5 %.
            let false_equal = share(EQUAL, Verdict::Supported, n, 0.005, 12);
            assert!(false_equal <= 0.05 + 0.028, "{n}: {false_equal}");
            // Arms that differ by what matters are said not to in at most 2.5 %.
            let false_refuted = share(ABOVE, Verdict::Refuted, n, 0.005, 13);
            assert!(false_refuted <= 0.025 + 0.02, "{n}: {false_refuted}");
        }
    }

    #[test]
    fn planted_effects_are_found() {
        assert!(share(ABOVE, Verdict::Supported, 5, 0.02, 14) > 0.95);
        assert!(share(ABOVE, Verdict::Refuted, 5, -0.02, 15) > 0.95);
        assert!(share(EQUAL, Verdict::Refuted, 5, 0.03, 16) > 0.95);
        assert!(share(EQUAL, Verdict::Supported, 20, 0.0, 17) > 0.8);
    }
}
