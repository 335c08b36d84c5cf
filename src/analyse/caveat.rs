//! What a reader must know before comparing: why runs are missing, or not comparable.

use std::fmt;

use crate::analyse::block::{Barred, named};
use crate::record::{LoadedRun, RunId, Status};
use crate::stream::Seed;
use crate::text;

/// Processor time that others took, as a share of what the run could have had, from which its times are doubtful.
const DISTURBED_SHARE: f64 = 0.05;

/// Each says what is wrong and what to do about it.
#[derive(Clone, PartialEq, Debug)]
pub enum Caveat {
    /// The times of these seeds are compared with nothing.
    Untimed {
        seeds: Vec<Seed>,
        why: Barred,
    },
    /// The counted runs come from several machines or builds, given with their seeds. Each seed's are of one.
    Pooled(Vec<(String, Vec<Seed>)>),
    /// Arms that resolve to one training, which stands under the name of the first.
    OneTraining {
        arm: String,
        others: Vec<String>,
    },
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
    /// So many trainings have more than one finished run, and so many runs do not count, or one seed would weigh twice.
    Repeated {
        trainings: usize,
        left_out: usize,
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
    /// That other processes or virtual machines took the processor from a counted run. Of one that was meant to share the
    /// machine nobody needs to be told: its times are barred.
    pub fn of_disturbance(arm: &str, run: &LoadedRun) -> Option<Self> {
        let share = Self::disturbance(run)?;
        Some(Self::Disturbed { arm: arm.to_owned(), seed: run.record.trial.seed, share })
    }

    /// The share of the processor time that others took from a run that was to have the machine to itself, where it makes its
    /// times doubtful.
    pub fn disturbance(run: &LoadedRun) -> Option<f64> {
        let outcome = run.record.outcome.as_ref().filter(|_| run.record.is_alone())?;
        let others = outcome.others_cpu_s.zip(run.record.watched_s());
        disturbed_share(others, outcome.steal_share, run.record.environment.cores)
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

impl fmt::Display for Caveat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untimed { seeds, why } => {
                write!(f, "the times of {} are compared with nothing: {why}; {}", named(seeds), why.advice())
            }
            Self::Pooled(classes) => {
                let class = |(class, seeds): &(String, Vec<Seed>)| format!("{} on {class}", named(seeds));
                let classes: Vec<String> = classes.iter().map(class).collect();
                write!(
                    f,
                    "accuracies and losses pool runs of several machines: {}. Arms are compared within a seed, so within a \
                     machine; times are not pooled",
                    classes.join("; ")
                )
            }
            Self::OneTraining { arm, others } => {
                let others: Vec<String> = others.iter().map(|other| format!("'{other}'")).collect();
                let are = if others.len() == 1 { "is" } else { "are" };
                write!(
                    f,
                    "{} {are} the same training as '{arm}', and counted once, under that name",
                    text::and(&others)
                )
            }
            Self::Foreign { arm, run, found, expected } => write!(
                f,
                "run {run} was given for '{arm}' but has config {found}, not {expected}; it is left out"
            ),
            Self::OtherPlan { arm, run, found } => {
                write!(f, "run {run} was given for '{arm}' but has plan {found}; it is left out")
            }
            Self::Repeated { trainings, left_out } => {
                let (have, are) =
                    (if *trainings == 1 { "has" } else { "have" }, if *left_out == 1 { "is" } else { "are" });
                write!(
                    f,
                    "{} {have} more than one finished run: of a seed the newest runs that were measured together count, else \
                     the newest of each arm, and {} {are} left out",
                    text::plural(*trainings, "training"),
                    text::plural(*left_out, "run")
                )
            }
            Self::Disturbed { arm, seed, share } => write!(
                f,
                "'{arm}', seed {seed}: others took {} % of the processor time meanwhile, so the times of its \
                 seed are compared with nothing; run it again on an idle machine",
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

    /// Of siblings nobody needs to be told: their times are barred.
    #[test]
    fn siblings_are_no_disturbance() {
        let mut run = samples::finished(&samples::profile().arms[0], 0);
        run.record.beside = 3;
        run.record.outcome.as_mut().unwrap().others_cpu_s = Some(1e6);
        assert_eq!(Caveat::of_disturbance("64", &run), None);
    }

    #[test]
    fn what_is_left_out_of_a_comparison_is_said_with_what_to_do() {
        let seeds = vec![Seed(0), Seed(2), Seed(3)];
        let text = Caveat::Untimed { seeds: seeds.clone(), why: Barred::Apart }.to_string();
        assert!(
            text.contains("seeds 0, 2 and 3 are compared with nothing") && text.contains("--retime"),
            "{text}"
        );
        let text = Caveat::Pooled(vec![("A".to_owned(), vec![Seed(1)]), ("B".to_owned(), seeds)]).to_string();
        assert!(text.contains("seed 1 on A; seeds 0, 2 and 3 on B"), "{text}");
        let others = vec!["64, linear".to_owned(), "64, root".to_owned()];
        let text = Caveat::OneTraining { arm: "64".to_owned(), others }.to_string();
        assert!(text.starts_with("'64, linear' and '64, root' are the same training as '64'"), "{text}");
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
