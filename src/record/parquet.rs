//! Frames as Parquet bytes.
//!
//! The same frame gives the same bytes, so a digest of the file is a digest of the measurement.

use std::io::Cursor;

use polars::prelude::{
    DataFrame, KeyValueMetadata, ParallelStrategy, ParquetCompression, ParquetReader, ParquetWriter,
    SerReader as _, StatisticsOptions,
};

use crate::experiment::TrialId;
use crate::record::RunId;
use crate::record::frame::FrameError;
use crate::record::schema::FORMAT;

/// Steps with realistic noise, one core of a 2-core VM, write/read:
///
/// | steps | none | Snappy | Zstandard |
/// | --- | --- | --- | --- |
/// | 3,750 | 267 KiB, 0.6/0.1 ms | 174 KiB, 1.0/0.3 ms | 121 KiB, 1.8/0.6 ms |
/// | 50,000 | 2,897 KiB, 7/1 ms | 2,042 KiB, 11/2 ms | 1,540 KiB, 16/4 ms |
///
/// A store is read over and over and lives for years, beside minutes of training a file: the smallest wins.
const COMPRESSION: ParquetCompression = ParquetCompression::Zstd(None);

/// `frame` as the content of `file`, which says in its own metadata what it is and whose: a frame that was
/// copied out of the store still names its run.
pub fn encode(
    file: &'static str,
    frame: &mut DataFrame,
    run: &RunId,
    trial: &TrialId,
) -> Result<Vec<u8>, FrameError> {
    let pair = |key: &str, value: String| (format!("pinbench.{key}"), value);
    let pairs = vec![
        pair("format", FORMAT.to_string()),
        pair("run", run.to_string()),
        pair("trial", trial.to_string()),
    ];
    write(file, frame, Some(KeyValueMetadata::from_static(pairs)))
}

/// `frame` as the content of `file`, with what is said about it.
pub fn write(
    file: &'static str,
    frame: &mut DataFrame,
    about: Option<KeyValueMetadata>,
) -> Result<Vec<u8>, FrameError> {
    let mut bytes = Vec::new();
    let writer = ParquetWriter::new(&mut bytes)
        .with_compression(COMPRESSION)
        // Frames are read whole: there is nothing to skip by minimum and maximum.
        .with_statistics(StatisticsOptions::empty())
        // The process that writes is the one that trains; it needs no second thread pool for 100 KiB.
        .set_parallel(false)
        .with_key_value_metadata(about);
    writer.finish(frame).map_err(|source| FrameError::Polars { file, source })?;
    Ok(bytes)
}

/// The frame in `bytes`. Callers have checked their digest: the decoder is not meant for damaged input.
pub fn decode(file: &'static str, bytes: Vec<u8>) -> Result<DataFrame, FrameError> {
    ParquetReader::new(Cursor::new(bytes))
        .read_parallel(ParallelStrategy::None)
        .set_rechunk(true)
        .finish()
        .map_err(|source| FrameError::Polars { file, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::schema::STEPS_FILE;
    use crate::record::{frame, samples};

    fn encoded(rows: &[crate::row::StepRow]) -> Vec<u8> {
        let mut frame = frame::from_steps(rows).unwrap();
        encode(STEPS_FILE, &mut frame, &RunId("run-1".to_owned()), &samples::trial(0).id()).unwrap()
    }

    #[test]
    fn rows_survive_a_round_trip_through_a_file() {
        for count in [0, 1, 3750] {
            let rows = samples::steps(count);
            let frame = decode(STEPS_FILE, encoded(&rows)).unwrap();
            assert_eq!(frame::to_steps(&frame, FORMAT).unwrap(), rows);
        }
    }

    #[test]
    fn a_file_keeps_the_bits_of_what_is_not_a_number() {
        let mut rows = samples::steps(4);
        let payload = f64::from_bits(0xfff8_0000_0000_0abc);
        for (row, loss) in rows.iter_mut().zip([f64::NAN, f64::INFINITY, f64::NEG_INFINITY, payload]) {
            row.loss = loss;
        }
        let read = frame::to_steps(&decode(STEPS_FILE, encoded(&rows)).unwrap(), FORMAT).unwrap();
        for (read, row) in read.iter().zip(&rows) {
            assert_eq!(read.loss.to_bits(), row.loss.to_bits());
        }
    }

    #[test]
    fn the_same_rows_give_the_same_bytes() {
        let rows = samples::steps(500);
        assert_eq!(encoded(&rows), encoded(&rows));
    }

    #[test]
    fn a_file_names_its_format_run_and_trial() {
        let mut reader = ParquetReader::new(Cursor::new(encoded(&samples::steps(1))));
        let pairs = reader.get_metadata().unwrap().key_value_metadata().clone().unwrap();
        let value = |key: &str| pairs.iter().find(|pair| pair.key == key).and_then(|pair| pair.value.clone());
        assert_eq!(value("pinbench.format"), Some(FORMAT.to_string()));
        assert_eq!(value("pinbench.run"), Some("run-1".to_owned()));
        assert_eq!(value("pinbench.trial"), Some(samples::trial(0).id().to_string()));
    }

    #[test]
    fn a_truncated_file_is_an_error_that_names_it() {
        let mut bytes = encoded(&samples::steps(100));
        bytes.truncate(bytes.len() / 2);
        let error = decode(STEPS_FILE, bytes).unwrap_err().to_string();
        assert!(error.contains("'steps.parquet'"), "{error}");
    }
}
