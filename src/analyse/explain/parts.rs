//! Where in a step the additional time of the large batch goes.

use crate::analyse::explain::condition::{Condition, LARGE, SMALL};
use crate::analyse::explain::cost::PARTS;
use crate::analyse::explain::costs::{BlockCosts, Costs};
use crate::analyse::explain::estimate::{Estimate, Share};

/// What an image costs more at [`LARGE`] than at [`SMALL`] in one part of the step, under the base.
#[derive(Clone, PartialEq, Debug)]
pub struct PartExcess {
    /// Index of the phase, or behind them all the rest.
    pub part: usize,
    /// At [`SMALL`], mean over the blocks.
    pub small_us: f64,
    pub us: Estimate,
    /// Of the whole excess.
    pub share: Option<Share>,
}

pub fn excess(costs: &Costs) -> Vec<PartExcess> {
    (0..PARTS).filter_map(|part| part_excess(costs, part)).collect()
}

fn part_excess(costs: &Costs, part: usize) -> Option<PartExcess> {
    let pairs = costs.each(|block| of_parts(block, &[part]));
    let small = costs.each(|block| Some(block.get(&Condition::base(SMALL))?.part_us_per_image[part]));
    let differences: Vec<f64> = pairs.iter().map(|(part, _)| *part).collect();
    Some(PartExcess {
        part,
        small_us: crate::stats::mean(&small)?,
        us: Estimate::of(&differences)?,
        share: Share::of(&pairs),
    })
}

/// µs that an image costs more in `parts`, and in all.
pub fn of_parts(block: &BlockCosts, parts: &[usize]) -> Option<(f64, f64)> {
    let (small, large) = (block.get(&Condition::base(SMALL))?, block.get(&Condition::base(LARGE))?);
    let more = parts.iter().map(|&part| large.part_us_per_image[part] - small.part_us_per_image[part]);
    Some((more.sum(), large.us_per_image - small.us_per_image))
}
