//! The tables of what came out: learning beside the numbers of others, and time.

use crate::analyse::{ArmSummary, Summary, WARM_UP_STEPS};
use crate::experiment::{Reference, ReferenceRow};
use crate::record::{LoadedRun, Status};
use crate::report::figure::{FigureError, Look, phases, swatch};
use crate::report::view::{CellView, ColumnView, RowView, TableView};
use crate::stream::Seed;
use crate::text;

const ACCURACY_PLACES: usize = 4;
const LOSS_PLACES: usize = 4;
const MINUTE_PLACES: usize = 3;

/// Ours, theirs and the difference under each other for each arm, so that a column compares the arms.
pub fn learning(summary: &Summary, reference: Option<&Reference>) -> Result<TableView, FigureError> {
    let mut rows = Vec::new();
    for (arm, look) in Look::each(summary) {
        let kind = format!("ours, n = {}", arm.counted.len());
        rows.push(arm_row(arm, look, &kind, ours(arm))?);
        if arm.reference.is_some() {
            rows.push(follow_row(arm, look, summary.reference.unwrap_or("theirs"), theirs(arm)));
            rows.push(follow_row(arm, look, "difference", difference(arm)));
        }
    }
    let caption = match reference {
        Some(Reference { name, source, .. }) => format!(
            "After the last epoch: mean over seeds, ± one standard deviation; beside it the numbers of {name}{} and our mean \
             minus theirs.",
            source.as_ref().map(|source| format!(" ({source})")).unwrap_or_default()
        ),
        None => "After the last epoch: mean over seeds, ± one standard deviation.".to_owned(),
    };
    let columns = [
        ("train accuracy", "as trained"),
        ("train accuracy", "eval mode"),
        ("validation accuracy", ""),
        ("test accuracy", ""),
        ("train loss", "as trained"),
        ("validation loss", ""),
        ("training time", "min"),
    ];
    Ok(table(caption, "arm", &columns, rows))
}

fn ours(arm: &ArmSummary) -> Vec<CellView> {
    let spreads = &arm.spreads;
    vec![
        CellView::spread(spreads.train_acc, ACCURACY_PLACES),
        CellView::spread(spreads.train_eval_acc, ACCURACY_PLACES),
        CellView::spread(spreads.val_acc, ACCURACY_PLACES),
        CellView::spread(spreads.test_acc, ACCURACY_PLACES),
        CellView::spread(spreads.train_loss, LOSS_PLACES),
        CellView::spread(spreads.val_loss, LOSS_PLACES),
        CellView::spread(spreads.train_minutes, MINUTE_PLACES),
    ]
}

/// As they wrote them: more decimals would claim more than they did.
fn theirs(arm: &ArmSummary) -> Vec<CellView> {
    let value = |pick: fn(&ReferenceRow) -> Option<f64>| {
        CellView::optional(arm.reference.and_then(pick), |value| value.to_string())
    };
    vec![
        value(|row| row.train_acc),
        CellView::nothing(),
        value(|row| row.val_acc),
        CellView::nothing(),
        value(|row| row.train_loss),
        value(|row| row.val_loss),
        value(|row| row.minutes),
    ]
}

fn difference(arm: &ArmSummary) -> Vec<CellView> {
    let differences = &arm.differences;
    let signed = |value, places| CellView::optional(value, |value| text::signed(value, places));
    vec![
        signed(differences.train_acc, ACCURACY_PLACES),
        CellView::default(),
        signed(differences.val_acc, ACCURACY_PLACES),
        CellView::default(),
        signed(differences.train_loss, LOSS_PLACES),
        signed(differences.val_loss, LOSS_PLACES),
        signed(differences.minutes, MINUTE_PLACES),
    ]
}

pub fn times(summary: &Summary) -> Result<TableView, FigureError> {
    let timed = summary.times_barred_by().is_none();
    let mut rows = Vec::new();
    for (arm, look) in Look::each(summary) {
        let spreads = &arm.spreads;
        let is_short = timed && !arm.counted.is_empty() && arm.why_untimed().is_some();
        let warm = |spread| match is_short {
            true => CellView::number("too few").with_note(format!("needs > {WARM_UP_STEPS}")),
            false => CellView::rate(spread),
        };
        let steps = arm.counted.first().map(|(run, _)| text::count(run.steps.len() as u64));
        let cells = vec![
            CellView::spread(spreads.train_minutes, MINUTE_PLACES),
            CellView::spread(arm.relative_time, 2),
            CellView::spread(spreads.total_minutes, MINUTE_PLACES),
            steps.map_or_else(CellView::nothing, CellView::number),
            warm(spreads.step_ms),
            warm(spreads.images_per_s),
            warm(spreads.minor_faults),
        ];
        rows.push(arm_row(arm, look, "", cells)?);
    }
    let columns = [
        ("training time", "min"),
        ("relative", "× first arm"),
        ("with evaluation", "min"),
        ("steps", "a run"),
        ("step", "ms"),
        ("throughput", "images/s"),
        ("page faults", "a step"),
    ];
    let caption = match summary.times_barred_by() {
        Some(barred) => format!("No times: {barred}. Each run's own time stands under Runs."),
        None if summary.barred.is_empty() => "Mean over seeds, ± one standard deviation.".to_owned(),
        None => format!(
            "Mean over the seeds whose arms were measured together ({}), ± one standard deviation.",
            text::plural(summary.timed.len(), "seed")
        ),
    };
    Ok(table(caption, "arm", &columns, rows))
}

/// Shares of a step's time, under the figure that shows them as bars.
pub fn shares(summary: &Summary) -> Result<TableView, FigureError> {
    let mut rows = Vec::new();
    for (arm, look) in Look::each(summary) {
        let Some((shares, rest)) = arm.spreads.phase_shares() else { continue };
        let percent = |share: &f64| CellView::number(text::fixed(share * 100.0, 1));
        let cells = shares.iter().chain([&rest]).map(percent).collect();
        rows.push(arm_row(arm, look, "", cells)?);
    }
    let columns: Vec<(&str, &str)> = (0..phases::PARTS).map(|part| (phases::name(part), "%")).collect();
    Ok(table("Shares of a step's time, warm.".to_owned(), "arm", &columns, rows))
}

/// Every run there is, finished or not, and a row for every seed that has none.
pub fn runs(summary: &Summary) -> Result<TableView, FigureError> {
    let mut rows = Vec::new();
    for (arm, look) in Look::each(summary) {
        for run in &arm.runs {
            rows.push(arm_row(arm, look, "", run_cells(arm, run))?);
        }
        let is_missing = |seed: &&Seed| arm.runs.iter().all(|run| run.record.trial.seed != **seed);
        for seed in summary.seeds.iter().filter(is_missing) {
            let status = if arm.damaged.contains(seed) { "damaged" } else { "missing" };
            let mut cells = vec![CellView::number(seed.to_string()), CellView::word(status)];
            cells.resize_with(RUN_COLUMNS.len(), CellView::nothing);
            rows.push(arm_row(arm, look, "", cells)?);
        }
    }
    Ok(table("Each run is one process.".to_owned(), "arm", &RUN_COLUMNS, rows))
}

const RUN_COLUMNS: [(&str, &str); 6] = [
    ("seed", ""),
    ("status", ""),
    ("test accuracy", ""),
    ("validation accuracy", ""),
    ("training time", "min"),
    ("final weights", "SHA-256"),
];

fn run_cells(arm: &ArmSummary, run: &LoadedRun) -> Vec<CellView> {
    let record = &run.record;
    let counted = arm.counted.iter().find(|(counted, _)| counted.record.run == record.run);
    let status = match (&record.status, counted) {
        (Status::Finished, None) => "finished, not counted",
        (status, _) => status.name(),
    };
    let measures = counted.map(|(_, measures)| measures);
    let fixed = |value: Option<f64>, places| CellView::optional(value, |value| text::fixed(value, places));
    let digest = record.outcome.as_ref().map(|outcome| outcome.final_weights.short());
    vec![
        CellView::number(record.trial.seed.to_string()),
        CellView::word(status),
        fixed(measures.and_then(|run| run.test).map(|test| test.accuracy), ACCURACY_PLACES),
        fixed(measures.and_then(|run| run.validation).map(|score| score.accuracy), ACCURACY_PLACES),
        fixed(measures.and_then(|run| run.train_minutes), MINUTE_PLACES),
        digest.map_or_else(CellView::nothing, CellView::word),
    ]
}

pub fn table(caption: String, corner: &str, columns: &[(&str, &str)], rows: Vec<RowView>) -> TableView {
    let is_word = |index: usize| rows.iter().any(|row| row.cells.get(index).is_some_and(|cell| cell.is_word));
    let column = |(index, (name, unit)): (usize, &(&str, &str))| ColumnView {
        name: (*name).to_owned(),
        unit: (*unit).to_owned(),
        is_word: is_word(index),
    };
    let columns = columns.iter().enumerate().map(column).collect();
    TableView { caption, corner: corner.to_owned(), columns, rows }
}

/// A row that begins with an arm's line, marker and name.
pub fn arm_row(
    arm: &ArmSummary,
    look: Look,
    kind: &str,
    cells: Vec<CellView>,
) -> Result<RowView, FigureError> {
    let picture = swatch(look).map_err(|source| FigureError { figure: "legend", source })?;
    Ok(RowView {
        class: look.class(),
        swatch: Some(picture),
        name: arm.name.clone(),
        kind: kind.to_owned(),
        starts_group: true,
        cells,
    })
}

/// A further row of the arm above.
fn follow_row(arm: &ArmSummary, look: Look, kind: &str, cells: Vec<CellView>) -> RowView {
    RowView {
        class: look.class(),
        swatch: None,
        name: arm.name.clone(),
        kind: kind.to_owned(),
        starts_group: false,
        cells,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::samples;

    /// A bare dash, whose reason stood under Methods alone.
    #[test]
    fn a_cell_without_a_time_says_that_the_run_was_too_short() {
        let experiment = samples::experiment();
        let mut arms = samples::arms(&experiment.profile, &[0]);
        arms[1].runs[0].steps.truncate(12);
        arms[2].runs.clear();
        let table = times(&Summary::of(&experiment, &arms)).unwrap();
        let cells = |row: usize| {
            let cells = table.rows[row].cells[3..].iter();
            cells.map(|cell| format!("{} {}", cell.text, cell.note)).collect::<Vec<_>>()
        };
        assert_eq!(cells(1), ["12 ", "too few needs > 20", "too few needs > 20", "too few needs > 20"]);
        assert_eq!(cells(2), ["– "; 4]);
        assert!(!cells(0).join("").contains("too few"));
    }

    #[test]
    fn a_table_without_times_says_why_there_are_none() {
        let experiment = samples::experiment();
        let caption = |beside: &[u32]| {
            let mut arms = samples::arms(&experiment.profile, &[0]);
            for (arm, &beside) in arms.iter_mut().zip(beside) {
                arm.runs[0].record.beside = beside;
            }
            times(&Summary::of(&experiment, &arms)).unwrap().caption
        };
        assert!(caption(&[0; 3]).starts_with("Mean over seeds"));
        assert!(caption(&[1; 3]).contains("trained 2 at a time"));
        assert!(caption(&[0, 1, 0]).contains("trained 2 at a time"));
    }
}
