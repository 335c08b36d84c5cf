//! A claim and what the runs say of it.

use crate::experiment::Setting;
use crate::experiment::claim::Claim;
use crate::language::Localised;
use crate::stream::Seed;
use crate::words::Words;

#[derive(Clone, PartialEq, Debug)]
pub struct Assessment<'a> {
    pub claim: &'a Claim,
    pub verdict: Verdict,
    /// What the verdict is about.
    pub setting: Setting,
    /// One for each pair, bound or trend that was tested, in the order of the claim's tests.
    pub evidence: Vec<Evidence>,
    /// Why the verdict is not a plain one: a mistake in the claim, no runs, arms left out.
    pub remarks: Vec<Localised>,
    /// How likely what the verdict found is by chance alone: of a claim of several parts the largest of what each has; of a
    /// refuted one that of the part that refutes it, times the number of parts. `None` where nothing was measured.
    pub p: Option<f64>,
}

named! {
    /// Displayed as the key that programs read.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
    pub enum Verdict {
        Supported = "supported",
        /// Some of its parts are supported and some refuted.
        Partly = "partly",
        Refuted = "refuted",
        /// The runs do not decide it.
        Inconclusive = "inconclusive",
        /// There is nothing to decide it by: no runs, not what it needs, or the claim has a mistake.
        NotEvaluated = "not_evaluated",
    }
}

/// One comparison: the values by seed, their mean and interval, and what follows.
#[derive(Clone, PartialEq, Debug)]
pub struct Evidence {
    /// In words: `validation accuracy: batch 64 above batch 128`.
    pub what: Localised,
    /// Of one of several parts the interval that has to exclude an effect that matters, in the unit of `values`.
    pub strict: Option<(f64, f64)>,
    /// The unit of `values`, `estimate`, `interval` and `margin`; `%` for a comparison by ratio.
    pub unit: &'static str,
    /// Decimals to show.
    pub places: usize,
    /// What each seed says: a difference, a relative difference in %, a slope, or how far a mean is on the right side of a
    /// bound.
    pub values: Vec<(Seed, f64)>,
    /// Mean of `values`.
    pub estimate: Option<f64>,
    /// What the numbers of the reference come to by the same rule, where it has them for every arm of the comparison.
    pub theirs: Option<f64>,
    /// Two-sided 95 % confidence interval; `None` below two seeds.
    pub interval: Option<(f64, f64)>,
    pub margin: f64,
    /// The margin counts on both sides of 0: a claim of equality.
    pub is_two_sided: bool,
    /// The values are of ratios, in %.
    pub is_ratio: bool,
    /// What `values` are the distances to, of a test of one arm against a value.
    pub bound: Option<Bound>,
    /// Estimate over the standard deviation of `values`: Cohen's d of paired differences.
    pub effect_size: Option<f64>,
    /// The effect that so many seeds would have found with a power of 75 to 80 % at this spread, in the unit of `margin`; of
    /// an equality, the margin within which equal arms would have been found equal.
    pub detectable: Option<f64>,
    /// Of a comparison of two arms.
    pub held: Option<Held>,
    /// The interval is wider than what it measures can be: it says nothing.
    pub is_informative: bool,
    /// How likely means this far on the claim's side are by chance alone.
    pub p_supported: Option<f64>,
    /// The same of an effect that matters, from the other side.
    pub p_refuted: Option<f64>,
    /// The earlier comparison of the same claim that is the same number, seen from elsewhere.
    pub repeats: Option<usize>,
    /// What it is a number of: comparisons with the same one are the same evidence, in whatever claim.
    pub basis: String,
    pub verdict: Verdict,
    /// The key of the statistical method's name, such as `paired t, 95 % interval`.
    pub method: &'static str,
}

/// What an arm's mean is compared with.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Bound {
    pub value: f64,
    /// 1 where the mean is to be above it, or near it; −1 where below.
    pub sign: f64,
}

/// In how many seeds the first arm was above the second, and the share of seeds in which it would be, by Wilson's 95 %
/// interval.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Held {
    pub seeds: usize,
    pub of: usize,
    pub interval: (f64, f64),
}

impl Verdict {
    /// In the words of pages, which say what it is about: one of a reduced setting refutes nothing that was said of another.
    pub fn says(self, setting: Setting, words: Words) -> &'static str {
        words.word(match (self, setting) {
            (Self::Supported, Setting::Reduced) => "verdict.supported-reduced",
            (Self::Partly, Setting::Reduced) => "verdict.partly-reduced",
            (Self::Refuted, Setting::Reduced) => "verdict.refuted-reduced",
            (Self::Supported, Setting::Other) => "verdict.supported-other",
            (Self::Partly, Setting::Other) => "verdict.partly-other",
            (Self::Refuted, Setting::Other) => "verdict.refuted-other",
            (Self::Supported, Setting::Own) => "verdict.supported",
            (Self::Partly, Setting::Own) => "verdict.partly",
            (Self::Refuted, Setting::Own) => "verdict.refuted",
            (Self::Inconclusive, _) => "verdict.inconclusive",
            (Self::NotEvaluated, _) => "verdict.not-evaluated",
        })
    }
}

impl Evidence {
    /// A value as a reader knows it: of a bound the arm's own mean instead of its distance.
    pub fn shown(&self, value: f64) -> f64 {
        self.bound.map_or(value, |bound| bound.value + bound.sign * value)
    }

    /// One of `values`, `estimate` or `interval` in least effects that matter: of ratios by their logarithms.
    pub fn in_margins(&self, value: f64) -> f64 {
        let on_scale = |value: f64| if self.is_ratio { (value / 100.0).ln_1p() } else { value };
        on_scale(value) / on_scale(self.margin)
    }

    /// The interval in such values, the lower end first.
    pub fn shown_interval(&self) -> Option<(f64, f64)> {
        self.interval.map(|interval| self.shown_ends(interval))
    }

    /// Both ends as a reader knows them, the lower first.
    pub fn shown_ends(&self, (low, high): (f64, f64)) -> (f64, f64) {
        let (low, high) = (self.shown(low), self.shown(high));
        if low <= high { (low, high) } else { (high, low) }
    }
}

impl Assessment<'_> {
    /// The parts of the claim: comparisons that are one number count as one.
    pub fn parts(&self) -> Vec<Verdict> {
        parts(&self.evidence)
    }

    /// `2 of 3 parts hold`, of a claim that has several.
    pub fn in_parts(&self, words: Words) -> Option<String> {
        let parts = self.parts();
        let held = parts.iter().filter(|part| **part == Verdict::Supported).count();
        (parts.len() > 1 && self.verdict != Verdict::NotEvaluated)
            .then(|| words.count("verdict.parts", held, &[("all", &parts.len())]))
    }

    /// What its numbers are of: claims with the same one are about the same numbers.
    pub fn basis(&self) -> Vec<&str> {
        let mut basis: Vec<&str> = self.evidence.iter().map(|evidence| evidence.basis.as_str()).collect();
        basis.sort_unstable();
        basis.dedup();
        basis
    }
}

/// Verdicts of the parts of a claim: comparisons that are one number are one, of which both sides must hold.
pub(super) fn parts(evidence: &[Evidence]) -> Vec<Verdict> {
    let own = (0..evidence.len()).filter(|&index| evidence[index].repeats.is_none());
    let part = |index| {
        let all = evidence.iter().enumerate();
        let of_part = all.filter(|(at, evidence)| *at == index || evidence.repeats == Some(index));
        let sides: Vec<Verdict> = of_part.map(|(_, evidence)| evidence.verdict).collect();
        match overall(&sides) {
            // One number that is on one side as asked and on the other not.
            Verdict::Partly => Verdict::Refuted,
            verdict => verdict,
        }
    };
    own.map(part).collect()
}

/// The verdict on parts that must all hold.
pub(super) fn overall(parts: &[Verdict]) -> Verdict {
    let any = |verdict| parts.contains(&verdict);
    let all = |verdict| parts.iter().all(|part| *part == verdict);
    // A part that was not tested leaves open what those that hold say.
    let is_untested = parts.iter().all(|part| matches!(part, Verdict::NotEvaluated | Verdict::Supported))
        && (parts.is_empty() || any(Verdict::NotEvaluated));
    if is_untested {
        Verdict::NotEvaluated
    } else if any(Verdict::Partly) || (any(Verdict::Refuted) && any(Verdict::Supported)) {
        Verdict::Partly
    } else if any(Verdict::Refuted) {
        Verdict::Refuted
    } else if all(Verdict::Supported) {
        Verdict::Supported
    } else {
        Verdict::Inconclusive
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Inconclusive, NotEvaluated, Partly, Refuted, Supported};
    use super::*;

    #[test]
    fn one_refuted_part_hides_no_supported_one() {
        assert_eq!(overall(&[Supported, Supported]), Supported);
        assert_eq!(overall(&[Supported, Refuted, Inconclusive]), Partly);
        assert_eq!(overall(&[Refuted, Inconclusive]), Refuted);
        assert_eq!(overall(&[Supported, Inconclusive]), Inconclusive);
        assert_eq!(overall(&[Supported, NotEvaluated]), NotEvaluated);
        assert_eq!(overall(&[Supported, NotEvaluated, Inconclusive]), Inconclusive);
        assert_eq!(overall(&[Refuted, NotEvaluated]), Refuted);
        assert_eq!((overall(&[]), overall(&[NotEvaluated])), (NotEvaluated, NotEvaluated));
        assert_eq!(overall(&[Partly, Supported]), Partly);
    }

    #[test]
    fn no_verdict_of_a_reduced_setting_refutes() {
        for verdict in Verdict::ALL {
            assert!(
                verdict.says(Setting::Reduced, Words::english())
                    != Refuted.says(Setting::Own, Words::english())
            );
        }
        assert_eq!(Refuted.says(Setting::Reduced, Words::english()), "does not hold at this reduced setting");
    }
}
