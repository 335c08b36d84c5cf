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

use crate::analyse::block::Barred;
use crate::analyse::comparison::{Comparison, Kind, widest};
use crate::analyse::measure::Measures;
use crate::analyse::summary::{Summary, is_short};
use crate::analyse::verdict::{Assessment, Bound, Evidence, Verdict, overall, parts};
use crate::analyse::{needs, quantity};
use crate::digest::Digest;
use crate::experiment::claim::{Claim, Statement, Test};
use crate::experiment::metric::Parameter;
use crate::experiment::{Experiment, Setting};
use crate::language::Localised;
use crate::record::LoadedRun;
use crate::stats;
use crate::stream::Seed;
use crate::words::Words;

/// The verdict on every claim of `experiment`, in its order.
pub fn assess<'a>(experiment: &'a Experiment, summary: &Summary) -> Vec<Assessment<'a>> {
    let setting = experiment.profile.setting;
    let of = |claim| Assessment { setting, ..assess_claim(claim, summary) };
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
    let verdict = overall(&parts(&evidence));
    Assessment { claim, verdict, setting: Setting::Own, p: p(verdict, &evidence), evidence, remarks }
}

/// A run's seed and the weights it ended with.
fn weights_of(run: &LoadedRun) -> (Seed, Option<Digest>) {
    (run.record.trial.seed, run.record.outcome.as_ref().map(|outcome| outcome.final_weights))
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
            self.remark_one_training(a, b);
            first.clear();
        }
        let difference = |(seed, value): (&Seed, &f64)| Some((*seed, value - second.get(seed)?));
        let values = first.iter().filter_map(difference).collect();
        let values = without_rounding(values, first.values().chain(second.values()));
        let what = Words::each(|words| {
            words.say(relation, &[("one", &self.name(a, words)), ("other", &self.name(b, words))])
        });
        let values = self.without_choice(&[a, b], values);
        self.comparison(&what, kind, &[a, b], values, |values| values[0] - values[1])
    }

    fn remark_one_training(&mut self, a: usize, b: usize) {
        let text = Words::each(|words| {
            words
                .say("remark.one-training", &[("one", &self.name(a, words)), ("other", &self.name(b, words))])
        });
        remark(self.remarks, text);
    }

    fn bound(&mut self, arm: usize, relation: &str, kind: Kind) -> Comparison {
        let bound = kind.bound().unwrap_or(Bound { value: 0.0, sign: 1.0 });
        let of_arm = self.values(arm, kind);
        let distance = |(seed, value): (&Seed, &f64)| (*seed, bound.sign * (value - bound.value));
        let values = without_rounding(of_arm.iter().map(distance).collect(), of_arm.values());
        let what = Words::each(|words| {
            words.say(relation, &[("arm", &self.name(arm, words)), ("value", &bound.value)])
        });
        let values = self.without_choice(&[arm], values);
        self.comparison(&what, kind, &[arm], values, |values| bound.sign * (values[0] - bound.value))
    }

    /// The slope of least squares over the arms' ranks: the mean change from an arm to the next.
    fn trend(&mut self, list: &[usize], sign: f64) -> Comparison {
        let original = |arm: usize| self.summary.arms[arm].original(arm);
        // An arm that is a training of the list already has no rank of its own.
        let mut distinct: Vec<usize> = Vec::new();
        for &arm in list {
            match distinct.iter().find(|&&other| original(other) == original(arm)) {
                Some(&other) => self.remark_one_training(other, arm),
                None => distinct.push(arm),
            }
        }
        let is_one = distinct.len() < 2;
        let list = if is_one { list } else { &distinct };
        let mut arms: Vec<BTreeMap<Seed, f64>> =
            list.iter().map(|&arm| self.values(arm, Kind::Trend)).collect();
        if is_one {
            arms[0].clear();
        }
        let of_seed = |seed: &Seed| {
            let values: Option<Vec<f64>> = arms.iter().map(|arm| arm.get(seed).copied()).collect();
            Some((*seed, sign * slope(&values?)))
        };
        let values = arms[0].keys().filter_map(of_seed).collect();
        let values = without_rounding(values, arms.iter().flat_map(BTreeMap::values));
        let relation = if sign > 0.0 { "evidence.rises" } else { "evidence.falls" };
        let what = Words::each(|words| {
            let names: Vec<&str> = list.iter().map(|&arm| self.name(arm, words)).collect();
            words.say(relation, &[("arms", &names.join(", "))])
        });
        let values = self.without_choice(list, values);
        self.comparison(&what, Kind::Trend, list, values, |values| sign * slope(values))
    }

    /// Nothing, where a run of a seed came to the loss that is asked for and another did not: the seeds that are left would be
    /// chosen by what is compared, and those against the claim be the first to go.
    fn without_choice(&mut self, arms: &[usize], values: Vec<(Seed, f64)>) -> Vec<(Seed, f64)> {
        let metric = self.test.metric;
        if metric.quantity.facts().parameter != Parameter::Loss {
            return values;
        }
        let mut of_seed: BTreeMap<Seed, (usize, usize)> = BTreeMap::new();
        for (run, measures) in arms.iter().flat_map(|&arm| &self.summary.arms[arm].counted) {
            let (came, did_not) = of_seed.entry(run.record.trial.seed).or_default();
            match quantity::value(metric, run, measures) {
                Some(_) => *came += 1,
                // The rows of its steps may have been taken away from a run.
                None => *did_not += usize::from(!run.steps.is_empty()),
            }
        }
        let is_chosen =
            |(_, (came, did_not)): &(&Seed, &(usize, usize))| *did_not > 0 && (*came > 0 || arms.len() == 1);
        let chosen: Vec<&Seed> = of_seed.iter().filter(is_chosen).map(|(seed, _)| seed).collect();
        if chosen.is_empty() {
            return values;
        }
        let text = Words::each(|words| {
            let (seeds, metric) = (words.seeds(chosen.iter().copied()), words.metric(metric));
            words.say("remark.not-reached", &[("seeds", &seeds), ("metric", &metric)])
        });
        remark(self.remarks, text);
        Vec::new()
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
        let is_counted = |run: &LoadedRun| values.iter().any(|(seed, _)| *seed == run.record.trial.seed);
        let counted = arms.iter().flat_map(|&arm| &self.summary.arms[arm].counted);
        let of_runs: Vec<&(&LoadedRun, Measures)> = counted.filter(|(run, _)| is_counted(run)).collect();
        let is_ratio = kind.is_ratio(metric);
        let resolutions = of_runs.iter().map(|(run, measures)| {
            let step = quantity::resolution(metric, run);
            match quantity::value(metric, run, measures) {
                Some(value) if is_ratio && value > 0.0 => step / value,
                _ => step,
            }
        });
        let weights: BTreeSet<_> = of_runs.iter().map(|(run, _)| weights_of(run)).collect();
        // Runs of a seed that end with the same weights are one: that they are equal is no luck.
        let is_one = arms.len() > 1 && weights.len() * arms.len() == of_runs.len();
        let resolution = resolutions.fold(0.0, f64::max) * if is_one { 0.0 } else { 1.0 };
        let runs: BTreeSet<String> = of_runs.iter().map(|(run, _)| run.record.run.to_string()).collect();
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
            trainings: trials,
            resolution,
            runs: runs.into_iter().collect(),
        };
        if comparison.is_ratio() {
            comparison.margin = comparison.margin.ln_1p();
        }
        comparison
    }

    /// The reference's number of each arm, on the scale that is tested; `None` where it lacks one.
    fn theirs(&self, arms: &[usize], kind: Kind) -> Option<Vec<f64>> {
        let metric = self.test.metric;
        let is_ratio = kind.is_ratio(metric);
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
        let is_ratio = kind.is_ratio(metric);
        let (mut values, mut unusable) = (BTreeMap::new(), Vec::new());
        for (run, measures) in &arm.counted {
            let seed = run.record.trial.seed;
            if facts.is_timing
                && let Some(why) = (kind.is_of_arms() && is_short(run))
                    .then_some(&Barred::Short)
                    .or_else(|| self.summary.why_untimed(arm, run, kind.is_of_arms()))
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

/// Numbers whose spread is the rounding of what they were `made_of` have none: d = 5·10¹⁵ was said of a ratio that was equal
/// under three seeds.
fn without_rounding<'a>(
    mut values: Vec<(Seed, f64)>,
    made_of: impl Iterator<Item = &'a f64>,
) -> Vec<(Seed, f64)> {
    let largest = made_of.fold(0.0, |largest: f64, value| largest.max(value.abs()));
    let numbers: Vec<f64> = values.iter().map(|(_, value)| *value).collect();
    if let (Some(mean), Some(sd)) = (stats::mean(&numbers), stats::sample_sd(&numbers))
        && sd <= 1e-13 * largest
    {
        values.iter_mut().for_each(|(_, value)| *value = mean);
    }
    values
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
mod tests;
