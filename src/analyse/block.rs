//! Which seeds have times that may be put side by side.
//!
//! A machine drifts over hours, so arms are run in blocks, one after the other within a seed, and times are compared within
//! a block. Whether a block was one is not believed but looked up: in the stamps of its runs, the program and the machine
//! that ran them, and in who else used the processor.

use std::collections::{BTreeMap, BTreeSet};

use crate::analyse::measure::WARM_UP_STEPS;
use crate::experiment::PlanChange;
use crate::machine::GpuClocks;
use crate::record::{LoadedRun, RunId, RunRecord, are_together};
use crate::stream::Seed;
use crate::words::Words;

/// Why the times of a seed's runs are compared with nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Barred {
    /// They trained side by side, or as a cluster's tasks, so that each one's times may be of a machine it shared.
    SideBySide,
    /// Its arms ran under different plans, given as name and hash.
    Plans(Vec<String>),
    /// Its arms ran on machines or builds that differ in what changes time.
    Environments(Vec<String>),
    /// Its arms ran by different builds of this program.
    Programs,
    /// Its arms did not follow each other closely, or were not planned to.
    Apart,
    /// Heat or power held a GPU's clock down while one of its arms ran.
    Throttled,
    /// Others used the processor while one of its arms ran.
    Disturbed,
    /// Most seeds ran under another plan or on another machine.
    Elsewhere,
    /// The run is a few steps, which are mostly the first one.
    Short,
}

impl Barred {
    /// Whether each run by itself is timed well all the same.
    pub fn is_of_comparison(&self) -> bool {
        matches!(self, Self::Programs | Self::Apart | Self::Disturbed)
    }

    /// What to do about it.
    pub fn advice(&self, words: Words) -> &'static str {
        words.word(match self {
            Self::SideBySide => "caveat.advice-side-by-side",
            Self::Plans(_) => "caveat.advice-plans",
            Self::Environments(_) | Self::Elsewhere => "caveat.advice-environments",
            Self::Programs | Self::Apart => "caveat.advice-retime",
            Self::Throttled => "caveat.advice-throttled",
            Self::Disturbed => "caveat.advice-disturbed",
            Self::Short => "caveat.advice-short",
        })
    }

    /// A main clause, for a table or figure that is empty.
    pub fn say(&self, words: Words) -> String {
        match self {
            Self::SideBySide => words.word("caveat.side-by-side").to_owned(),
            Self::Plans(plans) => words.say("caveat.plans", &[("plans", &plans.join("; "))]),
            Self::Environments(classes) => {
                words.say("caveat.environments", &[("classes", &classes.join("; "))])
            }
            Self::Programs => words.say("caveat.programs", &[]),
            Self::Apart => words.say("caveat.apart", &[]),
            Self::Throttled => words.say("caveat.throttled", &[]),
            Self::Disturbed => words.say("caveat.others-used", &[]),
            Self::Elsewhere => words.say("caveat.elsewhere", &[]),
            Self::Short => words.say("caveat.short", &[("least", &WARM_UP_STEPS)]),
        }
    }
}

/// The seeds whose times are compared, and why those of the others are not. `counted` are runs of arms that are meant to
/// differ in the keys of the plan that are `varied`; a run may be given for several arms.
pub(super) fn blocks(
    counted: &[&LoadedRun],
    varied: &PlanChange,
) -> (BTreeSet<Seed>, BTreeMap<Seed, Barred>) {
    let mut by_seed: BTreeMap<Seed, BTreeMap<&RunId, &LoadedRun>> = BTreeMap::new();
    for run in counted {
        by_seed.entry(run.record.trial.seed).or_default().insert(&run.record.run, run);
    }
    let mut barred = BTreeMap::new();
    let mut groups: Vec<(_, BTreeSet<Seed>)> = Vec::new();
    for (seed, runs) in by_seed {
        let runs: Vec<&LoadedRun> = runs.into_values().collect();
        if let Some(why) = of_block(&runs, varied) {
            barred.insert(seed, why);
            continue;
        }
        let key = (varied.apart_from(&runs[0].record.plan), class(runs[0], varied));
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, seeds)) => drop(seeds.insert(seed)),
            None => groups.push((key, BTreeSet::from([seed]))),
        }
    }
    // Of groups of one size that of the first seed.
    let seeds = || groups.iter().map(|(_, seeds)| seeds);
    let most = seeds().max_by_key(|seeds| (seeds.len(), std::cmp::Reverse(seeds.first().copied())));
    let timed = most.cloned().unwrap_or_default();
    let elsewhere = seeds().flatten().copied().filter(|seed| !timed.contains(seed));
    barred.extend(elsewhere.map(|seed| (seed, Barred::Elsewhere)));
    (timed, barred)
}

/// Of each arm's finished runs of one seed, in the order of their age, the one that counts: together they are a block, where
/// some of them are one, the newest there is; else each is the newest that had the machine to itself, or the newest.
pub(super) fn pick<'a>(arms: &[&[&'a LoadedRun]]) -> Vec<Option<&'a LoadedRun>> {
    let newest = |runs: &&[&'a LoadedRun]| {
        runs.iter().rev().find(|run| run.record.is_alone()).or(runs.last()).copied()
    };
    let newest: Vec<Option<&LoadedRun>> = arms.iter().map(newest).collect();
    let mut anchors: Vec<&LoadedRun> = arms.iter().flat_map(|runs| runs.iter().copied()).collect();
    anchors.sort_by(|one, other| other.record.run.cmp(&one.record.run));
    // Runs of one block are neighbours by age.
    let around = |anchor: &LoadedRun| -> Vec<Option<&'a LoadedRun>> {
        let not_after = |runs: &&[&'a LoadedRun]| {
            runs.iter().rev().find(|run| run.record.run <= anchor.record.run).copied()
        };
        arms.iter().map(not_after).collect()
    };
    let candidates = std::iter::once(newest.clone()).chain(anchors.into_iter().map(around));
    candidates.into_iter().find(|runs| is_block(runs)).unwrap_or(newest)
}

fn is_block(runs: &[Option<&LoadedRun>]) -> bool {
    let distinct: BTreeMap<&RunId, &RunRecord> =
        runs.iter().flatten().map(|run| (&run.record.run, &run.record)).collect();
    runs.iter().all(Option::is_some) && are_together(&distinct.into_values().collect::<Vec<_>>())
}

/// Why the times of these runs, all of one seed, are not compared.
fn of_block(runs: &[&LoadedRun], varied: &PlanChange) -> Option<Barred> {
    if runs.iter().any(|run| run.record.beside > 0) {
        return Some(Barred::SideBySide);
    }
    let shared = |run: &LoadedRun| varied.apart_from(&run.record.plan);
    if runs.iter().any(|run| shared(run) != shared(runs[0])) {
        let name = |run: &&LoadedRun| format!("{} {}", run.record.plan.name, run.record.plan_hash.short());
        return Some(Barred::Plans(sorted(runs.iter().map(name))));
    }
    let classes = sorted(runs.iter().map(|run| class(run, varied)));
    if classes.len() > 1 {
        return Some(Barred::Environments(classes));
    }
    let records: Vec<&RunRecord> = runs.iter().map(|run| &run.record).collect();
    let mut clocks = records.iter().filter_map(|record| record.outcome.as_ref()?.gpu_clocks);
    if clocks.any(GpuClocks::is_throttled) {
        return Some(Barred::Throttled);
    }
    if records.iter().any(|record| record.environment.binary != records[0].environment.binary) {
        return Some(Barred::Programs);
    }
    if records.len() > 1 && !are_together(&records) {
        return Some(Barred::Apart);
    }
    runs.iter().any(|run| disturbance(run).is_some()).then_some(Barred::Disturbed)
}

/// Where threads are varied, how many there are is a matter of the arm and not of the machine.
pub(super) fn class(run: &LoadedRun, varied: &PlanChange) -> String {
    match varied.threads {
        Some(_) => run.record.environment.with_threads(0).class().to_string(),
        None => run.record.environment_class.to_string(),
    }
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    names.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Processor time that others took, as a share of what the run could have had, from which its times are doubtful.
pub const DISTURBED_SHARE: f64 = 0.05;

/// The share of the processor time that others took, where that makes times doubtful: `others` is what they used and over how
/// long, both in seconds.
pub fn disturbed_share(others: Option<(f64, f64)>, steal_share: Option<f64>, cores: u32) -> Option<f64> {
    let used = others.map_or(0.0, |(used_s, watched_s)| used_s / (watched_s * f64::from(cores.max(1))));
    let share = used.max(steal_share.unwrap_or(0.0));
    (share > DISTURBED_SHARE).then_some(share)
}

/// The share of the processor time that others took from a run that was to have the machine to itself, where it makes its
/// times doubtful.
pub(super) fn disturbance(run: &LoadedRun) -> Option<f64> {
    let outcome = run.record.outcome.as_ref().filter(|_| run.record.is_alone())?;
    let others = outcome.others_cpu_s.zip(run.record.watched_s());
    disturbed_share(others, outcome.steal_share, run.record.environment.cores)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::samples;
    use crate::experiment::plan::{Device, Plan, PlanName};
    use crate::machine::GpuClock;

    /// Whole blocks of the seeds.
    fn runs(seeds: &[u64]) -> Vec<LoadedRun> {
        let profile = samples::profile();
        let arms = samples::arms(&profile, seeds);
        arms.into_iter().flat_map(|arm| arm.runs).collect()
    }

    fn of(runs: &[LoadedRun]) -> (BTreeSet<Seed>, BTreeMap<Seed, Barred>) {
        blocks(&runs.iter().collect::<Vec<_>>(), &PlanChange::default())
    }

    /// The runs of one seed, and why its times are barred after `change` to one of them.
    fn barred_by(change: impl Fn(&mut LoadedRun)) -> Option<Barred> {
        let mut runs = runs(&[0, 1]);
        change(runs.iter_mut().rfind(|run| run.record.trial.seed == Seed(1)).unwrap());
        let (timed, mut barred) = of(&runs);
        assert_eq!(timed.contains(&Seed(1)), barred.is_empty());
        assert!(timed.contains(&Seed(0)), "{barred:?}");
        barred.remove(&Seed(1))
    }

    #[test]
    fn a_block_is_timed_only_as_far_as_its_records_bear_it_out() {
        assert_eq!(barred_by(|_| ()), None);
        assert_eq!(barred_by(|run| run.record.beside = 3), Some(Barred::SideBySide));
        assert_eq!(barred_by(|run| run.record.block = None), Some(Barred::Apart));
        let hours_later = |run: &mut LoadedRun| {
            run.record.started = "2026-01-02T19:00:00Z".to_owned();
            run.record.ended = "2026-01-02T19:01:00Z".to_owned();
        };
        assert_eq!(barred_by(hours_later), Some(Barred::Apart));
        let other_program = |run: &mut LoadedRun| {
            run.record.environment.binary = Some(crate::digest::Digest::of(b"another"));
        };
        assert_eq!(barred_by(other_program), Some(Barred::Programs));
        let busy = |run: &mut LoadedRun| {
            let outcome = run.record.outcome.as_mut().unwrap();
            (outcome.others_cpu_s, outcome.watched_ns) = (Some(4.0), Some(4_000_000_000));
        };
        assert_eq!(barred_by(busy), Some(Barred::Disturbed));
        let under = |name| {
            move |run: &mut LoadedRun| {
                run.record.plan = Plan::named(name, 2, Device::Cpu);
                run.record.plan_hash = run.record.plan.hash();
            }
        };
        assert!(matches!(barred_by(under(PlanName::Eager)), Some(Barred::Plans(names)) if names.len() == 2));
        let on = |cores| {
            move |run: &mut LoadedRun| {
                run.record.environment.cores = cores;
                run.record.environment_class = run.record.environment.class();
            }
        };
        assert!(matches!(barred_by(on(64)), Some(Barred::Environments(names)) if names.len() == 2));
    }

    #[test]
    fn seeds_of_another_machine_are_left_out_and_those_of_the_most_are_compared() {
        let mut runs = runs(&[0, 1, 2]);
        for run in runs.iter_mut().filter(|run| run.record.trial.seed == Seed(0)) {
            run.record.environment.cores = 64;
            run.record.environment_class = run.record.environment.class();
        }
        let (timed, barred) = of(&runs);
        assert_eq!((timed.len(), &barred[&Seed(0)]), (2, &Barred::Elsewhere));
        assert!(!timed.contains(&Seed(0)));
    }

    /// The newest run of each arm is of two blocks where another experiment shares some of the arms: an older block that is
    /// whole goes before it.
    #[test]
    fn a_whole_block_goes_before_newer_runs_of_two() {
        let old = runs(&[0]);
        let mut newer = old[1].clone();
        newer.record.run = RunId("20260102T090005Z-9".to_owned());
        newer.record.started = "2026-01-02T09:00:05Z".to_owned();
        newer.record.ended = "2026-01-02T09:01:05Z".to_owned();
        let arms: [&[&LoadedRun]; 3] = [&[&old[0]], &[&old[1], &newer], &[&old[2]]];
        let picked: Vec<&RunId> = pick(&arms).into_iter().flatten().map(|run| &run.record.run).collect();
        assert_eq!(picked, [&old[0].record.run, &old[1].record.run, &old[2].record.run]);
        let alone: [&[&LoadedRun]; 1] = [&[&old[1], &newer]];
        assert_eq!(pick(&alone)[0].unwrap().record.run, newer.record.run);
        // Without one each arm's newest counts, its accuracy being as good.
        let mut apart = old[0].clone();
        apart.record.block = None;
        let arms: [&[&LoadedRun]; 2] = [&[&apart], &[&old[1], &newer]];
        assert_eq!(pick(&arms)[1].unwrap().record.run, newer.record.run);
    }

    #[test]
    fn times_of_a_gpu_that_heat_held_down_are_compared_with_nothing() {
        let mut runs = runs(&[0, 1]);
        let cool = GpuClock { sm_mhz: 1980, throttle_reasons: 4 };
        let barred = |runs: &[LoadedRun]| {
            blocks(&runs.iter().collect::<Vec<_>>(), &PlanChange::default()).1.into_iter().collect::<Vec<_>>()
        };
        for run in &mut runs {
            run.record.outcome.as_mut().unwrap().gpu_clocks = Some(GpuClocks { before: cool, after: cool });
        }
        assert_eq!(barred(&runs), []);
        let hot = GpuClock { sm_mhz: 1100, throttle_reasons: 0x40 };
        let index = runs.iter().position(|run| run.record.trial.seed == Seed(1)).unwrap();
        runs[index].record.outcome.as_mut().unwrap().gpu_clocks =
            Some(GpuClocks { before: cool, after: hot });
        assert_eq!(barred(&runs), [(Seed(1), Barred::Throttled)]);
        assert!(!Barred::Throttled.is_of_comparison(), "one run by itself is no better timed");
    }

    #[test]
    fn plans_that_differ_by_what_the_arms_vary_bar_no_times() {
        let mut runs = runs(&[0]);
        let varied = PlanChange::parse("plan.workers=2").unwrap();
        runs[1].record.plan = varied.apply(&runs[1].record.plan);
        runs[1].record.plan_hash = runs[1].record.plan.hash();
        let runs: Vec<&LoadedRun> = runs.iter().collect();
        assert_eq!(blocks(&runs, &varied).0.len(), 1);
        assert_eq!(blocks(&runs, &PlanChange::default()).0.len(), 0);
    }
}
