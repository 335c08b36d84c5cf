//! A baseline and fresh runs to findings.

use std::collections::BTreeMap;

use crate::analyse::gate::finding::{Bits, Evidence, Finding, Findings, Moved, Subject};
use crate::analyse::gate::sample::{Ending, Numbers, Sample};
use crate::analyse::gate::tolerance::{Comparison, Known};
use crate::analyse::gate::verdict::{Alarm, Bar, Doubt, Verdict};
use crate::experiment::baseline::{ArmBaseline, Baseline, BaselineRun, Gauge};
use crate::experiment::{ConfigHash, Experiment, PlanChange, ProfileName};
use crate::stream::Seed;

/// What the experiment asks for as it stands now.
#[derive(Clone, PartialEq, Debug)]
pub struct Asked {
    pub experiment: String,
    /// The experiment as a command line names it.
    pub named: String,
    pub profile: ProfileName,
    /// Label and config of each arm, in the order of the grid.
    pub arms: Vec<(String, ConfigHash)>,
    /// Keys of the plan that arms differ by.
    pub varied: PlanChange,
}

/// What is known of an arm before the number of tests, and with it the rate of each, is.
enum Draft {
    Settled(Finding),
    Test { arm: String, comparison: Comparison },
}

/// What a seed gave.
pub(super) type Valued = (Seed, BTreeMap<Gauge, f64>);

/// A finished run.
type Finished<'a> = (&'a Sample, &'a Numbers);

impl Asked {
    pub fn of(experiment: &Experiment, named: &str) -> Self {
        let arms = experiment.profile.arms.iter();
        Self {
            experiment: experiment.id.clone(),
            named: named.to_owned(),
            profile: experiment.profile.name.clone(),
            arms: arms.map(|arm| (arm.label.clone(), arm.config.hash())).collect(),
            varied: experiment.varied(),
        }
    }
}

/// Compares the runs of every arm with the baseline's of the same seed. Of several runs of one seed the last in `fresh`
/// counts, so that no seed weighs twice; runs of arms that are not asked for are not looked at.
pub fn judge(asked: &Asked, baseline: Option<&Baseline>, fresh: &[Sample]) -> Findings {
    let Some(baseline) = baseline else {
        let barred = Findings::barred(&asked.experiment, asked.profile.clone(), Bar::NoBaseline);
        return Findings { named: asked.named.clone(), ..barred };
    };
    let mut drafts = Vec::new();
    for (label, config_hash) in &asked.arms {
        let fresh: Vec<&Sample> = fresh.iter().filter(|sample| sample.arm == *label).collect();
        let arm = ArmDrafts { label, baseline, drafts: &mut drafts };
        arm.draft(*config_hash, &fresh);
    }
    for stored in &baseline.arms {
        if !asked.arms.iter().any(|(label, _)| *label == stored.label) {
            let verdict = Verdict::NotComparable(Bar::OrphanedArm);
            drafts.push(Draft::Settled(Finding::new(Some(&stored.label), Subject::Baseline, verdict)));
        }
    }
    for label in &baseline.by_steps_alone {
        if !asked.arms.iter().any(|(known, _)| known == label) {
            let verdict = Verdict::NotComparable(Bar::OrphanedArm);
            drafts.push(Draft::Settled(Finding::new(Some(label), Subject::Baseline, verdict)));
        }
    }
    let alpha = alpha(baseline);
    Findings {
        experiment: asked.experiment.clone(),
        named: asked.named.clone(),
        profile: asked.profile.clone(),
        false_alarm_rate: Some(baseline.false_alarm_rate),
        all: drafts.into_iter().map(|draft| draft.settle(alpha)).collect(),
    }
}

/// The share of the file's false-alarm rate that each of its tests has, whichever of them are made (Bonferroni).
pub(super) fn alpha(baseline: &Baseline) -> f64 {
    let has = |arm: &&ArmBaseline, gauge: &Gauge| arm.runs.iter().any(|run| run.values.contains_key(gauge));
    let of_arm = |arm| Gauge::JUDGED.iter().filter(|gauge| has(&arm, gauge)).count();
    baseline.false_alarm_rate / baseline.arms.iter().map(of_arm).sum::<usize>().max(1) as f64
}

/// Whether what is about to be accepted is worse than what was: every quantity that both have, over the seeds of both,
/// whether the config is the same or not.
pub fn compare_baselines(old: &Baseline, new: &Baseline) -> Vec<Finding> {
    let values = |arm: &ArmBaseline| {
        let runs = arm.runs.iter().map(|run| (run.seed, run.values.clone()));
        (arm.label.clone(), runs.collect())
    };
    compare_values(old, &new.arms.iter().map(values).collect())
}

/// Arms of which a seed finished and diverges now, or that have no seed in common, so that nothing says that they are no worse.
pub fn not_borne_out(old: &Baseline, new: &Baseline) -> Vec<String> {
    let list = |seeds: &[Seed]| seeds.iter().map(Seed::to_string).collect::<Vec<_>>().join(", ");
    let of_arm = |arm: &ArmBaseline| {
        let before: Vec<Seed> = old.arm(&arm.label)?.runs.iter().map(|run| run.seed).collect();
        let lost: Vec<Seed> = arm.diverged.iter().copied().filter(|seed| before.contains(seed)).collect();
        let has_common = arm.runs.iter().any(|run| before.contains(&run.seed));
        match (lost.is_empty(), has_common || before.is_empty()) {
            (false, _) => Some(format!("'{}': seed {} finished and diverges now", arm.label, list(&lost))),
            (true, false) => Some(format!("'{}': no seed that finished is in both", arm.label)),
            (true, true) => None,
        }
    };
    new.arms.iter().filter_map(of_arm).collect()
}

/// Every quantity of each arm that has values, by seed.
pub(super) fn compare_values(baseline: &Baseline, fresh: &BTreeMap<String, Vec<Valued>>) -> Vec<Finding> {
    let alpha = alpha(baseline);
    let mut findings = Vec::new();
    for stored in &baseline.arms {
        let Some(runs) = fresh.get(&stored.label) else { continue };
        for gauge in Gauge::JUDGED {
            let values: Vec<(Seed, f64)> =
                runs.iter().filter_map(|(seed, values)| Some((*seed, *values.get(&gauge)?))).collect();
            if let Some(comparison) = compare(baseline, stored, gauge, &values) {
                findings.push(Draft::Test { arm: stored.label.clone(), comparison }.settle(alpha));
            }
        }
    }
    findings
}

/// `None` where the two have no seed in common.
fn compare(
    baseline: &Baseline,
    stored: &ArmBaseline,
    gauge: Gauge,
    values: &[(Seed, f64)],
) -> Option<Comparison> {
    Comparison::of(&Known::of(stored, gauge, baseline.margin), values)
}

impl Draft {
    fn settle(self, alpha: f64) -> Finding {
        match self {
            Self::Settled(finding) => finding,
            Self::Test { arm, comparison } => {
                let comparison = Comparison { alpha, ..comparison };
                let subject = Subject::Gauge(comparison.gauge);
                let mut finding = Finding::new(Some(&arm), subject, comparison.verdict());
                finding.evidence = Some(Evidence::Test(comparison));
                finding
            }
        }
    }
}

/// The drafts of one arm.
struct ArmDrafts<'a> {
    label: &'a str,
    baseline: &'a Baseline,
    drafts: &'a mut Vec<Draft>,
}

impl ArmDrafts<'_> {
    fn draft(mut self, config_hash: ConfigHash, fresh: &[&Sample]) {
        let baseline = self.baseline;
        let Some(stored) = baseline.arm(self.label) else {
            if !baseline.by_steps_alone.iter().any(|label| label == self.label) {
                self.bar(Subject::Baseline, Bar::NewArm);
            }
            return;
        };
        if stored.config_hash != config_hash {
            let (expected, found) = (stored.config_hash.short(), config_hash.short());
            return self.bar(Subject::Baseline, Bar::Stale { expected, found });
        }
        let mut by_seed: BTreeMap<Seed, &Sample> = fresh
            .iter()
            .filter(|sample| sample.config_hash == config_hash)
            .map(|sample| (sample.seed, *sample))
            .collect();
        let failed = failed(&by_seed);
        by_seed.retain(|_, sample| !matches!(sample.ending, Ending::Failed { .. }));
        if by_seed.is_empty() {
            let bar = failed.unwrap_or_else(|| match fresh.first() {
                None => Bar::NothingMeasured,
                Some(other) => {
                    Bar::OtherConfig { expected: config_hash.short(), found: other.config_hash.short() }
                }
            });
            return self.bar(Subject::Runs, bar);
        }
        if let Some(verdict) = endings(stored, baseline, &by_seed) {
            self.settle(Subject::Runs, verdict);
        }
        if let Some(bar) = failed {
            self.bar(Subject::Runs, bar);
        }
        let finished: Vec<Finished> = by_seed.values().filter_map(|sample| finished(sample)).collect();
        let exact: Vec<(Finished, &BaselineRun)> =
            finished.iter().filter_map(|run| Some((*run, counterpart(run.0, stored, baseline)?))).collect();
        let mut is_repeated = false;
        if !exact.is_empty() {
            let bits = bits(self.label, &exact);
            is_repeated = bits.verdict == Verdict::Holds;
            self.drafts.push(Draft::Settled(bits));
        }
        // Other bits say that something changed, and only the numbers whether it is worse.
        if !is_repeated {
            Gauge::JUDGED.into_iter().for_each(|gauge| self.gauge(gauge, stored, &finished));
        }
    }

    /// Nothing where the baseline expects nothing.
    fn gauge(&mut self, gauge: Gauge, stored: &ArmBaseline, finished: &[Finished]) {
        let is_expected = stored.runs.iter().any(|run| run.values.contains_key(&gauge));
        if finished.is_empty() || !is_expected {
            return;
        }
        let subject = Subject::Gauge(gauge);
        let values: Vec<(Seed, f64)> = finished
            .iter()
            .filter_map(|(run, numbers)| Some((run.seed, *numbers.values.get(&gauge)?)))
            .collect();
        if let Some(&(seed, value)) = values.iter().find(|(_, value)| !gauge.admits(*value)) {
            return self.settle(subject, Verdict::Alarm(Alarm::NotFinite { seed, value }));
        }
        match compare(self.baseline, stored, gauge, &values) {
            Some(comparison) => self.drafts.push(Draft::Test { arm: self.label.to_owned(), comparison }),
            None => self.bar(subject, Bar::NoValue),
        }
    }

    fn bar(&mut self, subject: Subject, bar: Bar) {
        self.settle(subject, Verdict::NotComparable(bar));
    }

    fn settle(&mut self, subject: Subject, verdict: Verdict) {
        self.drafts.push(Draft::Settled(Finding::new(Some(self.label), subject, verdict)));
    }
}

fn finished(sample: &Sample) -> Option<Finished<'_>> {
    match &sample.ending {
        Ending::Finished(numbers) => Some((sample, numbers)),
        Ending::Diverged { .. } | Ending::Failed { .. } => None,
    }
}

/// What those that failed come to; `None` where none did.
fn failed(by_seed: &BTreeMap<Seed, &Sample>) -> Option<Bar> {
    let reason = |(seed, sample): (&Seed, &&Sample)| match &sample.ending {
        Ending::Failed { reason } => Some((*seed, reason.clone())),
        _ => None,
    };
    let (seeds, reasons): (Vec<Seed>, Vec<String>) = by_seed.iter().filter_map(reason).unzip();
    Some(Bar::Failed { reason: reasons.into_iter().next()?, seeds })
}

/// Whether the run must repeat the baseline's bit for bit, given the seed.
fn is_alike(sample: &Sample, stored: &ArmBaseline, baseline: &Baseline) -> bool {
    sample.environment_class == baseline.environment_class && sample.plan_hash == baseline.plan_hash(stored)
}

/// The run of the baseline that `sample` must repeat bit for bit.
fn counterpart<'a>(sample: &Sample, stored: &'a ArmBaseline, baseline: &Baseline) -> Option<&'a BaselineRun> {
    let is_counterpart = |run: &&BaselineRun| run.seed == sample.seed && is_alike(sample, stored, baseline);
    stored.runs.iter().find(is_counterpart)
}

/// `None` where every run finished, and was expected to.
fn endings(stored: &ArmBaseline, baseline: &Baseline, by_seed: &BTreeMap<Seed, &Sample>) -> Option<Verdict> {
    let may_diverge = !stored.diverged.is_empty();
    let mut verdict = None;
    for (&seed, sample) in by_seed {
        let is_known_to_diverge = stored.diverged.contains(&seed);
        match &sample.ending {
            Ending::Diverged { .. } if is_known_to_diverge => {
                verdict = verdict.or(Some(Verdict::Holds));
            }
            Ending::Diverged { step, loss } => {
                // Where rounding decides which seeds diverge, another machine's are others.
                let must_finish =
                    stored.runs.iter().any(|run| run.seed == seed) && is_alike(sample, stored, baseline);
                if !may_diverge || must_finish {
                    let alarm = Alarm::Diverged { seed, step: *step, loss: loss.clone() };
                    return Some(Verdict::Alarm(alarm));
                }
                verdict = Some(Verdict::Inconclusive(Doubt::MayDiverge));
            }
            Ending::Finished(_) if is_known_to_diverge && is_alike(sample, stored, baseline) => {
                return Some(Verdict::Alarm(Alarm::Finished { seed }));
            }
            // Nothing is known of a finished run of this arm.
            Ending::Finished(_) if stored.runs.is_empty() => {
                verdict = Some(Verdict::Inconclusive(Doubt::MayDiverge));
            }
            Ending::Finished(_) | Ending::Failed { .. } => {}
        }
    }
    verdict
}

fn bits(label: &str, exact: &[(Finished, &BaselineRun)]) -> Finding {
    let (mut differing, mut moved, mut verdict) = (Vec::new(), Vec::new(), Verdict::Holds);
    for ((sample, numbers), stored) in exact {
        let seed = sample.seed;
        if numbers.weights != stored.weights {
            verdict = Verdict::Alarm(Alarm::Weights);
        } else if numbers.measured != stored.measured && verdict == Verdict::Holds {
            verdict = Verdict::Alarm(Alarm::Measured);
        }
        if numbers.weights != stored.weights || numbers.measured != stored.measured {
            differing.push(seed);
        }
        for gauge in Gauge::ALL {
            let (Some(&from), Some(&to)) = (stored.values.get(&gauge), numbers.values.get(&gauge)) else {
                continue;
            };
            if from.to_bits() != to.to_bits() {
                moved.push(Moved { seed, gauge, from, to });
            }
        }
    }
    let seeds = exact.iter().map(|((sample, _), _)| sample.seed).collect();
    let mut finding = Finding::new(Some(label), Subject::Bits, verdict);
    finding.evidence = Some(Evidence::Bits(Bits { seeds, differing, moved }));
    finding
}

#[cfg(test)]
mod tests;
