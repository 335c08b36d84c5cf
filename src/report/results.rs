//! The tables of what came out: learning beside the numbers of others, and time.

use std::collections::BTreeSet;

use crate::analyse::{ArmSummary, Summary, WARM_UP_STEPS};
use crate::experiment::{Reference, ReferenceRow};
use crate::record::{LoadedRun, Status};
use crate::report::figure::{FigureError, Look, phases, swatch};
use crate::report::view::{CellView, ColumnView, RowView, TableView};
use crate::stream::Seed;
use crate::text;
use crate::words::Words;

const ACCURACY_PLACES: usize = 4;
const LOSS_PLACES: usize = 4;
const MINUTE_PLACES: usize = 3;

/// Ours, theirs and the difference under each other for each arm, so that a column compares the arms.
pub(super) fn learning(
    summary: &Summary,
    reference: Option<&Reference>,
    words: Words,
) -> Result<TableView, FigureError> {
    let mut rows = Vec::new();
    for (arm, look) in Look::each(summary) {
        let kind = words.say("table.ours", &[("n", &arm.counted.len())]);
        rows.push(arm_row(arm, look, &kind, ours(arm), words)?);
        if arm.reference.is_some() {
            let name = summary.reference.map_or(words.word("word.theirs"), |name| name.to(words.language));
            rows.push(follow_row(arm, look, name, theirs(arm), words));
            rows.push(follow_row(arm, look, words.word("table.difference"), difference(arm), words));
        }
    }
    let caption = match reference {
        Some(Reference { name, source, .. }) => {
            let source = source.as_ref().map(|source| source.to(words.language));
            let source = source.map(|source| words.say("table.source", &[("source", &source)]));
            let source = source.unwrap_or_default();
            words.say("table.learning-beside", &[("name", &name.to(words.language)), ("source", &source)])
        }
        None => words.say("table.learning", &[]),
    };
    let columns = [
        ("table.train-accuracy", "table.as-trained"),
        ("table.train-accuracy", "table.eval-mode"),
        ("table.validation-accuracy", ""),
        ("table.test-accuracy", ""),
        ("table.train-loss", "table.as-trained"),
        ("table.validation-loss", ""),
        ("table.training-time", "table.min"),
    ];
    Ok(arm_table(caption, &columns, rows, words))
}

fn ours(arm: &ArmSummary) -> Vec<CellView> {
    let spreads = &arm.spreads;
    // Times are of fewer seeds where others used the machine, and a column may be of fewer runs than its row says.
    let of = |spread, places| CellView::spread_among(spread, arm.counted.len(), places);
    vec![
        of(spreads.train_acc, ACCURACY_PLACES),
        of(spreads.train_eval_acc, ACCURACY_PLACES),
        of(spreads.val_acc, ACCURACY_PLACES),
        of(spreads.test_acc, ACCURACY_PLACES),
        of(spreads.train_loss, LOSS_PLACES),
        of(spreads.val_loss, LOSS_PLACES),
        of(spreads.train_minutes, MINUTE_PLACES),
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
        CellView::nothing(),
        signed(differences.val_acc, ACCURACY_PLACES),
        CellView::nothing(),
        signed(differences.train_loss, LOSS_PLACES),
        signed(differences.val_loss, LOSS_PLACES),
        signed(differences.minutes, MINUTE_PLACES),
    ]
}

pub(super) fn times(summary: &Summary, words: Words) -> Result<TableView, FigureError> {
    let timed = summary.times_barred_by().is_none();
    let mut rows = Vec::new();
    for (arm, look) in Look::each(summary) {
        let spreads = &arm.spreads;
        let is_short =
            timed && !arm.counted.is_empty() && !arm.lacks_rows() && arm.why_untimed(words).is_some();
        let warm = |spread| match is_short {
            true => CellView::number(words.word("table.too-few"))
                .with_note(words.say("table.needs", &[("n", &WARM_UP_STEPS)])),
            false => CellView::rate(spread),
        };
        // Of runs that stopped early each has its own number.
        let steps = arm.counted.iter().filter_map(|(run, _)| Some(run.record.outcome.as_ref()?.steps));
        let steps: BTreeSet<u64> = steps.collect();
        let (least, most) =
            (steps.first().map(|of| text::count(*of)), steps.last().map(|of| text::count(*of)));
        let steps = least.zip(most).map(|(least, most)| match least == most {
            true => least,
            false => words.range(&least, &most),
        });
        let cells = vec![
            CellView::spread(spreads.train_minutes, MINUTE_PLACES),
            CellView::spread(arm.relative_time, 2),
            CellView::spread(spreads.total_minutes, MINUTE_PLACES),
            steps.map_or_else(CellView::nothing, CellView::number),
            warm(spreads.step_ms),
            warm(spreads.images_per_s),
            warm(spreads.minor_faults),
        ];
        rows.push(arm_row(arm, look, "", cells, words)?);
    }
    let columns = [
        ("table.training-time", "table.min"),
        ("table.relative", "table.first-arm"),
        ("table.with-evaluation", "table.min"),
        ("table.steps", "table.a-run"),
        ("table.step", "ms"),
        ("table.throughput", "table.images-per-s"),
        ("table.faults", "table.a-step"),
    ];
    let caption = match summary.times_barred_by() {
        Some(barred) => words.say("table.no-times", &[("why", &barred.say(words))]),
        None if summary.barred.is_empty() => words.say("table.mean", &[]),
        None => {
            let seeds = words.count("word.seed-count", summary.timed.len(), &[]);
            words.say("table.mean-timed", &[("seeds", &seeds)])
        }
    };
    Ok(arm_table(caption, &columns, rows, words))
}

/// Shares of a step's time, under the figure that shows them as bars.
pub(super) fn shares(summary: &Summary, words: Words) -> Result<TableView, FigureError> {
    let mut rows = Vec::new();
    for (arm, look) in Look::each(summary) {
        let Some((shares, rest)) = arm.spreads.phase_shares() else { continue };
        let percent = |share: &f64| CellView::number(text::fixed(share * 100.0, 1));
        let cells = shares.iter().chain([&rest]).map(percent).collect();
        rows.push(arm_row(arm, look, "", cells, words)?);
    }
    let columns: Vec<(&str, &str)> = (0..phases::PARTS).map(|part| (phases::key(part), "%")).collect();
    Ok(arm_table(words.say("table.shares", &[]), &columns, rows, words))
}

/// Rows of a table that has one for each run.
pub(super) const MOST_RUNS: usize = 200;

/// Every run there is, finished or not, and a row for every seed that has none.
///
/// Of many the first, and how many more there are.
pub(super) fn runs(summary: &Summary, words: Words) -> Result<(TableView, usize), FigureError> {
    let mut all: Vec<(&ArmSummary, Look, Result<&LoadedRun, Seed>)> = Vec::new();
    for (arm, look) in Look::all(summary) {
        all.extend(arm.runs.iter().map(|run| (arm, look, Ok(*run))));
        let there: BTreeSet<Seed> = arm.runs.iter().map(|run| run.record.trial.seed).collect();
        let missing = summary.seeds.iter().filter(|seed| !there.contains(seed));
        all.extend(missing.map(|seed| (arm, look, Err(*seed))));
    }
    let mut rows = Vec::new();
    for (arm, look, run) in all.iter().take(MOST_RUNS) {
        let cells = match run {
            Ok(run) => run_cells(arm, run, words),
            Err(seed) => missing_cells(arm, *seed, words),
        };
        rows.push(arm_row(arm, *look, "", cells, words)?);
    }
    let left_out = all.len() - rows.len();
    Ok((arm_table(words.say("table.each-run", &[]), &RUN_COLUMNS, rows, words), left_out))
}

fn missing_cells(arm: &ArmSummary, seed: Seed, words: Words) -> Vec<CellView> {
    let is_damaged = arm.damaged.contains(&seed);
    let status = words.word(if is_damaged { "table.damaged" } else { "table.missing" });
    let mut cells = vec![CellView::number(seed.to_string()), CellView::word(status)];
    cells.resize_with(RUN_COLUMNS.len(), CellView::nothing);
    cells
}

const RUN_COLUMNS: [(&str, &str); 6] = [
    ("word.seed", ""),
    ("table.status", ""),
    ("table.test-accuracy", ""),
    ("table.validation-accuracy", ""),
    ("table.training-time", "table.min"),
    ("table.final-weights", "SHA-256"),
];

fn run_cells(arm: &ArmSummary, run: &LoadedRun, words: Words) -> Vec<CellView> {
    let record = &run.record;
    let counted = arm.counted.iter().find(|(counted, _)| counted.record.run == record.run);
    let status = match (&record.status, counted) {
        (Status::Finished, None) => words.word("table.not-counted"),
        (status, _) => status_word(status, words),
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

/// What became of a run.
pub(super) fn status_word(status: &Status, words: Words) -> &'static str {
    words.word(match status {
        Status::Finished => "word.status-finished",
        Status::Diverged { .. } => "word.status-diverged",
        Status::Failed { .. } => "word.status-failed",
    })
}

/// A table with a row an arm, whose columns are keys of words, or units.
pub(super) fn arm_table(
    caption: String,
    columns: &[(&str, &str)],
    rows: Vec<RowView>,
    words: Words,
) -> TableView {
    let columns: Vec<(&str, &str)> =
        columns.iter().map(|(name, unit)| (words.word_or(name), words.word_or(unit))).collect();
    table(caption, words.word("word.arm"), &columns, rows)
}

pub(super) fn table(
    caption: String,
    corner: &str,
    columns: &[(&str, &str)],
    rows: Vec<RowView>,
) -> TableView {
    let is_word = |index: usize| rows.iter().any(|row| row.cells.get(index).is_some_and(|cell| cell.is_word));
    let column = |(index, (name, unit)): (usize, &(&str, &str))| ColumnView {
        name: (*name).to_owned(),
        unit: (*unit).to_owned(),
        is_word: is_word(index),
    };
    let columns = columns.iter().enumerate().map(column).collect();
    TableView { caption, corner: corner.to_owned(), columns, rows, left_out: None }
}

/// A row that begins with an arm's line, marker and name.
pub(super) fn arm_row(
    arm: &ArmSummary,
    look: Look,
    kind: &str,
    cells: Vec<CellView>,
    words: Words,
) -> Result<RowView, FigureError> {
    let picture = swatch(look).map_err(|source| FigureError { figure: "legend", source })?;
    Ok(RowView {
        class: look.class(),
        swatch: Some(picture),
        name: arm.name.to(words.language).to_owned(),
        kind: kind.to_owned(),
        starts_group: true,
        cells,
    })
}

/// A further row of the arm above.
fn follow_row(arm: &ArmSummary, look: Look, kind: &str, cells: Vec<CellView>, words: Words) -> RowView {
    RowView {
        class: look.class(),
        swatch: None,
        name: arm.name.to(words.language).to_owned(),
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
        arms[1].runs[0].record.outcome.as_mut().unwrap().steps = 12;
        arms[2].runs.clear();
        let table = times(&Summary::of(&experiment, &arms), Words::english()).unwrap();
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
            times(&Summary::of(&experiment, &arms), Words::english()).unwrap().caption
        };
        assert!(caption(&[0; 3]).starts_with("Mean over seeds"));
        assert!(caption(&[1; 3]).contains("trained side by side"));
        assert!(caption(&[0, 1, 0]).contains("trained side by side"));
    }

    /// "n = 5" stood beside the training time of four.
    #[test]
    fn a_time_of_fewer_seeds_than_its_row_says_of_how_many() {
        let experiment = samples::experiment();
        let mut arms = samples::arms(&experiment.profile, &[0, 1, 2]);
        arms[0].runs[1].record.beside = 1;
        let table = learning(&Summary::of(&experiment, &arms), None, Words::english()).unwrap();
        let row = &table.rows[0];
        assert_eq!(row.kind, "ours, n = 3");
        assert!(row.cells[6].note.ends_with(" n = 2"), "{:?}", row.cells[6]);
        assert!(row.cells[..6].iter().all(|cell| !cell.note.contains('n')), "{:?}", row.cells);
    }
}
