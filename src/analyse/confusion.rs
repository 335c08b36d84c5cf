//! Precision, recall and F1 from a confusion matrix, as scikit-learn computes them: a quotient whose denominator is
//! 0 is 0 (`zero_division=0`), and a macro mean is over the classes that an image has or is taken for (its default).

use crate::row::{ConfusionRow, Split};

/// Images by label and by predicted class.
#[derive(Clone, PartialEq, Debug)]
pub struct Confusion {
    classes: usize,
    /// Row by row: label, then predicted.
    images: Vec<u64>,
}

impl Confusion {
    /// The sum of the matrices over `split` after `epoch`; `None` without rows of them. It has `classes` classes, or
    /// more if the rows name more, as of a set that is not defined here.
    pub fn of<'a>(
        rows: impl IntoIterator<Item = &'a ConfusionRow>,
        split: Split,
        epoch: u32,
        classes: u16,
    ) -> Option<Self> {
        let rows = rows.into_iter().filter(|row| row.split == split && row.epoch == epoch);
        let rows: Vec<&ConfusionRow> = rows.collect();
        let named = rows.iter().map(|row| usize::from(row.label.max(row.predicted)) + 1).max()?;
        let classes = named.max(classes.into());
        let mut images = vec![0; classes * classes];
        for row in rows {
            images[usize::from(row.label) * classes + usize::from(row.predicted)] += u64::from(row.images);
        }
        Some(Self { classes, images })
    }

    /// Adds the images of `other`, of as many classes.
    pub fn add(&mut self, other: &Self) {
        for (images, other) in self.images.iter_mut().zip(&other.images) {
            *images += other;
        }
    }

    pub fn classes(&self) -> usize {
        self.classes
    }

    pub fn images(&self, label: usize, predicted: usize) -> u64 {
        self.images[label * self.classes + predicted]
    }

    /// Images of the class.
    pub fn support(&self, class: usize) -> u64 {
        (0..self.classes).map(|predicted| self.images(class, predicted)).sum()
    }

    fn predicted(&self, class: usize) -> u64 {
        (0..self.classes).map(|label| self.images(label, class)).sum()
    }

    /// Share of the images predicted as the class that are of it.
    pub fn precision(&self, class: usize) -> f64 {
        quotient(self.images(class, class), self.predicted(class))
    }

    /// Share of the images of the class that are predicted as it.
    pub fn recall(&self, class: usize) -> f64 {
        quotient(self.images(class, class), self.support(class))
    }

    /// Harmonic mean of precision and recall.
    pub fn f1(&self, class: usize) -> f64 {
        quotient(2 * self.images(class, class), self.support(class) + self.predicted(class))
    }

    /// Label, predicted class and images of the pairs that are most often confused, at most `count`; equal ones in the
    /// order of their labels.
    pub fn most_confused(&self, count: usize) -> Vec<(usize, usize, u64)> {
        let cells = self.images.iter().enumerate();
        let cells = cells.map(|(index, &images)| (index / self.classes, index % self.classes, images));
        let mut pairs: Vec<_> =
            cells.filter(|(label, other, images)| label != other && *images > 0).collect();
        pairs.sort_by_key(|&(.., images)| std::cmp::Reverse(images));
        pairs.truncate(count);
        pairs
    }

    /// Whether an image has the class or is taken for it: of another nothing is known, which is no score of 0.
    pub fn is_known(&self, class: usize) -> bool {
        self.support(class) + self.predicted(class) > 0
    }

    /// Mean of `metric` over the classes that are [known](Self::is_known).
    pub fn macro_mean(&self, metric: fn(&Self, usize) -> f64) -> f64 {
        let known: Vec<usize> = (0..self.classes).filter(|&class| self.is_known(class)).collect();
        known.iter().map(|&class| metric(self, class)).sum::<f64>() / known.len().max(1) as f64
    }
}

fn quotient(above: u64, below: u64) -> f64 {
    if below == 0 { 0.0 } else { above as f64 / below as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_confused_pairs_come_first_and_a_class_without_rows_counts() {
        let cells = [(0, 0, 9), (0, 2, 3), (1, 0, 5), (2, 1, 3), (2, 2, 1)];
        let row = |(label, predicted, images)| ConfusionRow {
            epoch: 0,
            split: Split::Test,
            label,
            predicted,
            images,
        };
        let rows = cells.map(row);
        let confusion = Confusion::of(&rows, Split::Test, 0, 4).unwrap();
        assert_eq!(confusion.most_confused(9), [(1, 0, 5), (0, 2, 3), (2, 1, 3)]);
        assert_eq!(confusion.most_confused(1), [(1, 0, 5)]);
        assert_eq!((confusion.classes(), confusion.support(3), confusion.is_known(3)), (4, 0, false));
    }

    #[test]
    fn scores_are_those_of_scikit_learn() {
        let text = include_str!("../../tests/data/metrics.json");
        let cases: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
        for case in cases {
            let cells: Vec<Vec<u32>> = serde_json::from_value(case["confusion"].clone()).unwrap();
            let mut rows = Vec::new();
            for (label, cells) in cells.iter().enumerate() {
                for (predicted, &images) in cells.iter().enumerate() {
                    let (label, predicted) = (label as u16, predicted as u16);
                    if images > 0 {
                        rows.push(ConfusionRow { epoch: 4, split: Split::Test, label, predicted, images });
                    }
                }
            }
            assert_eq!(Confusion::of(&rows, Split::Test, 3, 2), None);
            let confusion = Confusion::of(&rows, Split::Test, 4, cells.len() as u16).unwrap();
            let near = |found: f64, expected: &serde_json::Value| {
                assert!((found - expected.as_f64().unwrap()).abs() < 1e-12, "{found} {expected}");
            };
            for (name, metric) in [
                ("precision", Confusion::precision as fn(&Confusion, usize) -> f64),
                ("recall", Confusion::recall),
                ("f1", Confusion::f1),
            ] {
                near(confusion.macro_mean(metric), &case[name]);
                for class in 0..confusion.classes() {
                    near(metric(&confusion, class), &case[format!("class_{name}")][class]);
                }
            }
        }
    }
}
