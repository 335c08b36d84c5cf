//! `pinbench doctor`: can this machine train, and if not, what to do.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use pinbench::data::{self, Name};
use pinbench::experiment::Length;
use pinbench::machine::{Environment, Gpu, GpuCounters, Torch};
use pinbench::record::{CheckpointKept, Listing, RunRecord, Status, Store};
use pinbench::text;
use serde::Serialize;

use crate::cli::DoctorArgs;
use crate::cmd::console::{causes, print, print_json};
use crate::cmd::sweep::trial_of_any_profile;
use crate::cmd::workspace::torch;
use crate::cmd::{EXIT_FAILURE, Workspace};

/// A sweep's needs, with a margin.
const FREE_BYTES: u64 = 1 << 30;
/// SimpleCNN at the largest batch takes less than half of it.
const MEMORY_BYTES: u64 = 2 << 30;

/// Documented in the help of `doctor`; keys are added, never changed.
#[derive(Serialize)]
struct Check {
    name: String,
    state: State,
    value: String,
    /// The next step.
    advice: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warn,
    Fail,
}

impl Check {
    fn ok(name: &str, value: impl Into<String>) -> Self {
        Self { name: name.to_owned(), state: State::Ok, value: value.into(), advice: None }
    }

    fn warn(name: &str, value: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { state: State::Warn, advice: Some(advice.into()), ..Self::ok(name, value) }
    }

    fn fail(name: &str, value: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { state: State::Fail, ..Self::warn(name, value, advice) }
    }
}

pub fn run(workspace: &Workspace, args: &DoctorArgs) -> Result<ExitCode> {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    let torch = torch(cores);
    let environment = Environment::capture(&workspace.root, None);
    let mut checks = vec![libtorch(&torch)];
    checks.extend(machine(&environment));
    checks.extend(data_sets(args.verify));
    checks.extend(store(workspace, args));
    if args.json {
        print_json(&checks)?;
    } else {
        print_lines(&checks)?;
    }
    let fails = checks.iter().any(|check| check.state == State::Fail);
    Ok(if fails { ExitCode::from(EXIT_FAILURE) } else { ExitCode::SUCCESS })
}

fn print_lines(checks: &[Check]) -> Result<()> {
    let width = checks.iter().map(|check| check.name.chars().count()).max().unwrap_or_default();
    for Check { name, state, value, advice } in checks {
        let state = match state {
            State::Ok => "ok",
            State::Warn => "warn",
            State::Fail => "FAIL",
        };
        print(&format!("{state:<4}  {name:<width$}  {value}"))?;
        if let Some(advice) = advice {
            print(&format!("{:<indent$}→ {advice}", "", indent = width + 8))?;
        }
    }
    Ok(())
}

fn libtorch(torch: &Result<Option<Torch>>) -> Check {
    match torch {
        Ok(Some(torch)) => {
            let cuda = if torch.cuda { "CUDA" } else { "no CUDA" };
            let Torch { version, capability, threads, .. } = torch;
            Check::ok(
                "libtorch",
                format!("{version}, {capability}, {}, {cuda}", text::plural(*threads as usize, "thread")),
            )
        }
        Ok(None) => Check::fail(
            "libtorch",
            "not built in: reports and listings work, training does not",
            "build with the default features: cargo build --release",
        ),
        Err(error) => {
            Check::fail("libtorch", causes(error), "install libtorch with tools/libtorch.py and build again")
        }
    }
}

fn machine(environment: &Environment) -> Vec<Check> {
    vec![
        Check::ok("processor", environment.cpu.clone()),
        Check::ok("cores", environment.cores.to_string()),
        memory(environment.memory_bytes),
        gpu(),
        Check::ok("kernel", format!("{}, {}", environment.kernel, environment.os)),
        huge_pages(&environment.huge_pages),
        libc_version(),
        load(environment),
        variables(environment),
    ]
}

fn memory(bytes: Option<u64>) -> Check {
    match bytes {
        Some(bytes) if bytes < MEMORY_BYTES => Check::warn(
            "memory",
            text::bytes(bytes),
            "large batches may be killed; run them on a machine with 2 GiB or more",
        ),
        Some(bytes) => Check::ok("memory", text::bytes(bytes)),
        None => Check::warn("memory", "unknown", "make sure that there are 2 GiB"),
    }
}

/// The first that CUDA shows. None is no failure: everything trains on the processor.
fn gpu() -> Check {
    let gpu = match Gpu::of(0) {
        Ok(gpu) => gpu,
        Err(reason) => return Check::ok("GPU", format!("absent, and not needed ({reason})")),
    };
    let counts = GpuCounters::open(0).read().into_iter().map(|counter| match counter.count {
        Ok(amount) => format!("{} {amount}", counter.name),
        Err(reason) => format!("{} absent ({reason})", counter.name),
    });
    Check::ok("GPU", format!("{gpu}; {}", counts.collect::<Vec<_>>().join(", ")))
}

fn huge_pages(policy: &str) -> Check {
    match policy {
        "madvise" | "always" => Check::ok("huge pages", policy),
        other => Check::warn(
            "huge pages",
            if other.is_empty() { "no such policy on this system" } else { other },
            "the tuned plan is slower without; as root: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
        ),
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn libc_version() -> Check {
    // SAFETY: returns a NUL-terminated string that lives as long as the process (gnu_get_libc_version(3)).
    let version = unsafe { std::ffi::CStr::from_ptr(libc::gnu_get_libc_version()) };
    Check::ok("C library", format!("glibc {}", version.to_string_lossy()))
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn libc_version() -> Check {
    Check::warn(
        "C library",
        "not glibc",
        "the tuned plan's allocator settings have no effect here; times are slower",
    )
}

fn load(environment: &Environment) -> Check {
    match environment.load_1m {
        Some(load) if load > 0.5 * f64::from(environment.cores.max(1)) => Check::warn(
            "load",
            text::fixed(load, 2),
            "other programs are busy; times measured now are doubtful, so wait or stop them",
        ),
        Some(load) => Check::ok("load", text::fixed(load, 2)),
        None => Check::ok("load", "unknown"),
    }
}

fn variables(environment: &Environment) -> Check {
    let set: Vec<String> =
        environment.variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if set.is_empty() {
        return Check::ok("variables", "none set that changes how libtorch works");
    }
    Check::warn(
        "variables",
        set.join(" "),
        "a plan overrides some of these and a run records all; unset them unless you mean it",
    )
}

fn data_sets(verify: bool) -> Vec<Check> {
    let root = match data::root() {
        Ok(root) => root,
        Err(error) => return vec![Check::fail("data", "no place for data sets", error.to_string())],
    };
    let mut checks: Vec<Check> = Name::ALL.into_iter().map(|name| data_set(name, &root, verify)).collect();
    checks.push(free_space("free for data", &root));
    checks
}

fn data_set(name: Name, root: &Path, verify: bool) -> Check {
    let (label, folder) = (format!("data {name}"), root.join(name.as_str()));
    let place = folder.display();
    if !folder.exists() {
        return Check::warn(
            &label,
            format!("not in '{place}'"),
            format!("is fetched when it is needed, or now: pinbench data fetch {name}"),
        );
    }
    if !verify {
        return Check::ok(&label, format!("{place}, not verified"));
    }
    match data::load(name, root) {
        Ok(_) => Check::ok(&label, format!("{place}, verified")),
        Err(error) => Check::fail(&label, error.to_string(), format!("pinbench data fetch {name}")),
    }
}

fn store(workspace: &Workspace, args: &DoctorArgs) -> Vec<Check> {
    let place = workspace.store.display();
    let mut checks = match workspace.existing_store() {
        Ok(None) => vec![Check::ok("store", format!("'{place}', made by the first run"))],
        Ok(Some(store)) => inspect(workspace, &store, args)
            .unwrap_or_else(|error| vec![Check::fail("store", format!("'{place}'"), causes(&error))]),
        Err(error) => vec![Check::fail("store", format!("'{place}'"), causes(&error))],
    };
    checks.push(free_space("free for runs", &workspace.store));
    checks
}

fn inspect(workspace: &Workspace, store: &Store, args: &DoctorArgs) -> Result<Vec<Check>> {
    let Listing { records, mut problems } = store.records()?;
    if args.verify || args.clean {
        problems.extend(records.iter().filter_map(|record| store.check(record).err()));
    }
    let place = store.path().display();
    let mut checks = vec![Check::ok("store", format!("'{place}', {}", text::plural(records.len(), "run")))];
    for problem in &problems {
        if args.clean && problem.fault.is_damage() {
            let moved = store.set_aside(problem)?;
            checks.push(Check::ok("damaged run", format!("set aside as '{}'", moved.display())));
        } else {
            let advice = "set aside and trained again by `run` or `reproduce` of its experiment; set aside alone: pinbench doctor --clean";
            checks.push(Check::warn("damaged run", problem.to_string(), advice));
        }
    }
    let abandoned = if args.clean { store.clean()? } else { store.abandoned()? };
    for run in abandoned {
        let what = format!("{}, left by a process that was killed", run.run);
        checks.push(if args.clean {
            Check::ok("abandoned run", format!("removed {what}"))
        } else {
            Check::warn("abandoned run", what, "remove it: pinbench doctor --clean")
        });
    }
    if args.clean {
        let removed = store.clean_checkpoints(&records)?;
        if removed > 0 {
            let what = format!("removed {}, of runs that have ended", text::plural(removed, "checkpoint"));
            checks.push(Check::ok("checkpoints", what));
        }
    }
    checks.extend(interrupted(workspace, store, &records)?);
    Ok(checks)
}

/// Runs that were stopped and kept how far they had come.
fn interrupted(workspace: &Workspace, store: &Store, records: &[RunRecord]) -> Result<Vec<Check>> {
    let has_ended = |kept: &CheckpointKept| {
        let is_of = |record: &RunRecord| {
            (record.trial_id, record.plan_hash) == (kept.key.trial_id, kept.key.plan_hash)
                && !matches!(record.status, Status::Failed { .. })
        };
        records.iter().any(is_of)
    };
    let mut all = store.all_kept()?;
    all.retain(|kept| !has_ended(kept));
    let mut checks = Vec::new();
    if all.is_empty() {
        return Ok(checks);
    }
    let experiments = workspace.experiments(&[]).unwrap_or_default();
    for CheckpointKept { key, step } in all {
        if store.holder(&key.trial_id, &key.plan_hash)?.is_some() {
            continue;
        }
        let id = key.trial_id.short();
        let (what, advice) = match trial_of_any_profile(&experiments, &key.trial_id.to_string()) {
            Ok((experiment, profile, trial)) => {
                let train = &trial.config.train;
                let steps = Length::of(train, trial.config.data.train_images().into()).steps;
                let (experiment, seed) = (&experiment.id, trial.seed);
                (
                    format!("{id}, {experiment}, seed {seed}: {step} of {steps} steps"),
                    format!(
                        "goes on with the plan it had: pinbench run {experiment} --profile {profile} --trial {id}"
                    ),
                )
            }
            Err(_) => (
                format!("{id}: {step} steps"),
                "none of the experiments here has this trial; it may be left where it is".to_owned(),
            ),
        };
        checks.push(Check::warn("interrupted run", what, advice));
    }
    Ok(checks)
}

/// Of the file system that `path` is on, or will be.
fn free_space(name: &str, path: &Path) -> Check {
    let existing = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    match free_bytes(existing) {
        Some(free) if free < FREE_BYTES => Check::warn(
            name,
            format!("{} at '{}'", text::bytes(free), existing.display()),
            "free some: a data set takes up to 400 MiB while it is fetched, a run a few hundred KiB",
        ),
        Some(free) => Check::ok(name, format!("{} at '{}'", text::bytes(free), existing.display())),
        None => Check::warn(name, "unknown", "make sure that there is 1 GiB"),
    }
}

fn free_bytes(path: &Path) -> Option<u64> {
    use std::os::unix::ffi::OsStrExt as _;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: statvfs is plain integers, for which zero is a value; the call reads a NUL-terminated path and writes the
    // one struct it is given (statvfs(3)).
    let (code, raw) = unsafe {
        let mut raw: libc::statvfs = std::mem::zeroed();
        (libc::statvfs(path.as_ptr(), &mut raw), raw)
    };
    // The types differ between systems.
    #[allow(clippy::unnecessary_cast)]
    let bytes = raw.f_bavail as u64 * raw.f_frsize as u64;
    (code == 0).then_some(bytes)
}
