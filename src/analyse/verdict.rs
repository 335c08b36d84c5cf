//! A claim and what the runs say of it.

use std::fmt;

use crate::experiment::claim::Claim;
use crate::stream::Seed;

#[derive(Clone, PartialEq, Debug)]
pub struct Assessment<'a> {
    pub claim: &'a Claim,
    pub verdict: Verdict,
    /// One for each pair, bound or trend that was tested, in the order of the claim's tests.
    pub evidence: Vec<Evidence>,
    /// Why the verdict is not a plain one: a mistake in the claim, no runs, arms left out.
    pub remarks: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verdict {
    Supported,
    Refuted,
    /// The runs do not decide it; more seeds may.
    Inconclusive,
    /// There is nothing to decide it by: no runs, or the claim has a mistake.
    NotEvaluated,
}

/// One comparison: the values by seed, their mean and interval, and what follows.
#[derive(Clone, PartialEq, Debug)]
pub struct Evidence {
    /// In words: `validation accuracy: batch 64 above batch 128`.
    pub what: String,
    /// The unit of `values`, `estimate`, `interval` and `margin`; `%` for a comparison by ratio.
    pub unit: &'static str,
    /// Decimals to show.
    pub places: usize,
    /// What each seed says: a difference, a relative difference in %, a mean or a slope.
    pub values: Vec<(Seed, f64)>,
    /// Mean of `values`.
    pub estimate: Option<f64>,
    /// Two-sided 95 % confidence interval; `None` below two seeds.
    pub interval: Option<(f64, f64)>,
    pub margin: f64,
    /// The margin counts on both sides of 0: a claim of equality.
    pub is_two_sided: bool,
    /// Estimate over the standard deviation of `values`: Cohen's d of paired differences.
    pub effect_size: Option<f64>,
    /// So many seeds more would decide it with 80 % power if the effect is as estimated; `None` when it is decided,
    /// or when none of up to 1000 would.
    pub seeds_more: Option<u32>,
    pub verdict: Verdict,
    /// The statistical method, for the report: `paired t, one-sided, α = 0.025`.
    pub method: &'static str,
}

impl Verdict {
    pub const ALL: [Self; 4] = [Self::Supported, Self::Refuted, Self::Inconclusive, Self::NotEvaluated];
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Supported => "supported",
            Self::Refuted => "refuted",
            Self::Inconclusive => "inconclusive",
            Self::NotEvaluated => "not evaluated",
        })
    }
}
