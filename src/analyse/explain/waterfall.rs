//! The slowdown taken apart: what it loses as one knob after the other is turned, and what is left.

use crate::analyse::explain::condition::{Condition, LARGE, SMALL, Variant};
use crate::analyse::explain::costs::{BlockCosts, Costs, ln_slowdown};
use crate::analyse::explain::estimate::{Estimate, Share};
use crate::experiment::Plan;

/// Each variant turns one knob more than the one before. The order matters where knobs do the same work: huge pages are
/// credited only with what keeping memory leaves, and micro-batches with what both leave.
pub const CHAIN: [Variant; 4] =
    [Variant::Base, Variant::KeepMemory, Variant::KeepMemoryHugePages, Variant::KeepMemoryMicroBatches];

/// From the cost of an image at [`SMALL`] to that at [`LARGE`], under the base.
#[derive(Clone, PartialEq, Debug)]
pub struct Waterfall {
    pub small_us: f64,
    pub large_us: f64,
    /// One for each knob, then the rest; together the whole difference.
    pub steps: Vec<WaterfallStep>,
    /// Blocks that have the whole chain.
    pub n: usize,
}

#[derive(Clone, PartialEq, Debug)]
pub struct WaterfallStep {
    /// The variant that takes it away; `None` for what none does.
    pub variant: Option<Variant>,
    pub share: Share,
    /// The share of the difference in µs.
    pub us: f64,
}

impl Waterfall {
    pub fn of(costs: &Costs, base: &Plan) -> Option<Self> {
        // A link whose knob the base has turned already is the one before it.
        let mut chain = CHAIN.map(|variant| variant.within(base)).to_vec();
        chain.dedup();
        let whole: Vec<&BlockCosts> = costs
            .blocks
            .iter()
            .filter(|block| chain.iter().all(|variant| ln_slowdown(block, *variant).is_some()))
            .collect();
        let us = |batch| {
            let condition = Condition::base(batch);
            let values = whole.iter().filter_map(|block| Some(block.get(&condition)?.us_per_image));
            Some(Estimate::geometric(&values.collect::<Vec<_>>())?.value)
        };
        let (small_us, large_us) = (us(SMALL)?, us(LARGE)?);
        let excess = large_us - small_us;
        let mut steps = Vec::new();
        for (link, &variant) in chain.iter().enumerate() {
            let next = chain.get(link + 1).copied();
            let pair = |block: &&BlockCosts| {
                let left = next.map_or(Some(0.0), |variant| ln_slowdown(block, variant))?;
                Some((ln_slowdown(block, variant)? - left, ln_slowdown(block, Variant::Base)?))
            };
            let share = Share::of(&whole.iter().filter_map(pair).collect::<Vec<_>>())?;
            let us = share.value * excess;
            steps.push(WaterfallStep { variant: next, share, us });
        }
        Some(Self { small_us, large_us, steps, n: whole.len() })
    }
}
