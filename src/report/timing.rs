//! A measurement of times as a table, as sentences and as JSON.

use std::fmt::Display;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::analyse::DISTURBED_SHARE;
use crate::analyse::timing::{
    ALPHA, Comparison, Cost, Estimate, Measured, PARTS, Standing, blocks_needed, compare,
};
use crate::language::Language;
use crate::report::figure::phases;
use crate::report::results::table as table_view;
use crate::report::view::{CellView, RowView, TableView};
use crate::report::{File, PAGE, ReportError, context, templates};
use crate::stats;
use crate::text;
use crate::words::Words;

/// What the machine can do; `None` where that was not measured.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    /// Of float32 arithmetic: the faster of a product of matrices and a convolution by libtorch. Of the product alone, which older
    /// versions wrote as `flop_per_s`, nothing is read.
    pub arithmetic_flop_per_s: Option<f64>,
}

/// What one condition's rows say.
struct Line {
    name: String,
    ms_per_step: Option<Estimate>,
    images_per_s: Option<f64>,
    ratio: Option<Estimate>,
    /// Shares of the step, 0 to 1, by part.
    parts: [f64; PARTS],
    faults: Option<f64>,
    peak_rss_bytes: Option<f64>,
    flop_per_s: Option<f64>,
    processes: usize,
}

fn lines(measured: &Measured) -> Vec<Line> {
    (0..measured.design.conditions.len()).map(|condition| line(measured, condition)).collect()
}

fn line(measured: &Measured, condition: usize) -> Line {
    let mean = |of: &dyn Fn(&Cost) -> Option<f64>| {
        stats::mean(&measured.costs(condition).filter_map(of).collect::<Vec<_>>())
    };
    let what = &measured.design.conditions[condition];
    let part =
        |part: usize| mean(&|cost| Some(cost.part_us_per_image[part] / cost.us_per_image)).unwrap_or(0.0);
    let ms = measured.contrast_of(&[(condition, 1.0)], |cost| cost.ms_per_step.ln()).estimate(None, ALPHA);
    let ms = ms.map(Estimate::exp);
    let work = what.config.step_work(&what.plan).ok().map(|work| work.whole().flop as f64);
    let flop_per_s =
        work.zip(ms.as_ref()).filter(|(flop, _)| *flop > 0.0).map(|(flop, ms)| flop * 1e3 / ms.value);
    Line {
        name: what.name.clone(),
        images_per_s: ms.as_ref().map(|ms| f64::from(what.config.train.batch) * 1e3 / ms.value),
        ms_per_step: ms,
        ratio: (condition > 0).then(|| measured.ratio_to_first(condition, ALPHA)).flatten(),
        parts: std::array::from_fn(part),
        faults: mean(&|cost| Some(cost.faults_per_step)),
        peak_rss_bytes: mean(&|cost| cost.peak_rss_bytes.map(|bytes| bytes as f64)),
        flop_per_s,
        processes: measured.costs(condition).count(),
    }
}

/// `1.32 × [1.29, 1.35]`.
fn factor(estimate: &Estimate) -> String {
    let value = text::fixed(estimate.value, 3);
    match estimate.interval {
        Some((low, high)) => format!("{value} × [{}, {}]", text::fixed(low, 3), text::fixed(high, 3)),
        None => format!("{value} ×"),
    }
}

/// Two tables of at most 80 columns: times and ratios, then where they go.
pub fn table(measured: &Measured, machine: &Machine) -> Vec<String> {
    let lines = lines(measured);
    let width = lines.iter().map(|line| line.name.chars().count()).max().unwrap_or(0).clamp(9, 26);
    let name = |line: &Line| {
        let short: String = line.name.chars().take(width).collect();
        format!("{short:width$}")
    };
    let mut out = vec![format!(
        "{:width$}  {:>10} {:>17} {:>9}  {}",
        "condition", "ms a step", "95 % interval", "images/s", "× first"
    )];
    for line in &lines {
        let ms = line.ms_per_step.as_ref();
        let interval = ms.and_then(|ms| ms.interval).map_or_else(String::new, |(low, high)| {
            format!("{} to {}", milliseconds(low), milliseconds(high))
        });
        let ratio = line.ratio.as_ref().map_or_else(String::new, factor_short);
        out.push(
            format!(
                "{}  {:>10} {interval:>17} {:>9}  {ratio}",
                name(line),
                ms.map_or_else(|| "–".to_owned(), |ms| milliseconds(ms.value)),
                line.images_per_s.map_or_else(String::new, |rate| text::count(rate.round() as u64)),
            )
            .trim_end()
            .to_owned(),
        );
    }
    out.push(String::new());
    out.push(format!(
        "{:width$}  {:>4} {:>4} {:>4} {:>4} {:>4} {:>4}  {:>8} {:>7} {:>7} {:>5}",
        "% of step", "load", "fwd", "back", "opt", "read", "rest", "peak", "faults", "GFLOP/s", "of it"
    ));
    for line in &lines {
        out.push(second(line, &name(line), machine));
    }
    out
}

fn second(line: &Line, name: &str, machine: &Machine) -> String {
    let percent = |part: usize| format!("{:>4}", (line.parts[part] * 100.0).round());
    // The transfer to a device stands under load.
    let load = (line.parts[0] + line.parts[1]) * 100.0;
    let shares: Vec<String> =
        std::iter::once(format!("{:>4}", load.round())).chain((2..PARTS).map(percent)).collect();
    let rate = line.flop_per_s.map_or_else(|| "–".to_owned(), |rate| format!("{:.1}", rate / 1e9));
    let of_it = line.flop_per_s.zip(machine.arithmetic_flop_per_s);
    let of_it = of_it.map_or_else(|| "–".to_owned(), |(rate, most)| format!("{:.0} %", rate / most * 100.0));
    let peak = line.peak_rss_bytes.map_or_else(|| "–".to_owned(), |bytes| text::bytes(bytes as u64));
    let faults = line.faults.map_or_else(|| "–".to_owned(), |faults| text::count(faults.round() as u64));
    format!("{name}  {}  {peak:>8} {faults:>7} {rate:>7} {of_it:>5}", shares.join(" "))
}

fn factor_short(estimate: &Estimate) -> String {
    match estimate.interval {
        Some((low, high)) => format!("{:.3} [{:.3}, {:.3}]", estimate.value, low, high),
        None => format!("{:.3}", estimate.value),
    }
}

/// Three figures that matter.
fn milliseconds(ms: f64) -> String {
    let places = if ms < 10.0 {
        3
    } else if ms < 100.0 {
        2
    } else {
        1
    };
    text::fixed(ms, places)
}

/// What a reader takes away, a sentence each.
pub fn sentences(measured: &Measured, words: Words) -> Vec<String> {
    let comparisons = compare(measured);
    let blocks = words.count("word.block", measured.blocks.len(), &[]);
    let floor = match measured.trimmed_floor(ALPHA) {
        Some(floor) => words.say("timed.noise", &[("floor", &percent(floor)), ("blocks", &blocks)]),
        None => words.say("timed.no-noise", &[("blocks", &blocks)]),
    };
    let mut lines: Vec<String> = comparisons.iter().map(|one| sentence(measured, one, words)).collect();
    if comparisons.is_empty() {
        lines.extend(where_time_goes(measured, 0, words));
    }
    lines.push(floor);
    lines.extend(disturbances(measured, words));
    lines
}

fn sentence(measured: &Measured, comparison: &Comparison, words: Words) -> String {
    let name = |condition: usize| &measured.design.conditions[condition].name;
    let ratio = factor(&comparison.ratio);
    let say = |key, more: &[(&str, &dyn Display)]| {
        let mut values: Vec<(&str, &dyn Display)> =
            vec![("one", name(comparison.condition)), ("first", name(0)), ("ratio", &ratio)];
        values.extend_from_slice(more);
        words.say(key, &values)
    };
    match comparison.standing {
        Standing::Slower => say("timed.slower", &[]),
        Standing::Faster => say("timed.faster", &[]),
        Standing::Open { within: None } => say("timed.one-block", &[]),
        Standing::Open { within: Some(within) } => {
            let within = percent(within);
            let needed = blocks_needed(&comparison.ratio, measured.trimmed_floor(ALPHA));
            match needed.filter(|needed| *needed < 10_000) {
                Some(needed) => {
                    let blocks = words.count("word.block", needed as usize, &[]);
                    say("timed.open-needs", &[("within", &within), ("blocks", &blocks)])
                }
                None => say("timed.open", &[("within", &within)]),
            }
        }
    }
}

/// How far a factor is above 1.
fn percent(factor: f64) -> String {
    format!("{} %", text::fixed((factor - 1.0) * 100.0, 1))
}

/// The largest parts of the step of a condition.
fn where_time_goes(measured: &Measured, condition: usize, words: Words) -> Option<String> {
    let line = line(measured, condition);
    let mut parts: Vec<(usize, f64)> = line.parts.iter().copied().enumerate().collect();
    parts.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let text =
        |(part, share): &(usize, f64)| format!("{} {:.0} %", words.word(phases::key(*part)), share * 100.0);
    let largest: Vec<String> = parts.iter().take(3).map(text).collect();
    line.ms_per_step.map(|_| words.say("timed.most", &[("parts", &largest.join(", "))]))
}

/// What others took, where that makes times doubtful.
fn disturbances(measured: &Measured, words: Words) -> Option<String> {
    let processes = measured.blocks.values().flat_map(|block| block.processes.values());
    let (all, disturbed) = processes.fold((0, 0), |(all, disturbed), process| {
        (all + 1, disturbed + usize::from(process.disturbed.is_some()))
    });
    let share = text::fixed(DISTURBED_SHARE * 100.0, 0);
    let left_out = measured.left_out;
    let key = match (disturbed, left_out) {
        (0, 0) => return None,
        (_, 0) => "timed.disturbed",
        (0, _) => "timed.left-out",
        _ => "timed.disturbed-left-out",
    };
    let all = all + left_out;
    Some(words.say(key, &[("n", &disturbed), ("left", &left_out), ("all", &all), ("share", &share)]))
}

/// Part of a key, which programs read.
fn english(part: usize) -> &'static str {
    Words::english().word(phases::key(part))
}

/// One object: `conditions` in their order, each with its medians' mean over the blocks.
pub fn json(measured: &Measured, machine: &Machine) -> Value {
    let comparisons = compare(measured);
    let condition = |(index, line): (usize, Line)| {
        let what = &measured.design.conditions[index];
        let parts: serde_json::Map<String, Value> =
            (0..PARTS).map(|part| (english(part).to_owned(), json!(line.parts[part]))).collect();
        let standing = comparisons.iter().find(|one| one.condition == index).map(|one| match one.standing {
            Standing::Faster => "faster",
            Standing::Slower => "slower",
            Standing::Open { .. } => "cannot tell",
        });
        json!({
            "name": line.name,
            "batch": what.config.train.batch,
            "plan": what.plan,
            "ms_per_step": line.ms_per_step,
            "images_per_s": line.images_per_s,
            "ratio": line.ratio,
            "standing": standing,
            "share_of_step": parts,
            "minor_faults_per_step": line.faults,
            "peak_rss_bytes": line.peak_rss_bytes,
            "flop_per_s": line.flop_per_s,
            "processes": line.processes,
            "turns_ms": measured.costs(index).map(|cost| &cost.turns_ms).collect::<Vec<_>>(),
        })
    };
    json!({
        "format": 1,
        "blocks": measured.blocks.len(),
        "left_out": measured.left_out,
        "floor": measured.trimmed_floor(ALPHA),
        "machine_arithmetic_flop_per_s": machine.arithmetic_flop_per_s,
        "conditions": lines(measured).into_iter().enumerate().map(condition).collect::<Vec<_>>(),
    })
}

#[derive(Serialize)]
struct TimingView {
    title: String,
    sentences: Vec<String>,
    times: TableView,
    parts: TableView,
    blocks: String,
    level: String,
    environment: String,
    command: String,
}

/// The page of a measurement in every language; `timing.json` is expected beside it.
pub fn pages(measured: &Measured, machine: &Machine, command: &str) -> Result<Vec<File>, ReportError> {
    let lines = lines(measured);
    let names: Vec<&str> =
        measured.design.conditions.iter().map(|condition| condition.name.as_str()).collect();
    let experiment = measured.design.conditions.first().map_or("", |condition| &condition.experiment);
    let page = |language: Language| {
        let words = Words::of(language);
        let view = TimingView {
            title: words.say(
                "timed.title",
                &[("experiment", &experiment), ("conditions", &names.join(words.word("word.semicolon")))],
            ),
            sentences: sentences(measured, words),
            times: times(&lines, words),
            parts: parts(&lines, machine, words),
            blocks: words.count("word.block", measured.blocks.len(), &[]),
            level: level(),
            environment: measured.machine.clone().unwrap_or_default(),
            command: command.to_owned(),
        };
        let mut context = context(PAGE, language, &Language::ALL);
        context.insert("page", &view);
        let page = templates(words)?.render("timing.html", &context)?;
        Ok(File { name: language.file(PAGE), bytes: page.into_bytes() })
    };
    Language::ALL.into_iter().map(page).collect()
}

/// Of intervals, in percent.
fn level() -> String {
    text::fixed((1.0 - ALPHA) * 100.0, 0)
}

fn times(lines: &[Line], words: Words) -> TableView {
    let interval = |estimate: &Estimate, write: &dyn Fn(f64) -> String| {
        let note = estimate.interval.map(|(low, high)| words.range(&write(low), &write(high)));
        CellView::number(write(estimate.value)).with_note(note.unwrap_or_default())
    };
    let cell = |estimate: &Option<Estimate>, write: &dyn Fn(f64) -> String| {
        estimate.as_ref().map_or_else(CellView::nothing, |estimate| interval(estimate, write))
    };
    let rows = lines.iter().map(|line| {
        RowView::alone(
            &line.name,
            vec![
                cell(&line.ms_per_step, &milliseconds),
                CellView::optional(line.images_per_s, |rate| text::count(rate.round() as u64)),
                cell(&line.ratio, &|ratio| text::fixed(ratio, 3)),
                CellView::number(line.processes.to_string()),
            ],
        )
    });
    let word = |key| words.word(key);
    let columns = [
        (word("timed.step"), "ms"),
        (word("timed.speed"), words.unit("images/s")),
        (word("timed.image-time"), word("timed.of-first")),
        (word("timed.processes"), ""),
    ];
    let caption = words.say("timed.times-caption", &[("level", &level())]);
    table_view(caption, word("timed.corner"), &columns, rows.collect())
}

fn parts(lines: &[Line], machine: &Machine, words: Words) -> TableView {
    let rows = lines.iter().map(|line| {
        let mut cells: Vec<CellView> =
            line.parts.iter().map(|share| CellView::number(text::fixed(share * 100.0, 1))).collect();
        let of_it =
            line.flop_per_s.zip(machine.arithmetic_flop_per_s).map(|(rate, most)| rate / most * 100.0);
        cells.extend([
            CellView::optional(line.flop_per_s, |rate| text::fixed(rate / 1e9, 1)),
            CellView::optional(of_it, |percent| text::fixed(percent, 0)),
            CellView::optional(line.peak_rss_bytes, |bytes| text::bytes(bytes as u64)),
            CellView::optional(line.faults, |faults| text::count(faults.round() as u64)),
        ]);
        RowView::alone(&line.name, cells)
    });
    let word = |key| words.word(key);
    let mut columns: Vec<(&str, &str)> = (0..PARTS).map(|part| (word(phases::key(part)), "%")).collect();
    columns.extend([
        (word("timed.arithmetic"), "GFLOP/s"),
        (word("timed.of-product"), "%"),
        (word("timed.peak-memory"), ""),
        (word("timed.faults"), word("timed.a-step")),
    ]);
    table_view(word("timed.parts-caption").to_owned(), word("timed.corner"), &columns, rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::timing::simulated;
    use crate::record::Design;

    fn measured(blocks: u64, effect: f64) -> Measured {
        let design = Design { alike: Some((0, 2)), ..simulated::design(&["eager", "tuned", "eager again"]) };
        simulated::measured(
            &design,
            blocks,
            0.01,
            3,
            |condition| if condition == 1 { 100.0 * effect } else { 100.0 },
        )
    }

    /// A burst of somebody else's work, as of the last of eight blocks, once made a step of 36 ms one of 30 to 57.
    #[test]
    fn processes_that_others_disturbed_are_left_out_where_they_are_few_and_stay_where_they_are_many() {
        let disturb = |first: u64| {
            let mut measured = measured(8, 0.7);
            for block in measured.blocks.range_mut(first..).map(|(_, block)| block) {
                for process in block.processes.values_mut() {
                    (process.disturbed, process.attempts) = (Some(0.5), 2);
                    process.cost.us_per_image *= 10.0;
                }
            }
            measured.counted()
        };
        let few = disturb(7);
        assert_eq!((few.left_out, few.costs(0).count()), (3, 7));
        assert!(few.costs(0).all(|cost| cost.us_per_image < 200.0));
        assert!(sentences(&few, Words::english()).iter().any(|text| text.contains("3 of 24 processes")));
        let many = disturb(4);
        assert_eq!((many.left_out, many.costs(0).count()), (0, 8));
        let mut once = measured(8, 0.7);
        once.blocks.get_mut(&7).unwrap().processes.get_mut(&0).unwrap().disturbed = Some(0.5);
        assert_eq!(once.counted().left_out, 0, "it was not measured again");
    }

    const MACHINE: Machine = Machine { arithmetic_flop_per_s: Some(100e9) };

    #[test]
    fn the_tables_fit_a_terminal_and_have_a_line_a_condition() {
        let lines = table(&measured(8, 0.7), &MACHINE);
        assert_eq!(lines.len(), 2 * 4 + 1);
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
        assert!(lines[2].starts_with("tuned ") && lines[2].contains("0.7"), "{}", lines[2]);
        assert!(lines[6].contains(" 49 "), "{}", lines[6]);
    }

    #[test]
    fn the_sentences_say_which_is_faster_or_that_it_cannot_be_told() {
        let words = Words::english();
        let said = sentences(&measured(8, 0.7), words).join("\n");
        let ratio = said
            .split("'tuned' is faster than 'eager': ")
            .nth(1)
            .and_then(|rest| rest.get(..5)?.parse().ok());
        assert!(ratio.is_some_and(|ratio: f64| (ratio - 0.7).abs() < 0.01), "{said}");
        let said = sentences(&measured(8, 1.0), words).join("\n");
        assert!(said.contains("cannot tell") && said.contains("is ruled out"), "{said}");
        let said = sentences(&measured(1, 0.7), words).join("\n");
        assert!(said.contains("one block has no spread") && said.contains("Noise: 1 block"), "{said}");
    }

    #[test]
    fn programs_get_the_same_numbers() {
        let json = json(&measured(8, 0.7), &MACHINE);
        let tuned = &json["conditions"][1];
        assert_eq!((tuned["name"].as_str(), tuned["standing"].as_str()), (Some("tuned"), Some("faster")));
        assert!((tuned["ratio"]["value"].as_f64().unwrap() - 0.7).abs() < 0.02);
        assert_eq!((tuned["processes"].as_u64(), json["blocks"].as_u64()), (Some(8), Some(8)));
        assert!((tuned["share_of_step"]["backward"].as_f64().unwrap() - 0.49).abs() < 1e-9);
        assert_eq!(json["conditions"][0]["ratio"], Value::Null);
    }

    #[test]
    fn the_page_has_the_sentences_and_both_tables() {
        let pages = pages(&measured(8, 0.7), &MACHINE, "pinbench time m1 --plan 'eager,tuned'").unwrap();
        for (page, said) in pages.iter().zip(["is faster than", "빠르다"]) {
            let page = String::from_utf8_lossy(&page.bytes);
            assert!(page.contains(said) && page.contains("eager,tuned&#"), "{page}");
            assert_eq!(page.matches("<table").count(), 2);
        }
    }
}
