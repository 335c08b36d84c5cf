//! Ctrl-C and SIGTERM: the first asks for an orderly end, the second ends the process at once.
//!
//! Children are in process groups of their own, so that a terminal's Ctrl-C, `kill`, `timeout` and a supervisor all do the
//! same: the parent gets the signal and hands it on, once. A second one would end a child without a checkpoint.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use libc::{SIGCONT, SIGINT, SIGSTOP, SIGTERM, SIGTSTP, c_int, pid_t};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use crate::schedule::EXIT_INTERRUPTED;

/// A handle; clones see the same signals.
#[derive(Clone, Default)]
pub struct Interrupt {
    asked: Arc<AtomicBool>,
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
    /// Takes over both signals for the rest of the process, and hands them on to the children there are.
    pub fn install() -> io::Result<Self> {
        let interrupt = Self::install_in_child()?;
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGTSTP, SIGCONT])?;
        let handing_on = interrupt.clone();
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || signals.forever().for_each(|signal| handing_on.came(signal)))?;
        Ok(interrupt)
    }

    /// Takes over both signals in a process that starts no others.
    pub fn install_in_child() -> io::Result<Self> {
        let interrupt = Self::default();
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag unset, and only then sets it.
            flag::register_conditional_shutdown(
                signal,
                i32::from(EXIT_INTERRUPTED),
                Arc::clone(&interrupt.asked),
            )?;
            flag::register(signal, Arc::clone(&interrupt.asked))?;
        }
        Ok(interrupt)
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
