//! Timing conditions in blocks: in each block every condition once, one after the other, each in a process of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

use crate::record::{Block, LoadedRun, Measurement, MeasurementError, Problem, RunId, Status, Timed};
use crate::schedule::{Ending, Interrupt, Job};
use crate::stream::{Key, Seed, Stream};

/// Processes that are made ready at a time. They hold memory meanwhile, and more would not be ready sooner.
const READY_AT_ONCE: usize = 4;

/// A process that was disturbed is measured once more in its block.
const ATTEMPTS: u32 = 2;

/// Times processes, one after the other. A trait so that blocks can be tested without processes.
pub trait Timer {
    /// Makes a process for each of `jobs` ready, then times them in turns; `ended` is told of each by its index, with the time
    /// it took by itself.
    fn time(&self, jobs: &[Job], ended: &mut dyn FnMut(usize, Ending, Duration)) -> io::Result<()>;
}

/// What decides which conditions are measured, and what becomes of what was.
pub trait Questions {
    /// Takes a process in; `true` when others disturbed it. It must not look at its times.
    fn take(&mut self, timed: &Timed, run: Option<&LoadedRun>) -> bool;
    /// The conditions of the next block, after so many; none ends the measurement.
    fn wanted(&mut self, blocks: u64) -> Vec<usize>;
}

/// A measurement under way.
pub struct Blocks<'a> {
    pub measurement: &'a Measurement,
    pub timer: &'a dyn Timer,
    pub interrupt: &'a Interrupt,
    /// The job of a condition at its place of a block.
    pub job: &'a dyn Fn(usize, Block) -> Job,
    /// No block begins that would end later, but for the first.
    pub budget: Duration,
}

/// How a measurement ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Measuring {
    /// Whole blocks.
    pub blocks: u64,
    pub interrupted: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum BlocksError {
    #[error(
        "cannot start a child process: {0}; check that the program is still there and that processes are left"
    )]
    Spawn(#[from] io::Error),
    #[error(transparent)]
    Measurement(#[from] MeasurementError),
    #[error(transparent)]
    Run(#[from] Problem),
}

/// What the blocks so far have taught.
#[derive(Default)]
struct Learned {
    /// How long each condition last took, start-up and repetition included.
    took: BTreeMap<usize, Duration>,
    /// Conditions that failed: they would fail again.
    failed: BTreeSet<usize>,
    /// Whether most processes of the last block were disturbed: on a machine that never is quiet a repetition costs time
    /// and gains nothing.
    is_loud: bool,
}

impl Blocks<'_> {
    /// Measures until `questions` wants nothing more, the budget is spent or somebody interrupts. `said` hears what block
    /// and which of its processes ended.
    pub fn run(
        &self,
        questions: &mut dyn Questions,
        said: &mut dyn FnMut(u64, &Timed),
    ) -> Result<Measuring, BlocksError> {
        let (began, mut learned, mut blocks) = (Instant::now(), Learned::default(), 0);
        loop {
            let mut wanted = questions.wanted(blocks);
            wanted.retain(|condition| !learned.failed.contains(condition));
            let expected: Duration =
                wanted.iter().filter_map(|condition| learned.took.get(condition)).copied().sum();
            if wanted.is_empty() || (blocks > 0 && began.elapsed() + expected > self.budget) {
                return Ok(Measuring { blocks, interrupted: false });
            }
            let is_whole = self.block(blocks, &wanted, questions, &mut learned, said)?;
            if !is_whole || self.interrupt.is_asked() {
                return Ok(Measuring { blocks, interrupted: true });
            }
            blocks += 1;
        }
    }

    /// Whether it was measured to its end.
    fn block(
        &self,
        block: u64,
        wanted: &[usize],
        questions: &mut dyn Questions,
        learned: &mut Learned,
        said: &mut dyn FnMut(u64, &Timed),
    ) -> Result<bool, BlocksError> {
        let mut order = order(block, wanted);
        let (mut place, mut disturbed) = (0, Vec::new());
        for attempt in 0..ATTEMPTS {
            disturbed.clear();
            for group in order.chunks(READY_AT_ONCE) {
                let job = |(place, condition): (u32, &usize)| (self.job)(*condition, Block { block, place });
                let jobs: Vec<Job> = (place..).zip(group).map(job).collect();
                let mut ended = Vec::new();
                self.timer.time(&jobs, &mut |index, ending, took| ended.push((index, ending, took)))?;
                for (index, ending, took) in ended {
                    if ending == Ending::Interrupted {
                        return Ok(false);
                    }
                    let (condition, trial) = (group[index], jobs[index].trial.id());
                    let (run, failed) = outcome(ending);
                    let timed = Timed { block, place, condition, attempt, trial, run, failed };
                    place += 1;
                    self.measurement.add(&timed)?;
                    let run = self.load(&timed)?;
                    let before = learned.took.entry(condition).or_default();
                    *before = if attempt == 0 { took } else { *before + took };
                    if timed.failed.is_some() {
                        learned.failed.insert(condition);
                    } else if questions.take(&timed, run.as_ref()) {
                        disturbed.push(condition);
                    }
                    said(block, &timed);
                }
            }
            if attempt == 0 {
                let was_loud = std::mem::replace(&mut learned.is_loud, 2 * disturbed.len() > wanted.len());
                if was_loud && learned.is_loud {
                    return Ok(true);
                }
            }
            order.clone_from(&disturbed);
        }
        Ok(true)
    }

    fn load(&self, timed: &Timed) -> Result<Option<LoadedRun>, BlocksError> {
        let Some(run) = &timed.run else { return Ok(None) };
        Ok(self.measurement.store.run(&timed.trial, run)?)
    }
}

/// Drawn from the block's number: a drift of the machine then makes no condition look slower than another over the blocks.
fn order(block: u64, conditions: &[usize]) -> Vec<usize> {
    let order = Key::new(Seed(block), Stream::Blocks, 0, 0).permutation(conditions.len() as u32);
    order.into_iter().map(|index| conditions[index as usize]).collect()
}

/// Which run it sealed, or why none.
fn outcome(ending: Ending) -> (Option<RunId>, Option<String>) {
    match ending {
        Ending::Sealed { run, status: Status::Finished } => (Some(run), None),
        Ending::Sealed { run, status: Status::Diverged { step, loss } } => {
            (Some(run), Some(format!("the loss of step {step} is {loss}")))
        }
        Ending::Sealed { run, status: Status::Failed { reason } } => (Some(run), Some(reason)),
        Ending::Died { reason } => (None, Some(reason)),
        Ending::Busy => (None, Some("another process has it".to_owned())),
        Ending::Done | Ending::Interrupted => {
            (None, Some("it ended without a run; this is a bug".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::path::PathBuf;

    use jiff::Timestamp;

    use super::*;
    use crate::analyse::samples;
    use crate::record::{Condition, Design, Rows};
    use crate::row::Diagnostics;
    use crate::schedule::Task;

    const CONDITIONS: usize = 6;

    /// Ends each job as the function of its condition and block says, and seals the run of one that finished.
    struct Scripted<'a, F> {
        measurement: &'a Measurement,
        ending: F,
        at_once: Cell<usize>,
    }

    impl<F: Fn(usize, u64) -> Ending> Timer for Scripted<'_, F> {
        fn time(&self, jobs: &[Job], ended: &mut dyn FnMut(usize, Ending, Duration)) -> io::Result<()> {
            self.at_once.set(self.at_once.get().max(jobs.len()));
            for (index, job) in jobs.iter().enumerate() {
                let condition: usize = job.experiment.parse().unwrap();
                let ending = match (self.ending)(condition, job.trial.seed.0) {
                    Ending::Sealed { status, .. } => {
                        let environment = samples::environment();
                        let (now, run) = (Timestamp::now(), RunId::new(Timestamp::now(), 7));
                        let record = job.record(run, now, &environment, status);
                        let record = self.measurement.store.seal(&record, &Rows::default()).unwrap();
                        Ending::Sealed { run: record.run, status: record.status }
                    }
                    other => other,
                };
                let stops = ending == Ending::Interrupted;
                ended(index, ending, Duration::ZERO);
                if stops {
                    break;
                }
            }
            Ok(())
        }
    }

    fn finished() -> Ending {
        Ending::Sealed { run: RunId(String::new()), status: Status::Finished }
    }

    /// Wants all conditions for so many blocks; which processes were disturbed, the function says.
    struct Asking<F> {
        blocks: u64,
        is_disturbed: F,
    }

    impl<F: Fn(&Timed) -> bool> Questions for Asking<F> {
        fn take(&mut self, timed: &Timed, run: Option<&LoadedRun>) -> bool {
            assert!(run.is_some_and(|run| Some(&run.record.run) == timed.run.as_ref()));
            (self.is_disturbed)(timed)
        }

        fn wanted(&mut self, blocks: u64) -> Vec<usize> {
            if blocks < self.blocks { (0..CONDITIONS).collect() } else { vec![] }
        }
    }

    /// What was measured, and how the measurement ended.
    fn run(
        ending: impl Fn(usize, u64) -> Ending,
        questions: &mut dyn Questions,
        budget: Duration,
    ) -> (Vec<Timed>, Measuring) {
        let folder = tempfile::tempdir().unwrap();
        let record = samples::finished(&samples::profile().arms[0], 0).record;
        let condition = |number: usize| Condition {
            name: number.to_string(),
            experiment: number.to_string(),
            config: record.trial.config.clone(),
            plan: record.plan.clone(),
            fault: None,
        };
        let design = Design { conditions: (0..CONDITIONS).map(condition).collect(), alike: None };
        let measurement = Measurement::create(folder.path(), design, "").unwrap();
        let job = |condition: usize, block: Block| Job {
            experiment: condition.to_string(),
            profile: String::new(),
            trial: crate::experiment::Trial { seed: Seed(block.block), ..record.trial.clone() },
            plan: record.plan.clone(),
            store: measurement.store.path().to_owned(),
            data: PathBuf::new(),
            workspace: PathBuf::new(),
            diagnostics: Diagnostics::Off,
            task: Task::TRAIN,
            beside: 0,
            block: Some(block),
            command: String::new(),
        };
        let timer = Scripted { measurement: &measurement, ending, at_once: Cell::new(0) };
        let interrupt = Interrupt::default();
        let blocks =
            Blocks { measurement: &measurement, timer: &timer, interrupt: &interrupt, job: &job, budget };
        let heard = RefCell::new(Vec::new());
        let measuring =
            blocks.run(questions, &mut |_, timed| heard.borrow_mut().push(timed.clone())).unwrap();
        assert!(timer.at_once.get() <= READY_AT_ONCE);
        let timed = measurement.timed().unwrap();
        assert_eq!(timed, heard.into_inner());
        (timed, measuring)
    }

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn a_block_has_every_condition_once_in_an_order_of_its_own() {
        let mut asking = Asking { blocks: 3, is_disturbed: |_: &Timed| false };
        let (timed, measuring) = run(|_, _| finished(), &mut asking, LONG);
        assert_eq!(measuring, Measuring { blocks: 3, interrupted: false });
        let orders: Vec<Vec<usize>> = (0..3)
            .map(|block| timed.iter().filter(|one| one.block == block).map(|one| one.condition).collect())
            .collect();
        for order in &orders {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..CONDITIONS).collect::<Vec<_>>());
        }
        assert!(orders[0] != orders[1] && orders[1] != orders[2], "{orders:?}");
        let places: Vec<u32> = timed[..CONDITIONS].iter().map(|one| one.place).collect();
        assert_eq!(places, (0..CONDITIONS as u32).collect::<Vec<_>>());
    }

    #[test]
    fn a_disturbed_process_is_measured_once_more_in_its_block() {
        let mut asking = Asking { blocks: 2, is_disturbed: |timed: &Timed| timed.condition == 4 };
        let (timed, _) = run(|_, _| finished(), &mut asking, LONG);
        let again: Vec<(u64, usize, u32)> = timed
            .iter()
            .filter(|one| one.attempt > 0)
            .map(|one| (one.block, one.condition, one.place))
            .collect();
        assert_eq!(again, [(0, 4, 6), (1, 4, 6)]);
        assert_eq!(timed.len(), 2 * (CONDITIONS + 1));
    }

    #[test]
    fn a_machine_that_is_never_quiet_is_measured_once() {
        let mut asking = Asking { blocks: 3, is_disturbed: |_: &Timed| true };
        let (timed, _) = run(|_, _| finished(), &mut asking, LONG);
        let of_block = |block| timed.iter().filter(|one| one.block == block).count();
        assert_eq!([0, 1, 2].map(of_block), [2 * CONDITIONS, CONDITIONS, CONDITIONS]);
    }

    #[test]
    fn a_condition_that_fails_is_noted_and_not_tried_again() {
        let dies = |condition, _| match condition {
            2 => Ending::Died { reason: "out of memory".to_owned() },
            _ => finished(),
        };
        let mut asking = Asking { blocks: 2, is_disturbed: |_: &Timed| false };
        let (timed, measuring) = run(dies, &mut asking, LONG);
        let failed: Vec<&Timed> = timed.iter().filter(|one| one.failed.is_some()).collect();
        assert_eq!(failed.len(), 1);
        assert_eq!((failed[0].condition, failed[0].failed.as_deref()), (2, Some("out of memory")));
        assert_eq!((timed.len(), measuring.blocks), (2 * CONDITIONS - 1, 2));
    }

    #[test]
    fn a_spent_budget_lets_no_further_block_begin_but_the_first_is_whole() {
        let mut asking = Asking { blocks: 9, is_disturbed: |_: &Timed| false };
        let (timed, measuring) = run(|_, _| finished(), &mut asking, Duration::ZERO);
        assert_eq!((timed.len(), measuring.blocks), (CONDITIONS, 1));
    }

    #[test]
    fn an_interrupted_block_does_not_count() {
        let stops = |_, block| if block == 1 { Ending::Interrupted } else { finished() };
        let mut asking = Asking { blocks: 9, is_disturbed: |_: &Timed| false };
        let (timed, measuring) = run(stops, &mut asking, LONG);
        assert_eq!((timed.len(), measuring), (CONDITIONS, Measuring { blocks: 1, interrupted: true }));
    }
}
