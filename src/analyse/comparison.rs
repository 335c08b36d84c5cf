//! One number a seed to its evidence: estimate, interval, and what of the claim follows.

use crate::analyse::verdict::{Bound, Evidence, Held, Verdict};
use crate::experiment::metric::{Metric, Scale};
use crate::language::Localised;
use crate::stats::{self, inference};
use crate::stream::Seed;
use crate::words::Words;

const ALPHA: f64 = 0.05;
/// With which probability an effect is asked to be found (Cohen, Statistical Power Analysis, 1988). Of few values it is less,
/// down to 0.73 of two: see `inference::power`.
const POWER: f64 = 0.8;
/// A ratio that could be a hundred times as large as its least is not known at all.
const WIDEST_RATIO: f64 = 100.0;

/// One number a seed, and what would make it true.
pub(super) struct Comparison {
    pub what: Localised,
    pub metric: Metric,
    pub kind: Kind,
    /// On the scale that is tested: a logarithm for ratios.
    pub values: Vec<(Seed, f64)>,
    /// What the numbers of the reference come to by the same rule.
    pub theirs: Option<f64>,
    /// On the same scale.
    pub margin: f64,
    /// An interval wider than this, on the same scale, says nothing.
    pub widest: f64,
    /// The trainings whose numbers are compared, whichever side each is on.
    pub trainings: Vec<String>,
    /// The step in which the metric is known, as one image of a split is of an accuracy; 0 of what has none.
    pub resolution: f64,
    /// The runs whose numbers they are, in order.
    pub runs: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Kind {
    /// The difference of two arms is above 0 by the margin.
    Above,
    /// So is a slope over several.
    Trend,
    /// The difference of two arms is within the margin of 0.
    Equal,
    /// The distance of an arm's mean to a bound, in the metric's own unit whatever its scale, is above 0 by the margin.
    Bound(Bound),
    /// It is within the margin.
    Near(Bound),
}

impl Kind {
    pub(super) fn is_two_sided(self) -> bool {
        matches!(self, Self::Equal | Self::Near(_))
    }

    pub(super) fn bound(self) -> Option<Bound> {
        match self {
            Self::Bound(bound) | Self::Near(bound) => Some(bound),
            Self::Above | Self::Trend | Self::Equal => None,
        }
    }

    /// Whether arms are compared, rather than one with a value.
    pub(super) fn is_of_arms(self) -> bool {
        self.bound().is_none()
    }

    /// Whether arms are compared by the ratio of `metric`, whose logarithm is tested.
    pub(super) fn is_ratio(self, metric: Metric) -> bool {
        self.is_of_arms() && metric.quantity.facts().scale == Scale::Ratio
    }

    /// Key of its name.
    fn method(self) -> &'static str {
        match self {
            Self::Above | Self::Trend => "evidence.paired",
            Self::Equal => "evidence.paired-equal",
            Self::Bound(_) => "evidence.one-sample",
            Self::Near(_) => "evidence.one-sample-equal",
        }
    }
}

/// The widest interval that says anything of a metric whose arms' means are `means`, on the scale that is tested.
pub(super) fn widest(metric: Metric, kind: Kind, means: &[f64]) -> f64 {
    let facts = metric.quantity.facts();
    match facts.scale {
        Scale::Ratio if kind.is_of_arms() => WIDEST_RATIO.ln(),
        // A share.
        Scale::Difference if facts.is_share() => 1.0,
        _ => means.iter().copied().fold(0.0, |widest: f64, mean| widest.max(mean.abs())),
    }
}

impl Comparison {
    /// As one of `count` numbers that its claim is tested by.
    pub(super) fn evidence(&self, count: usize) -> Evidence {
        let values: Vec<f64> = self.values.iter().map(|(_, value)| *value).collect();
        let facts = self.metric.quantity.facts();
        let interval = self.interval(&values, ALPHA);
        let is_ratio = self.is_ratio();
        let show = |value: f64| if is_ratio { 100.0 * value.exp_m1() } else { value };
        let verdict = self.verdict(&values, count);
        let sd = stats::sample_sd(&values);
        let strict = self.interval(&values, ALPHA / count as f64).filter(|_| count > 1);
        let width = interval.map_or(0.0, |(low, high)| high - low);
        Evidence {
            what: self.what.clone(),
            strict: strict.map(|(low, high)| (show(low), show(high))),
            unit: if is_ratio { "%" } else { facts.unit },
            places: if is_ratio { 1 } else { facts.places },
            values: self.values.iter().map(|&(seed, value)| (seed, show(value))).collect(),
            estimate: stats::mean(&values).map(show),
            theirs: self.theirs.map(show),
            interval: interval.map(|(low, high)| (show(low), show(high))),
            margin: show(self.margin),
            is_two_sided: self.kind.is_two_sided(),
            is_ratio,
            bound: self.kind.bound(),
            effect_size: stats::mean(&values).zip(sd.filter(|sd| *sd > 0.0)).map(|(mean, sd)| mean / sd),
            detectable: sd.and_then(|sd| self.detectable(sd.max(self.resolution), values.len())).map(show),
            held: self.held(&values),
            is_informative: verdict != Verdict::Inconclusive || width <= self.widest,
            p_supported: self.p_supported(&values),
            p_refuted: self.p_refuted(&values).map(|p| (p * count as f64).min(1.0)),
            repeats: None,
            basis: self.basis(),
            verdict,
            method: self.kind.method(),
        }
    }

    fn interval(&self, values: &[f64], alpha: f64) -> Option<(f64, f64)> {
        inference::interval_from(values, self.resolution, alpha)
    }

    pub(super) fn is_ratio(&self) -> bool {
        self.kind.is_ratio(self.metric)
    }

    /// What it is a number of: claims of one basis look at the same numbers of the same runs again.
    fn basis(&self) -> String {
        let of = if self.runs.is_empty() { &self.trainings } else { &self.runs };
        format!("{}: {}", Words::english().metric(self.metric), of.join(" "))
    }

    /// Whether it is the number of `other` with another sign or from another zero, seed by seed. Those of other trainings that
    /// happen to be equal, as coarse accuracies of two seeds are, are another number.
    pub(super) fn is_same_number(&self, other: &Self) -> bool {
        if self.trainings != other.trainings || self.values.is_empty() {
            return false;
        }
        let pairs = || self.values.iter().zip(&other.values);
        let spread = stats::sample_sd(&self.values.iter().map(|(_, value)| *value).collect::<Vec<_>>());
        // Accuracies of two splits differ by the same number of images now and then.
        if !self.metric.is_proportional_to(other.metric) {
            return false;
        }
        let Some(spread) = spread.filter(|spread| *spread > 0.0) else { return self.metric == other.metric };
        let is_constant = |sign: f64| {
            let rest: Vec<f64> = pairs().map(|((_, one), (_, other))| one - sign * other).collect();
            rest.iter().all(|value| (value - rest[0]).abs() <= 1e-9 * spread)
        };
        self.values.len() == other.values.len()
            && pairs().all(|((one, _), (other, _))| one == other)
            && (is_constant(1.0) || is_constant(-1.0))
    }

    fn verdict(&self, values: &[f64], count: usize) -> Verdict {
        let Some(mean) = stats::mean(values) else { return Verdict::NotEvaluated };
        let (alpha, is_two_sided) = (ALPHA / count as f64, self.kind.is_two_sided());
        let (Some(supports), Some(refutes)) = (
            self.interval(values, if is_two_sided { 2.0 * ALPHA } else { ALPHA }),
            self.interval(values, alpha),
        ) else {
            return Verdict::Inconclusive;
        };
        let margin = self.margin;
        let (supported, refuted) = match is_two_sided {
            true => (supports.0 > -margin && supports.1 < margin, refutes.0 > margin || refutes.1 < -margin),
            false => (supports.0 > 0.0 && mean >= margin, refutes.1 < margin),
        };
        match (supported, refuted) {
            (true, _) => Verdict::Supported,
            (false, true) => Verdict::Refuted,
            (false, false) => Verdict::Inconclusive,
        }
    }

    fn p_supported(&self, values: &[f64]) -> Option<f64> {
        match self.kind.is_two_sided() {
            true => Some(inference::p_above(values, self.resolution, -self.margin)?.max(inference::p_above(
                &opposite(values),
                self.resolution,
                -self.margin,
            )?)),
            false => inference::p_above(values, self.resolution, 0.0),
        }
    }

    fn p_refuted(&self, values: &[f64]) -> Option<f64> {
        let below = inference::p_above(&opposite(values), self.resolution, -self.margin);
        match self.kind.is_two_sided() {
            true => {
                let above = inference::p_above(values, self.resolution, self.margin)?;
                let below = inference::p_above(&opposite(values), self.resolution, self.margin)?;
                Some((2.0 * above.min(below)).min(1.0))
            }
            false => below,
        }
    }

    /// See [`Evidence::detectable`].
    fn detectable(&self, sd: f64, n: usize) -> Option<f64> {
        match self.kind.is_two_sided() {
            // Both sides must be excluded, so each with half of the risk of missing it.
            true => inference::detectable(sd, n, ALPHA, POWER + (1.0 - POWER) / 2.0),
            false => {
                // The mean must come to the margin as well, which an effect of just the margin does half of the time.
                let matters = self.margin + inference::normal_quantile(POWER) * sd / (n as f64).sqrt();
                inference::detectable(sd, n, ALPHA / 2.0, POWER).map(|found| found.max(matters))
            }
        }
    }

    fn held(&self, values: &[f64]) -> Option<Held> {
        let (seeds, of) = (values.iter().filter(|value| **value > 0.0).count(), values.len());
        (self.kind == Kind::Above && of > 1).then(|| Held {
            seeds,
            of,
            interval: inference::share_interval(seeds, of, ALPHA),
        })
    }
}

fn opposite(values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| -value).collect()
}
