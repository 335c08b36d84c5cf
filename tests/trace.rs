//! A trace through the program, on real MNIST.

#![cfg(feature = "torch")]

mod common;

use std::fs;

use common::Workspace;
use serde_json::Value;

const EXPERIMENT: &str = r#"
title = "tiny"
why = "an epoch of fewer steps than are traced"
data = { set = "mnist", validation = 0.2, train_limit = 200, eval_limit = 500 }
model = { name = "simple_cnn", activation = "relu", dropout = 0.5 }
optim = { name = "adam", lr = 0.001 }
train = { batch = 64, epochs = 1 }

[profiles]
smoke = { seeds = [0] }
quick = { seeds = [0], set = { "optim.lr" = 1e30 } }
full = { seeds = [1] }
"#;

const STEPS: usize = 6;
/// What reading the profiler's clock at both ends of an operator may add up to.
const ROUNDING: f64 = 1.01;

fn trial(workspace: &Workspace, profile: &str) -> String {
    workspace.list("tiny", profile, &[])[0]["trial_id"].as_str().unwrap()[..12].to_owned()
}

/// Names and microseconds of what the trace holds.
fn events(path: &std::path::Path) -> Vec<(String, f64)> {
    let trace: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let event = |event: &Value| Some((event["name"].as_str()?.to_owned(), event["dur"].as_f64()?));
    trace["traceEvents"].as_array().unwrap().iter().filter_map(event).collect()
}

#[test]
fn a_trace_has_events_operators_and_a_page_and_leaves_the_store_alone() {
    let workspace = Workspace::new(EXPERIMENT);
    let id = trial(&workspace, "smoke");
    let (code, out, err) =
        workspace.run(&["trace", &id[..8], "--steps", "6", "--threads", "1", "--plan", "tuned"]);
    assert_eq!(code, 0, "{err}");
    let folder = workspace.path().join(format!("reports/trace-{id}"));
    assert_eq!(out.trim_end(), format!("reports/trace-{id}/index.html"));
    assert!(err.contains("6 steps of plan 'tuned'") && err.contains("FLOP a byte"), "{err}");

    let events = events(&folder.join("trace.json"));
    assert!(events.iter().any(|(name, _)| name.starts_with("aten::") && name.contains("conv")));
    let steps: Vec<f64> =
        events.iter().filter(|(name, _)| name == "pinbench::step").map(|step| step.1).collect();
    assert!(steps.len() >= STEPS, "{}", steps.len());

    let table = fs::read_to_string(folder.join("operators.csv")).unwrap();
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("operator,calls,self_us,total_us"));
    // From the right: the name is the one field that could be quoted.
    let rows: Vec<Vec<&str>> = lines.map(|line| line.rsplitn(4, ',').collect()).collect();
    let self_us: Vec<f64> = rows.iter().map(|row| row[1].parse().unwrap()).collect();
    assert!(self_us.is_sorted_by(|a, b| a >= b), "{table}");
    // One thread runs the operators, and each instant is the own time of at most one of them.
    let (sum, wall) = (self_us.iter().sum::<f64>(), steps.iter().sum::<f64>());
    assert!(sum > 0.0 && sum <= wall * ROUNDING, "{sum} of {wall}");
    // SimpleCNN has two convolutions, forward; whatever else calls this operator lies between the steps.
    let forward = rows.iter().find(|row| row[3] == "aten::conv2d").unwrap();
    assert_eq!(forward[2], (2 * STEPS).to_string(), "{table}");

    let page = fs::read_to_string(folder.join("index.html")).unwrap();
    for part in ["product or convolution: ", " GFLOP/s", "copy: ", " GB/s", "aten::", "id=\"roofline\""] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!workspace.path().join("runs").exists());
    assert_eq!(workspace.list("tiny", "smoke", &[])[0]["status"], "missing");
}

/// It traced the plan `tuned`, whatever the file said of it.
#[test]
fn a_trace_is_of_the_plan_that_the_file_asks_for_and_several_plans_have_to_be_told_apart() {
    let plan = "[plan]\nname = \"eager\"\nmemory_format = \"channels_last\"\n\n[profiles]";
    let workspace = Workspace::new(&EXPERIMENT.replace("[profiles]", plan));
    let id = trial(&workspace, "smoke");
    let (code, _, err) = workspace.run(&["trace", &id[..8], "--steps", "5", "--threads", "1"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("5 steps of plan 'eager with plan.memory_format=channels_last'"), "{err}");
    let factor = "[[factors]]\nkey = \"plan.optimizer\"\nlabel = \"optimizer\"\nlevels = [{ value = \"loop\" }, { value = \"fused\" }]\n\n[profiles]";
    let workspace = Workspace::new(&EXPERIMENT.replace("[profiles]", factor));
    let (code, _, err) = workspace.run(&["trace", &id[..8], "--threads", "1"]);
    assert!(code == 2 && err.contains("optimizer loop") && err.contains("optimizer fused"), "{err}");
    let one = ["trace", &id[..8], "--steps", "5", "--threads", "1", "--set", "plan.optimizer=loop"];
    let (code, _, err) = workspace.run(&one);
    assert!(code == 0 && err.contains("plan 'winograd with plan.optimizer=loop'"), "{err}");
}

#[test]
fn a_trial_that_diverges_or_is_not_there_leaves_no_page() {
    let workspace = Workspace::new(EXPERIMENT);
    let id = trial(&workspace, "quick");
    let (code, out, err) =
        workspace.run(&["trace", &id, "--steps", "6", "--threads", "1", "--plan", "eager"]);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("nothing was written") && err.contains("does not diverge"), "{err}");
    assert!(!workspace.path().join(format!("reports/trace-{id}/index.html")).exists());
    let (code, _, err) = workspace.run(&["trace", &id, "--device", "cuda"]);
    assert_eq!(code, 2);
    assert!(err.contains("--device cpu"), "{err}");
    let (code, _, err) = workspace.run(&["trace", "zzz"]);
    assert_eq!(code, 2);
    assert!(err.contains("starts with 'zzz'") && err.contains("pinbench list"), "{err}");
}
