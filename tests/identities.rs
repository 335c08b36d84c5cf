//! What the built-in experiments ask for is what it always was: stored runs, baselines and pages are found by it.
//!
//! `tests/data/identities.tsv` was written from the tree in which these ids were first published. A line is only ever added,
//! but where an experiment asks for something else on purpose: M4's arms at an equal loss and at equal
//! updates did.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use pinbench::digest::Digest;
use pinbench::experiment::Experiment;

const PINNED: &str = include_str!("data/identities.tsv");

/// Experiment and profile; of its first trial the id and the config's hash; how many trials it has; the SHA-256 of all
/// their ids, one a line, in the order in which they run.
fn line(experiment: &Experiment, profile: &str) -> String {
    let trials: Vec<_> =
        experiment.under(&profile.into()).unwrap().profile.trials().map(|(_, trial)| trial).collect();
    let ids: String = trials.iter().map(|trial| format!("{}\n", trial.id())).collect();
    let (first, config) = (trials[0].id(), trials[0].config.hash());
    let all = Digest::of(ids.as_bytes());
    format!("{}\t{profile}\t{first}\t{config}\t{}\t{all}", experiment.id, trials.len())
}

#[test]
fn no_trial_of_a_built_in_experiments_full_or_smoke_profile_changes_its_id() {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments")).unwrap() {
        let path = entry.unwrap().path();
        let is_front = path.file_stem().is_some_and(|stem| stem == "index");
        if !is_front && path.extension().is_some_and(|extension| extension == "toml") {
            let experiment = Experiment::load(&path).unwrap();
            for profile in ["smoke", "full"] {
                found.insert((experiment.id.clone(), profile.to_string()), line(&experiment, profile));
            }
        }
    }
    let pinned: Vec<&str> = PINNED.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(pinned.len(), 32);
    for pinned in pinned {
        let mut cells = pinned.split('\t').map(str::to_owned);
        let key = (cells.next().unwrap(), cells.next().unwrap());
        assert_eq!(found.get(&key).map(String::as_str), Some(pinned), "{key:?}");
    }
}
