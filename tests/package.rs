//! The program away from its clone: experiments inside it, experiments by their files, and what `just install` and
//! `just package` make. Needs no libtorch, no network and no data set.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const TOML: &str = r#"title = "mine"
why = "a test"
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
batch = 64
epochs = 1

[[factors]]
key = "train.batch"
label = "batch"
levels = [{ value = 64 }, { value = 96 }]

[profiles.smoke]
seeds = [0]
set = { "data.train_limit" = 256 }

[profiles.quick]
seeds = [0, 1]

[profiles.full]
seeds = [0, 1, 2]
"#;

/// Exit code, standard output and standard error, of the program in a folder.
fn pinbench(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    program(Path::new(env!("CARGO_BIN_EXE_pinbench")), folder, arguments)
}

fn program(program: &Path, folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(program);
    command.current_dir(folder).args(arguments).env_remove("PINBENCH_STORE").env("PINBENCH_LOCK_DIR", folder);
    let output = command.env("PINBENCH_DATA", folder.join("data")).output().unwrap();
    said(&output)
}

fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// A folder that is no clone and in none.
fn elsewhere() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn with_experiments(folder: &Path, names: &[&str]) {
    fs::create_dir_all(folder.join("experiments")).unwrap();
    for name in names {
        fs::write(folder.join("experiments").join(name), TOML).unwrap();
    }
}

/// Outside a clone nothing worked: "cannot read the experiments in 'experiments'".
#[test]
fn outside_a_clone_the_experiments_are_those_inside_the_program_and_it_says_so() {
    let folder = elsewhere();
    let (code, out, err) = pinbench(folder.path(), &["list", "m1", "--profile", "smoke"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("m1-batch-size") && err.contains("built into the program"), "{out}{err}");
    let (code, _, err) = pinbench(folder.path(), &["list", "m1", "--quiet"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let (code, _, err) = pinbench(folder.path(), &["list", "m9"]);
    assert!(code == 2 && err.contains("m1-batch-size") && err.contains("built into the program"), "{err}");
}

/// A folder that only has the name, as many have, hid them.
#[test]
fn a_folder_of_that_name_without_an_experiment_does_not_hide_what_is_built_in() {
    let folder = elsewhere();
    fs::create_dir(folder.path().join("experiments")).unwrap();
    fs::write(folder.path().join("experiments/notes.txt"), "").unwrap();
    let (code, out, err) = pinbench(folder.path(), &["list", "m1"]);
    assert!(code == 0 && out.contains("m1-batch-size"), "{err}");
}

/// README: "it runs from anywhere in the clone"; in a folder of it, it did not.
#[test]
fn from_a_folder_below_a_study_its_experiments_and_its_store_are_found() {
    let folder = elsewhere();
    let root = folder.path().canonicalize().unwrap();
    with_experiments(&root, &["mine.toml"]);
    let below = root.join("src/deep");
    fs::create_dir_all(&below).unwrap();
    let (code, out, err) = pinbench(&below, &["list"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("mine") && !out.contains("m1-batch-size"), "{out}");
    assert!(err.contains(&format!("in '{}'", root.join("experiments").display())), "{err}");
    let (_, out, _) = pinbench(&below, &["doctor"]);
    assert!(out.contains(&root.join("runs").display().to_string()), "{out}");
    // In the folder itself nothing is to be said.
    let (code, _, err) = pinbench(&root, &["list"]);
    assert_eq!((code, err.as_str()), (0, ""));
}

/// "unknown experiment 'mine.toml'".
#[test]
fn a_path_stands_for_the_experiment_in_it_wherever_an_id_does() {
    let folder = elsewhere();
    fs::write(folder.path().join("mine.toml"), TOML).unwrap();
    for path in ["mine.toml", "./mine.toml"] {
        let (code, out, err) = pinbench(folder.path(), &["list", path, "--profile", "full"]);
        assert_eq!(code, 0, "{err}");
        assert_eq!(out.lines().filter(|line| line.starts_with("mine ")).count(), 6, "{out}");
    }
    // One experiment by its file, one by its id.
    let (code, out, err) = pinbench(folder.path(), &["list", "mine.toml", "m1"]);
    assert!(code == 0 && out.contains("mine ") && out.contains("m1-batch-size "), "{err}");
    // The same file twice is one experiment.
    let (code, out, err) =
        pinbench(folder.path(), &["list", "mine.toml", "./mine.toml", "--profile", "smoke"]);
    assert!(code == 0 && out.lines().filter(|line| line.starts_with("mine ")).count() == 2, "{out}{err}");
}

#[test]
fn a_path_that_is_no_experiments_file_is_wrong_usage_and_says_what_was_expected() {
    let folder = elsewhere();
    fs::create_dir(folder.path().join("mine")).unwrap();
    fs::write(folder.path().join("bad.toml"), TOML.replace("batch = 64\n", "bacth = 64\n")).unwrap();
    for verb in ["list", "run", "reproduce", "report", "check"] {
        for (path, expected) in [
            ("no.toml", "cannot read the experiment's file 'no.toml': No such file"),
            ("mine/no", "or an id, which `pinbench list` has"),
            ("mine/", "'mine/' is a folder, expected an experiment's file"),
            ("bad.toml", "bad.toml:19:1"),
        ] {
            let (code, out, err) = pinbench(folder.path(), &[verb, path]);
            assert_eq!((code, out.as_str()), (2, ""), "{verb} {path}: {err}");
            assert!(err.contains(expected), "{verb} {path}: {err}");
        }
    }
    assert!(!folder.path().join("runs").exists());
}

/// Both would have the page `mine/index.html`.
#[test]
fn two_files_with_one_stem_are_refused_by_their_names() {
    let folder = elsewhere();
    fs::create_dir(folder.path().join("other")).unwrap();
    for path in ["mine.toml", "other/mine.toml"] {
        fs::write(folder.path().join(path), TOML).unwrap();
    }
    let (code, _, err) = pinbench(folder.path(), &["list", "mine.toml", "other/mine.toml"]);
    assert_eq!(code, 2);
    assert!(err.contains("'mine.toml' and 'other/mine.toml' both have the id 'mine'"), "{err}");
    fs::rename(folder.path().join("mine.toml"), folder.path().join("m1-batch-size.toml")).unwrap();
    let (code, _, err) = pinbench(folder.path(), &["list", "m1-batch-size.toml", "m1-batch"]);
    assert!(code == 2 && err.contains("the one built into the program"), "{err}");
}

/// Without `--experiments` the command on a page ran another experiment, or none.
#[test]
fn commands_on_pages_name_the_file_or_the_folder_that_was_given() {
    let folder = elsewhere();
    with_experiments(folder.path(), &["study.toml"]);
    fs::rename(folder.path().join("experiments"), folder.path().join("my own")).unwrap();
    fs::write(folder.path().join("mine.toml"), TOML).unwrap();
    let page = |arguments: &[&str], page: &str| {
        let (code, _, err) =
            pinbench(folder.path(), &[&["report", "--out", "pages"][..], arguments].concat());
        assert_eq!(code, 0, "{err}");
        fs::read_to_string(folder.path().join("pages").join(page)).unwrap()
    };
    let by_file = page(&["mine.toml"], "mine/index.html");
    assert!(by_file.contains("<code>pinbench reproduce mine.toml --profile quick</code>"));
    // Of what nobody put there and has no run, the index says nothing.
    let index = fs::read_to_string(folder.path().join("pages/index.html")).unwrap();
    // One page alone is run again by its own command.
    assert!(index.contains("<code>pinbench reproduce mine.toml --profile quick</code>"));
    assert!(index.contains("id=\"mine\"") && !index.contains("m1-batch-size"));
    assert!(!index.contains("two notes"), "the study's question is not that of whoever has none of its runs");
    let by_folder = page(&["study", "--experiments", "my own"], "study/index.html");
    let option = "--experiments &#39;my own&#39;";
    assert!(
        by_folder.contains(&format!("<code>pinbench reproduce study {option} --profile quick</code>")),
        "{by_folder}"
    );
    let index = fs::read_to_string(folder.path().join("pages/index.html")).unwrap();
    // The page of the file elsewhere lies there still, and this command would not make it again.
    let both =
        format!("<code>pinbench reproduce {option}\npinbench reproduce mine.toml --profile quick</code>");
    assert!(index.contains(&both) && index.contains("id=\"mine\""), "{index}");
    // An absolute path leads nowhere on the reader's machine: the file lies beside the page.
    let folder_path = folder.path().join("my own");
    let by_path = page(&["study", "--experiments", folder_path.to_str().unwrap()], "study/index.html");
    assert!(by_path.contains("<code>pinbench reproduce study.toml --profile quick</code>"), "{by_path}");
    let index = fs::read_to_string(folder.path().join("pages/index.html")).unwrap();
    assert!(index.contains(&both), "{index}");
    assert!(!index.contains(folder.path().to_str().unwrap()));
}

/// It named `pinbench baseline accept mine`, which would have accepted another file.
#[cfg(feature = "torch")]
#[test]
fn the_gate_names_the_file_or_the_folder_that_was_given() {
    let folder = elsewhere();
    with_experiments(folder.path(), &["mine.toml"]);
    fs::rename(folder.path().join("experiments"), folder.path().join("own")).unwrap();
    for (arguments, command) in [
        (&["own/mine.toml"][..], "`pinbench baseline accept own/mine.toml --profile smoke`"),
        (
            &["mine", "--experiments", "own"],
            "`pinbench baseline accept mine --experiments own --profile smoke`",
        ),
    ] {
        let (code, out, err) =
            pinbench(folder.path(), &[&["check", "--profile", "smoke"][..], arguments].concat());
        assert!(code == 4 && out.contains(command), "{out}{err}");
    }
    // A baseline is looked for beside the file, and the way out of a damaged one names its folder.
    fs::create_dir(folder.path().join("own/baselines")).unwrap();
    let clone = Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments/baselines/m1-batch-size.gate.toml");
    fs::copy(clone, folder.path().join("own/baselines/mine.smoke.toml")).unwrap();
    let (code, out, err) = pinbench(folder.path(), &["check", "own/mine.toml", "--profile", "smoke"]);
    let command = "`pinbench baseline accept m1-batch-size --profile gate --experiments own`";
    assert!(code == 4 && out.contains(command), "{out}{err}");
}

#[test]
fn a_baseline_of_what_is_built_in_has_no_place_and_says_where_it_would_have() {
    let folder = elsewhere();
    let (code, _, err) = pinbench(folder.path(), &["baseline", "accept", "m1", "--profile", "smoke"]);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("`pinbench baseline accept FOLDER/m1-batch-size.toml --profile smoke`"), "{err}");
}

#[test]
fn the_demos_file_is_an_experiment_with_claims_that_are_understood() {
    let clone = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (code, out, err) = pinbench(clone, &["list", "examples/demo.toml", "--store", "/nowhere/runs"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out.lines().filter(|line| line.starts_with("demo ")).count(), 9, "{out}");
}

fn python(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new("python3");
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tools")).args(arguments);
    said(
        &command.env("PYTHONDONTWRITEBYTECODE", "1").output().expect("python3, which `just setup` needs too"),
    )
}

#[test]
fn what_is_installed_runs_from_any_folder_and_has_no_path_of_the_clone() {
    let home = elsewhere();
    let built = env!("CARGO_BIN_EXE_pinbench");
    let prefix = home.path().join(".local");
    let install = ["package.py", "install", "--program", built, "--prefix", prefix.to_str().unwrap()];
    let (code, out, err) = python(&install);
    assert_eq!(code, 0, "{err}");
    let installed = prefix.join("bin/pinbench");
    assert!(out.contains("is not on PATH: add") && out.contains(&installed.display().to_string()), "{out}");
    let folder = elsewhere();
    let (code, out, err) = program(&installed, folder.path(), &["list", "m1"]);
    assert!(code == 0 && out.contains("m1-batch-size"), "{err}");
    let header = Command::new("readelf").arg("-d").arg(&installed).output().unwrap();
    let header = String::from_utf8(header.stdout).unwrap();
    let path = header.lines().find(|line| line.contains("RUNPATH"));
    assert!(path.is_none_or(|path| path.ends_with("[$ORIGIN/lib]")), "{path:?}");
    assert_eq!(path.is_some(), cfg!(feature = "torch"));
    // Again over itself: an update.
    let (code, _, err) = python(&install);
    assert_eq!(code, 0, "{err}");
}

/// A cache that is keyed by content would never be hit.
#[test]
fn a_package_of_the_same_content_has_the_same_bytes() {
    let folder = elsewhere();
    let pack = |name: &str, order: [&str; 2]| {
        let content = folder.path().join(name).join("pinbench");
        fs::create_dir_all(&content).unwrap();
        order.iter().for_each(|file| fs::write(content.join(file), file).unwrap());
        let archive = folder.path().join(format!("{name}.tar.xz"));
        let script = "import package, pathlib, sys; package.pack(*map(pathlib.Path, sys.argv[1:]))";
        let arguments = ["-c", script, content.to_str().unwrap(), archive.to_str().unwrap()];
        let (code, _, err) = python(&arguments);
        assert_eq!(code, 0, "{err}");
        fs::read(archive).unwrap()
    };
    let first = pack("one", ["a", "b"]);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert!(first == pack("two", ["b", "a"]));
}

/// A session with a lent GPU ends when it is told to, and what it learned is written as it comes: here with a processor.
#[test]
fn a_session_with_a_gpu_leaves_out_what_cannot_end_in_time_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let (code, _, err) = python(&["gpu_session.py", "--out", out, "--seconds", "16"]);
    assert_eq!(code, 0, "{err}");
    let table = fs::read_to_string(folder.path().join("session.md")).unwrap();
    assert!(table.contains("| smoke |") && table.contains("| c2 |"), "{table}");
    assert_eq!(table.matches("left out").count(), table.lines().count() - 2, "{table}");
    // What it finds missing on this machine is the doctor's affair.
    let (_, said, err) = python(&["gpu_session.py", "--out", out, "--only", "doctor"]);
    assert!(fs::read_to_string(folder.path().join("doctor.txt")).unwrap().contains("GPU"), "{said}{err}");
    assert!(
        fs::read_to_string(folder.path().join("session.md")).unwrap().contains("| doctor | what is there |")
    );
    let (code, _, err) = python(&["gpu_session.py", "--only", "nothing"]);
    assert!(code == 2 && err.contains("the steps are doctor, tests"), "{err}");
}
