//! From plotters' colours to the stylesheet's classes.
//!
//! plotters knows only colours, and a colour in an SVG is the same by day and by night. So every mark is drawn in a
//! colour that merely stands for what the mark *is*, and in the finished SVG a class takes the place of it. Colours,
//! widths, dashes and letters are the stylesheet's.

use plotters::style::{RGBColor, ShapeStyle};

use crate::analyse::{ArmSummary, Summary};
use crate::experiment::Colour;

named! {
    /// What a mark is, as the class that `templates/style.css` knows it by.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) enum Mark {
        Axis = "axis",
        Grid = "grid",
        Tick = "tick",
        AxisTitle = "axis-title",
        /// Every step, or the extremes of a few.
        Raw = "raw",
        /// One seed of several.
        Seed = "seed",
        /// The mean.
        Line = "line",
        Marker = "marker",
        EndLabel = "end-label",
        /// From a label to the point it was moved away from.
        Leader = "leader",
        Bar = "bar",
        BarLabel = "bar-label",
        Whisker = "whisker",
        /// Somebody else's number.
        Reference = "reference",
        Phase = "phase",
        OnPhase = "on-phase",
        /// From the least to the greatest of the seeds.
        Band = "band",
        /// Where nothing differs.
        Zero = "zero",
        /// The least effect that matters.
        Margin = "margin",
        /// What one seed says.
        Dot = "dot",
        /// Where a curve can be pointed at; not seen until it is.
        Probe = "probe",
        /// No mark: what the mark before it stands for, for the page's script to say.
        Value = "value",
    }
}

/// How an arm looks wherever it is drawn: its colour, and a turn that gives dash and marker, so that colour never
/// carries the meaning alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Look {
    pub colour: Colour,
    pub turn: u8,
}

/// Dashes the stylesheet has, and shapes `marker` draws. Coprime with the eight colours: 40 arms go by before a pair
/// of colour and dash comes again.
pub(super) const TURNS: usize = 5;

impl Look {
    /// Arms that a page shows at most.
    pub(crate) const MOST: usize = 40;

    /// Of the arm at `index`.
    fn new(index: usize, colour: Colour) -> Self {
        Self { colour, turn: (index % TURNS) as u8 }
    }

    /// The arms of a page's tables and figures with their looks. More of them nobody reads, and the files beside the page have
    /// them all.
    pub(crate) fn each<'s, 'a>(summary: &'s Summary<'a>) -> impl Iterator<Item = (&'s ArmSummary<'a>, Self)> {
        Self::all(summary).take(Self::MOST)
    }

    /// Every arm with its look, of those that are one training the first.
    pub(crate) fn all<'s, 'a>(summary: &'s Summary<'a>) -> impl Iterator<Item = (&'s ArmSummary<'a>, Self)> {
        let arms = summary.arms.iter().enumerate().filter(|(_, arm)| arm.same_as.is_none());
        arms.map(|(index, arm)| (arm, Self::new(index, arm.arm.colour)))
    }

    pub(crate) fn ink(self, mark: Mark) -> Ink {
        // At most eight colours; 0 is left for none.
        let colour =
            Colour::IN_TURN.iter().position(|&colour| colour == self.colour).map_or(0, |index| index + 1);
        Ink(RGBColor(mark as u8, colour as u8, self.turn))
    }

    /// For table rows.
    pub(crate) fn class(self) -> String {
        format!("arm-{}", self.colour.name())
    }
}

/// A colour that stands for a class.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Ink(pub RGBColor);

impl Ink {
    pub(crate) fn of(mark: Mark) -> Self {
        Self(RGBColor(mark as u8, 0, 0))
    }

    pub(crate) fn turned(mark: Mark, turn: usize) -> Self {
        Self(RGBColor(mark as u8, 0, turn as u8))
    }

    pub(crate) fn stroke(self) -> ShapeStyle {
        ShapeStyle { color: self.0.into(), filled: false, stroke_width: 1 }
    }

    pub(crate) fn fill(self) -> ShapeStyle {
        ShapeStyle { color: self.0.into(), filled: true, stroke_width: 1 }
    }

    /// From `RRGGBB`.
    fn parse(hex: &str) -> Option<Self> {
        let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
        Some(Self(RGBColor(byte(0)?, byte(2)?, byte(4)?)))
    }

    fn class(self) -> Option<String> {
        let RGBColor(mark, colour, turn) = self.0;
        let mark = Mark::ALL.get(usize::from(mark))?;
        let colour = match colour {
            0 => String::new(),
            colour => format!(" arm-{}", Colour::IN_TURN.get(usize::from(colour) - 1)?.name()),
        };
        // Only phases have a colour for the first turn.
        let is_plain = turn == 0 && *mark != Mark::Phase;
        let turn = if is_plain { String::new() } else { format!(" turn-{turn}") };
        Some(format!("{}{colour}{turn}", mark.name()))
    }
}

/// The inside of plotters' `<svg>` with classes for colours, and without what the stylesheet sets.
pub(super) fn classed(svg: &str) -> String {
    let mut out = String::with_capacity(svg.len());
    let mut inside = svg.lines().filter(|line| !line.starts_with("<svg") && *line != "</svg>");
    while let Some(line) = inside.next() {
        if is_value(line) {
            // plotters' texts are three lines: the tag, what it says, the end.
            push_value(&mut out, inside.next().unwrap_or_default());
            inside.next();
            continue;
        }
        let mut rest = line;
        while let Some((text, attribute, after)) = next_attribute(rest) {
            out.push_str(text);
            push_attribute(&mut out, attribute);
            rest = after;
        }
        out.push_str(rest);
        // A text stands on a line of its own in plotters' SVG; its spaces would shift what is centred.
        if rest.ends_with('>') && !rest.starts_with("<text") && !line.starts_with("<text") {
            out.push('\n');
        }
    }
    out
}

fn is_value(line: &str) -> bool {
    let Ink(RGBColor(r, g, b)) = Ink::of(Mark::Value);
    line.starts_with("<text") && line.contains(&format!(" fill=\"#{r:02X}{g:02X}{b:02X}\""))
}

/// Gives the last element, which is a mark, what it stands for; its text is escaped already.
fn push_value(out: &mut String, value: &str) {
    if let Some(end) = out.rfind("/>") {
        out.insert_str(end, &format!(" data-value=\"{value}\""));
    }
}

/// Splits at the next ` name="value"`, which no text holds: its quotes are escaped.
fn next_attribute(text: &str) -> Option<(&str, &str, &str)> {
    let assign = text.find("=\"")?;
    let start = text[..assign].rfind(' ')?;
    let end = assign + 2 + text[assign + 2..].find('"')? + 1;
    Some((&text[..start], &text[start..end], &text[end..]))
}

fn push_attribute(out: &mut String, attribute: &str) {
    const STYLED: [&str; 6] = ["opacity", "fill", "stroke", "stroke-width", "font-family", "font-size"];
    let (name, value) = attribute.trim_start().split_once('=').unwrap_or((attribute, ""));
    let ink = value.trim_matches('"').strip_prefix('#').and_then(Ink::parse).and_then(Ink::class);
    match ink {
        Some(class) => out.push_str(&format!(" class=\"{class}\"")),
        None if STYLED.contains(&name) => {}
        // plotters leaves a space behind the last point.
        None => out.push_str(&attribute.replace(" \"", "\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_classes_and_styles_go() {
        let look = Look::new(6, Colour::Grey);
        let RGBColor(r, g, b) = look.ink(Mark::Line).0;
        let svg = format!(
            "<svg width=\"1\">\n<polyline fill=\"none\" opacity=\"1\" stroke=\"#{r:02X}{g:02X}{b:02X}\" \
             stroke-width=\"1\" points=\"1,2 3,4 \"/>\n</svg>\n"
        );
        assert_eq!(classed(&svg), "<polyline class=\"line arm-grey turn-1\" points=\"1,2 3,4\"/>\n");
    }

    #[test]
    fn text_keeps_its_place_and_its_escapes() {
        let RGBColor(r, g, b) = Ink::of(Mark::Tick).0;
        let svg = format!(
            "<text x=\"1\" y=\"2\" font-family=\"x\" font-size=\"9\" fill=\"#{r:02X}{g:02X}{b:02X}\">\n\
             a = &quot;1&quot; &lt;b&gt;\n</text>\n"
        );
        let expected = "<text x=\"1\" y=\"2\" class=\"tick\">a = &quot;1&quot; &lt;b&gt;</text>\n";
        assert_eq!(classed(&svg), expected);
    }

    #[test]
    fn a_value_becomes_an_attribute_of_the_mark_before_it() {
        let RGBColor(r, g, b) = Ink::of(Mark::Dot).0;
        let RGBColor(vr, vg, vb) = Ink::of(Mark::Value).0;
        let svg = format!(
            "<circle cx=\"1\" cy=\"2\" r=\"3\" fill=\"#{r:02X}{g:02X}{b:02X}\"/>\n\
             <text x=\"0\" y=\"0\" fill=\"#{vr:02X}{vg:02X}{vb:02X}\">\n&lt;64&gt; · 0.98\n</text>\n"
        );
        let expected = "<circle cx=\"1\" cy=\"2\" r=\"3\" class=\"dot\" data-value=\"&lt;64&gt; · 0.98\"/>\n";
        assert_eq!(classed(&svg), expected);
    }

    #[test]
    fn every_mark_survives_the_way_through_a_colour() {
        for (index, mark) in Mark::ALL.into_iter().enumerate() {
            assert_eq!(mark as usize, index);
            let turn = if mark == Mark::Phase { " turn-0" } else { "" };
            assert_eq!(Ink::of(mark).class(), Some(format!("{}{turn}", mark.name())));
        }
    }
}
