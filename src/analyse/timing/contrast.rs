//! A difference of logarithms over the blocks, its interval, and the noise that all conditions share.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::stats;
use crate::stats::inference;

/// Blocks that what all conditions say of the noise is worth, at most. A contrast has two or three blocks of its own at
/// first, whose spread alone says next to nothing; that of all conditions together says a lot, but not that this one is as
/// quiet as the rest. With two, intervals of 95 % still cover in 92 % where both conditions stray twice as far as the
/// others, and those of the looks, which are much wider, in as many as they say: the tests simulate both.
const BORROWED: f64 = 2.0;

/// Blocks from which some can be left out without losing more by it than one among them costs.
const LEAST_TO_TRIM: usize = 8;

/// A sum of weighted logarithms in each block.
#[derive(Clone, PartialEq, Debug)]
pub struct Contrast {
    pub values: Vec<f64>,
    /// Sum of the squared weights: how many processes' variance it has.
    pub squares: f64,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Estimate {
    pub value: f64,
    /// `None` where there is nothing to tell the spread from.
    pub interval: Option<(f64, f64)>,
    /// Blocks.
    pub n: usize,
}

/// How far the logarithm of a process's cost strays.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Noise {
    /// Standard deviation.
    pub sd: f64,
    /// Degrees of freedom it is known with.
    pub freedom: f64,
}

impl Noise {
    /// What is left of `blocks`, logarithms by condition, once each block and each condition has its own level (randomised
    /// complete blocks; Fisher, The Design of Experiments, 1935; cells may be missing).
    pub fn of(blocks: &[BTreeMap<usize, f64>]) -> Option<Self> {
        const ROUNDS: usize = 100;
        let cells: Vec<(usize, usize, f64)> = blocks
            .iter()
            .enumerate()
            .flat_map(|(block, costs)| costs.iter().map(move |(condition, ln)| (block, *condition, *ln)))
            .collect();
        let conditions = cells.iter().map(|(_, condition, _)| condition + 1).max()?;
        let (mut of_block, mut of_condition) = (vec![0.0; blocks.len()], vec![0.0; conditions]);
        for _ in 0..ROUNDS {
            let rest = |&(block, condition, ln): &(usize, usize, f64)| (block, ln - of_condition[condition]);
            of_block = means(cells.iter().map(rest), blocks.len());
            let rest = |&(block, condition, ln): &(usize, usize, f64)| (condition, ln - of_block[block]);
            of_condition = means(cells.iter().map(rest), conditions);
        }
        let measured = |count: usize, has: &dyn Fn(usize) -> bool| (0..count).filter(|one| has(*one)).count();
        let of_blocks = measured(blocks.len(), &|block| !blocks[block].is_empty());
        let of_conditions = measured(conditions, &|one| cells.iter().any(|(_, other, _)| *other == one));
        let freedom = (cells.len() + 1).checked_sub(of_blocks + of_conditions).filter(|left| *left > 0)?;
        let squares = cells.iter().map(|&(block, condition, ln)| {
            let rest: f64 = ln - of_block[block] - of_condition[condition];
            rest * rest
        });
        Some(Self { sd: (squares.sum::<f64>() / freedom as f64).sqrt(), freedom: freedom as f64 })
    }
}

/// The mean of the values under each of so many numbers; 0 where there is none.
fn means(values: impl Iterator<Item = (usize, f64)>, count: usize) -> Vec<f64> {
    let mut sums = vec![(0.0, 0.0); count];
    for (number, value) in values {
        sums[number].0 += value;
        sums[number].1 += 1.0;
    }
    sums.into_iter().map(|(sum, n): (f64, f64)| if n > 0.0 { sum / n } else { 0.0 }).collect()
}

impl Contrast {
    /// Mean and the interval that covers it with probability 1 − `alpha`, by Student's t.
    ///
    /// The variance is the contrast's own over its blocks, moderated by that of all conditions with a weight of at most
    /// [`BORROWED`] degrees of freedom (Smyth, Statistical Applications in Genetics and Molecular Biology 3(1), 2004), and
    /// never with more degrees of freedom than all conditions together have.
    pub fn estimate(&self, noise: Option<&Noise>, alpha: f64) -> Option<Estimate> {
        let (value, n) = (stats::mean(&self.values)?, self.values.len());
        let half = self
            .standard_error(noise)
            .and_then(|(error, freedom)| Some(error * inference::quantile(freedom, 1.0 - alpha / 2.0)?));
        Some(Estimate { value, interval: half.map(|half| (value - half, value + half)), n })
    }

    /// As [`Self::estimate`], of the mean without the fifth of the blocks at either end (trimmed mean and winsorised variance;
    /// Yuen, Biometrika 61(1), 1974), where there are [`LEAST_TO_TRIM`]: now and then a process is slower by a quarter for
    /// as long as it lives, whatever its condition (huge pages do not tell these apart; why is not known). That is one block.
    pub fn trimmed(&self, noise: Option<&Noise>, alpha: f64) -> Option<Estimate> {
        let n = self.values.len();
        if n < LEAST_TO_TRIM {
            return self.estimate(noise, alpha);
        }
        let mut values = self.values.clone();
        values.sort_by(f64::total_cmp);
        let cut = n / 5;
        let kept = values[cut..n - cut].to_vec();
        let value = stats::mean(&kept)?;
        let (low, high) = (*kept.first()?, *kept.last()?);
        let winsorised: Vec<f64> = values.iter().map(|value| value.clamp(low, high)).collect();
        let (own, freedom) = (n as f64 - 1.0, kept.len() as f64 - 1.0);
        let error = stats::sample_sd(&winsorised)? * (own / (kept.len() as f64 * freedom)).sqrt();
        let half = error * inference::quantile(freedom, 1.0 - alpha / 2.0)?;
        Some(Estimate { value, interval: Some((value - half, value + half)), n })
    }

    /// Of the mean, with its degrees of freedom.
    fn standard_error(&self, noise: Option<&Noise>) -> Option<(f64, f64)> {
        let own = self.values.len().checked_sub(1)? as f64;
        let squares = stats::sample_sd(&self.values).map_or(0.0, |sd| own * sd * sd);
        let borrowed = noise.map_or(0.0, |noise| BORROWED.min(noise.freedom - own).max(0.0));
        let variance = noise.map_or(0.0, |noise| noise.sd * noise.sd * self.squares);
        let freedom = own + borrowed;
        let moderated = (squares + borrowed * variance) / freedom;
        (freedom > 0.0).then(|| ((moderated / self.values.len() as f64).sqrt(), freedom))
    }
}

impl Estimate {
    /// Of a logarithm, as the ratio it is of.
    pub fn exp(self) -> Self {
        Self {
            value: self.value.exp(),
            interval: self.interval.map(|(low, high)| (low.exp(), high.exp())),
            n: self.n,
        }
    }

    pub fn is_above(&self, bound: f64) -> bool {
        self.interval.is_some_and(|(low, _)| low > bound)
    }

    pub fn is_below(&self, bound: f64) -> bool {
        self.interval.is_some_and(|(_, high)| high < bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::inference::draws::Normal;

    /// Blocks of conditions whose logarithms stray by these deviations around levels of their own.
    fn blocks(normal: &mut Normal, count: usize, sds: &[f64]) -> Vec<BTreeMap<usize, f64>> {
        let block = |_| {
            let level = normal.draw(5.0, 0.3);
            let cell = |(condition, sd): (usize, &f64)| {
                (condition, level + condition as f64 + normal.draw(0.0, *sd))
            };
            sds.iter().enumerate().map(cell).collect()
        };
        (0..count).map(block).collect()
    }

    fn difference(blocks: &[BTreeMap<usize, f64>], one: usize, other: usize) -> Contrast {
        let values = blocks.iter().map(|block| block[&one] - block[&other]);
        Contrast { values: values.collect(), squares: 2.0 }
    }

    #[test]
    fn the_noise_is_what_neither_block_nor_condition_accounts_for() {
        let mut normal = Normal::new(41);
        let mut all = blocks(&mut normal, 200, &[0.02; 6]);
        // A condition that left early, and one process that failed.
        for block in &mut all[50..] {
            block.remove(&3);
        }
        all[7].remove(&0);
        let noise = Noise::of(&all).unwrap();
        assert_eq!(noise.freedom, (200 * 6 - 150 - 1 - 200 - 6 + 1) as f64);
        assert!((noise.sd / 0.02 - 1.0).abs() < 0.1, "{noise:?}");
        assert_eq!(Noise::of(&all[..1]), None);
        assert_eq!(Noise::of(&[]), None);
    }

    /// With two conditions the noise is the contrast's own, and nothing may be borrowed.
    #[test]
    fn two_conditions_have_the_interval_of_student() {
        let blocks = blocks(&mut Normal::new(42), 4, &[0.02; 2]);
        let contrast = difference(&blocks, 1, 0);
        let found = contrast.estimate(Noise::of(&blocks).as_ref(), 0.05).unwrap().interval.unwrap();
        let expected = inference::interval(&contrast.values, 0.05).unwrap();
        assert!((found.0 - expected.0).abs() < 1e-9 && (found.1 - expected.1).abs() < 1e-9);
        assert_eq!(contrast.estimate(None, 0.05).unwrap().interval, Some(expected));
    }

    #[test]
    fn intervals_cover_although_one_condition_strays_twice_as_far() {
        let uneven = [0.04, 0.04, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02];
        // The last is at the level of the first look.
        for (sds, alpha, least) in [([0.02; 8], 0.05, 0.94), (uneven, 0.05, 0.905), (uneven, 0.0072, 0.98)] {
            for count in [3, 5] {
                let (mut normal, studies) = (Normal::new(43), 2000);
                let covers = |_: &i32| {
                    let blocks = blocks(&mut normal, count, &sds);
                    let estimate = difference(&blocks, 1, 0).estimate(Noise::of(&blocks).as_ref(), alpha);
                    let (low, high) = estimate.unwrap().interval.unwrap();
                    (low..=high).contains(&1.0)
                };
                let share = (0..studies).filter(covers).count() as f64 / f64::from(studies);
                assert!(share > least, "{sds:?}, {count} blocks: {share}");
            }
        }
    }

    /// The winsorised values are 3, 3, 3, 4, 5, 6, 7, 8, 8, 8, whose squares around 5.5 add up to 42.5, and 6 are kept. The
    /// interval once divided by n where Yuen divides by n − 1, and by h where she has h − 1.
    #[test]
    fn the_trimmed_interval_is_yuens() {
        let contrast = Contrast { values: (1..=10).map(f64::from).collect(), squares: 2.0 };
        let found = contrast.trimmed(None, 0.05).unwrap();
        let half = (42.5_f64 / (6.0 * 5.0)).sqrt() * 2.570_581_836;
        let (low, high) = found.interval.unwrap();
        assert!((found.value - 5.5).abs() < 1e-12 && found.n == 10);
        assert!((low - (5.5 - half)).abs() < 1e-6 && (high - (5.5 + half)).abs() < 1e-6, "{low} {high}");
    }

    /// t of 2 degrees of freedom is 11.8 at the first look, that of 4 is 5.0.
    #[test]
    fn what_all_conditions_say_narrows_the_first_intervals() {
        let (mut normal, mut widths) = (Normal::new(44), [0.0, 0.0]);
        for _ in 0..50 {
            let blocks = blocks(&mut normal, 3, &[0.02; 8]);
            let (contrast, noise) = (difference(&blocks, 1, 0), Noise::of(&blocks).unwrap());
            assert!((noise.freedom - 14.0).abs() < 1e-9);
            for (width, noise) in widths.iter_mut().zip([Some(&noise), None]) {
                let (low, high) = contrast.estimate(noise, 0.0072).unwrap().interval.unwrap();
                *width += high - low;
            }
        }
        assert!(widths[0] < 0.6 * widths[1], "{widths:?}");
    }
}
