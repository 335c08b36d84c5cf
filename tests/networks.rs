//! Networks of a user's own: the page on them, and the examples.
#![cfg(feature = "torch")]

mod common;

use std::fs;

use common::{Workspace, blocks};

const EXPERIMENT: &str = r#"
title = "tiny"
data = { set = "cifar10", validation = 0.2, train_limit = 256, eval_limit = 64 }
model = { name = "simple_cnn", activation = "relu", dropout = 0.5 }
optim = { name = "adam", lr = 0.001 }
train = { batch = 64, epochs = 1 }
seeds = [0]
"#;

#[test]
fn the_page_on_networks_shows_a_network_and_a_factor_that_are_understood_and_commands_that_work() {
    let text = include_str!("../docs/your-network.md");
    let workspace = Workspace::with_examples(EXPERIMENT);
    let [network, factor] = blocks(text, "toml")[..] else { panic!("a network and a factor") };
    let model = EXPERIMENT.lines().find(|line| line.starts_with("model")).unwrap();
    let own = format!("{}\n{network}\n{factor}", EXPERIMENT.replace(model, ""));
    fs::write(workspace.path().join("own.toml"), own).unwrap();
    let (code, table, err) = workspace.run(&["list", "own.toml"]);
    assert!(code == 0 && table.contains("dropout 0.5") && table.contains("2 trials"), "{table}{err}");
    let commands: Vec<&str> = blocks(text, "sh").into_iter().flat_map(str::lines).collect();
    assert_eq!(commands.len(), 3);
    for command in commands {
        let mut words: Vec<&str> = command.split_whitespace().skip(1).collect();
        // One block is as good as many here.
        if words[0] == "time" {
            words.extend(["--minutes", "0.05"]);
        }
        let (code, _, err) = workspace.run(&words);
        assert_eq!(code, 0, "{command}: {err}");
    }
}

#[test]
fn every_example_is_an_experiment_under_each_of_its_profiles() {
    let workspace = Workspace::with_examples(EXPERIMENT);
    for file in fs::read_dir(workspace.path().join("examples")).unwrap().map(|file| file.unwrap().path()) {
        let name = format!("examples/{}", file.file_name().unwrap().to_str().unwrap());
        for profile in ["smoke", "quick", "full"] {
            assert!(!workspace.list(&name, profile, &[]).is_empty(), "{name} {profile}");
        }
    }
}

/// The shape that arrives is what a user has to see.
#[test]
fn a_layer_that_does_not_fit_is_named_with_what_arrives() {
    let workspace = Workspace::new(EXPERIMENT);
    let layers = r#"model = { layers = [{ conv = 8, kernel = 3 }, "relu", { linear = "classes" }] }"#;
    let model = EXPERIMENT.lines().find(|line| line.starts_with("model")).unwrap();
    fs::write(workspace.path().join("own.toml"), EXPERIMENT.replace(model, layers)).unwrap();
    let (code, out, err) = workspace.run(&["list", "own.toml"]);
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    for part in ["own.toml:", "model.layers.2", "[8, 30, 30]", "flatten"] {
        assert!(err.contains(part), "{part}: {err}");
    }
}
