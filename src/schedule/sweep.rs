//! A list of jobs, one after the other or several at once; a run that fails costs only itself.

use std::io;
use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use jiff::Timestamp;

use crate::machine::Environment;
use crate::record::{Rows, RunId, Status, Store, StoreError};
use crate::schedule::child::{Ending, Executor};
use crate::schedule::{Event, Interrupt, Job};

/// Called as `begin → event … → end` for each job that is started, by one thread; several may be under way.
pub trait Observer: Send {
    fn begin(&mut self, index: usize);
    fn event(&mut self, index: usize, event: &Event);
    fn end(&mut self, index: usize, ending: &Ending);
}

pub struct Sweep<'a> {
    pub store: &'a Store,
    /// Of the parent, for the records of children that died: that of the children but for their number of threads.
    pub environment: &'a Environment,
    pub interrupt: &'a Interrupt,
    /// Jobs that are under way at a time, at most: 1 where their times matter.
    pub at_once: usize,
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

/// What a worker says of the job it runs.
enum News {
    Begun,
    Heard(Event),
    Ended(Ending),
    /// Without an ending.
    Failed(SweepError),
}

impl Sweep<'_> {
    /// After an error no further job starts, and those under way are left to end; the first error is returned.
    ///
    /// The calling thread is one of the workers: Linux lists a child under the thread that started it, and whoever looks
    /// for the child of a sweep that runs one after the other finds it under the process's own number.
    pub fn run(
        &self,
        jobs: &[Job],
        executor: &dyn Executor,
        observer: &mut dyn Observer,
    ) -> Result<Tally, SweepError> {
        let next = AtomicUsize::new(0);
        let (sender, news) = mpsc::channel();
        let work = |sender: Sender<(usize, News)>| self.work(jobs, &next, executor, &sender);
        let mut tally = thread::scope(|scope| {
            let watcher = scope.spawn(move || watch(news, observer));
            for _ in 1..self.at_once.min(jobs.len()) {
                let sender = sender.clone();
                scope.spawn(move || work(sender));
            }
            // With the last sender the news end, and with them the watcher.
            work(sender);
            watcher.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked))
        })?;
        // Only a signal leaves jobs without an end.
        tally.interrupted |= tally.ended() < jobs.len();
        Ok(tally)
    }

    /// Runs the next job until there is none, or none may start any more.
    fn work(&self, jobs: &[Job], next: &AtomicUsize, executor: &dyn Executor, news: &Sender<(usize, News)>) {
        while !self.interrupt.is_asked() {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(index) else { return };
            // A watcher that is gone has panicked: nothing more is started unseen.
            if news.send((index, News::Begun)).is_err() {
                return;
            }
            let heard = &mut |event: &Event| drop(news.send((index, News::Heard(event.clone()))));
            let ended = self.execute(job, executor, heard).map_or_else(News::Failed, News::Ended);
            if matches!(ended, News::Failed(_) | News::Ended(Ending::Interrupted)) {
                next.store(jobs.len(), Ordering::Relaxed);
            }
            drop(news.send((index, ended)));
        }
    }

    fn execute(
        &self,
        job: &Job,
        executor: &dyn Executor,
        heard: &mut dyn FnMut(&Event),
    ) -> Result<Ending, SweepError> {
        let started = Timestamp::now();
        let ending = executor.execute(job, heard)?;
        Ok(self.settled(job, started, ending)?)
    }

    /// A child that died before sealing becomes a failed run.
    fn settled(&self, job: &Job, started: Timestamp, ending: Ending) -> Result<Ending, StoreError> {
        let Ending::Died { reason } = ending else { return Ok(ending) };
        let status = Status::Failed { reason };
        let run = RunId::new(started, std::process::id());
        let environment = self.environment.with_threads(job.plan.threads);
        let record = job.record(run, started, &environment, status);
        let record = self.store.seal(&record, &Rows::default())?;
        Ok(Ending::Sealed { run: record.run, status: record.status })
    }
}

/// Passes the news on to `observer` until the last worker is done.
fn watch(news: Receiver<(usize, News)>, observer: &mut dyn Observer) -> Result<Tally, SweepError> {
    let (mut tally, mut failed) = (Tally::default(), None);
    for (index, what) in news {
        match what {
            News::Begun => observer.begin(index),
            News::Heard(event) => observer.event(index, &event),
            News::Ended(ending) => {
                observer.end(index, &ending);
                tally.count(&ending);
            }
            News::Failed(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(tally), Err)
}

impl Tally {
    /// Jobs that came to an end of their own.
    pub fn ended(&self) -> usize {
        self.finished + self.diverged + self.failed + self.busy
    }

    fn count(&mut self, ending: &Ending) {
        match ending {
            Ending::Sealed { status: Status::Finished, .. } | Ending::Done => self.finished += 1,
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
    use std::sync::Barrier;

    use super::*;
    use crate::analyse::samples;
    use crate::record::RunRecord;
    use crate::schedule::Task;

    /// Ends the job of each seed as the function says.
    struct Scripted<F>(F);

    impl<F: Fn(usize) -> io::Result<Ending> + Sync> Executor for Scripted<F> {
        fn execute(&self, job: &Job, observer: &mut dyn FnMut(&Event)) -> io::Result<Ending> {
            observer(&Event::Started { done: 0, steps: 1, steps_per_epoch: 1, images: 1 });
            (self.0)(job.trial.seed.0 as usize)
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

    /// Of the seeds 0, 1, 2, ….
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
                task: Task::TRAIN,
                beside: 0,
                block: None,
                command: record.command,
            }
        };
        (0..count).map(job).collect()
    }

    fn finished() -> Ending {
        Ending::Sealed { run: RunId("r".to_owned()), status: Status::Finished }
    }

    fn died() -> Ending {
        Ending::Died { reason: "killed by signal 9".to_owned() }
    }

    struct Swept {
        tally: Result<Tally, SweepError>,
        log: Vec<String>,
        records: Vec<RunRecord>,
    }

    impl Swept {
        fn tally(&self) -> Tally {
            *self.tally.as_ref().unwrap()
        }

        fn has(&self, line: &str) -> bool {
            self.log.iter().any(|logged| logged == line)
        }
    }

    fn sweep(
        (count, at_once): (u64, usize),
        interrupt: &Interrupt,
        script: impl Fn(usize) -> io::Result<Ending> + Sync,
    ) -> Swept {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let environment = Environment::capture(Path::new("."), None);
        let mut log = Log::default();
        let sweep = Sweep { store: &store, environment: &environment, interrupt, at_once };
        let tally = sweep.run(&jobs(count), &Scripted(script), &mut log);
        Swept { tally, log: log.0, records: store.records().unwrap().records }
    }

    #[test]
    fn a_child_that_dies_is_one_failed_run_and_the_rest_goes_on() {
        let endings = [died(), finished(), Ending::Busy];
        let swept = sweep((3, 1), &Interrupt::default(), |index| Ok(endings[index].clone()));
        assert_eq!(swept.tally(), Tally { finished: 1, failed: 1, busy: 1, ..Tally::default() });
        assert_eq!((swept.log.len(), swept.log[2].as_str()), (9, "end 0 failed"));
        assert_eq!(swept.records.len(), 1);
        assert_eq!(swept.records[0].status, Status::Failed { reason: "killed by signal 9".to_owned() });
    }

    #[test]
    fn after_ctrl_c_the_run_may_end_and_no_further_one_starts() {
        let interrupt = Interrupt::default();
        let swept = sweep((2, 1), &interrupt, |_| {
            interrupt.ask();
            Ok(finished())
        });
        assert_eq!(swept.tally(), Tally { finished: 1, interrupted: true, ..Tally::default() });
        assert_eq!(swept.log, ["begin 0", "event 0", "end 0 finished"]);
        assert_eq!(swept.records, []);
    }

    #[test]
    fn ctrl_c_in_the_last_run_that_still_finished_interrupts_nothing() {
        for (ending, is_clean) in [(finished(), true), (Ending::Interrupted, false)] {
            let interrupt = Interrupt::default();
            let swept = sweep((1, 1), &interrupt, |_| {
                interrupt.ask();
                Ok(ending.clone())
            });
            assert_eq!((swept.tally().is_clean(), swept.tally().interrupted), (is_clean, !is_clean));
        }
    }

    #[test]
    fn a_run_that_was_interrupted_itself_is_the_last() {
        let swept = sweep((2, 1), &Interrupt::default(), |_| Ok(Ending::Interrupted));
        assert_eq!(swept.tally(), Tally { interrupted: true, ..Tally::default() });
        assert_eq!(swept.log.len(), 3);
    }

    #[test]
    fn as_many_run_at_once_as_is_asked_and_all_of_them_run() {
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        // Two at once get past it, and one alone never would.
        let two = Barrier::new(2);
        let swept = sweep((6, 2), &Interrupt::default(), |_| {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            two.wait();
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(finished())
        });
        assert_eq!(swept.tally(), Tally { finished: 6, ..Tally::default() });
        assert_eq!(most.into_inner(), 2);
        for index in 0..6 {
            let own = |line: &&String| line.split(' ').nth(1) == Some(index.to_string().as_str());
            let own: Vec<&String> = swept.log.iter().filter(own).collect();
            let expected = ["begin", "event", "end"].map(|what| format!("{what} {index}"));
            assert!(own.len() == 3 && own.iter().zip(&expected).all(|(line, start)| line.starts_with(start)));
        }
    }

    #[test]
    fn after_ctrl_c_those_under_way_may_end_and_no_further_one_starts() {
        let (interrupt, both) = (Interrupt::default(), Barrier::new(2));
        let swept = sweep((5, 2), &interrupt, |_| {
            both.wait();
            interrupt.ask();
            Ok(finished())
        });
        assert_eq!(swept.tally(), Tally { finished: 2, interrupted: true, ..Tally::default() });
        assert_eq!(swept.log.len(), 6, "{:?}", swept.log);
        assert!(swept.has("end 0 finished") && swept.has("end 1 finished"));
    }

    #[test]
    fn a_child_that_cannot_be_started_ends_the_sweep_and_not_the_runs_under_way() {
        let both = Barrier::new(2);
        let swept = sweep((2, 2), &Interrupt::default(), |index| {
            both.wait();
            if index == 0 { Err(io::Error::other("no processes left")) } else { Ok(finished()) }
        });
        assert!(swept.tally.as_ref().unwrap_err().to_string().contains("no processes left"));
        assert!(swept.has("end 1 finished"), "{:?}", swept.log);
        let swept = sweep((2, 1), &Interrupt::default(), |_| Err(io::Error::other("none")));
        assert!(swept.tally.is_err());
        assert_eq!(swept.log, ["begin 0", "event 0"]);
    }

    #[test]
    fn two_children_that_die_at_once_are_two_failed_runs() {
        let both = Barrier::new(2);
        let swept = sweep((2, 2), &Interrupt::default(), |_| {
            both.wait();
            Ok(died())
        });
        assert_eq!(swept.tally(), Tally { failed: 2, ..Tally::default() });
        assert_eq!(swept.records.len(), 2);
    }
}
