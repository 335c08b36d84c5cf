//! Which trials of an experiment are due.

use crate::experiment::{Arm, Experiment, PlanHash, ProfileName, Trial, TrialId};
use crate::machine::EnvironmentClass;
use crate::record::{Holder, RunRecord, Standing, Wanted};

/// One trial of a profile, and where it stands.
#[derive(Clone, PartialEq, Debug)]
pub struct Item<'a> {
    pub experiment: &'a Experiment,
    pub profile: ProfileName,
    pub arm: &'a Arm,
    pub trial: Trial,
    pub id: TrialId,
    pub standing: Standing<'a>,
}

impl Item<'_> {
    /// Neither done nor diverged, which a rerun would only repeat, nor under way.
    pub fn is_due(&self) -> bool {
        matches!(self.standing, Standing::Missing | Standing::Failed { .. })
    }

    /// `batch 64`.
    pub fn arm_name(&self) -> String {
        arm_name(self.experiment, self.arm)
    }
}

/// `batch 64`, of an arm of the experiment.
pub fn arm_name(experiment: &Experiment, arm: &Arm) -> String {
    let levels = experiment.factors.iter().zip(&arm.levels);
    let names = levels.map(|(factor, &level)| format!("{} {}", factor.label, factor.levels[level].label));
    let names: Vec<String> = names.collect();
    if names.is_empty() { arm.label.clone() } else { names.join(", ") }
}

/// Every trial of the profile in the order it would run, with at most `seeds` seeds.
///
/// `class` is `None` where runs of any machine count; `alone` asks for runs that had it to themselves. `holder` says who has
/// the claim on a trial.
pub fn items<'a, E>(
    (experiment, profile): (&'a Experiment, ProfileName),
    seeds: Option<usize>,
    (plan, class, alone): (PlanHash, Option<&EnvironmentClass>, bool),
    records: &'a [RunRecord],
    holder: impl Fn(&TrialId) -> Result<Option<Holder>, E>,
) -> Result<Vec<Item<'a>>, E> {
    let definition = experiment.profile(profile);
    let kept = seeds.unwrap_or(usize::MAX).saturating_mul(definition.arms.len());
    let item = |(arm, trial): (usize, Trial)| {
        let id = trial.id();
        let wanted = Wanted { trial: id, plan, class: class.cloned(), alone };
        let standing = wanted.standing(records, holder(&id)?);
        Ok(Item { experiment, profile, arm: &definition.arms[arm], trial, id, standing })
    };
    // Seeds are outermost, so that the first so many seeds are the first so many trials.
    definition.trials().take(kept).map(item).collect()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::analyse::samples;
    use crate::record::Status;

    fn nobody(_: &TrialId) -> Result<Option<Holder>, Infallible> {
        Ok(None)
    }

    #[test]
    fn what_is_done_or_diverged_is_not_due_and_what_failed_is() {
        let experiment = samples::experiment();
        let profile = experiment.profile(ProfileName::Full);
        let mut records: Vec<_> = (0..3).map(|arm| samples::finished(&profile.arms[arm], 0).record).collect();
        records[1].status = Status::Diverged { step: 3, loss: "NaN".to_owned() };
        records[2].status = Status::Failed { reason: "killed".to_owned() };
        let (plan, class) = (records[0].plan_hash, records[0].environment_class.clone());
        let asked = (&experiment, ProfileName::Full);
        let found = items(asked, Some(2), (plan, Some(&class), true), &records, nobody).unwrap();
        let states: Vec<_> = found.iter().map(|item| item.standing.name()).collect();
        assert_eq!(states, ["done", "diverged", "failed", "missing", "missing", "missing"]);
        let due: Vec<_> = found.iter().map(Item::is_due).collect();
        assert_eq!(due, [false, false, true, true, true, true]);
        assert_eq!(found[0].arm_name(), "batch 64");
    }

    #[test]
    fn a_trial_another_process_runs_is_not_due() {
        let experiment = samples::experiment();
        let holder = Holder { pid: 7, since: String::new() };
        let plan = samples::finished(&samples::profile().arms[0], 0).record.plan_hash;
        let busy = |_: &TrialId| Ok::<_, Infallible>(Some(holder.clone()));
        let found = items((&experiment, ProfileName::Smoke), None, (plan, None, true), &[], busy).unwrap();
        assert_eq!(found.len(), 3);
        assert!(found.iter().all(|item| !item.is_due() && item.standing.name() == "running"));
    }
}
