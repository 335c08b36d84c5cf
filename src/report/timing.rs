//! A measurement of times as a table, as sentences and as JSON.

use serde_json::{Value, json};

use crate::analyse::timing::{ALPHA, Cost, Estimate, Measured, PARTS, compare, Standing};
use crate::report::figure::phases;
use crate::stats;
use crate::text;

/// What the machine can do; `None` where that was not measured.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Machine {
    /// Of a product of large matrices in single precision.
    pub flop_per_s: Option<f64>,
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
    let part = |part: usize| mean(&|cost| Some(cost.part_us_per_image[part] / cost.us_per_image)).unwrap_or(0.0);
    let ms = measured.contrast_of(&[(condition, 1.0)], |cost| cost.ms_per_step).estimate(None, ALPHA);
    let ms = ms.map(Estimate::exp);
    let work = what.config.step_work(&what.plan).ok().map(|work| work.whole().flop as f64);
    let flop_per_s = work.zip(ms.as_ref()).filter(|(flop, _)| *flop > 0.0).map(|(flop, ms)| flop * 1e3 / ms.value);
    Line {
        name: what.name.clone(),
        images_per_s: ms.as_ref().map(|ms| f64::from(what.config.train.batch) * 1e3 / ms.value),
        ms_per_step: ms,
        ratio: (condition > 0).then(|| measured.ratio(condition, 0, ALPHA)).flatten(),
        parts: std::array::from_fn(part),
        faults: mean(&|cost| Some(cost.faults_per_step)),
        peak_rss_bytes: mean(&|cost| cost.peak_rss_bytes.map(|bytes| bytes as f64)),
        flop_per_s,
        processes: measured.costs(condition).count(),
    }
}

/// `1.32 × [1.29, 1.35]`.
pub fn factor(estimate: &Estimate) -> String {
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
    let mut out = vec![format!("{:width$}  {:>10} {:>17} {:>9}  {}", "condition", "ms a step", "95 % interval", "images/s", "× first")];
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
    let shares: Vec<String> = std::iter::once(format!("{:>4}", load.round())).chain((2..PARTS).map(percent)).collect();
    let rate = line.flop_per_s.map_or_else(|| "–".to_owned(), |rate| format!("{:.1}", rate / 1e9));
    let of_it = line.flop_per_s.zip(machine.flop_per_s);
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
    let places = if ms < 10.0 { 3 } else if ms < 100.0 { 2 } else { 1 };
    text::fixed(ms, places)
}

/// The largest parts of the step of a condition.
pub fn where_time_goes(measured: &Measured, condition: usize) -> Option<String> {
    let line = line(measured, condition);
    let mut parts: Vec<(usize, f64)> = line.parts.iter().copied().enumerate().collect();
    parts.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let text = |(part, share): &(usize, f64)| format!("{} {:.0} %", phases::name(*part), share * 100.0);
    let largest: Vec<String> = parts.iter().take(3).map(text).collect();
    line.ms_per_step.map(|_| format!("Most of a step: {}.", largest.join(", ")))
}

/// What others took, where that makes times doubtful.
pub fn disturbances(measured: &Measured) -> Option<String> {
    let processes = measured.blocks.values().flat_map(|block| block.processes.values());
    let (all, disturbed) = processes.fold((0, 0), |(all, disturbed), process| {
        (all + 1, disturbed + usize::from(process.disturbed.is_some()))
    });
    (disturbed > 0).then(|| {
        format!("In {disturbed} of {all} processes others took more than 5 % of the processor time.")
    })
}

fn estimate(estimate: Option<&Estimate>) -> Value {
    estimate.map_or(Value::Null, |estimate| {
        json!({ "value": estimate.value, "interval": estimate.interval, "n": estimate.n })
    })
}

/// One object: `conditions` in their order, each with its medians' mean over the blocks.
pub fn json(measured: &Measured, machine: &Machine) -> Value {
    let comparisons = compare(measured);
    let condition = |(index, line): (usize, Line)| {
        let what = &measured.design.conditions[index];
        let parts: serde_json::Map<String, Value> =
            (0..PARTS).map(|part| (phases::name(part).to_owned(), json!(line.parts[part]))).collect();
        let standing = comparisons.iter().find(|one| one.condition == index).map(|one| match one.standing {
            Standing::Faster => "faster",
            Standing::Slower => "slower",
            Standing::Open { .. } => "cannot tell",
        });
        json!({
            "name": line.name,
            "batch": what.config.train.batch,
            "plan": what.plan,
            "ms_per_step": estimate(line.ms_per_step.as_ref()),
            "images_per_s": line.images_per_s,
            "ratio": estimate(line.ratio.as_ref()),
            "standing": standing,
            "share_of_step": parts,
            "minor_faults_per_step": line.faults,
            "peak_rss_bytes": line.peak_rss_bytes,
            "flop_per_s": line.flop_per_s,
            "processes": line.processes,
        })
    };
    json!({
        "format": 1,
        "blocks": measured.blocks.len(),
        "floor": measured.floor(ALPHA),
        "machine_flop_per_s": machine.flop_per_s,
        "conditions": lines(measured).into_iter().enumerate().map(condition).collect::<Vec<_>>(),
    })
}
