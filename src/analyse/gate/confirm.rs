//! Alarms and their rerun: only what recurs is a regression.

use std::mem;

use crate::analyse::gate::finding::{Doubt, Evidence, Finding, Findings, Subject, Verdict};
use crate::experiment::baseline::Gauge;
use crate::stream::Seed;

/// Under which seeds an arm is run again to confirm an alarm.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rerun {
    /// Those of the first runs: bits, endings and times, which only a fault repeats.
    SameSeeds,
    /// Seeds of neither the baseline nor the first runs: losses and accuracies by tolerance. Under the same seeds a
    /// machine gives the same numbers again, so that an unlucky draw would always recur.
    OtherSeeds,
}

impl Finding {
    /// What must be run again before the finding counts; `None` unless it is an alarm.
    pub fn rerun(&self) -> Option<Rerun> {
        match (&self.verdict, self.subject) {
            (Verdict::Alarm(_), subject) if depends_on_seeds_alone(subject) => Some(Rerun::OtherSeeds),
            (Verdict::Alarm(_), _) => Some(Rerun::SameSeeds),
            _ => None,
        }
    }
}

impl Findings {
    /// Every arm with an alarm and what must be run again of it, once each, in the order of the findings.
    pub fn reruns(&self) -> Vec<(String, Rerun)> {
        let mut reruns = Vec::new();
        for finding in &self.all {
            let Some((arm, rerun)) = finding.arm.clone().zip(finding.rerun()) else { continue };
            if !reruns.contains(&(arm.clone(), rerun)) {
                reruns.push((arm, rerun));
            }
        }
        reruns
    }
}

/// The first findings, of whose alarms only those stand that `again`, the findings over the reruns alone, repeats: same
/// arm, same quantity, same direction. The others become inconclusive and say why. What was no alarm at first stays as
/// it was.
pub fn confirm(first: Findings, again: &Findings) -> Findings {
    let settle = |mut finding: Finding| {
        match doubt(&finding, again) {
            None => finding.recurred = matches!(finding.verdict, Verdict::Alarm(_)),
            Some(doubt) => finding.verdict = Verdict::Inconclusive(doubt),
        }
        finding
    };
    Findings { all: first.all.into_iter().map(settle).collect(), ..first }
}

/// Why an alarm does not stand; `None` also where there is no alarm.
fn doubt(finding: &Finding, again: &Findings) -> Option<Doubt> {
    let Verdict::Alarm(alarm) = &finding.verdict else { return None };
    let is_same = |other: &&Finding| other.arm == finding.arm && other.subject == finding.subject;
    let Some(other) = again.all.iter().find(is_same) else { return Some(Doubt::NotRerun) };
    match &other.verdict {
        Verdict::NotComparable(_) => Some(Doubt::NotRerun),
        Verdict::Alarm(found) if mem::discriminant(found) == mem::discriminant(alarm) => {
            let is_copy = depends_on_seeds_alone(finding.subject)
                && seeds(other).iter().any(|seed| seeds(finding).contains(seed));
            is_copy.then_some(Doubt::SameSeeds)
        }
        _ => Some(Doubt::DidNotRecur),
    }
}

/// Whether a machine gives the same value again under the same seed, and the seed is what the alarm may be due to.
fn depends_on_seeds_alone(subject: Subject) -> bool {
    matches!(subject, Subject::Gauge(gauge) if gauge != Gauge::StepTime)
}

fn seeds(finding: &Finding) -> &[Seed] {
    match &finding.evidence {
        Some(Evidence::Test(comparison)) => &comparison.seeds,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::gate::simulated::{self, Study};
    use crate::analyse::gate::{Alarm, Sample, judge};

    /// Findings of runs on another machine under `seeds`, one gauge of them set to `value`.
    fn findings(gauge: Gauge, seeds: std::ops::Range<u64>, value: f64) -> Findings {
        let mut study = Study::new(1, 5);
        let stored = study.samples(0..8);
        let baseline = study.baseline(&stored, 0.01);
        let mut fresh: Vec<Sample> = study.samples(seeds).into_iter().map(simulated::elsewhere).collect();
        fresh.iter_mut().for_each(|sample| simulated::set(sample, gauge, value));
        judge(&study.asked, Some(&baseline), &fresh)
    }

    fn only(findings: &Findings, gauge: Gauge) -> &Finding {
        findings.all.iter().find(|finding| finding.subject == Subject::Gauge(gauge)).unwrap()
    }

    #[test]
    fn an_alarm_stands_when_other_seeds_repeat_it() {
        let first = findings(Gauge::ValAcc, 20..25, 0.9);
        assert_eq!(first.reruns(), [("arm 0".to_owned(), Rerun::OtherSeeds)]);
        let confirmed = confirm(first, &findings(Gauge::ValAcc, 30..35, 0.91));
        let finding = only(&confirmed, Gauge::ValAcc);
        assert_eq!((&finding.verdict, finding.recurred), (&Verdict::Alarm(Alarm::Worse), true));
        assert_eq!(confirmed.exit().code(), 1);
        assert!(confirmed.all.iter().filter(|finding| finding.recurred).count() == 1);
    }

    #[test]
    fn an_alarm_that_does_not_recur_or_turns_round_is_inconclusive() {
        for again in [0.985, 1.0] {
            let again = findings(Gauge::ValAcc, 30..35, again);
            let confirmed = confirm(findings(Gauge::ValAcc, 20..25, 0.9), &again);
            let doubt = Verdict::Inconclusive(Doubt::DidNotRecur);
            assert_eq!(only(&confirmed, Gauge::ValAcc).verdict, doubt);
            assert_eq!(confirmed.exit().code(), 3);
        }
    }

    #[test]
    fn the_same_seeds_confirm_a_time_and_not_an_accuracy() {
        let first = findings(Gauge::ValAcc, 20..25, 0.9);
        let confirmed = confirm(first.clone(), &first);
        let doubt = Verdict::Inconclusive(Doubt::SameSeeds);
        assert_eq!(only(&confirmed, Gauge::ValAcc).verdict, doubt);
        let first = findings(Gauge::StepTime, 20..25, 9.0);
        assert_eq!(first.reruns(), [("arm 0".to_owned(), Rerun::SameSeeds)]);
        let confirmed = confirm(first.clone(), &first);
        assert!(only(&confirmed, Gauge::StepTime).recurred);
    }

    #[test]
    fn what_was_not_run_again_is_not_confirmed() {
        let first = findings(Gauge::ValAcc, 20..25, 0.9);
        let empty = Findings { all: Vec::new(), ..first.clone() };
        let confirmed = confirm(first, &empty);
        assert_eq!(only(&confirmed, Gauge::ValAcc).verdict, Verdict::Inconclusive(Doubt::NotRerun));
    }

    #[test]
    fn what_was_no_alarm_stays_as_it_was() {
        let calm = findings(Gauge::ValAcc, 20..25, 0.985);
        let alarmed = findings(Gauge::ValAcc, 30..35, 0.5);
        let before: Vec<Finding> = calm.all.iter().filter(|f| f.rerun().is_none()).cloned().collect();
        let after = confirm(calm, &alarmed);
        assert!(before.iter().all(|finding| after.all.contains(finding)));
    }
}
