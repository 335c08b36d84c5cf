//! A measurement of times: what was to be compared, and every process that was timed, block by block.
//!
//! ```text
//! <folder>/measurement.json   the conditions and the command
//!          processes.jsonl    a line for each process that was timed, in the order in which they ended
//!          whole-blocks       how many blocks are whole, where somebody ended it within one
//!          runs/              a store with their rows
//! ```
//!
//! A table or page is computed from this folder, again and again. The store is one of its own, because a timed process ends
//! after a few steps: its run is no result of a trial.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::experiment::{Config, Plan, TrialId};
use crate::planted::Planted;
use crate::record::{Problem, RunId, Store, StoreError};

const DESIGN: &str = "measurement.json";
const PROCESSES: &str = "processes.jsonl";
const RUNS: &str = "runs";
/// Only of a measurement that somebody ended.
const WHOLE: &str = "whole-blocks";

/// Raised when a field changes its meaning.
const FORMAT: u32 = 1;

/// What is measured: in each block every condition once, adjacent in time.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Design {
    pub conditions: Vec<Condition>,
    /// Two conditions that are one thing under two names: what they differ by is the floor under every sentence.
    pub alike: Option<(usize, usize)>,
}

/// One thing to time: a config under a plan.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// What people call it; two conditions of a design never have one name.
    pub name: String,
    /// Experiment that it comes from, for the records.
    pub experiment: String,
    pub config: Config,
    pub plan: Plan,
    /// What slows its steps down on purpose, to see it found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Planted>,
}

/// A process that was timed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timed {
    /// From 0.
    pub block: u64,
    /// Within the block, from 0.
    pub place: u32,
    /// Index of the condition in the design.
    pub condition: usize,
    /// 0, and more where the process before it was disturbed and measured again.
    pub attempt: u32,
    pub trial: TrialId,
    /// Its run in the store; `None` of one that sealed none, with the reason.
    pub run: Option<RunId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct WireMeasurement {
    format: u32,
    command: String,
    #[serde(flatten)]
    design: Design,
}

/// A folder with a measurement in it.
pub struct Measurement {
    folder: PathBuf,
    pub design: Design,
    /// Measures the same again.
    pub command: String,
    pub store: Store,
}

#[derive(Debug, thiserror::Error)]
pub enum MeasurementError {
    #[error("cannot {what} '{}': {source}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error("'{}' is no measurement that this pinbench reads: {reason}", path.display())]
    Content { path: PathBuf, reason: String },
    #[error("there is a measurement in '{}' already; name another folder, or remove it", .0.display())]
    Taken(PathBuf),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Run(#[from] Problem),
}

impl Measurement {
    /// Begins a measurement in `folder`, which must have none.
    pub fn create(folder: &Path, design: Design, command: &str) -> Result<Self, MeasurementError> {
        let path = folder.join(DESIGN);
        fs::create_dir_all(folder).map_err(io_error("create", folder))?;
        // Made and not looked for: another may begin in the same moment.
        let mut file = match File::create_new(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(MeasurementError::Taken(folder.to_owned()));
            }
            file => file.map_err(io_error("create", &path))?,
        };
        let store = Store::open(&folder.join(RUNS))?;
        let wire = WireMeasurement { format: FORMAT, command: command.to_owned(), design };
        let text = serde_json::to_vec_pretty(&wire)
            .map_err(|error| MeasurementError::Content { path: path.clone(), reason: error.to_string() })?;
        file.write_all(&text).map_err(io_error("write", &path))?;
        Ok(Self { folder: folder.to_owned(), design: wire.design, command: wire.command, store })
    }

    pub fn open(folder: &Path) -> Result<Self, MeasurementError> {
        let path = folder.join(DESIGN);
        let bytes = fs::read(&path).map_err(io_error("read", &path))?;
        let content = |reason: String| MeasurementError::Content { path: path.clone(), reason };
        let wire: WireMeasurement =
            serde_json::from_slice(&bytes).map_err(|error| content(error.to_string()))?;
        if wire.format != FORMAT {
            return Err(content(format!("its format is {}, expected {FORMAT}", wire.format)));
        }
        let store = Store::open(&folder.join(RUNS))?;
        Ok(Self { folder: folder.to_owned(), design: wire.design, command: wire.command, store })
    }

    /// Notes a process that has ended.
    pub fn add(&self, timed: &Timed) -> Result<(), MeasurementError> {
        let path = self.folder.join(PROCESSES);
        let mut line = serde_json::to_vec(timed)
            .map_err(|error| MeasurementError::Content { path: path.clone(), reason: error.to_string() })?;
        line.push(b'\n');
        let mut file =
            OpenOptions::new().create(true).append(true).open(&path).map_err(io_error("open", &path))?;
        // One call, so that a kill leaves at most the last line torn.
        file.write_all(&line).map_err(io_error("write", &path))
    }

    /// Notes that the measurement was ended after so many whole blocks: what is left of another is compared with nothing.
    pub fn interrupted(&self, blocks: u64) -> Result<(), MeasurementError> {
        let path = self.folder.join(WHOLE);
        fs::write(&path, format!("{blocks}\n")).map_err(io_error("write", &path))
    }

    /// How many blocks are whole, where the measurement was ended within one.
    fn whole_blocks(&self) -> Result<u64, MeasurementError> {
        let path = self.folder.join(WHOLE);
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(u64::MAX),
            text => {
                let text = text.map_err(io_error("read", &path))?;
                text.trim().parse().map_err(|_| MeasurementError::Content {
                    path,
                    reason: format!("found {:?}, expected a number of blocks", text.trim()),
                })
            }
        }
    }

    /// Every process that came to its end in a whole block, in the order in which they ended.
    pub fn counted(&self) -> Result<Vec<Timed>, MeasurementError> {
        let (whole, mut timed) = (self.whole_blocks()?, self.timed()?);
        timed.retain(|timed| timed.block < whole && timed.failed.is_none());
        Ok(timed)
    }

    /// Every process, in the order in which they ended. A last line that a kill left torn is none.
    pub fn timed(&self) -> Result<Vec<Timed>, MeasurementError> {
        let path = self.folder.join(PROCESSES);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text.map_err(io_error("read", &path))?,
        };
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let conditions = self.design.conditions.len();
        let parse = |(number, line): (usize, &str)| {
            let content = |reason: String| MeasurementError::Content {
                path: path.clone(),
                reason: format!("line {}: {reason}", number + 1),
            };
            let timed: Timed = serde_json::from_str(line).map_err(|error| content(error.to_string()))?;
            if timed.condition >= conditions {
                return Err(content(format!(
                    "condition {} of a measurement that has {conditions}",
                    timed.condition
                )));
            }
            Ok(timed)
        };
        whole.lines().enumerate().map(parse).collect()
    }
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> MeasurementError {
    let path = path.to_owned();
    move |source| MeasurementError::Io { what, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::samples;

    fn timed(block: u64, condition: usize) -> Timed {
        Timed {
            block,
            place: 0,
            condition,
            attempt: 0,
            trial: samples::record(0, "r").trial_id,
            run: Some(RunId("20260102T030405.678901Z-1-0".to_owned())),
            failed: None,
        }
    }

    #[test]
    fn what_is_left_of_a_block_that_was_interrupted_and_what_failed_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let measurement = Measurement::create(folder.path(), design(), "pinbench time m1").unwrap();
        let failed = Timed { failed: Some("the loss of step 3 is NaN".to_owned()), ..timed(0, 1) };
        for timed in [timed(0, 0), failed, timed(1, 0), timed(2, 0)] {
            measurement.add(&timed).unwrap();
        }
        assert_eq!(measurement.counted().unwrap(), [timed(0, 0), timed(1, 0), timed(2, 0)]);
        measurement.interrupted(2).unwrap();
        assert_eq!(measurement.counted().unwrap(), [timed(0, 0), timed(1, 0)]);
    }

    fn design() -> Design {
        let record = samples::record(0, "r");
        let condition = |name: &str| Condition {
            name: name.to_owned(),
            experiment: "m1".to_owned(),
            config: record.trial.config.clone(),
            plan: record.plan.clone(),
            fault: None,
        };
        Design { conditions: vec![condition("a"), condition("a again")], alike: Some((0, 1)) }
    }

    #[test]
    fn a_measurement_is_read_as_it_was_written_and_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let measurement = Measurement::create(folder.path(), design(), "pinbench time m1").unwrap();
        assert_eq!(measurement.timed().unwrap(), []);
        measurement.add(&timed(0, 1)).unwrap();
        measurement.add(&timed(0, 0)).unwrap();
        let read = Measurement::open(folder.path()).unwrap();
        assert_eq!((&read.design, read.command.as_str()), (&design(), "pinbench time m1"));
        assert_eq!(read.timed().unwrap(), [timed(0, 1), timed(0, 0)]);
        let again = Measurement::create(folder.path(), design(), "pinbench time m1");
        assert!(matches!(again, Err(MeasurementError::Taken(_))));
    }

    #[test]
    fn a_torn_last_line_is_no_process_and_a_foreign_one_an_error_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let measurement = Measurement::create(folder.path(), design(), "").unwrap();
        measurement.add(&timed(0, 1)).unwrap();
        let path = folder.path().join(PROCESSES);
        let line = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{line}{}", &line[..20])).unwrap();
        assert_eq!(measurement.timed().unwrap(), [timed(0, 1)]);
        fs::write(&path, line.replace("\"condition\":1", "\"condition\":2")).unwrap();
        let error = measurement.timed().unwrap_err().to_string();
        assert!(error.contains("line 1: condition 2 of a measurement that has 2"), "{error}");
    }
}
