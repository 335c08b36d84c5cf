//! Where the numbers come from: setting, machine, build, plan, runs, and the commands that make them again.

use serde_json::Value;

use crate::analyse::Summary;
use crate::experiment::Plan;
use crate::experiment::plan::{Effective, Loader, Pass, bare};
use crate::record::{LoadedRun, RunRecord};
use crate::report::cell::NOTHING;
use crate::report::figure::{FigureError, Look};
use crate::report::results::{MOST_RUNS, arm_row, arm_table};
use crate::report::view::{CellView, FactView, ProvenanceView, TableView};
use crate::text;
use crate::words::Words;

pub(super) fn view(summary: &Summary, command: &str, words: Words) -> Result<ProvenanceView, FigureError> {
    let runs: Vec<&RunRecord> =
        summary.arms.iter().flat_map(|arm| &arm.runs).map(|run| &run.record).collect();
    let each = summary.arms.iter().flat_map(|arm| {
        arm.runs.iter().map(|run| FactView {
            name: words.say(
                "fact.trial",
                &[("arm", &arm.name.to(words.language)), ("seed", &run.record.trial.seed)],
            ),
            value: run.record.command.clone(),
            varies: false,
        })
    });
    // What the others are of stands in the record of each.
    let each = each.take(MOST_RUNS);
    let torch = |run: &RunRecord| run.environment.torch.as_ref().map(|torch| torch.parallel.clone());
    Ok(ProvenanceView {
        command: command.to_owned(),
        commands: each.collect(),
        environment: environment(&runs, words),
        parallel: distinct(runs.iter().filter_map(|run| torch(run)).filter(|text| !text.is_empty())),
        plan: plan(&runs, words),
        arms: arms(summary, words)?,
        runs: run_table(summary, words)?,
    })
}

/// Values in the order they first come, each once.
pub(super) fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    for value in values {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen
}

/// What all runs share, or each value there is.
pub(super) fn fact(name: &str, values: impl Iterator<Item = String>) -> FactView {
    let values = distinct(values);
    FactView {
        name: name.to_owned(),
        varies: values.len() > 1,
        value: if values.is_empty() { NOTHING.to_owned() } else { values.join(" · ") },
    }
}

pub(super) fn environment(runs: &[&RunRecord], words: Words) -> Vec<FactView> {
    let unknown = || words.word("fact.unknown").to_owned();
    let of = |name: &str, value: &dyn Fn(&RunRecord) -> String| {
        fact(words.word_or(name), runs.iter().map(|run| value(run)))
    };
    let torch = |run: &RunRecord, value: &dyn Fn(&crate::machine::Torch) -> String| {
        run.environment.torch.as_ref().map_or_else(|| words.word("word.none").to_owned(), value)
    };
    let variables = |run: &RunRecord| {
        let pairs = run.environment.variables.iter().map(|(name, value)| format!("{name}={value}"));
        let pairs: Vec<String> = pairs.collect();
        if pairs.is_empty() { words.word("fact.none-set").to_owned() } else { pairs.join(" ") }
    };
    vec![
        of("fact.processor", &|run| run.environment.cpu.clone()),
        of("fact.cores", &|run| run.environment.cores.to_string()),
        of("fact.threads", &|run| torch(run, &|torch| torch.threads.to_string())),
        of("fact.memory", &|run| run.environment.memory_bytes.map_or_else(unknown, text::bytes)),
        of("fact.kernel", &|run| run.environment.kernel.clone()),
        of("fact.system", &|run| run.environment.os.clone()),
        of("fact.huge-pages", &|run| run.environment.huge_pages.clone()),
        of("libtorch", &|run| torch(run, &|torch| torch.version.clone())),
        of("fact.instructions", &|run| torch(run, &|torch| torch.capability.clone())),
        of("rustc", &|run| run.environment.rustc.clone()),
        of("pinbench", &|run| run.environment.pinbench.clone()),
        of("fact.git", &|run| run.environment.git.clone().unwrap_or_else(unknown)),
        of("fact.program", &|run| run.environment.binary.map_or_else(unknown, |digest| digest.to_string())),
        of("fact.variables", &variables),
        of("fact.class", &|run| run.environment_class.to_string()),
    ]
}

/// Every knob, so that nothing about how the runs were executed is left to a name.
fn plan(runs: &[&RunRecord], words: Words) -> Vec<FactView> {
    let Some(first) = runs.first() else { return Vec::new() };
    let knobs = knobs(&first.plan);
    let names = knobs.iter().map(|(name, _)| name.clone());
    // Thousands of runs have a plan or two.
    let mut plans: Vec<&Plan> = Vec::new();
    for run in runs {
        if !plans.contains(&&run.plan) {
            plans.push(&run.plan);
        }
    }
    let value = |plan: &Plan, name: &str| {
        let knobs = self::knobs(plan);
        knobs.into_iter().find(|(knob, _)| knob == name).map_or_else(String::new, |(_, value)| value)
    };
    let mut facts: Vec<FactView> =
        names.map(|name| fact(&name, plans.iter().map(|plan| value(plan, &name)))).collect();
    facts.push(fact(words.word("fact.plan-hash"), runs.iter().map(|run| run.plan_hash.to_string())));
    let effective = || runs.iter().filter_map(|run| run.effective.as_ref());
    if effective().next().is_some() {
        facts.push(fact(
            words.word("fact.loader"),
            effective().map(|effective| loader(effective.loader, words)),
        ));
        facts.push(fact(
            words.word("fact.kernels"),
            effective().map(|effective| own_kernels(effective, words)),
        ));
    }
    facts
}

fn loader(loader: Loader, words: Words) -> String {
    match loader {
        Loader::Resident => words.word("fact.resident").to_owned(),
        Loader::Samples { workers: 0, .. } => words.word("fact.samples").to_owned(),
        Loader::Samples { workers, prefetch } => {
            words.count("fact.samples-by", workers as usize, &[("prefetch", &prefetch)])
        }
    }
}

/// `conv1 in training: convolution, batch_norm`, and so on for each layer and pass in which there were any.
fn own_kernels(effective: &Effective, words: Words) -> String {
    let own = effective.layers.iter().filter(|layer| !layer.own.is_empty());
    let layers: Vec<String> = own
        .map(|layer| {
            let operators: Vec<String> = layer.own.iter().map(name_of).collect();
            let pass = words.word(match layer.pass {
                Pass::Training => "fact.in-training",
                Pass::Evaluation => "fact.in-evaluation",
            });
            let operators = operators.join(", ");
            words
                .say("fact.kernel-in", &[("layer", &layer.layer), ("pass", &pass), ("operators", &operators)])
        })
        .collect();
    if layers.is_empty() { words.word("word.none").to_owned() } else { layers.join("; ") }
}

/// As it is called in a record.
fn name_of(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).as_ref().map(bare).unwrap_or_default()
}

fn knobs(plan: &Plan) -> Vec<(String, String)> {
    // A plan is numbers, strings and truth values, which always have a JSON form.
    leaves(&serde_json::to_value(plan).unwrap_or_default())
}

/// Dotted keys and values of a JSON tree, in the order of the tree.
pub(super) fn leaves(value: &Value) -> Vec<(String, String)> {
    let Some(map) = value.as_object() else { return vec![(String::new(), bare(value))] };
    let inner = |(key, value): (&String, &Value)| -> Vec<(String, String)> {
        let under = leaves(value).into_iter();
        let dotted = |name: String| if name.is_empty() { key.clone() } else { format!("{key}.{name}") };
        under.map(|(name, value)| (dotted(name), value)).collect()
    };
    map.iter().flat_map(inner).collect()
}

/// The identity of each arm.
fn arms(summary: &Summary, words: Words) -> Result<TableView, FigureError> {
    let mut rows = Vec::new();
    for (arm, look) in Look::each(summary) {
        let cells = vec![CellView::word(arm.arm.config.hash().to_string())];
        rows.push(arm_row(arm, look, "", cells, words)?);
    }
    Ok(arm_table(words.say("table.hash-about", &[]), &[("table.config-hash", "")], rows, words))
}

fn run_table(summary: &Summary, words: Words) -> Result<TableView, FigureError> {
    let mut rows = Vec::new();
    let runs = Look::all(summary).flat_map(|(arm, look)| arm.runs.iter().map(move |run| (arm, look, run)));
    for (arm, look, run) in runs.take(MOST_RUNS) {
        rows.push(arm_row(arm, look, "", run_cells(run), words)?);
    }
    let columns = [
        ("word.seed", ""),
        ("table.trial", ""),
        ("table.run", ""),
        ("table.started", "table.ended"),
        ("table.load", "table.minute"),
        ("table.steal", "%"),
        ("table.others-cpu", "s"),
        ("table.peak-memory", ""),
        ("table.final-weights", "table.initial"),
    ];
    Ok(arm_table(words.say("table.meanwhile", &[]), &columns, rows, words))
}

fn run_cells(run: &LoadedRun) -> Vec<CellView> {
    let record = &run.record;
    let outcome = record.outcome.as_ref();
    let number = |value: Option<f64>, places| CellView::optional(value, |value| text::fixed(value, places));
    vec![
        CellView::number(record.trial.seed.to_string()),
        CellView::word(record.trial_id.short()),
        CellView::word(record.run.to_string()),
        CellView::word(stamp(&record.started)).with_note(stamp(&record.ended)),
        number(record.environment.load_1m, 2),
        number(outcome.and_then(|outcome| outcome.steal_share).map(|share| share * 100.0), 1),
        number(outcome.and_then(|outcome| outcome.others_cpu_s), 1),
        outcome
            .map_or_else(CellView::nothing, |outcome| CellView::number(text::bytes(outcome.peak_rss_bytes))),
        outcome.map_or_else(CellView::nothing, |outcome| {
            CellView::word(outcome.final_weights.short()).with_note(outcome.initial_weights.short())
        }),
    ]
}

/// `2026-01-02 03:04:05`: an RFC 3339 stamp in UTC as people read it, which may break at the space.
fn stamp(rfc3339: &str) -> String {
    rfc3339.trim_end_matches('Z').replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loader_is_said_in_words() {
        let said = |workers| loader(Loader::Samples { workers, prefetch: 2 }, Words::english());
        assert_eq!(loader(Loader::Resident, Words::english()), "resident");
        assert_eq!(said(0), "image by image, by the thread that trains");
        assert_eq!(said(1), "image by image, by 1 thread, 2 batches ahead");
        assert_eq!(said(3), "image by image, by 3 threads, 2 batches ahead");
    }
}
