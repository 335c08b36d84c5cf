//! One experiment under one profile, summed up: for each arm its numbers over seeds, beside the first arm and beside
//! what others reported.

use std::collections::BTreeMap;

use crate::analyse::caveat::Caveat;
use crate::analyse::measure::{DeviceTiming, Measures, Score, StepTiming, WARM_UP_STEPS};
use crate::clock::Phase;
use crate::experiment::{Arm, Experiment, Factor, ReferenceRow};
use crate::record::{LoadedRun, Status};
use crate::stats::Spread;
use crate::stream::Seed;

/// An arm and every run there is of it, finished or not.
#[derive(Clone, PartialEq, Debug)]
pub struct ArmRuns<'a> {
    pub arm: &'a Arm,
    pub runs: Vec<LoadedRun>,
    /// Runs there are and that cannot be read: the seed, and the name of the damaged file.
    pub damaged: Vec<(Seed, String)>,
}

impl<'a> ArmRuns<'a> {
    pub fn new(arm: &'a Arm, runs: Vec<LoadedRun>) -> Self {
        Self { arm, runs, damaged: Vec::new() }
    }
}

#[derive(Clone, PartialEq, Debug)]
pub struct Summary<'a> {
    /// Whose numbers stand beside those of the arms.
    pub reference: Option<&'a str>,
    /// One for each arm of the profile, in its order, also where there is no run.
    pub arms: Vec<ArmSummary<'a>>,
    /// Seeds the profile asks for.
    pub seeds: Vec<Seed>,
    pub caveats: Vec<Caveat>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct ArmSummary<'a> {
    /// What people call it: `batch 64`.
    pub name: String,
    pub arm: &'a Arm,
    /// All of them, by seed and then by age.
    pub runs: Vec<&'a LoadedRun>,
    /// The runs the numbers are made of, with what each measured: finished, of this arm's config, one a seed.
    pub counted: Vec<(&'a LoadedRun, Measures)>,
    /// Seeds of which there is a damaged run and none that finished.
    pub damaged: Vec<Seed>,
    pub spreads: Spreads,
    /// Training time as a multiple of the first arm's under the same seed. `None` while times are not comparable.
    pub relative_time: Option<Spread>,
    /// What others reported for this arm.
    pub reference: Option<&'a ReferenceRow>,
    /// Ours minus theirs.
    pub differences: Differences,
}

/// Mean and sample standard deviation over seeds; `None` where no counted run has the quantity.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Spreads {
    pub train_acc: Option<Spread>,
    pub train_loss: Option<Spread>,
    pub train_eval_acc: Option<Spread>,
    pub train_eval_loss: Option<Spread>,
    pub val_acc: Option<Spread>,
    pub val_loss: Option<Spread>,
    pub test_acc: Option<Spread>,
    pub test_loss: Option<Spread>,
    /// This and all below are `None` too while times are not comparable: a mean would mix them.
    pub train_minutes: Option<Spread>,
    pub total_minutes: Option<Spread>,
    pub images_per_s: Option<Spread>,
    pub step_ms: Option<Spread>,
    pub minor_faults: Option<Spread>,
    /// In the order of [`Phase::ALL`].
    pub phase_us_per_image: Option<[Spread; Phase::ALL.len()]>,
    pub rest_us_per_image: Option<Spread>,
    /// The phases on a GPU's own timeline, in the same order; `None` on a CPU.
    pub device_us_per_image: Option<[Spread; Phase::ALL.len()]>,
    /// How much later than the host the device ends an optimizer step, as a share of the step.
    pub behind_share: Option<Spread>,
}

#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Differences {
    pub train_acc: Option<f64>,
    pub val_acc: Option<f64>,
    pub train_loss: Option<f64>,
    pub val_loss: Option<f64>,
    pub minutes: Option<f64>,
}

impl<'a> Summary<'a> {
    /// Sums up `arms`, which may lack arms of the profile and hold runs that do not count: both become caveats.
    pub fn of(experiment: &'a Experiment, arms: &'a [ArmRuns<'a>]) -> Self {
        let profile = &experiment.profile;
        let mut caveats = Vec::new();
        let choose =
            |arm| Chosen::of(name(&experiment.factors, arm), arm, arms, &profile.seeds, &mut caveats);
        let chosen: Vec<Chosen> = profile.arms.iter().map(choose).collect();
        let counted: Vec<&LoadedRun> =
            chosen.iter().flat_map(|arm| arm.counted.iter().map(|(run, _)| *run)).collect();
        let barring = Caveat::of_comparison(&counted, &experiment.varied());
        let timed = barring.is_empty();
        caveats.splice(..0, barring);
        let first = chosen.first().map(|arm| minutes_by_seed(&arm.counted)).unwrap_or_default();
        let summaries = chosen.into_iter().enumerate().map(|(index, arm)| {
            let rows = experiment.reference.iter().flat_map(|reference| &reference.rows);
            arm.sum_up(timed, &first, rows.into_iter().find(|row| row.arm == index))
        });
        let mut arms: Vec<ArmSummary> = summaries.collect();
        if let Some(unit) = arms.first_mut().and_then(|first| first.relative_time.as_mut()) {
            // The unit is 1 by definition and not by measurement: it has no spread to report.
            unit.sd = None;
        }
        let reference = experiment.reference.as_ref().map(|reference| reference.name.as_str());
        Self { reference, arms, seeds: profile.seeds.clone(), caveats }
    }

    /// Whether the runs of all arms were executed alike, each alone, so that their times may be compared.
    pub fn times_are_comparable(&self) -> bool {
        self.times_barred_by().is_none()
    }

    /// The first reason why they may not.
    pub fn times_barred_by(&self) -> Option<&Caveat> {
        self.caveats.iter().find(|caveat| caveat.bars_times())
    }
}

impl ArmSummary<'_> {
    /// Why no warm step of the arm was timed; `None` where one was.
    pub fn why_untimed(&self) -> Option<String> {
        if self.counted.iter().any(|(_, measures)| measures.timing.is_some()) {
            return None;
        }
        let steps = self.counted.iter().map(|(run, _)| run.steps.len()).max();
        Some(match steps {
            None => "no finished run".to_owned(),
            Some(steps) => format!("too few steps: {steps}, needs more than {WARM_UP_STEPS}"),
        })
    }
}

/// With one factor its label stands before the level's: `64` alone says little.
fn name(factors: &[Factor], arm: &Arm) -> String {
    match factors {
        [factor] => format!("{} {}", factor.label, arm.label),
        _ => arm.label.clone(),
    }
}

/// An arm's runs, and which of them count.
struct Chosen<'a> {
    name: String,
    arm: &'a Arm,
    runs: Vec<&'a LoadedRun>,
    counted: Vec<(&'a LoadedRun, Measures)>,
    damaged: Vec<Seed>,
}

impl<'a> Chosen<'a> {
    fn of(
        name: String,
        arm: &'a Arm,
        arms: &'a [ArmRuns<'a>],
        seeds: &[Seed],
        caveats: &mut Vec<Caveat>,
    ) -> Self {
        let given = || arms.iter().filter(|given| given.arm.levels == arm.levels);
        let mut runs: Vec<&LoadedRun> = given().flat_map(|given| &given.runs).collect();
        runs.sort_by_key(|run| (run.record.trial.seed, &run.record.run));
        let finished = finished_by_seed(&name, arm, &runs, caveats);
        let mut damaged = Vec::new();
        for (seed, file) in given().flat_map(|given| &given.damaged) {
            if !finished.contains_key(seed) && !damaged.contains(seed) {
                let (arm, file) = (name.clone(), file.clone());
                caveats.push(Caveat::Damaged { arm, seed: *seed, file });
                damaged.push(*seed);
            }
        }
        let is_missing =
            |seed: &Seed| runs.iter().all(|run| run.record.trial.seed != *seed) && !damaged.contains(seed);
        let missing: Vec<Seed> = seeds.iter().copied().filter(is_missing).collect();
        if !missing.is_empty() {
            caveats.push(Caveat::Missing { arm: name.clone(), seeds: missing });
        }
        let newest = finished.into_iter().filter_map(|(seed, runs)| newest(&name, seed, &runs, caveats));
        let counted: Vec<_> = newest.map(|run| (run, Measures::of(run))).collect();
        caveats.extend(counted.iter().filter_map(|(run, _)| Caveat::of_disturbance(&name, run)));
        Self { name, arm, runs, counted, damaged }
    }

    fn sum_up(
        self,
        timed: bool,
        first: &BTreeMap<Seed, f64>,
        reference: Option<&'a ReferenceRow>,
    ) -> ArmSummary<'a> {
        let measures: Vec<&Measures> = self.counted.iter().map(|(_, measures)| measures).collect();
        let mut spreads = Spreads::of_scores(&measures);
        if timed {
            spreads.add_times(&measures);
        }
        let differences = reference.map(|row| Differences::of(&spreads, row)).unwrap_or_default();
        let ratios = minutes_by_seed(&self.counted).into_iter().filter_map(|(seed, minutes)| {
            first.get(&seed).filter(|&&first| first > 0.0).map(|first| minutes / first)
        });
        let ratios: Vec<f64> = ratios.collect();
        let relative_time = if timed { Spread::of(&ratios) } else { None };
        let Self { name, arm, runs, counted, damaged } = self;
        ArmSummary { name, arm, runs, counted, damaged, spreads, relative_time, reference, differences }
    }
}

/// The runs that finished and are of the arm's config; a caveat for each other one.
fn finished_by_seed<'a>(
    name: &str,
    arm: &Arm,
    runs: &[&'a LoadedRun],
    caveats: &mut Vec<Caveat>,
) -> BTreeMap<Seed, Vec<&'a LoadedRun>> {
    let expected = arm.config.hash();
    let mut finished: BTreeMap<Seed, Vec<&LoadedRun>> = BTreeMap::new();
    for run in runs {
        let record = &run.record;
        if !arm.varied.is_in(&record.plan) {
            caveats.push(Caveat::OtherPlan {
                arm: name.to_owned(),
                run: record.run.clone(),
                found: record.plan.to_string(),
            });
        } else if record.config_hash != expected {
            let (found, expected) = (record.config_hash.short(), expected.short());
            caveats.push(Caveat::Foreign { arm: name.to_owned(), run: record.run.clone(), found, expected });
        } else if record.status == Status::Finished {
            finished.entry(record.trial.seed).or_default().push(run);
        } else {
            caveats.extend(Caveat::of_status(name, run));
        }
    }
    finished
}

/// The newest of a seed's finished runs, whose names sort by age: of those that had the machine to themselves, where there
/// are any.
fn newest<'a>(
    arm: &str,
    seed: Seed,
    runs: &[&'a LoadedRun],
    caveats: &mut Vec<Caveat>,
) -> Option<&'a LoadedRun> {
    let alone = runs.iter().rev().find(|run| run.record.is_alone());
    let newest = alone.or(runs.last()).copied()?;
    if runs.len() > 1 {
        caveats.push(Caveat::Repeated {
            arm: arm.to_owned(),
            seed,
            counted: newest.record.run.clone(),
            left_out: runs
                .iter()
                .filter(|run| run.record.run != newest.record.run)
                .map(|run| run.record.run.clone())
                .collect(),
        });
    }
    Some(newest)
}

fn minutes_by_seed(counted: &[(&LoadedRun, Measures)]) -> BTreeMap<Seed, f64> {
    let minutes = |(run, measures): &(&LoadedRun, Measures)| {
        measures.train_minutes.map(|minutes| (run.record.trial.seed, minutes))
    };
    counted.iter().filter_map(minutes).collect()
}

impl Spreads {
    fn of_scores(runs: &[&Measures]) -> Self {
        let spread = |score: fn(&Measures) -> Option<Score>, value: fn(Score) -> f64| {
            Spread::of(&runs.iter().filter_map(|run| score(run).map(value)).collect::<Vec<_>>())
        };
        let accuracy = |score: Score| score.accuracy;
        let loss = |score: Score| score.loss;
        Self {
            train_acc: spread(|run| run.train, accuracy),
            train_loss: spread(|run| run.train, loss),
            train_eval_acc: spread(|run| run.train_eval, accuracy),
            train_eval_loss: spread(|run| run.train_eval, loss),
            val_acc: spread(|run| run.validation, accuracy),
            val_loss: spread(|run| run.validation, loss),
            test_acc: spread(|run| run.test, accuracy),
            test_loss: spread(|run| run.test, loss),
            ..Self::default()
        }
    }

    fn add_times(&mut self, runs: &[&Measures]) {
        let minutes = |value: fn(&Measures) -> Option<f64>| {
            Spread::of(&runs.iter().filter_map(|run| value(run)).collect::<Vec<_>>())
        };
        let timings: Vec<&StepTiming> = runs.iter().filter_map(|run| run.timing.as_ref()).collect();
        let timing = |value: &dyn Fn(&StepTiming) -> f64| {
            Spread::of(&timings.iter().map(|timing| value(timing)).collect::<Vec<_>>())
        };
        self.train_minutes = minutes(|run| run.train_minutes);
        self.total_minutes = minutes(|run| run.total_minutes);
        self.images_per_s = timing(&|timing| timing.images_per_s);
        self.step_ms = timing(&|timing| timing.step_ms);
        self.minor_faults = timing(&|timing| timing.minor_faults);
        let divided: Option<Vec<_>> = timings.iter().map(|timing| timing.phase_us_per_image).collect();
        let divided = divided.unwrap_or_default();
        self.phase_us_per_image = of_phases(|phase| {
            Spread::of(&divided.iter().map(|phases| phases[phase as usize]).collect::<Vec<_>>())
        });
        self.rest_us_per_image = timing(&|timing| timing.rest_us_per_image);
        self.add_device_times(&timings);
    }

    fn add_device_times(&mut self, timings: &[&StepTiming]) {
        let devices: Vec<&DeviceTiming> =
            timings.iter().filter_map(|timing| timing.device.as_ref()).collect();
        let device = |value: &dyn Fn(&DeviceTiming) -> f64| {
            Spread::of(&devices.iter().map(|device| value(device)).collect::<Vec<_>>())
        };
        self.device_us_per_image =
            of_phases(|phase| device(&|device| device.phase_us_per_image[phase as usize]));
        self.behind_share = device(&|device| device.behind_share);
    }

    /// Shares of a step's time, in the order of [`Phase::ALL`], and what no phase accounts for.
    pub fn phase_shares(&self) -> Option<([f64; Phase::ALL.len()], f64)> {
        let (phases, rest) = (self.phase_us_per_image.as_ref()?, self.rest_us_per_image.as_ref()?);
        let total = phases.iter().map(|phase| phase.mean).sum::<f64>() + rest.mean;
        (total > 0.0).then(|| (std::array::from_fn(|index| phases[index].mean / total), rest.mean / total))
    }
}

/// Spreads in the order of [`Phase::ALL`], if each phase has one.
fn of_phases(spread: impl Fn(Phase) -> Option<Spread>) -> Option<[Spread; Phase::ALL.len()]> {
    let spreads: Option<Vec<Spread>> = Phase::ALL.into_iter().map(spread).collect();
    spreads?.try_into().ok()
}

impl Differences {
    fn of(ours: &Spreads, theirs: &ReferenceRow) -> Self {
        let minus = |ours: &Option<Spread>, theirs: Option<f64>| {
            ours.as_ref().zip(theirs).map(|(ours, theirs)| ours.mean - theirs)
        };
        Self {
            train_acc: minus(&ours.train_acc, theirs.train_acc),
            val_acc: minus(&ours.val_acc, theirs.val_acc),
            train_loss: minus(&ours.train_loss, theirs.train_loss),
            val_loss: minus(&ours.val_loss, theirs.val_loss),
            minutes: minus(&ours.train_minutes, theirs.minutes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::samples;
    use crate::experiment::plan::{Device, Plan, PlanName};
    use crate::record::RunId;

    #[test]
    fn every_arm_has_its_mean_and_sd_over_seeds() {
        let experiment = samples::experiment();
        let profile = &experiment.profile;
        let mut arms = samples::arms(profile, &[0, 1, 2]);
        for (index, run) in arms[0].runs.iter_mut().enumerate() {
            samples::set_validation(run, 0.90 + 0.01 * index as f64);
        }
        let summary = Summary::of(&experiment, &arms);
        let val_acc = summary.arms[0].spreads.val_acc.unwrap();
        assert_eq!(val_acc.n, 3);
        assert!((val_acc.mean - 0.91).abs() < 1e-12 && (val_acc.sd.unwrap() - 0.01).abs() < 1e-12);
        assert_eq!(summary.caveats, []);
        assert_eq!(summary.arms[0].relative_time.unwrap().mean, 1.0);
    }

    #[test]
    fn relative_time_pairs_the_runs_of_one_seed() {
        let experiment = samples::experiment();
        let profile = &experiment.profile;
        let mut arms = samples::arms(profile, &[0, 1]);
        for (arm, seed, ns) in [(0, 0, 10), (0, 1, 20), (1, 0, 20), (1, 1, 20)] {
            for step in &mut arms[arm].runs[seed].steps {
                *step = samples::step(step.step, step.images, ns * 1_000_000);
            }
        }
        let ratio = Summary::of(&experiment, &arms).arms[1].relative_time.unwrap();
        assert_eq!((ratio.n, ratio.mean), (2, 1.5));
    }

    #[test]
    fn device_times_have_a_spread_over_seeds_and_a_cpu_has_none() {
        let experiment = samples::experiment();
        let profile = &experiment.profile;
        let mut arms = samples::arms(profile, &[0, 1]);
        let on_cpu = Summary::of(&experiment, &arms).arms[0].spreads.clone();
        assert_eq!((on_cpu.device_us_per_image, on_cpu.behind_share), (None, None));
        for arm in &mut arms {
            arm.runs.iter_mut().zip([60, 80]).for_each(|(run, percent)| samples::put_on_gpu(run, percent));
        }
        let summary = Summary::of(&experiment, &arms);
        assert!(summary.times_are_comparable());
        let behind = summary.arms[0].spreads.behind_share.unwrap();
        assert!(behind.n == 2 && (behind.mean - 0.7).abs() < 1e-9, "{behind:?}");
        assert!(summary.arms[2].spreads.device_us_per_image.is_some());
    }

    #[test]
    fn differences_are_ours_minus_theirs_and_absent_where_they_gave_none() {
        let experiment = samples::experiment();
        let profile = &experiment.profile;
        let mut arms = samples::arms(profile, &[0]);
        samples::set_validation(&mut arms[0].runs[0], 0.95);
        let summary = Summary::of(&experiment, &arms);
        let differences = summary.arms[0].differences;
        assert!((differences.val_acc.unwrap() - (0.95 - 0.9895)).abs() < 1e-12);
        assert_eq!(summary.arms[2].reference, None);
        assert_eq!(summary.arms[2].differences, Differences::default());
    }

    #[test]
    fn mixed_plans_give_no_times_but_keep_the_accuracies() {
        let experiment = samples::experiment();
        let profile = &experiment.profile;
        let mut arms = samples::arms(profile, &[0, 1, 2]);
        let record = &mut arms[1].runs[0].record;
        record.plan = Plan::named(PlanName::Eager, 2, Device::Cpu);
        record.plan_hash = record.plan.hash();
        let summary = Summary::of(&experiment, &arms);
        assert!(!summary.times_are_comparable());
        assert!(matches!(summary.caveats[..], [Caveat::MixedPlans(_)]), "{:?}", summary.caveats);
        for arm in &summary.arms {
            assert!(arm.spreads.val_acc.is_some());
            assert_eq!((arm.spreads.train_minutes, arm.relative_time), (None, None));
            assert_eq!(arm.spreads.images_per_s, None);
        }
    }

    #[test]
    fn runs_that_trained_side_by_side_give_no_times_either() {
        let experiment = samples::experiment();
        let mut arms = samples::arms(&experiment.profile, &[0, 1, 2]);
        for record in arms.iter_mut().flat_map(|arm| arm.runs.iter_mut()).map(|run| &mut run.record) {
            record.beside = 1;
        }
        let summary = Summary::of(&experiment, &arms);
        assert_eq!(summary.caveats, [Caveat::SideBySide(vec![2])]);
        assert_eq!(summary.times_barred_by(), summary.caveats.first());
        for arm in &summary.arms {
            assert!(arm.spreads.val_acc.is_some());
            assert_eq!((arm.spreads.train_minutes, arm.relative_time), (None, None));
        }
    }

    #[test]
    fn runs_that_did_not_finish_are_listed_and_left_out() {
        let experiment = samples::experiment();
        let profile = &experiment.profile;
        let mut arms = samples::arms(profile, &[0, 1, 2]);
        arms[0].runs[0].record.status = Status::Failed { reason: "killed".to_owned() };
        arms[0].runs[1].record.status = Status::Diverged { step: 7, loss: "NaN".to_owned() };
        arms[1].runs.remove(2);
        arms.remove(2);
        let summary = Summary::of(&experiment, &arms);
        let texts: Vec<String> = summary.caveats.iter().map(Caveat::to_string).collect();
        assert_eq!(summary.arms.iter().map(|arm| arm.counted.len()).collect::<Vec<_>>(), [1, 2, 0]);
        for (text, part) in
            texts.iter().zip(["'batch 64', seed 0: failed: killed", "step 7", "seed 2", "seeds 0, 1, 2"])
        {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(summary.arms[2].spreads, Spreads::default());
    }

    /// The page of a damaged run said that there was none of its seed.
    #[test]
    fn a_damaged_run_is_called_so_and_not_missing_until_another_takes_its_place() {
        let experiment = samples::experiment();
        let profile = &experiment.profile;
        let mut arms = samples::arms(profile, &[0, 1, 2]);
        let run = arms[1].runs.remove(0);
        arms[1].damaged = vec![(Seed(0), "steps.parquet".to_owned())];
        let summary = Summary::of(&experiment, &arms);
        let texts: Vec<String> = summary.caveats.iter().map(Caveat::to_string).collect();
        assert_eq!(
            texts,
            ["'batch 128', seed 0: its run is damaged (steps.parquet) and does not count; run it again"]
        );
        assert_eq!(summary.arms[1].damaged, [Seed(0)]);
        arms[1].runs.insert(0, run);
        assert_eq!(Summary::of(&experiment, &arms).caveats, []);
    }

    #[test]
    fn a_seed_that_ran_twice_counts_once_with_its_newest_run() {
        let experiment = samples::experiment();
        let profile = &experiment.profile;
        let mut arms = samples::arms(profile, &[0]);
        let mut newer = arms[0].runs[0].clone();
        newer.record.run = RunId("99991231T235959Z-1".to_owned());
        samples::set_validation(&mut newer, 0.5);
        arms[0].runs.insert(0, newer);
        let summary = Summary::of(&experiment, &arms);
        assert_eq!(summary.arms[0].spreads.val_acc.unwrap(), Spread { n: 1, mean: 0.5, sd: None });
        assert!(summary.caveats.iter().any(|caveat| matches!(caveat, Caveat::Repeated { .. })));
    }

    #[test]
    fn a_run_of_another_config_is_refused_by_its_hash() {
        let experiment = samples::experiment();
        let profile = &experiment.profile;
        let mut arms = samples::arms(profile, &[0]);
        arms[0].runs[0].record.config_hash = profile.arms[1].config.hash();
        let summary = Summary::of(&experiment, &arms);
        assert!(summary.arms[0].counted.is_empty());
        let text = summary.caveats[0].to_string();
        assert!(text.contains(&profile.arms[1].config.hash().short()), "{text}");
    }
}
