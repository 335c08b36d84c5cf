//! Labels at the ends of lines, moved apart where they would overlap.

use std::ops::Range;

use plotters::style::text_anchor::{HPos, VPos};

use crate::report::figure::plot::{Drawn, Plot, Size, UNITS_PER_PIXEL};
use crate::report::figure::style::{Ink, Look, Mark};
use crate::report::figure::width::{shortened, width};

/// Height of a line of labels.
const LINE: i32 = 15 * UNITS_PER_PIXEL;

/// Pixels between the right edge of the curves and a label, with room for its leader.
const GAP: i32 = 18;

/// A line's name and where the line ends.
pub(super) struct EndLabel {
    pub text: String,
    pub look: Look,
    pub end: (f64, f64),
}

/// Pixels to keep free on the right for the longest of `labels`: at most a third of the picture, or the curves would have none.
pub(super) fn room<'a>(labels: impl Iterator<Item = &'a str>, size: Size) -> i32 {
    let longest = labels.map(width).max().unwrap_or(0);
    (longest + GAP + 4).min(size.width() / 3)
}

/// Draws each label beside the right edge, at the height its line ends.
pub(super) fn draw(plot: &Plot, labels: &[EndLabel]) -> Drawn {
    let (right, top) = plot.place((f64::INFINITY, f64::INFINITY));
    let bottom = plot.place((f64::INFINITY, f64::NEG_INFINITY)).1;
    // The legend has those that would find no room.
    let most = ((bottom - top) / LINE + 1) as usize;
    let labels = &labels[..labels.len().min(most)];
    let ends: Vec<(i32, i32)> = labels.iter().map(|label| plot.place(label.end)).collect();
    let heights = apart(&ends.iter().map(|end| end.1).collect::<Vec<_>>(), top..bottom);
    let free = (plot.width() - right) / UNITS_PER_PIXEL - GAP;
    for ((label, end), height) in labels.iter().zip(&ends).zip(heights) {
        let bend = right + 6 * UNITS_PER_PIXEL;
        let start = right + GAP * UNITS_PER_PIXEL;
        // A label that had to move is tied to its line.
        if (height - end.1).abs() > LINE / 4 {
            plot.rule([(bend, end.1), (start - 2 * UNITS_PER_PIXEL, height)], Ink::of(Mark::Leader))?;
        }
        let ink = label.look.ink(Mark::EndLabel);
        let text = shortened(&label.text, free);
        plot.inked_text((start, height), ink, HPos::Left, VPos::Center, &text)?;
    }
    Ok(())
}

/// `heights` moved apart by at least a line, in the same order from top to bottom, around where they were, and within `bounds`.
fn apart(heights: &[i32], bounds: Range<i32>) -> Vec<i32> {
    let mut order: Vec<usize> = (0..heights.len()).collect();
    order.sort_by_key(|&index| heights[index]);
    // Each block of touching labels sits around the mean of where its members would be, and blocks that then touch
    // become one.
    let mut blocks: Vec<Vec<usize>> = Vec::new();
    for index in order {
        blocks.push(vec![index]);
        while let [.., above, below] = &blocks[..]
            && top(heights, below, &bounds) < top(heights, above, &bounds) + LINE * above.len() as i32
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
            moved[index] = top(heights, block, &bounds) + LINE * place as i32;
        }
    }
    moved
}

/// Height of the first label of a block, all of which is within `bounds` where it fits.
fn top(heights: &[i32], block: &[usize], bounds: &Range<i32>) -> i32 {
    let sum: i32 = block.iter().map(|&index| heights[index]).sum();
    let count = block.len().max(1) as i32;
    let reach = LINE * (count - 1);
    (sum / count - reach / 2).min(bounds.end - reach).max(bounds.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHEET: Range<i32> = -10_000..10_000;

    #[test]
    fn labels_far_apart_stay_where_their_lines_end() {
        assert_eq!(apart(&[1000, 0, 500], SHEET), [1000, 0, 500]);
        assert_eq!(apart(&[], SHEET), Vec::<i32>::new());
    }

    #[test]
    fn labels_that_would_overlap_part_in_their_order() {
        let moved = apart(&[1000, 1010, 990], SHEET);
        assert_eq!(moved, [1000, 1150, 850]);
        let moved = apart(&[0, 100, 200, 900], SHEET);
        assert_eq!(moved, [-50, 100, 250, 900]);
    }

    /// Eight lines that ended at the top pushed the first label out of the picture, and eight at the bottom into the axis.
    #[test]
    fn labels_stay_within_the_curves_and_apart_wherever_lines_end() {
        let bounds = 260..2960;
        for ends in [[260; 8], [2960; 8], [260, 270, 280, 1400, 1410, 2940, 2950, 2960]] {
            let mut moved = apart(&ends, bounds.clone());
            moved.sort();
            assert!(bounds.start <= moved[0] && moved[7] <= bounds.end, "{moved:?}");
            assert!(moved.windows(2).all(|pair| pair[1] - pair[0] >= LINE), "{moved:?}");
        }
    }
}
