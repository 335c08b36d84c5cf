//! How long runs will take, from those there are.

use std::time::Duration;

use crate::experiment::{Config, Plan};
use crate::machine::EnvironmentClass;
use crate::record::RunRecord;

/// Starting a process with libtorch and decoding the data set, on the machine pinbench was written on.
const START_UP: Duration = Duration::from_secs(2);

/// Images a second and core of SimpleCNN on a small virtual machine: good for the order of magnitude only.
const GUESSED_TRAIN_PER_CORE: f64 = 1_000.0;
const GUESSED_EVALUATE_PER_CORE: f64 = 3_500.0;

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
        Self::measured(&used).unwrap_or_else(|| Self::guess(plan))
    }

    fn measured(records: &[&RunRecord]) -> Option<Self> {
        let (mut trained, mut evaluated, mut train_s, mut evaluate_s) = (0.0, 0.0, 0.0, 0.0);
        for record in records {
            let outcome = record.outcome.as_ref()?;
            let work = Work::of(&record.trial.config);
            trained += work.trained;
            evaluated += work.evaluated;
            train_s += outcome.train_ns as f64 / 1e9;
            evaluate_s += outcome.evaluate_ns as f64 / 1e9;
        }
        let is_useful = trained > 0.0 && train_s > 0.0 && evaluate_s > 0.0;
        let basis = Basis::Measured { runs: records.len() };
        is_useful.then(|| Self { train: trained / train_s, evaluate: evaluated / evaluate_s, basis })
    }

    fn guess(plan: &Plan) -> Self {
        let cores = f64::from(plan.threads.clamp(1, 8));
        let (train, evaluate) = (GUESSED_TRAIN_PER_CORE * cores, GUESSED_EVALUATE_PER_CORE * cores);
        Self { train, evaluate, basis: Basis::Guess }
    }

    /// Of one run of `config`, start to end.
    pub fn time(&self, config: &Config) -> Duration {
        let work = Work::of(config);
        START_UP + Duration::from_secs_f64(work.trained / self.train + work.evaluated / self.evaluate)
    }
}

/// Images of a whole run.
struct Work {
    trained: f64,
    evaluated: f64,
}

impl Work {
    fn of(config: &Config) -> Self {
        let data = &config.data;
        let limit = |count: f64, limit: Option<u32>| limit.map_or(count, |limit| count.min(f64::from(limit)));
        let all = f64::from(data.set.train_len());
        let train = limit(all * (1.0 - data.validation), data.train_limit);
        let validation = limit(all * data.validation, data.eval_limit);
        let test = limit(f64::from(data.set.test_len()), data.eval_limit);
        let epochs = f64::from(config.train.epochs);
        Self { trained: train * epochs, evaluated: (validation + validation.min(train)) * epochs + test }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::samples;

    #[test]
    fn the_same_config_is_measured_first_and_a_guess_says_that_it_is_one() {
        let profile = samples::profile();
        let [fast, slow] = [0, 1].map(|arm| samples::finished(&profile.arms[arm], 0).record);
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
}
