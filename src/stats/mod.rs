//! Means, spreads, quantiles and smoothing of plain samples.
//!
//! Nothing here panics: what an empty sample does not have is `None`. A value that is not finite goes through to the
//! result, so that it is seen instead of lost; callers that want it left out filter first.

pub mod inference;
pub mod target;

/// What is said of a quantity measured once a seed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Spread {
    pub n: usize,
    pub mean: f64,
    /// `None` below two values: one value has no spread, which is not a spread of 0.
    pub sd: Option<f64>,
}

impl Spread {
    /// `None` of no values.
    pub fn of(values: &[f64]) -> Option<Self> {
        Some(Self { n: values.len(), mean: mean(values)?, sd: sample_sd(values) })
    }
}

/// The arithmetic mean.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The sample standard deviation, with n − 1 below the line.
pub fn sample_sd(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    // Their mean may be a rounding away from them.
    if values.iter().all(|value| *value == values[0]) {
        return Some(0.0);
    }
    // Two passes: the one-pass formula cancels when the spread is small beside the mean, as accuracies are.
    let mean = mean(values)?;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

/// The middle value, or the mean of the middle two.
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// The value below which a share `q` of the sample lies; `q` is brought into 0 to 1.
///
/// Linear between neighbours (type 7 of Hyndman and Fan, The American Statistician 50(4), 1996; the default of R and
/// NumPy). NaN sorts above everything.
pub fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let place = q.clamp(0.0, 1.0) * sorted.len().checked_sub(1)? as f64;
    let (below, above) = (*sorted.get(place.floor() as usize)?, *sorted.get(place.ceil() as usize)?);
    // Equal neighbours first: between two infinities the difference is not a number.
    Some(if below == above { below } else { below + (above - below) * place.fract() })
}

/// The exponential moving average of `values`, `span` values long: each new value weighs `1 / span`.
///
/// Bias-corrected as in Adam (Kingma and Ba, arXiv 1412.6980, section 3): without the correction the average starts
/// at 0 and a curve of losses would seem to rise first. One value that is not finite spoils all that follow.
pub fn moving_average(values: &[f64], span: f64) -> Vec<f64> {
    let keep = 1.0 - 1.0 / span.max(1.0);
    let (mut average, mut missing) = (0.0, 1.0);
    let step = |&value: &f64| {
        average = keep * average + (1.0 - keep) * value;
        missing *= keep;
        average / (1.0 - missing)
    };
    values.iter().map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_sample_has_nothing_and_one_value_has_no_spread() {
        assert_eq!((mean(&[]), sample_sd(&[]), median(&[]), quantile(&[], 0.9)), (None, None, None, None));
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[3.0]), Some(Spread { n: 1, mean: 3.0, sd: None }));
        assert!(moving_average(&[], 10.0).is_empty());
    }

    #[test]
    fn the_sample_sd_has_n_minus_one_below_the_line() {
        // Squares of the deviations from 5 add up to 32; 32 / 7.
        let values = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        assert_eq!(mean(&values), Some(5.0));
        assert!((sample_sd(&values).unwrap() - (32.0_f64 / 7.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn a_small_spread_beside_a_large_mean_is_not_cancelled_away() {
        let values = [1e9 + 1.0, 1e9 + 2.0, 1e9 + 3.0];
        assert_eq!(sample_sd(&values), Some(1.0));
    }

    #[test]
    fn quantiles_are_those_of_numpy() {
        // numpy.quantile([1, 2, 3, 4], q) with its default method.
        let values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(median(&values), Some(2.5));
        assert_eq!(quantile(&values, 0.25), Some(1.75));
        assert_eq!((quantile(&values, 0.0), quantile(&values, 1.0)), (Some(1.0), Some(4.0)));
        assert_eq!((quantile(&values, -1.0), quantile(&values, 2.0)), (Some(1.0), Some(4.0)));
    }

    #[test]
    fn what_is_not_finite_is_seen_and_not_lost() {
        assert!(mean(&[1.0, f64::NAN]).unwrap().is_nan());
        assert_eq!(quantile(&[1.0, f64::NAN], 0.0), Some(1.0));
        assert_eq!(median(&[f64::INFINITY, f64::INFINITY]), Some(f64::INFINITY));
    }

    #[test]
    fn the_average_of_a_constant_is_the_constant_from_the_first_value_on() {
        for value in moving_average(&[2.5; 50], 20.0) {
            assert!((value - 2.5).abs() < 1e-12, "{value}");
        }
    }

    #[test]
    fn the_average_forgets_at_the_rate_of_its_span() {
        // Corrected by hand: 4 · ½ / (1 − ½) = 4, then (2 · ½ + 1 · ½) / (1 − ¼) = 2, …
        assert_eq!(moving_average(&[4.0, 1.0], 2.0), [4.0, 2.0]);
        assert_eq!(moving_average(&[4.0, 1.0, 7.0], 1.0), [4.0, 1.0, 7.0]);
        assert_eq!(moving_average(&[4.0, 1.0], 0.0), [4.0, 1.0]);
    }
}
