//! The version of everything the store writes, and the columns of its frames.
//!
//! # When something changes
//!
//! [`FORMAT`] is one number for `run.json` and all frames; where runs lie has a number of its own, in the store's
//! marker. It rises by one with every change that an older pinbench would misread, a new column included: the frames' columns
//! are checked exactly, so that a forgotten column is an error and never a silent default.
//!
//! The change that raises it also
//! 1. keeps reading what [`OLDEST`] and later wrote: `listing` upgrades the JSON of an older `run.json` before
//!    it is parsed, `frame` fills a column that did not exist yet with the value the note below states;
//! 2. adds its line to the table below;
//! 3. adds a store of the old format to the tests.
//!
//! Runs are never rewritten: an older run stays as it was sealed, under its own digests, and is upgraded in
//! memory. A newer format is refused, because whatever it says cannot be known.
//!
//! | format | change | reading older runs |
//! | --- | --- | --- |
//! | 1 | the first | – |
//! | 2 | `confusion.parquet` and `diagnostics.parquet` | no rows of either; `pinbench run` does not redo them |
//! | 3 | `chain.parquet`; `resumed`, `reference_ns` and `planted` in the record | no rows; never resumed; no reference |
//! | 4 | `device_…_ns` of the steps | null, as on a CPU: no device was timed |
//! | 5 | `effective`, `program`, `beside`, `block` and `gpu_clocks` in the record; `jobs` and `micro_batch` out of its plan; \
//! phases of steps may be null; no rows of confusion cells without images | absent, but for `beside`, which was `jobs` less \
//! 1, and `train.micro_batch` of the config; the rows are left out |

use polars::prelude::DataType;

pub const FORMAT: u32 = 5;

/// The oldest format that is still read.
pub const OLDEST: u32 = 1;

pub const STEPS_FILE: &str = "steps.parquet";
pub const EPOCHS_FILE: &str = "epochs.parquet";
pub const CONFUSION_FILE: &str = "confusion.parquet";
pub const DIAGNOSTICS_FILE: &str = "diagnostics.parquet";
pub const CHAIN_FILE: &str = "chain.parquet";

/// The frames a run of `format` has.
pub fn frames(format: u32) -> &'static [&'static str] {
    match format {
        1 => &[STEPS_FILE, EPOCHS_FILE],
        2 => &[STEPS_FILE, EPOCHS_FILE, CONFUSION_FILE, DIAGNOSTICS_FILE],
        _ => &[STEPS_FILE, EPOCHS_FILE, CONFUSION_FILE, DIAGNOSTICS_FILE, CHAIN_FILE],
    }
}

/// One column as it is on disk. None may hold null but the times of the phases, on the host or a device, which then all do;
/// a float may hold NaN or an infinity, which are values.
#[derive(Clone, PartialEq, Debug)]
pub struct Column {
    pub name: &'static str,
    pub dtype: DataType,
    /// Empty for a pure number or a name.
    pub unit: &'static str,
}

const fn column(name: &'static str, dtype: DataType, unit: &'static str) -> Column {
    Column { name, dtype, unit }
}

/// Columns of the steps before format 4.
const STEPS_BEFORE_DEVICES: usize = 18;

/// The columns that the steps of a run of `format` have.
pub fn steps(format: u32) -> &'static [Column] {
    if format < 4 { &STEPS[..STEPS_BEFORE_DEVICES] } else { &STEPS }
}

/// One row a step, in the order of the steps.
pub static STEPS: [Column; 24] = [
    column("epoch", DataType::UInt32, ""),
    column("step", DataType::UInt64, ""),
    column("images", DataType::UInt32, "images"),
    column("loss", DataType::Float64, "nats"),
    column("correct", DataType::UInt32, "images"),
    column("load_ns", DataType::UInt64, "ns"),
    column("copy_ns", DataType::UInt64, "ns"),
    column("forward_ns", DataType::UInt64, "ns"),
    column("backward_ns", DataType::UInt64, "ns"),
    column("optimizer_ns", DataType::UInt64, "ns"),
    column("read_back_ns", DataType::UInt64, "ns"),
    column("total_ns", DataType::UInt64, "ns"),
    column("user_us", DataType::UInt64, "µs"),
    column("system_us", DataType::UInt64, "µs"),
    column("minor_faults", DataType::UInt64, "page faults"),
    column("major_faults", DataType::UInt64, "page faults"),
    column("voluntary_switches", DataType::UInt64, "context switches"),
    column("involuntary_switches", DataType::UInt64, "context switches"),
    column("device_load_ns", DataType::UInt64, "ns"),
    column("device_copy_ns", DataType::UInt64, "ns"),
    column("device_forward_ns", DataType::UInt64, "ns"),
    column("device_backward_ns", DataType::UInt64, "ns"),
    column("device_optimizer_ns", DataType::UInt64, "ns"),
    column("device_read_back_ns", DataType::UInt64, "ns"),
];

/// One row a measurement over a split, in the order they were taken.
pub static EPOCHS: [Column; 6] = [
    column("epoch", DataType::UInt32, ""),
    column("split", DataType::String, ""),
    column("images", DataType::UInt32, "images"),
    column("loss", DataType::Float64, "nats"),
    column("accuracy", DataType::Float64, "share, 0 to 1"),
    column("wall_ns", DataType::UInt64, "ns"),
];

/// One row a cell of a confusion matrix that has images.
pub static CONFUSION: [Column; 5] = [
    column("epoch", DataType::UInt32, ""),
    column("split", DataType::String, ""),
    column("label", DataType::UInt32, "class"),
    column("predicted", DataType::UInt32, "class"),
    column("images", DataType::UInt32, "images"),
];

/// One row a number, in the order they were measured; the unit depends on the diagnostic (`row::Diagnostic`).
pub static DIAGNOSTICS: [Column; 4] = [
    column("epoch", DataType::UInt32, ""),
    column("diagnostic", DataType::String, ""),
    column("of", DataType::String, "split or layer"),
    column("value", DataType::Float64, ""),
];

/// One row a step, and one a tensor at some of them, in the order they were hashed.
pub static CHAIN: [Column; 3] = [
    column("step", DataType::UInt64, ""),
    column("of", DataType::String, "tensor"),
    column("hash", DataType::UInt64, ""),
];

/// A format this pinbench does not read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UnknownFormat {
    #[error("format {found} is newer than format {latest}, the latest this pinbench reads; update pinbench")]
    Newer { found: u32, latest: u32 },
    #[error(
        "format {found} is older than format {OLDEST}, the oldest this pinbench reads; use the pinbench that \
         wrote it"
    )]
    Older { found: u32 },
}

pub fn check_format(found: u32) -> Result<(), UnknownFormat> {
    check_up_to(FORMAT, found)
}

pub fn check_up_to(latest: u32, found: u32) -> Result<(), UnknownFormat> {
    match found {
        0..OLDEST => Err(UnknownFormat::Older { found }),
        _ if found <= latest => Ok(()),
        _ => Err(UnknownFormat::Newer { found, latest }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Phase;

    #[test]
    fn every_phase_has_its_column_in_the_order_of_the_step() {
        let names: Vec<_> = STEPS.iter().map(|column| column.name).collect();
        let phases: Vec<_> = Phase::ALL.iter().map(|phase| format!("{}_ns", phase.name())).collect();
        assert_eq!(names[5..11], phases);
        let on_device: Vec<_> = phases.iter().map(|phase| format!("device_{phase}")).collect();
        assert_eq!(names[STEPS_BEFORE_DEVICES..], on_device);
    }

    #[test]
    fn column_names_are_unique() {
        for columns in [&STEPS[..], &EPOCHS[..], &CONFUSION[..], &DIAGNOSTICS[..], &CHAIN[..]] {
            let mut names: Vec<_> = columns.iter().map(|column| column.name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), columns.len());
        }
    }

    #[test]
    fn a_format_outside_the_range_is_refused_with_both_numbers() {
        assert_eq!(check_format(FORMAT), Ok(()));
        let newer = check_format(FORMAT + 1).unwrap_err().to_string();
        assert!(
            newer.contains(&format!("format {}", FORMAT + 1)) && newer.contains(&format!("format {FORMAT}")),
            "{newer}"
        );
        let older = check_format(0).unwrap_err().to_string();
        assert!(older.contains("format 0") && older.contains("format 1"), "{older}");
    }
}
