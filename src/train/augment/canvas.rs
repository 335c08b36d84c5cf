//! The transforms, on one image of floats. What comes in from outside the image is 0.

use crate::data::Shape;

/// Pixels to the right and downwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Offset {
    pub x: i64,
    pub y: i64,
}

/// A rotation counts in 2⁻³¹ pixels, with a sine and cosine rounded to 2⁻³⁰: right angles are exact, and the last bit of
/// a sine, in which C libraries differ, does not show.
const FRACTION_BITS: u32 = 31;
const ONE: i64 = 1 << FRACTION_BITS;

#[derive(Clone)]
pub(crate) struct Canvas {
    shape: Shape,
    /// Channel by channel and row by row: C×H×W.
    pixels: Vec<f32>,
    /// What the next transform draws on; of the same size.
    scratch: Vec<f32>,
}

impl Canvas {
    pub(crate) fn new(shape: Shape) -> Self {
        Self { shape, pixels: vec![0.0; shape.len()], scratch: vec![0.0; shape.len()] }
    }

    /// C×H×W.
    pub(crate) fn pixels(&self) -> &[f32] {
        &self.pixels
    }

    /// For the next image; its values are all to be set.
    pub(crate) fn pixels_mut(&mut self) -> &mut [f32] {
        &mut self.pixels
    }

    pub(crate) fn shift(&mut self, Offset { x, y }: Offset) {
        let (width, height) = (self.shape.width as i64, self.shape.height as i64);
        self.scratch.fill(0.0);
        let columns = x.clamp(0, width)..(width + x).clamp(0, width);
        if !columns.is_empty() {
            let rows = self.scratch.chunks_exact_mut(width as usize);
            for (index, target) in rows.enumerate() {
                // Rows of all channels are one after the other.
                let (row, first) = (index as i64 % height - y, index as i64 / height * height);
                if (0..height).contains(&row) {
                    let start = (first + row) * width;
                    let source = (start + columns.start - x) as usize..(start + columns.end - x) as usize;
                    target[columns.start as usize..columns.end as usize]
                        .copy_from_slice(&self.pixels[source]);
                }
            }
        }
        std::mem::swap(&mut self.pixels, &mut self.scratch);
    }

    /// About the centre, counter-clockwise, bilinear.
    pub(crate) fn rotate(&mut self, degrees: f64) {
        let (width, height) = (self.shape.width, self.shape.height);
        let (sine, cosine) = degrees.to_radians().sin_cos();
        // Of half a pixel, for the centre may lie between two.
        let [sine, cosine] = [sine, cosine].map(|ratio| (ratio * (ONE / 2) as f64).round() as i64);
        let (last_x, last_y) = (width as i64 - 1, height as i64 - 1);
        for y in 0..height {
            for x in 0..width {
                let (right, down) = (2 * x as i64 - last_x, 2 * y as i64 - last_y);
                let corner = Corner::at(
                    last_x * (ONE / 2) + cosine * right - sine * down,
                    last_y * (ONE / 2) + sine * right + cosine * down,
                );
                let planes = self.pixels.chunks_exact(width * height);
                for (plane, target) in planes.zip(self.scratch.chunks_exact_mut(width * height)) {
                    target[y * width + x] = corner.bilinear(plane, width, height);
                }
            }
        }
        std::mem::swap(&mut self.pixels, &mut self.scratch);
    }

    /// Left to right.
    pub(crate) fn flip(&mut self) {
        self.pixels.chunks_exact_mut(self.shape.width).for_each(<[f32]>::reverse);
    }

    /// Sets to 0 what lies in the image of a square of `side` pixels; of an even side, the centre is the pixel right
    /// of and below the middle.
    pub(crate) fn cut_out(&mut self, side: i64, centre: Offset) {
        let (width, height) = (self.shape.width, self.shape.height);
        let span = |centre: i64, len: usize| {
            let start = centre - side / 2;
            // Within the image.
            start.clamp(0, len as i64) as usize..(start + side).clamp(0, len as i64) as usize
        };
        let (columns, rows) = (span(centre.x, width), span(centre.y, height));
        for plane in self.pixels.chunks_exact_mut(width * height) {
            for row in plane.chunks_exact_mut(width).take(rows.end).skip(rows.start) {
                row[columns.clone()].fill(0.0);
            }
        }
    }
}

/// The pixel left of and above a position, and how far right of and below it the position is, 0 to 1.
struct Corner {
    x: i64,
    y: i64,
    right: f32,
    below: f32,
}

impl Corner {
    /// Positions count 2⁻³¹ pixels.
    fn at(x: i64, y: i64) -> Self {
        let fraction = |position: i64| (position & (ONE - 1)) as f32 / ONE as f32;
        Self { x: x >> FRACTION_BITS, y: y >> FRACTION_BITS, right: fraction(x), below: fraction(y) }
    }

    fn bilinear(&self, plane: &[f32], width: usize, height: usize) -> f32 {
        let at = |x: i64, y: i64| {
            let is_inside = (0..width as i64).contains(&x) && (0..height as i64).contains(&y);
            if is_inside { plane[y as usize * width + x as usize] } else { 0.0 }
        };
        let between = |from: f32, to: f32, share: f32| from * (1.0 - share) + to * share;
        let upper = between(at(self.x, self.y), at(self.x + 1, self.y), self.right);
        let lower = between(at(self.x, self.y + 1), at(self.x + 1, self.y + 1), self.right);
        between(upper, lower, self.below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One channel, rows as they are written.
    fn canvas<const W: usize, const H: usize>(rows: [[f32; W]; H]) -> Canvas {
        let mut canvas = Canvas::new(Shape { channels: 1, height: H, width: W });
        canvas.pixels_mut().copy_from_slice(rows.as_flattened());
        canvas
    }

    const THREE: [[f32; 3]; 3] = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]];
    const WIDE: [[f32; 3]; 2] = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]];

    fn shifted(x: i64, y: i64) -> Vec<f32> {
        let mut canvas = canvas(WIDE);
        canvas.shift(Offset { x, y });
        canvas.pixels().to_vec()
    }

    #[test]
    fn a_shift_moves_to_the_right_and_downwards_and_fills_with_0() {
        assert_eq!(shifted(0, 0), WIDE.as_flattened());
        assert_eq!(shifted(1, 0), [0.0, 1.0, 2.0, 0.0, 4.0, 5.0]);
        assert_eq!(shifted(-2, 0), [3.0, 0.0, 0.0, 6.0, 0.0, 0.0]);
        assert_eq!(shifted(0, 1), [0.0, 0.0, 0.0, 1.0, 2.0, 3.0]);
        assert_eq!(shifted(-1, -1), [5.0, 6.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn a_shift_out_of_the_image_leaves_nothing() {
        let far = i64::from(u32::MAX);
        for (x, y) in [(3, 0), (-3, 0), (0, 2), (0, -2), (far, far), (-far, -far)] {
            assert_eq!(shifted(x, y), [0.0; 6], "{x} {y}");
        }
    }

    #[test]
    fn a_shift_mixes_no_channels() {
        let mut canvas = Canvas::new(Shape { channels: 2, height: 2, width: 1 });
        canvas.pixels_mut().copy_from_slice(&[1.0, 2.0, 3.0, 4.0]);
        canvas.shift(Offset { x: 0, y: 1 });
        assert_eq!(canvas.pixels(), [0.0, 1.0, 0.0, 3.0]);
    }

    fn rotated(degrees: f64) -> Vec<f32> {
        let mut canvas = canvas(THREE);
        canvas.rotate(degrees);
        canvas.pixels().to_vec()
    }

    #[test]
    fn a_rotation_by_right_angles_is_exact() {
        assert_eq!(rotated(0.0), THREE.as_flattened());
        assert_eq!(rotated(90.0), [3.0, 6.0, 9.0, 2.0, 5.0, 8.0, 1.0, 4.0, 7.0]);
        assert_eq!(rotated(-90.0), [7.0, 4.0, 1.0, 8.0, 5.0, 2.0, 9.0, 6.0, 3.0]);
        assert_eq!(rotated(180.0), [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]);
        assert_eq!(rotated(360.0), rotated(0.0));
    }

    /// Of the study's sides, where the centre lies between pixels.
    #[test]
    fn four_quarter_turns_give_back_every_channel_of_an_even_image() {
        let shape = Shape { channels: 3, height: 32, width: 32 };
        let mut canvas = Canvas::new(shape);
        let values: Vec<f32> = (0..shape.len()).map(|index| (index * 37 % 256) as f32 / 255.0).collect();
        canvas.pixels_mut().copy_from_slice(&values);
        canvas.rotate(90.0);
        assert_ne!(canvas.pixels(), values);
        // The right column becomes the top row.
        assert_eq!(
            canvas.pixels()[..32],
            *values.iter().skip(31).step_by(32).take(32).copied().collect::<Vec<_>>()
        );
        (0..3).for_each(|_| canvas.rotate(90.0));
        assert_eq!(canvas.pixels(), values);
    }

    #[test]
    fn a_rotation_by_45_degrees_interpolates() {
        let found = rotated(45.0);
        // The top left pixel comes from √2 − 1 above the border pixel 2, on the way to the 0 outside.
        let out = 2.0_f32.sqrt() - 1.0;
        assert!((found[0] - 2.0 * (1.0 - out)).abs() < 1e-5, "{}", found[0]);
        assert_eq!(found[4], 5.0);
        // The top middle one from between 2, 3, 5 and 6, which lie on the plane 1 + x + 3y: at (1 + √½, 1 − √½).
        let near = 0.5_f32.sqrt();
        let expected = 5.0 + near - 3.0 * near;
        assert!((found[1] - expected).abs() < 1e-5, "{} {expected}", found[1]);
    }

    #[test]
    fn a_flip_mirrors_rows() {
        let mut canvas = canvas(WIDE);
        canvas.flip();
        assert_eq!(canvas.pixels(), [3.0, 2.0, 1.0, 6.0, 5.0, 4.0]);
        canvas.flip();
        assert_eq!(canvas.pixels(), WIDE.as_flattened());
    }

    fn cut(side: i64, x: i64, y: i64) -> Vec<f32> {
        let mut canvas = canvas(THREE);
        canvas.cut_out(side, Offset { x, y });
        canvas.pixels().to_vec()
    }

    #[test]
    fn a_cutout_is_cut_at_the_borders() {
        assert_eq!(cut(1, 2, 1), [1.0, 2.0, 3.0, 4.0, 5.0, 0.0, 7.0, 8.0, 9.0]);
        assert_eq!(cut(2, 1, 1), [0.0, 0.0, 3.0, 0.0, 0.0, 6.0, 7.0, 8.0, 9.0]);
        assert_eq!(cut(2, 0, 2), [1.0, 2.0, 3.0, 0.0, 5.0, 6.0, 0.0, 8.0, 9.0]);
        assert_eq!(cut(3, 0, 0), [0.0, 0.0, 3.0, 0.0, 0.0, 6.0, 7.0, 8.0, 9.0]);
        assert_eq!(cut(0, 1, 1), THREE.as_flattened());
        assert_eq!(cut(99, 1, 1), [0.0; 9]);
    }

    #[test]
    fn a_cutout_cuts_every_channel() {
        let mut canvas = Canvas::new(Shape { channels: 2, height: 1, width: 2 });
        canvas.pixels_mut().fill(1.0);
        canvas.cut_out(1, Offset { x: 1, y: 0 });
        assert_eq!(canvas.pixels(), [1.0, 0.0, 1.0, 0.0]);
    }
}
