//! Ctrl-C and SIGTERM: the first asks for an orderly end, the second ends the process at once.
//!
//! Children are in process groups of their own, so that a terminal's Ctrl-C, `kill`, `timeout` and a supervisor all do the
//! same: the parent gets the signal and hands it on, once. A second one would end a child without a checkpoint.
//!
//! A cluster's scheduler tells every process of a job by itself, repeats what it told and kills in the end: who runs for one
//! is patient, and takes every further signal for the first. SIGUSR1, a scheduler's notice, asks for the same as SIGTERM.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use libc::{SIGCONT, SIGINT, SIGSTOP, SIGTERM, SIGTSTP, SIGUSR1, c_int, pid_t};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use crate::schedule::EXIT_INTERRUPTED;

/// A handle; clones see the same signals.
#[derive(Clone, Default)]
pub struct Interrupt {
    asked: Arc<AtomicBool>,
    continued: Arc<AtomicBool>,
    family: Arc<Mutex<Family>>,
}

/// The children that are not waited for yet, and what they were told.
#[derive(Default)]
struct Family {
    children: BTreeSet<pid_t>,
    told: Option<c_int>,
}

/// A child that is told of signals for as long as this lives. It must not be waited for before.
pub(super) struct Adopted<'a> {
    interrupt: &'a Interrupt,
    child: pid_t,
}

impl Interrupt {
    /// Takes over the signals for the rest of the process, and hands them on to the children there are.
    pub fn install() -> io::Result<Self> {
        Self::install_in_child()?.handing_on()
    }

    /// The same for who runs under a scheduler: no signal but the last one, which nobody can catch, ends it at once.
    pub fn install_patient() -> io::Result<Self> {
        Self::install_in_patient_child()?.handing_on()
    }

    /// Takes over the signals in a process that starts no others.
    pub fn install_in_child() -> io::Result<Self> {
        let interrupt = Self::default();
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag unset, and only then sets it.
            flag::register_conditional_shutdown(
                signal,
                i32::from(EXIT_INTERRUPTED),
                Arc::clone(&interrupt.asked),
            )?;
        }
        interrupt.listen()?;
        Ok(interrupt)
    }

    /// The same in a child of a patient process, which a scheduler tells beside its parent.
    pub fn install_in_patient_child() -> io::Result<Self> {
        let interrupt = Self::default();
        interrupt.listen()?;
        Ok(interrupt)
    }

    fn listen(&self) -> io::Result<()> {
        for signal in [SIGINT, SIGTERM, SIGUSR1] {
            flag::register(signal, Arc::clone(&self.asked))?;
        }
        flag::register(SIGCONT, Arc::clone(&self.continued))?;
        Ok(())
    }

    fn handing_on(self) -> io::Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGUSR1, SIGTSTP, SIGCONT])?;
        let handing_on = self.clone();
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || signals.forever().for_each(|signal| handing_on.came(signal)))?;
        Ok(self)
    }

    /// As if SIGUSR1 came after so long, for a limit that is known beforehand.
    pub fn ask_after(&self, wait: Duration) -> io::Result<()> {
        let asking = self.clone();
        let ask = move || {
            thread::sleep(wait);
            asking.came(SIGUSR1);
        };
        thread::Builder::new().name("limit".to_owned()).spawn(ask).map(drop)
    }

    /// Whether the process went on after it had been stopped, since this was last asked.
    pub fn was_continued(&self) -> bool {
        self.continued.swap(false, Ordering::Relaxed)
    }

    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// As if Ctrl-C had been pressed, but for the children.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Hands on what comes from now on, and what came already: a child may be started while the signal arrives.
    pub(super) fn adopt(&self, child: u32) -> Adopted<'_> {
        let child = child as pid_t;
        let mut family = self.family();
        family.children.insert(child);
        if let Some(signal) = family.told {
            send(child, signal);
        }
        Adopted { interrupt: self, child }
    }

    /// A signal came to this process.
    pub(super) fn came(&self, signal: c_int) {
        match signal {
            // Ctrl-Z stops the children too, and `fg` lets all of them go on.
            SIGTSTP => {
                self.family().send(SIGSTOP);
                send(std::process::id() as pid_t, SIGSTOP);
            }
            SIGCONT => self.family().send(SIGCONT),
            _ => {
                self.ask();
                // A notice is for the job; its children are told to end.
                let signal = if signal == SIGUSR1 { SIGTERM } else { signal };
                let mut family = self.family();
                if family.told.is_none() {
                    family.told = Some(signal);
                    family.send(signal);
                }
            }
        }
    }

    fn family(&self) -> MutexGuard<'_, Family> {
        self.family.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Family {
    fn send(&self, signal: c_int) {
        self.children.iter().for_each(|&child| send(child, signal));
    }
}

impl Drop for Adopted<'_> {
    fn drop(&mut self) {
        self.interrupt.family().children.remove(&self.child);
    }
}

/// That a process has just ended is no error here.
fn send(process: pid_t, signal: c_int) {
    // SAFETY: touches no memory. The number is this process's own or that of a child nobody has waited for yet, which is
    // what `Adopted` asks for, so that it cannot be another process's.
    unsafe { libc::kill(process, signal) };
}
