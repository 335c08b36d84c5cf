//! The rows of many runs in one frame, each with its arm, seed and run: what lies beside a page, and what the page is made
//! from again.

use std::collections::BTreeMap;
use std::iter::repeat_n;

use polars::prelude::{Column, DataFrame, IntoColumn as _, NamedFrom as _, PlSmallStr, Series};

use crate::record::frame::{self, FrameError};
use crate::record::schema::{CONFUSION_FILE, DIAGNOSTICS_FILE, EPOCHS_FILE, FORMAT, STEPS_FILE};
use crate::record::{LoadedRun, csv, parquet};
use crate::row::{ConfusionRow, DiagnosticRow, EpochRow, StepRow};

/// A run and the name of its arm.
pub type Labelled<'a> = (&'a str, &'a LoadedRun);

/// The rows of each run, by the name of the arm and the id of the run.
pub type ByRun<R> = BTreeMap<(String, String), Vec<R>>;

/// Columns before those of the rows.
const LABELS: [&str; 3] = ["arm", "seed", "run"];

pub fn epochs_csv(runs: &[Labelled]) -> Result<Vec<u8>, FrameError> {
    csv::encode(EPOCHS_FILE, &mut joined(EPOCHS_FILE, runs, |run| &run.epochs, frame::from_epochs)?)
}

pub fn epochs_parquet(runs: &[Labelled]) -> Result<Vec<u8>, FrameError> {
    encode(EPOCHS_FILE, &mut joined(EPOCHS_FILE, runs, |run| &run.epochs, frame::from_epochs)?)
}

pub fn steps_parquet(runs: &[Labelled]) -> Result<Vec<u8>, FrameError> {
    encode(STEPS_FILE, &mut joined(STEPS_FILE, runs, |run| &run.steps, frame::from_steps)?)
}

pub fn confusion_parquet(runs: &[Labelled]) -> Result<Vec<u8>, FrameError> {
    encode(CONFUSION_FILE, &mut joined(CONFUSION_FILE, runs, |run| &run.confusion, frame::from_confusion)?)
}

pub fn diagnostics_parquet(runs: &[Labelled]) -> Result<Vec<u8>, FrameError> {
    encode(
        DIAGNOSTICS_FILE,
        &mut joined(DIAGNOSTICS_FILE, runs, |run| &run.diagnostics, frame::from_diagnostics)?,
    )
}

pub fn diagnostics_csv(runs: &[Labelled]) -> Result<Vec<u8>, FrameError> {
    csv::encode(
        DIAGNOSTICS_FILE,
        &mut joined(DIAGNOSTICS_FILE, runs, |run| &run.diagnostics, frame::from_diagnostics)?,
    )
}

pub fn read_epochs(bytes: Vec<u8>) -> Result<ByRun<EpochRow>, FrameError> {
    split(EPOCHS_FILE, bytes, frame::to_epochs)
}

pub fn read_steps(bytes: Vec<u8>) -> Result<ByRun<StepRow>, FrameError> {
    split(STEPS_FILE, bytes, |frame| frame::to_steps(frame, FORMAT))
}

pub fn read_confusion(bytes: Vec<u8>) -> Result<ByRun<ConfusionRow>, FrameError> {
    let mut by_run = split(CONFUSION_FILE, bytes, frame::to_confusion)?;
    by_run.values_mut().for_each(|rows| rows.retain(ConfusionRow::is_filled));
    Ok(by_run)
}

pub fn read_diagnostics(bytes: Vec<u8>) -> Result<ByRun<DiagnosticRow>, FrameError> {
    split(DIAGNOSTICS_FILE, bytes, frame::to_diagnostics)
}

/// What `joined` put together.
fn split<R>(
    file: &'static str,
    bytes: Vec<u8>,
    rows: impl Fn(&DataFrame) -> Result<Vec<R>, FrameError>,
) -> Result<ByRun<R>, FrameError> {
    let polars = |source| FrameError::Polars { file, source };
    let all = parquet::decode(file, bytes)?;
    let mut by_run = ByRun::new();
    if all.width() == 0 {
        return Ok(by_run);
    }
    let text = |name: &str| -> Result<Vec<String>, FrameError> {
        let column = all.column(name).and_then(Column::str).map_err(polars)?;
        Ok(column.iter().map(|value| value.unwrap_or_default().to_owned()).collect())
    };
    let labels = text("arm")?.into_iter().zip(text("run")?);
    let rows = rows(&all.drop_many(LABELS))?;
    for (label, row) in labels.zip(rows) {
        by_run.entry(label).or_insert_with(Vec::new).push(row);
    }
    Ok(by_run)
}

fn joined<'a, R: 'a>(
    file: &'static str,
    runs: &[Labelled<'a>],
    rows: impl Fn(&'a LoadedRun) -> &'a [R],
    frame: impl Fn(Vec<&'a R>) -> Result<DataFrame, FrameError>,
) -> Result<DataFrame, FrameError> {
    let frame = frame(runs.iter().flat_map(|(_, run)| rows(run)).collect())?;
    let of_row = || runs.iter().flat_map(|labelled| repeat_n(labelled, rows(labelled.1).len()));
    let named = |name: &str, of: Vec<&str>| Series::new(PlSmallStr::from_str(name), of).into_column();
    let [arm, seed, run] = LABELS;
    let seeds: Vec<u64> = of_row().map(|(_, run)| run.record.trial.seed.0).collect();
    let mut columns = vec![
        named(arm, of_row().map(|(arm, _)| *arm).collect()),
        Series::new(PlSmallStr::from_static(seed), seeds).into_column(),
        named(run, of_row().map(|(_, run)| run.record.run.0.as_str()).collect()),
    ];
    columns.extend(frame.columns().iter().cloned());
    DataFrame::new(frame.height(), columns).map_err(|source| FrameError::Polars { file, source })
}

/// Not `parquet::encode`, which names the one run a file is of.
fn encode(file: &'static str, frame: &mut DataFrame) -> Result<Vec<u8>, FrameError> {
    parquet::write(file, frame, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::samples;
    use crate::row::Split;

    #[test]
    fn rows_of_all_runs_are_there_under_their_arm_and_seed() {
        let arm = &samples::profile().arms[0];
        let runs = [samples::finished(arm, 0), samples::finished(arm, 3)];
        let labelled: Vec<Labelled> = runs.iter().map(|run| ("batch 64", run)).collect();
        let text = String::from_utf8(epochs_csv(&labelled).unwrap()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "arm,seed,run,epoch,split,images,loss,accuracy,wall_ns");
        assert_eq!(lines.len(), 1 + runs.iter().map(|run| run.epochs.len()).sum::<usize>());
        assert!(lines.last().unwrap().starts_with("batch 64,3,"), "{text}");
        let steps = read_steps(steps_parquet(&labelled).unwrap()).unwrap();
        for run in &runs {
            assert_eq!(steps[&("batch 64".to_owned(), run.record.run.0.clone())], run.steps);
        }
    }

    #[test]
    fn cells_without_images_move_no_other_to_another_run() {
        let arm = &samples::profile().arms[0];
        let mut runs = [samples::finished(arm, 0), samples::finished(arm, 3)];
        let cell = |label, predicted, images| ConfusionRow {
            epoch: 0,
            split: Split::Test,
            label,
            predicted,
            images,
        };
        let kept = [vec![cell(0, 0, 7), cell(1, 0, 1)], vec![cell(0, 1, 2), cell(1, 1, 9)]];
        for (run, kept) in runs.iter_mut().zip(&kept) {
            run.confusion = [vec![cell(0, 2, 0)], kept.clone()].concat();
        }
        let labelled: Vec<Labelled> = runs.iter().map(|run| ("batch 64", run)).collect();
        let read = read_confusion(confusion_parquet(&labelled).unwrap()).unwrap();
        for (run, kept) in runs.iter().zip(kept) {
            assert_eq!(read[&("batch 64".to_owned(), run.record.run.0.clone())], kept);
        }
    }

    #[test]
    fn no_run_gives_an_empty_table() {
        assert_eq!(read_epochs(epochs_parquet(&[]).unwrap()).unwrap(), ByRun::new());
    }
}
