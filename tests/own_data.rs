//! A data set that is not of this project, from a folder of pictures to a page: the handwritten digits of the PyPI package
//! scikit-learn. Needs the network once; the package stays beside cargo's other things.
#![cfg(feature = "torch")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Workspace, blocks};

const EXPERIMENT: &str = r#"
title = "digits: which rate of learning"
why = "a test"
data = { set = "digits", validation = 0.2 }
model = { name = "simple_cnn", activation = "relu", dropout = 0.2 }
optim = { name = "adam", lr = 0.001 }
train = { batch = 32, epochs = 3 }

[[factors]]
key = "optim.lr"
label = "lr"
levels = [{ value = 0.001 }, { value = 0.0001 }]

[profiles]
smoke = { seeds = [0] }
quick = { seeds = [0, 1] }
full = { seeds = [0, 1] }

[[claims]]
id = "a"
says = "A tenth of the rate learns less in as many epochs."
tests = [{ metric = "val_acc", order = "0.001 > 0.0001", margin = 0.05 }]
"#;

/// The class folders, made anew for each test.
fn digits(home: &Path) -> PathBuf {
    let packages = Path::new(env!("CARGO_TARGET_TMPDIR")).join("digits.packages");
    fs::create_dir_all(&packages).unwrap();
    std::os::unix::fs::symlink(&packages, home.join("digits.packages")).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/digits.py");
    let output = Command::new("python3").arg(script).arg(home.join("digits")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    home.join("digits")
}

/// The workspace's program with a data cache of its own.
fn run(workspace: &Workspace, arguments: &[&str]) -> (i32, String, String) {
    let mut command = workspace.pinbench(arguments);
    let output = command.env("PINBENCH_DATA", workspace.path().join("data")).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_folder_of_pictures_becomes_a_page() {
    let workspace = Workspace::new(EXPERIMENT);
    let (code, _, err) = run(&workspace, &["list", "tiny", "--profile", "quick"]);
    assert_eq!(code, 2, "{err}");
    assert!(
        err.contains("unknown data set `digits`") && err.contains("pinbench data add NAME FOLDER"),
        "{err}"
    );

    let folder = digits(workspace.path());
    let (code, out, err) = run(&workspace, &["data", "add", "digits", folder.to_str().unwrap()]);
    assert_eq!(code, 0, "{err}");
    let counts: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        (counts[0].as_slice(), counts[1].as_slice()),
        (&["class", "train", "test"][..], &["0", "160", "18"][..])
    );
    assert_eq!(counts[11], ["all", "1,618", "179"]);
    assert!(out.contains("digits: added, 8×8, digest "), "{out}");
    let (_, listed, _) = run(&workspace, &["data", "list"]);
    let line = listed.lines().find(|line| line.starts_with("digits ")).expect("the set is listed");
    assert!(line.contains("present") && line.contains("1,618 + 179") && line.contains("8×8"), "{line}");
    let (code, out, err) = run(&workspace, &["data", "verify", "digits"]);
    assert!(code == 0 && out.starts_with("digits: verified"), "{out}{err}");

    let (code, out, err) = run(&workspace, &["reproduce", "tiny", "--profile", "quick", "--threads", "1"]);
    assert_eq!(code, 0, "{err}");
    let page = fs::read_to_string(workspace.path().join(out.lines().next().unwrap())).unwrap();
    assert!(page.contains("digits") && page.contains("Confusion matrix"), "the page is of the set");
    // Three epochs teach it most of the digits: labels and pictures belong together.
    let said = format!("{out}{err}");
    let best =
        said.split_once("Highest validation accuracy: ").and_then(|(_, rest)| rest.split_once(" with "));
    let best: f64 =
        best.expect("what the page says first").1.split_whitespace().next().unwrap().parse().unwrap();
    assert!(best > 0.8, "{said}");
}

/// What whoever has the pictures hands on, whoever has not can train on, and both train the same trials.
#[test]
fn a_set_that_is_handed_on_has_the_same_trials() {
    let (here, there) = (Workspace::new(EXPERIMENT), Workspace::new(EXPERIMENT));
    let folder = digits(here.path());
    assert_eq!(run(&here, &["data", "add", "digits", folder.to_str().unwrap()]).0, 0);
    let file = here.path().join("data/digits.pin");
    let (code, _, err) = run(&there, &["data", "add", "digits", file.to_str().unwrap()]);
    assert_eq!(code, 0, "{err}");
    let trials = |workspace| run(workspace, &["list", "tiny", "--profile", "full", "--json"]).1;
    assert_eq!(trials(&here), trials(&there));
    assert!(trials(&here).contains("trial_id"));
    // A bit that fell over on the way is named before anything is trained.
    let mut bytes = fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(there.path().join("data/digits.pin"), bytes).unwrap();
    let (code, _, err) = run(&there, &["data", "verify", "digits"]);
    assert!(code == 1 && err.contains("has content with SHA-256"), "{err}");
}

/// Two of the digits as the pets of `docs/your-data.md`, and as arrays.
fn as_in_the_docs(workspace: &Workspace) {
    let folder = digits(workspace.path());
    for (class, digit) in [("cat", "0"), ("dog", "1")] {
        let mut files: Vec<PathBuf> =
            fs::read_dir(folder.join(digit)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for (index, file) in files.iter().enumerate() {
            let part = if index % 5 == 0 { "test" } else { "train" };
            let class = workspace.path().join("pets").join(part).join(class);
            fs::create_dir_all(&class).unwrap();
            fs::copy(file, class.join(format!("{index:04}.png"))).unwrap();
        }
    }
    let npy = |dims: &str, values: Vec<u8>| {
        let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {dims}, }}\n");
        [&b"\x93NUMPY\x01\0"[..], &(header.len() as u16).to_le_bytes(), header.as_bytes(), &values].concat()
    };
    fs::create_dir(workspace.path().join("arrays")).unwrap();
    let write = |file: &str, bytes| fs::write(workspace.path().join("arrays").join(file), bytes).unwrap();
    write("images.npy", npy("(8, 3, 4)", (0..96).collect()));
    write("labels.npy", npy("(8,)", vec![0, 1, 0, 1, 0, 1, 0, 1]));
}

#[test]
fn every_command_of_the_page_on_data_does_what_it_says() {
    let text = include_str!("../docs/your-data.md");
    let workspace = Workspace::new(EXPERIMENT);
    as_in_the_docs(&workspace);
    let [experiment] = blocks(text, "toml")[..] else { panic!("one experiment") };
    fs::write(workspace.path().join("pets.toml"), experiment).unwrap();
    let commands: Vec<&str> = blocks(text, "sh").into_iter().flat_map(str::lines).collect();
    assert!(commands.len() >= 6, "{commands:?}");
    for command in commands {
        let words: Vec<&str> = command.split_whitespace().collect();
        assert_eq!(words[0], "pinbench", "{command}");
        let (code, out, err) = run(&workspace, &words[1..]);
        assert_eq!(code, 0, "{command}: {err}");
        assert!(!out.is_empty(), "{command}");
        let made = workspace.path().join("data/pets.pin");
        if made.exists() {
            fs::copy(made, workspace.path().join("pets.pin")).unwrap();
        }
    }
}
