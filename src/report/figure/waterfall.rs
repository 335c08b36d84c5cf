//! From the cost of an image in a small batch to that in a large one, cause by cause: bars that start where the last ended.

use crate::analyse::explain::{LARGE, SMALL, Share, Variant, Waterfall, WaterfallStep};
use crate::experiment::Colour;
use crate::report::figure::axis::Axis;
use crate::report::figure::plot::{Drawn, Plot, Size, UNITS_PER_PIXEL, picture};
use crate::report::figure::style::{Ink, Look, Mark};
use crate::report::figure::{FigureError, bars, both};
use crate::report::view::{FigureView, PictureView};
use crate::text;

struct Bar {
    name: String,
    value: String,
    from: f64,
    to: f64,
    look: Look,
    /// Of the far end.
    interval: Option<(f64, f64)>,
}

pub fn draw(waterfall: Option<&Waterfall>) -> Result<FigureView, FigureError> {
    let id = "waterfall";
    let bars = waterfall.map(bars_of).unwrap_or_default();
    let failed = |source| FigureError { figure: id, source };
    let pictures = (!bars.is_empty()).then(|| both(|size| draw_one(&bars, size))).transpose();
    Ok(FigureView {
        id: id.to_owned(),
        title: format!("From batch {SMALL} to batch {LARGE}: what the additional time is spent on"),
        caption: waterfall.map_or_else(
            || {
                "Not drawn: no slowdown is found here to take apart, or no block has all that it needs."
                    .to_owned()
            },
            caption,
        ),
        legend: Vec::new(),
        description: describe(&bars),
        pictures: pictures.map_err(failed)?,
    })
}

/// How people call what a step of the waterfall takes away.
pub fn name(step: &WaterfallStep) -> &'static str {
    match step.variant {
        Some(Variant::KeepMemory) => "memory faulted in again",
        Some(Variant::KeepMemoryHugePages) => "small pages, beyond that",
        Some(Variant::KeepMemoryMicroBatches) => "large working set, beyond both",
        // Of a base in which memory is kept already.
        Some(Variant::MicroBatches) => "large working set",
        Some(other) => other.name(),
        None => "unexplained",
    }
}

/// `84 % (70 to 98 %)`.
pub fn share(share: &Share) -> String {
    // Adding 0 makes −0, which nobody wants to read, 0.
    let percent = |value: f64| text::fixed((value * 100.0).round() + 0.0, 0);
    let interval = match share.interval {
        Some((low, high)) => format!("{} to {} %", percent(low), percent(high)),
        None => "no interval".to_owned(),
    };
    format!("{} % ({interval})", percent(share.value))
}

fn bars_of(waterfall: &Waterfall) -> Vec<Bar> {
    let whole = |batch: u32, us: f64| Bar {
        name: format!("batch {batch}"),
        value: format!("{} µs", text::fixed(us, 0)),
        from: 0.0,
        to: us,
        look: Look { colour: Colour::Grey, turn: 0 },
        interval: None,
    };
    let excess = waterfall.large_us - waterfall.small_us;
    let mut bars = vec![whole(SMALL, waterfall.small_us)];
    let mut from = waterfall.small_us;
    for step in &waterfall.steps {
        let colour = if step.variant.is_some() { Colour::Orange } else { Colour::Purple };
        let to = from + step.us;
        let ends = step.share.interval.map(|(low, high)| (from + low * excess, from + high * excess));
        bars.push(Bar {
            name: name(step).to_owned(),
            value: format!("{} µs, {}", text::signed(step.us, 0), share(&step.share)),
            from,
            to,
            look: Look { colour, turn: 0 },
            interval: ends,
        });
        from = to;
    }
    bars.push(whole(LARGE, waterfall.large_us));
    bars
}

fn caption(waterfall: &Waterfall) -> String {
    format!(
        "Time of an image under the base. Each bar between the two is what the slowdown loses when one more knob is \
         turned, in this order, as a share of the whole; it starts where the one above ended, and a bar to the left \
         takes away more than there was. Whiskers: 95 % interval of the bar's end; over {}.",
        text::plural(waterfall.n, "block")
    )
}

fn describe(bars: &[Bar]) -> String {
    let lines: Vec<String> = bars.iter().map(|bar| format!("{}: {}", bar.name, bar.value)).collect();
    format!("Microseconds per image, from top to bottom. {}.", lines.join("; "))
}

/// Reads straight down: an axis from 0, then for each bar its name and value, the bar and its whisker.
fn draw_one(bars: &[Bar], size: Size) -> Drawn<PictureView> {
    let longest = bars.iter().map(|bar| bar.from.max(bar.to)).fold(1.0, f64::max);
    // An interval over few blocks may be wide beyond all use: what lies outside stands on the edge.
    let reach = bars.iter().filter_map(|bar| bar.interval).map(|(_, high)| high).fold(longest, f64::max);
    let x = Axis::exact("time of an image (µs)", 0.0, reach.min(1.3 * longest) * 1.03, size.pick(8, 5));
    let y = Axis::bare(bars.len());
    picture(size.width(), bars::height(bars.len()), |sheet| {
        let plot = Plot::new(sheet, &x, &y, bars::MARGINS)?;
        let across = |value: f64| plot.place((value, 0.0)).0;
        for (index, bar) in bars.iter().enumerate() {
            let heading = heading(bar, size);
            let place = bars::Place::headed(&plot, index, bars.len(), &heading)?;
            let (left, right) = (across(bar.from.min(bar.to)), across(bar.from.max(bar.to)));
            // A bar of nothing is still to be seen.
            let right = right.max(left + UNITS_PER_PIXEL);
            plot.bar([(left, place.top), (right, place.bottom)], bar.look.ink(Mark::Bar))?;
            if let Some((low, high)) = bar.interval {
                let ends = [low, high].map(|at| (across(at), place.middle()));
                plot.rule(ends, Ink::of(Mark::Whisker))?;
            }
        }
        Ok(())
    })
}

/// On a telephone the interval has no room; the table below has it.
fn heading(bar: &Bar, size: Size) -> String {
    let short = bar.value.split(" (").next().unwrap_or_default();
    format!("{} · {}", bar.name, size.pick(bar.value.as_str(), short))
}
