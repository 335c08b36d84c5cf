//! What a reader must know before comparing: why runs are missing, or not comparable.

use std::fmt;

use crate::analyse::block::{Barred, disturbance};
use crate::language::Localised;
use crate::record::{LoadedRun, RunId, Status};
use crate::stream::Seed;
use crate::text;
use crate::words::Words;

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
        arm: Localised,
        others: Vec<Localised>,
    },
    /// A run of another config was among the arm's; it is left out.
    Foreign {
        arm: Localised,
        run: RunId,
        found: String,
        expected: String,
    },
    /// A run under the plan of another arm was among the arm's; it is left out.
    OtherPlan {
        arm: Localised,
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
        arm: Localised,
        seed: Seed,
        share: f64,
    },
    Missing {
        arm: Localised,
        seeds: Vec<Seed>,
    },
    /// There is a run, and its files are not what they were when it was sealed.
    Damaged {
        arm: Localised,
        seed: Seed,
        file: String,
    },
    Failed {
        arm: Localised,
        seed: Seed,
        reason: String,
    },
    Diverged {
        arm: Localised,
        seed: Seed,
        step: u64,
        loss: String,
    },
}

impl Caveat {
    /// That other processes or virtual machines took the processor from a counted run. Of one that was meant to share the
    /// machine nobody needs to be told: its times are barred.
    pub fn of_disturbance(arm: &Localised, run: &LoadedRun) -> Option<Self> {
        let share = disturbance(run)?;
        Some(Self::Disturbed { arm: arm.clone(), seed: run.record.trial.seed, share })
    }

    /// Why a run that did not finish did not.
    pub fn of_status(arm: &Localised, run: &LoadedRun) -> Option<Self> {
        let (arm, seed) = (arm.clone(), run.record.trial.seed);
        match &run.record.status {
            Status::Finished => None,
            Status::Diverged { step, loss } => {
                Some(Self::Diverged { arm, seed, step: *step, loss: loss.clone() })
            }
            Status::Failed { reason } => Some(Self::Failed { arm, seed, reason: reason.clone() }),
        }
    }

    pub fn say(&self, words: Words) -> String {
        let to = |text: &Localised| text.to(words.language).to_owned();
        match self {
            Self::Untimed { seeds, why } => {
                let (why, advice) = (why.say(words), why.advice(words));
                words.say(
                    "caveat.untimed",
                    &[("seeds", &words.seeds(seeds)), ("why", &why), ("advice", &advice)],
                )
            }
            Self::Pooled(classes) => {
                let class = |(class, seeds): &(String, Vec<Seed>)| {
                    words.say("caveat.pooled-class", &[("seeds", &words.seeds(seeds)), ("class", class)])
                };
                let classes: Vec<String> = classes.iter().map(class).collect();
                words.say("caveat.pooled", &[("classes", &words.join(&classes))])
            }
            Self::OneTraining { arm, others } => {
                let quoted: Vec<String> =
                    others.iter().map(|other| words.say("caveat.quoted", &[("name", &to(other))])).collect();
                let others = words.list(&quoted);
                words.count("caveat.one-training", quoted.len(), &[("others", &others), ("arm", &to(arm))])
            }
            Self::Foreign { arm, run, found, expected } => words.say(
                "caveat.foreign",
                &[("run", run), ("arm", &to(arm)), ("found", found), ("expected", expected)],
            ),
            Self::OtherPlan { arm, run, found } => {
                words.say("caveat.other-plan", &[("run", run), ("arm", &to(arm)), ("found", found)])
            }
            Self::Repeated { trainings, left_out } => {
                let left_out = words.count("caveat.repeated-left-out", *left_out, &[]);
                let named = words.count("word.training", *trainings, &[]);
                words.count("caveat.repeated", *trainings, &[("trainings", &named), ("left_out", &left_out)])
            }
            Self::Disturbed { arm, seed, share } => words.say(
                "caveat.disturbed",
                &[("arm", &to(arm)), ("seed", seed), ("percent", &text::fixed(share * 100.0, 0))],
            ),
            Self::Missing { arm, seeds } => {
                let listed = seeds.iter().map(Seed::to_string).collect::<Vec<_>>().join(", ");
                words.count("caveat.missing", seeds.len(), &[("arm", &to(arm)), ("seeds", &listed)])
            }
            Self::Damaged { arm, seed, file } => {
                words.say("caveat.damaged", &[("arm", &to(arm)), ("seed", seed), ("file", file)])
            }
            Self::Failed { arm, seed, reason } => {
                let reason = told(reason, words);
                words.say("caveat.failed", &[("arm", &to(arm)), ("seed", seed), ("reason", &reason)])
            }
            Self::Diverged { arm, seed, step, loss } => words
                .say("caveat.diverged", &[("arm", &to(arm)), ("seed", seed), ("step", step), ("loss", loss)]),
        }
    }
}

/// How a run ended, in the language of a page; what it said itself stays as it said it.
fn told(reason: &str, words: Words) -> String {
    let (how, own) = reason.find(": ").map_or((reason, ""), |at| reason.split_at(at));
    let said = if let Some(signal) = how.strip_prefix("killed by signal ") {
        match signal.split_once(';') {
            Some((signal, _)) => words.say("caveat.reason-memory", &[("n", &signal)]),
            None => words.say("caveat.reason-signal", &[("n", &signal)]),
        }
    } else if let Some(code) = how.strip_prefix("ended with exit code ") {
        words.say("caveat.reason-exit", &[("n", &code)])
    } else if how == "ended without a run" {
        words.word("caveat.reason-none").to_owned()
    } else {
        how.to_owned()
    };
    said + own
}

/// For a terminal.
impl fmt::Display for Caveat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.say(Words::english()))
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
        assert_eq!(Caveat::of_disturbance(&"64".into(), &run), None);
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
        let others = vec!["64, linear".into(), "64, root".into()];
        let text = Caveat::OneTraining { arm: "64".into(), others }.to_string();
        assert!(text.starts_with("'64, linear' and '64, root' are the same training as '64'"), "{text}");
    }

    #[test]
    fn a_run_that_shared_its_machine_is_doubted() {
        let mut run = samples::finished(&samples::profile().arms[0], 0);
        assert_eq!(Caveat::of_disturbance(&"64".into(), &run), None);
        let outcome = run.record.outcome.as_mut().unwrap();
        (outcome.others_cpu_s, outcome.watched_ns) = (Some(4.0), Some(4_000_000_000)); // one of its two cores
        let text = Caveat::of_disturbance(&"64".into(), &run).unwrap().to_string();
        assert!(text.contains("others took 50 %"), "{text}");
    }

    /// What others used during the diagnostics was divided by the time of the training alone, so that pages of a busy
    /// machine with two cores said "others took 624 % of the processor time".
    #[test]
    fn what_others_took_is_a_share_of_the_time_they_were_watched_for() {
        let mut run = samples::finished(&samples::profile().arms[0], 0);
        let share = |run: &LoadedRun| match Caveat::of_disturbance(&"64".into(), run) {
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
