//! What is to be measured: the plan in which knobs are turned, the batches, and whether the answer is known beforehand.

use std::collections::BTreeSet;

use crate::analyse::explain::condition::{Condition, LARGE, SMALL, Variant};
use crate::analyse::explain::hypothesis::{HYPOTHESES, Hypothesis};
use crate::analyse::explain::waterfall::CHAIN;
use crate::experiment::Plan;
use crate::planted::Planted;

#[derive(Clone, PartialEq, Debug)]
pub struct Design {
    /// The plan of [`Variant::Base`].
    pub base: Plan,
    /// Of the sweep; [`SMALL`] and [`LARGE`] are measured in any case.
    pub batches: Vec<u32>,
    /// `None` of an explanation that is meant.
    pub demonstration: Option<Demonstration>,
}

/// Measurements whose right explanation is known beforehand, to see whether it is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Demonstration {
    /// The fault is in every step of [`LARGE`] and larger batches, under every variant: a cause that no knob takes away.
    Planted(Planted),
    /// An A/A run: whatever a condition is called, it is [`SMALL`] under the base, and there is nothing to find.
    Alike,
}

impl Design {
    /// The sweep under the base and tuned, and both batches of the slowdown under every variant that a hypothesis or the
    /// waterfall compares. Variants that are the same plan under this base are one.
    pub fn conditions(&self) -> Vec<Condition> {
        let mut wanted = BTreeSet::new();
        for &batch in &self.batches {
            wanted.extend(self.swept().into_iter().map(|variant| Condition { batch, variant }));
        }
        let compared = HYPOTHESES.iter().flat_map(Hypothesis::variants).chain(CHAIN);
        for variant in compared.map(|variant| variant.within(&self.base)) {
            wanted.extend([SMALL, LARGE].map(|batch| Condition { batch, variant }));
        }
        wanted.into_iter().collect()
    }

    /// The variants of the sweep.
    pub fn swept(&self) -> Vec<Variant> {
        let mut swept = vec![Variant::Base, Variant::Tuned.within(&self.base)];
        swept.dedup();
        swept
    }

    /// What is trained under the name of `condition`.
    pub fn trained(&self, condition: Condition) -> Condition {
        match self.demonstration {
            Some(Demonstration::Alike) => Condition::base(SMALL),
            Some(Demonstration::Planted(_)) | None => condition,
        }
    }

    /// What is planted in the runs of `condition`.
    pub fn planted(&self, condition: Condition) -> Option<Planted> {
        match self.demonstration {
            Some(Demonstration::Planted(planted)) if condition.batch >= LARGE => Some(planted),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::explain::simulated;
    use crate::experiment::plan::{Device, PlanName};

    fn tuned() -> Design {
        Design { base: Plan::named(PlanName::Tuned, 2, Device::Cpu), ..simulated::design() }
    }

    #[test]
    fn conditions_are_the_sweep_and_both_batches_of_every_knob() {
        let conditions = simulated::design().conditions();
        // Two sweeps of nine, and eight knobs at two batches.
        assert_eq!(conditions.len(), 2 * 9 + 8 * 2);
        assert!(conditions.contains(&Condition { batch: LARGE, variant: Variant::KeepMemoryMicroBatches }));
        assert_eq!(conditions[0].to_string(), "batch 16, base");
    }

    #[test]
    fn without_a_curve_both_batches_are_left_under_every_variant() {
        let design = Design { batches: vec![SMALL, LARGE], ..simulated::design() };
        let conditions = design.conditions();
        assert_eq!(conditions.len(), 2 * Variant::ALL.len());
        assert!(conditions.iter().all(|condition| [SMALL, LARGE].contains(&condition.batch)));
    }

    #[test]
    fn what_the_base_has_turned_already_is_not_measured_again() {
        let conditions = tuned().conditions();
        let variants: BTreeSet<Variant> = conditions.iter().map(|condition| condition.variant).collect();
        assert_eq!(
            variants.into_iter().collect::<Vec<_>>(),
            [Variant::Base, Variant::MicroBatches, Variant::OneThread, Variant::SampleWorkers]
        );
        assert_eq!(conditions.len(), 9 + 3 * 2);
        assert_eq!(tuned().swept(), [Variant::Base]);
    }

    #[test]
    fn a_planted_fault_is_in_the_large_batches_alone_and_an_a_a_run_trains_one_thing() {
        let demonstration = Some(Demonstration::Planted(Planted::DelayLoad));
        let planted = Design { demonstration, ..tuned() };
        for condition in planted.conditions() {
            let expected = (condition.batch >= LARGE).then_some(Planted::DelayLoad);
            assert_eq!((planted.planted(condition), planted.trained(condition)), (expected, condition));
        }
        let alike = Design { demonstration: Some(Demonstration::Alike), ..tuned() };
        for condition in alike.conditions() {
            assert_eq!((alike.planted(condition), alike.trained(condition)), (None, Condition::base(SMALL)));
        }
    }
}
