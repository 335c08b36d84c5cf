//! What a reader must know before comparing: why runs are missing, or not comparable.

use std::collections::BTreeSet;
use std::fmt;

use crate::experiment::PlanChange;
use crate::record::{LoadedRun, RunId, Status};
use crate::stream::Seed;
use crate::text;

/// Processor time that others took, as a share of what the run could have had, from which its times are doubtful.
const DISTURBED_SHARE: f64 = 0.05;

/// Each says what is wrong and what to do about it.
#[derive(Clone, PartialEq, Debug)]
pub enum Caveat {
    /// Counted runs were executed in different ways, given as name and hash.
    MixedPlans(Vec<String>),
    /// Counted runs come from machines or builds that differ in what changes time and bits.
    MixedEnvironments(Vec<String>),
    /// Counted runs trained so many at a time, so that each one's times are of a machine it shared.
    SideBySide(Vec<u32>),
    /// A run of another config was among the arm's; it is left out.
    Foreign {
        arm: String,
        run: RunId,
        found: String,
        expected: String,
    },
    /// A run under the plan of another arm was among the arm's; it is left out.
    OtherPlan {
        arm: String,
        run: RunId,
        found: String,
    },
    /// A seed has more than one finished run; the newest counts, or one seed would weigh twice.
    Repeated {
        arm: String,
        seed: Seed,
        counted: RunId,
        left_out: Vec<RunId>,
    },
    /// A counted run did not have the machine to itself.
    Disturbed {
        arm: String,
        seed: Seed,
        share: f64,
    },
    Missing {
        arm: String,
        seeds: Vec<Seed>,
    },
    /// There is a run, and its files are not what they were when it was sealed.
    Damaged {
        arm: String,
        seed: Seed,
        file: String,
    },
    Failed {
        arm: String,
        seed: Seed,
        reason: String,
    },
    Diverged {
        arm: String,
        seed: Seed,
        step: u64,
        loss: String,
    },
}

/// The share of the processor time that others took, where that makes times doubtful: `others` is what they used and over how
/// long, both in seconds.
pub fn disturbed_share(others: Option<(f64, f64)>, steal_share: Option<f64>, cores: u32) -> Option<f64> {
    let used = others.map_or(0.0, |(used_s, watched_s)| used_s / (watched_s * f64::from(cores.max(1))));
    let share = used.max(steal_share.unwrap_or(0.0));
    (share > DISTURBED_SHARE).then_some(share)
}

impl Caveat {
    /// Whether times must not be put side by side while this holds.
    pub fn bars_times(&self) -> bool {
        matches!(self, Self::MixedPlans(_) | Self::MixedEnvironments(_) | Self::SideBySide(_))
    }

    /// Why a table or figure of times is empty while this holds; a main clause.
    pub fn why_no_times(&self) -> &'static str {
        match self {
            Self::SideBySide(_) => {
                "the runs trained several at a time, so that each one's time is of a machine it shared"
            }
            _ => "the runs were executed under different plans or in different environments",
        }
    }

    /// What of plans and environments keeps the times of the counted runs of all arms from being compared, where arms are
    /// meant to differ in the keys of the plan that are `varied`.
    pub fn of_comparison(counted: &[&LoadedRun], varied: &PlanChange) -> Vec<Self> {
        let mut plans: Vec<(_, String)> = Vec::new();
        for run in counted {
            let shared = varied.apart_from(&run.record.plan);
            if plans.iter().all(|(other, _)| *other != shared) {
                plans.push((shared, plan(run)));
            }
        }
        let class = |run: &&LoadedRun| match varied.threads {
            // How many threads there are is then a matter of the arm and not of the machine.
            Some(_) => run.record.environment.with_threads(0).class().to_string(),
            None => run.record.environment_class.to_string(),
        };
        let classes: BTreeSet<String> = counted.iter().map(class).collect();
        let beside = counted.iter().map(|run| run.record.beside).filter(|&beside| beside > 0);
        let at_once: BTreeSet<u32> = beside.map(|beside| beside + 1).collect();
        let mut caveats = Vec::new();
        if plans.len() > 1 {
            let names: BTreeSet<String> = plans.into_iter().map(|(_, name)| name).collect();
            caveats.push(Self::MixedPlans(names.into_iter().collect()));
        }
        if classes.len() > 1 {
            caveats.push(Self::MixedEnvironments(classes.into_iter().collect()));
        }
        if !at_once.is_empty() {
            caveats.push(Self::SideBySide(at_once.into_iter().collect()));
        }
        caveats
    }

    /// That other processes or virtual machines took the processor from a counted run. Of one that was meant to share the
    /// machine nobody needs to be told: its times are barred.
    pub fn of_disturbance(arm: &str, run: &LoadedRun) -> Option<Self> {
        let outcome = run.record.outcome.as_ref().filter(|_| run.record.is_alone())?;
        let others = outcome.others_cpu_s.zip(run.record.watched_s());
        let share = disturbed_share(others, outcome.steal_share, run.record.environment.cores)?;
        Some(Self::Disturbed { arm: arm.to_owned(), seed: run.record.trial.seed, share })
    }

    /// Why a run that did not finish did not.
    pub fn of_status(arm: &str, run: &LoadedRun) -> Option<Self> {
        let (arm, seed) = (arm.to_owned(), run.record.trial.seed);
        match &run.record.status {
            Status::Finished => None,
            Status::Diverged { step, loss } => {
                Some(Self::Diverged { arm, seed, step: *step, loss: loss.clone() })
            }
            Status::Failed { reason } => Some(Self::Failed { arm, seed, reason: reason.clone() }),
        }
    }
}

fn plan(run: &LoadedRun) -> String {
    format!("{} {}", run.record.plan.name, run.record.plan_hash.short())
}

impl fmt::Display for Caveat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MixedPlans(plans) => write!(
                f,
                "the runs were executed under different plans ({}), so their times are not comparable and are not \
                 compared; run all arms under one plan",
                plans.join("; ")
            ),
            Self::MixedEnvironments(classes) => write!(
                f,
                "the runs come from different environments ({}), so their times are not comparable and are not \
                 compared; run all arms on one machine",
                classes.join("; ")
            ),
            Self::SideBySide(jobs) => {
                let jobs: Vec<String> = jobs.iter().map(u32::to_string).collect();
                write!(
                    f,
                    "the runs trained {} at a time, so their times are of a shared machine and are compared with \
                     nothing; run without --jobs to measure times",
                    jobs.join(" or ")
                )
            }
            Self::Foreign { arm, run, found, expected } => write!(
                f,
                "run {run} was given for '{arm}' but has config {found}, not {expected}; it is left out"
            ),
            Self::OtherPlan { arm, run, found } => {
                write!(f, "run {run} was given for '{arm}' but has plan {found}; it is left out")
            }
            Self::Repeated { arm, seed, counted, left_out } => {
                let left_out: Vec<String> = left_out.iter().map(RunId::to_string).collect();
                write!(
                    f,
                    "'{arm}' has more than one finished run of seed {seed}; the newest, {counted}, counts, and not {}",
                    left_out.join(", ")
                )
            }
            Self::Disturbed { arm, seed, share } => write!(
                f,
                "'{arm}', seed {seed}: others took {} % of the processor time meanwhile, so its times are \
                 doubtful; run it again on an idle machine",
                text::fixed(share * 100.0, 0)
            ),
            Self::Missing { arm, seeds } => {
                let seeds: Vec<String> = seeds.iter().map(Seed::to_string).collect();
                let s = if seeds.len() == 1 { "" } else { "s" };
                write!(f, "'{arm}' has no run of seed{s} {}", seeds.join(", "))
            }
            Self::Damaged { arm, seed, file } => write!(
                f,
                "'{arm}', seed {seed}: its run is damaged ({file}) and does not count; run it again"
            ),
            Self::Failed { arm, seed, reason } => write!(f, "'{arm}', seed {seed}: failed: {reason}"),
            Self::Diverged { arm, seed, step, loss } => write!(
                f,
                "'{arm}', seed {seed}: diverged at step {step}, where the loss was {loss}; it is left out of every mean"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::samples;
    use crate::experiment::plan::{Device, Plan, PlanName};

    #[test]
    fn runs_of_one_plan_and_environment_need_no_warning() {
        let profile = samples::profile();
        let runs = [samples::finished(&profile.arms[0], 0), samples::finished(&profile.arms[1], 0)];
        assert_eq!(Caveat::of_comparison(&[&runs[0], &runs[1]], &PlanChange::default()), []);
    }

    #[test]
    fn a_second_plan_or_environment_is_named_and_bars_times() {
        let profile = samples::profile();
        let mut runs = [samples::finished(&profile.arms[0], 0), samples::finished(&profile.arms[1], 0)];
        runs[1].record.plan = Plan::named(PlanName::Eager, 2, Device::Cpu);
        runs[1].record.plan_hash = runs[1].record.plan.hash();
        runs[1].record.environment.cores = 64;
        runs[1].record.environment_class = runs[1].record.environment.class();
        let caveats = Caveat::of_comparison(&[&runs[0], &runs[1]], &PlanChange::default());
        assert_eq!(caveats.len(), 2);
        assert!(caveats.iter().all(Caveat::bars_times));
        let text = format!("{} {}", caveats[0], caveats[1]);
        assert!(text.contains("eager ") && text.contains("tuned ") && text.contains("64 × "), "{text}");
    }

    #[test]
    fn plans_that_differ_by_what_the_arms_vary_bar_no_times() {
        let profile = samples::profile();
        let mut runs = [samples::finished(&profile.arms[0], 0), samples::finished(&profile.arms[1], 0)];
        let varied = PlanChange::parse("plan.workers=2").unwrap();
        runs[1].record.plan = varied.apply(&runs[1].record.plan);
        runs[1].record.plan_hash = runs[1].record.plan.hash();
        let caveats = |varied: &PlanChange| Caveat::of_comparison(&[&runs[0], &runs[1]], varied);
        assert_eq!(caveats(&PlanChange::default()).len(), 1);
        assert_eq!(caveats(&varied), []);
    }

    #[test]
    fn runs_that_trained_side_by_side_have_no_times_to_compare() {
        let profile = samples::profile();
        let mut runs = [samples::finished(&profile.arms[0], 0), samples::finished(&profile.arms[1], 0)];
        for run in &mut runs {
            run.record.beside = 3;
            // Its siblings had the rest of the machine, which is no disturbance.
            run.record.outcome.as_mut().unwrap().others_cpu_s = Some(1e6);
            assert_eq!(Caveat::of_disturbance("64", run), None);
        }
        let caveats = Caveat::of_comparison(&[&runs[0], &runs[1]], &PlanChange::default());
        assert_eq!(caveats, [Caveat::SideBySide(vec![4])]);
        assert!(caveats[0].bars_times() && caveats[0].to_string().contains("4 at a time"), "{}", caveats[0]);
    }

    #[test]
    fn a_run_that_shared_its_machine_is_doubted() {
        let mut run = samples::finished(&samples::profile().arms[0], 0);
        assert_eq!(Caveat::of_disturbance("64", &run), None);
        let outcome = run.record.outcome.as_mut().unwrap();
        (outcome.others_cpu_s, outcome.watched_ns) = (Some(4.0), Some(4_000_000_000)); // one of its two cores
        let text = Caveat::of_disturbance("64", &run).unwrap().to_string();
        assert!(text.contains("others took 50 %"), "{text}");
    }

    /// What others used during the diagnostics was divided by the time of the training alone, so that pages of a busy
    /// machine with two cores said "others took 624 % of the processor time".
    #[test]
    fn what_others_took_is_a_share_of_the_time_they_were_watched_for() {
        let mut run = samples::finished(&samples::profile().arms[0], 0);
        let share = |run: &LoadedRun| match Caveat::of_disturbance("64", run) {
            Some(Caveat::Disturbed { share, .. }) => Some(share),
            _ => None,
        };
        // Of an older run: 2.3 s of training within the 90 s from its start to its end, on two cores.
        let outcome = run.record.outcome.as_mut().unwrap();
        (outcome.wall_ns, outcome.others_cpu_s) = (2_270_000_000, Some(45.0));
        assert_eq!(share(&run), Some(0.25));
        // Counted since it was resumed, which is nobody knows how long ago: no percent is better than a wrong one.
        run.record.outcome.as_mut().unwrap().resumed = vec![7];
        assert_eq!(share(&run), None);
        run.record.outcome.as_mut().unwrap().watched_ns = Some(30_000_000_000);
        assert_eq!(share(&run), Some(0.75));
    }
}
