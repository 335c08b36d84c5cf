//! Runs to a new baseline, and what would change by it.

use std::collections::BTreeMap;

use crate::analyse::gate::judge::{Asked, alpha};
use crate::analyse::gate::sample::{Ending, Numbers, Sample};
use crate::analyse::gate::tolerance::Known;
use crate::experiment::ConfigHash;
use crate::experiment::baseline::{ArmBaseline, Baseline, BaselinePlan, BaselineRun, Gauge, Margin};
use crate::experiment::plan::PlanName;
use crate::stats::Spread;
use crate::stream::Seed;
use crate::text;

/// What of a baseline its runs do not say.
#[derive(Clone, PartialEq, Debug)]
pub struct Stamp {
    /// RFC 3339.
    pub accepted: String,
    pub false_alarm_rate: f64,
    pub margin: Margin,
    /// Labels of arms that were not to be trained.
    pub by_steps_alone: Vec<String>,
}

#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum AcceptError {
    #[error(
        "arm '{arm}' has no run that came to an end: a baseline needs one of each; run the experiment first"
    )]
    NothingMeasured { arm: String },
    #[error(
        "arm '{arm}', seed {seed} is of config {found}, expected {expected}; run it again as the experiment is now"
    )]
    OtherConfig { arm: String, seed: Seed, found: String, expected: String },
    #[error("the runs are of more than one environment ({0}); run all of them on one machine")]
    MixedEnvironments(String),
    #[error("the runs were executed under more than one plan ({0}); run all of them under one")]
    MixedPlans(String),
    #[error("arm '{arm}', seed {seed}: {gauge} is {value}, expected {}; a baseline of it would hold for ever", .gauge.range())]
    NotUsable { arm: String, seed: Seed, gauge: Gauge, value: f64 },
    #[error(
        "arm '{arm}', seed {seed} failed under the plan {plan}: {reason}; a baseline is of every run it was asked for, so \
         mend that and run it again"
    )]
    Failed { arm: String, seed: Seed, plan: PlanName, reason: String },
    #[error("arm '{arm}', seed {seed} has a planted fault, which is never accepted; run it without")]
    Planted { arm: String, seed: Seed },
}

/// The baseline these runs make, with those of the same seeds under each other plan. Of several runs of one seed the last in
/// `runs` counts.
pub fn accept(
    asked: &Asked,
    stamp: Stamp,
    runs: &[Sample],
    twins: &[(PlanName, Vec<Sample>)],
) -> Result<Baseline, AcceptError> {
    // A twin too: without it the baseline takes rounding for less than it is, or for nothing.
    let mut all = runs.iter().chain(twins.iter().flat_map(|(_, runs)| runs));
    all.find_map(failed).map_or(Ok(()), Err)?;
    let mut chosen = Vec::new();
    for (label, config_hash) in &asked.arms {
        if !stamp.by_steps_alone.contains(label) {
            chosen.push((label.as_str(), *config_hash, choose(label, *config_hash, runs)?));
        }
    }
    let all: Vec<&Sample> = chosen.iter().flat_map(|(_, _, by_seed)| by_seed.values().copied()).collect();
    let Some(first) = all.first() else {
        return Err(AcceptError::NothingMeasured { arm: "any".to_owned() });
    };
    if let Some(mixed) = mixed(&all, |sample| sample.environment_class.clone()) {
        return Err(AcceptError::MixedEnvironments(mixed));
    }
    let named = |sample: &Sample| format!("{} {}", sample.plan.name, sample.plan_hash.short());
    // Apart from what the arms vary all have one plan, and of one arm all have the same.
    let apart = |sample: &Sample| format!("{:?}", asked.varied.apart_from(&sample.plan));
    if mixed(&all, apart).is_some() {
        return Err(AcceptError::MixedPlans(mixed(&all, named).unwrap_or_default()));
    }
    for (_, _, by_seed) in &chosen {
        let of_arm: Vec<&Sample> = by_seed.values().copied().collect();
        mixed(&of_arm, named).map_or(Ok(()), |mixed| Err(AcceptError::MixedPlans(mixed)))?;
    }
    let plan = BaselinePlan {
        name: first.plan.name,
        device: first.plan.device,
        threads: first.plan.threads,
        hash: first.plan_hash,
    };
    let arms = chosen.iter().map(|(label, config_hash, by_seed)| {
        // An arm is there only with a run.
        let own = by_seed.values().next().map(|sample| sample.plan_hash).filter(|own| *own != plan.hash);
        let twins: Vec<BTreeMap<Seed, &Numbers>> =
            twins.iter().map(|(_, runs)| of_arm(label, runs)).collect();
        Ok(ArmBaseline { plan_hash: own, ..arm(label, *config_hash, by_seed, &twins)? })
    });
    Ok(Baseline {
        experiment: asked.experiment.clone(),
        profile: asked.profile.clone(),
        plan,
        environment_class: first.environment_class.clone(),
        pinbench: first.pinbench.clone(),
        accepted: stamp.accepted,
        false_alarm_rate: stamp.false_alarm_rate,
        margin: stamp.margin,
        twins: twins.iter().map(|(name, _)| *name).collect(),
        by_steps_alone: stamp.by_steps_alone,
        arms: arms.collect::<Result<_, _>>()?,
    })
}

fn failed(sample: &Sample) -> Option<AcceptError> {
    let Ending::Failed { reason } = &sample.ending else { return None };
    let (arm, plan, reason) = (sample.arm.clone(), sample.plan.name, reason.clone());
    Some(AcceptError::Failed { arm, seed: sample.seed, plan, reason })
}

fn choose<'a>(
    label: &str,
    config_hash: ConfigHash,
    runs: &'a [Sample],
) -> Result<BTreeMap<Seed, &'a Sample>, AcceptError> {
    let mut by_seed = BTreeMap::new();
    for sample in runs.iter().filter(|sample| sample.arm == label) {
        let (arm, seed) = (label.to_owned(), sample.seed);
        if sample.config_hash != config_hash {
            let (found, expected) = (sample.config_hash.short(), config_hash.short());
            return Err(AcceptError::OtherConfig { arm, seed, found, expected });
        }
        if sample.is_planted {
            return Err(AcceptError::Planted { arm, seed });
        }
        by_seed.insert(seed, sample);
    }
    if by_seed.is_empty() {
        return Err(AcceptError::NothingMeasured { arm: label.to_owned() });
    }
    Ok(by_seed)
}

/// The finished runs of an arm.
fn of_arm<'a>(label: &str, runs: &'a [Sample]) -> BTreeMap<Seed, &'a Numbers> {
    let finished = |sample: &'a Sample| match &sample.ending {
        Ending::Finished(numbers) if sample.arm == label => Some((sample.seed, numbers)),
        _ => None,
    };
    runs.iter().filter_map(finished).collect()
}

/// The different values of `of`, when there is more than one.
fn mixed(samples: &[&Sample], of: impl Fn(&Sample) -> String) -> Option<String> {
    let mut found: Vec<String> = samples.iter().map(|sample| of(sample)).collect();
    found.sort_unstable();
    found.dedup();
    (found.len() > 1).then(|| found.join("; "))
}

fn arm(
    label: &str,
    config_hash: ConfigHash,
    by_seed: &BTreeMap<Seed, &Sample>,
    twins: &[BTreeMap<Seed, &Numbers>],
) -> Result<ArmBaseline, AcceptError> {
    let (mut diverged, mut runs, mut images) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (&seed, sample) in by_seed {
        let numbers = match &sample.ending {
            Ending::Finished(numbers) => numbers,
            Ending::Diverged { .. } => {
                diverged.push(seed);
                continue;
            }
            // Refused before.
            Ending::Failed { .. } => continue,
        };
        if let Some((&gauge, &value)) = numbers.values.iter().find(|(gauge, value)| !gauge.admits(**value)) {
            return Err(AcceptError::NotUsable { arm: label.to_owned(), seed, gauge, value });
        }
        images.extend(numbers.images.iter().map(|(gauge, images)| (*gauge, *images)));
        runs.push(BaselineRun {
            seed,
            values: numbers.values.clone(),
            twins: twins.iter().filter_map(|twin| twin.get(&seed).map(|numbers| judged(numbers))).collect(),
            weights: numbers.weights,
            measured: numbers.measured,
        });
    }
    Ok(ArmBaseline { label: label.to_owned(), config_hash, plan_hash: None, images, diverged, runs })
}

fn judged(numbers: &Numbers) -> BTreeMap<Gauge, f64> {
    let admitted = |gauge| Some((gauge, *numbers.values.get(&gauge).filter(|value| gauge.admits(**value))?));
    Gauge::JUDGED.into_iter().filter_map(admitted).collect()
}

/// What a baseline would let pass although it must be found, a line each, for people.
pub fn too_blunt(baseline: &Baseline) -> Vec<String> {
    let alpha = alpha(baseline);
    let mut lines = Vec::new();
    for arm in &baseline.arms {
        for gauge in Gauge::JUDGED {
            let known = Known::of(arm, gauge, baseline.margin);
            if known.is_too_blunt(alpha) {
                let found = known.least_found(alpha);
                let found = found.map_or_else(|| "nothing".to_owned(), |found| text::fixed(found, 4));
                lines.push(format!(
                    "'{}' {gauge}: the least change for the worse that is found is {found}; more seeds, more images or a \
                     longer training make it less",
                    arm.label
                ));
            }
        }
    }
    lines
}

/// What accepting `new` would change, a line each, for people; empty where nothing but the date would.
pub fn changes(old: Option<&Baseline>, new: &Baseline) -> Vec<String> {
    let Some(old) = old else {
        let arms = new.arms.iter().map(|arm| format!("new arm '{}': {}", arm.label, seeds(arm)));
        return std::iter::once("there was no baseline".to_owned()).chain(arms).collect();
    };
    let mut lines = Vec::new();
    let mut note = |what: &str, from: String, to: String| {
        if from != to {
            lines.push(format!("{what}: {from} → {to}"));
        }
    };
    let plan = |baseline: &Baseline| format!("{} {}", baseline.plan.name, baseline.plan.hash.short());
    note("environment class", old.environment_class.clone(), new.environment_class.clone());
    note("plan", plan(old), plan(new));
    note("pinbench", old.pinbench.clone(), new.pinbench.clone());
    note("false-alarm rate", old.false_alarm_rate.to_string(), new.false_alarm_rate.to_string());
    note("arms left to single steps", listed(&old.by_steps_alone), listed(&new.by_steps_alone));
    for arm in &new.arms {
        match old.arm(&arm.label) {
            None => lines.push(format!("new arm '{}': {}", arm.label, seeds(arm))),
            Some(stored) => lines.extend(arm_changes(stored, arm)),
        }
    }
    let is_gone =
        |arm: &&ArmBaseline| new.arm(&arm.label).is_none() && !new.by_steps_alone.contains(&arm.label);
    for arm in old.arms.iter().filter(is_gone) {
        lines.push(format!("arm '{}' goes: the experiment has it no more", arm.label));
    }
    lines
}

fn arm_changes(old: &ArmBaseline, new: &ArmBaseline) -> Vec<String> {
    let mut lines = Vec::new();
    let mut note = |what: String, from: String, to: String| {
        if from != to {
            lines.push(format!("'{}' {what}: {from} → {to}", new.label));
        }
    };
    note("config".to_owned(), old.config_hash.short(), new.config_hash.short());
    let plan = |arm: &ArmBaseline| arm.plan_hash.map_or("the file's".to_owned(), |hash| hash.short());
    note("plan".to_owned(), plan(old), plan(new));
    note("runs".to_owned(), seeds(old), seeds(new));
    for gauge in Gauge::ALL {
        let (from, to) = (spread(old, gauge), spread(new, gauge));
        note(gauge.to_string(), written(from), written(to));
    }
    // Digests last: they say that something moved where no number shows it.
    let moved: Vec<String> =
        new.runs.iter().filter(|run| is_moved(run, old)).map(|run| run.seed.to_string()).collect();
    if !moved.is_empty() {
        lines.push(format!("'{}': other bits under seed {}", new.label, moved.join(", ")));
    }
    lines
}

fn is_moved(run: &BaselineRun, old: &ArmBaseline) -> bool {
    let stored = old.runs.iter().find(|stored| stored.seed == run.seed);
    stored.is_some_and(|stored| (stored.weights, stored.measured) != (run.weights, run.measured))
}

fn listed(labels: &[String]) -> String {
    if labels.is_empty() { "none".to_owned() } else { labels.join("; ") }
}

fn seeds(arm: &ArmBaseline) -> String {
    let mut text = text::plural(arm.runs.len(), "run");
    if !arm.diverged.is_empty() {
        text.push_str(&format!(" and {} diverged", arm.diverged.len()));
    }
    text
}

fn spread(arm: &ArmBaseline, gauge: Gauge) -> Option<Spread> {
    let values: Vec<f64> = arm.runs.iter().filter_map(|run| run.values.get(&gauge).copied()).collect();
    Spread::of(&values)
}

fn written(spread: Option<Spread>) -> String {
    spread.map_or_else(|| "none".to_owned(), |spread| text::mean_sd(spread.mean, spread.sd, 4))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::analyse::gate::finding::{Finding, Subject};
    use crate::analyse::gate::judge;
    use crate::analyse::gate::simulated::{self, Study};
    use crate::analyse::gate::verdict::Verdict;
    use crate::experiment::PlanChange;

    fn accept(asked: &Asked, runs: &[Sample]) -> Result<Baseline, AcceptError> {
        super::accept(asked, simulated::stamp(), runs, &[(PlanName::Fused, runs.to_vec())])
    }

    #[test]
    fn what_is_accepted_reads_back_and_accepted_again_is_the_same_file() {
        let mut study = Study::new(2, 1);
        let runs = study.samples(0..3);
        let baseline = accept(&study.asked, &runs).unwrap();
        let text = baseline.to_toml();
        let read = Baseline::parse(Path::new("m1.quick.toml"), &text).unwrap();
        assert_eq!(read, baseline);
        assert_eq!(accept(&study.asked, &runs).unwrap().to_toml(), text);
        assert_eq!(changes(Some(&read), &baseline), Vec::<String>::new());
    }

    #[test]
    fn the_difference_names_every_arm_and_number_that_moves() {
        let mut study = Study::new(2, 1);
        let mut runs = study.samples(0..3);
        let old = accept(&study.asked, &runs).unwrap();
        runs.iter_mut()
            .filter(|run| run.arm == "arm 1")
            .for_each(|run| simulated::set(run, Gauge::TestAcc, 0.5));
        simulated::numbers(&mut runs[3]).measured = crate::digest::Digest::of(b"other");
        let new = accept(&study.asked, &runs).unwrap();
        let lines = changes(Some(&old), &new);
        assert_eq!(lines.len(), 2, "{lines:#?}");
        assert!(
            lines[0].starts_with("'arm 1' test_acc: 0.98") && lines[0].ends_with("→ 0.5000 ± 0.0000"),
            "{lines:?}"
        );
        assert_eq!(lines[1], "'arm 1': other bits under seed 0");
        let first = changes(None, &new);
        assert_eq!(first[..2], ["there was no baseline".to_owned(), "new arm 'arm 0': 3 runs".to_owned()]);
        let mut fewer = new.clone();
        fewer.arms.pop();
        assert_eq!(changes(Some(&new), &fewer), ["arm 'arm 1' goes: the experiment has it no more"]);
    }

    /// Such an experiment was refused: a baseline was of one plan.
    #[test]
    fn arms_that_differ_by_plan_have_each_its_own() {
        let mut study = Study::new(2, 1);
        let under = |run: Sample| if run.arm == "arm 1" { simulated::under_another_plan(run) } else { run };
        let runs: Vec<Sample> = study.samples(0..3).into_iter().map(under).collect();
        let mixed = accept(&study.asked, &runs).unwrap_err();
        assert!(matches!(mixed, AcceptError::MixedPlans(_)), "{mixed}");
        study.asked.varied = PlanChange::parse("plan.name=eager").unwrap();
        let baseline = accept(&study.asked, &runs).unwrap();
        let plans: Vec<_> = baseline.arms.iter().map(|arm| baseline.plan_hash(arm)).collect();
        assert_eq!(
            plans,
            [runs[0].plan.hash(), runs.iter().find(|run| run.arm == "arm 1").unwrap().plan_hash]
        );
        assert_eq!((baseline.arms[0].plan_hash, plans[0] == plans[1]), (None, false));
        let read = Baseline::parse(Path::new("m1.quick.toml"), &baseline.to_toml()).unwrap();
        assert_eq!(read, baseline);
        // Its own plan is each arm's, so that bits are compared, and they are the same.
        let findings = judge(&study.asked, Some(&read), &runs);
        let bits: Vec<&Finding> =
            findings.all.iter().filter(|finding| finding.subject == Subject::Bits).collect();
        assert_eq!(bits.len(), 2);
        assert!(bits.iter().all(|finding| finding.verdict == Verdict::Holds), "{bits:?}");
    }

    #[test]
    fn arms_that_were_not_trained_are_named_and_twins_stand_with_their_seed() {
        let mut study = Study::new(2, 1);
        let runs: Vec<Sample> = study.samples(0..3).into_iter().filter(|run| run.arm == "arm 0").collect();
        let twins = study.twins(&runs);
        let twin = [(PlanName::Fused, twins.clone())];
        // All of its trainings failed: that is no arm that was left out.
        let lost = super::accept(&study.asked, simulated::stamp(), &runs, &twin).unwrap_err();
        assert_eq!(lost, AcceptError::NothingMeasured { arm: "arm 1".to_owned() });
        let stamp = Stamp { by_steps_alone: vec!["arm 1".to_owned()], ..simulated::stamp() };
        let found = super::accept(&study.asked, stamp, &runs, &twin).unwrap();
        assert_eq!((found.arms.len(), &found.by_steps_alone[..]), (1, &["arm 1".to_owned()][..]));
        let twin = &found.arms[0].runs[1].twins[0];
        assert_eq!(twin[&Gauge::TestAcc], simulated::value(&twins[1], Gauge::TestAcc));
        assert_eq!(twin.len(), Gauge::JUDGED.len());
    }

    #[test]
    fn what_a_baseline_cannot_find_is_said() {
        let mut study = Study::new(1, 1);
        let mut runs = study.samples(0..3);
        let blunt = too_blunt(&accept(&study.asked, &runs).unwrap());
        assert_eq!(blunt, Vec::<String>::new());
        runs.truncate(1);
        let blunt = too_blunt(&accept(&study.asked, &runs).unwrap());
        assert!(blunt.len() == 3 && blunt[2].starts_with("'arm 0' test_acc: the least change"), "{blunt:?}");
    }

    #[test]
    fn what_no_baseline_may_hold_is_refused() {
        let mut study = Study::new(1, 1);
        let runs = study.samples(0..2);
        let refuse = |change: &dyn Fn(&mut Vec<Sample>)| {
            let mut runs = runs.clone();
            change(&mut runs);
            accept(&study.asked, &runs).unwrap_err().to_string()
        };
        assert!(refuse(&|runs| runs.clear()).contains("no run that came to an end"));
        assert!(
            refuse(&|runs| runs[0].environment_class = "other".to_owned())
                .contains("more than one environment")
        );
        let replan = |runs: &mut Vec<Sample>| runs[0] = simulated::under_another_plan(runs[0].clone());
        assert!(refuse(&replan).contains("more than one plan"));
        assert!(refuse(&|runs| runs[1].is_planted = true).contains("planted fault"));
        assert!(
            refuse(&|runs| runs[1].config_hash = ConfigHash(crate::digest::Digest::of(b"x")))
                .contains("expected")
        );
        let kill = |sample: &mut Sample| sample.ending = Ending::Failed { reason: "signal 9".to_owned() };
        let killed = refuse(&|runs| kill(&mut runs[1]));
        assert!(killed.contains("'arm 0', seed 1 failed under the plan tuned: signal 9"), "{killed}");
        // A baseline of fewer seeds than were asked for was written, and one of weaker twins.
        let mut twins = runs.clone();
        kill(&mut twins[0]);
        let twins = [(PlanName::Fused, twins)];
        let lost = super::accept(&study.asked, simulated::stamp(), &runs, &twins).unwrap_err();
        assert!(matches!(lost, AcceptError::Failed { seed: Seed(0), .. }), "{lost}");
        let spoil = |runs: &mut Vec<Sample>| simulated::set(&mut runs[1], Gauge::ValLoss, f64::NAN);
        assert!(refuse(&spoil).contains("val_loss is NaN"));
    }
}
