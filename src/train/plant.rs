//! Planted faults that are in the data.

use crate::data::{DataSet, Images};
use crate::planted::Planted;

/// Training labels between two that are wrong.
const LABELS_EVERY: usize = 20;

/// The data with the fault in it; `None` where the fault is elsewhere.
pub fn spoiled(data: &DataSet, planted: Planted) -> Option<DataSet> {
    if planted != Planted::Labels {
        return None;
    }
    let images = |images: &Images| Images {
        pixels: images.pixels.clone(),
        labels: images.labels.clone(),
        shape: images.shape,
    };
    let (mut train, test) = (images(&data.train), images(&data.test));
    // Each takes the label of the image half of the set away, so that every class keeps its share.
    let all = train.labels.len();
    for index in (0..all).step_by(LABELS_EVERY) {
        train.labels[index] = data.train.labels[(index + all / 2) % all];
    }
    Some(DataSet { name: data.name, train, test })
}
