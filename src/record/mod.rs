//! What is kept of a run: its record as JSON, its rows as Parquet, and the store that holds both.

pub mod bundle;
mod checkpoint;
mod claim;
#[cfg(test)]
mod crash;
pub mod csv;
mod error;
pub mod frame;
pub(crate) mod listing;
mod measurement;
pub mod parquet;
mod problem;
mod run;
#[cfg(test)]
mod samples;
pub mod schema;
mod select;
#[cfg(test)]
mod simulated;
mod staging;
mod storage;
mod store;

pub use checkpoint::{Checkpoint, CheckpointKept, CheckpointKey, Found};
pub use claim::{Claim, ClaimError, Holder};
pub use error::StoreError;
pub use listing::Listing;
pub use measurement::{Condition, Design, Measurement, MeasurementError, Timed};
pub use problem::{Fault, Problem};
pub use run::{Block, GpuClock, GpuClocks, Outcome, RunId, RunRecord, Status, are_together};
pub use select::{Standing, Wanted};
pub use staging::{Abandoned, Staging};
pub use store::Store;

use crate::row::{ChainRow, ConfusionRow, DiagnosticRow, EpochRow, StepRow};

/// The rows of a run as its observer collected them.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Rows {
    pub steps: Vec<StepRow>,
    pub epochs: Vec<EpochRow>,
    /// Empty for runs of format 1, which had none.
    pub confusion: Vec<ConfusionRow>,
    /// Empty for runs of format 1, which had none.
    pub diagnostics: Vec<DiagnosticRow>,
    /// Empty for runs of formats 1 and 2, which had none.
    pub chain: Vec<ChainRow>,
}

/// A run as readers get it: its record and its rows, verified against the digests in the record.
#[derive(Clone, PartialEq, Debug)]
pub struct LoadedRun {
    pub record: RunRecord,
    pub steps: Vec<StepRow>,
    pub epochs: Vec<EpochRow>,
    pub confusion: Vec<ConfusionRow>,
    pub diagnostics: Vec<DiagnosticRow>,
    pub chain: Vec<ChainRow>,
}

impl LoadedRun {
    pub fn new(record: RunRecord, rows: Rows) -> Self {
        let Rows { steps, epochs, confusion, diagnostics, chain } = rows;
        Self { record, steps, epochs, confusion, diagnostics, chain }
    }
}
