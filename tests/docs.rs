//! The pages for whoever uses pinbench for the first time: every command on them does what the page says of it.
#![cfg(feature = "torch")]

mod common;

use std::fs;

use common::{Workspace, blocks, fenced};
use serde_json::Value;

/// Not looked at: the pages bring their own.
const EXPERIMENT: &str = r#"
title = "tiny"
data = { set = "mnist", validation = 0.2, train_limit = 256, eval_limit = 64 }
model = { name = "simple_cnn" }
optim = { name = "adam", lr = 0.001 }
train = { batch = 64, epochs = 1 }
"#;

/// What a line of a page prints, on both streams.
fn says(workspace: &Workspace, line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[0], "pinbench", "{line}");
    let (code, out, err) = workspace.run(&words[1..]);
    assert_eq!(code, 0, "{line}: {err}");
    format!("{out}{err}")
}

#[test]
fn a_first_study_goes_as_its_page_says_and_every_number_it_gives_is_on_the_page_of_columns() {
    let workspace = Workspace::new(EXPERIMENT);
    let study = workspace.path().join("study.toml");
    let mut said = Vec::new();
    for (language, block) in fenced(include_str!("../docs/first-study.md")) {
        match language {
            "sh" => said.extend(block.lines().map(|line| (line, says(&workspace, line)))),
            "toml" => {
                let text = fs::read_to_string(&study).unwrap();
                let (start, end) = (text.find("[[factors]]").unwrap(), text.find("# Sentences").unwrap());
                fs::write(&study, [&text[..start], block, "\n", &text[end..]].concat()).unwrap();
            }
            other => panic!("a block of '{other}'"),
        }
    }
    let expected =
        ["study.toml", "6 trials", "6 of 6 runs finished", "study/index.html", "3 due", "3 of 3 runs"];
    for ((line, said), expected) in said.iter().zip(expected) {
        assert!(said.contains(expected), "{line}: {said}");
    }
    assert_eq!(said.len(), expected.len() + 1);
    let page = fs::read_to_string(workspace.path().join("reports/study/index.html")).unwrap();
    assert!(page.contains("a little"), "the new arm");
    offers_only_what_is_described(&workspace);
}

/// Every column and key of the files of a page, by its name.
fn offers_only_what_is_described(workspace: &Workspace) {
    let columns = include_str!("../docs/columns.md");
    let reports = workspace.path().join("reports");
    let header = |file: &str| {
        let text = fs::read_to_string(reports.join(file)).unwrap();
        text.lines().next().unwrap().split(',').map(str::to_owned).collect::<Vec<_>>()
    };
    let mut names =
        ["study/epochs.csv", "study/diagnostics.csv", "study/values.csv", "study/results.csv", "claims.csv"]
            .map(header)
            .concat();
    let records = fs::read_to_string(reports.join("study/runs.json")).unwrap();
    let records: Vec<Value> = serde_json::from_str(&records).unwrap();
    assert_eq!(records.len(), 9);
    for (outer, value) in records[0].as_object().unwrap() {
        match (outer.as_str(), value) {
            // These have keys of their own that the page sends a reader to.
            ("trial" | "plan" | "status" | "files", _) | (_, Value::String(_) | Value::Number(_)) => {
                names.push(outer.clone());
            }
            (_, Value::Object(inner)) => names.extend(inner.keys().map(|key| format!("{outer}.{key}"))),
            (_, other) => panic!("{outer} is {other}"),
        }
    }
    for name in names {
        let is_there = [format!("`{name}`"), format!("`{name}.")].iter().any(|form| columns.contains(form));
        assert!(is_there, "{name}");
    }
    for file in fs::read_dir(reports.join("study")).unwrap().map(|file| file.unwrap().file_name()) {
        let file = file.to_str().unwrap().to_owned();
        let file = file.replace("study.toml", "EXPERIMENT.toml");
        let is_page = file.ends_with(".html");
        assert!(is_page || columns.contains(&format!("`{file}`")), "{file}");
    }
}

#[test]
fn the_page_on_verdicts_shows_the_demos_claim_and_says_what_becomes_of_it() {
    let text = include_str!("../docs/reading-a-verdict.md");
    let workspace = Workspace::with_examples(EXPERIMENT);
    let demo = fs::read_to_string(workspace.path().join("examples/demo.toml")).unwrap();
    assert!(blocks(text, "toml").iter().all(|block| demo.contains(block)), "the claim as it is");
    let lines: Vec<&str> = blocks(text, "sh").into_iter().flat_map(str::lines).collect();
    let [quick, smoke, words] = lines[..] else { panic!("{lines:?}") };
    let verdicts = || {
        let claims = fs::read_to_string(workspace.path().join("reports/claims.csv")).unwrap();
        claims.lines().filter(|line| line.starts_with("demo,")).map(str::to_owned).collect::<Vec<_>>()
    };
    says(&workspace, quick);
    assert!(verdicts()[0].contains("demo.a") && verdicts()[0].contains(",supported,"), "{:?}", verdicts());
    says(&workspace, smoke);
    assert_eq!(verdicts().len(), 2);
    assert!(verdicts().iter().all(|line| line.contains(",inconclusive,")), "{:?}", verdicts());
    let words = says(&workspace, words);
    for verdict in ["holds", "cannot be told"] {
        assert!(words.contains(verdict) && text.contains(&format!("**{verdict}**")), "{verdict}");
    }
}

#[test]
fn help_columns_is_the_page_of_the_documents() {
    let (code, out, _) = Workspace::new(EXPERIMENT).run(&["help", "columns"]);
    assert_eq!((code, out.as_str()), (0, include_str!("../docs/columns.md")));
}
