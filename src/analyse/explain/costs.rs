//! The costs of every block, and what is missing in them.

use std::collections::BTreeMap;
use std::fmt;

use crate::analyse::explain::condition::{Condition, LARGE, SMALL, Variant};
use crate::analyse::explain::cost::Cost;
use crate::analyse::explain::design::Design;
use crate::planted::Planted;
use crate::record::{LoadedRun, Status};

/// Every condition once, one after the other.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Block {
    pub runs: Vec<(Condition, LoadedRun)>,
}

pub type BlockCosts = BTreeMap<Condition, Cost>;

#[derive(Clone, PartialEq, Debug)]
pub struct Costs {
    pub blocks: Vec<BlockCosts>,
    pub gaps: Vec<Gap>,
}

/// A condition that blocks lack; comparisons that need it leave these blocks out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gap {
    pub condition: Condition,
    /// From 1.
    pub blocks: Vec<usize>,
    pub why: Why,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Why {
    Missing,
    /// The status of the run, and its reason.
    NotFinished(String),
    /// The run is of another batch.
    OtherBatch(u32),
    /// The run was executed under another plan than the condition's.
    OtherPlan {
        expected: String,
        found: String,
    },
    /// The run has this fault planted in it, or none where one should be.
    OtherFault(Option<Planted>),
    /// Too few steps of full size after the warm-up.
    TooShort,
    /// The block has it more than once; the first counts.
    Repeated,
}

impl Costs {
    pub fn of(blocks: &[Block], design: &Design) -> Self {
        let expected = design.conditions();
        let mut gaps: BTreeMap<(Condition, Why), Vec<usize>> = BTreeMap::new();
        let mut all = Vec::new();
        for (index, block) in blocks.iter().enumerate() {
            let (mut costs, mut seen) = (BlockCosts::new(), Vec::new());
            let mut gap = |condition, why| gaps.entry((condition, why)).or_default().push(index + 1);
            for (condition, run) in &block.runs {
                if seen.contains(condition) {
                    gap(*condition, Why::Repeated);
                    continue;
                }
                seen.push(*condition);
                match cost(design, *condition, run) {
                    Ok(cost) => {
                        costs.insert(*condition, cost);
                    }
                    Err(why) => gap(*condition, why),
                }
            }
            for condition in expected.iter().filter(|condition| !seen.contains(condition)) {
                gap(*condition, Why::Missing);
            }
            all.push(costs);
        }
        let gaps = gaps.into_iter().map(|((condition, why), blocks)| Gap { condition, blocks, why });
        Self { blocks: all, gaps: gaps.collect() }
    }

    /// What `of` says of each block, without those of which it says nothing.
    pub fn each<T>(&self, of: impl Fn(&BlockCosts) -> Option<T>) -> Vec<T> {
        self.blocks.iter().filter_map(of).collect()
    }
}

fn cost(design: &Design, condition: Condition, run: &LoadedRun) -> Result<Cost, Why> {
    match &run.record.status {
        Status::Finished => {}
        Status::Diverged { step, .. } => return Err(Why::NotFinished(format!("diverged at step {step}"))),
        Status::Failed { reason } => return Err(Why::NotFinished(format!("failed: {reason}"))),
    }
    let (trained, train) = (design.trained(condition), &run.record.trial.config.train);
    if (train.batch, train.micro_batch) != (trained.batch, trained.variant.micro_batch()) {
        return Err(Why::OtherBatch(train.micro_batch.unwrap_or(train.batch)));
    }
    let (expected, found) = (trained.variant.apply(&design.base).hash(), run.record.plan_hash);
    if found != expected {
        return Err(Why::OtherPlan { expected: expected.short(), found: found.short() });
    }
    if run.record.planted != design.planted(condition) {
        return Err(Why::OtherFault(run.record.planted));
    }
    Cost::of(run).ok_or(Why::TooShort)
}

/// Logarithm of the cost of an image at [`LARGE`] over that at [`SMALL`].
pub fn ln_slowdown(block: &BlockCosts, variant: Variant) -> Option<f64> {
    let us = |batch| Some(block.get(&Condition { batch, variant })?.us_per_image);
    Some((us(LARGE)? / us(SMALL)?).ln())
}

/// µs that an image costs more at [`LARGE`] than at [`SMALL`].
pub fn excess_us(block: &BlockCosts, variant: Variant) -> Option<f64> {
    let us = |batch| Some(block.get(&Condition { batch, variant })?.us_per_image);
    Some(us(LARGE)? - us(SMALL)?)
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blocks: Vec<String> = self.blocks.iter().map(usize::to_string).collect();
        let s = if blocks.len() == 1 { "" } else { "s" };
        write!(f, "{} in block{s} {}: ", self.condition, blocks.join(", "))?;
        match &self.why {
            Why::Missing => f.write_str("not measured"),
            Why::NotFinished(how) => f.write_str(how),
            Why::OtherBatch(batch) => write!(f, "the run is of batch {batch}"),
            Why::OtherPlan { expected, found } => {
                write!(f, "the run was executed under plan {found}, expected {expected}")
            }
            Why::OtherFault(Some(planted)) => write!(f, "the run has the fault '{planted}' planted in it"),
            Why::OtherFault(None) => f.write_str("the run lacks the fault that is to be demonstrated"),
            Why::TooShort => f.write_str("too few steps of full size after the warm-up; measure longer runs"),
            Why::Repeated => f.write_str("measured more than once; the first run counts"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::explain::simulated;

    #[test]
    fn what_cannot_be_used_is_named_with_the_reason() {
        let mut blocks = simulated::faults(1, 2);
        let design = simulated::design();
        assert_eq!(Costs::of(&blocks, &design).gaps, []);
        blocks[0].runs[0].1.record.status = Status::Failed { reason: "out of memory".to_owned() };
        blocks[0].runs[1].1.steps.truncate(6);
        blocks[1].runs[2].0.batch = 16;
        let again = blocks[1].runs[3].clone();
        blocks[1].runs.push(again);
        blocks[1].runs[5].1.record.planted = Some(Planted::DelayLoad);
        let replanned = Condition { batch: LARGE, variant: Variant::OneThread };
        let (_, run) = blocks[0].runs.iter_mut().find(|(condition, _)| *condition == replanned).unwrap();
        let (expected, found) = (run.record.plan_hash.short(), design.base.hash().short());
        run.record.plan_hash = design.base.hash();
        let gaps: Vec<String> = Costs::of(&blocks, &design).gaps.iter().map(Gap::to_string).collect();
        let said = |what: &str| gaps.iter().any(|gap| gap.contains(what));
        assert!(said("failed: out of memory") && said("too few steps") && said("more than once"), "{gaps:?}");
        assert!(said("the fault 'delay-load' planted in it"), "{gaps:?}");
        let other =
            format!("{replanned} in block 1: the run was executed under plan {found}, expected {expected}");
        assert!(gaps.contains(&other), "{gaps:?}");
        assert!(said("not measured") || said("the run is of batch"), "{gaps:?}");
    }
}
