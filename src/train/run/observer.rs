//! What a training tells of itself: the events of a run, and what it came to.

use crate::digest::Digest;
use crate::experiment::plan::Effective;
use crate::planted::Planted;
use crate::row::{ChainRow, ConfusionRow, DiagnosticRow, Diagnostics, EpochRow, StepRow};

/// Called as `started → (stepped … → measured … → kept) per epoch → measured`, the last time for the test split. What else
/// is known of a split follows its `measured`, and of a step its `stepped`.
pub trait Observer {
    fn started(&mut self, started: &Started);
    /// Positions in the training file of the images of the step that follows.
    fn chose(&mut self, _: &[u32]) {}
    fn stepped(&mut self, row: &StepRow) -> Control;
    fn measured(&mut self, row: &EpochRow);
    fn diagnosed(&mut self, _: &[DiagnosticRow]) {}
    fn confused(&mut self, _: &[ConfusionRow]) {}
    /// Before `stepped` of the same step.
    fn chained(&mut self, _: Vec<ChainRow>) {}
    /// A state to go on from, together with the rows so far. Not after the last epoch.
    fn kept(&mut self, _: Kept) {}
}

/// The state of a training after `step` steps; its content is for [`Options::resume`] alone.
pub struct Kept {
    pub step: u64,
    /// A safetensors file.
    pub state: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Control {
    Continue,
    /// Hand the state over, and go on.
    Keep,
    /// Hand the state over, and end.
    Stop,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Started {
    /// Steps that are done already: 0 unless resumed.
    pub done: u64,
    /// At most: early stopping or a target loss may end the run sooner.
    pub steps: u64,
    pub steps_per_epoch: u64,
    /// Training images an epoch.
    pub images: u64,
    pub parameters: usize,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Ending {
    Finished,
    /// The loss of `step` was not finite.
    Diverged {
        step: u64,
        loss: f64,
    },
    /// The observer asked to stop after `step`.
    Stopped {
        step: u64,
    },
}

#[derive(Clone, PartialEq, Debug)]
pub struct Trained {
    pub ending: Ending,
    pub initial_weights: Digest,
    /// Those that were kept, with early stopping.
    pub final_weights: Digest,
    /// What the plan came to.
    pub effective: Effective,
    /// The epoch whose weights were kept and tested: of every finished run with early stopping, and of no other.
    pub kept_epoch: Option<u32>,
    pub steps: u64,
    /// Sum of the steps, sum of the evaluations, and everything from the first step on but the diagnostics.
    pub train_ns: u64,
    pub evaluate_ns: u64,
    /// Sum of the diagnostics.
    pub diagnose_ns: u64,
    /// Of all processes together, without the diagnostics and the hand-over of states.
    pub wall_ns: u64,
}

/// What is no part of the trial or of its plan.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    pub diagnostics: Diagnostics,
    /// A state that [`Observer::kept`] was given, and the steps up to it.
    pub resume: Option<(&'a [u8], &'a [StepRow])>,
    pub planted: Option<Planted>,
    /// Steps and nothing else: no evaluation and no state to go on from.
    pub only_steps: bool,
}
