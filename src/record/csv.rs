//! Frames as CSV, for readers without Parquet.

use polars::prelude::{CsvWriter, DataFrame, SerWriter as _};

use crate::record::frame::FrameError;

/// A header line and one line a row. Floats are written with as many digits as bring every bit back; what is
/// not a number is `NaN`, `inf` or `-inf`.
pub fn encode(file: &'static str, frame: &mut DataFrame) -> Result<Vec<u8>, FrameError> {
    let mut bytes = Vec::new();
    let mut writer = CsvWriter::new(&mut bytes).n_threads(1);
    writer.finish(frame).map_err(|source| FrameError::Polars { file, source })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::schema::{EPOCHS_FILE, STEPS_FILE};
    use crate::record::{frame, samples};

    #[test]
    fn a_table_has_its_header_and_one_line_a_row() {
        let mut frame = frame::from_epochs(&samples::epochs()[..2]).unwrap();
        let text = String::from_utf8(encode(EPOCHS_FILE, &mut frame).unwrap()).unwrap();
        let expected = "epoch,split,images,loss,accuracy,wall_ns\n0,train,100,0.25,0.93,5000000\n0,train_eval,100,0.25,0.93,5000000\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn floats_come_back_bit_for_bit_and_what_is_not_a_number_says_so() {
        let mut rows = samples::steps(5);
        let losses = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.1 + 0.2, 5e-324];
        rows.iter_mut().zip(losses).for_each(|(row, loss)| row.loss = loss);
        let text = encode(STEPS_FILE, &mut frame::from_steps(&rows).unwrap()).unwrap();
        let text = String::from_utf8(text).unwrap();
        let fields: Vec<_> = text.lines().skip(1).map(|line| line.split(',').nth(3).unwrap()).collect();
        assert_eq!(fields[..3], ["NaN", "inf", "-inf"]);
        for (field, loss) in fields.iter().zip(losses).skip(3) {
            assert_eq!(field.parse::<f64>().unwrap().to_bits(), loss.to_bits(), "{field}");
        }
    }
}
