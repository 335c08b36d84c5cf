//! The study's experiments and their baselines, the examples and the studies of slowdowns, inside the program, so that it needs no clone to run them.
//!
//! Listed by hand: a build script that looked for them would have the C++ shim compiled again after every change of a
//! file. A test says what is missing here.

macro_rules! files {
    ($folder:literal: $($stem:literal)*) => { files!($folder, ".toml": $($stem)*) };
    ($folder:literal, $suffix:literal: $($stem:literal)*) => {
        &[$(($stem, include_str!(concat!("../../", $folder, "/", $stem, $suffix)))),*]
    };
}

/// Stem and text of each file, by stem.
pub(super) type Files = &'static [(&'static str, &'static str)];

pub(super) const EXPERIMENTS: Files = files!("experiments":
    "c1-activation-shallow"
    "c2-activation-deep"
    "c3-activation-deep-reduced"
    "c4-input"
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
    "p1-fast-plan"
);

/// What the pages over them lead with.
pub(super) const FRONT: &str = include_str!("../../experiments/index.toml");

/// What single steps of them give.
pub(super) const PROBES: Files = files!("experiments/baselines", ".probes.json":
    "c1-activation-shallow.quick"
    "c2-activation-deep.quick"
    "c3-activation-deep-reduced.quick"
    "c4-input.quick"
    "f1-learning-rate.quick"
    "f2-tanh-relu.quick"
    "f3-dropout-fashion.quick"
    "f4-early-stopping.quick"
    "f5-relu-variants.quick"
    "f6-metrics.quick"
    "f7-augmentation.quick"
    "f8-alexnet.quick"
    "m1-batch-size.quick"
    "m2-activation.quick"
    "m3-dropout.quick"
    "m4-batch-budgets.quick"
    "m5-batch-time.quick"
    "p1-fast-plan.quick"
);

pub(super) const BASELINES: Files = files!("experiments/baselines":
    "c1-activation-shallow.gate"
    "c2-activation-deep.gate"
    "c3-activation-deep-reduced.gate"
    "f1-learning-rate.gate"
    "f2-tanh-relu.gate"
    "f3-dropout-fashion.gate"
    "f4-early-stopping.gate"
    "f5-relu-variants.gate"
    "f6-metrics.gate"
    "f7-augmentation.gate"
    "f8-alexnet.gate"
    "m1-batch-size.gate"
    "m2-activation.gate"
    "m3-dropout.gate"
    "m4-batch-budgets.gate"
    "m5-batch-time.gate"
);

pub(super) const EXAMPLES: Files = files!("examples":
    "demo"
    "lenet-5"
    "mlp"
    "resnet-20"
    "vgg-11"
);

pub(super) const STUDIES: Files = files!("studies":
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
        for (folder, suffix, built_in) in [
            ("experiments", ".toml", EXPERIMENTS),
            ("experiments/baselines", ".toml", BASELINES),
            ("experiments/baselines", ".probes.json", PROBES),
            ("examples", ".toml", EXAMPLES),
            ("studies", ".toml", STUDIES),
        ] {
            let mut committed = BTreeMap::new();
            for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap();
                if let Some(stem) = name.strip_suffix(suffix).filter(|stem| *stem != front::STEM) {
                    committed.insert(stem.to_owned(), fs::read_to_string(&path).unwrap());
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
