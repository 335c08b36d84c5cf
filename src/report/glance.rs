//! The page in a few sentences, computed from the data.
//!
//! They state what was measured, with spread and n, and no verdict: one arm ahead of another by less than the spread
//! is said to be so.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::time::Duration;

use crate::analyse::{ArmSummary, Assessment, Measures, Summary, Verdict, quantity};
use crate::experiment::claim::Test;
use crate::experiment::metric::{Metric, Quantity};
use crate::experiment::{Experiment, Setting};
use crate::language::Localised;
use crate::stats::{self, Spread, inference};
use crate::stream::Seed;
use crate::text;
use crate::words::Words;

/// `assessments` are of the experiment's claims: of accuracy nothing is said where none of them could be tested on it.
pub(super) fn sentences(
    summary: &Summary,
    experiment: &Experiment,
    assessments: &[Assessment],
    words: Words,
) -> Vec<String> {
    let (due, runs) = summary.trainings();
    if runs == 0 {
        return vec![words.say("glance.none", &[("runs", &words.count("word.run", due, &[]))])];
    }
    let is_of_accuracy = assessments.is_empty() || assessments.iter().any(is_of_accuracy);
    let sentences = [
        accuracy(summary, words).filter(|_| is_of_accuracy),
        // A smaller setting is not expected to give the numbers of the whole.
        experiment
            .reference
            .as_ref()
            .filter(|_| experiment.profile.setting == Setting::Own)
            .and_then(|reference| against(reference.name.to(words.language), summary, words)),
        (runs < due).then(|| {
            let (n, due) = (text::count(runs as u64), words.count("word.run", due, &[]));
            words.say("glance.count", &[("n", &n), ("runs", &due)])
        }),
    ];
    sentences.into_iter().flatten().collect()
}

fn is_of_accuracy(assessment: &Assessment) -> bool {
    let is_accuracy = |test: &Test| matches!(test.metric.quantity, Quantity::ValAcc | Quantity::TestAcc);
    assessment.verdict != Verdict::NotEvaluated && assessment.claim.tests.iter().any(is_accuracy)
}

/// How long it took.
pub(super) fn speed(summary: &Summary, words: Words) -> Vec<String> {
    [time(summary, words), throughput(summary, words)].into_iter().flatten().collect()
}

/// What became of the claims, in one sentence.
pub(super) fn answer(assessments: &[Assessment], words: Words) -> Option<String> {
    let setting = assessments.first()?.setting;
    let group = |verdict: Verdict| {
        let of_verdict = assessments.iter().filter(|assessment| assessment.verdict == verdict);
        let ids: Vec<String> = of_verdict.map(|assessment| assessment.claim.id.clone()).collect();
        let key = match verdict {
            Verdict::Supported => "glance.supported",
            Verdict::Partly => "glance.partly",
            Verdict::Refuted => "glance.refuted",
            Verdict::Inconclusive => "glance.inconclusive",
            Verdict::NotEvaluated => "glance.not-evaluated",
        };
        (!ids.is_empty()).then(|| words.count(key, ids.len(), &[("ids", &ids.join(", "))]))
    };
    let groups: Vec<String> = Verdict::ALL.into_iter().filter_map(group).collect();
    let key = match setting {
        Setting::Own => "glance.answer",
        Setting::Reduced => "glance.answer-reduced",
        Setting::Other => "glance.answer-other",
    };
    let claims = words.count("word.claim-count", assessments.len(), &[]);
    Some(words.say(key, &[("claims", &claims), ("groups", &words.join(&groups))]))
}

/// An arm's name in a sentence: one with a comma in it would read as two.
fn told(name: &Localised, words: Words) -> String {
    let name = name.to(words.language);
    if name.contains(',') { words.say("word.quoted", &[("name", &name)]) } else { name.to_owned() }
}

/// Arms a sentence names besides the best: more of them nobody reads.
const MOST_NAMED: usize = 3;

/// An arm's name and what was measured of it.
type Ranked<'s> = (&'s Localised, Spread);

/// Those of the arms that have a quantity, greatest first.
fn ranked<'s>(
    arms: impl Iterator<Item = &'s ArmSummary<'s>>,
    quantity: impl Fn(&ArmSummary) -> Option<Spread>,
) -> Vec<Ranked<'s>> {
    let mut ranked: Vec<Ranked> = arms.filter_map(|arm| Some((&arm.name, quantity(arm)?))).collect();
    ranked.sort_by(|left, right| right.1.mean.total_cmp(&left.1.mean));
    ranked
}

/// A superlative is of the arms that have the quantity: which do not, and why; a sentence of its own.
pub(super) fn not_among(
    summary: &Summary,
    why: impl Fn(&ArmSummary) -> Option<String>,
    words: Words,
) -> Option<String> {
    let mut by_reason: Vec<(String, Vec<String>)> = Vec::new();
    for arm in summary.distinct() {
        let Some(reason) = why(arm) else { continue };
        match by_reason.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, names)) => names.push(told(&arm.name, words)),
            None => by_reason.push((reason, vec![told(&arm.name, words)])),
        }
    }
    let group = |(reason, names): (String, Vec<String>)| match names.len() {
        0..=MOST_NAMED => words.say("glance.reason", &[("names", &words.list(&names)), ("reason", &reason)]),
        many => {
            let arms = words.count("word.arm-count", many, &[]);
            words.say("glance.reason", &[("names", &arms), ("reason", &reason)])
        }
    };
    let groups: Vec<String> = by_reason.into_iter().map(group).collect();
    (!groups.is_empty()).then(|| words.say("glance.not-among", &[("groups", &words.join(&groups))]))
}

/// Of the same images by themselves: those of one set, or half of them, say nothing about those of another.
fn accuracy(summary: &Summary, words: Words) -> Option<String> {
    let images = |arm: &ArmSummary| {
        let data = &arm.arm.config.data;
        (data.set, data.train_limit, data.eval_limit)
    };
    let mut sets = Vec::new();
    for arm in summary.distinct() {
        if !sets.contains(&images(arm)) {
            sets.push(images(arm));
        }
    }
    let of_set = |wanted| {
        let arms: Vec<&ArmSummary> = summary.distinct().filter(|arm| images(arm) == wanted).collect();
        highest(&arms, words)
    };
    let of_sets: Vec<String> = sets.into_iter().filter_map(of_set).collect();
    let mut sentence = Some(of_sets.join(" ")).filter(|text| !text.is_empty())?;
    let why = |arm: &ArmSummary| match (arm.spreads.val_acc, arm.counted.is_empty()) {
        (Some(_), _) => None,
        (None, true) => Some(words.word("remark.no-finished-run").to_owned()),
        (None, false) => Some(words.word("remark.not-evaluated").to_owned()),
    };
    sentence.extend(not_among(summary, why, words));
    Some(sentence)
}

/// Of the seeds that all arms have which have any: a mean over easier seeds, while a sweep is half done, leads nothing.
fn highest(arms: &[&ArmSummary], words: Words) -> Option<String> {
    let accuracy = |measures: &Measures| Some(measures.validation?.accuracy);
    let seeds = |arm: &&ArmSummary| by_seed(arm, accuracy).into_keys().collect::<BTreeSet<Seed>>();
    let of_arms: Vec<BTreeSet<Seed>> = arms.iter().map(seeds).filter(|seeds| !seeds.is_empty()).collect();
    let shared = of_arms.iter().cloned().reduce(|all, seeds| &all & &seeds)?;
    let over_shared = |arm: &ArmSummary| {
        let shared = by_seed(arm, accuracy).into_iter().filter(|(seed, _)| shared.contains(seed));
        Spread::of(&shared.map(|(_, value)| value).collect::<Vec<f64>>())
    };
    let ranked = ranked(arms.iter().copied(), over_shared);
    let Some(&(name, best)) = ranked.first() else { return Some(words.say("glance.no-shared-seed", &[])) };
    let value = text::mean_sd(best.mean, best.sd, 4);
    let what = if ranked.len() == 1 { "glance.accuracy" } else { "glance.highest" };
    let is_of_all = of_arms.iter().all(|seeds| *seeds == shared);
    let counted = if is_of_all { "word.seed-count" } else { "word.shared-seed" };
    let (told_name, seeds) = (told(name, words), words.count(counted, best.n, &[]));
    let mut sentence = words.say(what, &[("arm", &told_name), ("value", &value), ("seeds", &seeds)]);
    let leads = |other: &Localised| leads(arms, name, other, accuracy);
    // The mean of the differences within a seed, as a claim has it: that of two means may be rounded to another digit.
    let lead = |(other, _): &Ranked| {
        let of_shared = leads(other).into_iter().filter(|(seed, _)| shared.contains(seed));
        let difference = stats::mean(&of_shared.map(|(_, lead)| lead).collect::<Vec<f64>>());
        lead(difference.unwrap_or_default(), other, words)
    };
    let mut others: Vec<String> = ranked[1..].iter().take(MOST_NAMED).map(lead).collect();
    if ranked.len() > 1 + MOST_NAMED {
        let arms = words.count("word.other-arm", ranked.len() - 1 - MOST_NAMED, &[]);
        others.push(words.say("glance.further", &[("arms", &arms)]));
    }
    if !others.is_empty() {
        sentence.push_str(&words.say("glance.leads", &[("others", &words.list(&others))]));
    }
    sentence.push('.');
    let first_run = arms.iter().flat_map(|arm| &arm.counted).next();
    let image = first_run
        .map_or(0.0, |(run, _)| quantity::resolution(Metric { quantity: Quantity::ValAcc, at: None }, run));
    let is_open = |other: &&Localised| is_by_chance(&leads(other), image, ranked.len() - 1);
    let within: Vec<&Localised> = ranked[1..].iter().map(|(other, _)| *other).filter(is_open).collect();
    let more = within.len().saturating_sub(MOST_NAMED);
    let named = within.iter().take(MOST_NAMED).map(|name| told(name, words));
    let more = (more > 0).then(|| words.count("word.other-arm", more, &[]));
    let within: Vec<String> = named.chain(more).collect();
    if best.sd.is_none() && ranked[1..].iter().any(|(_, other)| other.mean < best.mean) {
        sentence.push_str(words.word("glance.one-seed"));
    } else if !within.is_empty() {
        sentence.push_str(&words.say("glance.by-chance", &[("arms", &words.list(&within))]));
    }
    Some(sentence)
}

/// `0.0012 above batch 128`, or `level with` it where four decimals show no difference.
fn lead(difference: f64, name: &Localised, words: Words) -> String {
    let arm = told(name, words);
    match text::fixed(difference, 4).as_str() {
        "0.0000" => words.say("glance.level", &[("arm", &arm)]),
        difference => words.say("glance.above", &[("difference", &difference), ("arm", &arm)]),
    }
}

fn by_seed(arm: &ArmSummary, value: impl Fn(&Measures) -> Option<f64>) -> BTreeMap<Seed, f64> {
    let counted = arm.counted.iter();
    counted.filter_map(|(run, measures)| Some((run.record.trial.seed, value(measures)?))).collect()
}

/// Whether the interval of the lead, seed by seed, has 0 in it: at 95 % over all the `looks` among which whoever leads was chosen
/// (Bonferroni). `resolution` is the step in which the values are known.
fn is_by_chance(leads: &[(Seed, f64)], resolution: f64, looks: usize) -> bool {
    let leads: Vec<f64> = leads.iter().map(|(_, lead)| *lead).collect();
    leads.iter().any(|lead| *lead != 0.0)
        && inference::interval_from(&leads, resolution, 0.05 / looks as f64).is_none_or(|(low, _)| low <= 0.0)
}

/// By how much one arm is above another, of each seed that both have.
fn leads(
    arms: &[&ArmSummary],
    best: &Localised,
    other: &Localised,
    value: impl Fn(&Measures) -> Option<f64>,
) -> Vec<(Seed, f64)> {
    let of = |name: &Localised| -> BTreeMap<Seed, f64> {
        arms.iter().filter(|arm| arm.name == *name).flat_map(|arm| by_seed(arm, &value)).collect()
    };
    let other = of(other);
    of(best).into_iter().filter_map(|(seed, best)| Some((seed, best - other.get(&seed)?))).collect()
}

/// How far from the validation accuracy of others we came.
fn against(others: &str, summary: &Summary, words: Words) -> Option<String> {
    let difference = |arm: &ArmSummary| {
        let difference = text::signed(arm.differences.val_acc?, 4);
        Some(
            words.say("glance.against-arm", &[("difference", &difference), ("arm", &told(&arm.name, words))]),
        )
    };
    let differences: Vec<String> = summary.distinct().filter_map(difference).collect();
    (!differences.is_empty()).then(|| {
        words.say("glance.against", &[("others", &others), ("differences", &words.list(&differences))])
    })
}

fn time(summary: &Summary, words: Words) -> Option<String> {
    let mut arms = summary.distinct();
    let first = arms.next()?;
    let minutes = first.spreads.train_minutes?;
    let other = |arm: &ArmSummary| {
        let ratio = text::fixed(arm.relative_time?.mean, 2);
        Some(words.say("glance.times-arm", &[("arm", &told(&arm.name, words)), ("ratio", &ratio)]))
    };
    let mut others: Vec<String> = arms.filter_map(other).collect();
    if others.len() > MOST_NAMED {
        // The table has them all.
        others.clear();
    }
    let took = words.duration(Duration::try_from_secs_f64(minutes.mean * 60.0).ok()?);
    let mut sentence = words.say("glance.time", &[("arm", &told(&first.name, words)), ("time", &took)]);
    if !others.is_empty() {
        sentence.push_str(&words.say("glance.times", &[("others", &words.list(&others))]));
    }
    sentence.push('.');
    Some(sentence)
}

fn throughput(summary: &Summary, words: Words) -> Option<String> {
    let ranked = ranked(summary.distinct(), |arm| arm.spreads.images_per_s);
    let ((fast, most), (slow, least)) = (ranked.first()?, ranked.last()?);
    let all: Vec<&ArmSummary> = summary.distinct().collect();
    let rate_of = |measures: &Measures| Some(measures.timing.as_ref()?.images_per_s);
    let pairs = ranked.len() * (ranked.len() - 1) / 2;
    let is_open = pairs > 0 && most.n > 1 && is_by_chance(&leads(&all, fast, slow, rate_of), 0.0, pairs);
    let (fast, slow) = (told(fast, words), told(slow, words));
    let rate = |spread: &Spread| text::count(spread.mean.round() as u64);
    let arms = summary.distinct().count();
    let mut sentence = match (ranked.len(), arms) {
        (1, 1) => words.say("glance.rate-only", &[("rate", &rate(most))]),
        (1, _) => words.say("glance.rate-one", &[("arm", &fast), ("rate", &rate(most))]),
        // Which has fewest is not known where one is missing.
        (known, _) if known < arms => words.say("glance.rate-most", &[("arm", &fast), ("rate", &rate(most))]),
        _ if is_open => words.say("glance.rate-alike", &[("least", &rate(least)), ("most", &rate(most))]),
        _ => {
            let (most, least) = (rate(most), rate(least));
            let all: [(&str, &dyn Display); 4] =
                [("fast", &fast), ("most", &most), ("slow", &slow), ("least", &least)];
            words.say("glance.rate-both", &all)
        }
    };
    sentence.extend(not_among(summary, |arm| arm.why_untimed(words), words));
    Some(sentence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::{ArmRuns, samples};

    /// Arms whose validation accuracies, seed by seed, are as given.
    fn arms<'a>(experiment: &'a Experiment, accuracies: [&[f64]; 3]) -> Vec<ArmRuns<'a>> {
        let seeds: Vec<u64> = (0..accuracies[0].len() as u64).collect();
        let mut arms = samples::arms(&experiment.profile, &seeds);
        for (arm, accuracies) in arms.iter_mut().zip(accuracies) {
            for (run, accuracy) in arm.runs.iter_mut().zip(accuracies) {
                samples::set_validation(run, *accuracy);
            }
        }
        arms
    }

    fn first_sentence(accuracies: [&[f64]; 3]) -> String {
        let experiment = samples::experiment();
        let arms = arms(&experiment, accuracies);
        let summary = Summary::of(&experiment, &arms);
        sentences(&summary, &experiment, &[], Words::english()).remove(0)
    }

    #[test]
    fn the_leader_is_named_with_spread_seeds_and_distance() {
        let text = first_sentence([&[0.98, 0.99], &[0.95, 0.95], &[0.984, 0.984]]);
        let expected = "Highest validation accuracy: batch 64 with 0.9850 ± 0.0071 over 2 seeds, 0.0010 above batch 1024 \
                        and 0.0350 above batch 128. Within a seed the lead over batch 1024 and batch 128 cannot be told from \
                        chance.";
        assert_eq!(text, expected);
    }

    /// Batch 1024 had 12 steps and the most images a second; "Most images a second: batch 128" was said of the two others,
    /// and nothing of that.
    #[test]
    fn an_arm_a_superlative_is_not_about_is_named_with_the_reason() {
        let experiment = samples::experiment();
        let mut arms = arms(&experiment, [&[0.98], &[0.97], &[0.99]]);
        arms[2].runs[0].steps.truncate(12);
        arms[1].runs.clear();
        let summary = Summary::of(&experiment, &arms);
        let said =
            [sentences(&summary, &experiment, &[], Words::english()), speed(&summary, Words::english())]
                .concat()
                .join("\n");
        let rates = "Images trained a second: batch 64 with 2,424. Not among them: batch 128 (no finished run); \
                     batch 1024 (too few steps: 12, needs more than 20).";
        assert!(said.contains(rates), "{said}");
        let scores =
            "Highest validation accuracy: batch 1024 with 0.9900 over 1 seed, 0.0100 above batch 64.";
        assert!(
            said.contains(scores) && said.contains("Not among them: batch 128 (no finished run)."),
            "{said}"
        );
    }

    /// An arm with one easy seed was called the highest, above a mean over two.
    #[test]
    fn arms_are_ranked_over_the_seeds_that_all_of_them_have() {
        let experiment = samples::experiment();
        let mut arms = arms(&experiment, [&[0.90, 0.99], &[0.91, 0.95], &[0.92, 0.93]]);
        arms[1].runs.remove(0);
        let said = |arms: &[ArmRuns]| {
            let summary = Summary::of(&experiment, arms);
            sentences(&summary, &experiment, &[], Words::english()).remove(0)
        };
        let expected = "Highest validation accuracy: batch 64 with 0.9900 over 1 seed that all arms share, 0.0400 above \
                        batch 128 and 0.0600 above batch 1024.";
        assert!(said(&arms).starts_with(expected), "{}", said(&arms));
        arms[2].runs.remove(1);
        assert!(said(&arms).starts_with("No seed has a run of every arm"), "{}", said(&arms));
    }

    #[test]
    fn one_seed_is_said_to_tell_nothing_apart() {
        let text = first_sentence([&[0.98], &[0.97], &[0.98]]);
        assert!(
            text.contains("no different from batch 1024 to four decimals")
                && text.contains("One seed cannot tell"),
            "{text}"
        );
    }

    #[test]
    fn a_smaller_profile_is_not_measured_against_the_notes() {
        let experiment = samples::experiment();
        let arms = arms(&experiment, [&[0.98], &[0.97], &[0.98]]);
        let summary = Summary::of(&experiment, &arms);
        let about_notes = |experiment: &Experiment| {
            sentences(&summary, experiment, &[], Words::english())
                .iter()
                .any(|text| text.contains("the notes"))
        };
        let small = experiment.under(&"smoke".into()).unwrap();
        assert!(about_notes(&experiment) && !about_notes(&small));
    }
}
