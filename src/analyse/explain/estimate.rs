//! A value over the blocks with its interval, and the share that one effect has in another.

use crate::stats;
use crate::stats::inference;

/// Intervals cover with probability 1 − ALPHA.
pub const ALPHA: f64 = 0.05;

#[derive(Clone, PartialEq, Debug)]
pub struct Estimate {
    pub value: f64,
    /// 95 %; `None` of one block.
    pub interval: Option<(f64, f64)>,
    /// Blocks.
    pub n: usize,
}

/// The part of one effect that another one is: a quotient of two means over the same blocks.
#[derive(Clone, PartialEq, Debug)]
pub struct Share {
    pub value: f64,
    /// 95 %; `None` where the whole is not clearly above 0, so that the quotient may be anything.
    pub interval: Option<(f64, f64)>,
    /// Blocks.
    pub n: usize,
}

impl Estimate {
    /// Of a difference: mean and interval by Student's t.
    pub fn of(values: &[f64]) -> Option<Self> {
        Some(Self {
            value: stats::mean(values)?,
            interval: inference::interval(values, ALPHA),
            n: values.len(),
        })
    }

    /// Of a ratio or a time, given as logarithms: the geometric mean. The noise of a time is a factor, and a factor is
    /// symmetric in logarithms.
    pub fn of_logs(values: &[f64]) -> Option<Self> {
        let logs = Self::of(values)?;
        Some(Self {
            value: logs.value.exp(),
            interval: logs.interval.map(|(low, high)| (low.exp(), high.exp())),
            n: logs.n,
        })
    }

    /// As [`Estimate::of_logs`], of values that are above 0.
    pub fn geometric(values: &[f64]) -> Option<Self> {
        Self::of_logs(&values.iter().map(|value| value.ln()).collect::<Vec<_>>())
    }

    pub fn is_above(&self, bound: f64) -> bool {
        self.interval.is_some_and(|(low, _)| low > bound)
    }
}

impl Share {
    /// Of part and whole in each block. The interval is Fieller's (Journal of the Royal Statistical Society B 16(2),
    /// 1954): all shares r for which the mean of part − r · whole is not told from 0. Quotients block by block, averaged,
    /// would be biased and run off where a whole comes near 0.
    pub fn of(pairs: &[(f64, f64)]) -> Option<Self> {
        let (parts, wholes): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
        let (part, whole) = (stats::mean(&parts)?, stats::mean(&wholes)?);
        Some(Self { value: part / whole, interval: fieller(&parts, &wholes), n: pairs.len() })
    }
}

fn fieller(parts: &[f64], wholes: &[f64]) -> Option<(f64, f64)> {
    let n = parts.len() as f64;
    let (part, whole) = (stats::mean(parts)?, stats::mean(wholes)?);
    let (part_sd, whole_sd) = (stats::sample_sd(parts)?, stats::sample_sd(wholes)?);
    let products = parts.iter().zip(wholes).map(|(p, w)| (p - part) * (w - whole));
    let covariance = products.sum::<f64>() / (n - 1.0);
    let factor = inference::quantile(n - 1.0, 1.0 - ALPHA / 2.0)?.powi(2) / n;
    let a = whole.powi(2) - factor * whole_sd.powi(2);
    let b = part * whole - factor * covariance;
    let c = part.powi(2) - factor * part_sd.powi(2);
    // Not negative but for rounding: the quotient itself lies between the roots.
    let root = (b * b - a * c).max(0.0).sqrt();
    (a > 0.0).then(|| ((b - root) / a, (b + root) / a))
}

/// Whether the share is above `bound`, found with a chance of error of `alpha` / 2; needs no division.
pub fn exceeds(pairs: &[(f64, f64)], bound: f64, alpha: f64) -> bool {
    inference::interval(&beyond(pairs, bound), alpha).is_some_and(|(low, _)| low > 0.0)
}

/// Whether the share is below `bound`, likewise.
pub fn stays_below(pairs: &[(f64, f64)], bound: f64, alpha: f64) -> bool {
    inference::interval(&beyond(pairs, bound), alpha).is_some_and(|(_, high)| high < 0.0)
}

fn beyond(pairs: &[(f64, f64)], bound: f64) -> Vec<f64> {
    pairs.iter().map(|(part, whole)| part - bound * whole).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::inference::draws::Normal;

    #[test]
    fn a_share_of_a_whole_that_does_not_vary_has_the_interval_of_its_part() {
        let parts = [1.0, 1.2, 0.8, 1.1];
        let share = Share::of(&parts.map(|part| (part, 2.0))).unwrap();
        let (low, high) = inference::interval(&parts, ALPHA).unwrap();
        let found = share.interval.unwrap();
        assert!((share.value - 0.5125).abs() < 1e-12);
        assert!((found.0 - low / 2.0).abs() < 1e-9 && (found.1 - high / 2.0).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn intervals_of_shares_cover_as_often_as_they_say() {
        let mut normal = Normal::new(4);
        let studies = 2000;
        let covers = |_: &i32| {
            let pair = |_| {
                let whole = normal.draw(0.4, 0.08);
                (0.3 * whole + normal.draw(0.0, 0.05), whole)
            };
            let pairs: Vec<(f64, f64)> = (0..6).map(pair).collect();
            Share::of(&pairs).unwrap().interval.is_none_or(|(low, high)| (low..=high).contains(&0.3))
        };
        let share = (0..studies).filter(covers).count() as f64 / f64::from(studies);
        // Four standard errors of a share of 0.95 over 2000 studies.
        assert!((share - 0.95).abs() < 0.02, "{share}");
    }

    #[test]
    fn verdicts_and_the_interval_of_a_share_agree() {
        let pairs = [(0.30, 0.40), (0.33, 0.42), (0.28, 0.39), (0.31, 0.41), (0.29, 0.38)];
        let (low, high) = Share::of(&pairs).unwrap().interval.unwrap();
        assert!(exceeds(&pairs, low - 1e-6, ALPHA) && !exceeds(&pairs, low + 1e-6, ALPHA));
        assert!(stays_below(&pairs, high + 1e-6, ALPHA) && !stays_below(&pairs, high - 1e-6, ALPHA));
    }

    #[test]
    fn a_whole_that_may_be_nothing_has_shares_without_an_interval() {
        let share = Share::of(&[(0.1, 0.1), (0.1, -0.1), (0.1, 0.02)]).unwrap();
        assert_eq!(share.interval, None);
        assert_eq!((Share::of(&[]), Estimate::of(&[])), (None, None));
        assert_eq!(Estimate::of_logs(&[0.0]), Some(Estimate { value: 1.0, interval: None, n: 1 }));
    }
}
