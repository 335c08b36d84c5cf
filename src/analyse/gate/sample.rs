//! What the gate looks at of one run.

use std::collections::BTreeMap;

use crate::analyse::measure::Measures;
use crate::digest::{Digest, Hasher};
use crate::experiment::baseline::Gauge;
use crate::experiment::{ConfigHash, Plan, PlanHash};
use crate::record::{LoadedRun, Status};
use crate::row::{EpochRow, Split};
use crate::stream::Seed;

#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    /// Label of the arm.
    pub arm: String,
    pub config_hash: ConfigHash,
    pub seed: Seed,
    pub environment_class: String,
    pub plan: Plan,
    pub plan_hash: PlanHash,
    /// Version of the program that ran it.
    pub pinbench: String,
    /// It has a planted fault: it is judged like any other and never accepted.
    pub is_planted: bool,
    pub ending: Ending,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Ending {
    Finished(Numbers),
    /// The loss was not finite.
    Diverged {
        step: u64,
        loss: String,
    },
    /// It was asked for and measured nothing: a process that was killed is no reason to judge by the others alone.
    Failed {
        reason: String,
    },
}

/// What a finished run measured.
#[derive(Clone, PartialEq, Debug)]
pub struct Numbers {
    pub values: BTreeMap<Gauge, f64>,
    /// Over how many images an accuracy is a share.
    pub images: BTreeMap<Gauge, u32>,
    /// Of the final weights.
    pub weights: Digest,
    /// Over the bits of every loss and accuracy of the epochs.
    pub measured: Digest,
}

impl Sample {
    /// `None` of a finished run without an outcome, which every one has.
    pub fn of(arm: &str, run: &LoadedRun) -> Option<Self> {
        let record = &run.record;
        let ending = match &record.status {
            Status::Finished => Ending::Finished(Numbers::of(run)?),
            Status::Diverged { step, loss } => Ending::Diverged { step: *step, loss: loss.clone() },
            Status::Failed { reason } => Ending::Failed { reason: reason.clone() },
        };
        Some(Self {
            arm: arm.to_owned(),
            config_hash: record.config_hash,
            seed: record.trial.seed,
            environment_class: record.environment_class.to_string(),
            plan: record.plan.clone(),
            plan_hash: record.plan_hash,
            pinbench: record.environment.pinbench.clone(),
            is_planted: record.planted.is_some(),
            ending,
        })
    }
}

impl Numbers {
    /// `None` without an outcome, which every finished run has.
    fn of(run: &LoadedRun) -> Option<Self> {
        let outcome = run.record.outcome.as_ref()?;
        let Measures { train, validation, test, .. } = Measures::of(run);
        let mut values = BTreeMap::new();
        for (gauge, value) in [
            (Gauge::TrainLoss, train.map(|score| score.loss)),
            (Gauge::TrainAcc, train.map(|score| score.accuracy)),
            (Gauge::ValLoss, validation.map(|score| score.loss)),
            (Gauge::ValAcc, validation.map(|score| score.accuracy)),
            (Gauge::TestAcc, test.map(|score| score.accuracy)),
        ] {
            if let Some(value) = value {
                values.insert(gauge, value);
            }
        }
        let mut images = BTreeMap::new();
        for (gauge, split) in [
            (Gauge::TrainAcc, Split::Train),
            (Gauge::ValAcc, Split::Validation),
            (Gauge::TestAcc, Split::Test),
        ] {
            if let Some(row) = run.epochs.iter().find(|row| row.split == split) {
                images.insert(gauge, row.images);
            }
        }
        Some(Self { values, images, weights: outcome.final_weights, measured: measured(&run.epochs) })
    }
}

/// Not the times of the rows: they are never the same twice.
fn measured(epochs: &[EpochRow]) -> Digest {
    let mut rows = epochs.to_vec();
    rows.sort_by_key(|row| (row.epoch, row.split));
    let mut hasher = Hasher::new();
    for row in rows {
        hasher.update(&row.epoch.to_le_bytes());
        hasher.update(row.split.name().as_bytes());
        hasher.update(b"\0");
        hasher.update(&row.loss.to_bits().to_le_bytes());
        hasher.update(&row.accuracy.to_bits().to_le_bytes());
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::samples;

    fn run() -> LoadedRun {
        samples::finished(&samples::profile().arms[0], 0)
    }

    fn numbers(run: &LoadedRun) -> Numbers {
        match Sample::of("64", run).unwrap().ending {
            Ending::Finished(numbers) => numbers,
            other => panic!("the run finished: {other:?}"),
        }
    }

    #[test]
    fn a_sample_has_the_last_scores() {
        let run = run();
        let numbers = numbers(&run);
        let last = run.epochs.iter().rfind(|row| row.split == Split::Validation).unwrap();
        assert_eq!(numbers.values[&Gauge::ValAcc], last.accuracy);
        assert_eq!(numbers.values.len(), Gauge::ALL.len());
        assert_eq!(numbers.images[&Gauge::TestAcc], 12_000);
    }

    #[test]
    fn the_digest_of_what_was_measured_moves_with_a_bit_and_not_with_a_time() {
        let first = numbers(&run()).measured;
        let mut other = run();
        other.epochs.reverse();
        other.epochs[0].wall_ns += 1;
        assert_eq!(numbers(&other).measured, first);
        other.epochs[0].loss = f64::from_bits(other.epochs[0].loss.to_bits() + 1);
        assert_ne!(numbers(&other).measured, first);
    }

    #[test]
    fn a_failed_run_and_a_diverged_one_say_how_they_ended() {
        let mut run = run();
        run.record.status = Status::Failed { reason: "killed".to_owned() };
        let ending = Sample::of("64", &run).unwrap().ending;
        assert_eq!(ending, Ending::Failed { reason: "killed".to_owned() });
        run.record.status = Status::Diverged { step: 7, loss: "NaN".to_owned() };
        let ending = Sample::of("64", &run).unwrap().ending;
        assert_eq!(ending, Ending::Diverged { step: 7, loss: "NaN".to_owned() });
    }
}
