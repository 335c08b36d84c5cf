//! What is kept of a run: its record as JSON, its rows as Parquet, and the store that holds both.

mod checkpoint;
mod claim;
#[cfg(test)]
mod crash;
pub mod csv;
mod error;
pub mod frame;
pub mod joined;
pub(crate) mod listing;
mod measurement;
mod merge;
pub mod parquet;
mod problem;
mod run;
#[cfg(test)]
mod samples;
pub mod schema;
mod second;
mod select;
#[cfg(test)]
mod simulated;
mod staging;
mod storage;
mod store;
pub mod tensorboard;

pub use checkpoint::{Checkpoint, CheckpointKept, CheckpointKey, Found};
pub use claim::{Claim, ClaimError, Holder};
pub use error::StoreError;
pub use listing::Listing;
pub(crate) use listing::parse_listed;
pub use measurement::{Condition, Design, Measurement, MeasurementError, Timed};
pub use merge::{Conflict, Merged};
pub use problem::{Fault, Problem};
pub use run::{Block, Outcome, RunId, RunRecord, Status, are_together};
pub use second::{Contradiction, Sameness, compare as compare_second};
pub use select::{Standing, Wanted};
pub use staging::{Abandoned, Staging};
pub use storage::has_no_locks;
pub use store::Store;

use crate::digest::Digest;
use crate::record::frame::FrameError;
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

    /// Whether the rows that are here, encoded again, have the digests in the record; rows that are left out say nothing.
    pub fn has_sealed_rows(&self) -> Result<bool, FrameError> {
        Ok(self.digests()?.iter().all(|(file, digest)| self.record.files.get(*file) == Some(digest)))
    }

    /// Of the files that the store has the rows in.
    pub(crate) fn digests(&self) -> Result<Vec<(&'static str, Digest)>, FrameError> {
        let mut frames = vec![
            (schema::EPOCHS_FILE, frame::from_epochs(&self.epochs)?),
            (schema::CONFUSION_FILE, frame::from_confusion(&self.confusion)?),
            (schema::DIAGNOSTICS_FILE, frame::from_diagnostics(&self.diagnostics)?),
        ];
        if !self.steps.is_empty() {
            frames.push((schema::STEPS_FILE, frame::from_steps(&self.steps)?));
        }
        let digest = |(file, mut frame): (&'static str, _)| {
            let bytes = parquet::encode(file, &mut frame, &self.record.run, &self.record.stored_as())?;
            Ok((file, Digest::of(&bytes)))
        };
        frames.into_iter().map(digest).collect()
    }
}
