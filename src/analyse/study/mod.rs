//! Why one level costs more than another: the share of the slowdown that goes when a suspected cause is removed.
//!
//! [`Study`] → [`Layout`] and its `Design` → measured in blocks, at planned looks those [`wanted`] → [`Explanation::of`].
//! A hypothesis is decided at the first look at which it can be; its conditions are then measured no more, and the interval
//! it was decided by is the one that is shown. All of it is computed from the measurement alone, again and again.

mod curve;
pub mod gauge;
pub mod layout;
mod seen;
#[cfg(test)]
mod tests;
mod verdict;

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde::Serialize;

pub use curve::{CurveFound, Point, Rise};
pub use layout::{Arranged, Compared, Demonstration, Layout, Levels};
pub use verdict::{CONTRIBUTES_SHARE, LEAST_SLOWDOWN, MAIN_SHARE, NO_CAUSE_SHARE, Presence, Share, Verdict};

use crate::analyse::study::seen::Seen;
use crate::analyse::timing::{Estimate, LOOKS, Measured, PARTS};
use crate::experiment::study::{Change, Gauge, Study, Test};
use crate::language::Localised;

#[derive(Clone, PartialEq, Debug)]
pub struct Explanation {
    pub presence: Presence,
    /// Cost of an image at the high level over that at the low one.
    pub ratio: Option<Estimate>,
    /// The same over the ideal: what is explained.
    pub slowdown: Option<Estimate>,
    /// The factor by which two names of one thing may differ, by the interval of their ratio.
    pub floor: Option<f64>,
    /// Chance of error of the intervals, but for the low end of shares, which is guarded further.
    pub alpha: f64,
    /// Hypotheses tested, over which that chance is divided.
    pub tested: usize,
    pub blocks: usize,
    /// Processes of all blocks, those of them that others disturbed, and those that were measured again for it.
    pub processes: (usize, usize, usize),
    /// Those of them that are compared with nothing, as [`Measured::counted`] says.
    pub left_out: usize,
    /// In the order of the hypotheses.
    pub findings: Vec<Finding>,
    /// The most that was found first; each with the indices of its hypotheses, the strongest first.
    pub mechanisms: Vec<MechanismFound>,
    /// Where in a step the excess lies.
    pub parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Finding {
    pub verdict: Verdict,
    pub share: Option<Share>,
    /// The slowdown with the cause still there, where that is not the one that is explained: under what the test holds on both
    /// sides of its removal.
    pub before: Option<Estimate>,
    /// The slowdown with the cause removed.
    pub left: Option<Estimate>,
    /// How many times as fast the high level is with the cause removed, all else as it is given.
    pub gain: Option<Estimate>,
    /// The removal makes the low level dearer, so that only what the high one gains speaks for it.
    pub is_dearer: bool,
    pub readings: Vec<Reading>,
    /// It was decided after.
    pub blocks: usize,
}

/// Means over the blocks.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Reading {
    pub gauge: Gauge,
    pub low: Option<f64>,
    pub high: Option<f64>,
    /// At the high level with the cause removed.
    pub removed: Option<f64>,
}

/// Hypotheses that are one thing at bottom: it has the verdict of the strongest.
#[derive(Clone, PartialEq, Debug)]
pub struct MechanismFound {
    pub title: Localised,
    pub verdict: Verdict,
    pub members: Vec<usize>,
}

/// What an image costs more in one part of a step than the ideal times the low level's.
#[derive(Clone, PartialEq, Debug)]
pub struct Part {
    /// Index of the phase, or behind them all the rest.
    pub part: usize,
    pub low_us: f64,
    pub high_us: f64,
    pub more_us: Estimate,
}

impl Finding {
    fn bare(verdict: Verdict) -> Self {
        Self {
            verdict,
            share: None,
            before: None,
            left: None,
            gain: None,
            is_dearer: false,
            readings: Vec::new(),
            blocks: 0,
        }
    }
}

impl Explanation {
    pub fn of(study: &Study, layout: &Layout, measured: &Measured) -> Self {
        let blocks = measured.blocks.len();
        let mut findings = vec![Finding::bare(Verdict::NotMeasured); study.hypotheses.len()];
        let before = LOOKS.iter().map(|look| look.blocks).filter(|look| *look < blocks);
        for look in before.chain([blocks]) {
            let seen = Seen::of(study, layout, measured, look);
            let presence = seen.presence();
            for (index, finding) in findings.iter_mut().enumerate() {
                let is_open = look == blocks || presence == Presence::Found;
                if !is_open || finding.is_settled() {
                    continue;
                }
                let found = seen.finding(&study.hypotheses[index], layout.tests[index]);
                if !finding.verdict.is_decided() || found.verdict > finding.verdict {
                    *finding = found;
                }
            }
        }
        let seen = Seen::of(study, layout, measured, blocks);
        let presence = seen.presence();
        findings.iter_mut().for_each(|finding| finding.within(presence));
        let processes = || measured.blocks.values().flat_map(|block| block.processes.values());
        Self {
            presence,
            ratio: seen.ratio(layout.levels),
            slowdown: seen.slowdown(layout.levels),
            floor: seen.floor(),
            alpha: seen.alpha,
            tested: layout.tested(study),
            blocks,
            processes: (
                processes().count(),
                processes().filter(|process| process.disturbed.is_some()).count(),
                processes().filter(|process| process.attempts > 1).count(),
            ),
            left_out: seen.left_out(),
            mechanisms: mechanisms(study, &findings),
            findings,
            parts: (0..PARTS).filter_map(|part| part_of(study, &seen, part)).collect(),
        }
    }

    /// The hypothesis that explains most, where one was found.
    pub fn main(&self) -> Option<usize> {
        let first = self.mechanisms.first().filter(|first| first.verdict.is_found())?;
        first.members.first().copied()
    }

    /// The change that takes the main cause away.
    pub fn removal(&self, study: &Study) -> Option<Change> {
        match &study.hypotheses[self.main()?].test {
            Test::Remove { given, remove } => Some(given.then(remove)),
            _ => None,
        }
    }
}

impl Finding {
    /// More blocks would change nothing: what contributes may still turn out to be the main cause.
    fn is_settled(&self) -> bool {
        let may_be_main =
            self.share.and_then(|share| share.interval).is_some_and(|(_, high)| high > MAIN_SHARE);
        self.verdict.is_decided() && !(self.verdict == Verdict::Contributes && may_be_main)
    }

    /// Where there is no slowdown to explain, or none was told, no share of it is said.
    fn within(&mut self, presence: Presence) {
        let is_share = self.share.is_some() || self.verdict == Verdict::Restates;
        match presence {
            Presence::Found => return,
            Presence::Absent if is_share => self.verdict = Verdict::NothingToExplain,
            Presence::Undecided if is_share => self.verdict = Verdict::Open,
            _ => {}
        }
        self.share = None;
    }
}

/// Conditions that are still needed: none once nothing is open, and those of hypotheses that are. What contributes is, as long
/// as it may be the main cause and nothing of its mechanism is known to be. Levels and control are
/// measured as long as anything is, for every share is one of their slowdown.
pub fn wanted(study: &Study, layout: &Layout, measured: &Measured) -> Vec<usize> {
    let explanation = Explanation::of(study, layout, measured);
    let is_last = LOOKS.last().is_some_and(|look| explanation.blocks >= look.blocks);
    let is_main_known = |index: usize| {
        let with = explanation.mechanisms.iter().find(|mechanism| mechanism.members.contains(&index));
        with.is_some_and(|mechanism| mechanism.verdict == Verdict::MainCause)
    };
    let is_open = |index: &usize| match &explanation.findings[*index] {
        finding if finding.verdict == Verdict::Contributes => !finding.is_settled() && !is_main_known(*index),
        finding => finding.verdict == Verdict::Open,
    };
    let open: Vec<usize> = (0..explanation.findings.len()).filter(is_open).collect();
    let is_decided = match explanation.presence {
        Presence::Found => open.is_empty(),
        Presence::Absent => true,
        Presence::Undecided => false,
    };
    if is_last || is_decided {
        return Vec::new();
    }
    let Levels { low, high } = layout.levels;
    let mut wanted = BTreeSet::from([low, high]);
    wanted.extend(measured.design.alike.map(|(_, control)| control));
    for index in open {
        if let Arranged::Compared(Compared { given, removed }) = layout.tests[index] {
            wanted.extend([given.low, given.high, removed.low, removed.high]);
        }
    }
    wanted.into_iter().collect()
}

/// Each once, and hypotheses without one by themselves; what was found first comes first.
fn mechanisms(study: &Study, findings: &[Finding]) -> Vec<MechanismFound> {
    let mut found: Vec<(Option<&str>, MechanismFound)> = Vec::new();
    for (index, hypothesis) in study.hypotheses.iter().enumerate() {
        let of = hypothesis.mechanism.as_deref();
        match found.iter_mut().find(|(id, _)| of.is_some() && *id == of) {
            Some((_, mechanism)) => mechanism.members.push(index),
            None => {
                let known = study.mechanisms.iter().find(|mechanism| Some(mechanism.id.as_str()) == of);
                let title = known.map_or(&hypothesis.title, |mechanism| &mechanism.title).clone();
                found.push((of, MechanismFound { title, verdict: Verdict::Open, members: vec![index] }));
            }
        }
    }
    let mut found: Vec<MechanismFound> = found.into_iter().map(|(_, mechanism)| mechanism).collect();
    for mechanism in &mut found {
        mechanism.members.sort_by(|one, other| more_said(&findings[*one], &findings[*other]));
        mechanism.verdict = findings[mechanism.members[0]].verdict;
    }
    found.sort_by(|one, other| more_said(&findings[one.members[0]], &findings[other.members[0]]));
    found
}

/// What says more first: of two causes the one of which more is sure, of two that are open or ruled out the one that may still
/// explain more, of which nothing may be known at all.
fn more_said(one: &Finding, other: &Finding) -> Ordering {
    let rank = |finding: &Finding| {
        let share = finding.share.map(|share| match finding.verdict {
            Verdict::MainCause | Verdict::Contributes => share.interval.map_or(share.value, |(low, _)| low),
            _ => share.interval.map_or(f64::INFINITY, |(_, high)| high),
        });
        (finding.verdict, share.unwrap_or(f64::NEG_INFINITY))
    };
    let ((one, share), (other, of_other)) = (rank(one), rank(other));
    other.cmp(&one).then(of_other.total_cmp(&share))
}

fn part_of(study: &Study, seen: &Seen, part: usize) -> Option<Part> {
    Some(Part {
        part,
        low_us: seen.compared(|low, _| low.part_us_per_image[part])?.value,
        high_us: seen.compared(|_, high| high.part_us_per_image[part])?.value,
        more_us: seen
            .compared(|low, high| high.part_us_per_image[part] - study.ideal * low.part_us_per_image[part])?,
    })
}
