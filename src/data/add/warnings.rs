//! What a user should look at before a set is trained on.

use std::collections::BTreeMap;

use crate::data::add::picture::Picture;
use crate::digest::Digest;
use crate::text;

/// Names in one sentence, the others as a number.
const SHOWN: usize = 5;

pub(super) fn of(classes: &[String], train: &[Picture], test: &[Picture], resized: usize) -> Vec<String> {
    let mut warnings = Vec::new();
    for (what, pictures) in [("training", train), ("test", test)] {
        let mut is_empty = vec![true; classes.len()];
        for picture in pictures {
            is_empty[usize::from(picture.label)] = false;
        }
        let empty = classes.iter().zip(is_empty).filter(|(_, is_empty)| *is_empty);
        let empty: Vec<String> = empty.map(|(class, _)| format!("'{class}'")).collect();
        if !empty.is_empty() {
            let classes = if empty.len() == 1 { "class" } else { "classes" };
            let count = text::count(empty.len() as u64);
            warnings.push(format!("{count} {classes} without {what} images: {}", some(&empty)));
        }
    }
    let twice = in_both(train, test);
    if !twice.is_empty() {
        warnings.push(format!(
            "{} of the test images {} also a training image, pixel by pixel, so that the test flatters: {}",
            text::count(twice.len() as u64),
            if twice.len() == 1 { "is" } else { "are" },
            some(&twice)
        ));
    }
    if resized > 0 {
        let (all, size) = (train.len() + test.len(), train.first().map(|picture| picture.size));
        let size = size.map(|size| size.to_string()).unwrap_or_default();
        warnings.push(format!(
            "{} of {} pictures had another size, and were stretched or shrunk to {size}",
            text::count(resized as u64),
            text::count(all as u64)
        ));
    }
    warnings
}

/// Test images whose pixels a training image has too.
fn in_both(train: &[Picture], test: &[Picture]) -> Vec<String> {
    let known: BTreeMap<Digest, &str> =
        train.iter().map(|picture| (Digest::of(&picture.pixels), picture.name.as_str())).collect();
    let pair = |picture: &Picture| {
        let same = known.get(&Digest::of(&picture.pixels))?;
        Some(format!("'{}' is '{same}'", picture.name))
    };
    test.iter().filter_map(pair).collect()
}

fn some(names: &[String]) -> String {
    let more = names.len().saturating_sub(SHOWN);
    let shown = names.iter().take(SHOWN).cloned();
    let more = (more > 0).then(|| format!("and {more} more"));
    shown.chain(more).collect::<Vec<_>>().join(", ")
}
