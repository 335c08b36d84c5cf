//! Where a step's time goes on a GPU: by the host's clock, and on the device's own timeline.

use crate::analyse::Summary;
use crate::clock::Phase;
use crate::experiment::plan::Device;
use crate::report::figure::{FigureError, Look, phases};
use crate::report::provenance::distinct;
use crate::report::results::{arm_row, arm_table};
use crate::report::view::{CellView, RowView, TableView};
use crate::stats::Spread;
use crate::text;
use crate::words::Words;

/// Behind the host by less than this share of a step, the device ends the step with it: each piece of work is done before
/// the next is asked for.
const LAUNCHES_BELOW: f64 = 0.1;
/// Behind by more than this, the host spends most of a step waiting for the device.
const DEVICE_ABOVE: f64 = 0.5;

/// What must be known before anything is read; `None` where every run is the CPU's.
pub(super) fn warning(summary: &Summary, words: Words) -> Option<String> {
    let mut runs = summary.arms.iter().flat_map(|arm| &arm.runs);
    runs.any(|run| run.record.plan.device != Device::Cpu).then(|| words.say("caveat.cuda", &[]))
}

/// Host and device under each other for each arm, and what bounds its steps; `None` where no arm has device times.
pub(super) fn beside_host(summary: &Summary, words: Words) -> Result<Option<TableView>, FigureError> {
    let mut rows = Vec::new();
    for (arm, look) in Look::each(summary) {
        let spreads = &arm.spreads;
        let (Some(host), Some(device), Some(behind)) =
            (spreads.phase_us_per_image, spreads.device_us_per_image, spreads.behind_share)
        else {
            continue;
        };
        let mut cells = rates(&host);
        cells.extend([
            CellView::spread(Some(percent(behind)), 1),
            CellView::word(words.word(bound(behind.mean))),
        ]);
        rows.push(arm_row(arm, look, words.word("table.host"), cells, words)?);
        let mut cells = rates(&device);
        cells.extend([CellView::default(), CellView::default()]);
        let row = arm_row(arm, look, words.word("table.on-device"), cells, words)?;
        rows.push(RowView { swatch: None, starts_group: false, ..row });
    }
    let mut columns: Vec<(&str, &str)> =
        (0..Phase::ALL.len()).map(|part| (phases::key(part), "table.us-an-image")).collect();
    columns.extend([("table.behind", "table.of-a-step"), ("table.a-step-is", "")]);
    Ok((!rows.is_empty()).then(|| arm_table(caption(summary, words), &columns, rows, words)))
}

fn rates(phases: &[Spread]) -> Vec<CellView> {
    phases.iter().map(|&phase| CellView::rate(Some(phase))).collect()
}

fn percent(share: Spread) -> Spread {
    Spread { mean: share.mean * 100.0, sd: share.sd.map(|sd| sd * 100.0), ..share }
}

/// A key of words.
fn bound(behind_share: f64) -> &'static str {
    match behind_share {
        share if share < LAUNCHES_BELOW => "table.by-launches",
        share if share > DEVICE_ABOVE => "table.by-device",
        _ => "table.between",
    }
}

fn caption(summary: &Summary, words: Words) -> String {
    let share = |share: f64| text::fixed(share * 100.0, 0);
    let (launches, device) = (share(LAUNCHES_BELOW), share(DEVICE_ABOVE));
    words.say("table.device", &[("launches", &launches), ("device", &device)]) + &gpus(summary, words)
}

/// Of the runs that count, each once.
fn gpus(summary: &Summary, words: Words) -> String {
    let counted = summary.arms.iter().flat_map(|arm| arm.counted.iter().map(|(run, _)| *run));
    let gpus = distinct(counted.filter_map(|run| Some(run.record.environment.gpu.as_ref()?.to_string())));
    if gpus.is_empty() { String::new() } else { words.say("table.gpu", &[("gpus", &gpus.join("; "))]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::{ArmRuns, samples};
    use crate::experiment::{Experiment, Profile};
    use crate::report::{fixture, render};

    /// The first arm's steps are bound by launches, the last arm's by the device.
    fn on_gpu(profile: &Profile) -> Vec<ArmRuns<'_>> {
        let mut arms = samples::arms(profile, &[0, 1]);
        for (arm, percent) in arms.iter_mut().zip([2, 30, 80]) {
            arm.runs.iter_mut().for_each(|run| samples::put_on_gpu(run, percent));
        }
        arms
    }

    fn html(experiment: &Experiment, arms: Vec<ArmRuns>) -> String {
        let page = render(&fixture::input(experiment, arms)).unwrap().swap_remove(0);
        String::from_utf8(page.bytes).unwrap()
    }

    #[test]
    fn an_arm_bound_by_launches_is_told_from_one_bound_by_the_device() {
        let experiment = samples::experiment();
        let arms = on_gpu(&experiment.profile);
        let summary = Summary::of(&experiment, &arms);
        let table = beside_host(&summary, Words::english()).unwrap().unwrap();
        let rows = table.rows.iter().map(|row| {
            let texts: Vec<&str> = row.cells.iter().map(|cell| cell.text.as_str()).collect();
            (row.kind.as_str(), texts.join(" "))
        });
        let rows: Vec<(&str, String)> = rows.collect();
        // A step of 64 images takes 26.4 ms, one of 1024 takes 122.4 ms, and half of the work is forward.
        assert_eq!(rows[0], ("host", "0.00 0.00 202 202 0.00 8.25 2.0 bound by launches".to_owned()));
        assert_eq!(rows[1], ("device", "0.00 0.00 206 206 0.00 0.00  ".to_owned()));
        assert!(rows[2].1.ends_with("30.0 between"), "{rows:?}");
        assert_eq!(rows[4], ("host", "0.00 0.00 12.0 12.0 0.00 95.6 80.0 bound by the device".to_owned()));
        assert_eq!(rows.len(), 6);
        assert!(table.columns.len() == 8 && table.rows.iter().all(|row| row.cells.len() == 8));
        assert!(table.rows[0].starts_group && !table.rows[1].starts_group);
        for part in ["Below 10 %", "above 50 %", "GPU: Example GPU, 80.0 GiB, driver 550.54"] {
            assert!(table.caption.contains(part), "{}", table.caption);
        }
    }

    #[test]
    fn only_the_page_of_a_gpu_has_device_times_and_says_that_none_was_ever_used() {
        let experiment = samples::experiment();
        let profile = &experiment.profile;
        let gpu = html(&experiment, on_gpu(profile));
        let cpu = html(&experiment, samples::arms(profile, &[0, 1]));
        for part in ["Host and device", "bound by launches", "on one kind of GPU alone", "Example GPU"] {
            assert!(gpu.contains(part) && !cpu.contains(part), "{part}");
        }
    }

    #[test]
    fn where_times_are_not_comparable_the_warning_stays_and_the_table_goes() {
        let experiment = samples::experiment();
        let mut arms = samples::arms(&experiment.profile, &[0]);
        samples::put_on_gpu(&mut arms[0].runs[0], 50);
        let summary = Summary::of(&experiment, &arms);
        assert!(beside_host(&summary, Words::english()).unwrap().is_none());
        assert!(warning(&summary, Words::english()).is_some());
    }
}
