//! Labels at the ends of lines, moved apart where they would overlap.

use plotters::style::text_anchor::{HPos, VPos};

use crate::report::figure::plot::{Drawn, Plot, UNITS_PER_PIXEL};
use crate::report::figure::style::{Ink, Look, Mark};

/// Height of a line of labels.
const LINE: i32 = 15 * UNITS_PER_PIXEL;

/// Width of a letter of a label, on the safe side.
const LETTER: f64 = 7.2;

/// A line's name and where the line ends.
pub struct EndLabel {
    pub text: String,
    pub look: Look,
    pub end: (f64, f64),
}

/// Pixels to keep free on the right for the longest of `labels`.
pub fn room<'a>(labels: impl Iterator<Item = &'a str>) -> i32 {
    let letters = labels.map(|label| label.chars().count()).max().unwrap_or(0);
    (letters as f64 * LETTER) as i32 + 26
}

/// Draws each label beside the right edge, at the height its line ends.
pub fn draw(plot: &Plot, labels: &[EndLabel]) -> Drawn {
    let ends: Vec<(i32, i32)> = labels.iter().map(|label| plot.place(label.end)).collect();
    let heights = apart(&ends.iter().map(|end| end.1).collect::<Vec<_>>());
    let right = plot.place((f64::INFINITY, f64::INFINITY)).0;
    for ((label, end), height) in labels.iter().zip(&ends).zip(heights) {
        let bend = right + 6 * UNITS_PER_PIXEL;
        let start = right + 18 * UNITS_PER_PIXEL;
        // A label that had to move is tied to its line.
        if (height - end.1).abs() > LINE / 4 {
            plot.rule([(bend, end.1), (start - 2 * UNITS_PER_PIXEL, height)], Ink::of(Mark::Leader))?;
        }
        let ink = label.look.ink(Mark::EndLabel);
        plot.inked_text((start, height), ink, HPos::Left, VPos::Center, &label.text)?;
    }
    Ok(())
}

/// `heights` moved apart by at least a line, in the same order from top to bottom, around where they were.
fn apart(heights: &[i32]) -> Vec<i32> {
    let mut order: Vec<usize> = (0..heights.len()).collect();
    order.sort_by_key(|&index| heights[index]);
    // Each block of touching labels sits around the mean of where its members would be, and blocks that then touch
    // become one.
    let mut blocks: Vec<Vec<usize>> = Vec::new();
    for index in order {
        blocks.push(vec![index]);
        while let [.., above, below] = &blocks[..]
            && top(heights, below) < top(heights, above) + LINE * above.len() as i32
        {
            let below = blocks.pop().unwrap_or_default();
            if let Some(above) = blocks.last_mut() {
                above.extend(below);
            }
        }
    }
    let mut moved = heights.to_vec();
    for block in &blocks {
        for (place, &index) in block.iter().enumerate() {
            moved[index] = top(heights, block) + LINE * place as i32;
        }
    }
    moved
}

/// Height of the first label of a block.
fn top(heights: &[i32], block: &[usize]) -> i32 {
    let sum: i32 = block.iter().map(|&index| heights[index]).sum();
    let count = block.len().max(1) as i32;
    sum / count - LINE * (count - 1) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_far_apart_stay_where_their_lines_end() {
        assert_eq!(apart(&[1000, 0, 500]), [1000, 0, 500]);
        assert_eq!(apart(&[]), Vec::<i32>::new());
    }

    #[test]
    fn labels_that_would_overlap_part_in_their_order() {
        let moved = apart(&[1000, 1010, 990]);
        assert_eq!(moved, [1000, 1150, 850]);
        let moved = apart(&[0, 100, 200, 900]);
        assert_eq!(moved, [-50, 100, 250, 900]);
    }
}
