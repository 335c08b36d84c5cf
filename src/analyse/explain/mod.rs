//! Why a large batch is slower: costs over the batch, hypotheses, and the share of the slowdown that each explains.
//!
//! [`Design::conditions`] → in every block each of them once, in [`order`] → `Vec<Block>` → [`Explanation::of`]. A
//! hypothesis is one entry of [`HYPOTHESES`]: a quantity, a counterfactual in which one knob of the plan is changed, and
//! what either would show. The slowdown is the cost of an image at batch [`LARGE`] over that at [`SMALL`]. Every
//! comparison is taken within a block, so that a machine that grows slower from one block to the next changes no result.

mod condition;
mod cost;
mod costs;
mod design;
mod estimate;
mod fit;
mod hypothesis;
mod meaning;
mod parts;
#[cfg(test)]
pub mod simulated;
mod verdict;
mod waterfall;

use std::collections::BTreeSet;

pub use condition::{BATCHES, Condition, LARGE, SMALL, Variant, order};
pub use cost::{Cost, LEAST_STEPS, PARTS, WARM_UP};
pub use costs::{Block, BlockCosts, Costs, Gap, Why};
pub use design::{Demonstration, Design};
pub use estimate::{ALPHA, Estimate, Share};
pub use fit::{Curve, Fit, Point, Turn};
pub use hypothesis::{Finding, Gauge, HYPOTHESES, Hypothesis, Origin, Reading, Test};
pub use meaning::{EPOCH_IMAGES, Meaning, Reached, Stored, VALIDATION_IMAGES};
pub use parts::PartExcess;
pub use verdict::{CONTRIBUTES_SHARE, LEAST_SLOWDOWN, MAIN_SHARE, NO_CAUSE_SHARE, Presence, Verdict};
pub use waterfall::{CHAIN, Waterfall, WaterfallStep};

use crate::analyse::Caveat;
use crate::record::LoadedRun;

/// Everything that the blocks say.
#[derive(Clone, PartialEq, Debug)]
pub struct Explanation {
    pub blocks: usize,
    pub design: Design,
    /// What should have been measured and was not, each with the blocks that lack it.
    pub gaps: Vec<Gap>,
    /// What a reader must know before comparing anything.
    pub warnings: Vec<String>,
    /// Of the base, then tuned where that is another plan.
    pub curves: Vec<Curve>,
    /// Cost of an image at [`LARGE`] over that at [`SMALL`] under the base; `None` where no block has both.
    pub slowdown: Option<Estimate>,
    /// Least and greatest cost in µs of an image at [`SMALL`] under the base, over the blocks: how the machine drifted.
    pub drift: Option<(f64, f64)>,
    /// In the order of [`HYPOTHESES`].
    pub findings: Vec<Finding>,
    /// Where in a step the additional time goes.
    pub parts: Vec<PartExcess>,
    /// `None` where there is no slowdown, or no block has the whole chain.
    pub waterfall: Option<Waterfall>,
    /// By batch.
    pub meanings: Vec<Meaning>,
    /// By batch; empty without stored runs.
    pub reached: Vec<Reached>,
    /// What each knob does to the cost of an image.
    pub gains: Vec<Gain>,
}

/// Cost of an image under a variant over that under the base.
#[derive(Clone, PartialEq, Debug)]
pub struct Gain {
    pub variant: Variant,
    pub small: Option<Estimate>,
    pub large: Option<Estimate>,
    /// The slowdown from [`SMALL`] to [`LARGE`] under the variant.
    pub slowdown: Option<Estimate>,
}

impl Explanation {
    /// `stored` are finished trainings of other lengths, for what short runs cannot say.
    pub fn of(design: &Design, blocks: &[Block], stored: Option<&Stored>) -> Self {
        let costs = Costs::of(blocks, design);
        let slowdown = slowdown(&costs, Variant::Base);
        let presence = slowdown.as_ref().map(Presence::of);
        let anchors = costs.each(|block| Some(block.get(&Condition::base(SMALL))?.us_per_image));
        Self {
            blocks: blocks.len(),
            design: design.clone(),
            warnings: warnings(blocks),
            curves: design.swept().into_iter().map(|variant| Curve::of(&costs, variant)).collect(),
            drift: (!anchors.is_empty()).then(|| {
                let (least, most) = (anchors.iter().copied(), anchors.iter().copied());
                (least.fold(f64::INFINITY, f64::min), most.fold(0.0, f64::max))
            }),
            findings: hypothesis::findings(HYPOTHESES, &design.base, &costs),
            parts: parts::excess(&costs),
            waterfall: if presence == Some(Presence::Found) {
                Waterfall::of(&costs, &design.base)
            } else {
                None
            },
            meanings: meaning::meanings(&costs),
            reached: stored.map(meaning::reached).unwrap_or_default(),
            gains: gains(&costs, design),
            gaps: costs.gaps,
            slowdown,
        }
    }

    /// `None` where no block has both batches.
    pub fn presence(&self) -> Option<Presence> {
        self.slowdown.as_ref().map(Presence::of)
    }

    pub fn is_slower(&self) -> bool {
        self.presence() == Some(Presence::Found)
    }

    /// The part of a step that holds most of what an image costs more.
    pub fn largest_part(&self) -> Option<&PartExcess> {
        self.parts.iter().max_by(|a, b| a.us.value.total_cmp(&b.us.value))
    }

    pub fn finding(&self, id: &str) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.hypothesis.id == id)
    }
}

fn slowdown(costs: &Costs, variant: Variant) -> Option<Estimate> {
    Estimate::of_logs(&costs.each(|block| costs::ln_slowdown(block, variant)))
}

fn gains(costs: &Costs, design: &Design) -> Vec<Gain> {
    let ratio = |variant: Variant, batch: u32| {
        Estimate::of_logs(&costs.each(|block| {
            let us = |variant| Some(block.get(&Condition { batch, variant })?.us_per_image);
            Some((us(variant)? / us(Variant::Base)?).ln())
        }))
    };
    let gain = |variant| Gain {
        variant,
        small: ratio(variant, SMALL),
        large: ratio(variant, LARGE),
        slowdown: slowdown(costs, variant),
    };
    let is_measured = |variant: &Variant| variant.within(&design.base) == *variant;
    Variant::ALL.into_iter().filter(is_measured).map(gain).collect()
}

fn warnings(blocks: &[Block]) -> Vec<String> {
    let runs = || blocks.iter().flat_map(|block| &block.runs);
    let mut warnings = Vec::new();
    if blocks.len() < 2 {
        warnings.push("one block has no spread: nothing here can be decided; measure at least 5".to_owned());
    }
    // Not the environment's class, which holds the number of threads: one of the knobs.
    let machines: BTreeSet<String> = runs()
        .map(|(_, run)| {
            let environment = &run.record.environment;
            let binary = environment.binary.map_or_else(|| "unknown".to_owned(), |binary| binary.to_string());
            format!("{}, {}, program {binary}", environment.cpu, environment.kernel)
        })
        .collect();
    if machines.len() > 1 {
        let machines: Vec<String> = machines.into_iter().collect();
        warnings.push(format!(
            "the runs come from different machines or builds ({}), so that a difference may be theirs; measure all on \
             one",
            machines.join("; ")
        ));
    }
    let is_disturbed = |(condition, run): &&(Condition, LoadedRun)| {
        Caveat::of_disturbance(&condition.to_string(), run).is_some()
    };
    let (disturbed, all) = (runs().filter(is_disturbed).count(), runs().count());
    if disturbed > 0 {
        warnings.push(format!(
            "in {disturbed} of {all} runs other processes or virtual machines took more than 5 % of the processor time; \
             measure again on an idle machine"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::simulated::{self, Study};
    use super::*;
    use crate::clock::Phase;
    use crate::experiment::Plan;
    use crate::experiment::plan::{Device, PlanName};
    use crate::planted::Planted;

    const NOISE: f64 = 0.03;

    fn explain(blocks: &[Block]) -> Explanation {
        Explanation::of(&simulated::design(), blocks, None)
    }

    fn share(explanation: &Explanation, id: &str) -> Share {
        explanation.finding(id).unwrap().share.clone().unwrap()
    }

    fn found(explanation: &Explanation) -> Vec<&'static str> {
        let findings = explanation.findings.iter();
        let found = findings.filter(|f| matches!(f.verdict, Verdict::Cause | Verdict::Contributes));
        found.map(|finding| finding.hypothesis.id).collect()
    }

    #[test]
    fn page_faults_that_only_the_large_batch_pays_for_are_found_as_the_cause() {
        let explanation = explain(&simulated::faults(3, 8));
        let slowdown = explanation.slowdown.clone().unwrap();
        assert!((slowdown.value - 1.5).abs() < 0.06, "{slowdown:?}");
        let (finding, share) = (explanation.finding("faults").unwrap(), share(&explanation, "faults"));
        assert_eq!(finding.verdict, Verdict::Cause, "{share:?}");
        assert!((share.value - 1.0).abs() < 0.2, "{share:?}");
        for id in ["threads", "layout", "optimizer", "pages"] {
            assert!(!found(&explanation).contains(&id), "{id}: {:?}", explanation.finding(id));
        }
    }

    #[test]
    fn a_delay_in_one_phase_of_the_large_batch_is_found_there_and_with_its_size() {
        for (phase, delay) in [(Phase::Forward, 150.0), (Phase::Optimizer, 200.0), (Phase::Load, 250.0)] {
            let mut study = Study::new(5, NOISE);
            let blocks = study.blocks(8, |condition| {
                let mut us = simulated::even(500.0);
                if condition.batch >= LARGE {
                    us[phase as usize] += delay;
                }
                us
            });
            let explanation = explain(&blocks);
            let largest = explanation.largest_part().unwrap();
            assert_eq!(largest.part, phase as usize, "{:?}", explanation.parts);
            assert!((largest.us.value / delay - 1.0).abs() < 0.2, "{phase:?}: {:?}", largest.us);
        }
    }

    /// As `pinbench explain batch-size --plan tuned --plant …` measures it: one thread takes twice as long for all but the
    /// delay, so that its slowdown is smaller as a ratio. That was once taken for a part of the cause.
    #[test]
    fn a_planted_delay_under_the_tuned_plan_is_found_in_its_phase_and_blamed_on_no_knob() {
        for (planted, found) in [(Planted::DelayBackward, vec![]), (Planted::DelayLoad, vec!["input"])] {
            let phase = planted.phase().unwrap() as usize;
            let mut study = Study::new(5, 0.02);
            study.design = Design {
                base: Plan::named(PlanName::Tuned, 2, Device::Cpu),
                batches: vec![SMALL, LARGE],
                demonstration: Some(Demonstration::Planted(planted)),
            };
            let blocks = study.blocks(4, |condition| {
                let mut us =
                    simulated::even(if condition.variant == Variant::OneThread { 600.0 } else { 300.0 });
                us[phase] += if condition.batch >= LARGE { 150.0 } else { 0.0 };
                us
            });
            let explanation = Explanation::of(&study.design, &blocks, None);
            assert!(explanation.is_slower() && explanation.gaps.is_empty(), "{:?}", explanation.gaps);
            let largest = explanation.largest_part().unwrap();
            assert_eq!(largest.part, phase, "{planted}");
            assert!((largest.us.value / 150.0 - 1.0).abs() < 0.2, "{planted}: {:?}", largest.us);
            assert_eq!(self::found(&explanation), found, "{planted}: {:?}", explanation.findings);
            for id in ["faults", "pages", "layout", "optimizer"] {
                assert_eq!(explanation.finding(id).unwrap().verdict, Verdict::AlreadySo, "{id}");
            }
            let waterfall = explanation.waterfall.unwrap();
            let variants: Vec<_> = waterfall.steps.iter().map(|step| step.variant).collect();
            assert_eq!(variants, [Some(Variant::MicroBatches), None]);
        }
    }

    #[test]
    fn nothing_is_found_in_an_a_a_run() {
        let quiet = |stream: &u8| {
            let mut study = Study::new(*stream, NOISE);
            let (batches, demonstration) = (vec![SMALL, LARGE], Some(Demonstration::Alike));
            study.design = Design { batches, demonstration, ..simulated::design() };
            let blocks = study.blocks(4, |_| simulated::even(300.0));
            let explanation = Explanation::of(&study.design, &blocks, None);
            assert_eq!(explanation.gaps, []);
            !explanation.is_slower() && found(&explanation).is_empty()
        };
        let quiet = (0..100).filter(quiet).count();
        assert!(quiet >= 95, "{quiet}");
    }

    #[test]
    fn one_block_decides_neither_the_slowdown_nor_a_hypothesis() {
        let explanation = explain(&simulated::faults(3, 1));
        assert_eq!(explanation.presence(), Some(Presence::Undecided));
        assert_eq!(explanation.finding("faults").unwrap().verdict, Verdict::Inconclusive);
        assert!(explanation.waterfall.is_none());
    }

    #[test]
    fn a_slow_input_pipeline_is_a_finding_of_its_own() {
        let mut study = Study::new(6, NOISE);
        let blocks = study.blocks(8, |condition| {
            let mut us = simulated::even(500.0);
            us[Phase::Load as usize] += if condition.batch >= LARGE { 300.0 } else { 0.0 };
            us
        });
        let explanation = explain(&blocks);
        assert_eq!(found(&explanation), ["input"], "{:?}", explanation.finding("input"));
    }

    /// The data of the base lies in memory, so that its own slowdown says nothing of workers.
    #[test]
    fn a_slowdown_that_only_workers_have_is_theirs_although_the_base_has_none() {
        let mut study = Study::new(12, 0.02);
        let blocks = study.blocks(6, |condition| {
            let mut us = simulated::even(500.0);
            let waits = condition.variant == Variant::SampleWorkers && condition.batch >= LARGE;
            us[Phase::Load as usize] += if waits { 200.0 } else { 0.0 };
            us
        });
        let explanation = explain(&blocks);
        assert!(!explanation.is_slower());
        assert_eq!(found(&explanation), ["workers"]);
        let finding = explanation.finding("workers").unwrap();
        assert_eq!((finding.of, finding.verdict), (Variant::SampleWorkers, Verdict::Cause));
        assert!((share(&explanation, "workers").value - 1.0).abs() < 0.2, "{:?}", finding.share);
        assert!(finding.left.as_ref().unwrap().value < 1.05, "{:?}", finding.left);
        // Reads what the workers made of it, and beside it what the base does.
        let cost = finding.readings.iter().find(|reading| reading.gauge.name == "time of an image").unwrap();
        assert!(cost.large.unwrap() > 650.0 && cost.changed.unwrap() < 600.0, "{cost:?}");
    }

    /// With memory kept by the plan, both hypotheses would be judged by the same two plans, and counted twice.
    #[test]
    fn two_hypotheses_that_compare_the_same_under_a_plan_are_judged_once() {
        let mut study = Study::new(13, 0.02);
        study.design = Design {
            base: Plan::named(PlanName::Tuned, 2, Device::Cpu),
            batches: vec![SMALL, LARGE],
            demonstration: None,
        };
        let blocks = study.blocks(6, |condition| {
            let is_slow = condition.batch >= LARGE && condition.variant != Variant::MicroBatches;
            simulated::even(if is_slow { 450.0 } else { 300.0 })
        });
        let explanation = Explanation::of(&study.design, &blocks, None);
        assert_eq!(found(&explanation), ["memory"]);
        let cache = explanation.finding("cache").unwrap();
        let title = explanation.finding("memory").unwrap().hypothesis.title;
        assert_eq!(cache.verdict, Verdict::SameAs { title });
        assert_eq!((&cache.share, &cache.left), (&None, &None));
    }

    #[test]
    fn nothing_is_found_where_all_conditions_are_alike() {
        let quiet = |stream: &u8| {
            let blocks = Study::new(*stream, NOISE).blocks(6, |_| simulated::even(500.0));
            let explanation = explain(&blocks);
            !explanation.is_slower() && found(&explanation).is_empty()
        };
        let quiet = (0..100).filter(quiet).count();
        assert!(quiet >= 95, "{quiet}");
    }

    #[test]
    fn no_knob_is_blamed_for_a_slowdown_that_none_of_them_changes() {
        for slowdown in [1.15, 1.5] {
            let quiet = |stream: &u8| {
                let us =
                    |condition: Condition| if condition.batch >= LARGE { 500.0 * slowdown } else { 500.0 };
                let blocks = Study::new(*stream, NOISE).blocks(6, |condition| simulated::even(us(condition)));
                let explanation = explain(&blocks);
                let blamed = found(&explanation);
                // The time of loading grows with all the rest, and is as small a part of it as before.
                blamed.is_empty()
            };
            let quiet = (0..100).filter(quiet).count();
            assert!(quiet >= 95, "{slowdown}: {quiet}");
        }
    }

    #[test]
    fn drift_from_block_to_block_changes_nothing() {
        let study = |drift| {
            let mut study = Study::new(8, 0.002);
            study.drift = drift;
            explain(&study.blocks(6, simulated::with_faults)).slowdown.unwrap().value
        };
        let (still, drifting) = (study(0.0), study(0.5));
        assert!((drifting / still - 1.0).abs() < 0.01, "{still} {drifting}");
    }

    #[test]
    fn the_steps_of_the_waterfall_add_up_to_the_whole_slowdown() {
        let explanation = explain(&simulated::faults(9, 6));
        let waterfall = explanation.waterfall.unwrap();
        let (shares, us): (f64, f64) = waterfall
            .steps
            .iter()
            .fold((0.0, 0.0), |(shares, us), step| (shares + step.share.value, us + step.us));
        assert!((shares - 1.0).abs() < 1e-9, "{shares}");
        assert!((waterfall.small_us + us - waterfall.large_us).abs() < 1e-6);
    }

    #[test]
    fn a_large_batch_that_is_faster_leaves_nothing_to_explain() {
        let us = |condition: Condition| if condition.batch >= LARGE { 400.0 } else { 500.0 };
        let blocks = Study::new(10, NOISE).blocks(6, |condition| simulated::even(us(condition)));
        let explanation = explain(&blocks);
        assert!(!explanation.is_slower() && explanation.waterfall.is_none());
        for finding in &explanation.findings {
            assert!(
                matches!(finding.verdict, Verdict::NothingToExplain | Verdict::NotTestable { .. }),
                "{}: {:?}",
                finding.hypothesis.id,
                finding.verdict
            );
        }
    }

    #[test]
    fn a_condition_that_is_missing_is_named_with_its_block_and_bars_only_what_needs_it() {
        let mut blocks = simulated::faults(11, 6);
        let lost = Condition { batch: LARGE, variant: Variant::OneThread };
        for block in &mut blocks {
            block.runs.retain(|(condition, _)| *condition != lost);
        }
        let explanation = explain(&blocks);
        assert_eq!(explanation.gaps.len(), 1, "{:?}", explanation.gaps);
        let text = explanation.gaps[0].to_string();
        assert!(
            text.contains("batch 1024, one thread") && text.contains("blocks 1, 2, 3, 4, 5, 6"),
            "{text}"
        );
        assert_eq!(explanation.finding("threads").unwrap().verdict, Verdict::NotMeasured);
        assert_eq!(explanation.finding("faults").unwrap().verdict, Verdict::Cause);
    }

    #[test]
    fn nothing_at_all_is_explained_without_a_panic() {
        let explanation = explain(&[]);
        assert_eq!((explanation.slowdown, explanation.waterfall), (None, None));
        assert!(explanation.curves.iter().all(|curve| curve.points.is_empty() && curve.turn.is_none()));
    }
}
