//! What is done to one image: drawn from its own key, then applied.

use crate::data::Shape;
use crate::experiment::config::Augment;
use crate::stream::Key;
use crate::train::augment::canvas::{Canvas, Offset};

/// In the order it is applied. `None` is off.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Change {
    pub shift: Option<Offset>,
    /// Degrees, counter-clockwise.
    pub rotation: Option<f64>,
    pub flip: bool,
    pub crop: Option<Offset>,
    /// Side and centre of the square that is set to 0.
    pub cutout: Option<(i64, Offset)>,
}

impl Change {
    /// Of one image of `shape` in one epoch, which are what `key` is made of.
    pub(crate) fn draw(augment: &Augment, shape: Shape, key: &Key) -> Self {
        // Every number has its own word, drawn whether it is used or not: an option that is turned on leaves the draws
        // of the others as they are, so that two arms differ in nothing else.
        let [shift_x, shift_y, angle, flip, crop_x, crop_y, hole_x, hole_y] = key.words();
        let cutout = |side: u32| {
            let centre =
                Offset { x: below(hole_x, shape.width as u64), y: below(hole_y, shape.height as u64) };
            (i64::from(side), centre)
        };
        Self {
            shift: augment.shift.map(|most| Offset { x: within(shift_x, most), y: within(shift_y, most) }),
            rotation: augment.rotation.map(|most| most * (2.0 * unit(angle) - 1.0)),
            flip: augment.flip == Some(true) && below(flip, 2) == 1,
            // A cut out of the padded image at 0…2n is a shift by n…−n.
            crop: augment.crop.map(|pad| Offset { x: -within(crop_x, pad), y: -within(crop_y, pad) }),
            cutout: augment.cutout.map(cutout),
        }
    }

    pub(crate) fn apply(&self, canvas: &mut Canvas) {
        if let Some(offset) = self.shift {
            canvas.shift(offset);
        }
        if let Some(degrees) = self.rotation {
            canvas.rotate(degrees);
        }
        if self.flip {
            canvas.flip();
        }
        if let Some(offset) = self.crop {
            canvas.shift(offset);
        }
        if let Some((side, centre)) = self.cutout {
            canvas.cut_out(side, centre);
        }
    }
}

/// Uniform in `0..bound`, to within bound/2⁶⁴: without the rejection that would make it exact, one word is one draw.
fn below(word: u64, bound: u64) -> i64 {
    // Less than `bound`, which is a length in pixels.
    ((u128::from(word) * u128::from(bound)) >> 64) as i64
}

/// Uniform in −most…most.
fn within(word: u64, most: u32) -> i64 {
    below(word, 2 * u64::from(most) + 1) - i64::from(most)
}

/// Uniform in [0, 1) on the multiples of 2⁻⁵³.
fn unit(word: u64) -> f64 {
    (word >> 11) as f64 * 2_f64.powi(-53)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Seed, Stream};

    const SHAPE: Shape = Shape { channels: 1, height: 5, width: 7 };

    fn all() -> Augment {
        Augment { shift: Some(2), rotation: Some(15.0), flip: Some(true), crop: Some(3), cutout: Some(2) }
    }

    fn changes(augment: &Augment, count: u64) -> Vec<Change> {
        let key = |image| Key::new(Seed(1), Stream::Augment, 4, image);
        (0..count).map(|image| Change::draw(augment, SHAPE, &key(image))).collect()
    }

    /// χ² of draws that should fall evenly on `first..first + cells`; panics on one that falls elsewhere.
    fn chi_squared(draws: impl Iterator<Item = i64>, first: i64, cells: usize) -> f64 {
        let mut seen = vec![0_f64; cells];
        draws.for_each(|draw| seen[usize::try_from(draw - first).unwrap()] += 1.0);
        let expected = seen.iter().sum::<f64>() / cells as f64;
        seen.iter().map(|count| (count - expected).powi(2) / expected).sum()
    }

    /// Bounds are the 99.9 % points of χ² with one degree of freedom less than there are cells.
    #[test]
    fn every_outcome_is_equally_likely() {
        let changes = changes(&all(), 7_000);
        let draws = |of: fn(&Change) -> i64| changes.iter().map(of);
        let uniform = [
            (chi_squared(draws(|change| change.shift.unwrap().x), -2, 5), 18.47),
            (chi_squared(draws(|change| change.shift.unwrap().y), -2, 5), 18.47),
            (chi_squared(draws(|change| change.crop.unwrap().x), -3, 7), 22.46),
            (chi_squared(draws(|change| change.crop.unwrap().y), -3, 7), 22.46),
            (chi_squared(draws(|change| i64::from(change.flip)), 0, 2), 10.83),
            (chi_squared(draws(|change| change.cutout.unwrap().1.x), 0, 7), 22.46),
            (chi_squared(draws(|change| change.cutout.unwrap().1.y), 0, 5), 18.47),
            (chi_squared(draws(|change| (change.rotation.unwrap() / 3.0).floor() as i64), -5, 10), 27.88),
        ];
        for (index, (found, bound)) in uniform.into_iter().enumerate() {
            assert!(found < bound, "draw {index}: χ² {found} is not below {bound}");
        }
    }

    /// A shift to the right says nothing about one downwards: 25 cells, χ² above 51.18 once in a thousand.
    #[test]
    fn the_draws_of_one_image_are_independent() {
        let joint = |change: &Change| change.shift.map(|Offset { x, y }| (x + 2) * 5 + y + 2).unwrap();
        assert!(chi_squared(changes(&all(), 7_000).iter().map(joint), 0, 25) < 51.18);
    }

    #[test]
    fn turning_one_option_on_leaves_the_draws_of_the_others() {
        let only_crop = Augment { crop: Some(3), ..Augment::default() };
        for (alone, together) in changes(&only_crop, 50).iter().zip(changes(&all(), 50)) {
            assert_eq!(alone.crop, together.crop);
            assert_eq!(*alone, Change { crop: alone.crop, ..Change::default() });
        }
    }

    #[test]
    fn an_image_is_changed_anew_in_each_epoch() {
        let draw = |epoch, image| {
            Change::draw(&all(), SHAPE, &Key::new(Seed(1), Stream::Augment, epoch, image)).rotation
        };
        assert_eq!(draw(0, 3), draw(0, 3));
        assert_ne!(draw(0, 3), draw(1, 3));
        assert_ne!(draw(0, 3), draw(0, 4));
    }

    #[test]
    fn extreme_words_stay_in_range() {
        for most in [0, 1, u32::MAX] {
            assert_eq!(within(0, most), -i64::from(most));
            assert_eq!(within(u64::MAX, most), i64::from(most));
        }
        assert_eq!((unit(0), below(u64::MAX, 2)), (0.0, 1));
        assert!(unit(u64::MAX) < 1.0);
    }
}
