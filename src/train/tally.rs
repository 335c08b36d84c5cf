//! Counts over the logits of a split: accuracy, top-3, calibration and the confusion matrix in one pass.

/// Bins of the calibration error; Guo et al. (arXiv 1706.04599, section 4) use as many.
const BINS: usize = 15;

/// What has been counted so far.
pub(super) struct Tally {
    classes: usize,
    images: u64,
    top3: u64,
    /// Images of class `row` whose largest logit is that of class `column`, row by row.
    confusion: Vec<u32>,
    bins: [Bin; BINS],
}

#[derive(Clone, Copy, Default)]
struct Bin {
    images: u64,
    correct: u64,
    confidence: f64,
}

impl Tally {
    pub(super) fn new(classes: usize) -> Self {
        Self {
            classes,
            images: 0,
            top3: 0,
            confusion: vec![0; classes * classes],
            bins: [Bin::default(); BINS],
        }
    }

    /// Counts images with `logits` [n, classes] row by row and `labels` [n] below `classes`.
    pub(super) fn add(&mut self, logits: &[f32], labels: &[i64]) {
        for (logits, &label) in logits.chunks_exact(self.classes).zip(labels) {
            self.add_one(logits, label as usize);
        }
    }

    fn add_one(&mut self, logits: &[f32], label: usize) {
        let predicted = largest(logits);
        self.images += 1;
        self.confusion[label * self.classes + predicted] += 1;
        // At equal logits the class of the lower index comes first, as for the largest.
        let before = |&(index, &logit): &(usize, &f32)| {
            above(logit, logits[label]) || (index < label && !above(logits[label], logit))
        };
        self.top3 += u64::from(logits.iter().enumerate().filter(before).count() < 3);
        let confidence = confidence(logits, predicted);
        let bin = &mut self.bins[bin(confidence)];
        bin.images += 1;
        bin.correct += u64::from(predicted == label);
        bin.confidence += confidence;
    }

    pub(super) fn correct(&self) -> u64 {
        (0..self.classes).map(|class| u64::from(self.confusion[class * self.classes + class])).sum()
    }

    /// Share of the images whose label is among the three largest logits.
    pub(super) fn top3(&self) -> f64 {
        self.top3 as f64 / self.images as f64
    }

    /// Expected calibration error: the mean over images of |accuracy − confidence| of their bin of confidence
    /// (Guo et al., arXiv 1706.04599, equation 3).
    pub(super) fn calibration_error(&self) -> f64 {
        let gap = |bin: &Bin| (bin.correct as f64 - bin.confidence).abs();
        self.bins.iter().map(gap).sum::<f64>() / self.images as f64
    }

    /// `(label, predicted, images)` of every cell that has images, row by row.
    pub(super) fn confusion(&self) -> impl Iterator<Item = (u16, u16, u32)> {
        let cells = self.confusion.iter().enumerate().filter(|(_, images)| **images > 0);
        cells.map(|(index, &images)| ((index / self.classes) as u16, (index % self.classes) as u16, images))
    }
}

/// NaN is above every number, as for libtorch's `argmax`.
fn above(a: f32, b: f32) -> bool {
    a > b || (a.is_nan() && !b.is_nan())
}

/// The first of the largest.
fn largest(logits: &[f32]) -> usize {
    let mut best = 0;
    for (index, &logit) in logits.iter().enumerate() {
        if above(logit, logits[best]) {
            best = index;
        }
    }
    best
}

/// The softmax probability of the predicted class.
fn confidence(logits: &[f32], predicted: usize) -> f64 {
    let largest = f64::from(logits[predicted]);
    1.0 / logits.iter().map(|&logit| (f64::from(logit) - largest).exp()).sum::<f64>()
}

/// Bins are open to the left and closed to the right. What is not a number falls into the first.
fn bin(confidence: f64) -> usize {
    ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What scikit-learn says of logits that `tools/metrics.py` drew.
    #[test]
    fn counts_are_those_of_scikit_learn() {
        let text = include_str!("../../tests/data/metrics.json");
        let cases: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
        assert!(cases.len() >= 3);
        for case in cases {
            let rows: Vec<Vec<f32>> = serde_json::from_value(case["logits"].clone()).unwrap();
            let labels: Vec<i64> = serde_json::from_value(case["labels"].clone()).unwrap();
            let mut tally = Tally::new(rows[0].len());
            tally.add(&rows.concat(), &labels);
            let number = |name: &str| case[name].as_f64().unwrap();
            let near =
                |found: f64, name: &str| assert!((found - number(name)).abs() < 1e-9, "{name}: {found}");
            near(tally.correct() as f64 / labels.len() as f64, "accuracy");
            near(tally.top3(), "top3");
            near(tally.calibration_error(), "calibration_error");
            let expected: Vec<Vec<u32>> = serde_json::from_value(case["confusion"].clone()).unwrap();
            assert_eq!(tally.confusion, expected.concat());
        }
    }

    #[test]
    fn at_equal_logits_the_first_class_is_predicted_and_three_are_in_the_top_three() {
        let mut tally = Tally::new(4);
        tally.add(&[0.0; 16], &[0, 1, 2, 3]);
        assert_eq!((tally.correct(), tally.top3()), (1, 0.75));
    }

    #[test]
    fn logits_that_are_not_numbers_are_counted_and_do_not_panic() {
        let mut tally = Tally::new(3);
        tally.add(&[-f32::NAN, 0.0, 1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN], &[0, 2]);
        tally.add(&[-0.0, 0.0, -1.0], &[0]);
        assert_eq!(tally.correct(), 3);
        // A confidence that is not a number is seen in the error, not lost.
        assert!(tally.calibration_error().is_nan());
        assert_eq!(tally.confusion().map(|(_, _, images)| images).sum::<u32>(), 3);
    }
}
