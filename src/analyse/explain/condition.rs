//! What is measured: batch sizes, and the variants of the plan in which knobs are turned.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::experiment::Plan;
use crate::experiment::plan::{Allocator, Loader, MemoryFormat, OptimizerForm, PlanName};

/// Of the sweep.
pub const BATCHES: [u32; 9] = [16, 32, 64, 128, 256, 512, 1024, 2048, 4096];

/// The two batches of the notes between which the slowdown lies.
pub const SMALL: u32 = 128;
pub const LARGE: u32 = 1024;

/// Batches a worker is ahead of the training: the default of PyTorch's `DataLoader`.
const PREFETCH: u32 = 2;

/// A plan that differs from the base in what its name says, and in nothing else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// Nothing is turned.
    Base,
    KeepMemory,
    KeepMemoryHugePages,
    /// The step as passes over [`SMALL`] images each, whose gradients are added up before the one update. BatchNorm then
    /// normalises over so many images, so it is another training; its cost is what is compared.
    MicroBatches,
    /// The same with memory kept and huge pages: what a small working set is still worth without page faults.
    KeepMemoryMicroBatches,
    ChannelsLast,
    FusedOptimizer,
    OneThread,
    /// Batches made image by image by worker threads, as many as the plan has threads, two batches ahead each: the other
    /// variants have the whole set in memory as one tensor.
    SampleWorkers,
    /// Every knob that leaves the training what it is, at once.
    Tuned,
}

impl Variant {
    pub const ALL: [Self; 10] = [
        Self::Base,
        Self::KeepMemory,
        Self::KeepMemoryHugePages,
        Self::MicroBatches,
        Self::KeepMemoryMicroBatches,
        Self::ChannelsLast,
        Self::FusedOptimizer,
        Self::OneThread,
        Self::SampleWorkers,
        Self::Tuned,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::KeepMemory => "keep memory",
            Self::KeepMemoryHugePages => "keep memory, huge pages",
            Self::MicroBatches => "micro-batches",
            Self::KeepMemoryMicroBatches => "keep memory, huge pages, micro-batches",
            Self::ChannelsLast => "channels last",
            Self::FusedOptimizer => "fused optimizer",
            Self::OneThread => "one thread",
            Self::SampleWorkers => "workers",
            Self::Tuned => "tuned",
        }
    }

    /// What is changed in `base`, for people who know PyTorch.
    pub fn about(self, base: &Plan) -> &'static str {
        match self {
            Self::Base => match base.name {
                PlanName::Eager => "what a plain PyTorch script does on a processor",
                PlanName::Tuned => Self::Tuned.about(base),
                PlanName::Graph => "the tuned plan, each step recorded as CUDA graphs",
                PlanName::Fused => "the tuned plan with kernels of our own between the convolutions",
            },
            Self::KeepMemory => "the allocator keeps the memory of freed tensors for the next step",
            Self::KeepMemoryHugePages => {
                "the same, and the kernel hands memory out in pages of 2 MiB instead of 4 KiB"
            }
            Self::MicroBatches => {
                "the step as passes over 128 images each with accumulated gradients, so that only an eighth of the \
                 activations of 1024 is alive at a time; BatchNorm then sees 128 images"
            }
            Self::KeepMemoryMicroBatches => "all three of the above together",
            Self::ChannelsLast => {
                "tensors laid out with the channels innermost (memory_format=torch.channels_last)"
            }
            Self::FusedOptimizer => "one kernel for the whole optimizer step (fused=True)",
            Self::OneThread => "one thread in place of all (torch.set_num_threads(1))",
            Self::SampleWorkers => {
                "batches made image by image by as many workers as there are threads, two batches ahead each \
                 (DataLoader(num_workers=…, prefetch_factor=2))"
            }
            Self::Tuned => {
                "memory kept, huge pages, channels last, fused optimizer, and pooling before the activation where the \
                 result is the same"
            }
        }
    }

    /// The plan of this variant, where `base` is that of [`Variant::Base`].
    pub fn apply(self, base: &Plan) -> Plan {
        let plan = base.clone();
        match self {
            Self::Base => plan,
            Self::KeepMemory => Plan { allocator: Allocator::Keep, ..plan },
            Self::KeepMemoryHugePages => Plan { allocator: Allocator::Keep, huge_pages: true, ..plan },
            Self::MicroBatches => plan,
            Self::KeepMemoryMicroBatches => Self::KeepMemoryHugePages.apply(base),
            Self::ChannelsLast => Plan { memory_format: MemoryFormat::ChannelsLast, ..plan },
            Self::FusedOptimizer => Plan { optimizer: OptimizerForm::Fused, ..plan },
            Self::OneThread => Plan { threads: 1, ..plan },
            Self::SampleWorkers => {
                Plan { loader: Loader::Samples { workers: base.threads, prefetch: PREFETCH }, ..plan }
            }
            Self::Tuned if base.name == PlanName::Eager => {
                Plan::named(PlanName::Tuned, base.threads, base.device)
            }
            // The other named plans have all of these turned.
            Self::Tuned => plan,
        }
    }

    /// Images of a pass, where a step is several: what a variant changes in the config.
    pub fn micro_batch(self) -> Option<u32> {
        matches!(self, Self::MicroBatches | Self::KeepMemoryMicroBatches).then_some(SMALL)
    }

    /// The first variant that is the same plan over the same passes: itself, unless `base` has a knob turned already that it turns.
    pub fn within(self, base: &Plan) -> Self {
        let trained = |variant: Self| (variant.apply(base), variant.micro_batch());
        let same = Self::ALL.into_iter().find(|other| trained(*other) == trained(self));
        same.unwrap_or(self)
    }
}

/// One thing to measure. By variant first: the batches of one variant, whose ratio is what is compared, are then measured
/// close to each other, and what the machine does meanwhile is the same for both.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Condition {
    pub variant: Variant,
    pub batch: u32,
}

impl Condition {
    pub fn base(batch: u32) -> Self {
        Self { batch, variant: Variant::Base }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch {}, {}", self.batch, self.variant.name())
    }
}

/// The order of a block, counted from 0: there and back again (A B … B A), so that a drift that is the same over two
/// blocks makes none of the conditions look slower.
pub fn order(conditions: &[Condition], block: usize) -> Vec<Condition> {
    let mut order = conditions.to_vec();
    if block % 2 == 1 {
        order.reverse();
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::explain::simulated;
    use crate::experiment::plan::Device;

    #[test]
    fn every_variant_but_the_base_is_another_plan() {
        let base = Plan::named(PlanName::Eager, 2, Device::Cpu);
        let trained =
            |variant: Variant| format!("{} {:?}", variant.apply(&base).hash(), variant.micro_batch());
        let mut hashes: Vec<String> = Variant::ALL.into_iter().map(trained).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), Variant::ALL.len());
        assert_eq!(Variant::Base.apply(&base), base);
        let kept = Variant::KeepMemory.apply(&base);
        assert_eq!(Plan { allocator: Allocator::System, ..kept }, base);
    }

    #[test]
    fn a_knob_that_is_turned_already_makes_no_other_plan() {
        let same = |base: &Plan| Variant::ALL.map(|variant| variant.within(base));
        let eager = Plan::named(PlanName::Eager, 2, Device::Cpu);
        assert_eq!(same(&eager), Variant::ALL);
        let one_core = Plan { threads: 1, ..eager };
        assert_eq!(Variant::OneThread.within(&one_core), Variant::Base);
        let (base, micro) = (Variant::Base, Variant::MicroBatches);
        for name in [PlanName::Tuned, PlanName::Fused] {
            let plan = Plan::named(name, 2, Device::Cpu);
            let (one, workers) = (Variant::OneThread, Variant::SampleWorkers);
            assert_eq!(same(&plan), [base, base, base, micro, micro, base, base, one, workers, base]);
        }
    }

    #[test]
    fn a_block_runs_every_condition_once_and_the_next_in_reverse() {
        let conditions = simulated::design().conditions();
        let (there, mut back) = (order(&conditions, 0), order(&conditions, 1));
        back.reverse();
        assert_eq!((&there, &back), (&conditions, &conditions));
    }
}
