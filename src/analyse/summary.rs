//! One experiment under one profile, summed up: for each arm its numbers over seeds, beside the first arm and beside
//! what others reported.

use std::collections::{BTreeMap, BTreeSet};

use crate::analyse::block::{Barred, blocks, class, pick};
use crate::analyse::caveat::Caveat;
use crate::analyse::measure::{Measures, WARM_UP_STEPS};
use crate::analyse::spreads::{Differences, Spreads};
use crate::experiment::metric::{Metric, Quantity};
use crate::experiment::{Arm, Experiment, PlanChange, ReferenceRow};
use crate::language::Localised;
use crate::record::{LoadedRun, Status};
use crate::stats::Spread;
use crate::stream::Seed;
use crate::words::Words;

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
    pub reference: Option<&'a Localised>,
    /// One for each arm of the profile, in its order, also where there is no run.
    pub arms: Vec<ArmSummary<'a>>,
    /// Seeds the profile asks for.
    pub seeds: Vec<Seed>,
    /// Seeds whose runs were measured together, so that their times are compared.
    pub timed: BTreeSet<Seed>,
    /// The other seeds there are runs of, and why not.
    pub barred: BTreeMap<Seed, Barred>,
    pub caveats: Vec<Caveat>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct ArmSummary<'a> {
    /// What people call it: `batch 64`.
    pub name: Localised,
    pub arm: &'a Arm,
    /// The earlier arm that is the same training: where arms are put side by side, this one is left out.
    pub same_as: Option<usize>,
    /// All of them, by seed and then by age.
    pub runs: Vec<&'a LoadedRun>,
    /// The runs the numbers are made of, with what each measured: finished, of this arm's config, one a seed.
    pub counted: Vec<(&'a LoadedRun, Measures)>,
    /// Seeds of which there is a damaged run and none that finished.
    pub damaged: Vec<Seed>,
    pub spreads: Spreads,
    /// Training time as a multiple of the first arm's under the same seed, of the seeds whose times are compared.
    pub relative_time: Option<Spread>,
    /// What others reported for this arm.
    pub reference: Option<&'a ReferenceRow>,
    /// Ours minus theirs.
    pub differences: Differences,
}

impl<'a> Summary<'a> {
    /// Sums up `arms`, which may lack arms of the profile and hold runs that do not count: both become caveats.
    pub fn of(experiment: &'a Experiment, arms: &'a [ArmRuns<'a>]) -> Self {
        let profile = &experiment.profile;
        let mut caveats = Vec::new();
        let choose = |arm: &'a Arm| Chosen::of(arm.name.clone(), arm, arms, &profile.seeds, &mut caveats);
        let mut chosen: Vec<Chosen> = profile.arms.iter().map(choose).collect();
        for seed in chosen.iter().flat_map(|arm| arm.finished.keys()).copied().collect::<BTreeSet<_>>() {
            let of_seed: Vec<&[&LoadedRun]> =
                chosen.iter().map(|arm| arm.finished.get(&seed).map_or(&[][..], Vec::as_slice)).collect();
            let picked = pick(&of_seed);
            for (arm, run) in chosen.iter_mut().zip(picked) {
                arm.counted.extend(run.map(|run| (run, Measures::of(run))));
            }
        }
        caveats.extend(repeated(&chosen));
        for arm in &chosen {
            let disturbed = |(run, _): &(&LoadedRun, Measures)| Caveat::of_disturbance(&arm.name, run);
            caveats.extend(arm.counted.iter().filter_map(disturbed));
        }
        let counted: Vec<&LoadedRun> =
            chosen.iter().flat_map(|arm| arm.counted.iter().map(|(run, _)| *run)).collect();
        let (timed, barred) = blocks(&counted, &experiment.varied());
        let mut about_times = untimed(&barred);
        about_times.extend(pooled(&counted, &experiment.varied()));
        let same = same_trainings(&profile.arms);
        about_times.extend(one_training(&profile.arms, &same));
        caveats.splice(..0, about_times);
        let first = chosen.first().map(|arm| minutes_by_seed(&arm.counted)).unwrap_or_default();
        let summaries = chosen.into_iter().enumerate().map(|(index, arm)| {
            let rows = experiment.reference.iter().flat_map(|reference| &reference.rows);
            let reference = rows.into_iter().find(|row| row.arm == index);
            ArmSummary { same_as: same[index], ..arm.sum_up(&timed, &first, reference) }
        });
        let mut arms: Vec<ArmSummary> = summaries.collect();
        if let Some(unit) = arms.first_mut().and_then(|first| first.relative_time.as_mut()) {
            // The unit is 1 by definition and not by measurement: it has no spread to report.
            unit.sd = None;
        }
        let reference = experiment.reference.as_ref().map(|reference| &reference.name);
        Self { reference, arms, seeds: profile.seeds.clone(), timed, barred, caveats }
    }

    /// The arms, of those that are one training the first.
    pub fn distinct(&self) -> impl Iterator<Item = &ArmSummary<'a>> {
        self.arms.iter().filter(|arm| arm.same_as.is_none())
    }

    /// How many trainings the profile asks for, and how many of them there are.
    pub fn trainings(&self) -> (usize, usize) {
        let due = self.distinct().count() * self.seeds.len();
        (due, self.distinct().map(|arm| arm.counted.len()).sum())
    }

    /// Why a run's times are not used: `among_arms`, beside those of other arms, or by themselves.
    pub fn why_untimed(&self, arm: &ArmSummary, run: &LoadedRun, among_arms: bool) -> Option<&Barred> {
        let barred = self.barred.get(&run.record.trial.seed)?;
        if among_arms || !barred.is_of_comparison() {
            return Some(barred);
        }
        Caveat::of_disturbance(&arm.name, run).map(|_| &Barred::Disturbed)
    }

    /// Why there are no times to compare; `None` where some seed has them, or nothing ran.
    pub fn times_barred_by(&self) -> Option<&Barred> {
        self.barred.values().next().filter(|_| self.timed.is_empty())
    }
}

/// The seeds by why their times are barred.
fn untimed(barred: &BTreeMap<Seed, Barred>) -> Vec<Caveat> {
    let mut by_reason: BTreeMap<&Barred, Vec<Seed>> = BTreeMap::new();
    for (seed, why) in barred {
        by_reason.entry(why).or_default().push(*seed);
    }
    // Of a disturbance each disturbed run is told with how much it was.
    by_reason.remove(&Barred::Disturbed);
    by_reason.into_iter().map(|(why, seeds)| Caveat::Untimed { seeds, why: why.clone() }).collect()
}

fn pooled(counted: &[&LoadedRun], varied: &PlanChange) -> Option<Caveat> {
    let mut by_class: BTreeMap<String, BTreeSet<Seed>> = BTreeMap::new();
    for run in counted {
        by_class.entry(class(run, varied)).or_default().insert(run.record.trial.seed);
    }
    let classes: Vec<(String, Vec<Seed>)> =
        by_class.into_iter().map(|(class, seeds)| (class, seeds.into_iter().collect())).collect();
    (classes.len() > 1).then_some(Caveat::Pooled(classes))
}

/// For each arm the first before it that is trained alike.
fn same_trainings(arms: &[Arm]) -> Vec<Option<usize>> {
    let keys: Vec<_> = arms.iter().map(|arm| (arm.config.hash(), &arm.varied)).collect();
    (0..keys.len()).map(|index| keys[..index].iter().position(|key| *key == keys[index])).collect()
}

fn one_training(arms: &[Arm], same: &[Option<usize>]) -> Vec<Caveat> {
    let mut by_first: BTreeMap<usize, Vec<Localised>> = BTreeMap::new();
    for (arm, same_as) in arms.iter().zip(same) {
        if let Some(first) = *same_as {
            by_first.entry(first).or_default().push(arm.name.clone());
        }
    }
    let caveat = |(first, others): (usize, Vec<Localised>)| Caveat::OneTraining {
        arm: arms[first].name.clone(),
        others,
    };
    by_first.into_iter().map(caveat).collect()
}

impl ArmSummary<'_> {
    /// The index of the arm whose training this is, `index` being its own.
    pub fn original(&self, index: usize) -> usize {
        self.same_as.unwrap_or(index)
    }

    /// What the reference says of the arm, where it speaks of the same quantity at the same moment.
    pub fn reported(&self, metric: Metric) -> Option<f64> {
        let row = self.reference.filter(|_| metric.at.is_none())?;
        match metric.quantity {
            Quantity::TrainAcc => row.train_acc,
            Quantity::ValAcc => row.val_acc,
            Quantity::TrainLoss => row.train_loss,
            Quantity::ValLoss => row.val_loss,
            Quantity::TrainMinutes => row.minutes,
            _ => None,
        }
    }

    /// What is trained, whatever the arm is called and whichever experiment it is of.
    pub fn trial(&self) -> String {
        let plan = serde_json::to_string(&self.arm.varied).unwrap_or_default();
        format!("{} {plan}", self.arm.config.hash().short())
    }

    /// Whether runs that count have steps, and the rows of none of them are kept.
    pub fn lacks_rows(&self) -> bool {
        let has_steps =
            |run: &LoadedRun| run.record.outcome.as_ref().is_some_and(|outcome| outcome.steps > 0);
        let mut runs = self.counted.iter().map(|(run, _)| run);
        !self.counted.is_empty() && runs.all(|run| run.steps.is_empty() && has_steps(run))
    }

    /// Why no warm step of the arm was timed; `None` where one was.
    pub fn why_untimed(&self, words: Words) -> Option<String> {
        if self.counted.iter().any(|(_, measures)| measures.timing.is_some()) {
            return None;
        }
        if self.lacks_rows() {
            return Some(words.say("figure.no-rows", &[]));
        }
        let steps = self.counted.iter().map(|(run, _)| run.steps.len()).max();
        Some(match steps {
            None => words.say("remark.no-finished-run", &[]),
            Some(steps) => words.say("remark.too-few-steps", &[("steps", &steps), ("least", &WARM_UP_STEPS)]),
        })
    }
}

/// An arm's runs, and which of them count.
struct Chosen<'a> {
    name: Localised,
    arm: &'a Arm,
    runs: Vec<&'a LoadedRun>,
    /// Of this arm's config and plan, by age.
    finished: BTreeMap<Seed, Vec<&'a LoadedRun>>,
    /// One of them for each seed.
    counted: Vec<(&'a LoadedRun, Measures)>,
    damaged: Vec<Seed>,
}

impl<'a> Chosen<'a> {
    fn of(
        name: Localised,
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
        Self { name, arm, runs, finished, counted: Vec::new(), damaged }
    }

    /// Runs of the seeds that are counted, beyond the one that counts: by seed.
    fn left_out(&self) -> impl Iterator<Item = usize> {
        self.finished.values().map(|runs| runs.len() - 1).filter(|&runs| runs > 0)
    }

    fn sum_up(
        self,
        timed: &BTreeSet<Seed>,
        first: &BTreeMap<Seed, f64>,
        reference: Option<&'a ReferenceRow>,
    ) -> ArmSummary<'a> {
        let measures: Vec<&Measures> = self.counted.iter().map(|(_, measures)| measures).collect();
        let mut spreads = Spreads::of_scores(&measures);
        let is_timed = |run: &LoadedRun| timed.contains(&run.record.trial.seed);
        let of_timed = self.counted.iter().filter(|(run, _)| is_timed(run));
        spreads.add_times(&of_timed.map(|(_, measures)| measures).collect::<Vec<_>>());
        let differences = reference.map(|row| Differences::of(&spreads, row)).unwrap_or_default();
        let minutes = minutes_by_seed(&self.counted).into_iter().filter(|(seed, _)| timed.contains(seed));
        let ratio = |(seed, minutes): (Seed, f64)| {
            first.get(&seed).filter(|&&first| first > 0.0).map(|first| minutes / first)
        };
        let relative_time = Spread::of(&minutes.filter_map(ratio).collect::<Vec<f64>>());
        let Self { name, arm, runs, counted, damaged, finished: _ } = self;
        let same_as = None;
        ArmSummary {
            name,
            arm,
            same_as,
            runs,
            counted,
            damaged,
            spreads,
            relative_time,
            reference,
            differences,
        }
    }
}

fn repeated(arms: &[Chosen]) -> Option<Caveat> {
    let trainings = arms.iter().flat_map(Chosen::left_out).count();
    let left_out = arms.iter().flat_map(Chosen::left_out).sum();
    (trainings > 0).then_some(Caveat::Repeated { trainings, left_out })
}

/// The runs that finished and are of the arm's config; a caveat for each other one.
fn finished_by_seed<'a>(
    name: &Localised,
    arm: &Arm,
    runs: &[&'a LoadedRun],
    caveats: &mut Vec<Caveat>,
) -> BTreeMap<Seed, Vec<&'a LoadedRun>> {
    let expected = arm.config.hash();
    let mut finished: BTreeMap<Seed, Vec<&LoadedRun>> = BTreeMap::new();
    for run in runs {
        let record = &run.record;
        if !arm.is_under(&record.plan) {
            caveats.push(Caveat::OtherPlan {
                arm: name.clone(),
                run: record.run.clone(),
                found: record.plan.to_string(),
            });
        } else if record.config_hash != expected {
            let (found, expected) = (record.config_hash.short(), expected.short());
            caveats.push(Caveat::Foreign { arm: name.clone(), run: record.run.clone(), found, expected });
        } else if record.status == Status::Finished {
            finished.entry(record.trial.seed).or_default().push(run);
        } else {
            caveats.extend(Caveat::of_status(name, run));
        }
    }
    finished
}

/// A few steps are mostly the first one, which takes as long as several.
pub(super) fn is_short(run: &LoadedRun) -> bool {
    run.record.outcome.as_ref().is_some_and(|outcome| outcome.steps <= WARM_UP_STEPS as u64)
}

fn minutes_by_seed(counted: &[(&LoadedRun, Measures)]) -> BTreeMap<Seed, f64> {
    let minutes = |(run, measures): &(&LoadedRun, Measures)| {
        measures.train_minutes.filter(|_| !is_short(run)).map(|minutes| (run.record.trial.seed, minutes))
    };
    counted.iter().filter_map(minutes).collect()
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
        assert_eq!(summary.times_barred_by(), None);
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

    /// One run under another plan takes the times of its seed and no others.
    #[test]
    fn a_seed_that_is_barred_gives_no_times_but_keeps_its_accuracies() {
        let experiment = samples::experiment();
        let profile = &experiment.profile;
        let mut arms = samples::arms(profile, &[0, 1, 2]);
        let record = &mut arms[1].runs[0].record;
        record.plan = Plan::named(PlanName::Eager, 2, Device::Cpu);
        record.plan_hash = record.plan.hash();
        let summary = Summary::of(&experiment, &arms);
        assert!(matches!(&summary.barred[&Seed(0)], Barred::Plans(_)) && summary.times_barred_by().is_none());
        assert!(matches!(summary.caveats[..], [Caveat::Untimed { .. }]), "{:?}", summary.caveats);
        for arm in &summary.arms {
            assert_eq!(arm.spreads.val_acc.unwrap().n, 3);
            assert_eq!((arm.spreads.train_minutes.unwrap().n, arm.relative_time.unwrap().n), (2, 2));
            assert_eq!(arm.spreads.images_per_s.unwrap().n, 2);
        }
    }

    #[test]
    fn runs_that_trained_side_by_side_give_no_times() {
        let experiment = samples::experiment();
        let mut arms = samples::arms(&experiment.profile, &[0, 1, 2]);
        for record in arms.iter_mut().flat_map(|arm| arm.runs.iter_mut()).map(|run| &mut run.record) {
            record.beside = 1;
        }
        let summary = Summary::of(&experiment, &arms);
        let (why, seeds) = (Barred::SideBySide, vec![Seed(0), Seed(1), Seed(2)]);
        assert_eq!(summary.times_barred_by(), Some(&why));
        assert_eq!(summary.caveats, [Caveat::Untimed { seeds, why }]);
        for arm in &summary.arms {
            assert!(arm.spreads.val_acc.is_some());
            assert_eq!((arm.spreads.train_minutes, arm.relative_time), (None, None));
        }
    }

    /// A factor whose level says what the file says made two arms of one training, which were ranked against each other.
    #[test]
    fn arms_that_are_one_training_are_one_arm() {
        let (head, _) = samples::TOML.split_once("[[factors]]").unwrap();
        let level = |label: &str, batch: u32| {
            format!("{{ label = \"{label}\", set = {{ \"train.batch\" = {batch} }} }}")
        };
        // What it sets besides is the value there is.
        let again = level("again", 64).replace(" } }", ", \"optim.lr\" = 0.001 } }");
        let levels = [level("64", 64), again, level("1024", 1024)].join(", ");
        let profile = "[profiles.full]\nseeds = [0, 1, 2]\n";
        let text = &format!("{head}[[factors]]\nlabel = \"batch\"\nlevels = [{levels}]\n{profile}");
        let experiment = samples::parse(text);
        let arms = samples::arms(&experiment.profile, &[0, 1, 2]);
        let summary = Summary::of(&experiment, &arms);
        assert_eq!(summary.arms.iter().map(|arm| arm.same_as).collect::<Vec<_>>(), [None, Some(0), None]);
        assert_eq!((summary.distinct().count(), summary.trainings()), (2, (6, 6)));
        let said = summary.caveats.iter().map(Caveat::to_string).collect::<String>();
        assert!(said.contains("is the same training as 'batch 64'"), "{said}");
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
