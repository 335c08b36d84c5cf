//! Tables over arms of what is neither loss nor time: scores by class, confusion, diagnostics.

use crate::analyse::confusion::Confusion;
use crate::analyse::{ArmSummary, Summary, quantity};
use crate::dataset::Name;
use crate::experiment::metric::{Metric, Quantity};
use crate::report::figure::{FigureError, Look};
use crate::report::provenance::distinct;
use crate::report::results::{arm_row, arm_table, table};
use crate::report::view::{CellView, ConfusionRowView, ConfusionView, HeatView, RowView, TableView};
use crate::row::Diagnostic;
use crate::stats::Spread;
use crate::text;
use crate::words::Words;

/// A quantity and the keys of its column's name and unit.
type Column = (Quantity, &'static str, &'static str);

const SCORES: [Column; 6] = [
    (Quantity::TestAcc, "table.accuracy", "table.test"),
    (Quantity::TestTop3, "table.top3", "table.test"),
    (Quantity::TestPrecision, "table.precision", "table.macro-test"),
    (Quantity::TestRecall, "table.recall", "table.macro-test"),
    (Quantity::TestF1, "F1", "table.macro-test"),
    (Quantity::TestEce, "table.calibration", "table.test"),
];

const DIAGNOSTICS: [Column; 8] = [
    (Quantity::Roughness, "table.roughness", "nats"),
    (Quantity::GradientNoiseScale, "table.noise-scale", "table.images"),
    (Quantity::GradientVariance, "table.gradient-variance", "table.of-a-batch"),
    (Quantity::GradientNormRatio, "table.gradient-norm", "table.first-last"),
    (Quantity::SaturatedShare, "table.saturated", "table.share"),
    (Quantity::DeadShare, "table.dead", "table.share"),
    (Quantity::Sharpness, "table.sharpness", "table.largest-eigenvalue"),
    (Quantity::EpsilonSharpness, "table.epsilon-sharpness", "%"),
];

/// Nothing where no run was scored so.
pub(super) fn scores(summary: &Summary, words: Words) -> Result<Vec<TableView>, FigureError> {
    quantities(summary, "table.scores", &SCORES[1..], &SCORES, words)
}

pub(super) fn diagnostics(summary: &Summary, words: Words) -> Result<Vec<TableView>, FigureError> {
    let mut tables = quantities(summary, "table.diagnostics", &DIAGNOSTICS[1..], &DIAGNOSTICS, words)?;
    for (diagnostic, what) in [
        (Diagnostic::GradientNorm, "table.layer-norms"),
        (Diagnostic::SaturatedShare, "table.layer-saturated"),
        (Diagnostic::DeadShare, "table.layer-dead"),
    ] {
        tables.extend(by_layer(summary, diagnostic, what, words)?);
    }
    Ok(tables)
}

/// One table of `columns`, or none where no run has any of `wanted`.
fn quantities(
    summary: &Summary,
    caption: &str,
    wanted: &[Column],
    columns: &[Column],
    words: Words,
) -> Result<Vec<TableView>, FigureError> {
    let is_there = |(quantity, ..): &Column| summary.arms.iter().any(|arm| spread(arm, *quantity).is_some());
    if !wanted.iter().any(is_there) {
        return Ok(Vec::new());
    }
    let columns: Vec<_> = columns.iter().filter(|column| is_there(column)).collect();
    let mut rows = Vec::new();
    for (arm, look) in Look::each(summary) {
        let cell = |column: &&Column| {
            CellView::spread_among(spread(arm, column.0), arm.counted.len(), column.0.facts().places)
        };
        rows.push(arm_row(arm, look, "", columns.iter().map(cell).collect(), words)?);
    }
    let heads: Vec<(&str, &str)> = columns.iter().map(|(_, name, unit)| (*name, *unit)).collect();
    Ok(vec![arm_table(words.say(caption, &[]), &heads, rows, words)])
}

fn spread(arm: &ArmSummary, quantity: Quantity) -> Option<Spread> {
    let metric = Metric { quantity, at: None };
    let values = arm.counted.iter().filter_map(|(run, measures)| quantity::value(metric, run, measures));
    Spread::of(&values.filter(|value| value.is_finite()).collect::<Vec<_>>())
}

/// A column a layer, of the arms that have the diagnostic.
fn by_layer(
    summary: &Summary,
    diagnostic: Diagnostic,
    what: &str,
    words: Words,
) -> Result<Option<TableView>, FigureError> {
    let runs = summary.arms.iter().flat_map(|arm| &arm.counted);
    let layers = runs.flat_map(|(run, _)| quantity::layers(run, diagnostic)).map(|(layer, _)| layer);
    let layers = distinct(layers);
    let mut rows = Vec::new();
    for (arm, look) in Look::each(summary) {
        let of_layer = |layer: &&str| {
            let values = arm.counted.iter().flat_map(|(run, _)| quantity::layers(run, diagnostic));
            let values: Vec<f64> = values.filter(|(name, _)| name == layer).map(|(_, value)| value).collect();
            CellView::spread(Spread::of(&values), 4)
        };
        rows.push(arm_row(arm, look, "", layers.iter().map(of_layer).collect(), words)?);
    }
    let heads: Vec<(&str, &str)> = layers.iter().map(|layer| (*layer, "")).collect();
    let caption = words.say("table.by-layer", &[("what", &words.word(what))]);
    Ok((!layers.is_empty()).then(|| arm_table(caption, &heads, rows, words)))
}

/// The test images of all seeds in one matrix an arm.
fn matrices<'s>(summary: &'s Summary) -> impl Iterator<Item = (&'s ArmSummary<'s>, Confusion, usize)> {
    Look::each(summary).filter_map(|(arm, _)| {
        let mut matrices = arm.counted.iter().filter_map(|(run, _)| quantity::test_confusion(run));
        let (mut sum, mut seeds) = (matrices.next()?, 1);
        for matrix in matrices {
            sum.add(&matrix);
            seeds += 1;
        }
        Some((arm, sum, seeds))
    })
}

fn set(arm: &ArmSummary) -> Name {
    arm.arm.config.data.set
}

/// Classes up to which a page has the whole matrix and a column for each class.
const MOST_COLUMNS: usize = 20;
/// Rows of what stands in place of them.
const WORST: usize = 20;

pub(super) fn confusion(summary: &Summary, words: Words) -> Vec<ConfusionView> {
    let view = |(arm, matrix, seeds): (&ArmSummary, Confusion, usize)| {
        let name = |class: usize| set(arm).class_name(class as u16).to_owned();
        let cell = |label: usize, predicted: usize| {
            let (images, all) = (matrix.images(label, predicted), matrix.support(label).max(1));
            let share = images as f64 / all as f64;
            // A square root, or a few confused images beside thousands of right ones leave no trace.
            HeatView { text: text::count(images), heat: (share.sqrt() * 9.0).ceil() as u8 }
        };
        let row = |label: usize| ConfusionRowView {
            name: name(label),
            cells: (0..matrix.classes()).map(|predicted| cell(label, predicted)).collect(),
        };
        ConfusionView {
            name: arm.name.to(words.language).to_owned(),
            caption: words.say("table.confusion", &[("seeds", &words.count("word.seed-count", seeds, &[]))]),
            classes: (0..matrix.classes()).map(name).collect(),
            rows: (0..matrix.classes()).map(row).collect(),
        }
    };
    matrices(summary).filter(|(_, matrix, _)| matrix.classes() <= MOST_COLUMNS).map(view).collect()
}

/// A score of one class.
type ClassScore = fn(&Confusion, usize) -> f64;

pub(super) fn by_class(summary: &Summary, words: Words) -> Result<Vec<TableView>, FigureError> {
    let scores: [(&str, ClassScore); 3] = [
        ("table.class-precision", Confusion::precision),
        ("table.class-recall", Confusion::recall),
        ("table.class-f1", Confusion::f1),
    ];
    let looks: Vec<(&ArmSummary, Look)> = Look::each(summary).collect();
    let mut tables = Vec::new();
    for (what, score) in scores {
        // Arms of another data set have other classes, so a table of their own.
        let mut by_classes: Vec<(Vec<&str>, Vec<RowView>)> = Vec::new();
        for (arm, matrix, _) in matrices(summary).filter(|(_, matrix, _)| matrix.classes() <= MOST_COLUMNS) {
            let classes = 0..matrix.classes();
            let heads: Vec<&str> = classes.clone().map(|class| set(arm).class_name(class as u16)).collect();
            let known = |class| matrix.is_known(class).then(|| score(&matrix, class));
            let cell = |class| CellView::optional(known(class), |score| text::fixed(score, 4));
            let cells = classes.map(cell).collect();
            let Some((_, look)) = looks.iter().find(|(other, _)| other.name == arm.name) else { continue };
            let row = arm_row(arm, *look, "", cells, words)?;
            match by_classes.iter_mut().find(|(known, _)| *known == heads) {
                Some((_, rows)) => rows.push(row),
                None => by_classes.push((heads, vec![row])),
            }
        }
        for (heads, rows) in by_classes {
            let heads: Vec<(&str, &str)> = heads.iter().map(|head| (*head, "")).collect();
            tables.push(arm_table(words.say(what, &[]), &heads, rows, words));
        }
    }
    for (arm, matrix, _) in matrices(summary).filter(|(_, matrix, _)| matrix.classes() > MOST_COLUMNS) {
        tables.push(most_confused(arm, &matrix, words));
        tables.push(worst_classes(arm, &matrix, words));
    }
    Ok(tables)
}

fn class_row(arm: &ArmSummary, class: usize, cells: Vec<CellView>) -> RowView {
    // At most MAX_CLASSES.
    let name = set(arm).class_name(class as u16).to_owned();
    RowView::alone(name, cells)
}

fn most_confused(arm: &ArmSummary, matrix: &Confusion, words: Words) -> TableView {
    let pairs = matrix.most_confused(WORST);
    let row = |&(label, predicted, images): &(usize, usize, u64)| {
        let share = images as f64 / matrix.support(label).max(1) as f64;
        let other = CellView::word(set(arm).class_name(predicted as u16));
        let numbers = [text::count(images), text::fixed(share, 4)].map(CellView::number);
        class_row(arm, label, std::iter::once(other).chain(numbers).collect())
    };
    let rows = pairs.iter().map(row).collect();
    let (named, classes) = (words.count("word.pair", pairs.len(), &[]), matrix.classes());
    let arm = arm.name.to(words.language);
    let caption =
        words.say("table.most-confused", &[("pairs", &named), ("classes", &classes), ("arm", &arm)]);
    let columns = ["table.taken-for", "table.images", "table.share"].map(|key| words.word(key));
    let columns = [(columns[0], ""), (columns[1], ""), (columns[2], words.word("table.of-the-class"))];
    table(caption, words.word("word.class"), &columns, rows)
}

fn worst_classes(arm: &ArmSummary, matrix: &Confusion, words: Words) -> TableView {
    let mut classes: Vec<(usize, f64)> = (0..matrix.classes())
        .filter(|&class| matrix.is_known(class))
        .map(|class| (class, matrix.f1(class)))
        .collect();
    classes.sort_by(|(_, one), (_, other)| one.total_cmp(other));
    classes.truncate(WORST);
    let row = |&(class, f1): &(usize, f64)| {
        let scores = [f1, matrix.precision(class), matrix.recall(class)];
        let mut cells: Vec<_> = scores.map(|score| CellView::number(text::fixed(score, 4))).into();
        cells.push(CellView::number(text::count(matrix.support(class))));
        class_row(arm, class, cells)
    };
    let rows = classes.iter().map(row).collect();
    let (count, arm) = (matrix.classes(), arm.name.to(words.language));
    let caption = words.say("table.worst", &[("n", &WORST), ("classes", &count), ("arm", &arm)]);
    let columns =
        ["F1", "table.precision", "table.recall", "table.images"].map(|key| (words.word_or(key), ""));
    table(caption, words.word("word.class"), &columns, rows)
}
