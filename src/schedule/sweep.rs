//! A list of jobs, one after the other; a run that fails costs only itself.

use std::io;

use jiff::Timestamp;

use crate::machine::Environment;
use crate::record::{Rows, RunId, Status, Store, StoreError};
use crate::schedule::child::{Ending, Executor};
use crate::schedule::{Event, Interrupt, Job};

/// Called as `begin → event … → end` for each job that is started.
pub trait Observer {
    fn begin(&mut self, index: usize);
    fn event(&mut self, index: usize, event: &Event);
    fn end(&mut self, index: usize, ending: &Ending);
}

pub struct Sweep<'a> {
    pub store: &'a Store,
    /// Of the parent, for the records of children that died. Its class must be that of the children.
    pub environment: &'a Environment,
    pub interrupt: &'a Interrupt,
}

/// What became of the jobs.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Tally {
    pub finished: usize,
    pub diverged: usize,
    pub failed: usize,
    /// Left to another process.
    pub busy: usize,
    /// Ended by a signal before the last job was done.
    pub interrupted: bool,
}

impl Tally {
    pub fn is_clean(&self) -> bool {
        self.diverged + self.failed + self.busy == 0 && !self.interrupted
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    #[error(
        "cannot start a child process: {0}; check that the program is still there and that processes are left"
    )]
    Spawn(#[from] io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Sweep<'_> {
    pub fn run(
        &self,
        jobs: &[Job],
        executor: &mut dyn Executor,
        observer: &mut dyn Observer,
    ) -> Result<Tally, SweepError> {
        let mut tally = Tally::default();
        for (index, job) in jobs.iter().enumerate() {
            if self.interrupt.is_asked() {
                tally.interrupted = true;
                break;
            }
            observer.begin(index);
            let started = Timestamp::now();
            let ending = executor.execute(job, &mut |event| observer.event(index, event))?;
            let ending = self.settled(job, started, ending)?;
            observer.end(index, &ending);
            tally.count(&ending);
            if tally.interrupted {
                break;
            }
        }
        Ok(tally)
    }

    /// A child that died before sealing becomes a failed run.
    fn settled(&self, job: &Job, started: Timestamp, ending: Ending) -> Result<Ending, StoreError> {
        let Ending::Died { reason } = ending else { return Ok(ending) };
        let status = Status::Failed { reason };
        let run = RunId::new(started, std::process::id());
        let record = job.record(run, started, self.environment, status);
        let record = self.store.seal(&record, &Rows::default())?;
        Ok(Ending::Sealed { run: record.run, status: record.status })
    }
}

impl Tally {
    fn count(&mut self, ending: &Ending) {
        match ending {
            Ending::Sealed { status: Status::Finished, .. } => self.finished += 1,
            Ending::Sealed { status: Status::Diverged { .. }, .. } => self.diverged += 1,
            Ending::Sealed { status: Status::Failed { .. }, .. } | Ending::Died { .. } => self.failed += 1,
            Ending::Busy => self.busy += 1,
            Ending::Interrupted => self.interrupted = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::analyse::samples;
    use crate::record::RunRecord;

    /// Ends each job as told, and presses Ctrl-C during one of them.
    struct Scripted {
        endings: Vec<Ending>,
        asked_at: Option<usize>,
        interrupt: Interrupt,
        executed: usize,
    }

    impl Executor for Scripted {
        fn execute(&mut self, _: &Job, observer: &mut dyn FnMut(&Event)) -> io::Result<Ending> {
            observer(&Event::Started { done: 0, steps: 1, steps_per_epoch: 1, images: 1 });
            if self.asked_at == Some(self.executed) {
                self.interrupt.ask();
            }
            self.executed += 1;
            Ok(self.endings[self.executed - 1].clone())
        }
    }

    #[derive(Default)]
    struct Log(Vec<String>);

    impl Observer for Log {
        fn begin(&mut self, index: usize) {
            self.0.push(format!("begin {index}"));
        }

        fn event(&mut self, index: usize, _: &Event) {
            self.0.push(format!("event {index}"));
        }

        fn end(&mut self, index: usize, ending: &Ending) {
            let text = match ending {
                Ending::Sealed { status, .. } => status.name(),
                _ => "no run",
            };
            self.0.push(format!("end {index} {text}"));
        }
    }

    fn jobs(count: u64) -> Vec<Job> {
        let arm = &samples::profile().arms[0];
        let job = |seed| {
            let record = samples::finished(arm, seed).record;
            Job {
                experiment: record.experiment,
                profile: record.profile,
                trial: record.trial,
                plan: record.plan,
                store: PathBuf::new(),
                data: PathBuf::new(),
                workspace: PathBuf::new(),
                diagnostics: Default::default(),
                export: None,
                trace: None,
                planted: None,
                command: record.command,
            }
        };
        (0..count).map(job).collect()
    }

    fn finished() -> Ending {
        Ending::Sealed { run: RunId("r".to_owned()), status: Status::Finished }
    }

    fn sweep(endings: Vec<Ending>, asked_at: Option<usize>) -> (Tally, Vec<String>, Vec<RunRecord>) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let environment = Environment::capture(Path::new("."), None);
        let (interrupt, mut log) = (Interrupt::default(), Log::default());
        let jobs = jobs(endings.len() as u64);
        let mut scripted = Scripted { endings, asked_at, interrupt: interrupt.clone(), executed: 0 };
        let sweep = Sweep { store: &store, environment: &environment, interrupt: &interrupt };
        let tally = sweep.run(&jobs, &mut scripted, &mut log).unwrap();
        (tally, log.0, store.records().unwrap().records)
    }

    #[test]
    fn a_child_that_dies_is_one_failed_run_and_the_rest_goes_on() {
        let died = Ending::Died { reason: "killed by signal 9".to_owned() };
        let (tally, log, records) = sweep(vec![died, finished(), Ending::Busy], None);
        assert_eq!(tally, Tally { finished: 1, failed: 1, busy: 1, ..Tally::default() });
        assert_eq!((log.len(), log[2].as_str()), (9, "end 0 failed"));
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].status, Status::Failed { reason: "killed by signal 9".to_owned() });
    }

    #[test]
    fn after_ctrl_c_the_run_may_end_and_no_further_one_starts() {
        let (tally, log, records) = sweep(vec![finished(), finished()], Some(0));
        assert_eq!(tally, Tally { finished: 1, interrupted: true, ..Tally::default() });
        assert_eq!(log.last().unwrap(), "end 0 finished");
        assert_eq!(records, []);
    }

    #[test]
    fn ctrl_c_in_the_last_run_that_still_finished_interrupts_nothing() {
        let (tally, ..) = sweep(vec![finished()], Some(0));
        assert!(tally.is_clean());
        let (tally, ..) = sweep(vec![Ending::Interrupted], Some(0));
        assert!(tally.interrupted && !tally.is_clean());
    }
}
