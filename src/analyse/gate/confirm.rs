//! Alarms and what is trained again for them: only what more runs say too is a regression.

use std::mem;

use crate::analyse::gate::finding::{Evidence, Finding, Findings, Subject};
use crate::analyse::gate::tolerance::Look;
use crate::analyse::gate::verdict::{Bar, Doubt, Verdict};

/// Under which seeds an arm is trained for an alarm.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rerun {
    /// Those of the first runs: bits and endings, which only a fault repeats.
    SameSeeds,
    /// The rest of the baseline's: losses and accuracies. Under the same seeds a machine gives the same numbers again, so
    /// that an unlucky draw would always recur.
    OtherSeeds,
}

impl Finding {
    /// What must be trained before the finding counts; `None` unless it is an alarm that more runs can take back.
    pub fn rerun(&self) -> Option<Rerun> {
        match (&self.verdict, &self.evidence) {
            (Verdict::Alarm(_), Some(Evidence::Test(comparison))) => {
                (comparison.look == Look::First).then_some(Rerun::OtherSeeds)
            }
            // Single steps are asked of several seeds, and rounding has been taken out of them.
            (Verdict::Alarm(_), _) if self.subject != Subject::Probe => Some(Rerun::SameSeeds),
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

/// The findings, of whose alarms only those stand that no further run takes back: of bits and endings those that `again`,
/// the findings over the reruns alone, repeats; of losses and accuracies those over all seeds. The others become
/// inconclusive and say why. What was no alarm stays as it was, and a rerun that failed is a finding too.
pub fn confirm(findings: Findings, again: &Findings) -> Findings {
    let settle = |mut finding: Finding| {
        match doubt(&finding, again) {
            None => finding.recurred = finding.rerun() == Some(Rerun::SameSeeds),
            Some(doubt) => finding.verdict = Verdict::Inconclusive(doubt),
        }
        finding
    };
    let has_failed =
        |finding: &Finding| matches!(finding.verdict, Verdict::NotComparable(Bar::Failed { .. }));
    let is_known = |failed: &Finding| {
        findings.all.iter().any(|finding| finding.arm == failed.arm && has_failed(finding))
    };
    let failed: Vec<Finding> =
        again.all.iter().filter(|finding| has_failed(finding) && !is_known(finding)).cloned().collect();
    Findings { all: findings.all.into_iter().map(settle).chain(failed).collect(), ..findings }
}

/// Why an alarm does not stand; `None` also where there is no alarm.
fn doubt(finding: &Finding, again: &Findings) -> Option<Doubt> {
    let Verdict::Alarm(alarm) = &finding.verdict else { return None };
    match finding.rerun()? {
        Rerun::OtherSeeds => Some(Doubt::NotRerun),
        Rerun::SameSeeds => {
            let is_same = |other: &&Finding| other.arm == finding.arm && other.subject == finding.subject;
            match again.all.iter().find(is_same).map(|other| &other.verdict) {
                None | Some(Verdict::NotComparable(_)) => Some(Doubt::NotRerun),
                Some(Verdict::Alarm(found)) if mem::discriminant(found) == mem::discriminant(alarm) => None,
                Some(_) => Some(Doubt::DidNotRecur),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::gate::simulated::{self, Study};
    use crate::analyse::gate::{Alarm, Ending, Sample, judge};
    use crate::digest::Digest;
    use crate::experiment::baseline::Gauge;
    use crate::stream::Seed;

    /// Findings of so many of eight seeds on another machine, their test accuracy set to `value`.
    fn findings(seeds: usize, value: f64) -> Findings {
        let mut study = Study::new(1, 5);
        let stored = study.samples(0..8);
        let baseline = study.baseline(&stored);
        let mut fresh = study.twins(&stored[..seeds]);
        fresh.iter_mut().for_each(|sample| simulated::set(sample, Gauge::TestAcc, value));
        judge(&study.asked, Some(&baseline), &fresh)
    }

    /// Findings of the baseline's own machine, with other weights or without.
    fn exact(is_other: bool) -> Findings {
        let mut study = Study::new(1, 5);
        let stored = study.samples(0..8);
        let baseline = study.baseline(&stored);
        let mut fresh = stored;
        if is_other {
            simulated::numbers(&mut fresh[0]).weights = Digest::of(b"other");
        }
        judge(&study.asked, Some(&baseline), &fresh)
    }

    fn only(findings: &Findings, subject: Subject) -> &Finding {
        findings.all.iter().find(|finding| finding.subject == subject).unwrap()
    }

    const ACCURACY: Subject = Subject::Gauge(Gauge::TestAcc);

    #[test]
    fn a_first_look_asks_for_the_other_seeds_and_over_all_of_them_an_alarm_stands() {
        let first = findings(3, 0.9);
        assert_eq!(first.reruns(), [("arm 0".to_owned(), Rerun::OtherSeeds)]);
        let all = findings(8, 0.9);
        assert_eq!(all.reruns(), []);
        let nothing = Findings { all: Vec::new(), ..all.clone() };
        let confirmed = confirm(all, &nothing);
        assert_eq!(only(&confirmed, ACCURACY).verdict, Verdict::Alarm(Alarm::Worse));
        assert_eq!(confirmed.exit().code(), 1);
        // The other seeds were never trained.
        let alone = confirm(first, &nothing);
        assert_eq!(only(&alone, ACCURACY).verdict, Verdict::Inconclusive(Doubt::NotRerun));
        assert_eq!(alone.exit().code(), 3);
    }

    #[test]
    fn other_bits_count_where_a_rerun_has_them_too() {
        assert_eq!(exact(true).reruns(), [("arm 0".to_owned(), Rerun::SameSeeds)]);
        let confirmed = confirm(exact(true), &exact(true));
        let finding = only(&confirmed, Subject::Bits);
        assert_eq!((&finding.verdict, finding.recurred), (&Verdict::Alarm(Alarm::Weights), true));
        let confirmed = confirm(exact(true), &exact(false));
        assert_eq!(only(&confirmed, Subject::Bits).verdict, Verdict::Inconclusive(Doubt::DidNotRecur));
        assert_eq!(confirmed.exit().code(), 3);
    }

    /// A seed that is trained only because the first ones looked worse may diverge, and is trained again like those.
    #[test]
    fn the_seed_of_an_ending_is_named_so_that_it_is_trained_again() {
        let mut study = Study::new(1, 5);
        let stored = study.samples(0..8);
        let baseline = study.baseline(&stored);
        let mut fresh = study.twins(&stored);
        fresh[6].ending = Ending::Diverged { step: 7, loss: "NaN".to_owned() };
        let findings = judge(&study.asked, Some(&baseline), &fresh);
        assert_eq!(findings.seeds_named("arm 0"), [fresh[6].seed]);
        assert_eq!(findings.seeds_named("arm 1"), []);
        assert_eq!(findings.reruns(), [("arm 0".to_owned(), Rerun::SameSeeds)]);
    }

    /// The survivor alone was looked at, and the gate held.
    #[test]
    fn trainings_that_failed_are_not_answered_for_by_those_that_did_not() {
        let mut study = Study::new(1, 5);
        let mut runs = study.samples(0..3);
        let baseline = study.baseline(&runs);
        let kill = |run: &mut Sample| run.ending = Ending::Failed { reason: format!("signal {}", run.seed) };
        runs[1..].iter_mut().for_each(kill);
        let findings = judge(&study.asked, Some(&baseline), &runs);
        let bar = Bar::Failed { seeds: vec![Seed(1), Seed(2)], reason: "signal 1".to_owned() };
        assert_eq!(only(&findings, Subject::Runs).verdict, Verdict::NotComparable(bar));
        assert_eq!(only(&findings, Subject::Bits).verdict, Verdict::Holds);
        // No rerun is asked for, and the file is not said to hold.
        assert_eq!((findings.reruns(), findings.exit().code()), (vec![], 4));
        kill(&mut runs[0]);
        let findings = judge(&study.asked, Some(&baseline), &runs);
        assert!(matches!(&findings.all[..], [one] if one.exit().code() == 4), "{findings:?}");
    }

    #[test]
    fn a_rerun_that_failed_is_said_and_takes_its_alarm_back_no_more_than_to_a_doubt() {
        let failed = |mut findings: Findings| {
            let bar = Bar::Failed { seeds: vec![Seed(0)], reason: "signal 9".to_owned() };
            findings.all = vec![Finding::new(Some("arm 0"), Subject::Runs, Verdict::NotComparable(bar))];
            findings
        };
        let confirmed = confirm(exact(true), &failed(exact(true)));
        assert_eq!(only(&confirmed, Subject::Bits).verdict, Verdict::Inconclusive(Doubt::NotRerun));
        assert_eq!((only(&confirmed, Subject::Runs).exit().code(), confirmed.exit().code()), (4, 4));
    }

    #[test]
    fn what_was_no_alarm_stays_as_it_was() {
        let calm = exact(false);
        assert_eq!(confirm(calm.clone(), &exact(true)), calm);
    }
}
