//! When a measurement is looked at, and how sure a look must be.

/// Chance of error of everything that is said together, over all looks; two-sided.
pub const ALPHA: f64 = 0.05;

/// A planned moment to decide: after so many blocks, at this one-sided level.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Look {
    pub blocks: usize,
    pub level: f64,
}

/// The planned looks. Their levels spend 2.5 % on either side in proportion to the blocks (linear alpha spending; Lan and
/// DeMets, Biometrika 70(3), 1983): who looks five times at 2.5 % each is wrong in 8 %.
pub const LOOKS: [Look; 5] = [
    Look { blocks: 3, level: 0.0036 },
    Look { blocks: 5, level: 0.0029 },
    Look { blocks: 8, level: 0.0045 },
    Look { blocks: 12, level: 0.0064 },
    Look { blocks: 20, level: 0.0127 },
];

impl Look {
    /// The look at which a measurement of so many blocks is decided: the first that has not been passed. What ends between
    /// two looks, because time is up, is looked at with what the next would have spent.
    pub fn at(blocks: usize) -> Self {
        LOOKS.into_iter().find(|look| blocks <= look.blocks).unwrap_or(LOOKS[LOOKS.len() - 1])
    }

    /// Whether one is planned after so many blocks.
    pub fn is_planned(blocks: usize) -> bool {
        LOOKS.iter().any(|look| look.blocks == blocks)
    }

    /// Two-sided, as intervals take it.
    pub fn alpha(self) -> f64 {
        2.0 * self.level
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::inference;
    use crate::stats::inference::draws::Normal;

    #[test]
    fn a_measurement_that_ends_between_two_looks_is_decided_as_at_the_next() {
        assert_eq!([1, 3, 4, 5, 6, 20, 33].map(|blocks| Look::at(blocks).blocks), [3, 3, 5, 5, 8, 20, 20]);
        assert!(Look::is_planned(8) && !Look::is_planned(7));
    }

    /// On data without an effect, looked at five times, as a measurement does.
    #[test]
    fn all_looks_together_are_wrong_as_seldom_as_one() {
        let (mut normal, studies) = (Normal::new(31), 20_000);
        let is_wrong = |_: &i32| {
            let values: Vec<f64> = (0..20).map(|_| normal.draw(0.0, 1.0)).collect();
            LOOKS.iter().any(|look| {
                let (low, high) = inference::interval(&values[..look.blocks], look.alpha()).unwrap();
                low > 0.0 || high < 0.0
            })
        };
        let share = (0..studies).filter(is_wrong).count() as f64 / f64::from(studies);
        // Four standard errors of a share of 0.05 over 20,000 studies.
        assert!((share - ALPHA).abs() < 0.0062, "{share}");
    }
}
