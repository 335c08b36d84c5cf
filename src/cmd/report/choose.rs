//! Which runs of the store a page is of.

use std::collections::{BTreeMap, BTreeSet};

use pinbench::experiment::plan::{Device, PlanName};
use pinbench::experiment::{Arm, Experiment, PlanAsked, PlanChange, Profile, TrialId};
use pinbench::language::Localised;
use pinbench::machine::{Environment, EnvironmentClass};
use pinbench::record::{Listing, RunId, RunRecord, Status};
use pinbench::stream::Seed;
use pinbench::words::Words;

/// Which of the runs of a profile make a page: of one plan, and of one class, but for seeds that are whole on another alone.
pub(crate) enum Choice {
    Exactly(PlanAsked, Box<Environment>),
    /// Plan and class that have most trials of the profile done; among equals one whose runs had the machine to themselves,
    /// and then that of the newest run. Only of a plan of that name, if one is given.
    Fullest(Option<PlanName>),
}

/// The runs a page is of.
pub(super) struct Chosen<'a> {
    pub records: Vec<&'a RunRecord>,
    /// What is said of the others.
    pub left_out: Option<Localised>,
}

pub(super) fn choose<'a>(listing: &'a Listing, experiment: &Experiment, choice: &Choice) -> Chosen<'a> {
    let profile = &experiment.profile;
    let mut arms_by_trial: BTreeMap<TrialId, Vec<&Arm>> = BTreeMap::new();
    for (arm, trial) in profile.trials() {
        arms_by_trial.entry(trial.id()).or_default().push(&profile.arms[arm]);
    }
    let varied = experiment.varied();
    let arms_of = |record: &RunRecord| -> Vec<&Arm> {
        let of_trial = arms_by_trial.get(&record.trial_id).into_iter().flatten();
        of_trial.copied().filter(|arm| arm.is_under(&record.plan)).collect()
    };
    let mut groups: Vec<(Group, Vec<&RunRecord>)> = Vec::new();
    for record in listing.records.iter().filter(|record| record.planted.is_none()) {
        if arms_of(record).is_empty() {
            continue;
        }
        let machine = match varied.threads {
            Some(_) => record.environment.with_threads(0).class(),
            None => record.environment_class.clone(),
        };
        let group = (varied.apart_from(&record.plan), machine);
        match groups.iter_mut().find(|(known, _)| *known == group) {
            Some((_, records)) => records.push(record),
            None => groups.push((group, vec![record])),
        }
    }
    let is_exactly = |record: &RunRecord, asked: &PlanAsked, environment: &Environment| {
        let class = environment.with_threads(record.plan.threads).class();
        let is_asked = |arm: &&Arm| asked.of(arm) == record.plan;
        record.environment_class == class && arms_of(record).iter().any(is_asked)
    };
    let is_wanted = |(_, records): &(Group, Vec<&RunRecord>)| match choice {
        Choice::Exactly(asked, environment) => is_exactly(records[0], asked, environment),
        Choice::Fullest(name) => name.is_none_or(|name| records[0].plan.name == name),
    };
    let wanted = groups.iter().filter(|group| is_wanted(group)).max_by_key(|(_, records)| rank(records));
    let wanted = wanted.map(|(group, _)| group.clone());
    let (chosen, others): (Vec<_>, Vec<_>) =
        groups.into_iter().partition(|(group, _)| Some(group) == wanted.as_ref());
    let mut records: Vec<&RunRecord> = chosen.into_iter().flat_map(|(_, records)| records).collect();
    let (alike, others): (Vec<_>, Vec<_>) = others
        .into_iter()
        .partition(|((plan, _), _)| wanted.as_ref().is_some_and(|(wanted, _)| wanted == plan));
    let alike: Vec<Vec<&RunRecord>> = alike.into_iter().map(|(_, records)| records).collect();
    let unused = pool(&mut records, alike, profile);
    let others = others.into_iter().flat_map(|(_, records)| records);
    // Those trained for another experiment that shares a trial were never meant for this one.
    let own = others.chain(unused).filter(|record| record.experiment == experiment.id);
    Chosen { records, left_out: left_out(own) }
}

/// What runs have in common whose times compare: the plan, apart from what the arms vary, and the machine.
type Group = ((PlanChange, Device), EnvironmentClass);

/// Records by the trial they are of.
type ByTrial<'a> = BTreeMap<TrialId, Vec<&'a RunRecord>>;

/// Adds the runs of seeds that are whole on another machine and not on the one the page is of, whose own of such a seed then do
/// not count: arms are compared within a machine. Gives back those that are not used. `others` are of the same plan, by
/// machine.
fn pool<'a>(
    records: &mut Vec<&'a RunRecord>,
    others: Vec<Vec<&'a RunRecord>>,
    profile: &Profile,
) -> Vec<&'a RunRecord> {
    if others.is_empty() {
        return Vec::new();
    }
    let finished = |records: &[&'a RunRecord]| {
        let mut by_trial = ByTrial::new();
        for record in records.iter().filter(|record| record.status == Status::Finished) {
            by_trial.entry(record.trial_id).or_default().push(record);
        }
        by_trial
    };
    let has = |by_trial: &ByTrial, (arm, trial): &(usize, TrialId)| {
        let mut of_trial = by_trial.get(trial).into_iter().flatten();
        of_trial.any(|record| profile.arms[*arm].is_under(&record.plan))
    };
    let mut by_seed: BTreeMap<Seed, Vec<(usize, TrialId)>> = BTreeMap::new();
    for (arm, trial) in profile.trials() {
        by_seed.entry(trial.seed).or_default().push((arm, trial.id()));
    }
    let own = finished(records.as_slice());
    let theirs: Vec<_> = others.iter().map(|other| finished(other)).collect();
    let mut unused = Vec::new();
    let mut pooled = BTreeSet::new();
    for seed in &profile.seeds {
        let of_seed = by_seed.get(seed).map_or(&[][..], Vec::as_slice);
        let is_whole = |by_trial: &ByTrial| of_seed.iter().all(|trial| has(by_trial, trial));
        if is_whole(&own) {
            continue;
        }
        let Some(index) = theirs.iter().position(is_whole) else { continue };
        let other = &others[index];
        let is_of = |record: &&&RunRecord| record.trial.seed == *seed;
        records.retain(|record| !is_of(&record));
        records.extend(other.iter().filter(is_of));
        pooled.extend(other.iter().filter(is_of).map(|record| &record.run));
    }
    unused.extend(others.into_iter().flatten().filter(|record| !pooled.contains(&record.run)));
    unused
}

/// The greater, the rather a page is made of these runs: trials that came to their end, whether each had the machine to
/// itself, and the newest that finished, or else that did not.
fn rank<'a>(records: &[&'a RunRecord]) -> (usize, bool, Option<&'a RunId>, Option<&'a RunId>) {
    let is_ended = |record: &&&RunRecord| !matches!(record.status, Status::Failed { .. });
    let ended: BTreeSet<_> =
        records.iter().filter(is_ended).map(|record| (record.trial_id, record.plan_hash)).collect();
    let newest_of = |finished: bool| {
        let of_kind = records.iter().filter(|record| (record.status == Status::Finished) == finished);
        of_kind.map(|record| &record.run).max()
    };
    let is_alone = records.iter().all(|record| record.is_alone());
    (ended.len(), is_alone, newest_of(true), newest_of(false))
}

/// What a page of one plan does not show, without a full stop.
fn left_out<'a>(others: impl Iterator<Item = &'a RunRecord>) -> Option<Localised> {
    let mut by_plan: BTreeMap<String, usize> = BTreeMap::new();
    others.for_each(|record| *by_plan.entry(record.plan.name.to_string()).or_default() += 1);
    let all: usize = by_plan.values().sum();
    let said = |words: Words| {
        let plan = |(plan, runs): (&String, &usize)| {
            words.say("caveat.left-out-plan", &[("plan", plan), ("runs", runs)])
        };
        let plans: Vec<String> = by_plan.iter().map(plan).collect();
        words.count("caveat.left-out", all, &[("plans", &plans.join(", "))])
    };
    (all > 0).then(|| Words::each(said))
}
