//! Pages of runs that no test has to train: what they link, what they leave out, and what they say of it.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use common::Workspace;
use pinbench::experiment::plan::{Device, PlanName};
use pinbench::experiment::{Experiment, Plan, Trial};
use pinbench::record::{Rows, RunId, RunRecord, Store};
use pinbench::row::StepRow;

/// With a claim about the time of both batches that an explanation is about.
const TINY: &str = r#"
title = "Two batches"
why = "Is the small one faster?"
default_profile = "quick"

[data]
set = "mnist"
validation = 0.2

[model]
name = "simple_cnn"
activation = "relu"
dropout = 0.5

[optim]
name = "adam"
lr = 0.001

[train]
batch = 128
epochs = 1

[[factors]]
key = "train.batch"
label = "batch"
levels = [{ value = 128, colour = "green" }, { value = 1024, colour = "grey" }]

[profiles.smoke]
seeds = [0]

[profiles.quick]
seeds = [0, 1]

[profiles.full]
seeds = [0, 1, 2]

[[claims]]
id = "T.a"
says = "the small batch is faster"
tests = [{ metric = "train_minutes", order = "1024 > 128", margin = 0.02 }]

[[claims]]
id = "T.b"
says = "the small batch is better"
tests = [{ metric = "val_acc", order = "128 > 1024", margin = 0.01 }]
"#;

/// `tiny`, and `twin` with the same trials under another name.
fn workspace() -> Workspace {
    let workspace = Workspace::new(TINY);
    fs::write(workspace.path().join("experiments/twin.toml"), TINY).unwrap();
    workspace
}

fn trials(workspace: &Workspace, profile: &str) -> Vec<Trial> {
    let experiment = Experiment::load(&workspace.path().join("experiments/tiny.toml")).unwrap();
    experiment.under(&profile.into()).unwrap().profile.trials().map(|(_, trial)| trial).collect()
}

/// Puts a run of `trial` into the store of the workspace, with the rows of the kept run; its folder.
fn seal(workspace: &Workspace, trial: &Trial, plan: PlanName, number: usize) -> PathBuf {
    let kept = Store::open(Path::new("tests/data/store-format-3")).unwrap();
    let kept = kept.load(&kept.records().unwrap().records[0]).unwrap();
    let plan = Plan::named(plan, 1, Device::Cpu);
    let record = RunRecord {
        run: RunId(format!("run-{number}")),
        experiment: "tiny".to_owned(),
        trial_id: trial.id(),
        config_hash: trial.config.hash(),
        trial: trial.clone(),
        plan_hash: plan.hash(),
        plan,
        ..kept.record
    };
    let steps = kept.steps.iter().map(|step| StepRow { images: trial.config.train.batch, ..*step }).collect();
    let rows = Rows { steps, epochs: kept.epochs, ..Rows::default() };
    let store = Store::open(&workspace.path().join("runs")).unwrap();
    let record = store.seal(&record, &rows).unwrap();
    store.run_folder(&record.trial_id, &record.run)
}

fn seal_all(workspace: &Workspace, profile: &str) {
    for (number, trial) in trials(workspace, profile).iter().enumerate() {
        seal(workspace, trial, PlanName::Tuned, number);
    }
}

fn page(workspace: &Workspace, path: &str) -> String {
    fs::read_to_string(workspace.path().join("reports").join(path)).unwrap()
}

/// An explanation as `pinbench explain` leaves it, of which only what others read matters here.
fn explain(workspace: &Workspace, folder: &str, demonstration: &str) {
    let folder = workspace.path().join("reports").join(folder);
    fs::create_dir_all(&folder).unwrap();
    let json = format!(
        r#"{{"format":2,"base":"eager","demonstration":{demonstration},
            "low":{{"name":"small","experiment":"tiny","set":{{"train.batch":128}}}},
            "high":{{"name":"large","experiment":"tiny","set":{{"train.batch":1024}}}},
            "title":"Why it is slow","says":["It costs twice.","Memory is the cause.","All else is not.","And more."]}}"#
    );
    fs::write(folder.join("explanation.json"), json).unwrap();
    fs::write(folder.join("index.html"), "<h1>Why it is slow</h1>").unwrap();
}

fn html_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files = Vec::new();
    for path in entries {
        match path.is_dir() {
            true => files.extend(html_files(&path)),
            false if path.extension().is_some_and(|extension| extension == "html") => files.push(path),
            false => {}
        }
    }
    files
}

fn attribute<'a>(text: &'a str, name: &str) -> BTreeSet<&'a str> {
    let start = format!(" {name}=\"");
    text.split(start.as_str()).skip(1).map(|rest| &rest[..rest.find('"').unwrap()]).collect()
}

/// `folder/../x` as `x`, without asking the disk.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

/// Every link of the pages in `folder` that leads nowhere, as `page → link`, and how many were followed.
fn dead_links(folder: &Path) -> (Vec<String>, usize) {
    let (mut dead, mut followed) = (Vec::new(), 0);
    for page in html_files(folder) {
        let text = fs::read_to_string(&page).unwrap();
        for link in attribute(&text, "href") {
            let (path, anchor) = link.split_once('#').map_or((link, None), |(path, id)| (path, Some(id)));
            let target = match path {
                "" => page.clone(),
                path => plain(&page.parent().unwrap().join(path)),
            };
            let has = |id: &str| attribute(&fs::read_to_string(&target).unwrap(), "id").contains(id);
            let leads = target.starts_with(folder) && target.is_file() && anchor.is_none_or(has);
            followed += 1;
            if !leads {
                dead.push(format!("{} → {link}", page.display()));
            }
        }
    }
    (dead, followed)
}

/// Twenty links of the index and of the open questions led to pages that are not committed.
#[test]
fn every_link_on_a_committed_page_leads_somewhere() {
    let (dead, followed) = dead_links(Path::new("reports"));
    assert!(dead.is_empty(), "{}", dead.join("\n"));
    assert!(followed > 1000, "{followed} links");
}

/// Two pages of studies were linked that git ignored: they lay on one machine alone.
#[test]
fn every_link_of_the_documents_leads_to_a_file_of_the_tree() {
    let folders =
        [".", "docs"].map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    let texts =
        folders.into_iter().flatten().filter(|path| path.extension().is_some_and(|ending| ending == "md"));
    let (mut followed, mut dead) = (0, Vec::new());
    for path in texts {
        let text = fs::read_to_string(&path).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#', ' ']).next());
        for link in links.filter(|link| !link.is_empty() && !link.contains("://")) {
            let target = path.parent().unwrap().join(link);
            followed += 1;
            let is_ignored = || Command::new("git").args(["check-ignore", "-q"]).arg(&target).status();
            // A clean checkout has no ignored files, and an archive of the tree no git.
            if !target.exists() || is_ignored().is_ok_and(|status| status.success()) {
                dead.push(format!("{} → {link}", path.display()));
            }
        }
    }
    assert!(dead.is_empty(), "{}", dead.join("\n"));
    assert!(followed > 50, "{followed} links");
}

/// No page linked the explanation, which answers what they ask.
#[test]
fn every_committed_explanation_is_linked_from_the_index_beside_it() {
    for folder in ["reports/full", "reports/quick"] {
        let index = fs::read_to_string(Path::new(folder).join("index.html")).unwrap();
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = entry.file_name().unwrap().to_string_lossy().into_owned();
            if entry.join("explanation.json").exists() {
                assert!(attribute(&index, "href").contains(format!("{name}/index.html").as_str()), "{name}");
            }
        }
    }
}

/// The index linked the page of every experiment that has runs, also where only one page had been made.
#[test]
fn every_link_on_a_fresh_page_leads_somewhere() {
    let workspace = workspace();
    seal_all(&workspace, "quick");
    explain(&workspace, "explain-it", "null");
    let reports = workspace.path().join("reports");
    let (code, out, err) = workspace.run(&["report", "tiny"]);
    assert_eq!((code, out.as_str()), (0, "reports/tiny/index.html\nreports/index.html\n"), "{err}");
    let (dead, followed) = dead_links(&reports);
    assert!(dead.is_empty() && followed >= 30, "{followed} followed: {}", dead.join("\n"));
    let index = page(&workspace, "index.html");
    // Twin has the same runs and no page: nothing here would prove a number of it.
    assert!(index.contains("tiny/index.html#claim-t-a") && !index.contains("twin/index.html"));
    assert!(index.contains("It has runs; <code>pinbench report twin</code> makes its page."));
    assert!(!index.contains("0 of 4 runs"), "its runs were not read");
    assert_eq!(workspace.run(&["report"]).0, 0);
    let (dead, _) = dead_links(&reports);
    assert!(dead.is_empty(), "{}", dead.join("\n"));
    assert!(page(&workspace, "index.html").contains("twin/index.html#claim-t-a"));
}

/// A reader of the page that says "slower" was not told of the page that says why, nor under which plan it was.
#[test]
fn a_claim_about_times_links_what_explains_them_and_the_head_names_the_plan() {
    let workspace = workspace();
    seal_all(&workspace, "quick");
    assert_eq!(workspace.run(&["report", "tiny"]).0, 0);
    assert!(!page(&workspace, "index.html").contains("Explanations"));
    explain(&workspace, "whatever-it-is-called", "null");
    explain(&workspace, "a-demonstration", r#"{"kind":"aa"}"#);
    assert_eq!(workspace.run(&["report", "tiny"]).0, 0);
    let text = page(&workspace, "tiny/index.html");
    let claim =
        |id: &str| text.split("<article").find(|part| part.contains(&format!("id=\"claim-{id}\""))).unwrap();
    assert!(claim("t-a").contains("href=\"../whatever-it-is-called/index.html\">Why it is slow</a>"));
    assert!(claim("t-a").contains("measured under plan eager, where this page has tuned:"));
    assert!(claim("t-a").contains("<li>All else is not.</li>") && !claim("t-a").contains("And more."));
    assert!(!claim("t-b").contains("whatever-it-is-called"), "it is about no time");
    assert!(!text.contains("a-demonstration"));
    let head = &text[..text.find("</header>").unwrap()];
    assert!(head.contains("<strong>Plan tuned</strong>, 1 thread"), "{head}");
    let index = page(&workspace, "index.html");
    for folder in ["whatever-it-is-called", "a-demonstration"] {
        assert!(index.contains(&format!("href=\"{folder}/index.html\"")));
    }
    fs::write(workspace.path().join("reports/a-demonstration/explanation.json"), "{}").unwrap();
    let (code, _, err) = workspace.run(&["report", "tiny"]);
    assert!(code == 0 && err.contains("a-demonstration/explanation.json' is not linked"), "{err}");
}

/// One run under another plan was newer, and the page was of it alone; that others were left out stood on standard error,
/// twice.
#[test]
fn a_page_is_of_the_plan_with_most_trials_done_and_says_what_it_leaves_out() {
    let workspace = workspace();
    seal_all(&workspace, "quick");
    seal(&workspace, &trials(&workspace, "quick")[0], PlanName::Fused, 9);
    let (_, _, err) = workspace.run(&["report", "tiny"]);
    let said = "1 run of another plan or machine is left out (plan fused: 1)";
    assert_eq!(err.matches(&format!("warning: tiny: {said}; `--plan` chooses the plan")).count(), 1, "{err}");
    let text = page(&workspace, "tiny/index.html");
    assert!(text.contains(said) && text.contains("<strong>Plan tuned</strong>"));
    assert!(page(&workspace, "index.html").contains(said));
    let (_, _, err) = workspace.run(&["report", "tiny", "--plan", "fused"]);
    assert!(err.contains("4 runs of another plan or machine are left out (plan tuned: 4)"), "{err}");
    assert!(page(&workspace, "tiny/index.html").contains("&#39;batch 1024&#39; has no run of seeds 0, 1"));
    // Among equals the newest.
    for (number, trial) in trials(&workspace, "quick").iter().enumerate().skip(1) {
        seal(&workspace, trial, PlanName::Fused, 10 + number);
    }
    workspace.run(&["report", "tiny"]);
    assert!(page(&workspace, "tiny/index.html").contains("<strong>Plan fused</strong>"));
}

/// "'batch 128' has no run of seed 0", said the page of a run with eight bytes flipped; the warning came up to four times.
#[test]
fn a_damaged_run_is_called_damaged_on_the_page_and_warned_of_once() {
    let workspace = workspace();
    let quick = trials(&workspace, "quick");
    let folders: Vec<PathBuf> =
        (0..).zip(&quick).map(|(number, trial)| seal(&workspace, trial, PlanName::Tuned, number)).collect();
    for (folder, file) in [(&folders[0], "steps.parquet"), (&folders[1], "run.json")] {
        let mut bytes = fs::read(folder.join(file)).unwrap();
        bytes[100] ^= 1;
        fs::write(folder.join(file), bytes).unwrap();
    }
    let (code, _, err) = workspace.run(&["report"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(err.matches("steps.parquet' is damaged").count(), 1, "{err}");
    assert_eq!(err.matches("run.json' is damaged").count(), 1, "{err}");
    let text = page(&workspace, "tiny/index.html");
    for said in [
        "&#39;batch 128&#39;, seed 0: its run is damaged (steps.parquet)",
        "&#39;batch 1024&#39;, seed 0: its run is damaged (run.json)",
    ] {
        assert!(text.contains(said), "{said}");
    }
    assert!(!text.contains("has no run of seed") && text.contains(">damaged<"));
}

/// It exited 0 without a word, over pages of "not evaluated".
#[test]
fn a_report_of_no_run_warns_and_is_made() {
    let workspace = workspace();
    let (code, out, err) = workspace.run(&["report", "tiny", "--quiet"]);
    assert_eq!((code, out.as_str()), (0, "reports/tiny/index.html\nreports/index.html\n"));
    assert!(err.contains("warning: there is no run of tiny under the profile 'quick'"), "{err}");
    seal_all(&workspace, "smoke");
    assert!(workspace.run(&["report", "tiny", "--profile", "full"]).2.is_empty(), "one of its seeds has run");
}

/// Runs of two batches were headed by the word for a replay that came out well.
#[test]
fn a_diff_of_two_trials_is_not_graded_as_a_replay() {
    let workspace = workspace();
    seal_all(&workspace, "smoke");
    let (code, out, err) = workspace.run(&["diff", "run-0", "run-1"]);
    assert_eq!(code, 1, "{err}");
    assert_eq!(out.lines().nth(2), Some("of different trials: not a replay"), "{out}");
    assert!(
        !out.contains("equivalent") && !out.contains("expected") && out.contains("trial.config.train.batch"),
        "{out}"
    );
    let (_, json, _) = workspace.run(&["diff", "run-0", "run-1", "--json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["is_replay"], false);
}

/// A folder of experiments has a front: its question, what is found first, and an order. It is no experiment.
#[test]
fn an_index_leads_with_what_its_folder_says() {
    let workspace = workspace();
    seal_all(&workspace, "quick");
    let front = workspace.path().join("experiments/index.toml");
    fs::write(
        &front,
        "title = \"Is small <better>?\"\nwhy = \"A test.\"\norder = [\"twin\", \"tiny\", \"tinny\"]\n",
    )
    .unwrap();
    let (code, _, err) = workspace.run(&["report"]);
    assert!(code == 0 && err.contains("orders 'tinny', and there is no such experiment"), "{err}");
    let index = page(&workspace, "index.html");
    assert!(index.contains("<h1>Is small &lt;better&gt;?</h1>"), "{index}");
    let at = |id: &str| index.find(&format!(" id=\"{id}\">")).unwrap();
    assert!(at("twin") < at("tiny"));
    assert!(!workspace.run(&["list"]).1.contains("index"), "no experiment");
    fs::write(&front, "title = \"Is small better?\"\nwhy = \"A test.\"\nfindigns = []\n").unwrap();
    let (code, _, err) = workspace.run(&["report"]);
    assert!(code == 2 && err.contains("index.toml:3:") && err.contains("findings"), "{code} {err}");
}

/// The Korean pages of a folder stayed, of other numbers than the English ones that were written beside them.
#[test]
fn a_folder_is_in_the_languages_that_were_asked_for_last() {
    let workspace = workspace();
    seal_all(&workspace, "quick");
    let reports = workspace.path().join("reports");
    let korean =
        || html_files(&reports).iter().filter(|page| page.to_string_lossy().ends_with(".ko.html")).count();
    assert_eq!(workspace.run(&["report"]).0, 0);
    assert_eq!((korean(), html_files(&reports).len()), (5, 10));
    // Twin's page is not asked for, and its links would lead nowhere.
    assert_eq!(workspace.run(&["report", "tiny", "--lang", "en"]).0, 0);
    assert_eq!((korean(), html_files(&reports).len()), (0, 5));
    assert_eq!(workspace.run(&["report", "--from", "reports", "--lang", "ko,en"]).0, 0);
    assert_eq!((korean(), html_files(&reports).len()), (5, 10));
    let (code, out, _) = workspace.run(&["report", "--from", "reports", "--lang", "ko"]);
    assert!(code == 0 && out.contains("reports/tiny/index.ko.html"), "{out}");
    assert_eq!((korean(), html_files(&reports).len()), (5, 5));
    let (dead, _) = dead_links(&reports);
    assert!(dead.is_empty(), "{}", dead.join("\n"));
    let (code, _, err) = workspace.run(&["audit", "reports"]);
    assert_eq!(code, 0, "{err}");
}

/// Seed 0 is whole on one machine and seed 1 on another: arms are compared within a seed, so within a machine.
#[test]
fn accuracies_pool_seeds_of_two_machines_and_times_do_not() {
    let workspace = workspace();
    let trials = trials(&workspace, "quick");
    let seeds: BTreeSet<u64> = trials.iter().map(|trial| trial.seed.0).collect();
    assert!(seeds.len() > 1, "{seeds:?}");
    for (number, trial) in trials.iter().enumerate() {
        let folder = seal(&workspace, trial, PlanName::Tuned, number);
        if trial.seed.0 == 0 {
            let path = folder.join("run.json");
            let text = fs::read_to_string(&path).unwrap();
            let mut record: RunRecord = serde_json::from_str(&text).unwrap();
            record.environment.cores = 96;
            record.environment_class = record.environment.class();
            fs::remove_dir_all(&folder).unwrap();
            let store = Store::open(&workspace.path().join("runs")).unwrap();
            let kept = Store::open(Path::new("tests/data/store-format-3")).unwrap();
            let kept = kept.load(&kept.records().unwrap().records[0]).unwrap();
            let rows = Rows { steps: kept.steps, epochs: kept.epochs, ..Rows::default() };
            store.seal(&record, &rows).unwrap();
        }
    }
    let (code, _, err) = workspace.run(&["report", "tiny"]);
    assert_eq!(code, 0, "{err}");
    let page = page(&workspace, "tiny/index.html");
    assert!(page.contains("pool runs of several machines") && page.contains("96 ×"), "{page}");
    assert!(!page.contains("has no run of seed"), "{page}");
    assert!(page.contains("No times:"), "runs of this old store were in no block");
}
