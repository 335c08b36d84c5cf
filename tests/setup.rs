//! Setting up: which libtorch is linked, what the recipes leave behind, and what `doctor` says of it all. Needs no
//! network and no libtorch.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const VERSION: &str = "2.13.0";

/// A checkout with the setup script alone, a cache that holds both flavours whole, and programs that fail where the
/// network is needed.
struct Checkout(tempfile::TempDir);

impl Checkout {
    fn new() -> Self {
        let checkout = Self(tempfile::tempdir().unwrap());
        fs::create_dir(checkout.path("tools")).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/libtorch.py");
        fs::copy(script, checkout.path("tools/libtorch.py")).unwrap();
        for flavour in ["cpu", "cuda"] {
            let root = checkout.flavour(flavour);
            fs::create_dir_all(&root).unwrap();
            fs::write(root.join("build-version"), format!("{VERSION}\n")).unwrap();
        }
        // Stands for the real one, and says what it was asked.
        fs::create_dir(checkout.path("bin")).unwrap();
        fs::write(checkout.path("bin/cargo"), "#!/bin/sh\necho \"$@\" >> cargo.log\nexit ${FAKE_CARGO:-0}\n")
            .unwrap();
        fs::set_permissions(checkout.path("bin/cargo"), fs::Permissions::from_mode(0o755)).unwrap();
        checkout
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn flavour(&self, flavour: &str) -> PathBuf {
        self.path(&format!("cache/pinbench/libtorch-{VERSION}-{flavour}"))
    }

    fn setup(&self, arguments: &[&str], cargo: &str) -> Output {
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("python3");
        command.arg(self.path("tools/libtorch.py")).args(arguments).current_dir(self.0.path());
        command.env_remove("LIBTORCH").env_remove("LIBTORCH_USE_PYTORCH");
        // Where pip is asked all the same, it finds no index.
        command.env("XDG_CACHE_HOME", self.path("cache")).env("PATH", path).env("PIP_NO_INDEX", "1");
        command.env("FAKE_CARGO", cargo).output().unwrap()
    }

    /// The flavour that is linked after a setup that succeeds.
    fn linked_after(&self, arguments: &[&str]) -> String {
        let output = self.setup(arguments, "0");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.linked()
    }

    fn linked(&self) -> String {
        let target = fs::read_link(self.path(".libtorch")).unwrap();
        target.to_str().unwrap().rsplit('-').next().unwrap().to_owned()
    }

    fn asked_of_cargo(&self) -> String {
        fs::read_to_string(self.path("cargo.log")).unwrap_or_default()
    }
}

/// `just build`, `just reproduce` and `just test` set up first, which linked the CPU's libtorch again.
#[test]
fn setup_without_an_argument_keeps_the_flavour_that_is_linked() {
    let checkout = Checkout::new();
    assert_eq!(checkout.linked_after(&[]), "cpu", "at first");
    assert_eq!(checkout.linked_after(&["cuda"]), "cuda");
    assert_eq!(checkout.linked_after(&[]), "cuda");
    // A link that points nowhere is of its flavour too: of a version before, or of a cache that was cleared.
    fs::remove_file(checkout.path(".libtorch")).unwrap();
    symlink(checkout.path("cache/pinbench/libtorch-2.0.0-cuda"), checkout.path(".libtorch")).unwrap();
    assert_eq!(checkout.linked_after(&[]), "cuda");
    assert_eq!(checkout.linked_after(&["cpu"]), "cpu");
    assert_eq!(checkout.linked_after(&[]), "cpu");
}

/// torch-sys looks once at which libraries there are: after a change of flavour cargo took its build for fresh, and
/// linked as before.
#[test]
fn a_change_of_flavour_has_torch_sys_built_again_and_nothing_else_does() {
    let checkout = Checkout::new();
    for same in [&[][..], &[], &["cpu"]] {
        checkout.linked_after(same);
        assert_eq!(checkout.asked_of_cargo(), "");
    }
    checkout.linked_after(&["cuda"]);
    assert_eq!(checkout.asked_of_cargo(), "clean --release -p torch-sys\n");
    // Where that fails the link stays as the build is, so that the same command tries again.
    let failed = checkout.setup(&["cpu"], "101");
    let said = String::from_utf8(failed.stderr).unwrap();
    assert!(!failed.status.success() && said.contains("then run `just setup cpu` again"), "{said}");
    assert_eq!(checkout.linked(), "cuda");
}

/// The last build of it was the one without libtorch, and `target/release/pinbench` trained nothing.
#[test]
fn the_program_that_just_test_leaves_behind_has_libtorch() {
    for recipe in ["test", "test-offline"] {
        let output =
            Command::new("just").args(["--dry-run", recipe]).current_dir(env!("CARGO_MANIFEST_DIR")).output();
        let output = output.expect("these tests are started by just");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stderr).unwrap();
        let last = said.split([';', '&', '\n']).rfind(|command| command.contains("cargo ")).unwrap();
        assert!(last.contains("cargo build --release") && !last.contains("--no-default-features"), "{said}");
    }
}

/// It said "ok" of a store on a disk that was mounted read-only, and the sweep after it failed at once.
#[test]
fn doctor_fails_where_no_run_can_be_written_and_makes_no_store() {
    let folder = tempfile::tempdir().unwrap();
    let look = |store: &str| -> (Value, i32) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pinbench"));
        let output =
            command.current_dir(folder.path()).args(["--store", store, "doctor", "--json"]).output().unwrap();
        let checks: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        let check = checks.into_iter().find(|check| check["name"] == "runs are written");
        (check.expect("a check of whether runs can be written"), output.status.code().unwrap())
    };
    assert_eq!(look("runs").0["state"], "ok");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    // Nobody may make a file there, whoever they are: as on a disk that is mounted read-only.
    let (check, code) = look("/proc/pinbench-runs");
    assert_eq!((&check["state"], code), (&Value::from("fail"), 1), "{check}");
    assert!(check["advice"].as_str().unwrap().contains("--store DIR"), "{check}");
}
