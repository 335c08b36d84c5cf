//! The study's experiments and their baselines, the examples and the studies of slowdowns, inside the program, so that it needs no clone to run them.
//!
//! Listed by hand: a build script that looked for them would have the C++ shim compiled again after every change of a
//! file. A test says what is missing here.

macro_rules! files {
    ($folder:literal: $($stem:literal)*) => {
        &[$(($stem, include_str!(concat!("../../", $folder, "/", $stem, ".toml")))),*]
    };
}

/// Stem and text of each file, by stem.
pub type Files = &'static [(&'static str, &'static str)];

pub const EXPERIMENTS: Files = files!("experiments":
    "c1-activation-shallow"
    "c2-activation-deep"
    "c3-activation-deep-reduced"
    "f1-learning-rate"
    "f2-tanh-relu"
    "f3-dropout-fashion"
    "f4-early-stopping"
    "f5-relu-variants"
    "f6-metrics"
    "f7-augmentation"
    "f8-alexnet"
    "m1-batch-size"
    "m2-activation"
    "m3-dropout"
    "m4-batch-budgets"
    "m5-batch-time"
);

/// What the pages over them lead with.
pub const FRONT: &str = include_str!("../../experiments/index.toml");

pub const BASELINES: Files = files!("experiments/baselines":
    "c1-activation-shallow.smoke"
    "m1-batch-size.smoke"
);

pub const EXAMPLES: Files = files!("examples":
    "demo"
    "lenet-5"
    "mlp"
    "resnet-20"
    "vgg-11"
);

pub const STUDIES: Files = files!("studies":
    "batch-size"
    "resnet-vgg"
    "two-threads"
);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    use pinbench::experiment::front::{self, Front};

    use super::*;

    #[test]
    fn the_front_names_every_experiment_and_claims_that_there_are() {
        let front = Front::parse(Path::new("index.toml"), FRONT).unwrap();
        let mut order: Vec<&str> = front.order.iter().map(String::as_str).collect();
        order.sort_unstable();
        assert_eq!(order, EXPERIMENTS.iter().map(|(stem, _)| *stem).collect::<Vec<_>>());
        for finding in front.findings.iter().filter(|finding| !finding.starts_with("explain-")) {
            let id = format!("id = \"{finding}\"");
            assert!(EXPERIMENTS.iter().any(|(_, text)| text.contains(&id)), "{finding}");
        }
    }

    /// An experiment is one file; here it has to be named as well, which nobody would remember.
    #[test]
    fn every_file_of_the_repository_is_built_in() {
        for (folder, built_in) in [
            ("experiments", EXPERIMENTS),
            ("experiments/baselines", BASELINES),
            ("examples", EXAMPLES),
            ("studies", STUDIES),
        ] {
            let mut committed = BTreeMap::new();
            for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
                let path = entry.unwrap().path();
                let is_front = path.file_stem().is_some_and(|stem| stem == front::STEM);
                if !is_front && path.extension().is_some_and(|extension| extension == "toml") {
                    let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
                    committed.insert(stem, fs::read_to_string(&path).unwrap());
                }
            }
            let ours: Vec<(&str, &str)> =
                committed.iter().map(|(stem, text)| (stem.as_str(), text.as_str())).collect();
            let stems = |files: &[(&'static str, &'static str)]| {
                files.iter().map(|(stem, _)| *stem).collect::<Vec<_>>()
            };
            let committed: Vec<&str> = ours.iter().map(|(stem, _)| *stem).collect();
            assert_eq!(stems(built_in), committed, "of '{folder}': src/cmd/built_in.rs");
            assert!(ours == built_in, "a file of '{folder}' was not compiled in as it is");
        }
    }
}
