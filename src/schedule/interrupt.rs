//! Ctrl-C and SIGTERM: the first asks for an orderly end, the second ends the process at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::schedule::EXIT_INTERRUPTED;

/// A handle; clones see the same signals.
#[derive(Clone, Default)]
pub struct Interrupt {
    asked: Arc<AtomicBool>,
    terminate: Arc<AtomicBool>,
}

impl Interrupt {
    /// Takes over both signals for the rest of the process.
    pub fn install() -> io::Result<Self> {
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
        flag::register(SIGTERM, Arc::clone(&interrupt.terminate))?;
        Ok(interrupt)
    }

    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// As if Ctrl-C had been pressed.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Whether there was a SIGTERM, which every child has to be told of: Ctrl-C reaches them by itself, `kill` does not.
    pub fn is_terminated(&self) -> bool {
        self.terminate.load(Ordering::Relaxed)
    }

    /// As if SIGTERM had come.
    pub fn terminate(&self) {
        self.ask();
        self.terminate.store(true, Ordering::Relaxed);
    }
}
