//! What the gate found, and what follows of it.

use std::fmt;

use crate::analyse::gate::tolerance::Comparison;
use crate::analyse::gate::verdict::{Alarm, Bar, Doubt, Verdict};
use crate::experiment::ProfileName;
use crate::experiment::baseline::{self, Gauge};
use crate::experiment::probe;
use crate::stream::Seed;

/// Of one baseline file.
#[derive(Clone, PartialEq, Debug)]
pub struct Findings {
    pub experiment: String,
    /// The experiment as a command line names it.
    pub named: String,
    pub profile: ProfileName,
    /// Of all tests of the file together; `None` without a baseline.
    pub false_alarm_rate: Option<f64>,
    /// By arm, in the order of the experiment.
    pub all: Vec<Finding>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Finding {
    /// `None` where it is about the file as a whole.
    pub arm: Option<String>,
    pub subject: Subject,
    pub verdict: Verdict,
    pub evidence: Option<Evidence>,
    /// A rerun raised the same alarm.
    pub recurred: bool,
    /// Profile of the file that it is of, where that is not the findings'.
    pub profile: Option<ProfileName>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// Whether there is something to compare with.
    Baseline,
    /// How the runs ended.
    Runs,
    /// Single steps from states that every machine can make.
    Probe,
    /// Weights and what was measured of them, bit for bit.
    Bits,
    Gauge(Gauge),
}

#[derive(Clone, PartialEq, Debug)]
pub enum Evidence {
    Test(Comparison),
    Bits(Bits),
}

/// Runs compared bit for bit.
#[derive(Clone, PartialEq, Debug)]
pub struct Bits {
    pub seeds: Vec<Seed>,
    /// Seeds under which something differs.
    pub differing: Vec<Seed>,
    /// What differs by how much, by seed.
    pub moved: Vec<Moved>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Moved {
    pub seed: Seed,
    pub gauge: Gauge,
    pub from: f64,
    pub to: f64,
}

named! {
    /// How a check ends. What is greater decides when there are several.
    ///
    /// A regression decides over everything, then that something else is trained. Then what is not comparable, before what is
    /// inconclusive: more seeds do not help before a stale baseline, or a run that never happened, is mended.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
    pub enum Exit {
        Holds = "holds",
        Inconclusive = "inconclusive",
        NotComparable = "not comparable",
        /// This tree trains something else, and nothing says that it trains worse.
        Changed = "changed",
        Regressed = "regressed",
    }
}

impl Findings {
    /// Nothing is compared in the whole file.
    pub fn barred(experiment: &str, profile: ProfileName, bar: Bar) -> Self {
        let (experiment, named) = (experiment.to_owned(), experiment.to_owned());
        let finding = Finding::new(None, Subject::Baseline, Verdict::NotComparable(bar));
        Self { experiment, named, profile, false_alarm_rate: None, all: vec![finding] }
    }

    /// A baseline of an experiment that is not there.
    pub fn orphaned(experiment: &str, profile: ProfileName) -> Self {
        Self::barred(experiment, profile, Bar::OrphanedFile)
    }

    /// A baseline that cannot be read, and why.
    pub fn unreadable(experiment: &str, profile: ProfileName, message: impl fmt::Display) -> Self {
        Self::barred(experiment, profile, Bar::Unreadable { message: message.to_string() })
    }

    pub fn exit(&self) -> Exit {
        // Of nothing: nothing was measured.
        self.all.iter().map(Finding::exit).max().unwrap_or(Exit::NotComparable)
    }

    /// What single steps of an arm said; `None` where they were not asked.
    pub fn steps_of(&self, arm: Option<&str>) -> Option<&Verdict> {
        let is_of = |finding: &&Finding| finding.subject == Subject::Probe && finding.arm.as_deref() == arm;
        self.all.iter().find(is_of).map(|finding| &finding.verdict)
    }

    /// Seeds that alarms of an arm name: by how a run ended, or by a value that is none.
    pub fn seeds_named(&self, arm: &str) -> Vec<Seed> {
        let seed = |finding: &Finding| match finding.verdict {
            Verdict::Alarm(
                Alarm::Diverged { seed, .. } | Alarm::Finished { seed } | Alarm::NotFinite { seed, .. },
            ) if finding.arm.as_deref() == Some(arm) => Some(seed),
            _ => None,
        };
        self.all.iter().filter_map(seed).collect()
    }

    #[cfg(test)]
    pub fn alarms(&self) -> impl Iterator<Item = &Finding> {
        self.all.iter().filter(|finding| matches!(finding.verdict, Verdict::Alarm(_)))
    }
}

impl Finding {
    pub fn new(arm: Option<&str>, subject: Subject, verdict: Verdict) -> Self {
        Self { arm: arm.map(str::to_owned), subject, verdict, evidence: None, recurred: false, profile: None }
    }

    pub fn exit(&self) -> Exit {
        match self.verdict {
            Verdict::Holds => Exit::Holds,
            // Something else, or something better, is no regression: if it is meant, it is accepted.
            Verdict::Alarm(
                Alarm::Changed(_)
                | Alarm::Structure { .. }
                | Alarm::Weights
                | Alarm::Measured
                | Alarm::Better
                | Alarm::Finished { .. },
            ) => Exit::Changed,
            Verdict::Alarm(_) => Exit::Regressed,
            Verdict::Inconclusive(_) => Exit::Inconclusive,
            Verdict::NotComparable(_) => Exit::NotComparable,
        }
    }
}

impl Exit {
    /// Of several files; of none, nothing was measured.
    pub fn of<'a>(files: impl IntoIterator<Item = &'a Findings>) -> Self {
        files.into_iter().map(Findings::exit).max().unwrap_or(Self::NotComparable)
    }

    /// The exit code of the process; 2 is wrong usage.
    pub fn code(self) -> u8 {
        match self {
            Self::Holds => 0,
            Self::Regressed => 1,
            Self::Inconclusive => 3,
            Self::NotComparable => 4,
            Self::Changed => 5,
        }
    }
}

impl Verdict {
    /// The reason's name in files that programs read; `None` where all is well.
    pub fn kind(&self) -> Option<&'static str> {
        Some(match self {
            Self::Holds => return None,
            Self::Alarm(alarm) => match alarm {
                Alarm::Worse => "worse",
                Alarm::Better => "better",
                Alarm::NotFinite { .. } => "not_finite",
                Alarm::Weights => "weights",
                Alarm::Changed(_) => "changed",
                Alarm::Structure { .. } => "structure",
                Alarm::Measured => "measured",
                Alarm::Diverged { .. } => "diverged",
                Alarm::Finished { .. } => "finished",
            },
            Self::Inconclusive(doubt) => match doubt {
                Doubt::OneRun => "one_run",
                Doubt::TooWide => "too_wide",
                Doubt::MayDiverge => "may_diverge",
                Doubt::DidNotRecur => "did_not_recur",
                Doubt::NotRerun => "not_rerun",
            },
            Self::NotComparable(bar) => match bar {
                Bar::NoBaseline => "no_baseline",
                Bar::Unreadable { .. } => "unreadable",
                Bar::Stale { .. } => "stale",
                Bar::ConfigChanged { .. } => "config_changed",
                Bar::NotProbed => "not_probed",
                Bar::NewArm => "new_arm",
                Bar::OrphanedArm => "orphaned_arm",
                Bar::OrphanedFile => "orphaned_file",
                Bar::NothingMeasured => "nothing_measured",
                Bar::Failed { .. } => "failed",
                Bar::OtherConfig { .. } => "other_config",
                Bar::NoValue => "no_value",
            },
        })
    }
}

impl Bar {
    /// What is the matter and what to do, on one line.
    pub fn message(&self, experiment: &str, named: &str, profile: &ProfileName) -> String {
        let accept = baseline::accept_command(named, profile);
        match self {
            Self::NoBaseline => format!("there is no baseline; run `{accept}`"),
            Self::Unreadable { message } => {
                let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
                format!("the baseline cannot be used: {line}")
            }
            Self::ConfigChanged { keys } => format!(
                "the arm is another one now: {keys}; undo the change, or if it is meant, see whether it is worse with \
                 `{accept} --dry-run`, then run `{accept}`"
            ),
            Self::NotProbed => {
                format!("no probe of this arm was accepted; run `{}`", probe::accept_command(named, profile))
            }
            Self::Stale { expected, found } => format!(
                "stale: the baseline was made for config {expected}, the experiment's is {found}; undo the change or \
                 run `{accept}`"
            ),
            Self::NewArm => format!("the baseline has no such arm; run `{accept}`"),
            Self::OrphanedArm => {
                format!("orphaned: the baseline has this arm, the experiment does not; run `{accept}`")
            }
            Self::OrphanedFile => format!(
                "orphaned: there is no experiment '{experiment}'; delete '{}'",
                baseline::file_name(experiment, profile)
            ),
            Self::NothingMeasured => format!(
                "nothing was measured: no run of this arm came to an end; see why with `pinbench list {named}{}`",
                profile.option()
            ),
            Self::Failed { seeds, reason } => {
                let seeds: Vec<String> = seeds.iter().map(Seed::to_string).collect();
                let line = reason.split_whitespace().collect::<Vec<_>>().join(" ");
                format!(
                    "the training under seed {} failed ({line}), and the others do not answer for it; mend that and run \
                     the check again",
                    seeds.join(", ")
                )
            }
            Self::OtherConfig { expected, found } => format!(
                "the runs are of config {found}, expected {expected}; run the check again with the experiment as it is"
            ),
            Self::NoValue => {
                format!("the baseline has it and the runs do not; run again with it, or run `{accept}`")
            }
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Baseline => "baseline",
            Self::Runs => "runs",
            Self::Probe => "step",
            Self::Bits => "bits",
            Self::Gauge(gauge) => gauge.name(),
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Holds => "holds",
            Self::Alarm(_) => "alarm",
            Self::Inconclusive(_) => "inconclusive",
            Self::NotComparable(_) => "not comparable",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(verdicts: &[Verdict]) -> Findings {
        let finding = |verdict: &Verdict| Finding::new(Some("64"), Subject::Bits, verdict.clone());
        Findings {
            experiment: "m1".to_owned(),
            named: "m1".to_owned(),
            profile: "quick".into(),
            false_alarm_rate: Some(0.01),
            all: verdicts.iter().map(finding).collect(),
        }
    }

    #[test]
    fn a_regression_decides_then_what_is_not_comparable_then_doubt() {
        let (holds, alarm) = (Verdict::Holds, Verdict::Alarm(Alarm::Worse));
        let (doubt, bar) = (Verdict::Inconclusive(Doubt::TooWide), Verdict::NotComparable(Bar::NewArm));
        for (verdicts, code) in [
            (vec![], 4),
            (vec![holds.clone()], 0),
            (vec![holds.clone(), doubt.clone()], 3),
            (vec![doubt.clone(), bar.clone(), holds.clone()], 4),
            (vec![bar.clone(), alarm.clone(), doubt.clone(), holds.clone()], 1),
        ] {
            assert_eq!(findings(&verdicts).exit().code(), code, "{verdicts:?}");
        }
        assert_eq!(Exit::of(&[]).code(), 4);
        assert_eq!(Exit::of(&[findings(&[holds]), findings(&[alarm])]), Exit::Regressed);
    }

    #[test]
    fn every_bar_says_on_one_line_what_is_wrong_and_what_to_do() {
        let (expected, found) = ("aaa".to_owned(), "bbb".to_owned());
        let accept = "`pinbench baseline accept m1 --profile quick`";
        for (bar, what, way_out) in [
            (Bar::NoBaseline, "no baseline", accept),
            (
                Bar::Unreadable { message: "m1.toml:3\n | x\nbad".to_owned() },
                "cannot be used: m1.toml:3 | x bad",
                "",
            ),
            (Bar::Stale { expected: expected.clone(), found: found.clone() }, "for config aaa, the", accept),
            (Bar::NewArm, "no such arm", accept),
            (Bar::OrphanedArm, "orphaned", accept),
            (Bar::OrphanedFile, "no experiment 'm1'", "delete 'm1.quick.toml'"),
            (Bar::NothingMeasured, "nothing was measured", "pinbench list m1"),
            (
                Bar::Failed { seeds: vec![Seed(1), Seed(4)], reason: "signal 11\nthe last line".to_owned() },
                "under seed 1, 4 failed (signal 11 the last line)",
                "run the check again",
            ),
            (
                Bar::OtherConfig { expected: expected.clone(), found: found.clone() },
                "config bbb, expected aaa",
                "again",
            ),
            (Bar::NoValue, "the runs do not", accept),
        ] {
            let message = bar.message("m1", "m1", &"quick".into());
            assert!(message.contains(what) && message.contains(way_out), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }
}
