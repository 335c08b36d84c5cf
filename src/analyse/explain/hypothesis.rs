//! The hypotheses, each with the quantity it speaks of, what would refute it, and what the blocks say.
//!
//! A further one is one more entry of [`HYPOTHESES`]; what its counterfactual needs is then measured.

use crate::analyse::explain::condition::{Condition, LARGE, SMALL, Variant};
use crate::analyse::explain::cost::Cost;
use crate::analyse::explain::costs::{BlockCosts, Costs, excess_us, ln_slowdown};
use crate::analyse::explain::estimate::{Estimate, Share};
use crate::analyse::explain::meaning::{EPOCH_IMAGES, VALIDATION_IMAGES};
use crate::analyse::explain::parts::of_parts;
use crate::analyse::explain::slowdown;
use crate::analyse::explain::verdict::{Presence, Verdict};
use crate::clock::Phase;
use crate::experiment::Plan;
use crate::stats;

#[derive(Debug)]
pub struct Hypothesis {
    pub id: &'static str,
    pub origin: Origin,
    pub title: &'static str,
    /// What is claimed, for people who know PyTorch and no more.
    pub says: &'static str,
    /// What would be seen if it were so.
    pub predicts: &'static str,
    pub gauges: &'static [Gauge],
    pub test: Test,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A guess of the notes.
    Notes,
    /// An explanation that others gave for slowdowns like it.
    Field,
}

/// A quantity of a run, read at both batches.
#[derive(Debug)]
pub struct Gauge {
    pub name: &'static str,
    /// Empty for a pure number.
    pub unit: &'static str,
    pub places: usize,
    pub of: fn(&Cost) -> Option<f64>,
}

#[derive(Debug)]
pub enum Test {
    /// How much of the slowdown goes when `from` becomes `to`: of the ratio (in logarithms) and of the additional µs an
    /// image. A share of the base's slowdown; where `to` is the base, of that of `from`.
    Counterfactual {
        from: Variant,
        to: Variant,
    },
    /// What the phases take of the additional time: no cause within them can explain more.
    Phases(&'static [Phase]),
    /// An effect in logarithms that is computed of a block's costs, or a bound of it.
    Computed {
        how: &'static str,
        of: fn(&BlockCosts) -> Option<f64>,
    },
    /// It is the slowdown itself.
    Restates,
    NotTestable {
        why: &'static str,
        what_would: &'static str,
    },
}

#[derive(Clone, PartialEq, Debug)]
pub struct Finding {
    pub hypothesis: &'static Hypothesis,
    /// Whose slowdown it explains a share of.
    pub of: Variant,
    pub readings: Vec<Reading>,
    /// Of the slowdown, that it explains; may be above 1 where the large batch becomes the faster one.
    pub share: Option<Share>,
    /// The same of the additional time in µs; of counterfactuals alone.
    pub share_us: Option<Share>,
    /// The slowdown that is left in the counterfactual.
    pub left: Option<Estimate>,
    pub verdict: Verdict,
}

/// Means over the blocks.
#[derive(Clone, PartialEq, Debug)]
pub struct Reading {
    pub gauge: &'static Gauge,
    /// Under the variant whose slowdown is explained.
    pub small: Option<f64>,
    pub large: Option<f64>,
    /// At the large batch in the counterfactual.
    pub changed: Option<f64>,
}

// An entry is compared by its name: functions have no equality.
impl PartialEq for Hypothesis {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl PartialEq for Gauge {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

const FAULTS: Gauge =
    Gauge { name: "page faults a step", unit: "", places: 0, of: |cost| Some(cost.faults_per_step) };
const DISK_FAULTS: Gauge = Gauge {
    name: "page faults a step that read from disk",
    unit: "",
    places: 0,
    of: |cost| Some(cost.major_faults_per_step),
};
const SYSTEM: Gauge = Gauge {
    name: "kernel's part of the processor time",
    unit: "%",
    places: 1,
    of: |cost| cost.system_share.map(|share| share * 100.0),
};
const CPU_USE: Gauge = Gauge { name: "processors in use", unit: "", places: 2, of: |cost| cost.cpu_use };
const STEP: Gauge =
    Gauge { name: "time of a step", unit: "ms", places: 1, of: |cost| Some(cost.ms_per_step) };
const COST: Gauge =
    Gauge { name: "time of an image", unit: "µs", places: 1, of: |cost| Some(cost.us_per_image) };
const LOAD: Gauge = Gauge {
    name: "part of the step in which its batch is made",
    unit: "%",
    places: 1,
    of: |cost| Some(cost.load_share() * 100.0),
};
const COPY: Gauge = Gauge {
    name: "transfer to the device",
    unit: "µs an image",
    places: 2,
    of: |cost| Some(cost.phase_us_per_image(Phase::Copy)),
};
const OPTIMIZER: Gauge = Gauge {
    name: "optimizer",
    unit: "µs an image",
    places: 2,
    of: |cost| Some(cost.phase_us_per_image(Phase::Optimizer)),
};
const CONVOLUTIONS: Gauge = Gauge {
    name: "forward and backward",
    unit: "µs an image",
    places: 1,
    of: |cost| Some(cost.phase_us_per_image(Phase::Forward) + cost.phase_us_per_image(Phase::Backward)),
};
const EVALUATION: Gauge =
    Gauge { name: "evaluation of an image", unit: "µs", places: 1, of: |cost| cost.evaluate_us_per_image };

pub const HYPOTHESES: &[Hypothesis] = &[
    Hypothesis {
        id: "memory",
        origin: Origin::Notes,
        title: "More memory access and I/O per step",
        says: "A larger batch touches more memory at a time, and whatever depends on that (caches, page faults, address \
               translation, files) grows dearer.",
        predicts: "The same 1024 images as eight passes over 128, with one update, cost what they cost at batch 128. If \
                   files were read, there would be page faults that read from disk.",
        gauges: &[DISK_FAULTS, COST],
        test: Test::Counterfactual { from: Variant::Base, to: Variant::MicroBatches },
    },
    Hypothesis {
        id: "saturation",
        origin: Origin::Notes,
        title: "A saturated device that runs kernels one after the other",
        says: "The GPU is full at a smaller batch already, so that the kernels of a larger one queue.",
        predicts: "Beyond saturation the time of a step grows in proportion to the batch, and the time of an image stays \
                   the same: by itself that is no slowdown. It would have to grow with the number of kernels in flight.",
        gauges: &[CPU_USE],
        test: Test::NotTestable {
            why: "this runs on the processor; the processors in use are shown in its place",
            what_would: "a timeline of kernels on a GPU at both batches (torch.profiler with CUDA activities): the sum of \
                         kernel times per image, and the gaps between kernels",
        },
    },
    Hypothesis {
        id: "transfer",
        origin: Origin::Notes,
        title: "The transfer from host to device",
        says: "The images of a large batch take longer to get to the GPU than they save there.",
        predicts: "The transfer's part of the step grows with the batch; pinned memory (pin_memory=True) or data that \
                   already is on the device takes it away.",
        gauges: &[COPY],
        test: Test::NotTestable {
            why: "this runs on the processor: host and device are the same memory, and nothing is transferred",
            what_would: "the same runs on a GPU with the data in pageable, in pinned and in device memory, timed by events",
        },
    },
    Hypothesis {
        id: "growth",
        origin: Origin::Notes,
        title: "The cost of a step grows faster than the number of steps falls",
        says: "A step of 1024 images takes more than 8 times as long as one of 128.",
        predicts: "Time of a step at 1024, divided by that at 128, is above 8. That is what 'slower' means here, so it \
                   can be true and still explain nothing.",
        gauges: &[STEP],
        test: Test::Restates,
    },
    Hypothesis {
        id: "faults",
        origin: Origin::Field,
        title: "Page faults: the allocator gives memory back after every step",
        says: "The C library's malloc returns large freed blocks to the kernel. The activations of a batch of 128 are \
               mostly below its limit, those of 1024 above: in every step the kernel must find, clear and map each page \
               of them again.",
        predicts: "Page faults and the kernel's part of the time are higher at 1024 by far, and not only in proportion. \
                   An allocator that keeps freed memory takes both away, and the slowdown with them.",
        gauges: &[FAULTS, SYSTEM, COST],
        test: Test::Counterfactual { from: Variant::Base, to: Variant::KeepMemory },
    },
    Hypothesis {
        id: "pages",
        origin: Origin::Field,
        title: "Small pages: 4 KiB at a time",
        says: "With memory kept, each of the many pages of 4 KiB still has to be looked up when it is used.",
        predicts: "Pages of 2 MiB take away a further part of the slowdown beyond that of keeping memory.",
        gauges: &[FAULTS, SYSTEM, COST],
        test: Test::Counterfactual { from: Variant::KeepMemory, to: Variant::KeepMemoryHugePages },
    },
    Hypothesis {
        id: "cache",
        origin: Origin::Field,
        title: "The working set outgrows the caches",
        says: "What one layer has written is no longer in the cache when the next reads it.",
        predicts: "Without page faults (memory kept, huge pages), eight passes over 128 images still cost less than one \
                   over 1024.",
        gauges: &[COST, CONVOLUTIONS],
        test: Test::Counterfactual {
            from: Variant::KeepMemoryHugePages,
            to: Variant::KeepMemoryMicroBatches,
        },
    },
    Hypothesis {
        id: "threads",
        origin: Origin::Field,
        title: "The thread pool",
        says: "Work that is divided among threads in larger pieces is divided worse, or the threads stand in each other's \
               way.",
        predicts: "With one thread there is no slowdown.",
        gauges: &[CPU_USE, COST],
        test: Test::Counterfactual { from: Variant::Base, to: Variant::OneThread },
    },
    Hypothesis {
        id: "layout",
        origin: Origin::Field,
        title: "The layout of the images in memory",
        says: "oneDNN reorders tensors for its convolutions in every step, and larger ones at a worse rate.",
        predicts: "With the channels innermost (channels_last), where nothing is reordered, there is no slowdown.",
        gauges: &[CONVOLUTIONS, COST],
        test: Test::Counterfactual { from: Variant::Base, to: Variant::ChannelsLast },
    },
    Hypothesis {
        id: "optimizer",
        origin: Origin::Field,
        title: "The optimizer",
        says: "Its many small operations weigh on a step.",
        predicts: "They are as many at every batch, so an image's part of them falls with it; if they were the cause, the \
                   fused optimizer would take the slowdown away.",
        gauges: &[OPTIMIZER],
        test: Test::Counterfactual { from: Variant::Base, to: Variant::FusedOptimizer },
    },
    Hypothesis {
        id: "input",
        origin: Origin::Field,
        title: "Making the batch",
        says: "The training waits for its batches, and longer for larger ones.",
        predicts: "Making the batch takes a larger part of the step at 1024. Here the data lies in memory already, the \
                   fastest pipeline there is: what it takes of the additional time is all that it can explain here.",
        gauges: &[LOAD],
        test: Test::Phases(&[Phase::Load]),
    },
    Hypothesis {
        id: "workers",
        origin: Origin::Field,
        title: "An input pipeline with workers",
        says: "The notes' own script must have read its images one by one, in workers of a DataLoader. They share the \
               processors with the training, and a larger batch is later in coming.",
        predicts: "With batches that are made image by image by as many workers as there are threads, two batches ahead \
                   each, there is a slowdown; with the data in memory as one tensor, much less of it. These workers are \
                   threads and decode nothing; those of Python are processes and cost more.",
        gauges: &[LOAD, CPU_USE, COST],
        test: Test::Counterfactual { from: Variant::SampleWorkers, to: Variant::Base },
    },
    Hypothesis {
        id: "short-batch",
        origin: Origin::Field,
        title: "The short last batch",
        says: "48,000 images are 375 batches of 128, but 46 of 1024 and one of 896: that one is paid for like a full one.",
        predicts: "An epoch of 1024 is dearer by at most the 128 images that are missing.",
        gauges: &[STEP],
        test: Test::Computed { how: "a short step costs at most as much as a full one", of: short_batch },
    },
    Hypothesis {
        id: "evaluation",
        origin: Origin::Field,
        title: "Evaluation counted as training time",
        says: "The minutes of the notes include evaluation after each epoch.",
        predicts: "Evaluation takes about as long at every batch, so counting it makes two batches look more alike, and \
                   a slowdown smaller.",
        gauges: &[EVALUATION],
        test: Test::Computed {
            how: "epochs with one evaluation each, against epochs without",
            of: evaluation,
        },
    },
    Hypothesis {
        id: "synchronisation",
        origin: Origin::Field,
        title: "Timing without synchronising",
        says: "A GPU works behind the program's back: a clock read without torch.cuda.synchronize() stops when the work \
               is queued, not when it is done.",
        predicts: "The times of single steps shift between phases and batches; the time of a whole epoch that ends with a \
                   read of the loss does not.",
        gauges: &[],
        test: Test::NotTestable {
            why: "on a processor an operator has finished when it returns, so there is nothing to synchronise",
            what_would: "the same training on a GPU, timed by the clock with and without synchronising, and by events",
        },
    },
    Hypothesis {
        id: "autotuning",
        origin: Origin::Field,
        title: "cuDNN's search for the fastest kernel",
        says: "With torch.backends.cudnn.benchmark, the first step of every new shape tries all kernels; the short last \
               batch is a new shape.",
        predicts: "The first step, and the first of each further shape, takes much longer; once for each shape, so that it \
                   fades over epochs.",
        gauges: &[],
        test: Test::NotTestable {
            why: "there is no cuDNN without a GPU",
            what_would: "a GPU, the first step of each shape timed apart, with benchmark on and off and with drop_last=True",
        },
    },
];

impl Hypothesis {
    /// Those it compares.
    pub fn variants(&self) -> Vec<Variant> {
        match self.test {
            Test::Counterfactual { from, to } => vec![from, to],
            Test::Phases(_) | Test::Computed { .. } | Test::Restates | Test::NotTestable { .. } => vec![],
        }
    }

    /// The variants of its counterfactual, by what they are under `base`.
    fn compared(&self, base: &Plan) -> Option<(Variant, Variant)> {
        match self.test {
            Test::Counterfactual { from, to } => Some((from.within(base), to.within(base))),
            Test::Phases(_) | Test::Computed { .. } | Test::Restates | Test::NotTestable { .. } => None,
        }
    }

    /// `base` has its knob turned already, so that there is nothing to compare.
    fn is_turned(&self, base: &Plan) -> bool {
        self.compared(base).is_some_and(|(from, to)| from == to)
    }

    /// The first of `hypotheses` that compares the same under `base`, where that is not this one.
    fn twin(&self, hypotheses: &'static [Self], base: &Plan) -> Option<&'static Self> {
        let compared = self.compared(base)?;
        hypotheses.iter().find(|other| other.compared(base) == Some(compared)).filter(|other| *other != self)
    }

    /// Whose slowdown it speaks of.
    fn whole(&self) -> Variant {
        match self.test {
            Test::Counterfactual { from, to: Variant::Base } => from,
            _ => Variant::Base,
        }
    }

    /// Its part of the slowdown and the whole, in each block that has both, on every scale a verdict has to hold on.
    ///
    /// A counterfactual has two. One thread makes all of a step slower but a wait, so that the ratio falls although the
    /// same wait is still there; a faster kernel takes as much of the additional µs as of all others, and the ratio
    /// stays. What takes a cause away takes away both.
    fn scales(&self, costs: &Costs, base: &Plan) -> Vec<Vec<(f64, f64)>> {
        type Measure = fn(&BlockCosts, Variant) -> Option<f64>;
        if let Some((from, to)) = self.compared(base) {
            let scale = |of: Measure| {
                costs.each(|block| Some((of(block, from)? - of(block, to)?, of(block, self.whole())?)))
            };
            return vec![scale(ln_slowdown), scale(excess_us)];
        }
        match &self.test {
            Test::Phases(phases) => {
                let parts: Vec<usize> = phases.iter().map(|phase| *phase as usize).collect();
                vec![costs.each(|block| of_parts(block, &parts))]
            }
            Test::Computed { of, .. } => {
                vec![costs.each(|block| Some((of(block)?, ln_slowdown(block, Variant::Base)?)))]
            }
            Test::Counterfactual { .. } | Test::Restates | Test::NotTestable { .. } => Vec::new(),
        }
    }
}

pub fn findings(hypotheses: &'static [Hypothesis], base: &Plan, costs: &Costs) -> Vec<Finding> {
    // What is computed has no chance of its own to look good, and what is turned already is not tested.
    let is_drawn = |hypothesis: &&Hypothesis| {
        let is_test = matches!(hypothesis.test, Test::Counterfactual { .. } | Test::Phases(_));
        is_test && !hypothesis.is_turned(base) && hypothesis.twin(hypotheses, base).is_none()
    };
    let tests = hypotheses.iter().filter(is_drawn).count();
    let finding = |hypothesis: &'static Hypothesis| {
        let (scales, of) = (hypothesis.scales(costs, base), hypothesis.whole());
        let presence = slowdown(costs, of).as_ref().map(Presence::of);
        let verdict = match hypothesis.test {
            Test::NotTestable { why, what_would } => Verdict::NotTestable { why, what_would },
            _ if hypothesis.is_turned(base) => Verdict::AlreadySo,
            _ => match (hypothesis.twin(hypotheses, base), presence) {
                (Some(twin), _) => Verdict::SameAs { title: twin.title },
                (None, None) => Verdict::NotMeasured,
                (None, Some(Presence::Absent)) => Verdict::NothingToExplain,
                (None, Some(Presence::Undecided)) => Verdict::Inconclusive,
                (None, Some(Presence::Found)) if matches!(hypothesis.test, Test::Restates) => {
                    Verdict::Restates
                }
                (None, Some(Presence::Found)) => Verdict::judge(&scales, tests),
            },
        };
        let is_compared = !matches!(verdict, Verdict::AlreadySo | Verdict::SameAs { .. });
        let to = hypothesis.compared(base).filter(|_| is_compared).map(|(_, to)| to);
        let has_shares = presence == Some(Presence::Found) && is_compared;
        let share =
            |scale: usize| scales.get(scale).filter(|_| has_shares).and_then(|pairs| Share::of(pairs));
        Finding {
            hypothesis,
            of,
            readings: hypothesis.gauges.iter().map(|gauge| reading(gauge, costs, of, to)).collect(),
            share: share(0),
            share_us: share(1),
            left: to.and_then(|to| slowdown(costs, to)),
            verdict,
        }
    };
    hypotheses.iter().map(finding).collect()
}

fn reading(gauge: &'static Gauge, costs: &Costs, of: Variant, to: Option<Variant>) -> Reading {
    let mean = |batch, variant| {
        stats::mean(&costs.each(|block| (gauge.of)(block.get(&Condition { batch, variant })?)))
    };
    Reading {
        gauge,
        small: mean(SMALL, of),
        large: mean(LARGE, of),
        changed: to.and_then(|variant| mean(LARGE, variant)),
    }
}

/// An upper bound: the images that are missing in the last step cost as if they were there.
fn short_batch(_: &BlockCosts) -> Option<f64> {
    let most = |batch: u32| {
        let missing = (batch - EPOCH_IMAGES % batch) % batch;
        (1.0 + f64::from(missing) / f64::from(EPOCH_IMAGES)).ln()
    };
    Some(most(LARGE) - most(SMALL))
}

/// What one evaluation an epoch does to the ratio of the two batches' times.
fn evaluation(block: &BlockCosts) -> Option<f64> {
    let (small, large) = (block.get(&Condition::base(SMALL))?, block.get(&Condition::base(LARGE))?);
    let train = |cost: &Cost| cost.us_per_image * f64::from(EPOCH_IMAGES);
    let all = |cost: &Cost| Some(train(cost) + cost.evaluate_us_per_image? * f64::from(VALIDATION_IMAGES));
    Some((all(large)? / all(small)?).ln() - (train(large) / train(small)).ln())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::explain::simulated;

    #[test]
    fn every_hypothesis_has_a_name_of_its_own_and_says_what_it_predicts() {
        let mut ids: Vec<&str> = HYPOTHESES.iter().map(|hypothesis| hypothesis.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), HYPOTHESES.len());
        assert_eq!(HYPOTHESES.iter().filter(|hypothesis| hypothesis.origin == Origin::Notes).count(), 4);
        for hypothesis in HYPOTHESES {
            assert!(
                hypothesis.says.ends_with('.') && hypothesis.predicts.ends_with('.'),
                "{}",
                hypothesis.id
            );
        }
    }

    #[test]
    fn the_short_batch_is_bounded_by_the_images_that_are_missing() {
        let bound = short_batch(&BlockCosts::new()).unwrap();
        assert!((bound - (1.0 + 128.0 / 48_000.0_f64).ln()).abs() < 1e-12);
    }

    #[test]
    fn counting_evaluation_makes_a_slowdown_look_smaller() {
        let costs = Costs::of(&simulated::faults(7, 3), &simulated::design());
        for block in &costs.blocks {
            assert!(evaluation(block).unwrap() < 0.0);
        }
    }

    #[test]
    fn readings_stand_beside_those_of_the_counterfactual() {
        let design = simulated::design();
        let costs = Costs::of(&simulated::faults(7, 4), &design);
        let findings = findings(HYPOTHESES, &design.base, &costs);
        let faults = findings.iter().find(|finding| finding.hypothesis.id == "faults").unwrap();
        let reading = &faults.readings[0];
        assert_eq!(
            (reading.small, reading.large, reading.changed),
            (Some(3200.0), Some(138_240.0), Some(204.0))
        );
        assert!(faults.left.as_ref().unwrap().value < 1.1);
    }
}
