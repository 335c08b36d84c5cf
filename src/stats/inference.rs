//! Intervals and tests on the mean of a small sample of differences, one a seed, by Student's t.
//!
//! The arms of one seed share split, order and initial weights, so that a difference is taken within a seed and its
//! spread is the only one that counts. Below two values nothing is said: `None`.

use statrs::distribution::{ChiSquared, ContinuousCDF as _, Normal, StudentsT};

use crate::stats::{mean, sample_sd};

/// The two-sided interval that covers the mean with probability `1 − alpha`: mean ± t · sd / √n (Student, Biometrika
/// 6(1), 1908).
pub fn interval(values: &[f64], alpha: f64) -> Option<(f64, f64)> {
    interval_from(values, 0.0, alpha)
}

/// [`interval`], of values that are known in steps of `least_sd`: a few that are equal have no smaller spread than that.
pub fn interval_from(values: &[f64], least_sd: f64, alpha: f64) -> Option<(f64, f64)> {
    let (mean, sd, n) = (mean(values)?, sample_sd(values)?.max(least_sd), values.len() as f64);
    let half = quantile(n - 1.0, 1.0 - alpha / 2.0)? * sd / n.sqrt();
    Some((mean - half, mean + half))
}

#[cfg(test)]
/// What a test with `n` values finds with which probability, for values of mean `effect` and deviation `sd`: that the
/// one-sided `1 − alpha` bound lies above 0.
///
/// The noncentral t is taken as a shifted central one, P ≈ F(effect·√n/sd − t). With three values that is off by up to
/// a quarter in the middle of its range, from ten on by a few percent; the number of values for a power of 0.8 comes
/// out right or one off.
pub fn power(effect: f64, sd: f64, n: usize, alpha: f64) -> Option<f64> {
    let freedom = n.checked_sub(1).filter(|freedom| *freedom > 0)? as f64;
    let student = StudentsT::new(0.0, 1.0, freedom).ok()?;
    let shift = effect * (n as f64).sqrt() / sd;
    Some(student.cdf(shift - student.inverse_cdf(1.0 - alpha)))
}

/// How likely a mean this far above `bound`, or farther, is where the true one is `bound`: the one-sided p of Student's t.
/// `least_sd` as for [`interval_from`]; values without any spread leave no doubt either way.
pub fn p_above(values: &[f64], least_sd: f64, bound: f64) -> Option<f64> {
    let (mean, sd, n) = (mean(values)?, sample_sd(values)?.max(least_sd), values.len() as f64);
    if sd == 0.0 {
        return Some(if mean > bound { 0.0 } else { 1.0 });
    }
    Some(StudentsT::new(0.0, 1.0, n - 1.0).ok()?.cdf(-(mean - bound) * n.sqrt() / sd))
}

/// The effect that a one-sided test of `n` values with deviation `sd` finds with the probability `wanted`: `power` solved
/// for the effect.
pub fn detectable(sd: f64, n: usize, alpha: f64, wanted: f64) -> Option<f64> {
    let freedom = n.checked_sub(1).filter(|freedom| *freedom > 0)? as f64;
    Some((quantile(freedom, 1.0 - alpha)? + quantile(freedom, wanted)?) * sd / (n as f64).sqrt())
}

/// What the sample deviation of `n` values stays below with this probability, where the true one is `sd`.
pub fn sample_sd_quantile(sd: f64, n: usize, probability: f64) -> Option<f64> {
    let freedom = n.checked_sub(1).filter(|freedom| *freedom > 0)? as f64;
    Some(sd * (ChiSquared::new(freedom).ok()?.inverse_cdf(probability) / freedom).sqrt())
}

/// The two-sided interval of a share of which `hits` of `n` are seen (Wilson, Journal of the American Statistical
/// Association 22(158), 1927).
pub fn share_interval(hits: usize, n: usize, alpha: f64) -> (f64, f64) {
    let (share, n, z) = (hits as f64 / n as f64, n as f64, normal_quantile(1.0 - alpha / 2.0));
    let (middle, shrink) = (share + z * z / (2.0 * n), 1.0 + z * z / n);
    let half = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    (((middle - half) / shrink).max(0.0), ((middle + half) / shrink).min(1.0))
}

/// The q of each p: the share of false findings to expect among all that are at least as clear (Benjamini and Hochberg,
/// Journal of the Royal Statistical Society B 57(1), 1995).
pub fn q_values(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&one, &other| p[one].total_cmp(&p[other]));
    let mut q = vec![1.0; p.len()];
    let mut least = 1.0_f64;
    for (rank, &index) in order.iter().enumerate().rev() {
        least = least.min(p[index] * p.len() as f64 / (rank + 1) as f64);
        q[index] = least;
    }
    q
}

/// What a q is multiplied by where the tests may depend on each other in any way (Benjamini and Yekutieli, Annals of
/// Statistics 29(4), 2001).
pub fn any_dependence(tests: usize) -> f64 {
    (1..=tests).map(|rank| 1.0 / rank as f64).sum()
}

/// The value a standard normal variable stays below with this probability.
pub fn normal_quantile(probability: f64) -> f64 {
    Normal::standard().inverse_cdf(probability)
}

/// The value Student's t of so many degrees of freedom stays below with this probability.
pub fn quantile(freedom: f64, probability: f64) -> Option<f64> {
    Some(StudentsT::new(0.0, 1.0, freedom).ok()?.inverse_cdf(probability))
}

#[cfg(test)]
pub mod draws {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

    /// Normal numbers from a fixed stream (Box and Muller, Annals of Mathematical Statistics 29(2), 1958).
    pub struct Normal(ChaCha8Rng);

    impl Normal {
        pub fn new(seed: u8) -> Self {
            Self(ChaCha8Rng::from_seed([seed; 32]))
        }

        pub fn draw(&mut self, mean: f64, sd: f64) -> f64 {
            let mut uniform = || (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
            let (radius, angle) = (1.0 - uniform(), uniform());
            mean + sd * (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::draws::Normal;
    use super::*;

    /// Student's own data, the extra hours of sleep under two drugs (Biometrika 6(1), 1908): R's
    /// `t.test(extra ~ group, data = sleep, paired = TRUE)` gives 0.7001142 to 2.4598858.
    #[test]
    fn the_interval_of_students_sleep_data_is_the_published_one() {
        let differences = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4];
        let (low, high) = interval(&differences, 0.05).unwrap();
        assert!((low - 0.700_114_2).abs() < 1e-6 && (high - 2.459_885_8).abs() < 1e-6, "{low} {high}");
    }

    #[test]
    fn one_value_has_no_interval_and_equal_values_one_of_no_width() {
        assert_eq!((interval(&[], 0.05), interval(&[1.0], 0.05)), (None, None));
        assert_eq!(interval(&[0.25; 4], 0.05), Some((0.25, 0.25)));
        assert_eq!(power(1.0, 1.0, 1, 0.05), None);
    }

    #[test]
    fn intervals_cover_the_mean_as_often_as_they_say() {
        let mut normal = Normal::new(1);
        for n in [2, 3, 5] {
            let studies = 4000;
            let covers = |_: &i32| {
                let values: Vec<f64> = (0..n).map(|_| normal.draw(1.0, 2.0)).collect();
                let (low, high) = interval(&values, 0.05).unwrap();
                (low..=high).contains(&1.0)
            };
            let share = (0..studies).filter(covers).count() as f64 / f64::from(studies);
            // Four standard errors of a share of 0.95 over 4000 studies.
            assert!((share - 0.95).abs() < 0.014, "{n}: {share}");
        }
    }

    #[test]
    fn the_power_is_that_of_simulated_studies() {
        let mut normal = Normal::new(2);
        for (n, effect) in [(3, 4.0), (5, 1.5), (10, 1.0), (20, 0.5)] {
            let studies = 4000;
            let found = |_: &i32| {
                let values: Vec<f64> = (0..n).map(|_| normal.draw(effect, 1.0)).collect();
                interval(&values, 0.05).unwrap().0 > 0.0
            };
            let share = (0..studies).filter(found).count() as f64 / f64::from(studies);
            let expected = power(effect, 1.0, n, 0.025).unwrap();
            assert!((share - expected).abs() < 0.06, "{n} {effect}: simulated {share}, expected {expected}");
        }
    }

    /// G*Power, one-sample t, one tail, α = 0.025, power 0.8: 10 values find d = 1, 34 find d = 0.5.
    #[test]
    fn more_values_find_smaller_effects() {
        for (n, expected) in [(10, 1.0), (34, 0.5)] {
            let found = detectable(1.0, n, 0.025, 0.8).unwrap();
            assert!((found / expected - 1.0).abs() < 0.03, "{n}: {found}");
            assert!((power(found, 1.0, n, 0.025).unwrap() - 0.8).abs() < 1e-9);
        }
        assert_eq!(detectable(1.0, 1, 0.025, 0.8), None);
    }

    /// R's `t.test(extra ~ group, data = sleep, paired = TRUE, alternative = "less")`, turned over: p = 0.001416.
    #[test]
    fn the_p_of_students_sleep_data_is_the_published_one() {
        let differences = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4];
        assert!((p_above(&differences, 0.0, 0.0).unwrap() - 0.001_416).abs() < 1e-6);
        assert_eq!(
            (p_above(&[0.5; 3], 0.0, 0.0), p_above(&[0.5; 3], 0.0, 0.5), p_above(&[1.0], 0.0, 0.0)),
            (Some(0.0), Some(1.0), None)
        );
    }

    /// R's `p.adjust(c(0.01, 0.04, 0.03, 0.5), "BH")`.
    #[test]
    fn q_is_what_r_adjusts_p_to() {
        let q = q_values(&[0.01, 0.04, 0.03, 0.5]);
        for (found, expected) in q.iter().zip([0.04, 0.053_333, 0.053_333, 0.5]) {
            assert!((found - expected).abs() < 1e-5, "{q:?}");
        }
        assert!((any_dependence(4) - 25.0 / 12.0).abs() < 1e-12 && q_values(&[]).is_empty());
    }

    /// Brown, Cai and DasGupta (Statistical Science 16(2), 2001): no share of few is certain.
    #[test]
    fn the_share_of_five_of_five_is_not_certain() {
        let (low, high) = share_interval(5, 5, 0.05);
        assert!((low - 0.565_5).abs() < 1e-3 && high > 1.0 - 1e-9, "{low} {high}");
        let (low, high) = share_interval(4, 8, 0.05);
        assert!((low - 0.215).abs() < 1e-3 && (high - 0.785).abs() < 1e-3, "{low} {high}");
    }
}
