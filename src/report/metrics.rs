//! Tables over arms of what is neither loss nor time: scores by class, confusion, diagnostics.

use crate::analyse::confusion::Confusion;
use crate::analyse::{ArmSummary, Summary, quantity};
use crate::dataset::Name;
use crate::experiment::metric::{Metric, Quantity};
use crate::report::figure::{FigureError, Look};
use crate::report::results::{arm_row, table};
use crate::report::view::{CellView, ConfusionRowView, ConfusionView, HeatView, RowView, TableView};
use crate::row::Diagnostic;
use crate::stats::Spread;
use crate::text;

const SCORES: [(Quantity, &str, &str); 6] = [
    (Quantity::TestAcc, "accuracy", "test"),
    (Quantity::TestTop3, "top-3 accuracy", "test"),
    (Quantity::TestPrecision, "precision", "macro, test"),
    (Quantity::TestRecall, "recall", "macro, test"),
    (Quantity::TestF1, "F1", "macro, test"),
    (Quantity::TestEce, "calibration error", "test"),
];

const DIAGNOSTICS: [(Quantity, &str, &str); 8] = [
    (Quantity::Roughness, "roughness", "nats"),
    (Quantity::GradientNoiseScale, "noise scale", "images"),
    (Quantity::GradientVariance, "gradient variance", "of a batch"),
    (Quantity::GradientNormRatio, "gradient norm", "first / last layer"),
    (Quantity::SaturatedShare, "saturated", "share"),
    (Quantity::DeadShare, "dead", "share"),
    (Quantity::Sharpness, "sharpness", "largest eigenvalue"),
    (Quantity::EpsilonSharpness, "ε-sharpness", "%"),
];

/// Nothing where no run was scored so.
pub fn scores(summary: &Summary) -> Result<Vec<TableView>, FigureError> {
    let caption =
        "On the test images with the weights the run ended with: mean over seeds, ± one standard deviation.";
    quantities(summary, caption, &SCORES[1..], &SCORES)
}

pub fn diagnostics(summary: &Summary) -> Result<Vec<TableView>, FigureError> {
    let caption = "At the end of training: mean over seeds, ± one standard deviation. How each is measured stands \
                   under Methods.";
    let mut tables = quantities(summary, caption, &DIAGNOSTICS[1..], &DIAGNOSTICS)?;
    for (diagnostic, what) in [
        (Diagnostic::GradientNorm, "2-norm of the gradient of each layer's weights"),
        (Diagnostic::SaturatedShare, "Share of saturated activations, layer by layer"),
        (Diagnostic::DeadShare, "Share of dead units, layer by layer"),
    ] {
        tables.extend(by_layer(summary, diagnostic, what)?);
    }
    Ok(tables)
}

/// One table of `columns`, or none where no run has any of `wanted`.
fn quantities(
    summary: &Summary,
    caption: &str,
    wanted: &[(Quantity, &str, &str)],
    columns: &[(Quantity, &str, &str)],
) -> Result<Vec<TableView>, FigureError> {
    let is_there = |(quantity, ..): &(Quantity, &str, &str)| {
        summary.arms.iter().any(|arm| spread(arm, *quantity).is_some())
    };
    if !wanted.iter().any(is_there) {
        return Ok(Vec::new());
    }
    let columns: Vec<_> = columns.iter().filter(|column| is_there(column)).collect();
    let mut rows = Vec::new();
    for (arm, look) in Look::each(summary) {
        let cell = |column: &&(Quantity, &str, &str)| {
            CellView::spread(spread(arm, column.0), column.0.facts().places)
        };
        rows.push(arm_row(arm, look, "", columns.iter().map(cell).collect())?);
    }
    let heads: Vec<(&str, &str)> = columns.iter().map(|(_, name, unit)| (*name, *unit)).collect();
    Ok(vec![table(caption.to_owned(), "arm", &heads, rows)])
}

fn spread(arm: &ArmSummary, quantity: Quantity) -> Option<Spread> {
    let metric = Metric { quantity, at: None };
    let values = arm.counted.iter().filter_map(|(run, measures)| quantity::value(metric, run, measures));
    Spread::of(&values.filter(|value| value.is_finite()).collect::<Vec<_>>())
}

/// A column a layer, of the arms that have the diagnostic.
fn by_layer(summary: &Summary, diagnostic: Diagnostic, what: &str) -> Result<Option<TableView>, FigureError> {
    let mut layers: Vec<&str> = Vec::new();
    for (run, _) in summary.arms.iter().flat_map(|arm| &arm.counted) {
        for (layer, _) in quantity::layers(run, diagnostic) {
            if !layers.contains(&layer) {
                layers.push(layer);
            }
        }
    }
    let mut rows = Vec::new();
    for (arm, look) in Look::each(summary) {
        let of_layer = |layer: &&str| {
            let values = arm.counted.iter().flat_map(|(run, _)| quantity::layers(run, diagnostic));
            let values: Vec<f64> = values.filter(|(name, _)| name == layer).map(|(_, value)| value).collect();
            CellView::spread(Spread::of(&values), 4)
        };
        rows.push(arm_row(arm, look, "", layers.iter().map(of_layer).collect())?);
    }
    let heads: Vec<(&str, &str)> = layers.iter().map(|layer| (*layer, "")).collect();
    let caption = format!("{what}, at the end of training: mean over seeds, ± one standard deviation.");
    Ok((!layers.is_empty()).then(|| table(caption, "arm", &heads, rows)))
}

/// The test images of all seeds in one matrix an arm.
fn matrices<'s>(summary: &'s Summary) -> impl Iterator<Item = (&'s ArmSummary<'s>, Confusion, usize)> {
    summary.distinct().filter_map(|arm| {
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

pub fn confusion(summary: &Summary) -> Vec<ConfusionView> {
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
            name: arm.name.clone(),
            caption: format!(
                "Test images by class (rows) and by predicted class (columns), added up over {}. The darker, the \
                 larger the share of its row.",
                text::plural(seeds, "seed")
            ),
            classes: (0..matrix.classes()).map(name).collect(),
            rows: (0..matrix.classes()).map(row).collect(),
        }
    };
    matrices(summary).filter(|(_, matrix, _)| matrix.classes() <= MOST_COLUMNS).map(view).collect()
}

/// A score of one class.
type ClassScore = fn(&Confusion, usize) -> f64;

pub fn by_class(summary: &Summary) -> Result<Vec<TableView>, FigureError> {
    let scores: [(&str, ClassScore); 3] =
        [("Precision", Confusion::precision), ("Recall", Confusion::recall), ("F1", Confusion::f1)];
    let looks: Vec<(&ArmSummary, Look)> = Look::each(summary).collect();
    let mut tables = Vec::new();
    for (what, score) in scores {
        let (mut rows, mut heads) = (Vec::new(), Vec::new());
        for (arm, matrix, _) in matrices(summary).filter(|(_, matrix, _)| matrix.classes() <= MOST_COLUMNS) {
            let classes = 0..matrix.classes();
            heads = classes.clone().map(|class| set(arm).class_name(class as u16)).collect();
            let cells =
                classes.map(|class| CellView::number(text::fixed(score(&matrix, class), 4))).collect();
            if let Some((_, look)) = looks.iter().find(|(other, _)| other.name == arm.name) {
                rows.push(arm_row(arm, *look, "", cells)?);
            }
        }
        if !rows.is_empty() {
            let heads: Vec<(&str, &str)> = heads.iter().map(|head| (*head, "")).collect();
            tables.push(table(
                format!("{what} by class, over the test images of all seeds."),
                "arm",
                &heads,
                rows,
            ));
        }
    }
    for (arm, matrix, _) in matrices(summary).filter(|(_, matrix, _)| matrix.classes() > MOST_COLUMNS) {
        tables.push(most_confused(arm, &matrix));
        tables.push(worst_classes(arm, &matrix));
    }
    Ok(tables)
}

fn class_row(arm: &ArmSummary, class: usize, cells: Vec<CellView>) -> RowView {
    // At most MAX_CLASSES.
    let name = set(arm).class_name(class as u16).to_owned();
    RowView { class: String::new(), swatch: None, name, kind: String::new(), starts_group: true, cells }
}

fn most_confused(arm: &ArmSummary, matrix: &Confusion) -> TableView {
    let pairs = matrix.most_confused(WORST);
    let row = |&(label, predicted, images): &(usize, usize, u64)| {
        let share = images as f64 / matrix.support(label).max(1) as f64;
        let other = CellView::word(set(arm).class_name(predicted as u16));
        let numbers = [text::count(images), text::fixed(share, 4)].map(CellView::number);
        class_row(arm, label, std::iter::once(other).chain(numbers).collect())
    };
    let caption = format!(
        "The {} most confused of {} classes, {}: over the test images of all seeds.",
        text::plural(pairs.len(), "pair"),
        matrix.classes(),
        arm.name
    );
    let columns = [("taken for", ""), ("images", ""), ("share", "of the class")];
    table(caption, "class", &columns, pairs.iter().map(row).collect())
}

fn worst_classes(arm: &ArmSummary, matrix: &Confusion) -> TableView {
    let mut classes: Vec<(usize, f64)> =
        (0..matrix.classes()).map(|class| (class, matrix.f1(class))).collect();
    classes.sort_by(|(_, one), (_, other)| one.total_cmp(other));
    classes.truncate(WORST);
    let row = |&(class, f1): &(usize, f64)| {
        let scores = [f1, matrix.precision(class), matrix.recall(class)];
        let mut cells: Vec<_> = scores.map(|score| CellView::number(text::fixed(score, 4))).into();
        cells.push(CellView::number(text::count(matrix.support(class))));
        class_row(arm, class, cells)
    };
    let caption = format!(
        "The {WORST} of {} classes with the lowest F1, {}: over the test images of all seeds.",
        matrix.classes(),
        arm.name
    );
    let columns = [("F1", ""), ("precision", ""), ("recall", ""), ("images", "")];
    table(caption, "class", &columns, classes.iter().map(row).collect())
}
