//! Which condition is faster, or what could still be there where that is not told.

use crate::analyse::timing::{ALPHA, Estimate, Measured};

/// A condition beside the reference, the first of the design.
#[derive(Clone, PartialEq, Debug)]
pub struct Comparison {
    pub condition: usize,
    /// Cost of an image over that of the reference under both its names, within blocks.
    pub ratio: Estimate,
    pub standing: Standing,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Standing {
    Faster,
    Slower,
    /// Neither is told; a difference of more than this factor, above 1, is ruled out, where anything is.
    Open {
        within: Option<f64>,
    },
}

/// Every condition but the reference and its control against the reference. Together they are wrong with probability
/// [`ALPHA`] (Bonferroni), and nothing is said that the control might show as well: a ratio counts where its interval leaves
/// out 1 and the ratio itself is beyond the floor.
pub fn compare(measured: &Measured) -> Vec<Comparison> {
    let control = measured.design.alike.map(|(_, control)| control);
    let others: Vec<usize> =
        (1..measured.design.conditions.len()).filter(|index| Some(*index) != control).collect();
    let alpha = ALPHA / others.len().max(1) as f64;
    let floor = measured.trimmed_floor(ALPHA);
    let compared = |condition: usize| {
        let ratio = measured.ratio_to_first(condition, alpha)?;
        let standing = standing(&ratio, floor);
        Some(Comparison { condition, ratio, standing })
    };
    others.into_iter().filter_map(compared).collect()
}

fn standing(ratio: &Estimate, floor: Option<f64>) -> Standing {
    let floor = floor.unwrap_or(1.0);
    if ratio.is_above(1.0) && ratio.value > floor {
        Standing::Slower
    } else if ratio.is_below(1.0) && ratio.value < 1.0 / floor {
        Standing::Faster
    } else {
        Standing::Open { within: ratio.interval.map(|(low, high)| high.max(1.0 / low).max(floor)) }
    }
}

/// Blocks with which the ratio would be told from 1, were it as it looks and the noise as it is: the interval shrinks with
/// their root. `None` where it looks like nothing at all, or the spread is not known.
pub fn blocks_needed(ratio: &Estimate, floor: Option<f64>) -> Option<u64> {
    let (low, high) = ratio.interval?;
    // The floor is the end of the control's own interval, and shrinks alike.
    let half = ((high.ln() - low.ln()) / 2.0).max(floor.unwrap_or(1.0).ln());
    let apart = ratio.value.ln().abs();
    let needed = ratio.n as f64 * (half / apart).powi(2);
    (apart > 0.001 && needed.is_finite()).then(|| (needed - 1e-6).ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::timing::simulated;
    use crate::record::Design;

    const NOISE: f64 = 0.012;
    /// As many as fit into half a minute.
    const BLOCKS: u64 = 12;

    fn design() -> Design {
        Design { alike: Some((0, 2)), ..simulated::design(&["a", "b", "a again"]) }
    }

    fn found(stream: u8, effect: f64) -> Standing {
        let us = |condition: usize| if condition == 1 { 100.0 * effect } else { 100.0 };
        let measured = simulated::measured(&design(), BLOCKS, NOISE, stream, us);
        compare(&measured)[0].standing
    }

    #[test]
    fn three_percent_are_told_from_nothing_and_nothing_is_not() {
        let slower = (0..100).filter(|stream| found(*stream, 1.03) == Standing::Slower).count();
        assert!(slower >= 90, "{slower}");
        let quiet = (0..200).filter(|stream| matches!(found(*stream, 1.0), Standing::Open { .. })).count();
        assert!(quiet >= 190, "{quiet}");
        assert_eq!(found(1, 0.9), Standing::Faster);
    }

    /// A process may be slower by a quarter for as long as it lives, whatever its condition: one block in ten or so had one, and
    /// 3 % in the others was lost in it.
    #[test]
    fn one_process_of_another_speed_hides_nothing() {
        let us = |condition: usize| if condition == 1 { 103.0 } else { 100.0 };
        let is_found = |stream: &u8, slow: usize| {
            let mut measured = simulated::measured(&design(), BLOCKS, NOISE, *stream, us);
            let block = measured.blocks.get_mut(&4).unwrap();
            block.processes.get_mut(&slow).unwrap().cost.us_per_image *= 1.27;
            compare(&measured)[0].standing == Standing::Slower
        };
        for slow in 0..3 {
            let found = (0..100).filter(|stream| is_found(stream, slow)).count();
            assert!(found >= 80, "{slow}: {found}");
        }
    }

    #[test]
    fn what_is_not_told_says_how_much_could_be_there_and_how_long_it_would_take() {
        let Standing::Open { within: Some(within) } = found(7, 1.0) else { panic!() };
        assert!(within > 1.0 && within < 1.04, "{within}");
        let ratio = |value: f64, half: f64| Estimate {
            value,
            interval: Some((value * (-half).exp(), value * half.exp())),
            n: 4,
        };
        assert_eq!(blocks_needed(&ratio(0.02_f64.exp(), 0.04), Some(0.01_f64.exp())), Some(16));
        assert_eq!(blocks_needed(&ratio(1.0, 0.03), None), None);
        let one = simulated::measured(&design(), 1, NOISE, 1, |_| 100.0);
        assert_eq!(compare(&one)[0].standing, Standing::Open { within: None });
    }
}
