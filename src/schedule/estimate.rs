//! How long runs will take, from those there are.

use std::time::Duration;

use crate::experiment::config::ModelName;
use crate::experiment::{Config, Length, Plan};
use crate::machine::EnvironmentClass;
use crate::record::RunRecord;

/// Starting a process with libtorch and decoding the data set, on the machine pinbench was written on.
const START_UP: Duration = Duration::from_secs(2);

/// Images of 28×28 pixels a second and core of SimpleCNN on two small virtual machines, between their 1,250 and 1,900:
/// good for the order of magnitude only.
const GUESSED_TRAIN_PER_CORE: f64 = 1_500.0;
const GUESSED_EVALUATE_PER_CORE: f64 = 5_000.0;

/// Speed of training and of evaluation, in images a second.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Pace {
    pub train: f64,
    pub evaluate: f64,
    pub basis: Basis,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Basis {
    /// So many finished runs of the same model, plan and class.
    Measured { runs: usize },
    /// Nothing like it was measured yet.
    Guess,
}

impl Pace {
    /// From runs of the very config if there are any, else from those of the same model.
    pub fn of(config: &Config, plan: &Plan, class: Option<&EnvironmentClass>, records: &[RunRecord]) -> Self {
        let (plan_hash, hash) = (plan.hash(), config.hash());
        let comparable = |record: &&RunRecord| {
            record.plan_hash == plan_hash
                && class.is_none_or(|class| *class == record.environment_class)
                && record.trial.config.model.name == config.model.name
                && record.trial.config.data.set.shape() == config.data.set.shape()
                && record.outcome.is_some()
        };
        let alike: Vec<_> = records.iter().filter(comparable).collect();
        let same: Vec<_> = alike.iter().copied().filter(|record| record.config_hash == hash).collect();
        let used = if same.is_empty() { alike } else { same };
        Self::measured(&used).unwrap_or_else(|| Self::guess(config, plan))
    }

    fn measured(records: &[&RunRecord]) -> Option<Self> {
        let (mut trained, mut evaluated, mut train_s, mut evaluate_s) = (0.0, 0.0, 0.0, 0.0);
        for record in records {
            let outcome = record.outcome.as_ref()?;
            // Of the steps there were: a run may have ended sooner than its config allows.
            let work = Work::after(&record.trial.config, Some(outcome.steps));
            trained += work.trained;
            evaluated += work.evaluated;
            train_s += outcome.train_ns as f64 / 1e9;
            evaluate_s += outcome.evaluate_ns as f64 / 1e9;
        }
        let is_useful = trained > 0.0 && train_s > 0.0 && evaluate_s > 0.0;
        let basis = Basis::Measured { runs: records.len() };
        is_useful.then(|| Self { train: trained / train_s, evaluate: evaluated / evaluate_s, basis })
    }

    /// Of one trial, also where others train beside it: each of those has one thread too, on a core of its own.
    fn guess(config: &Config, plan: &Plan) -> Self {
        let speed = f64::from(plan.threads.clamp(1, 8)) / cost(config);
        let (train, evaluate) = (GUESSED_TRAIN_PER_CORE * speed, GUESSED_EVALUATE_PER_CORE * speed);
        Self { train, evaluate, basis: Basis::Guess }
    }

    /// Of one run of `config`, start to end; at most, where it may end early.
    pub fn time(&self, config: &Config) -> Duration {
        let work = Work::after(config, None);
        START_UP + Duration::from_secs_f64(work.trained / self.train + work.evaluated / self.evaluate)
    }
}

/// Time an image takes, SimpleCNN on 28×28 pixels being 1. ImprovedCNN has 22 times the multiplications of SimpleCNN on
/// CIFAR-10, 134 million to 6.1, and makes them a little faster.
fn cost(config: &Config) -> f64 {
    let shape = config.data.set.shape();
    let pixels = (shape.height * shape.width) as f64 / (28.0 * 28.0);
    match config.model.name {
        ModelName::SimpleCnn => pixels,
        ModelName::ImprovedCnn => 19.0 * pixels,
    }
}

/// Images of a run.
struct Work {
    trained: f64,
    evaluated: f64,
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
        Self {
            trained: length.images as f64,
            evaluated: an_epoch * f64::from(length.epochs) + f64::from(test),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::samples;

    #[test]
    fn the_same_config_is_measured_first_and_a_guess_says_that_it_is_one() {
        let profile = samples::profile();
        let [fast, slow] = [0, 1].map(|arm| {
            let mut record = samples::finished(&profile.arms[arm], 0).record;
            record.outcome.as_mut().unwrap().steps = steps(&record.trial.config);
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
        let expected = START_UP + Duration::from_nanos(outcome.train_ns + outcome.evaluate_ns);
        let found = pace(0, &records).time(&profile.arms[0].config);
        assert!(found.abs_diff(expected) < Duration::from_millis(1), "{found:?} {expected:?}");
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

    #[test]
    fn the_deep_model_is_guessed_to_be_slower_by_its_work() {
        let plan = samples::finished(&samples::profile().arms[0], 0).record.plan;
        let small = samples::profile().arms[0].config.clone();
        let mut deep = small.clone();
        deep.model.name = ModelName::ImprovedCnn;
        deep.data.set = crate::dataset::Name::Cifar10;
        let [small, deep] = [small, deep].map(|config| Pace::guess(&config, &plan).train);
        assert!((20.0..30.0).contains(&(small / deep)), "{small} {deep}");
    }

    #[test]
    fn trials_at_once_are_guessed_each_as_if_alone_on_one_thread() {
        let config = &samples::profile().arms[0].config;
        let plan = samples::finished(&samples::profile().arms[0], 0).record.plan;
        let alone = Plan { threads: 1, ..plan };
        let beside = Plan { jobs: Some(4), ..alone.clone() };
        assert_eq!(Pace::guess(config, &beside), Pace::guess(config, &alone));
    }
}
