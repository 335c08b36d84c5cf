//! Rows to polars frames and back, exactly: every bit of a float, NaN and the infinities included.
//!
//! `rows → DataFrame → rows` is the identity. A frame from outside has to match `schema` column by column; null
//! is an error wherever it stands, because a value that is missing and one that is NaN say different things. The one
//! exception are the times of phases, where null says that a step was not divided, or that there was no device.

use polars::prelude::{
    ChunkedArray, DataFrame, Float64Type, IntoColumn as _, IntoSeries, NewChunkedArray as _, PlSmallStr,
    PolarsError, PolarsNumericType, PolarsPhysicalType, StringChunked, StringType, UInt32Type, UInt64Chunked,
    UInt64Type,
};

use crate::clock::{Phase, PhaseTimes};
use crate::record::schema::{
    self, CHAIN, CHAIN_FILE, CONFUSION, CONFUSION_FILE, DIAGNOSTICS, DIAGNOSTICS_FILE, EPOCHS, EPOCHS_FILE,
    STEPS, STEPS_FILE,
};
use crate::row::{ChainRow, ConfusionRow, Diagnostic, DiagnosticRow, EpochRow, Split, StepRow, Usage};

pub fn from_steps<'a>(rows: impl IntoIterator<Item = &'a StepRow>) -> Result<DataFrame, FrameError> {
    let phase = |phase: Phase| move |row: &StepRow| row.times.ns(phase);
    let mut frame = Builder::new(STEPS_FILE, &STEPS, rows);
    frame.u32(|row| row.epoch).u64(|row| row.step).u32(|row| row.images);
    frame.f64(|row| row.loss).u32(|row| row.correct);
    for each in Phase::ALL {
        frame.optional_u64(phase(each));
    }
    frame.u64(|row| row.times.total_ns).u64(|row| row.usage.user_us).u64(|row| row.usage.system_us);
    frame.u64(|row| row.usage.minor_faults).u64(|row| row.usage.major_faults);
    frame.u64(|row| row.usage.voluntary_switches).u64(|row| row.usage.involuntary_switches);
    for phase in Phase::ALL {
        frame.optional_u64(|row| row.device.and_then(|times| times.ns(phase)));
    }
    frame.finish()
}

pub fn from_epochs<'a>(rows: impl IntoIterator<Item = &'a EpochRow>) -> Result<DataFrame, FrameError> {
    let mut frame = Builder::new(EPOCHS_FILE, &EPOCHS, rows);
    frame.u32(|row| row.epoch).text(|row| row.split.name()).u32(|row| row.images);
    frame.f64(|row| row.loss).f64(|row| row.accuracy).u64(|row| row.wall_ns);
    frame.finish()
}

pub fn from_confusion<'a>(rows: impl IntoIterator<Item = &'a ConfusionRow>) -> Result<DataFrame, FrameError> {
    let mut frame = Builder::new(CONFUSION_FILE, &CONFUSION, rows);
    frame.u32(|row| row.epoch).text(|row| row.split.name()).u32(|row| u32::from(row.label));
    frame.u32(|row| u32::from(row.predicted)).u32(|row| row.images);
    frame.finish()
}

pub fn from_diagnostics<'a>(
    rows: impl IntoIterator<Item = &'a DiagnosticRow>,
) -> Result<DataFrame, FrameError> {
    let mut frame = Builder::new(DIAGNOSTICS_FILE, &DIAGNOSTICS, rows);
    frame.u32(|row| row.epoch).text(|row| row.diagnostic.name()).text(|row| &row.of).f64(|row| row.value);
    frame.finish()
}

pub fn from_chain<'a>(rows: impl IntoIterator<Item = &'a ChainRow>) -> Result<DataFrame, FrameError> {
    let mut frame = Builder::new(CHAIN_FILE, &CHAIN, rows);
    frame.u64(|row| row.step).text(|row| &row.of).u64(|row| row.hash);
    frame.finish()
}

/// Rows whose columns stand in the order of these fields, each taken by the reader's method beside it.
macro_rules! rows {
    ($read:ident => $row:ident { $($field:ident: $take:ident),* }) => {{
        $(let mut $field = $read.$take()?.into_iter();)*
        // The columns of a frame are as long as it is high.
        let rows = (0..$read.frame.height()).map_while(|_| Some($row { $($field: $field.next()?),* }));
        rows.collect()
    }};
}

/// The steps of a run of `format`.
pub fn to_steps(frame: &DataFrame, format: u32) -> Result<Vec<StepRow>, FrameError> {
    let mut read = Reader::new(STEPS_FILE, schema::steps(format), frame)?;
    Ok(rows!(read => StepRow {
        epoch: u32, step: u64, images: u32, loss: f64, correct: u32, times: times, usage: usage, device: device
    }))
}

pub fn to_epochs(frame: &DataFrame) -> Result<Vec<EpochRow>, FrameError> {
    let mut read = Reader::new(EPOCHS_FILE, &EPOCHS, frame)?;
    Ok(
        rows!(read => EpochRow { epoch: u32, split: splits, images: u32, loss: f64, accuracy: f64, wall_ns: u64 }),
    )
}

pub fn to_confusion(frame: &DataFrame) -> Result<Vec<ConfusionRow>, FrameError> {
    let mut read = Reader::new(CONFUSION_FILE, &CONFUSION, frame)?;
    Ok(
        rows!(read => ConfusionRow { epoch: u32, split: splits, label: classes, predicted: classes, images: u32 }),
    )
}

pub fn to_diagnostics(frame: &DataFrame) -> Result<Vec<DiagnosticRow>, FrameError> {
    let mut read = Reader::new(DIAGNOSTICS_FILE, &DIAGNOSTICS, frame)?;
    Ok(rows!(read => DiagnosticRow { epoch: u32, diagnostic: diagnostics, of: text, value: f64 }))
}

pub fn to_chain(frame: &DataFrame) -> Result<Vec<ChainRow>, FrameError> {
    let mut read = Reader::new(CHAIN_FILE, &CHAIN, frame)?;
    Ok(rows!(read => ChainRow { step: u64, of: text, hash: u64 }))
}

#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("'{file}' has the columns {found}, expected {expected}; it was not written by this pinbench")]
    Columns { file: &'static str, expected: String, found: String },
    #[error(
        "'{file}': column '{column}' holds {found}, expected {expected}; it was not written by this pinbench"
    )]
    Type { file: &'static str, column: &'static str, expected: String, found: String },
    #[error("'{file}': column '{column}' is null in row {row}, expected a value; rerun the trial")]
    Null { file: &'static str, column: &'static str, row: usize },
    #[error("'{file}': '{found}' in row {row} is not a {what}, expected {expected}; rerun the trial")]
    Name { file: &'static str, row: usize, what: &'static str, expected: String, found: String },
    #[error("'{file}' cannot be written or read as a frame: {source}; rerun the trial")]
    Polars { file: &'static str, source: PolarsError },
}

/// Fills the columns of a schema in their order.
struct Builder<'a, R> {
    file: &'static str,
    schema: std::slice::Iter<'static, schema::Column>,
    rows: Vec<&'a R>,
    columns: Vec<polars::prelude::Column>,
}

impl<'a, R> Builder<'a, R> {
    fn new(
        file: &'static str,
        schema: &'static [schema::Column],
        rows: impl IntoIterator<Item = &'a R>,
    ) -> Self {
        let (rows, columns) = (rows.into_iter().collect(), Vec::with_capacity(schema.len()));
        Self { file, schema: schema.iter(), rows, columns }
    }

    fn u32(&mut self, value: impl Fn(&R) -> u32) -> &mut Self {
        self.push::<UInt32Type>(value)
    }

    fn u64(&mut self, value: impl Fn(&R) -> u64) -> &mut Self {
        self.push::<UInt64Type>(value)
    }

    fn f64(&mut self, value: impl Fn(&R) -> f64) -> &mut Self {
        self.push::<Float64Type>(value)
    }

    fn optional_u64(&mut self, value: impl Fn(&R) -> Option<u64>) -> &mut Self {
        let name = self.name();
        let array = UInt64Chunked::from_iter_options(name, self.rows.iter().copied().map(value));
        self.columns.push(array.into_column());
        self
    }

    fn push<T: PolarsNumericType>(&mut self, value: impl Fn(&R) -> T::Native) -> &mut Self
    where
        ChunkedArray<T>: IntoSeries,
    {
        let name = self.name();
        let array = ChunkedArray::<T>::from_iter_values(name, self.rows.iter().copied().map(value));
        self.columns.push(array.into_column());
        self
    }

    fn text(&mut self, value: impl Fn(&'a R) -> &'a str) -> &mut Self {
        let name = self.name();
        let array = StringChunked::from_iter_values(name, self.rows.iter().copied().map(value));
        self.columns.push(array.into_column());
        self
    }

    fn name(&mut self) -> PlSmallStr {
        // One call a column of the schema: every test below would panic here otherwise.
        self.schema.next().expect("no more columns than the schema has").name.into()
    }

    fn finish(self) -> Result<DataFrame, FrameError> {
        let frame = DataFrame::new(self.rows.len(), self.columns);
        frame.map_err(|source| FrameError::Polars { file: self.file, source })
    }
}

/// Takes the columns of a frame in the order of its schema.
struct Reader<'a> {
    file: &'static str,
    schema: std::slice::Iter<'static, schema::Column>,
    frame: &'a DataFrame,
}

impl<'a> Reader<'a> {
    fn new(
        file: &'static str,
        schema: &'static [schema::Column],
        frame: &'a DataFrame,
    ) -> Result<Self, FrameError> {
        let expected: Vec<_> = schema.iter().map(|column| column.name).collect();
        let found: Vec<_> = frame.get_column_names().into_iter().map(PlSmallStr::as_str).collect();
        if found != expected {
            let (expected, found) = (expected.join(", "), found.join(", "));
            return Err(FrameError::Columns { file, expected, found });
        }
        Ok(Self { file, schema: schema.iter(), frame })
    }

    fn u32(&mut self) -> Result<Vec<u32>, FrameError> {
        self.take::<UInt32Type, _>(|array, row| array.get(row))
    }

    fn u64(&mut self) -> Result<Vec<u64>, FrameError> {
        self.take::<UInt64Type, _>(|array, row| array.get(row))
    }

    fn f64(&mut self) -> Result<Vec<f64>, FrameError> {
        self.take::<Float64Type, _>(|array, row| array.get(row))
    }

    /// The phases, where a step was divided, and its whole.
    fn times(&mut self) -> Result<Vec<PhaseTimes>, FrameError> {
        let (phases, total_ns) = (self.phases()?, self.u64()?);
        let times = |(phases_ns, total_ns): (Option<_>, u64)| match phases_ns {
            Some(phases_ns) => PhaseTimes::new(phases_ns, total_ns),
            None => PhaseTimes::undivided(total_ns),
        };
        Ok(phases.into_iter().zip(total_ns).map(times).collect())
    }

    fn usage(&mut self) -> Result<Vec<Usage>, FrameError> {
        Ok(rows!(self => Usage {
            user_us: u64, system_us: u64, minor_faults: u64, major_faults: u64, voluntary_switches: u64,
            involuntary_switches: u64
        }))
    }

    /// On a device's own timeline; older runs have no columns of it.
    fn device(&mut self) -> Result<Vec<Option<PhaseTimes>>, FrameError> {
        if self.schema.as_slice().is_empty() {
            return Ok(vec![None; self.frame.height()]);
        }
        Ok(self.phases()?.into_iter().map(|phases_ns| phases_ns.map(PhaseTimes::summed)).collect())
    }

    /// The times of the phases, which in each row stand in all of their columns or in none.
    fn phases(&mut self) -> Result<Vec<Option<[u64; Phase::ALL.len()]>>, FrameError> {
        let (file, columns) = (self.file, self.schema.as_slice());
        let mut phases = Vec::with_capacity(Phase::ALL.len());
        for _ in Phase::ALL {
            phases.push(self.optional_u64()?);
        }
        let times = |row: usize| -> Result<Option<[u64; Phase::ALL.len()]>, FrameError> {
            if phases.iter().all(|phase| phase[row].is_none()) {
                return Ok(None);
            }
            let mut phases_ns = [0; Phase::ALL.len()];
            for ((ns, phase), column) in phases_ns.iter_mut().zip(&phases).zip(columns) {
                *ns = phase[row].ok_or(FrameError::Null { file, column: column.name, row })?;
            }
            Ok(Some(phases_ns))
        };
        (0..self.frame.height()).map(times).collect()
    }

    /// The next column, whose values may be missing.
    fn optional_u64(&mut self) -> Result<Vec<Option<u64>>, FrameError> {
        self.take::<UInt64Type, _>(|array, row| Some(array.get(row)))
    }

    fn text(&mut self) -> Result<Vec<String>, FrameError> {
        self.take::<StringType, _>(|array, row| array.get(row).map(str::to_owned))
    }

    fn classes(&mut self) -> Result<Vec<u16>, FrameError> {
        let (file, numbers) = (self.file, self.u32()?);
        let class = |(row, &number): (usize, &u32)| {
            u16::try_from(number).map_err(|_| FrameError::Name {
                file,
                row,
                what: "class",
                expected: "0 to 65535".to_owned(),
                found: number.to_string(),
            })
        };
        numbers.iter().enumerate().map(class).collect()
    }

    fn splits(&mut self) -> Result<Vec<Split>, FrameError> {
        self.named("split", &Split::ALL, Split::name)
    }

    fn diagnostics(&mut self) -> Result<Vec<Diagnostic>, FrameError> {
        self.named("diagnostic", &Diagnostic::ALL, Diagnostic::name)
    }

    /// The next column as names out of a fixed list.
    fn named<T: Copy>(
        &mut self,
        what: &'static str,
        all: &[T],
        name: fn(T) -> &'static str,
    ) -> Result<Vec<T>, FrameError> {
        let (file, names) = (self.file, self.text()?);
        let find = |(row, found): (usize, String)| {
            let value = all.iter().copied().find(|&value| name(value) == found);
            value.ok_or_else(|| FrameError::Name {
                file,
                row,
                what,
                expected: format!(
                    "one of {}",
                    all.iter().map(|&value| name(value)).collect::<Vec<_>>().join(", ")
                ),
                found,
            })
        };
        names.into_iter().enumerate().map(find).collect()
    }

    /// The next column as `T`, every value there.
    fn take<T: PolarsPhysicalType, V>(
        &mut self,
        get: impl Fn(&ChunkedArray<T>, usize) -> Option<V>,
    ) -> Result<Vec<V>, FrameError> {
        // One call a column of the schema: every test below would panic here otherwise.
        let schema::Column { name: column, dtype: expected, .. } =
            self.schema.next().expect("no more columns than the schema has");
        let file = self.file;
        let polars = |source| FrameError::Polars { file, source };
        let series = self.frame.column(column).map_err(polars)?.as_materialized_series();
        if series.dtype() != expected {
            let (expected, found) = (expected.to_string(), series.dtype().to_string());
            return Err(FrameError::Type { file, column, expected, found });
        }
        let array: &ChunkedArray<T> = series.unpack().map_err(polars)?;
        let value = |row| get(array, row).ok_or(FrameError::Null { file, column, row });
        (0..array.len()).map(value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::samples;
    use crate::record::schema::FORMAT;

    fn bits(rows: &[StepRow]) -> Vec<u64> {
        rows.iter().map(|row| row.loss.to_bits()).collect()
    }

    /// `frame` with `column` in place of the one of that name.
    fn with(mut frame: DataFrame, column: polars::prelude::Column) -> DataFrame {
        let name = column.name().to_string();
        let index = frame.get_column_index(&name).unwrap();
        frame.replace_column(index, column).unwrap();
        frame
    }

    #[test]
    fn rows_survive_a_round_trip() {
        for count in [0, 1, 1000] {
            let rows = samples::steps(count);
            assert_eq!(to_steps(&from_steps(&rows).unwrap(), FORMAT).unwrap(), rows);
        }
        let rows = samples::epochs();
        assert_eq!(to_epochs(&from_epochs(&rows).unwrap()).unwrap(), rows);
        assert_eq!(to_epochs(&from_epochs(&[]).unwrap()).unwrap(), []);
        let rows = samples::confusion();
        assert_eq!(to_confusion(&from_confusion(&rows).unwrap()).unwrap(), rows);
        let rows = samples::diagnostics();
        let read = to_diagnostics(&from_diagnostics(&rows).unwrap()).unwrap();
        let text = |rows: &[DiagnosticRow]| format!("{rows:?}");
        assert_eq!(text(&read), text(&rows), "NaN is not equal to itself");
    }

    #[test]
    fn a_frame_has_the_columns_and_types_of_the_schema() {
        let frames = [
            (from_steps(&samples::steps(2)).unwrap(), &STEPS[..]),
            (from_epochs(&samples::epochs()).unwrap(), &EPOCHS[..]),
            (from_confusion(&samples::confusion()).unwrap(), &CONFUSION[..]),
            (from_diagnostics(&samples::diagnostics()).unwrap(), &DIAGNOSTICS[..]),
        ];
        for (frame, schema) in frames {
            assert_eq!(frame.width(), schema.len());
            for (column, expected) in frame.columns().iter().zip(schema) {
                assert_eq!((column.name().as_str(), column.dtype()), (expected.name, &expected.dtype));
            }
        }
    }

    #[test]
    fn largest_counts_and_every_kind_of_float_keep_their_bits() {
        let mut rows = samples::steps(6);
        let payload = f64::from_bits(0x7ff8_dead_beef_0001);
        let losses = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MIN_POSITIVE / 4.0, payload];
        for (row, loss) in rows.iter_mut().zip(losses) {
            (row.loss, row.step, row.images) = (loss, u64::MAX, u32::MAX);
            row.times = PhaseTimes::new([u64::MAX; Phase::ALL.len()], u64::MAX);
        }
        let read = to_steps(&from_steps(&rows).unwrap(), FORMAT).unwrap();
        assert_eq!(bits(&read), bits(&rows));
        assert_eq!((read[5].step, read[5].images, read[5].times), (u64::MAX, u32::MAX, rows[5].times));
    }

    #[test]
    fn null_is_refused_with_file_column_and_row() {
        let frame = from_steps(&samples::steps(3)).unwrap();
        let losses = polars::prelude::Float64Chunked::from_iter_options(
            "loss".into(),
            [Some(f64::NAN), None, Some(1.0)].into_iter(),
        );
        let error = to_steps(&with(frame, losses.into_column()), FORMAT).unwrap_err().to_string();
        assert!(error.contains("'steps.parquet': column 'loss' is null in row 1"), "{error}");
    }

    #[test]
    fn a_column_of_another_type_is_refused_with_both_types() {
        let frame = from_epochs(&samples::epochs()).unwrap();
        let images = polars::prelude::UInt64Chunked::from_iter_values("images".into(), [1; 4].into_iter());
        let error = to_epochs(&with(frame, images.into_column())).unwrap_err().to_string();
        assert!(error.contains("column 'images' holds u64, expected u32"), "{error}");
    }

    #[test]
    fn a_missing_or_unknown_column_is_refused_with_its_name() {
        let frame = from_steps(&samples::steps(3)).unwrap();
        let error = to_steps(&frame.drop("loss").unwrap(), FORMAT).unwrap_err().to_string();
        assert!(error.contains("expected epoch, step, images, loss, correct"), "{error}");
        let mut wider = frame.clone();
        let extra = polars::prelude::UInt32Chunked::from_iter_values("extra".into(), [1; 3].into_iter());
        wider.with_column(extra.into_column()).unwrap();
        let error = to_steps(&wider, FORMAT).unwrap_err().to_string();
        assert!(error.contains("device_read_back_ns, extra, expected"), "{error}");
    }

    #[test]
    fn the_times_of_a_device_survive_beside_steps_without_and_half_of_them_are_none() {
        let mut rows = samples::steps(3);
        rows[1].device = Some(PhaseTimes::summed([7, 0, 1 << 40, 3, 1, 0]));
        let frame = from_steps(&rows).unwrap();
        assert_eq!(to_steps(&frame, FORMAT).unwrap(), rows);
        let copies = UInt64Chunked::from_iter_options("device_copy_ns".into(), [None; 3].into_iter());
        let error = to_steps(&with(frame, copies.into_column()), FORMAT).unwrap_err().to_string();
        assert!(error.contains("column 'device_copy_ns' is null in row 1"), "{error}");
    }

    #[test]
    fn a_step_that_was_not_divided_has_its_time_and_no_phases() {
        let mut rows = samples::steps(3);
        rows[1].times = PhaseTimes::undivided(77);
        let read = to_steps(&from_steps(&rows).unwrap(), FORMAT).unwrap();
        assert_eq!(read, rows);
        assert_eq!((read[1].times.ns(Phase::Load), read[1].times.rest_ns()), (None, 77));
    }

    #[test]
    fn steps_of_a_format_without_device_times_are_read_and_those_of_no_other_may_lack_them() {
        let rows = samples::steps(3);
        let whole = from_steps(&rows).unwrap();
        let mut older = whole.clone();
        for column in &STEPS[schema::steps(3).len()..] {
            older = older.drop(column.name).unwrap();
        }
        assert_eq!(to_steps(&older, 3).unwrap(), rows);
        assert!(to_steps(&older, 4).unwrap_err().to_string().contains("device_load_ns"));
        assert!(to_steps(&whole, 3).is_err());
    }

    #[test]
    fn an_unknown_split_is_refused_with_its_row() {
        let frame = from_epochs(&samples::epochs()).unwrap();
        let names = ["train", "train_eval", "valid", "test"];
        let names = StringChunked::from_iter_values("split".into(), names.into_iter());
        let error = to_epochs(&with(frame, names.into_column())).unwrap_err().to_string();
        assert!(error.contains("'valid' in row 2") && error.contains("validation"), "{error}");
    }
}
