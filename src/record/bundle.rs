//! The rows of many runs in one frame, each with its arm, seed and run: what a report offers for download.

use polars::prelude::{
    Column, DataFrame, IntoColumn as _, NamedFrom as _, ParquetCompression, ParquetWriter, PlSmallStr,
    Series, StatisticsOptions,
};

use crate::record::frame::{self, FrameError};
use crate::record::schema::{CONFUSION_FILE, DIAGNOSTICS_FILE, EPOCHS_FILE, STEPS_FILE};
use crate::record::{LoadedRun, csv};

/// A run and the name of its arm.
pub type Labelled<'a> = (&'a str, &'a LoadedRun);

pub fn epochs_csv(runs: &[Labelled]) -> Result<Vec<u8>, FrameError> {
    let epochs = |run: &LoadedRun| frame::from_epochs(&run.epochs);
    csv::encode(EPOCHS_FILE, &mut joined(EPOCHS_FILE, runs, epochs)?)
}

pub fn epochs_parquet(runs: &[Labelled]) -> Result<Vec<u8>, FrameError> {
    let epochs = |run: &LoadedRun| frame::from_epochs(&run.epochs);
    parquet(EPOCHS_FILE, &mut joined(EPOCHS_FILE, runs, epochs)?)
}

pub fn steps_parquet(runs: &[Labelled]) -> Result<Vec<u8>, FrameError> {
    let steps = |run: &LoadedRun| frame::from_steps(&run.steps);
    parquet(STEPS_FILE, &mut joined(STEPS_FILE, runs, steps)?)
}

pub fn confusion_parquet(runs: &[Labelled]) -> Result<Vec<u8>, FrameError> {
    let confusion = |run: &LoadedRun| frame::from_confusion(&run.confusion);
    parquet(CONFUSION_FILE, &mut joined(CONFUSION_FILE, runs, confusion)?)
}

pub fn diagnostics_csv(runs: &[Labelled]) -> Result<Vec<u8>, FrameError> {
    let diagnostics = |run: &LoadedRun| frame::from_diagnostics(&run.diagnostics);
    csv::encode(DIAGNOSTICS_FILE, &mut joined(DIAGNOSTICS_FILE, runs, diagnostics)?)
}

fn joined(
    file: &'static str,
    runs: &[Labelled],
    rows: impl Fn(&LoadedRun) -> Result<DataFrame, FrameError>,
) -> Result<DataFrame, FrameError> {
    let polars = |source| FrameError::Polars { file, source };
    let mut all = DataFrame::empty();
    for (arm, run) in runs {
        let frame = rows(run)?;
        let mut columns = labels(arm, run, frame.height());
        columns.extend(frame.columns().iter().cloned());
        let frame = DataFrame::new(frame.height(), columns).map_err(polars)?;
        if all.width() == 0 {
            all = frame;
        } else {
            all.vstack_mut(&frame).map_err(polars)?;
        }
    }
    all.rechunk_mut_par();
    Ok(all)
}

fn labels(arm: &str, run: &LoadedRun, height: usize) -> Vec<Column> {
    let text =
        |name: &str, value: &str| Series::new(PlSmallStr::from_str(name), vec![value; height]).into_column();
    let seed = Series::new(PlSmallStr::from_static("seed"), vec![run.record.trial.seed.0; height]);
    vec![text("arm", arm), seed.into_column(), text("run", &run.record.run.0)]
}

/// Not `parquet::encode`, which names the one run a file is of.
fn parquet(file: &'static str, frame: &mut DataFrame) -> Result<Vec<u8>, FrameError> {
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes)
        .with_compression(ParquetCompression::Zstd(None))
        .with_statistics(StatisticsOptions::empty())
        .set_parallel(false)
        .finish(frame)
        .map_err(|source| FrameError::Polars { file, source })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::samples;

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
        assert!(steps_parquet(&labelled).unwrap().starts_with(b"PAR1"));
    }

    #[test]
    fn no_run_gives_an_empty_table() {
        assert!(epochs_parquet(&[]).unwrap().starts_with(b"PAR1"));
    }
}
