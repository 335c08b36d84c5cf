//! Where the numbers come from: setting, machine, build, plan, runs, and the commands that make them again.

use serde_json::Value;

use crate::analyse::Summary;
use crate::experiment::Plan;
use crate::experiment::plan::{Effective, bare};
use crate::record::{LoadedRun, RunRecord};
use crate::report::cell::NOTHING;
use crate::report::figure::{FigureError, Look};
use crate::report::results::{arm_row, table};
use crate::report::view::{CellView, FactView, ProvenanceView, TableView};
use crate::text;

pub fn view(summary: &Summary, command: &str) -> Result<ProvenanceView, FigureError> {
    let runs: Vec<&RunRecord> =
        summary.arms.iter().flat_map(|arm| &arm.runs).map(|run| &run.record).collect();
    let each = summary.arms.iter().flat_map(|arm| {
        arm.runs.iter().map(|run| FactView {
            name: format!("{}, seed {}", arm.name, run.record.trial.seed),
            value: run.record.command.clone(),
            varies: false,
        })
    });
    let torch = |run: &RunRecord| run.environment.torch.as_ref().map(|torch| torch.parallel.clone());
    Ok(ProvenanceView {
        command: command.to_owned(),
        commands: each.collect(),
        environment: environment(&runs),
        parallel: distinct(runs.iter().filter_map(|run| torch(run)).filter(|text| !text.is_empty())),
        plan: plan(&runs),
        arms: arms(summary)?,
        runs: run_table(summary)?,
    })
}

/// Values in the order they first come, each once.
fn distinct(values: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for value in values {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen
}

/// What all runs share, or each value there is.
fn fact(name: &str, values: impl Iterator<Item = String>) -> FactView {
    let values = distinct(values);
    FactView {
        name: name.to_owned(),
        varies: values.len() > 1,
        value: if values.is_empty() { NOTHING.to_owned() } else { values.join(" · ") },
    }
}

pub fn environment(runs: &[&RunRecord]) -> Vec<FactView> {
    let unknown = || "unknown".to_owned();
    let of = |name, value: &dyn Fn(&RunRecord) -> String| fact(name, runs.iter().map(|run| value(run)));
    let torch = |run: &RunRecord, value: &dyn Fn(&crate::machine::Torch) -> String| {
        run.environment.torch.as_ref().map_or_else(|| "none".to_owned(), value)
    };
    let variables = |run: &RunRecord| {
        let pairs = run.environment.variables.iter().map(|(name, value)| format!("{name}={value}"));
        let pairs: Vec<String> = pairs.collect();
        if pairs.is_empty() { "none set".to_owned() } else { pairs.join(" ") }
    };
    vec![
        of("processor", &|run| run.environment.cpu.clone()),
        of("cores", &|run| run.environment.cores.to_string()),
        of("threads of libtorch", &|run| torch(run, &|torch| torch.threads.to_string())),
        of("memory", &|run| run.environment.memory_bytes.map_or_else(unknown, text::bytes)),
        of("kernel", &|run| run.environment.kernel.clone()),
        of("system", &|run| run.environment.os.clone()),
        of("huge pages", &|run| run.environment.huge_pages.clone()),
        of("libtorch", &|run| torch(run, &|torch| torch.version.clone())),
        of("its instruction set", &|run| torch(run, &|torch| torch.capability.clone())),
        of("rustc", &|run| run.environment.rustc.clone()),
        of("pinbench", &|run| run.environment.pinbench.clone()),
        of("git revision", &|run| run.environment.git.clone().unwrap_or_else(unknown)),
        of("program, SHA-256", &|run| {
            run.environment.binary.map_or_else(unknown, |digest| digest.to_string())
        }),
        of("variables", &variables),
        of("class", &|run| run.environment_class.to_string()),
    ]
}

/// Every knob, so that nothing about how the runs were executed is left to a name.
fn plan(runs: &[&RunRecord]) -> Vec<FactView> {
    let Some(first) = runs.first() else { return Vec::new() };
    let knobs = knobs(&first.plan);
    let names = knobs.iter().map(|(name, _)| name.clone());
    let value = |plan: &Plan, name: &str| {
        let knobs = self::knobs(plan);
        knobs.into_iter().find(|(knob, _)| knob == name).map_or_else(String::new, |(_, value)| value)
    };
    let mut facts: Vec<FactView> =
        names.map(|name| fact(&name, runs.iter().map(|run| value(&run.plan, &name)))).collect();
    facts.push(fact("plan hash", runs.iter().map(|run| run.plan_hash.to_string())));
    let effective = || runs.iter().filter_map(|run| run.effective.as_ref());
    if effective().next().is_some() {
        facts.push(fact("loader that ran", effective().map(|effective| effective.loader.to_string())));
        facts.push(fact("own kernels that ran", effective().map(own_kernels)));
    }
    facts
}

/// `conv1 in training: convolution, batch_norm`, and so on for each layer and pass in which there were any.
fn own_kernels(effective: &Effective) -> String {
    let own = effective.layers.iter().filter(|layer| !layer.own.is_empty());
    let layers: Vec<String> = own
        .map(|layer| {
            let operators: Vec<String> = layer.own.iter().map(name_of).collect();
            format!("{} in {}: {}", layer.layer, name_of(&layer.pass), operators.join(", "))
        })
        .collect();
    if layers.is_empty() { "none".to_owned() } else { layers.join("; ") }
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
pub fn leaves(value: &Value) -> Vec<(String, String)> {
    let Some(map) = value.as_object() else { return vec![(String::new(), bare(value))] };
    let inner = |(key, value): (&String, &Value)| -> Vec<(String, String)> {
        let under = leaves(value).into_iter();
        let dotted = |name: String| if name.is_empty() { key.clone() } else { format!("{key}.{name}") };
        under.map(|(name, value)| (dotted(name), value)).collect()
    };
    map.iter().flat_map(inner).collect()
}

/// The identity of each arm.
fn arms(summary: &Summary) -> Result<TableView, FigureError> {
    let mut rows = Vec::new();
    for (arm, look) in Look::each(summary) {
        let cells = vec![CellView::word(arm.arm.config.hash().to_string())];
        rows.push(arm_row(arm, look, "", cells)?);
    }
    let caption =
        "SHA-256 over the canonical JSON of an arm's config; with the seed it gives the trial ids below.";
    Ok(table(caption.to_owned(), "arm", &[("config hash", "")], rows))
}

fn run_table(summary: &Summary) -> Result<TableView, FigureError> {
    let mut rows = Vec::new();
    for (arm, look) in Look::each(summary) {
        for run in &arm.runs {
            rows.push(arm_row(arm, look, "", run_cells(run))?);
        }
    }
    let columns = [
        ("seed", ""),
        ("trial", ""),
        ("run", ""),
        ("started", "ended, UTC"),
        ("load before", "1 min"),
        ("steal", "%"),
        ("others' CPU", "s"),
        ("peak memory", ""),
        ("final weights", "initial, SHA-256"),
    ];
    let caption = "What else the machine did meanwhile, and what the runs started and ended with.".to_owned();
    Ok(table(caption, "arm", &columns, rows))
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
