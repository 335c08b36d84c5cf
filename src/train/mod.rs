//! Training: models, optimizer, loader and the loop, on libtorch.
//!
//! [`train`] runs one trial under one plan and hands its rows to an [`Observer`]; it knows no files. libtorch's
//! seed and thread counts belong to the process, so a process trains one trial.

mod augment;
mod ceilings;
mod chain;
mod checkpoint;
mod diagnose;
mod evaluate;
mod graphs;
mod loader;
mod network;
mod normalise;
mod optimizer;
mod place;
mod plant;
mod resident;
mod run;
mod samples;
mod schedule;
mod shim;
mod stopping;
mod tally;
mod timing;
mod trace;
mod workers;

pub use ceilings::{ceilings, ceilings_of};
pub use evaluate::EVALUATION_BATCH;
pub use normalise::Normalisation;
pub use resident::{Batch, Resident, indices};
pub use run::probe::{Asking, answer};
pub use run::{Control, Ending, Kept, Observer, Options, Started, Trained, train};
pub use samples::Samples;
pub use shim::winograd::convolution;
pub use trace::{Traced, Wanted, trace};
pub use workers::Workers;

use std::io;

use crate::data;
use crate::digest::Digest;
use crate::experiment::Plan;
use crate::experiment::plan::Device;
use crate::machine::{Cuda, Torch};
use crate::train::place::Place;

#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error("libtorch: {0}")]
    Torch(String),
    #[error("device '{device}' cannot be used: {reason}")]
    Device { device: Device, reason: String },
    #[error(transparent)]
    Split(#[from] data::SplitError),
    #[error("the config asks for data set '{expected}', '{found}' was loaded")]
    OtherData { expected: data::Name, found: data::Name },
    #[error("the trial is of data set '{name}' with digest {}, the one here has {}: put the old set back (`pinbench data add` takes a .pin file), or resolve the experiment anew", expected.short(), found.short())]
    OtherDigest { name: data::Name, expected: Digest, found: Digest },
    #[error(
        "the plan records a step as a graph, which one of several passes (`train.micro_batch`) cannot be; use `--plan tuned`, or `--set plan.graph=false`"
    )]
    MicroBatch,
    #[error("the checkpoint cannot be used: {0}")]
    Checkpoint(String),
    #[error("cannot start a thread that loads batches: {0}; use fewer threads")]
    Worker(io::Error),
    #[error("{0}; this is a bug in pinbench")]
    Internal(String),
}

impl From<tch::TchError> for TrainError {
    fn from(error: tch::TchError) -> Self {
        // The first line says what; the rest is libtorch's own call stack.
        let text = error.to_string();
        Self::Torch(text.lines().next().unwrap_or_default().to_owned())
    }
}

/// What libtorch says of itself, at the thread count it has now.
pub fn torch() -> Result<Torch, TrainError> {
    Ok(Torch {
        version: shim::version()?,
        capability: shim::capability()?,
        threads: tch::get_num_threads() as u32,
        parallel: shim::parallel_info()?,
        cuda: tch::utils::has_cuda(),
        kernels: Some(shim::own_kernels()?),
    })
}

/// What libtorch says of CUDA; `None` for the flavour without.
pub fn cuda() -> Result<Option<Cuda>, TrainError> {
    shim::cuda()
}

/// Refuses a plan whose device is not there, for whoever is about to start a process that trains under it.
pub fn check_device(plan: &Plan) -> Result<(), TrainError> {
    Place::of(plan).map(drop)
}

/// Fixes what is global to the process: thread counts and deterministic kernels. Once, before the first tensor:
/// libtorch refuses to change its pool of operators afterwards.
pub fn prepare_process(threads: u32) -> Result<(), TrainError> {
    tch::set_num_threads(threads as i32);
    // One operator at a time: a second one would contend for the same cores.
    tch::set_num_interop_threads(1);
    shim::use_deterministic_algorithms()
}

/// libtorch's generator is global, and tests are threads of one process.
#[cfg(test)]
static GENERATOR: std::sync::Mutex<()> = std::sync::Mutex::new(());
