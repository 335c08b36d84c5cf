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
//! Berger, Technometrics 24(4), 1982). Where one is refuted, each being tested at α over their number (Bonferroni), the
//! claim is refuted, or holds in part where others are supported.

use std::collections::{BTreeMap, BTreeSet};

use crate::analyse::comparison::{Comparison, Kind, widest};
use crate::analyse::summary::Summary;
use crate::analyse::verdict::{Assessment, Bound, Evidence, Verdict, overall};
use crate::analyse::{needs, quantity};
use crate::experiment::Experiment;
use crate::experiment::claim::{Claim, Statement, Test};
use crate::experiment::metric::Scale;
use crate::language::Localised;
use crate::stats;
use crate::stream::Seed;
use crate::words::Words;

/// The verdict on every claim of `experiment`, in its order.
pub fn assess<'a>(experiment: &'a Experiment, summary: &Summary) -> Vec<Assessment<'a>> {
    let is_reduced = !experiment.profile.changes.is_empty();
    let of = |claim| Assessment { is_reduced, ..assess_claim(claim, summary) };
    experiment.claims.iter().map(of).collect()
}

fn assess_claim<'a>(claim: &'a Claim, summary: &Summary) -> Assessment<'a> {
    let mut remarks = Vec::new();
    if let Some(mistake) = &claim.mistake {
        remarks.push(Words::each(|words| words.say("remark.mistake", &[("mistake", mistake)])));
    }
    let unmet = needs::unmet(claim, summary, &mut remarks);
    let is_judged = claim.mistake.is_none() && unmet.is_empty();
    remarks.extend(unmet);
    let tests = claim.tests.iter().filter(|_| is_judged);
    let comparisons: Vec<Comparison> =
        tests.flat_map(|test| comparisons(test, summary, &mut remarks)).collect();
    let same_as =
        |index: usize| (0..index).find(|&earlier| comparisons[index].is_same_number(&comparisons[earlier]));
    let repeats: Vec<Option<usize>> = (0..comparisons.len()).map(same_as).collect();
    let count = repeats.iter().filter(|repeats| repeats.is_none()).count();
    let evidence = comparisons.iter().zip(repeats);
    let evidence: Vec<Evidence> =
        evidence.map(|(comparison, repeats)| Evidence { repeats, ..comparison.evidence(count) }).collect();
    let verdict = overall(&evidence.iter().map(|evidence| evidence.verdict).collect::<Vec<_>>());
    Assessment { claim, verdict, is_reduced: false, p: p(verdict, &evidence), evidence, remarks }
}

/// See [`Assessment::p`].
fn p(verdict: Verdict, evidence: &[Evidence]) -> Option<f64> {
    let is_refuting = matches!(verdict, Verdict::Refuted | Verdict::Partly);
    let refuting = evidence.iter().filter_map(|evidence| evidence.p_refuted);
    let supporting: Option<Vec<f64>> = evidence.iter().map(|evidence| evidence.p_supported).collect();
    match is_refuting {
        true => refuting.min_by(f64::total_cmp),
        false => supporting?.into_iter().max_by(f64::total_cmp),
    }
}

fn comparisons(test: &Test, summary: &Summary, remarks: &mut Vec<Localised>) -> Vec<Comparison> {
    let mut arms = Arms { test, summary, remarks };
    match &test.statement {
        Statement::Order(list) => {
            let pair = |pair: &[usize]| arms.pair(pair[0], pair[1], "evidence.above", Kind::Above);
            list.windows(2).map(pair).collect()
        }
        Statement::Equal(a, b) => vec![arms.pair(*a, *b, "evidence.equal", Kind::Equal)],
        Statement::Above(arm, value) => {
            vec![arms.bound(*arm, "evidence.bound-above", Kind::Bound(Bound { value: *value, sign: 1.0 }))]
        }
        Statement::Below(arm, value) => {
            vec![arms.bound(*arm, "evidence.bound-below", Kind::Bound(Bound { value: *value, sign: -1.0 }))]
        }
        Statement::Near(arm, value) => {
            vec![arms.bound(*arm, "evidence.bound-near", Kind::Near(Bound { value: *value, sign: 1.0 }))]
        }
        Statement::Rises(list) => vec![arms.trend(list, 1.0)],
        Statement::Falls(list) => vec![arms.trend(list, -1.0)],
    }
}

/// The arms of a summary, looked at through one test.
struct Arms<'a> {
    test: &'a Test,
    summary: &'a Summary<'a>,
    remarks: &'a mut Vec<Localised>,
}

impl Arms<'_> {
    fn pair(&mut self, a: usize, b: usize, relation: &str, kind: Kind) -> Comparison {
        let (mut first, second) = (self.values(a, kind), self.values(b, kind));
        let has_run = |arm: usize, seed: &Seed| {
            self.summary.arms[arm].counted.iter().any(|(run, _)| run.record.trial.seed == *seed)
        };
        let seeds: BTreeSet<&Seed> = first.keys().chain(second.keys()).collect();
        let alone: Vec<&Seed> =
            seeds.into_iter().filter(|seed| has_run(a, seed) != has_run(b, seed)).collect();
        if !alone.is_empty() {
            let seeds = |words: Words| words.seeds(alone.iter().copied());
            let text = Words::each(|words| {
                words.say(
                    "remark.one-of",
                    &[
                        ("seeds", &seeds(words)),
                        ("one", &self.name(a, words)),
                        ("other", &self.name(b, words)),
                    ],
                )
            });
            remark(self.remarks, text);
        }
        if self.summary.arms[a].original(a) == self.summary.arms[b].original(b) {
            let text = Words::each(|words| {
                words.say(
                    "remark.one-training",
                    &[("one", &self.name(a, words)), ("other", &self.name(b, words))],
                )
            });
            remark(self.remarks, text);
            first.clear();
        }
        let difference = |(seed, value): (&Seed, &f64)| Some((*seed, value - second.get(seed)?));
        let values: Vec<(Seed, f64)> = first.iter().filter_map(difference).collect();
        let what = Words::each(|words| {
            words.say(relation, &[("one", &self.name(a, words)), ("other", &self.name(b, words))])
        });
        self.comparison(&what, kind, &[a, b], values, |values| values[0] - values[1])
    }

    fn bound(&mut self, arm: usize, relation: &str, kind: Kind) -> Comparison {
        let bound = kind.bound().unwrap_or(Bound { value: 0.0, sign: 1.0 });
        let values = self.values(arm, kind).into_iter();
        let values = values.map(|(seed, value)| (seed, bound.sign * (value - bound.value))).collect();
        let what = Words::each(|words| {
            words.say(relation, &[("arm", &self.name(arm, words)), ("value", &bound.value)])
        });
        self.comparison(&what, kind, &[arm], values, |values| bound.sign * (values[0] - bound.value))
    }

    /// The slope of least squares over the arms' ranks: the mean change from an arm to the next.
    fn trend(&mut self, list: &[usize], sign: f64) -> Comparison {
        let arms: Vec<BTreeMap<Seed, f64>> = list.iter().map(|&arm| self.values(arm, Kind::Trend)).collect();
        let of_seed = |seed: &Seed| {
            let values: Option<Vec<f64>> = arms.iter().map(|arm| arm.get(seed).copied()).collect();
            Some((*seed, sign * slope(&values?)))
        };
        let values = arms[0].keys().filter_map(of_seed).collect();
        let relation = if sign > 0.0 { "evidence.rises" } else { "evidence.falls" };
        let what = Words::each(|words| {
            let names: Vec<&str> = list.iter().map(|&arm| self.name(arm, words)).collect();
            words.say(relation, &[("arms", &names.join(", "))])
        });
        self.comparison(&what, Kind::Trend, list, values, |values| sign * slope(values))
    }

    /// `rule` makes one number of a value an arm.
    fn comparison(
        &self,
        what: &Localised,
        kind: Kind,
        arms: &[usize],
        values: Vec<(Seed, f64)>,
        rule: impl Fn(&[f64]) -> f64,
    ) -> Comparison {
        let metric = self.test.metric;
        let means = arms.iter().filter_map(|&arm| {
            let values: Vec<f64> =
                needs::values(metric, &self.summary.arms[arm]).map(|(_, value)| value).collect();
            stats::mean(&values)
        });
        let mut trials: Vec<String> = arms.iter().map(|&arm| self.summary.arms[arm].trial()).collect();
        // From either side it is the same number.
        trials.sort_unstable();
        let mut comparison = Comparison {
            what: Words::each(|words| {
                let what = what.to(words.language);
                words.say("evidence.what", &[("metric", &words.metric(metric)), ("what", &what)])
            }),
            metric,
            kind,
            values,
            theirs: self.theirs(arms, kind).map(|theirs| rule(&theirs)),
            margin: self.test.margin,
            widest: widest(metric, kind, &means.collect::<Vec<_>>()),
            basis: format!("{metric}: {}", trials.join(" ")),
        };
        if comparison.is_ratio() {
            comparison.margin = comparison.margin.ln_1p();
        }
        comparison
    }

    /// The reference's number of each arm, on the scale that is tested; `None` where it lacks one.
    fn theirs(&self, arms: &[usize], kind: Kind) -> Option<Vec<f64>> {
        let metric = self.test.metric;
        let is_ratio = kind.is_of_arms() && metric.quantity.facts().scale == Scale::Ratio;
        let number = |&arm: &usize| {
            let value = self.summary.arms[arm].reported(metric)?;
            if is_ratio { (value > 0.0).then(|| value.ln()) } else { Some(value) }
        };
        arms.iter().map(number).collect()
    }

    fn name(&self, arm: usize, words: Words) -> &str {
        self.summary.arms[arm].name.to(words.language)
    }

    /// The arm's values by seed, as logarithms where arms are compared by their ratio. A seed without one is remarked, and
    /// one whose times are not of a machine that it had to itself beside the other arms.
    fn values(&mut self, arm: usize, kind: Kind) -> BTreeMap<Seed, f64> {
        let (metric, arm) = (self.test.metric, &self.summary.arms[arm]);
        let facts = metric.quantity.facts();
        let is_ratio = kind.is_of_arms() && facts.scale == Scale::Ratio;
        let (mut values, mut unusable) = (BTreeMap::new(), Vec::new());
        for (run, measures) in &arm.counted {
            let seed = run.record.trial.seed;
            if facts.is_timing
                && let Some(why) = self.summary.why_untimed(arm, run, kind.is_of_arms())
            {
                let text = Words::each(|words| {
                    let (metric, why) = (words.metric(metric), why.say(words));
                    words.say("remark.untimed", &[("metric", &metric), ("seed", &seed), ("why", &why)])
                });
                remark(self.remarks, text);
                continue;
            }
            let value = quantity::value(metric, run, measures);
            let usable = value.filter(|value| value.is_finite() && (!is_ratio || *value > 0.0));
            match usable {
                Some(value) => drop(values.insert(seed, if is_ratio { value.ln() } else { value })),
                None => unusable.push(seed),
            }
        }
        if !unusable.is_empty() {
            let text = Words::each(|words| {
                let (name, seeds, metric) =
                    (arm.name.to(words.language), words.seeds(&unusable), words.metric(metric));
                words.say("remark.unusable", &[("arm", &name), ("seeds", &seeds), ("metric", &metric)])
            });
            remark(self.remarks, text);
        }
        if arm.counted.is_empty() {
            let name = |words: Words| arm.name.to(words.language);
            remark(self.remarks, Words::each(|words| words.say("remark.no-run", &[("arm", &name(words))])));
        }
        values
    }
}

/// Each remark once: one arm stands in several comparisons.
fn remark(remarks: &mut Vec<Localised>, text: Localised) {
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

    fn verdict_of(tests: &str, accuracies: &[&[f64]]) -> (Verdict, Vec<Evidence>, Vec<Localised>) {
        let experiment = experiment(tests);
        let arms = arms(&experiment, accuracies);
        let summary = Summary::of(&experiment, &arms);
        let mut found = assess(&experiment, &summary);
        let Assessment { verdict, evidence, remarks, claim, .. } = found.remove(0);
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
        assert_eq!(evidence[0].what.en(), "validation accuracy: batch 64 above batch 128");
        assert_eq!(verdict_of(ABOVE, &[&low, &high]).0, Verdict::Refuted);
    }

    /// The samples' reference has 0.9895 for batch 64, 0.9843 for batch 128, and none for batch 1024.
    #[test]
    fn what_the_reference_says_is_put_as_the_comparison_puts_it() {
        let theirs = |tests: &str| verdict_of(tests, &[&[0.95, 0.96][..]; 3]).1.remove(0).theirs;
        let near = |found: Option<f64>, expected: f64| (found.unwrap() - expected).abs() < 1e-9;
        assert!(near(theirs(ABOVE), 0.9895 - 0.9843));
        assert!(near(theirs("{ metric = \"val_acc\", bound = \"64 > 0.98\", margin = 0.005 }"), 0.0095));
        assert!(near(theirs("{ metric = \"val_acc\", falls = [\"64\", \"128\"], margin = 0.005 }"), 0.0052));
        let ratio = theirs("{ metric = \"train_minutes\", order = \"64 > 128\", margin = 0.02 }");
        assert!(near(ratio, 100.0 * (1.157 / 1.104 - 1.0)), "{ratio:?}");
        assert_eq!(theirs("{ metric = \"val_acc\", order = \"128 > 1024\", margin = 0.005 }"), None);
        assert_eq!(theirs("{ metric = \"val_acc@1\", order = \"64 > 128\", margin = 0.005 }"), None);
    }

    #[test]
    fn an_effect_too_small_to_matter_is_refuted_and_an_unclear_one_is_not() {
        // Surely above 0, and surely below the margin.
        assert_eq!(verdict_of(ABOVE, &[&[0.951, 0.9512, 0.9511], &[0.95, 0.95, 0.95]]).0, Verdict::Refuted);
        let (verdict, evidence, _) = verdict_of(ABOVE, &[&[0.95, 0.97, 0.96], &[0.95, 0.94, 0.96]]);
        assert_eq!(verdict, Verdict::Inconclusive);
        // With 80 % power at this spread and three seeds, which is more than was there.
        assert!(evidence[0].detectable.unwrap() > evidence[0].estimate.unwrap());
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
    fn a_chain_is_supported_by_all_of_its_links_and_holds_in_part_where_one_is_refuted() {
        let chain = "{ metric = \"val_acc\", order = \"64 > 128 > 1024\", margin = 0.005 }";
        let [high, middle, low] = [[0.95, 0.952, 0.949], [0.93, 0.931, 0.93], [0.9, 0.9, 0.901]];
        assert_eq!(verdict_of(chain, &[&high, &middle, &low]).0, Verdict::Supported);
        assert_eq!(verdict_of(chain, &[&high, &low, &middle]).0, Verdict::Partly);
        assert_eq!(verdict_of(chain, &[&low, &middle, &high]).0, Verdict::Refuted);
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
        // A seed of two plans has no times to compare; the others decide.
        let record = &mut arms[2].runs[0].record;
        record.plan = Plan::named(PlanName::Eager, 2, Device::Cpu);
        record.plan_hash = record.plan.hash();
        let summary = Summary::of(&experiment, &arms);
        let found = assess(&experiment, &summary);
        assert_eq!((found[0].verdict, found[0].evidence[0].values.len()), (Verdict::Supported, 2));
        assert!(
            found[0].remarks[0].en().contains("seed 0: the arms ran under different plans"),
            "{:?}",
            found[0].remarks
        );
        // Runs that trained side by side have none, however alike.
        for record in arms.iter_mut().flat_map(|arm| arm.runs.iter_mut()).map(|run| &mut run.record) {
            record.beside = 1;
        }
        let summary = Summary::of(&experiment, &arms);
        let found = assess(&experiment, &summary);
        assert_eq!(found[0].verdict, Verdict::NotEvaluated);
        assert!(found[0].remarks[0].en().contains("trained 2 at a time"), "{:?}", found[0].remarks);
    }

    /// Batch sizes whose runs lay hours apart were said to differ by what the machine did meanwhile.
    #[test]
    fn times_that_lie_apart_are_not_compared_and_those_of_one_arm_still_count() {
        let order = "{ metric = \"images_per_s\", order = \"64 > 128\", margin = 0.02 }";
        let bound = "{ metric = \"images_per_s\", bound = \"64 > 1\", margin = 0.02 }";
        for (tests, expected) in [(order, 2), (bound, 3)] {
            let experiment = experiment(tests);
            let mut arms = samples::arms(&experiment.profile, &[0, 1, 2]);
            let late = &mut arms[1].runs[0].record;
            (late.started, late.ended) =
                ("2026-01-02T09:00:05Z".to_owned(), "2026-01-02T09:01:05Z".to_owned());
            let summary = Summary::of(&experiment, &arms);
            let found = assess(&experiment, &summary);
            assert_eq!(found[0].evidence[0].values.len(), expected, "{tests}");
        }
    }

    /// The experiment with `needs` on a claim that is surely true of the arms' accuracies.
    fn needing(needs: &str) -> (Verdict, Vec<Localised>) {
        let claim =
            format!("[[claims]]\nid = \"X\"\nsays = \"a claim\"\nneeds = {{ {needs} }}\ntests = [{ABOVE}]\n");
        let experiment = samples::parse(&format!("{}\n{claim}", samples::TOML));
        let mut arms = arms(&experiment, &[&[0.95, 0.952, 0.949], &[0.93, 0.931, 0.93]]);
        // A run kept without the rows of its steps made them all the same.
        arms[0].runs[0].steps.clear();
        for (arm, loss) in arms.iter_mut().zip([0.106, 1.0]) {
            for row in arm.runs.iter_mut().flat_map(|run| &mut run.epochs) {
                row.loss = loss;
            }
        }
        let summary = Summary::of(&experiment, &arms);
        let mut found = assess(&experiment, &summary);
        let Assessment { verdict, remarks, .. } = found.remove(0);
        (verdict, remarks)
    }

    /// A verdict on 50 epochs was given after one optimizer step; sharpness at an equal loss compared 0.106 with 1.000.
    #[test]
    fn a_claim_whose_needs_are_not_met_is_not_evaluated_and_says_what_was_found() {
        for (needs, part) in [
            ("updates = 41", "needs 41 updates of each run: batch 64 has 40"),
            ("train_loss = 0.5", "batch 128 is at 1.0000"),
            ("plan = \"eager\"", "is about plan eager: batch 64 ran under tuned"),
            ("alike = { metric = \"train_eval_loss\", within = 0.05 }", "batch 64 0.1060, batch 128 1.0000"),
        ] {
            let (verdict, remarks) = needing(needs);
            assert_eq!(verdict, Verdict::NotEvaluated, "{needs}");
            assert!(remarks.iter().any(|remark| remark.en().contains(part)), "{remarks:?}");
        }
        for needs in ["updates = 40", "train_loss = 1.0", "plan = \"tuned\""] {
            assert_eq!(needing(needs), (Verdict::Supported, vec![]), "{needs}");
        }
        let (verdict, remarks) = needing("alike = { metric = \"train_eval_loss\", within = 0.9 }");
        assert_eq!(verdict, Verdict::Supported);
        assert!(remarks[0].en().starts_with("compared at an equal training loss"), "{remarks:?}");
    }

    /// "About 0.94" was tested as "below 0.955", and 0.822 supported it.
    #[test]
    fn about_a_value_is_tested_on_both_sides() {
        let about = "{ metric = \"val_acc\", equal = \"64 = 0.94\", margin = 0.01 }";
        let found = |values: &[f64]| verdict_of(about, &[values]);
        assert_eq!(found(&[0.941, 0.94, 0.942]).0, Verdict::Supported);
        let (verdict, evidence, _) = found(&[0.822, 0.825, 0.82]);
        assert_eq!(verdict, Verdict::Refuted);
        assert_eq!(evidence[0].what.en(), "validation accuracy: batch 64 about 0.94");
        assert!((evidence[0].shown(evidence[0].estimate.unwrap()) - 0.8223).abs() < 1e-3);
        assert_eq!(found(&[0.99, 0.991, 0.992]).0, Verdict::Refuted);
    }

    /// A number of updates to a loss is the number of epochs to it, times a constant.
    #[test]
    fn two_tests_that_are_one_number_are_one_part() {
        let gap = "{ metric = \"val_acc\", order = \"64 > 128\", margin = 0.001 }";
        let again = "{ metric = \"val_acc\", order = \"128 < 64\", margin = 0.002 }";
        let other = "{ metric = \"val_acc\", order = \"64 > 1024\", margin = 0.001 }";
        let values: [&[f64]; 3] = [&[0.95, 0.952, 0.949], &[0.93, 0.931, 0.93], &[0.9, 0.94, 0.91]];
        let experiment = experiment(&[gap, again, other].join(", "));
        let arms = arms(&experiment, &values);
        let summary = Summary::of(&experiment, &arms);
        let found = assess(&experiment, &summary);
        let repeats: Vec<_> = found[0].evidence.iter().map(|evidence| evidence.repeats).collect();
        assert_eq!((repeats, found[0].parts().len()), (vec![None, Some(0), None], 2));
        assert_eq!(found[0].basis().len(), 2);
    }

    #[test]
    fn a_part_has_its_verdict_and_the_claim_says_how_many_hold() {
        let tests = "{ metric = \"val_acc\", order = \"64 > 128\", margin = 0.005 }, { metric = \"val_acc\", order = \"1024 > 64\", margin = 0.005 }";
        let experiment = experiment(tests);
        let arms = arms(&experiment, &[&[0.95, 0.952, 0.949], &[0.93, 0.931, 0.93], &[0.9, 0.9, 0.901]]);
        let summary = Summary::of(&experiment, &arms);
        let found = assess(&experiment, &summary);
        assert_eq!(
            (found[0].verdict, found[0].in_parts(Words::english()).as_deref()),
            (Verdict::Partly, Some("1 of 2 parts holds"))
        );
        let held = found[0].evidence[0].held.unwrap();
        assert_eq!((held.seeds, held.of), (3, 3));
        assert!(held.interval.0 < 0.5, "three of three prove no majority");
        // By chance neither of the parts would look like this.
        assert!(found[0].p.unwrap() < 0.01, "{:?}", found[0].p);
    }

    #[test]
    fn an_interval_wider_than_what_it_measures_says_nothing() {
        let (verdict, evidence, _) = verdict_of(ABOVE, &[&[0.9, 0.1], &[0.1, 0.5]]);
        assert_eq!((verdict, evidence[0].is_informative), (Verdict::Inconclusive, false));
        let (_, evidence, _) = verdict_of(ABOVE, &[&[0.95, 0.97, 0.96], &[0.95, 0.94, 0.96]]);
        assert!(evidence[0].is_informative);
    }

    #[test]
    fn a_verdict_of_a_smaller_profile_is_about_its_setting() {
        let experiment = experiment(ABOVE).under(&"smoke".into()).unwrap();
        let arms = samples::arms(&experiment.profile, &[0]);
        let summary = Summary::of(&experiment, &arms);
        assert!(assess(&experiment, &summary)[0].is_reduced);
    }

    #[test]
    fn what_is_missing_is_remarked_and_the_rest_is_evaluated() {
        let (verdict, evidence, remarks) =
            verdict_of(ABOVE, &[&[0.95, 0.952, 0.949, 0.99], &[0.93, f64::NAN, 0.93]]);
        assert_eq!(verdict, Verdict::Supported);
        assert_eq!(evidence[0].values.iter().map(|(seed, _)| seed.0).collect::<Vec<_>>(), [0, 2]);
        assert!(remarks.iter().any(|remark| remark.en().contains("batch 128, seed 1")), "{remarks:?}");
        assert!(remarks.iter().any(|remark| remark.en().contains("seed 3: only one")), "{remarks:?}");
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
                what: Localised::default(),
                metric: experiment.claims[0].tests[0].metric,
                kind: if tests == EQUAL { Kind::Equal } else { Kind::Above },
                values,
                theirs: None,
                margin: 0.005,
                widest: 1.0,
                basis: String::new(),
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
