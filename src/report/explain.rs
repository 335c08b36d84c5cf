//! The page that explains the slowdown of large batches: from an explanation to strings, and to HTML.

mod glance;
pub mod wire;

use serde::Serialize;
use tera::Context;

pub use wire::to_json;

use crate::analyse::explain::{
    CONTRIBUTES_SHARE, Curve, Demonstration, EPOCH_IMAGES, Estimate, Explanation, Finding, LARGE,
    LEAST_SLOWDOWN, MAIN_SHARE, NO_CAUSE_SHARE, Origin, Reading, SMALL, Test, Variant, Verdict, WARM_UP,
};
use crate::experiment::Plan;
use crate::experiment::plan::Kernels;
use crate::record::RunRecord;
use crate::report::cell::three_figures;
use crate::report::explain::glance::{glance, title};
use crate::report::figure::{FigureError, cost_curve, phases, waterfall};
use crate::report::page::capitalised;
use crate::report::results::table;
use crate::report::view::{
    CellView, DownloadView, FactView, FigureView, MethodView, RowView, TableView, VerdictView,
};
use crate::report::{Download, ReportError, provenance, templates};
use crate::text;

/// Batches below which nothing is said of a curve.
const LEAST_CURVE: usize = 3;

/// Where an explanation comes from.
pub struct Provenance<'a> {
    /// Measures all of it again.
    pub command: &'a str,
    pub records: Vec<&'a RunRecord>,
    /// Files that lie beside the page.
    pub downloads: &'a [Download],
    /// Whether an index lies beside the page's folder.
    pub has_index: bool,
}

#[derive(Serialize)]
struct ExplainView {
    title: String,
    has_index: bool,
    why: String,
    glance: Vec<String>,
    warnings: Vec<String>,
    gaps: Vec<String>,
    meanings: TableView,
    meaning: Vec<String>,
    reached: Option<TableView>,
    curve: FigureView,
    curve_says: Vec<String>,
    curve_table: TableView,
    story: Vec<String>,
    waterfall: FigureView,
    waterfall_table: Option<TableView>,
    parts: TableView,
    hypotheses: Vec<HypothesisView>,
    knobs: TableView,
    advice: Vec<String>,
    exports: Vec<String>,
    methods: Vec<MethodView>,
    limits: Vec<String>,
    command: String,
    environment: Vec<FactView>,
    runs: String,
    downloads: Vec<DownloadView>,
}

#[derive(Serialize)]
struct HypothesisView {
    anchor: String,
    origin: &'static str,
    title: &'static str,
    says: &'static str,
    predicts: &'static str,
    counterfactual: String,
    readings: Vec<FactView>,
    /// Share and what is left, in one line; empty where there is none.
    numbers: String,
    verdict: VerdictView,
    why: String,
    what_would: String,
}

/// The page, without its downloads.
pub fn explain(explanation: &Explanation, provenance: &Provenance) -> Result<String, ReportError> {
    let mut context = Context::new();
    context.insert("page", &view(explanation, provenance)?);
    context.insert("style", include_str!("../../templates/style.css"));
    Ok(templates()?.render("explain.html", &context)?)
}

/// The same in a few lines for a terminal: what is the case, and every verdict.
pub fn summary(explanation: &Explanation) -> String {
    let mut lines = glance(explanation);
    lines.extend(explanation.warnings.iter().map(|warning| capitalised(warning)));
    for finding in &explanation.findings {
        let numbers = numbers(finding);
        let tail = if numbers.is_empty() { String::new() } else { format!(" ({numbers})") };
        lines.push(format!(
            "{} {}: {}{tail}",
            sign(finding.verdict).0,
            finding.hypothesis.title,
            finding.verdict
        ));
    }
    lines.join("\n") + "\n"
}

fn view(explanation: &Explanation, from: &Provenance) -> Result<ExplainView, FigureError> {
    let download = |download: &Download| DownloadView {
        name: download.name.clone(),
        about: download.about.clone(),
        size: text::bytes(download.bytes.len() as u64),
    };
    Ok(ExplainView {
        title: title(explanation),
        has_index: from.has_index,
        why: format!(
            "The notes found that batch {LARGE} trained slowest, although an epoch of it has an eighth of the steps of \
             batch {SMALL}, and guessed at four causes. Here each guess, and others, predicts a number; one knob of the \
             execution is changed at a time; and what that does to the slowdown is measured."
        ),
        glance: glance(explanation),
        warnings: explanation.warnings.iter().map(|warning| capitalised(warning)).collect(),
        gaps: explanation.gaps.iter().map(|gap| capitalised(&gap.to_string())).collect(),
        meanings: meanings(explanation),
        meaning: meaning(explanation),
        reached: reached(explanation),
        curve: cost_curve::draw(explanation)?,
        curve_says: curves_say(explanation),
        curve_table: curve_table(explanation),
        story: story(explanation),
        waterfall: waterfall::draw(explanation.waterfall.as_ref())?,
        waterfall_table: waterfall_table(explanation),
        parts: parts(explanation),
        hypotheses: explanation
            .findings
            .iter()
            .map(|finding| hypothesis(finding, &explanation.design.base))
            .collect(),
        knobs: knobs(explanation),
        advice: advice(explanation),
        exports: exports(explanation),
        methods: methods(explanation),
        limits: limits(),
        command: from.command.to_owned(),
        environment: provenance::environment(&from.records),
        runs: text::plural(from.records.len(), "run"),
        downloads: from.downloads.iter().map(download).collect(),
    })
}

/// `1.33× (1.28 to 1.39)`.
fn ratio(estimate: &Estimate) -> String {
    let number = |value: f64| text::fixed(value, 2);
    match estimate.interval {
        Some((low, high)) => format!("{}× ({} to {})", number(estimate.value), number(low), number(high)),
        None => format!("{}×, one block", number(estimate.value)),
    }
}

/// Value and interval to three figures, the interval beneath.
fn cell(estimate: &Estimate) -> CellView {
    let places = three_figures(estimate.value);
    let number = |value: f64| {
        if places == 0 { text::count(value.max(0.0).round() as u64) } else { text::fixed(value, places) }
    };
    let note = estimate.interval.map(|(low, high)| format!("{} to {}", number(low), number(high)));
    CellView::number(number(estimate.value)).with_note(note.unwrap_or_default())
}

fn ratio_cell(estimate: Option<&Estimate>) -> CellView {
    let Some(estimate) = estimate else { return CellView::nothing() };
    let number = |value: f64| text::fixed(value, 2);
    let note = estimate.interval.map(|(low, high)| format!("{} to {}", number(low), number(high)));
    CellView::number(format!("{}×", number(estimate.value))).with_note(note.unwrap_or_default())
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

fn meanings(explanation: &Explanation) -> TableView {
    let rows = explanation.meanings.iter().map(|meaning| {
        let cells = vec![
            cell(&meaning.images_per_s),
            cell(&meaning.s_per_epoch),
            CellView::number(text::count(u64::from(meaning.updates_per_epoch))),
        ];
        row(format!("batch {}", meaning.batch), cells)
    });
    let columns = [("images per second", "1"), ("seconds per epoch", "2"), ("updates per epoch", "for 3")];
    let caption = format!(
        "Under the base; an epoch is the notes' {} images. Mean over blocks, 95 % interval beneath.",
        text::count(u64::from(EPOCH_IMAGES))
    );
    table(caption, "batch", &columns, rows.collect())
}

fn meaning(explanation: &Explanation) -> Vec<String> {
    let mut sentences = vec![
        "Images per second: how fast the machine works.".to_owned(),
        "Seconds per epoch: the same turned over, as long as an epoch has as many images at every batch. This is what \
         the notes saw: they trained every batch for equal epochs and compared minutes."
            .to_owned(),
        format!(
            "Time and updates until a target accuracy: what one trains for. Per epoch, batch {LARGE} makes an eighth of \
             the updates of batch {SMALL}, so that it can be behind in accuracy after equal epochs even where it is the \
             faster one by both other meanings. The notes did not measure it."
        ),
    ];
    if explanation.reached.is_empty() {
        sentences.push(
            "No stored trainings were given, so nothing is said here of the third; the experiment on batch size \
             (`pinbench run m1-batch-size`) measures it."
                .to_owned(),
        );
    }
    sentences
}

fn reached(explanation: &Explanation) -> Option<TableView> {
    let accuracy = explanation.reached.first()?.accuracy;
    let rows = explanation.reached.iter().map(|reached| {
        let cells = vec![
            CellView::number(format!("{} of {}", reached.reached, reached.of)),
            CellView::spread(reached.updates, 0),
            CellView::spread(reached.minutes, 3),
        ];
        row(format!("batch {}", reached.batch), cells)
    });
    let caption = format!(
        "From stored trainings: until the end of the first epoch with a validation accuracy of {}, over the runs that \
         reached it, ± one standard deviation. The minutes are of the plan those trainings were executed under, and are \
         left out where that was not one and the same.",
        text::fixed(accuracy, 3)
    );
    let columns = [("reached it", "runs"), ("updates", ""), ("training time", "min")];
    Some(table(caption, "batch", &columns, rows.collect()))
}

fn curves_say(explanation: &Explanation) -> Vec<String> {
    if explanation.design.batches.len() < LEAST_CURVE {
        return vec![
            "Left out here (`--no-curve`): two batches have no turning point and no line.".to_owned(),
        ];
    }
    explanation.curves.iter().flat_map(curve_says).collect()
}

fn curve_says(curve: &Curve) -> Vec<String> {
    let name = text::capital(curve.variant.name());
    let mut sentences = Vec::new();
    if let Some(fit) = &curve.fit {
        let places = three_figures(fit.fixed_ms.value);
        sentences.push(format!(
            "{name}: a step takes {} ms and {} µs for each image, over batches {} to {} (the line is off by at most {} %).",
            text::fixed(fit.fixed_ms.value, places),
            text::fixed(fit.us_per_image.value, three_figures(fit.us_per_image.value)),
            fit.batches.first().copied().unwrap_or_default(),
            fit.batches.last().copied().unwrap_or_default(),
            text::fixed(fit.worst * 100.0, 0)
        ));
    }
    if let Some(turn) = &curve.turn {
        sentences.push(match &turn.upward {
            Some((batch, more)) => format!(
                "{name}: images cost least in batches of {}; from {batch} on they cost more, {} as much there.",
                turn.cheapest,
                ratio(more)
            ),
            None => format!(
                "{name}: images cost least in batches of {}, and in no larger batch are they found to cost more.",
                turn.cheapest
            ),
        });
    }
    sentences
}

fn curve_table(explanation: &Explanation) -> TableView {
    let mut rows = Vec::new();
    for curve in &explanation.curves {
        for point in &curve.points {
            let cells = vec![
                cell(&point.us_per_image),
                cell(&point.ms_per_step),
                CellView::number(text::count(point.faults_per_step.round() as u64)),
                CellView::optional(point.system_share, |share| text::fixed(share * 100.0, 1)),
            ];
            rows.push(row(format!("{}, batch {}", curve.variant.name(), point.batch), cells));
        }
    }
    let columns = [
        ("time of an image", "µs"),
        ("time of a step", "ms"),
        ("page faults", "a step"),
        ("kernel's part", "% of CPU time"),
    ];
    let caption = "The sweep. Times: 95 % interval beneath.".to_owned();
    table(caption, "condition", &columns, rows)
}

/// What happens, for a reader who has never thought about malloc. Only with numbers that were found here.
fn story(explanation: &Explanation) -> Vec<String> {
    let Some(finding) = explanation.finding("faults") else { return Vec::new() };
    // It speaks of two batches, and here there is one.
    if explanation.design.demonstration == Some(Demonstration::Alike) {
        return Vec::new();
    }
    let mut paragraphs = vec![
        "Every layer writes its output, the activations, into memory that PyTorch asks the C library for (malloc), and \
         gives back when the backward pass has used it (free). In the next step all of it is asked for again, in the \
         same sizes."
            .to_owned(),
        "The C library keeps small pieces at hand. Large ones it takes from the kernel one by one and returns at once: \
         good manners in a program that needs a large piece once, and costly in one that needs the same pieces a \
         thousand times. The kernel hands out memory in pages of 4 KiB, fills each with zeros, and does so only when the \
         page is first touched: the program stops (a page fault), the kernel works, the program goes on."
            .to_owned(),
        format!(
            "How large an activation is grows with the batch: {}. glibc's limit for what it returns at once moves up \
             with what has been freed, but never beyond 32 MiB.",
            activation(explanation.design.base.kernels)
        ),
    ];
    let reading = finding.readings.iter().find(|reading| reading.gauge.name.starts_with("page faults"));
    if let Some(reading) = reading
        && let (Some(small), Some(large)) = (reading.small, reading.large)
    {
        let images = f64::from(LARGE / SMALL);
        let changed = reading.changed.map_or_else(String::new, |changed| {
            format!(" With memory kept there are {} at {LARGE}.", number(reading, changed))
        });
        paragraphs.push(format!(
            "Measured: {} page faults in a step of {SMALL} images and {} in one of {LARGE}, where {} would be in \
             proportion.{changed}",
            number(reading, small),
            number(reading, large),
            text::count((small * images).round() as u64),
        ));
    }
    let end = match finding.verdict {
        Verdict::Cause => "This is the main cause of the slowdown on this machine.",
        Verdict::Contributes => "This is a part of the slowdown on this machine, and not all of it.",
        Verdict::NoCause => "On this machine it is not what makes the large batch slower.",
        Verdict::NothingToExplain => "On this machine it makes no slowdown: there is none.",
        Verdict::AlreadySo => "In this plan memory is kept, so that nothing of it can happen here.",
        _ => "Whether that is the cause is not decided by what was measured here.",
    };
    paragraphs.push(end.to_owned());
    paragraphs
}

/// The largest of SimpleCNN on MNIST that is written: 32 channels of 28×28 floats or, where our kernels make the first
/// block in one pass, the second convolution's 64 of 14×14.
fn activation(kernels: Kernels) -> String {
    let (which, bytes) = match kernels {
        Kernels::Stock => ("first", 32 * 28 * 28 * 4),
        Kernels::Fused => ("second", 64 * 14 * 14 * 4),
    };
    let megabytes = |batch: u32| text::fixed(f64::from(batch * bytes) / 1e6, 0);
    format!(
        "the {which} convolution's output of this model is {} KB an image, {} MB for {SMALL} images and {} MB for {LARGE}",
        bytes / 1000,
        megabytes(SMALL),
        megabytes(LARGE)
    )
}

fn waterfall_table(explanation: &Explanation) -> Option<TableView> {
    let waterfall = explanation.waterfall.as_ref()?;
    let rows = waterfall.steps.iter().map(|step| {
        let note = step.share.interval.map(|(low, high)| {
            format!("{} to {}", text::fixed(low * 100.0, 0), text::fixed(high * 100.0, 0))
        });
        let share = CellView::number(text::fixed(step.share.value * 100.0, 0));
        let taken = step.variant.map_or("no knob", Variant::name);
        let cells = vec![
            CellView::number(text::signed(step.us, 1)),
            share.with_note(note.unwrap_or_default()),
            CellView::word(taken),
        ];
        row(waterfall::name(step), cells)
    });
    let columns = [("of the additional time", "µs an image"), ("share", "%"), ("taken away by", "")];
    let caption = format!("The bars of the figure, over {}.", text::plural(waterfall.n, "block"));
    Some(table(caption, "part", &columns, rows.collect()))
}

fn parts(explanation: &Explanation) -> TableView {
    let rows = explanation.parts.iter().map(|part| {
        let us = &part.us;
        let number = |value: f64| text::signed(value, 1);
        let note = us.interval.map(|(low, high)| format!("{} to {}", number(low), number(high)));
        let share = part.share.as_ref().filter(|_| explanation.is_slower());
        let percent = |value: f64| text::fixed(value * 100.0, 0);
        let of_share = share
            .and_then(|share| share.interval)
            .map(|(low, high)| format!("{} to {}", percent(low), percent(high)));
        let cells = vec![
            CellView::number(text::fixed(part.small_us, 1)),
            CellView::number(number(us.value)).with_note(note.unwrap_or_default()),
            CellView::optional(share.map(|share| share.value), percent)
                .with_note(of_share.unwrap_or_default()),
        ];
        row(phases::name(part.part), cells)
    });
    let columns =
        [("at batch 128", "µs an image"), ("more at batch 1024", "µs an image"), ("of the whole", "%")];
    let caption = "Where in a step the additional time is spent, under the base; 95 % interval beneath. It says where, \
                   not why: a page fault is paid by whatever touches the page first."
        .to_owned();
    table(caption, "part of the step", &columns, rows.collect())
}

fn hypothesis(finding: &Finding, base: &Plan) -> HypothesisView {
    let hypothesis = finding.hypothesis;
    let (sign, class) = sign(finding.verdict);
    let (why, what_would) = match finding.verdict {
        Verdict::NotTestable { why, what_would } => (capitalised(why), capitalised(what_would)),
        Verdict::NotMeasured => {
            (String::new(), "The runs it needs; what is missing stands above.".to_owned())
        }
        Verdict::Inconclusive => (String::new(), "More blocks: the interval is too wide.".to_owned()),
        Verdict::AlreadySo => (
            "The plan has turned the knob, so that there is nothing to compare it with.".to_owned(),
            "A plan in which it is not turned, such as `--plan eager`.".to_owned(),
        ),
        Verdict::SameAs { title } => (
            format!("In this plan it is told from “{title}” by nothing: its numbers stand there."),
            "A plan in which memory is not kept, such as `--plan eager`.".to_owned(),
        ),
        _ => (String::new(), String::new()),
    };
    HypothesisView {
        anchor: format!("hypothesis-{}", hypothesis.id),
        origin: match hypothesis.origin {
            Origin::Notes => "guess of the notes",
            Origin::Field => "known from elsewhere",
        },
        title: hypothesis.title,
        says: hypothesis.says,
        predicts: hypothesis.predicts,
        counterfactual: counterfactual(&hypothesis.test, base),
        readings: finding.readings.iter().map(reading).collect(),
        numbers: numbers(finding),
        verdict: VerdictView {
            word: finding.verdict.to_string(),
            sign: sign.to_owned(),
            class: class.to_owned(),
        },
        why,
        what_would,
    }
}

fn counterfactual(test: &Test, base: &Plan) -> String {
    match test {
        Test::Counterfactual { from, to } => match (from.within(base), to.within(base)) {
            (from, to) if from == to => "None in this plan.".to_owned(),
            // What is special is what it is changed from.
            (from, Variant::Base) => format!("Base against {}: {}.", from.name(), from.about(base)),
            (from, to) => {
                format!("{} against {}: {}.", text::capital(to.name()), from.name(), to.about(base))
            }
        },
        Test::Phases(phases) => {
            let names: Vec<&str> = phases.iter().map(|phase| self::phases::name(*phase as usize)).collect();
            format!("None needed: what {} takes of the additional time bounds it.", names.join(" and "))
        }
        Test::Computed { how, .. } => format!("None needed: it is computed ({how})."),
        Test::Restates => "None: there is no knob that it speaks of.".to_owned(),
        Test::NotTestable { .. } => "None on this machine.".to_owned(),
    }
}

/// Word and sign carry the verdict, and the colour once more.
fn sign(verdict: Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Cause | Verdict::Contributes => ("✓", "supported"),
        Verdict::NoCause => ("✗", "refuted"),
        Verdict::Inconclusive => ("?", "inconclusive"),
        Verdict::Restates => ("=", "not-evaluated"),
        Verdict::NotTestable { .. }
        | Verdict::NotMeasured
        | Verdict::NothingToExplain
        | Verdict::AlreadySo
        | Verdict::SameAs { .. } => ("–", "not-evaluated"),
    }
}

fn numbers(finding: &Finding) -> String {
    let mut numbers = Vec::new();
    if let Some(share) = &finding.share {
        let of_us = finding
            .share_us
            .as_ref()
            .map_or_else(String::new, |share| format!(", {} of the additional µs", waterfall::share(share)));
        numbers.push(format!("explains {} of {}{of_us}", waterfall::share(share), whole(finding)));
    }
    if let Some(left) = &finding.left {
        numbers.push(format!("slowdown with the knob turned {}", ratio(left)));
    }
    let n = finding.share.as_ref().map(|share| share.n).or(finding.left.as_ref().map(|left| left.n));
    numbers.extend(n.map(|n| text::plural(n, "block")));
    numbers.join("; ")
}

/// What a finding explains a share of.
fn whole(finding: &Finding) -> String {
    match finding.of {
        Variant::Base => "the slowdown".to_owned(),
        other => format!("the slowdown under '{}'", other.name()),
    }
}

fn reading(reading: &Reading) -> FactView {
    let unit = if reading.gauge.unit.is_empty() { String::new() } else { format!(" {}", reading.gauge.unit) };
    let at = |value: Option<f64>, place: &str| Some(format!("{}{unit} {place}", number(reading, value?)));
    let values = [
        at(reading.small, "at batch 128"),
        at(reading.large, "at batch 1024"),
        at(reading.changed, "at batch 1024 with the knob turned"),
    ];
    let values: Vec<String> = values.into_iter().flatten().collect();
    FactView {
        name: reading.gauge.name.to_owned(),
        value: if values.is_empty() { "not measured".to_owned() } else { values.join("; ") },
        varies: false,
    }
}

fn number(reading: &Reading, value: f64) -> String {
    match reading.gauge.places {
        0 if value >= 0.0 => text::count(value.round() as u64),
        places => text::fixed(value, places),
    }
}

fn knobs(explanation: &Explanation) -> TableView {
    let rows = explanation.gains.iter().map(|gain| {
        let cells = vec![
            ratio_cell(gain.small.as_ref()),
            ratio_cell(gain.large.as_ref()),
            ratio_cell(gain.slowdown.as_ref()),
        ];
        row(gain.variant.name(), cells)
    });
    let columns =
        [("batch 128", "cost over base"), ("batch 1024", "cost over base"), ("slowdown", "1024 over 128")];
    let mut caption = "What each knob does to the cost of an image (below 1 is faster), and the slowdown that is left under \
                       it; 95 % interval beneath."
        .to_owned();
    let already = already(&explanation.design.base);
    if !already.is_empty() {
        caption
            .push_str(&format!(" Already so in this plan, and not measured again: {}.", already.join("; ")));
    }
    table(caption, "knob", &columns, rows.collect())
}

/// Variants that are another one under `base`, and which.
fn already(base: &Plan) -> Vec<String> {
    let twin = |variant: Variant| {
        let first = variant.within(base);
        (first != variant).then(|| format!("{} (as {})", variant.name(), first.name()))
    };
    Variant::ALL.into_iter().filter_map(twin).collect()
}

fn gain(explanation: &Explanation, variant: Variant, batch: u32) -> Option<String> {
    let gain = explanation.gains.iter().find(|gain| gain.variant == variant)?;
    let estimate = if batch == LARGE { gain.large.as_ref()? } else { gain.small.as_ref()? };
    Some(ratio(estimate))
}

fn advice(explanation: &Explanation) -> Vec<String> {
    if explanation.design.demonstration.is_some() {
        return vec!["Nothing: this is a demonstration.".to_owned()];
    }
    let mut advice = Vec::new();
    let faults = explanation.finding("faults").map(|finding| finding.verdict);
    let kept = gain(explanation, Variant::KeepMemoryHugePages, LARGE);
    let measured = kept.map_or_else(String::new, |kept| {
        format!(" Here an image in a batch of {LARGE} then costs {kept} what it cost.")
    });
    advice.push(match faults {
        Some(Verdict::Cause | Verdict::Contributes) => format!(
            "Training on a processor under Linux and glibc: start Python with the four variables below. They change no \
             line of code and no bit of the result.{measured} The price is memory: what was once used is kept until the \
             end."
        ),
        Some(Verdict::AlreadySo) => {
            "The variables below are a part of this plan, so that what they do is not seen here; `--plan eager` shows it."
                .to_owned()
        }
        _ => format!(
            "Page faults were not found to be what slows the large batch down here, so the variables below are worth a \
             try and no more.{measured}"
        ),
    });
    for (variant, how) in [
        (Variant::ChannelsLast, "model.to(memory_format=torch.channels_last), and the images likewise"),
        (Variant::FusedOptimizer, "torch.optim.Adam(…, fused=True)"),
    ] {
        if let (Some(small), Some(large)) =
            (gain(explanation, variant, SMALL), gain(explanation, variant, LARGE))
        {
            advice.push(format!(
                "{how}: an image costs {small} what it cost at batch {SMALL} and {large} at batch {LARGE}. The result \
                 changes in the last places."
            ));
        }
    }
    let has_curve = |curve: &&Curve| curve.variant == Variant::Base && curve.points.len() >= LEAST_CURVE;
    let base = explanation.curves.iter().find(has_curve);
    if let Some(turn) = base.and_then(|curve| curve.turn.as_ref()) {
        let without = if explanation.curves.len() > 1 { "Without any of that, choose" } else { "Choose" };
        advice.push(format!(
            "{without} the batch by learning and not by speed, and do not go beyond {} for speed: that \
             is where an image costs least here.",
            turn.cheapest
        ));
    }
    advice.push(
        "On a GPU none of these numbers apply: PyTorch's CUDA allocator keeps freed memory by itself. Measure with \
         torch.cuda.synchronize() before each look at the clock, first without the DataLoader (one batch over and over): \
         if the slowdown is gone, it was the input."
            .to_owned(),
    );
    advice
}

/// As a shell takes them; from the plan itself, so that the page cannot say something else than what was run.
fn exports(explanation: &Explanation) -> Vec<String> {
    if explanation.design.demonstration.is_some() {
        return Vec::new();
    }
    let plan = Variant::KeepMemoryHugePages.apply(&explanation.design.base);
    let set = plan.environment().into_iter().filter_map(|(name, value)| Some((name, value?)));
    let allocates = |(name, _): &(&str, String)| name.starts_with("MALLOC") || name.starts_with("THP");
    set.filter(allocates).map(|(name, value)| format!("export {name}={value}")).collect()
}

fn methods(explanation: &Explanation) -> Vec<MethodView> {
    let percent = |share: f64| text::fixed(share * 100.0, 0);
    let drift = explanation.drift.map_or_else(String::new, |(least, most)| {
        format!(
            " Meanwhile the cost of an image at batch {SMALL} under the base moved between {} and {} µs: that is the \
             drift which this cancels.",
            text::fixed(least, 0),
            text::fixed(most, 0)
        )
    });
    let method = |name: &str, text: String| MethodView { name: name.to_owned(), text };
    let base = &explanation.design.base;
    vec![
        method("Base", format!("The plan '{}': {}.", base.name, Variant::Base.about(base))),
        method(
            "Blocks",
            format!(
                "Each block runs every condition once, each in a process of its own, in an order that turns round from \
                 block to block. All comparisons are ratios within a block.{drift}"
            ),
        ),
        method(
            "Cost",
            format!(
                "The median over the steps of full size of a short run, without its first {WARM_UP}; a short last batch \
                 is left out."
            ),
        ),
        method(
            "Slowdown",
            format!(
                "Cost of an image at batch {LARGE} over that at {SMALL}; geometric mean over blocks with Student's \
                 interval on logarithms. It counts when its interval is above 1 and it is at least {least}; there is none \
                 when its interval is below {least}; else it is not decided.",
                least = text::fixed(LEAST_SLOWDOWN, 2)
            ),
        ),
        method(
            "Share explained",
            "One minus the logarithm of the slowdown with the knob turned over that of the slowdown without; for a further \
             knob, what it takes away beyond the one before. A knob that makes both batches faster by the same factor \
             explains nothing of it, however useful it is. Beside it stands the share of the additional µs, of which a \
             knob that makes both batches slower by the same time explains nothing. A cause takes away both. Above 100 % \
             the large batch has become the faster one. Intervals by Fieller's theorem."
                .to_owned(),
        ),
        method(
            "Verdicts",
            format!(
                "Main cause: both shares are above {} %. Contributes: above {} %. Not the cause: one of them is below {} %. \
                 Each only with the whole interval; the first two at 5 % over the number of tests (Bonferroni), so that among many \
                 hypotheses none is found by chance.",
                percent(MAIN_SHARE),
                percent(CONTRIBUTES_SHARE),
                percent(NO_CAUSE_SHARE)
            ),
        ),
        method(
            "Turning point",
            "The first batch beyond the cheapest whose images cost more than there, the interval of the ratio within \
             blocks being above 1 at 5 % over the number of batches tried. The line through the batches before it has the \
             least squares of relative errors."
                .to_owned(),
        ),
    ]
}

fn limits() -> Vec<String> {
    [
        "One small network on one processor. The notes trained on a GPU: that the same slowdown is seen here does not \
         show that it had the same cause there.",
        "Shares of knobs that do the same work overlap: micro-batches take page faults away as well. The shares of the \
         waterfall add up, those of the list do not.",
        "Micro-batches change the training, because BatchNorm then sees fewer images; only their cost is used.",
        "Workers are threads that copy images which are in memory. A script that decodes files in processes of Python spends \
        more on its input than is seen here.",
        "Short runs: what grows over hours, such as heat or a fragmented heap, is not seen.",
    ]
    .map(str::to_owned)
    .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::explain::simulated::{self, Study};
    use crate::analyse::explain::{Block, Condition, Design, Stored};
    use crate::analyse::samples;
    use crate::clock::Phase;
    use crate::experiment::plan::{Device, PlanName};
    use crate::planted::Planted;

    fn page(blocks: &[Block], stored: Option<&Stored>) -> String {
        page_of(&simulated::design(), blocks, stored)
    }

    fn page_of(design: &Design, blocks: &[Block], stored: Option<&Stored>) -> String {
        page_beside(false, design, blocks, stored)
    }

    fn page_beside(has_index: bool, design: &Design, blocks: &[Block], stored: Option<&Stored>) -> String {
        let explanation = Explanation::of(design, blocks, stored);
        let records = blocks.iter().flat_map(|block| &block.runs).map(|(_, run)| &run.record).collect();
        let command = "pinbench explain batch-size";
        explain(&explanation, &Provenance { command, records, downloads: &[], has_index }).unwrap()
    }

    /// The page linked nothing, and where there is no index a link would lead nowhere.
    #[test]
    fn the_index_is_linked_where_there_is_one() {
        let page = |has_index| page_beside(has_index, &simulated::design(), &[], None);
        assert!(page(true).contains("<a href=\"../index.html\">pinbench</a> · explanation"));
        assert!(!page(false).contains("../index.html") && page(false).contains("pinbench · explanation"));
    }

    #[test]
    fn a_cause_is_named_with_its_share_and_what_to_do_about_it() {
        let page = page(&simulated::faults(3, 6), None);
        for part in [
            "Page faults: the allocator gives memory back after every step: main cause",
            "export MALLOC_MMAP_MAX_=0",
            "export MALLOC_TRIM_THRESHOLD_=-1",
            "export MALLOC_TOP_PAD_=67108864",
            "export THP_MEM_ALLOC_ENABLE=1",
            "not testable on this machine",
            "torch.profiler",
            "unexplained",
            "id=\"waterfall\"",
            "id=\"cost-curve\"",
        ] {
            assert!(page.contains(part), "{part}");
        }
    }

    #[test]
    fn without_a_slowdown_the_page_says_so_everywhere() {
        let us = |condition: Condition| simulated::even(if condition.batch >= LARGE { 400.0 } else { 500.0 });
        let page = page(&Study::new(4, 0.02).blocks(5, us), None);
        assert!(page.contains("There is no slowdown here to explain") && page.contains("nothing to explain"));
        assert!(page.contains("Not drawn: no slowdown is found here") && !page.contains("main cause</span>"));
    }

    /// It said that there was no slowdown, and beside it the estimate of one.
    #[test]
    fn one_block_leaves_it_open_whether_there_is_a_slowdown() {
        let blocks = simulated::faults(3, 1);
        let explanation = Explanation::of(&simulated::design(), &blocks, None);
        let glance = glance(&explanation);
        assert_eq!(glance.len(), 1, "{glance:?}");
        assert!(glance[0].starts_with("Whether there is a slowdown here is not decided"), "{glance:?}");
        assert!(glance[0].contains(&ratio(explanation.slowdown.as_ref().unwrap())), "{glance:?}");
        let page = page(&blocks, None);
        assert!(!page.contains("There is no slowdown") && !page.contains("nothing to explain"));
    }

    /// 300 µs an image, and at the large batch 150 more in the backward pass.
    fn planted() -> (Design, Vec<Block>) {
        let mut study = Study::new(9, 0.02);
        study.design = Design {
            base: Plan::named(PlanName::Tuned, 2, Device::Cpu),
            batches: vec![SMALL, LARGE],
            demonstration: Some(Demonstration::Planted(Planted::DelayBackward)),
        };
        let blocks = study.blocks(4, |condition| {
            let mut us = simulated::even(300.0);
            us[Phase::Backward as usize] += if condition.batch >= LARGE { 150.0 } else { 0.0 };
            us
        });
        (study.design, blocks)
    }

    #[test]
    fn a_demonstration_says_first_that_it_is_one_and_what_was_planted() {
        let (design, blocks) = planted();
        let explanation = Explanation::of(&design, &blocks, None);
        let summary = summary(&explanation);
        let first = summary.lines().next().unwrap();
        for part in ["demonstration with a planted fault", "150 µs an image", "backward", "'delay-backward'"]
        {
            assert!(first.contains(part), "{first}");
        }
        assert!(summary.contains("additional time is spent in backward: +1"), "{summary}");
        let page = page_of(&design, &blocks, None);
        assert!(page.contains("<h1>Demonstration with a planted fault"));
        assert!(page.contains("waits 150 µs an image at the end of backward"));
        assert!(!page.contains("export MALLOC") && !page.contains("slowdown is here too"));
    }

    #[test]
    fn knobs_that_the_plan_has_turned_are_named_and_not_reported_as_tests() {
        let (design, blocks) = planted();
        let page = page_of(&design, &blocks, None);
        for part in [
            "already so in this plan",
            "Already so in this plan, and not measured again: keep memory (as base)",
            "keep memory, huge pages, micro-batches (as micro-batches)",
        ] {
            assert!(page.contains(part), "{part}");
        }
        let explanation = Explanation::of(&design, &blocks, None);
        for finding in explanation.findings.iter().filter(|finding| finding.verdict == Verdict::AlreadySo) {
            assert_eq!(numbers(finding), "", "{}", finding.hypothesis.id);
        }
    }

    #[test]
    fn what_is_missing_is_named_and_nothing_at_all_is_still_a_page() {
        let mut blocks = simulated::faults(5, 3);
        blocks[1].runs.retain(|(condition, _)| condition.variant != Variant::KeepMemory);
        assert!(page(&blocks, None).contains("Batch 1024, keep memory in block 2: not measured."));
        assert!(page(&[], None).contains("have not both been measured"));
    }

    #[test]
    fn stored_trainings_say_what_short_runs_cannot() {
        let profile = samples::profile();
        let runs = [samples::finished(&profile.arms[0], 0), samples::finished(&profile.arms[2], 0)];
        let stored = Stored { accuracy: 0.91, runs: &runs };
        let page = page(&simulated::faults(6, 3), Some(&stored));
        assert!(page.contains("0.910") && page.contains("1 of 1"));
    }

    #[test]
    fn the_summary_has_a_line_for_every_hypothesis() {
        let explanation = Explanation::of(&simulated::design(), &simulated::faults(7, 6), None);
        let summary = summary(&explanation);
        for finding in &explanation.findings {
            assert!(
                summary.contains(&format!("{}: {}", finding.hypothesis.title, finding.verdict)),
                "{summary}"
            );
        }
    }

    /// `PINBENCH_PAGES=folder cargo test … -- --ignored explanations_to_look_at`, then open it in a browser.
    #[test]
    #[ignore = "writes a page for people to look at"]
    fn explanations_to_look_at() {
        let folder = std::path::PathBuf::from(std::env::var("PINBENCH_PAGES").unwrap()).join("explain");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("index.html"), page(&simulated::faults(8, 8), None)).unwrap();
    }
}
