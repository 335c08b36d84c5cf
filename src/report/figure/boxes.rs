//! Where the labels of a picture are, for tests: none over another, and none beyond the edge.
//!
//! Letters are as wide as `width::width` says, which is on the safe side; `just test-pages` measures them in a browser.

use crate::report::figure::plot::UNITS_PER_PIXEL;
use crate::report::figure::width;
use crate::report::view::PictureView;

struct Label<'a> {
    text: &'a str,
    left: i32,
    right: i32,
    top: i32,
    bottom: i32,
}

/// `a over b` and `a beyond the edge`, for each label of a picture.
pub(super) fn misplaced(picture: &PictureView) -> Vec<String> {
    let labels: Vec<Label> = picture.body.split("<text ").skip(1).map(Label::of).collect();
    let mut found = Vec::new();
    for (index, label) in labels.iter().enumerate() {
        let over = labels[..index].iter().filter(|other| label.touches(other));
        found.extend(over.map(|other| format!("'{}' over '{}'", label.text, other.text)));
        let (width, height) = (picture.width as i32, picture.height as i32);
        if label.left < 0 || label.right > width || label.top < 0 || label.bottom > height {
            found.push(format!("'{}' beyond the edge", label.text));
        }
    }
    found
}

impl<'a> Label<'a> {
    /// From what follows `<text `.
    fn of(element: &'a str) -> Self {
        let (tag, rest) = element.split_once('>').unwrap();
        let text = rest.split_once('<').unwrap().0;
        let attribute = |name: &str| {
            let start = format!("{name}=\"");
            let at = tag.find(&start).map(|at| at + start.len());
            at.map(|at| tag[at..].split_once('"').unwrap().0)
        };
        let number = |name: &str| attribute(name).unwrap().parse::<i32>().unwrap();
        let (x, y) = (number("x"), number("y"));
        let width = width::width(text) * UNITS_PER_PIXEL;
        let left = match attribute("text-anchor") {
            Some("middle") => x - width / 2,
            Some("end") => x - width,
            _ => x,
        };
        // Letters of 12 pixels stand 9 above their line and hang 2 below it.
        let line = y + match attribute("dy") {
            Some("0.76em") => 9 * UNITS_PER_PIXEL,
            Some("0.5ex") => 3 * UNITS_PER_PIXEL,
            Some("-0.5ex") => -3 * UNITS_PER_PIXEL,
            other => panic!("{other:?}"),
        };
        let (top, bottom) = (line - 9 * UNITS_PER_PIXEL, line + 2 * UNITS_PER_PIXEL);
        Self { text, left, right: left + width, top, bottom }
    }

    fn touches(&self, other: &Self) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::{Summary, samples};
    use crate::experiment::Colour;
    use crate::record::Status;
    use crate::report::figure::axis::{Axis, Tick};
    use crate::report::figure::label::{self, EndLabel};
    use crate::report::figure::plot::{Margins, Plot, Size, picture};
    use crate::report::figure::{Look, bars, both, epoch_curve, loss_curve, phases, relative_time};
    use crate::report::{figure::by_arm, fixture};
    use crate::words::Words;

    const LOOK: Look = Look { colour: Colour::Blue, turn: 0 };

    fn assert_clean(picture: &PictureView) {
        let found = misplaced(picture);
        assert!(found.is_empty(), "{}\n{}", found.join("\n"), picture.body);
    }

    #[test]
    fn a_label_over_another_and_one_beyond_the_edge_are_found() {
        let body = "<text x=\"10\" y=\"200\" dy=\"0.76em\" text-anchor=\"start\" class=\"tick\">one</text>\n\
                    <text x=\"200\" y=\"190\" dy=\"0.5ex\" text-anchor=\"middle\" class=\"tick\">two</text>\n\
                    <text x=\"995\" y=\"500\" dy=\"0.5ex\" text-anchor=\"start\" class=\"tick\">3</text>";
        let found = misplaced(&PictureView { width: 1000, height: 1000, body: body.to_owned() });
        assert_eq!(found, ["'two' over 'one'", "'3' beyond the edge"]);
    }

    /// "64, 0.001" was printed over by "64, linear"; names beside a long curve ran into the axis below.
    #[test]
    fn names_of_lines_that_end_at_one_place_do_not_meet() {
        for height in [0.0, 0.5, 1.0] {
            let names = (0..30)
                .map(|arm| format!("{} · a name of an arm that is too long for a telephone", 1 << arm));
            let ends: Vec<EndLabel> =
                names.map(|text| EndLabel { text, look: LOOK, end: (1.0, height) }).collect();
            let pictures = both(|size: Size| {
                let margins = Margins {
                    top: 26,
                    right: label::room(ends.iter().map(|end| end.text.as_str()), size),
                    bottom: 44,
                    left: 44,
                };
                let (x, y) = (Axis::exact("x", 0.0, 1.0, 5), Axis::exact("y", 0.0, 1.0, 5));
                picture(size.width(), size.pick(340, 280), |sheet| {
                    label::draw(&Plot::new(sheet, &x, &y, margins)?, &ends)
                })
            });
            let pictures = pictures.unwrap();
            assert_clean(&pictures.wide);
            assert_clean(&pictures.narrow);
        }
    }

    /// `512` and `1,024` of a logarithmic axis, and half of a `0.0`, which stood outside.
    #[test]
    fn numbers_below_an_axis_leave_those_out_that_have_no_room() {
        let mut x = Axis::log("batch", 1.0, 1024.0, 9);
        x.ticks =
            (0..=100).map(|tick| Tick { value: 1.07_f64.powi(tick), label: format!("{tick},000") }).collect();
        let y = Axis::bare(3);
        let pictures = both(|size: Size| {
            picture(size.width(), bars::BARS.height(3), |sheet| {
                let plot = Plot::new(sheet, &x, &y, bars::MARGINS)?;
                let heading =
                    "a hypothesis that is explained at far greater length than a heading should be · 1.01×";
                (0..3).try_for_each(|row| bars::BARS.headed(&plot, row, 3, heading).map(|_| ()))
            })
        });
        let pictures = pictures.unwrap();
        assert_clean(&pictures.wide);
        assert_clean(&pictures.narrow);
        assert!(pictures.wide.body.matches("class=\"tick").count() > 8, "some have room");
    }

    /// Arms with long names, of which some end early, and every figure of a page.
    #[test]
    fn no_figure_of_a_page_prints_a_label_over_another() {
        let long = "a long name, square root";
        let text =
            samples::TOML.replace("value = 128, colour", &format!("value = 128, label = \"{long}\", colour"));
        let claim = "[[claims]]\nid = \"M1.a\"\nsays = \"s\"\ntests = [{ metric = \"val_acc\", order = \"64 > 1024\", margin = 0.001 }]\n";
        let experiment = samples::parse(&format!("{text}\n{claim}"));
        let mut arms = fixture::study(&experiment.profile, &[0, 1]);
        for run in &mut arms[1].runs {
            fixture::cut(run, Status::Diverged { step: 60, loss: "NaN".to_owned() }, 60);
        }
        let summary = Summary::of(&experiment, &arms);
        let words = Words::english();
        let mut figures = vec![
            phases::draw(&summary, words).unwrap(),
            relative_time::draw(&summary, words).unwrap(),
            loss_curve::draw(&summary, loss_curve::Along::Steps, words).unwrap(),
            loss_curve::draw(&summary, loss_curve::Along::Images, words).unwrap(),
            epoch_curve::draw(&summary, epoch_curve::Metric::Accuracy, words).unwrap(),
            epoch_curve::draw(&summary, epoch_curve::Metric::Loss, words).unwrap(),
        ];
        for claim in &experiment.claims {
            figures.extend(by_arm::draw(claim, &summary, "claim", words).unwrap());
        }
        let drawn: Vec<_> = figures.into_iter().filter_map(|figure| figure.pictures).collect();
        assert!(drawn.len() > 4, "{} figures", drawn.len());
        for pictures in &drawn {
            assert_clean(&pictures.wide);
            assert_clean(&pictures.narrow);
        }
        assert!(drawn.iter().any(|pictures| pictures.wide.body.contains("a long name")));
    }
}
