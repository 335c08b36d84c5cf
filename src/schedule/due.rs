//! Which trials of an experiment are due.

use std::collections::BTreeMap;

use crate::experiment::{Arm, Experiment, Plan, PlanAsked, PlanHash, Trial, TrialId};
use crate::machine::{Environment, EnvironmentClass};
use crate::record::{Holder, RunRecord, Standing, Wanted, are_together};

/// One trial of a profile under the plan of its arm, and where it stands.
#[derive(Clone, PartialEq, Debug)]
pub struct Item<'a> {
    pub experiment: &'a Experiment,
    pub arm: &'a Arm,
    pub trial: Trial,
    pub id: TrialId,
    pub plan: Plan,
    pub plan_hash: PlanHash,
    pub standing: Standing<'a>,
}

impl<'a> Item<'a> {
    /// The run that stands for it, where it is done.
    fn run(&self) -> Option<&'a RunRecord> {
        match self.standing {
            Standing::Done(record) => Some(record),
            _ => None,
        }
    }

    /// What is run: arms that differ by plan alone share a trial.
    pub fn key(&self) -> (TrialId, PlanHash) {
        (self.id, self.plan_hash)
    }

    /// Neither done nor diverged, which a rerun would only repeat, nor under way.
    pub fn is_due(&self) -> bool {
        matches!(self.standing, Standing::Missing | Standing::Failed { .. })
    }
}

/// What a run has to be for it to stand for a trial.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub plan: &'a PlanAsked,
    /// Of this machine; `None` where runs of any machine count.
    pub environment: Option<&'a Environment>,
    /// Whether it must have had the machine to itself.
    pub alone: bool,
}

impl Asked<'_> {
    /// The class of the runs under `plan`.
    pub fn class(&self, plan: &Plan) -> Option<EnvironmentClass> {
        self.environment.map(|environment| environment.with_threads(plan.threads).class())
    }
}

/// Every trial of the profile in the order it would run, with at most `seeds` seeds.
///
/// `holder` says who has the claim on a trial under a plan.
pub fn items<'a, E>(
    experiment: &'a Experiment,
    seeds: Option<usize>,
    asked: &Asked,
    records: &'a [RunRecord],
    holder: impl Fn(&TrialId, &PlanHash) -> Result<Option<Holder>, E>,
) -> Result<Vec<Item<'a>>, E> {
    let definition = &experiment.profile;
    let kept = seeds.unwrap_or(usize::MAX).saturating_mul(definition.arms.len());
    // Of ten thousand trials each would look through the runs of all.
    let mut of_trial: BTreeMap<TrialId, Vec<&RunRecord>> = BTreeMap::new();
    records.iter().for_each(|record| of_trial.entry(record.trial_id).or_default().push(record));
    let item = |(arm, trial): (usize, Trial)| {
        let id = trial.id();
        let arm = &definition.arms[arm];
        let plan = asked.plan.of(arm);
        let (class, plan_hash) = (asked.class(&plan), plan.hash());
        let wanted = Wanted { trial: id, plan: plan_hash, class, alone: asked.alone };
        let runs = of_trial.get(&id).into_iter().flatten().copied();
        let standing = wanted.standing(runs, holder(&id, &plan_hash)?);
        Ok(Item { experiment, arm, trial, id, plan, plan_hash, standing })
    };
    // Seeds are outermost, so that the first so many seeds are the first so many trials.
    definition.trials().take(kept).map(item).collect()
}

/// Makes the trials of a seed due again, all of them, that are not measured together: neither by the runs there are nor once
/// what is missing is trained. Where one diverged or is under way, they cannot be. `items` are in the order of [`items`].
pub fn retime(items: &mut [Item]) {
    let is_same = |one: &Item, other: &Item| {
        (&one.experiment.id, one.trial.seed) == (&other.experiment.id, other.trial.seed)
    };
    for block in items.chunk_by_mut(is_same) {
        let can_be = block.len() > 1 && block.iter().all(|item| item.is_due() || item.run().is_some());
        let runs: Option<Vec<&RunRecord>> = block.iter().map(Item::run).collect();
        if can_be && !runs.is_some_and(|runs| are_together(&runs)) {
            block.iter_mut().for_each(|item| item.standing = Standing::Missing);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::analyse::samples;
    use crate::record::Status;

    fn nobody(_: &TrialId, _: &PlanHash) -> Result<Option<Holder>, Infallible> {
        Ok(None)
    }

    #[test]
    fn what_is_done_or_diverged_is_not_due_and_what_failed_is() {
        let experiment = samples::experiment();
        let profile = &experiment.profile;
        let mut records: Vec<_> = (0..3).map(|arm| samples::finished(&profile.arms[arm], 0).record).collect();
        records[1].status = Status::Diverged { step: 3, loss: "NaN".to_owned() };
        records[2].status = Status::Failed { reason: "killed".to_owned() };
        let (plan, environment) =
            (PlanAsked::exactly(records[0].plan.clone()), records[0].environment.clone());
        let wanted = super::Asked { plan: &plan, environment: Some(&environment), alone: true };
        let found = items(&experiment, Some(2), &wanted, &records, nobody).unwrap();
        let states: Vec<_> = found.iter().map(|item| item.standing.name()).collect();
        assert_eq!(states, ["done", "diverged", "failed", "missing", "missing", "missing"]);
        let due: Vec<_> = found.iter().map(Item::is_due).collect();
        assert_eq!(due, [false, false, true, true, true, true]);
        assert_eq!(found[0].arm.name.en(), "batch 64");
    }

    #[test]
    fn a_block_that_was_interrupted_is_due_again_for_its_times() {
        let experiment = samples::experiment();
        let profile = &experiment.profile;
        let mut records: Vec<RunRecord> = Vec::new();
        for seed in [0, 1] {
            for (place, arm) in profile.arms.iter().enumerate() {
                let mut record = samples::finished(arm, seed).record;
                // The second arm of seed 1 ran three hours later.
                let hour = 3 + if (seed, place) == (1, 1) { 3 } else { 0 };
                record.started = format!("2026-01-02T{hour:02}:{:02}:00Z", 10 * seed + 2 * place as u64);
                record.ended = format!("2026-01-02T{hour:02}:{:02}:00Z", 10 * seed + 2 * place as u64 + 1);
                record.block = Some(crate::record::Block { block: seed, place: place as u32 });
                records.push(record);
            }
        }
        // Of seed 2 one arm is done, which an earlier experiment may have trained: those that are missing would come too late.
        records.push(samples::finished(&profile.arms[0], 2).record);
        let plan = PlanAsked::exactly(records[0].plan.clone());
        let wanted = super::Asked { plan: &plan, environment: None, alone: true };
        let due = |retimed: bool| -> Vec<bool> {
            let mut found = items(&experiment, Some(3), &wanted, &records, nobody).unwrap();
            if retimed {
                retime(&mut found);
            }
            found.iter().map(Item::is_due).collect()
        };
        assert_eq!(due(false), [false, false, false, false, false, false, false, true, true]);
        assert_eq!(due(true), [false, false, false, true, true, true, true, true, true]);
    }

    #[test]
    fn a_trial_another_process_runs_is_not_due() {
        let experiment = samples::experiment().under(&"smoke".into()).unwrap();
        let holder = Holder { pid: 7, since: String::new() };
        let plan = PlanAsked::exactly(samples::finished(&samples::profile().arms[0], 0).record.plan);
        let wanted = super::Asked { plan: &plan, environment: None, alone: true };
        let busy = |_: &TrialId, _: &PlanHash| Ok::<_, Infallible>(Some(holder.clone()));
        let found = items(&experiment, None, &wanted, &[], busy).unwrap();
        assert_eq!(found.len(), 3);
        assert!(found.iter().all(|item| !item.is_due() && item.standing.name() == "running"));
    }
}
