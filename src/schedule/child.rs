//! One run in a process of its own: libtorch's seed, thread counts and allocator belong to the process, and a run that
//! dies must not take the sweep with it.

use std::collections::VecDeque;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::record::{RunId, Status};
use crate::schedule::blocks::Timer;
use crate::schedule::interrupt::Adopted;
use crate::schedule::{EXIT_BUSY, EXIT_INTERRUPTED, Event, Interrupt, Job, Task};

/// Of the child's last words.
const TAIL_BYTES: usize = 8 * 1024;
/// A line of output that is longer is noise, not an event.
const LINE_BYTES: u64 = 64 * 1024;

/// Runs jobs, from several threads at once. A trait so that a sweep can be tested without processes.
pub trait Executor: Sync {
    /// Runs `job` to its end. An error says that no child could be run at all.
    fn execute(&self, job: &Job, observer: &mut dyn FnMut(&Event)) -> io::Result<Ending>;
}

/// How a child ended.
#[derive(Clone, PartialEq, Debug)]
pub enum Ending {
    /// The run is in the store.
    Sealed {
        run: RunId,
        status: Status,
    },
    /// A task that seals no run has written what was asked for.
    Done,
    /// It ended before it could seal, or before it was done.
    Died {
        reason: String,
    },
    /// Another process has the trial.
    Busy,
    Interrupted,
}

/// `program train --parent PID` in the environment of the plan.
pub struct Children {
    pub program: PathBuf,
    pub interrupt: Interrupt,
}

impl Children {
    /// Children of the program that is running.
    pub fn of_this_program(interrupt: &Interrupt) -> io::Result<Self> {
        Ok(Self { program: std::env::current_exe()?, interrupt: interrupt.clone() })
    }

    fn spawn(&self, job: &Job) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(["train", "--parent", &std::process::id().to_string()]);
        if job.task == Task::Indexed {
            command.arg("--patient");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A terminal's Ctrl-C then comes once: from this process, which hands on what comes to it.
        command.process_group(0);
        for (name, value) in job.plan.environment() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.envs(job.task.environment().iter().copied());
        command.spawn()
    }
}

/// Passes events to `observer` until the child closes its output; returns the ending that one of them was.
fn follow(events: mpsc::Receiver<Event>, observer: &mut dyn FnMut(&Event)) -> Option<Ending> {
    let mut last = None;
    for event in events {
        observer(&event);
        last = said(event).or(last);
    }
    last
}

/// The ending that an event is.
fn said(event: Event) -> Option<Ending> {
    match event {
        Event::Sealed { run, status } => Some(Ending::Sealed { run, status }),
        Event::Done => Some(Ending::Done),
        _ => None,
    }
}

/// A child that has its job. It waits for nobody unless its task says so.
struct Started<'a> {
    child: Child,
    adopted: Adopted<'a>,
    events: mpsc::Receiver<Event>,
    readers: Vec<JoinHandle<String>>,
    /// Open for as long as the child may be told to go.
    input: Option<ChildStdin>,
    /// What it said last of all, where it has.
    said: Option<Ending>,
}

impl Children {
    fn start(&self, job: &Job) -> io::Result<Started<'_>> {
        let mut child = self.spawn(job)?;
        let adopted = self.interrupt.adopt(child.id());
        let (sender, events) = mpsc::channel();
        let output = child.stdout.take().map(|pipe| thread::spawn(move || read_events(pipe, &sender)));
        let errors = child.stderr.take().map(|pipe| thread::spawn(move || read_tail(pipe)));
        let mut input = child.stdin.take();
        if let Some(input) = &mut input {
            // A child that is gone before it has read its job says why by its exit.
            let _ = input.write_all(&[serde_json::to_vec(job)?, b"\n".to_vec()].concat());
        }
        let readers = [errors, output].into_iter().flatten().collect();
        Ok(Started { child, adopted, events, readers, input, said: None })
    }
}

impl Started<'_> {
    /// Waits until the child is ready for a turn; `false` once it has ended.
    fn is_ready(&mut self) -> bool {
        while let Ok(event) = self.events.recv() {
            match event {
                Event::Ready => return true,
                event => self.said = said(event).or(self.said.take()),
            }
        }
        false
    }

    fn go(&mut self) {
        if let Some(input) = &mut self.input {
            // As above.
            let _ = input.write_all(b"go\n");
        }
    }

    /// The child reads that nothing more will be said, and ends if it waits for it.
    fn finish(mut self, interrupt: &Interrupt, observer: &mut dyn FnMut(&Event)) -> io::Result<Ending> {
        drop(self.input.take());
        let said = follow(self.events, observer).or(self.said);
        drop(self.adopted);
        let status = self.child.wait()?;
        let tail = self.readers.into_iter().map(joined).collect::<String>();
        Ok(ending(status, said, &tail, interrupt.is_asked()))
    }
}

impl Executor for Children {
    /// To the kernel a child's parent is the thread that starts it, with which `train` ends: that thread waits here.
    fn execute(&self, job: &Job, observer: &mut dyn FnMut(&Event)) -> io::Result<Ending> {
        self.start(job)?.finish(&self.interrupt, observer)
    }
}

impl Timer for Children {
    /// Loading libtorch and the data takes longer than a few steps: all children do that at once. Then they have turns of a few
    /// steps, there and back again, while the others sleep: what a neighbour does to this machine for a second, it does to
    /// all of them.
    fn time(&self, jobs: &[Job], ended: &mut dyn FnMut(usize, Ending, Duration)) -> io::Result<()> {
        let began = Instant::now();
        let started: Vec<Started> = jobs.iter().map(|job| self.start(job)).collect::<io::Result<_>>()?;
        let mut waiting: Vec<Turn> = started
            .into_iter()
            .enumerate()
            .map(|(index, child)| Turn { index, child, took: Duration::ZERO })
            .collect();
        let mut is_first = true;
        while !waiting.is_empty() {
            let mut still = Vec::new();
            for mut turn in waiting {
                let since = Instant::now();
                // One that is not told to go on says nothing more, and ends with its standard input.
                let has_turn = is_first || !self.interrupt.is_asked();
                if !is_first && has_turn {
                    turn.child.go();
                }
                // Before its first turn each says that it is ready, and on a signal ends.
                if has_turn && turn.child.is_ready() && !self.interrupt.is_asked() {
                    turn.took += since.elapsed();
                    still.push(turn);
                    continue;
                }
                let Turn { index, child, took } = turn;
                let ending = child.finish(&self.interrupt, &mut |_| {})?;
                ended(index, ending, took + since.elapsed());
            }
            if is_first {
                let each = began.elapsed() / jobs.len().max(1) as u32;
                still.iter_mut().for_each(|turn| turn.took = each);
                is_first = false;
            } else {
                still.reverse();
            }
            waiting = still;
        }
        Ok(())
    }
}

/// Turns that somebody else gives, who has other processes beside.
pub struct OnCue<'a> {
    pub children: &'a Children,
    /// Waits for the next turn; `false` where there will be none.
    pub cue: &'a dyn Fn() -> bool,
}

impl Timer for OnCue<'_> {
    fn time(&self, jobs: &[Job], ended: &mut dyn FnMut(usize, Ending, Duration)) -> io::Result<()> {
        let interrupt = &self.children.interrupt;
        for (index, job) in jobs.iter().enumerate() {
            let began = Instant::now();
            let mut child = self.children.start(job)?;
            while child.is_ready() && !interrupt.is_asked() && (self.cue)() {
                child.go();
            }
            ended(index, child.finish(interrupt, &mut |_| {})?, began.elapsed());
        }
        Ok(())
    }
}

/// A child among others that have turns.
struct Turn<'a> {
    index: usize,
    child: Started<'a>,
    /// Making it ready, and its turns so far.
    took: Duration,
}

fn joined(reader: JoinHandle<String>) -> String {
    reader.join().unwrap_or_else(|_| "(its output could not be read)".to_owned())
}

fn ending(status: ExitStatus, said: Option<Ending>, tail: &str, asked: bool) -> Ending {
    match (said, status.code()) {
        (Some(ending), _) => ending,
        (None, Some(code)) if code == i32::from(EXIT_BUSY) => Ending::Busy,
        (None, Some(code)) if code == i32::from(EXIT_INTERRUPTED) => Ending::Interrupted,
        // A signal that came before the child could catch it.
        (None, None) if asked => Ending::Interrupted,
        (None, _) => Ending::Died { reason: reason(status, tail) },
    }
}

fn reason(status: ExitStatus, tail: &str) -> String {
    let how = match (status.signal(), status.code()) {
        (Some(libc::SIGKILL), _) => "killed by signal 9; the machine may have run out of memory".to_owned(),
        (Some(signal), _) => format!("killed by signal {signal}"),
        (None, Some(0)) => "ended without a run".to_owned(),
        (None, code) => format!("ended with exit code {}", code.unwrap_or_default()),
    };
    match tail.trim() {
        "" => how,
        tail => format!("{how}: {}", tail.strip_prefix("error: ").unwrap_or(tail)),
    }
}

/// Sends the events of a child; returns the end of what was none.
pub(crate) fn read_events(pipe: impl Read, events: &Sender<Event>) -> String {
    let (mut reader, mut noise, mut line) = (BufReader::new(pipe), Tail::default(), Vec::new());
    loop {
        line.clear();
        match reader.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return noise.text(),
            Ok(_) => match serde_json::from_slice(&line) {
                // Nobody to tell: the sweep is gone, and this process with it.
                Ok(event) => drop(events.send(event)),
                Err(_) => noise.push(&line),
            },
        }
    }
}

fn read_tail(mut pipe: impl Read) -> String {
    let (mut tail, mut buffer) = (Tail::default(), [0; 4096]);
    loop {
        match pipe.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => return tail.text(),
            Ok(count) => tail.push(&buffer[..count]),
        }
    }
}

/// The last bytes of a text that may be long.
#[derive(Default)]
struct Tail(VecDeque<u8>);

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
        let surplus = self.0.len().saturating_sub(TAIL_BYTES);
        self.0.drain(..surplus);
    }

    fn text(mut self) -> String {
        String::from_utf8_lossy(self.0.make_contiguous()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::analyse::samples;
    use crate::row::Diagnostics;

    fn job() -> Job {
        let record = samples::finished(&samples::profile().arms[0], 0).record;
        Job {
            experiment: "m1".to_owned(),
            profile: "full".to_owned(),
            trial: record.trial,
            plan: record.plan,
            store: PathBuf::from("runs"),
            data: PathBuf::from("data"),
            workspace: PathBuf::from("."),
            diagnostics: Diagnostics::On,
            task: Task::TRAIN,
            beside: 0,
            block: None,
            command: record.command,
        }
    }

    /// Children that are this shell script, `child` in `folder`.
    fn children(folder: &Path, script: &str) -> Children {
        let program = folder.join("child");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Children { program, interrupt: Interrupt::default() }
    }

    fn run(script: &str) -> (Ending, Vec<Event>) {
        let folder = tempfile::tempdir().unwrap();
        let children = children(folder.path(), script);
        let mut seen = Vec::new();
        let ending = children.execute(&job(), &mut |event| seen.push(event.clone())).unwrap();
        (ending, seen)
    }

    #[test]
    fn a_child_that_seals_is_believed_and_its_other_output_is_passed_over() {
        let sealed = r#"{"event":"sealed","run":"run-1","status":{"state":"finished"}}"#;
        let (ending, seen) = run(&format!("cat >/dev/null; echo noise; echo '{sealed}'"));
        assert_eq!(ending, Ending::Sealed { run: RunId("run-1".to_owned()), status: Status::Finished });
        assert_eq!(seen.len(), 1);
    }

    #[test]
    fn the_job_reaches_the_child_in_the_plans_environment() {
        let (ending, _) =
            run(r#"grep -q '"experiment":"m1"' && echo "threads $OMP_NUM_THREADS" >&2; exit 1"#);
        let Ending::Died { reason } = ending else { panic!("{ending:?}") };
        assert_eq!(reason, format!("ended with exit code 1: threads {}", job().plan.threads));
    }

    #[test]
    fn a_child_that_dies_says_by_what_and_with_its_last_words() {
        let died = |script| match run(script).0 {
            Ending::Died { reason } => reason,
            other => panic!("{other:?}"),
        };
        assert!(
            died("echo 'error: no memory' >&2; kill -9 $$").contains("may have run out of memory: no memory")
        );
        assert_eq!(died("kill -11 $$"), "killed by signal 11");
        assert_eq!(died("exit 0"), "ended without a run");
        let long = died("head -c 100000 /dev/zero | tr '\\0' x >&2; echo END >&2; exit 1");
        assert!(long.len() < TAIL_BYTES + 100 && long.ends_with("END"), "{} bytes", long.len());
    }

    #[test]
    fn busy_and_interrupted_are_no_failures() {
        assert_eq!(run("exit 75").0, Ending::Busy);
        assert_eq!(run("exit 130").0, Ending::Interrupted);
    }

    /// Of two children one was told: the flag was taken by whoever looked first.
    #[test]
    fn sigterm_is_passed_on_to_every_child_and_once() {
        let folder = tempfile::tempdir().unwrap();
        // It says that it is ready for the signal, and stays long enough for a second one to come.
        let script = r#"trap 'caught=1; echo TERM >>"$0.log"' TERM
echo '{"event":"started","steps":1,"steps_per_epoch":1,"images":1}'
while [ -z "$caught" ]; do sleep 0.02; done
sleep 0.3
exit 130"#;
        let (children, ready) = (children(folder.path(), script), AtomicUsize::new(0));
        let run = || {
            let mut heard = |_: &Event| {
                if ready.fetch_add(1, Ordering::Relaxed) == 1 {
                    children.interrupt.came(libc::SIGTERM);
                    children.interrupt.came(libc::SIGTERM);
                }
            };
            children.execute(&job(), &mut heard).unwrap()
        };
        let endings = thread::scope(|scope| {
            let both = [scope.spawn(run), scope.spawn(run)];
            both.map(|child| child.join().unwrap())
        });
        assert_eq!(endings, [Ending::Interrupted, Ending::Interrupted]);
        assert_eq!(fs::read_to_string(folder.path().join("child.log")).unwrap(), "TERM\nTERM\n");
    }
}
