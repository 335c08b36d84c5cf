//! The page of a trace: where the time of a training step goes, from numbers to strings, and to HTML.

use serde::Serialize;

use crate::analyse::operators::{Operator, self_ns};
use crate::analyse::roofline::{Part, Roofline, Timed};
use crate::clock::Phase;
use crate::language::Language;
use crate::machine::{Amount, HardwareCount};
use crate::record::RunRecord;
use crate::report::cell::figures;
use crate::report::figure::{FigureError, roofline as figure};
use crate::report::results::table;
use crate::report::view::{CellView, DownloadView, FactView, FigureView, MethodView, RowView, TableView};
use crate::report::{PAGE, ReportError, context, provenance, templates};
use crate::text;
use crate::words::Words;
use crate::work::{COPY_BYTES, Ceilings, PRODUCT_SIDE};

/// Operators on the page; the others are in the table beside it.
const SHOWN: usize = 20;

/// Steps at the start of a traced training that do not count: the first makes the optimizer's state and the thread pool, and
/// the heap grows until every size of tensor has come round.
pub const WARM_UP: usize = 4;

/// What the page is made from.
pub struct Input<'a> {
    pub roofline: &'a Roofline,
    /// Those first that take most time by themselves.
    pub operators: &'a [Operator],
    /// Of the process, until the profiler was turned on.
    pub peak_rss_bytes: u64,
    /// The mean of a step, without the profiler.
    pub hardware: &'a [HardwareCount<f64>],
    /// Of a GPU, which computes no step of a trace.
    pub gpu: &'a [HardwareCount<Amount>],
    /// What timing a step costs by itself.
    pub timing_ns: f64,
    /// Share of the processor time that others took meanwhile, where that makes times doubtful.
    pub disturbed: Option<f64>,
    /// Of the run that was traced, which is in no store.
    pub record: &'a RunRecord,
    /// The files beside the page.
    pub files: Vec<Beside>,
}

pub struct Beside {
    pub name: String,
    /// What is in it, in a few words.
    pub about: String,
    pub bytes: u64,
}

#[derive(Serialize)]
struct TraceView {
    title: String,
    why: String,
    glance: Vec<String>,
    warnings: Vec<String>,
    rates: TableView,
    roofline: FigureView,
    operators: TableView,
    operators_say: String,
    counters: Vec<FactView>,
    methods: Vec<MethodView>,
    limits: Vec<String>,
    command: String,
    trial: Vec<FactView>,
    plan: Vec<FactView>,
    environment: Vec<FactView>,
    downloads: Vec<DownloadView>,
}

/// The page, without the files beside it.
pub fn page(input: &Input) -> Result<String, ReportError> {
    let mut context = context(PAGE, Language::En, &[Language::En]);
    context.insert("page", &view(input)?);
    Ok(templates(Words::english())?.render("trace.html", &context)?)
}

/// Of `operators.csv`.
pub const OPERATORS_HEADER: &str = "operator,calls,self_us,total_us";

/// Every operator, in the order given.
pub fn csv(operators: &[Operator]) -> String {
    let mut out = format!("{OPERATORS_HEADER}\n");
    for Operator { name, calls, self_ns, total_ns } in operators {
        let us = |ns: i64| format!("{:.3}", ns as f64 / 1e3);
        out.push_str(&format!(
            "{},{calls},{},{}\n",
            crate::report::csv::text(name),
            us(*self_ns),
            us(*total_ns)
        ));
    }
    out
}

/// What there is to know, in a few sentences, for the page and for a terminal.
pub fn glance(roofline: &Roofline, operators: &[Operator]) -> Vec<String> {
    let mut sentences = vec![times(roofline)];
    sentences.extend(rates(roofline));
    sentences.extend(under_the_roof(roofline));
    let all = self_ns(operators);
    if let Some(first) = operators.first().filter(|_| all > 0) {
        let share = percent(first.self_ns as f64 / all as f64);
        sentences.push(format!(
            "The operator that takes most by itself is {}: {share} of all of them.",
            first.name
        ));
    }
    sentences.push(format!(
        "Under the profiler a step takes {} times as long: all times but those of the operators are without it.",
        text::fixed(roofline.profiler_cost, 2)
    ));
    sentences
}

/// For the page and for a terminal.
pub fn warning(disturbed: f64) -> String {
    format!(
        "Others took {} of the processor time meanwhile, so the times are doubtful; trace it again on an idle machine.",
        percent(disturbed)
    )
}

fn times(roofline: &Roofline) -> String {
    let part = |phase: Phase| {
        let timed = roofline.part(Part::Phase(phase))?;
        Some(format!("{} {} ms ({})", figure::name(timed.part), figures(timed.ms), percent(timed.share)))
    };
    let parts: Vec<String> = [Phase::Forward, Phase::Backward].into_iter().filter_map(part).collect();
    let whole = roofline.part(Part::Step).map_or(0.0, |timed| timed.ms);
    format!(
        "A step of {} takes {} ms, of which {}; medians over {}.",
        text::plural(roofline.images as usize, "image"),
        figures(whole),
        parts.join(" and "),
        text::plural(roofline.steps, "step")
    )
}

fn rates(roofline: &Roofline) -> Option<String> {
    let Ceilings { flop_per_s, bytes_per_s } = roofline.ceilings;
    let whole = roofline.part(Part::Step)?;
    let (flop, bytes) = (whole.flop_per_s()?, whole.bytes_per_s()?);
    Some(format!(
        "It computes {} GFLOP/s, {} of what a float32 matrix product reaches here ({} GFLOP/s), and moves at least {} GB/s, \
         {} of what a copy reaches ({} GB/s).",
        figures(flop / 1e9),
        percent(flop / flop_per_s),
        figures(flop_per_s / 1e9),
        figures(bytes / 1e9),
        percent(bytes / bytes_per_s),
        figures(bytes_per_s / 1e9)
    ))
}

fn under_the_roof(roofline: &Roofline) -> Option<String> {
    let whole = roofline.part(Part::Step)?;
    let (intensity, flop) = (whole.intensity()?, whole.flop_per_s()?);
    let ridge = roofline.ceilings.ridge();
    let lower = if intensity < ridge { "copy" } else { "product" };
    Some(format!(
        "At {} FLOP a byte, where both rates allow the same at {}, the {lower} sets the roof: the step reaches {} of it.",
        figures(intensity),
        figures(ridge),
        percent(flop / roofline.ceilings.roof(intensity))
    ))
}

fn percent(share: f64) -> String {
    format!("{} %", text::fixed(share * 100.0, 0))
}

fn view(input: &Input) -> Result<TraceView, FigureError> {
    let Input { roofline, operators, record, .. } = input;
    let download = |file: &Beside| DownloadView {
        name: file.name.clone(),
        about: file.about.clone(),
        size: text::bytes(file.bytes),
    };
    Ok(TraceView {
        title: format!("Where a training step's time goes: trial {}", record.trial_id.short()),
        why: "When a training is slow, the question is in which operators, and how much of it the machine could spare. Here \
              some steps are timed, as many more are profiled, and both are set against two rates that libtorch itself \
              reaches on this machine."
            .to_owned(),
        glance: glance(roofline, operators),
        warnings: input.disturbed.map(warning).into_iter().collect(),
        rates: rate_table(roofline),
        roofline: figure::draw(roofline)?,
        operators: operator_table(roofline, operators),
        operators_say: operators_say(roofline, operators),
        counters: counters(input),
        methods: methods(roofline),
        limits: limits(),
        command: record.command.clone(),
        trial: trial(record),
        plan: leaves(&record.plan),
        environment: provenance::environment(&[*record], Words::english()),
        downloads: input.files.iter().map(download).collect(),
    })
}

fn row(name: impl Into<String>, cells: Vec<CellView>) -> RowView {
    RowView {
        class: String::new(),
        swatch: None,
        name: name.into(),
        kind: String::new(),
        starts_group: true,
        cells,
    }
}

fn rate_table(roofline: &Roofline) -> TableView {
    let rows = roofline
        .parts
        .iter()
        .map(|timed| row(figure::name(timed.part), rate_cells(timed, roofline.ceilings)));
    let columns = [
        ("time", "ms"),
        ("share", "% of the step"),
        ("arithmetic", "GFLOP/s"),
        ("of the product", "%"),
        ("traffic", "GB/s, at least"),
        ("of the copy", "%"),
        ("intensity", "FLOP a byte"),
    ];
    let caption = format!(
        "Medians over {} without the profiler, each part for itself, so that they need not add up to the whole; beneath a \
         rate, what it is the rate of. A dash stands where nothing is counted.",
        text::plural(roofline.steps, "step")
    );
    table(caption, "part of the step", &columns, rows.collect())
}

fn rate_cells(timed: &Timed, ceilings: Ceilings) -> Vec<CellView> {
    let whole = |share: f64| text::fixed(share * 100.0, 0);
    let rate = |rate: Option<f64>, of: String| {
        rate.map_or_else(CellView::nothing, |rate| CellView::number(figures(rate / 1e9)).with_note(of))
    };
    let work = timed.work.unwrap_or_default();
    vec![
        CellView::number(figures(timed.ms)),
        CellView::number(text::fixed(timed.share * 100.0, 1)),
        rate(timed.flop_per_s(), format!("{} GFLOP", figures(work.flop as f64 / 1e9))),
        CellView::optional(timed.flop_per_s().map(|rate| rate / ceilings.flop_per_s), whole),
        rate(timed.bytes_per_s(), format!("{} MB", figures(work.bytes as f64 / 1e6))),
        CellView::optional(timed.bytes_per_s().map(|rate| rate / ceilings.bytes_per_s), whole),
        CellView::optional(timed.intensity(), figures),
    ]
}

fn operator_table(roofline: &Roofline, operators: &[Operator]) -> TableView {
    let (steps, all) = (roofline.profiled_steps.max(1) as f64, self_ns(operators).max(1) as f64);
    let ms = |ns: i64| text::fixed(ns as f64 / 1e6 / steps, 3);
    let rows = operators.iter().take(SHOWN).map(|operator| {
        let cells = vec![
            CellView::number(text::fixed(operator.calls as f64 / steps, 1)),
            CellView::number(ms(operator.self_ns)),
            CellView::number(text::fixed(operator.self_ns as f64 / all * 100.0, 1)),
            CellView::number(ms(operator.total_ns)),
        ];
        row(operator.name.clone(), cells)
    });
    let columns = [
        ("calls", "a step"),
        ("by itself", "ms a step"),
        ("share", "% of all operators"),
        ("with its callees", "ms a step"),
    ];
    let caption = match operators.len() {
        count if count > SHOWN => {
            format!("The first {SHOWN} of {count} by their own time; the others are in the CSV.")
        }
        _ => "By their own time.".to_owned(),
    };
    table(caption, "operator", &columns, rows.collect())
}

fn operators_say(roofline: &Roofline, operators: &[Operator]) -> String {
    let share = self_ns(operators) as f64 / roofline.profiled_ns.max(1) as f64;
    format!(
        "The operators of {} under the profiler take {} of the time of these steps. The rest is between them: pinbench's \
         own code, and kernels that do not report to the profiler. These are other steps than those timed above, and \
         means over them: an operator may take longer here than the part it belongs to does there.",
        text::plural(roofline.profiled_steps, "step"),
        percent(share)
    )
}

fn fact(name: &str, value: String) -> FactView {
    FactView { name: name.to_owned(), value, varies: false }
}

fn counters(input: &Input) -> Vec<FactView> {
    let counters = &input.roofline.counters;
    let mut facts = vec![
        fact("minor page faults", format!("{} a step", figures(counters.minor_faults))),
        fact("major page faults", format!("{} a step", figures(counters.major_faults))),
        fact(
            "processor time",
            format!(
                "{} ms user, {} ms system a step",
                figures(counters.user_ms),
                figures(counters.system_ms)
            ),
        ),
        fact(
            "context switches",
            format!(
                "{} voluntary, {} involuntary a step",
                figures(counters.voluntary_switches),
                figures(counters.involuntary_switches)
            ),
        ),
        fact("peak memory", text::bytes(input.peak_rss_bytes)),
    ];
    facts.extend(input.hardware.iter().map(hardware));
    facts.extend(gpu(input.gpu));
    let step_ms = input.roofline.part(Part::Step).map_or(f64::INFINITY, |step| step.ms);
    let (us, share) = (input.timing_ns / 1e3, input.timing_ns / 1e6 / step_ms * 100.0);
    let cost = format!("{} µs a step, {} % of it", figures(us), figures(share));
    facts.push(fact("cost of the timing itself", cost));
    facts
}

/// Of the processor, in user mode.
fn hardware(counter: &HardwareCount<f64>) -> FactView {
    let value = match &counter.count {
        Ok(count) => format!("{} million a step, in user mode", figures(count / 1e6)),
        Err(reason) => format!("absent: the kernel does not count them here ({reason})"),
    };
    fact(counter.name, value)
}

/// Of the driver. A reason that all of them have is said once.
fn gpu(counters: &[HardwareCount<Amount>]) -> Vec<FactView> {
    let absent = |reason: &String| format!("absent: {reason}");
    let mut reasons = counters.iter().map(|counter| counter.count.as_ref().err());
    if let Some(Some(first)) = reasons.next()
        && reasons.all(|reason| reason == Some(first))
    {
        return vec![fact("GPU", absent(first))];
    }
    let value = |counter: &HardwareCount<Amount>| match &counter.count {
        Ok(amount) => amount.to_string(),
        Err(reason) => absent(reason),
    };
    counters.iter().map(|counter| fact(counter.name, value(counter))).collect()
}

fn trial(record: &RunRecord) -> Vec<FactView> {
    let mut facts = vec![
        fact("experiment", record.experiment.clone()),
        fact("profile", record.profile.clone()),
        fact("trial", record.trial_id.to_string()),
        fact("seed", record.trial.seed.to_string()),
    ];
    facts.extend(leaves(&record.trial.config));
    facts
}

fn leaves(value: &impl Serialize) -> Vec<FactView> {
    // Configs and plans hold finite numbers and strings, which always have a JSON form.
    let leaves = provenance::leaves(&serde_json::to_value(value).unwrap_or_default());
    leaves.into_iter().map(|(name, value)| fact(&name, value)).collect()
}

fn methods(roofline: &Roofline) -> Vec<MethodView> {
    let method = |name: &str, text: String| MethodView { name: name.to_owned(), text };
    let side = text::count(u64::from(PRODUCT_SIDE));
    vec![
        method(
            "Steps",
            format!(
                "The trial's own training, on every image of its split and for as long as this takes, whatever its own end; \
                 one image is evaluated between its epochs. The first {WARM_UP} steps do not count, nor do those with fewer \
                 images than the others: {} are timed, and the next {} profiled.",
                roofline.steps, roofline.profiled_steps
            ),
        ),
        method(
            "FLOP",
            "Counted from the shapes of convolutions and linear layers, two for a multiply–add. Backward counts twice \
             forward, for the gradients of the weights and of the input; the first convolution has no input that wants one. \
             Normalisation, activation, pooling, loss and optimizer are not counted, nor is what a kernel computes again \
             instead of reading it."
                .to_owned(),
        ),
        method(
            "Bytes",
            "The least that is moved if every operator of the plan reads and writes each value once, in 4 bytes: forward, its \
             output is written and read; backward, it is read again, and its gradient is written and read. Images and weights \
             are read and gradients of weights written once; the optimizer reads these, and reads and writes weights and its \
             own state."
                .to_owned(),
        ),
        method(
            "Matrix product",
            format!(
                "float32, {side} × {side}, by libtorch with the threads of the plan, after the training in its process; the \
                 best of several. It is a measured yardstick, not an upper bound: a convolution can do better."
            ),
        ),
        method(
            "Copy",
            format!(
                "Of a tensor of {}, by libtorch with the same threads; bytes read and bytes written, the best of several.",
                text::bytes(COPY_BYTES)
            ),
        ),
        method(
            "Operators",
            "From libtorch's profiler, over the profiled steps. By itself: without the operators it calls, so that these times \
             add up. With its callees: an operator within itself counts once."
                .to_owned(),
        ),
        method(
            "Trace",
            "Every operator as an event, for Perfetto or chrome://tracing; the ranges pinbench::step are the steps. What lies \
             between two of them (an evaluation, the reference workload, hashing) is in no number here."
                .to_owned(),
        ),
        method(
            "Counters",
            "What the operating system counted for the process, all threads; means of the steps without the profiler. Peak \
             memory is until the profiler was turned on. A GPU computes nothing here: what its driver counts is of all \
             programs, read once between the steps without the profiler and those with it, a utilisation over up to a \
             second before."
                .to_owned(),
        ),
    ]
}

fn limits() -> Vec<String> {
    [
        "The matrix product is no upper bound: oneDNN's convolutions can be faster than it, and a share above 100 % is no \
         mistake.",
        "Bytes are counted and not measured. What fits into a cache need not come from memory, so that a share of the copy's \
         rate can be above 100 % too; operators that look at their input twice move more.",
        "The profiler makes short operators look longer than they are.",
        "The processor's counters run beside the timed steps, which costs the kernel a little at each switch of threads; they \
         also count what lies between two steps, such as drawing the next batch and hashing the last.",
        "One process, one stretch of steps, no interval: what else the machine did is in these numbers. Trace again before \
         you act on a small difference.",
    ]
    .map(str::to_owned)
    .to_vec()
}

#[cfg(test)]
mod tests;
