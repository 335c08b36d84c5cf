//! Plans of our own kernels are other ways to the same result: their accuracy equals the tuned plan's. By an equivalence test
//! over seeds on real MNIST, for a difference test that finds nothing would prove nothing.

#![cfg(feature = "torch")]

mod common;

use common::Workspace;
use pinbench::stats;

const SEEDS: usize = 4;
/// In accuracy. Of the 1,000 images one is 0.001.
const MARGIN: f64 = 0.02;
/// Of each of the two one-sided tests.
const ALPHA: f64 = 0.05;

const EXPERIMENT: &str = r#"
title = "tiny"
why = "long enough to be accurate, short enough for a test"
data = { set = "mnist", validation = 0.2, train_limit = 2000, eval_limit = 1000 }
model = { name = "simple_cnn", activation = "relu", dropout = 0.5 }
optim = { name = "adam", lr = 0.001 }
train = { batch = 64, epochs = 3 }

[[factors]]
key = "model.activation"
label = "activation"
levels = [{ value = "relu" }, { value = "tanh" }]

[profiles]
smoke = { seeds = [0, 1, 2, 3] }
quick = { seeds = [0] }
full = { seeds = [0] }
"#;

/// By arm, then by seed.
fn accuracies(workspace: &Workspace, plan: &str, knobs: &[&str]) -> Vec<Vec<f64>> {
    let options = [&["--plan", plan, "--threads", "2"], knobs].concat();
    let mut arguments = vec!["run", "tiny", "--profile", "smoke", "--no-diagnostics"];
    arguments.extend(&options);
    let (code, _, err) = workspace.run(&arguments);
    assert_eq!(code, 0, "{err}");
    let mut arms = vec![Vec::new(); 2];
    for trial in workspace.list("tiny", "smoke", &options) {
        let (_, out, err) = workspace.run(&["show", trial["run"].as_str().unwrap(), "--json"]);
        let shown: serde_json::Value =
            serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {err}"));
        let run = &shown["runs"][0];
        assert_eq!(run["record"]["plan"]["name"], plan);
        let arm = usize::from(run["record"]["trial"]["config"]["model"]["activation"] == "tanh");
        arms[arm].push(run["final"]["validation"]["accuracy"].as_f64().unwrap());
    }
    arms
}

#[test]
fn plans_of_our_own_kernels_reach_the_accuracy_of_the_tuned_one() {
    let workspace = Workspace::new(EXPERIMENT);
    let tuned = accuracies(&workspace, "tuned", &[]);
    let own: [(&str, &[&str]); 3] =
        [("fused", &[]), ("winograd", &[]), ("winograd", &["--set", "plan.policy=2"])];
    let own = own.map(|(plan, knobs)| accuracies(&workspace, plan, knobs));
    for (found, tuned) in own.iter().flat_map(|own| own.iter().zip(&tuned)) {
        assert_eq!((tuned.len(), found.len()), (SEEDS, SEEDS));
        // Paired by seed: the two start from the same weights and see the same batches.
        let differences: Vec<f64> = found.iter().zip(tuned).map(|(found, tuned)| found - tuned).collect();
        // Two one-sided tests (Schuirmann, J. Pharmacokinet. Biopharm. 15(6), 1987): the 1 − 2α interval within the margin.
        let (low, high) = stats::inference::interval(&differences, 2.0 * ALPHA).unwrap();
        assert!(low > -MARGIN && high < MARGIN, "[{low}, {high}] of {differences:?}");
        assert!(tuned.iter().chain(found).all(|accuracy| *accuracy > 0.7), "{tuned:?} {found:?}");
    }
    // Rounding differs, so the runs must too: the plans are not secretly the same.
    let all = [&tuned, &own[0], &own[1], &own[2]];
    for (index, plan) in all.iter().enumerate() {
        for other in &all[..index] {
            assert!(plan.iter().zip(other.iter()).all(|(one, other)| one != other), "{all:?}");
        }
    }
}
