//! How long runs will take, from those there are.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::experiment::{Config, ConfigHash, Length, Plan, PlanHash};
use crate::machine::EnvironmentClass;
use crate::network;
use crate::record::RunRecord;
use crate::row::Diagnostics;

/// Starting a process with libtorch and decoding the data set, on the machine pinbench was written on.
const START_UP: Duration = Duration::from_secs(2);

/// Time of one core for a pixel, which is what moving values costs, and for a multiply–add of the forward pass. From
/// images a second of both models on MNIST and CIFAR-10 on a machine of two cores without AVX-512, which they meet
/// within a fifth; of another machine good for the order of magnitude only.
const TRAIN_NS: Cost = Cost { pixel: 342.0, multiply_add: 0.095 };
const EVALUATE_NS: Cost = Cost { pixel: 114.0, multiply_add: 0.023 };

struct Cost {
    pixel: f64,
    multiply_add: f64,
}

/// Speed of training, of evaluation and of diagnostics, in images a second.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Pace {
    pub train: f64,
    pub evaluate: f64,
    pub diagnose: f64,
    pub basis: Basis,
}

/// The paces of many trials, of which those of an arm share theirs: it takes a look at every run to find one.
pub struct Paces<'a> {
    records: &'a [RunRecord],
    known: BTreeMap<(ConfigHash, PlanHash), Pace>,
}

impl<'a> Paces<'a> {
    pub fn from_runs(records: &'a [RunRecord]) -> Self {
        Self { records, known: BTreeMap::new() }
    }

    pub fn of(&mut self, config: &Config, plan: &Plan, class: Option<&EnvironmentClass>) -> Pace {
        let key = (config.hash(), plan.hash());
        *self.known.entry(key).or_insert_with(|| Pace::of(config, plan, class, self.records))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Basis {
    /// From so many finished runs of the same model, plan and class.
    Measured { runs: usize },
    /// Nothing like it was measured yet.
    Guess,
}

impl Basis {
    pub fn name(self) -> &'static str {
        match self {
            Self::Measured { .. } => "measured",
            Self::Guess => "guessed",
        }
    }
}

impl Pace {
    /// From runs of the very config if there are any, else from those of the same model.
    pub fn of(config: &Config, plan: &Plan, class: Option<&EnvironmentClass>, records: &[RunRecord]) -> Self {
        let (plan_hash, hash, work) = (plan.hash(), config.hash(), multiply_adds(config));
        let comparable = |record: &&RunRecord| {
            record.plan_hash == plan_hash
                && class.is_none_or(|class| *class == record.environment_class)
                && (record.config_hash == hash || multiply_adds(&record.trial.config) == work)
                && record.outcome.is_some()
        };
        let alike: Vec<_> = records.iter().filter(comparable).collect();
        let same: Vec<_> = alike.iter().copied().filter(|record| record.config_hash == hash).collect();
        let used = if same.is_empty() { alike } else { same };
        Self::measured(&used).unwrap_or_else(|| Self::guess(config, plan))
    }

    fn measured(records: &[&RunRecord]) -> Option<Self> {
        let (mut trained, mut evaluated, mut train_s, mut evaluate_s) = (0.0, 0.0, 0.0, 0.0);
        let (mut diagnosed, mut diagnose_s) = (0.0, 0.0);
        for record in records {
            let outcome = record.outcome.as_ref()?;
            // Of the steps there were: a run may have ended sooner than its config allows.
            let work = Work::after(&record.trial.config, Some(outcome.steps));
            trained += work.trained;
            evaluated += work.evaluated;
            train_s += outcome.train_ns as f64 / 1e9;
            evaluate_s += outcome.evaluate_ns as f64 / 1e9;
            // 0 where diagnostics were off.
            if let Some(ns @ 1..) = outcome.diagnose_ns {
                diagnosed += work.diagnosed;
                diagnose_s += ns as f64 / 1e9;
            }
        }
        let is_useful = trained > 0.0 && train_s > 0.0 && evaluate_s > 0.0;
        let basis = Basis::Measured { runs: records.len() };
        let train = trained / train_s;
        let diagnose = if diagnose_s > 0.0 { diagnosed / diagnose_s } else { train };
        is_useful.then(|| Self { train, evaluate: evaluated / evaluate_s, diagnose, basis })
    }

    /// Of one trial, also where others train beside it: each of those has one thread too, on a core of its own.
    fn guess(config: &Config, plan: &Plan) -> Self {
        let shape = config.data.set.shape();
        let pixels = (shape.height * shape.width) as f64;
        let work = multiply_adds(config) as f64;
        let speed = |cost: Cost| {
            f64::from(plan.threads.clamp(1, 8)) * 1e9 / (pixels * cost.pixel + work * cost.multiply_add)
        };
        let train = speed(TRAIN_NS);
        Self { train, evaluate: speed(EVALUATE_NS), diagnose: train, basis: Basis::Guess }
    }

    /// Of one run of `config`, start to end; at most, where it may end early.
    pub fn time(&self, config: &Config, diagnostics: Diagnostics) -> Duration {
        let work = Work::after(config, None);
        let diagnose_s = match diagnostics {
            Diagnostics::On => work.diagnosed / self.diagnose,
            Diagnostics::Off => 0.0,
        };
        let seconds = work.trained / self.train + work.evaluated / self.evaluate + diagnose_s;
        START_UP + Duration::from_secs_f64(seconds)
    }
}

/// Of runs that take these times, so many of them at a time.
pub fn together(times: impl Iterator<Item = Duration> + Clone, at_once: u32) -> Duration {
    let longest = times.clone().max().unwrap_or_default();
    longest.max(times.sum::<Duration>() / at_once.max(1))
}

/// The multiply–adds of a forward pass over an image: by these a network is known as one of those that were measured.
fn multiply_adds(config: &Config) -> u64 {
    // A config that was checked has a network.
    config.network().map_or(0, |steps| network::cost::multiply_adds(&steps))
}

/// Images of a run.
struct Work {
    trained: f64,
    evaluated: f64,
    /// As many as would take as long to train on.
    diagnosed: f64,
}

impl Work {
    /// After `steps`, or at the end.
    fn after(config: &Config, steps: Option<u64>) -> Self {
        let data = &config.data;
        let limit = |count: u32, limit: Option<u32>| limit.map_or(count, |limit| count.min(limit));
        let train = data.train_images();
        let validation = limit(data.held_out(), data.eval_limit);
        let test = limit(data.set.test_len(), data.eval_limit);
        let length = match steps {
            Some(steps) => Length::after(&config.train, u64::from(train), steps),
            None => Length::of(&config.train, u64::from(train)),
        };
        let an_epoch = f64::from(validation) + f64::from(validation.min(train));
        // Gradients after the first, the middle and the last epoch, curvature after the last: sizes as in
        // `train::diagnose`, weights from runs of both models on all and on few of the images.
        let gradient = f64::from((train / 8).clamp(256, 1024).min(train));
        let curvature = f64::from((train / 48).min(256));
        Self {
            diagnosed: 1.2 * gradient * f64::from(length.epochs.min(3)) + 28.0 * curvature,
            trained: length.images as f64,
            evaluated: an_epoch * f64::from(length.epochs) + f64::from(test),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::samples;
    use crate::experiment::config::PresetName;

    #[test]
    fn the_same_config_is_measured_first_and_a_guess_says_that_it_is_one() {
        let profile = samples::profile();
        let [fast, slow] = [0, 1].map(|arm| {
            let mut record = samples::finished(&profile.arms[arm], 0).record;
            let outcome = record.outcome.as_mut().unwrap();
            outcome.steps = steps(&record.trial.config);
            outcome.diagnose_ns = Some(1_500_000_000);
            record
        });
        let (plan, class) = (fast.plan.clone(), fast.environment_class.clone());
        let records = [fast.clone(), slow.clone()];
        let pace = |arm: usize, records: &[RunRecord]| {
            Pace::of(&profile.arms[arm].config, &plan, Some(&class), records)
        };
        assert_eq!(pace(0, &records).basis, Basis::Measured { runs: 1 });
        assert_eq!(pace(2, &records).basis, Basis::Measured { runs: 2 });
        assert_eq!(pace(0, &[]).basis, Basis::Guess);
        let outcome = fast.outcome.as_ref().unwrap();
        let alone = outcome.train_ns + outcome.evaluate_ns;
        let whole = alone + outcome.diagnose_ns.unwrap();
        let pace = pace(0, &records);
        for (diagnostics, expected) in [(Diagnostics::Off, alone), (Diagnostics::On, whole)] {
            let expected = START_UP + Duration::from_nanos(expected);
            let found = pace.time(&profile.arms[0].config, diagnostics);
            assert!(found.abs_diff(expected) < Duration::from_millis(1), "{found:?} {expected:?}");
        }
    }

    /// Of the whole run, on 48,000 training images.
    fn steps(config: &Config) -> u64 {
        Length::of(&config.train, 48_000).steps
    }

    #[test]
    fn a_run_that_ended_early_is_paced_by_the_steps_it_made() {
        let arm = &samples::profile().arms[0];
        let whole = samples::finished(arm, 0).record;
        let [mut whole, mut half] = [whole.clone(), whole];
        let outcome = whole.outcome.as_mut().unwrap();
        (outcome.steps, outcome.train_ns) = (steps(&arm.config), 100_000_000_000);
        let outcome = half.outcome.as_mut().unwrap();
        (outcome.steps, outcome.train_ns) = (steps(&arm.config) / 2, 50_000_000_000);
        let [whole, half] = [whole, half].map(|record| Pace::measured(&[&record]).unwrap().train);
        assert!((whole - half).abs() < 0.001 * whole, "{whole} {half}");
    }

    #[test]
    fn a_budget_of_steps_cuts_the_images_and_the_evaluations() {
        let mut config = samples::profile().arms[0].config.clone();
        config.train.batch = 64;
        config.train.max_steps = Some(750 + 75);
        let work = Work::after(&config, None);
        assert_eq!(work.trained, 48_000.0 + 4_800.0);
        // Two epochs are begun: 12,000 images of training and of validation each time, and the test.
        assert_eq!(work.evaluated, 2.0 * 24_000.0 + 10_000.0);
    }

    /// The deep study was said to take 20 hours. An epoch of it was measured to take 261 s of training, 31 s of the
    /// evaluation that repeats, and it has 600 a seed.
    #[test]
    fn guesses_are_near_what_was_measured_on_two_cores() {
        let mut plan = samples::finished(&samples::profile().arms[0], 0).record.plan;
        plan.threads = 2;
        let config = |model, set, epochs| {
            let mut config = samples::profile().arms[0].config.clone();
            (config.data.set, config.train.epochs) = (set, epochs);
            config.model.preset_mut().name = model;
            (config.data.train_limit, config.data.eval_limit) = (None, None);
            config
        };
        let (mnist, cifar) = (crate::dataset::Name::mnist(), crate::dataset::Name::cifar10());
        for (model, set, epochs, train_s, evaluate_s, diagnose_s) in [
            (PresetName::SimpleCnn, mnist, 5, 77.0, 11.2, 3.6),
            (PresetName::SimpleCnn, cifar, 10, 190.0, 26.0, 5.0),
            (PresetName::ImprovedCnn, cifar, 1, 257.0, 48.5, 63.0),
            (PresetName::ImprovedCnn, cifar, 600, 600.0 * 261.0, 600.0 * 31.0, 100.0),
        ] {
            let config = config(model, set, epochs);
            let (pace, work) = (Pace::guess(&config, &plan), Work::after(&config, None));
            let near =
                |guess: f64, measured: f64, within: f64| (1.0 / within..within).contains(&(guess / measured));
            let (train, evaluate) = (work.trained / pace.train, work.evaluated / pace.evaluate);
            assert!(
                near(train, train_s, 1.2) && near(evaluate, evaluate_s, 1.2),
                "{model:?}: {train} {evaluate}"
            );
            let diagnose = work.diagnosed / pace.diagnose;
            assert!(near(diagnose, diagnose_s, 2.0), "{model:?}: {diagnose}");
        }
    }

    #[test]
    fn runs_at_once_take_as_long_as_their_share_and_at_least_as_the_longest() {
        let seconds = |seconds: &[u64]| seconds.iter().map(|&s| Duration::from_secs(s)).collect::<Vec<_>>();
        let (even, odd) = (seconds(&[10, 10, 10, 10]), seconds(&[1, 1, 1, 30]));
        let all = |times: &[Duration], at_once| together(times.iter().copied(), at_once).as_secs();
        assert_eq!((all(&even, 1), all(&even, 4)), (40, 10));
        assert_eq!((all(&odd, 1), all(&odd, 4)), (33, 30));
        assert_eq!(all(&[], 4), 0);
    }
}
