//! `pinbench doctor`: can this machine train, and if not, what to do.

mod shared;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use pinbench::data::{self, Name};
use pinbench::experiment::{Experiment, Length};
use pinbench::machine::{Cuda, Environment, Gpu, GpuCounters, Torch};
use pinbench::record::{CheckpointKept, Listing, RunRecord, Store};
use pinbench::text;
use serde::Serialize;

use crate::cmd::args::EXIT_FAILURE;
use crate::cmd::console::{causes, print, print_json};
use crate::cmd::sweep::only_trial;
use crate::cmd::workspace::{Workspace, torch};

/// Check this machine, the data sets and the store, with the next step for what is wrong
///
/// When something does not work, before a long sweep, and for a bug report.
#[derive(Args)]
#[command(after_help = "\
--json prints an array of objects with the keys name, state (ok, warn or fail),
value, and advice (null when ok). The exit code is 1 when training cannot work.")]
pub(crate) struct DoctorArgs {
    /// Read and check every file of every data set and run
    #[arg(long)]
    pub verify: bool,
    /// Remove what killed runs left, and set damaged runs aside
    #[arg(long)]
    pub clean: bool,
    /// What the second process does that tries the store's locks
    #[arg(long, value_name = "FILE", hide = true)]
    pub probe_lock: Option<PathBuf>,
    /// For scripts
    #[arg(long)]
    pub json: bool,
}

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

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
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

pub(crate) fn run(workspace: &Workspace, args: &DoctorArgs) -> Result<ExitCode> {
    if let Some(path) = &args.probe_lock {
        return shared::probe(path);
    }
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    let torch = torch(cores);
    let environment = Environment::capture(&workspace.root, None);
    let mut checks = vec![libtorch(&torch)];
    if matches!(torch, Ok(Some(_))) {
        checks.extend(cuda(cuda_of_libtorch(), Gpu::driver()));
    }
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
            let Torch { version, capability, threads, .. } = torch;
            let threads = text::plural(*threads as usize, "thread");
            Check::ok("libtorch", format!("{version}, {capability}, {threads}"))
        }
        Ok(None) => Check::fail(
            "libtorch",
            "not built in: reports and listings work, training does not",
            "build with libtorch: just build",
        ),
        Err(error) => Check::fail("libtorch", causes(error), "fetch libtorch and build again: just build"),
    }
}

#[cfg(feature = "torch")]
fn cuda_of_libtorch() -> Result<Option<Cuda>, String> {
    pinbench::train::cuda().map_err(|error| error.to_string())
}

#[cfg(not(feature = "torch"))]
fn cuda_of_libtorch() -> Result<Option<Cuda>, String> {
    Ok(None)
}

/// Four facts, of which any can be missing by itself: which flavour is linked, what it sees, the driver, and cuDNN.
/// `found` is `None` for the flavour without CUDA, in which nothing of this is needed.
fn cuda(found: Result<Option<Cuda>, String>, driver: Result<String, String>) -> [Check; 4] {
    const NAMES: [&str; 4] = ["libtorch flavour", "CUDA devices", "NVIDIA driver", "cuDNN"];
    let [flavour, devices, driver_name, cudnn] = NAMES;
    let said = match found {
        Ok(Some(said)) => said,
        Ok(None) => {
            let linked = match &driver {
                Ok(_) => {
                    let advice = "to train on this machine's GPU: just setup cuda, then just build";
                    Check::warn(flavour, "CPU, on a machine with NVIDIA's driver", advice)
                }
                Err(_) => Check::ok(flavour, "CPU"),
            };
            let driver = driver.unwrap_or_else(|reason| format!("absent, and not needed ({reason})"));
            let none = "none in this flavour, and none needed";
            return [
                linked,
                Check::ok(devices, none),
                Check::ok(driver_name, driver),
                Check::ok(cudnn, none),
            ];
        }
        Err(error) => {
            let advice = "the CPU's flavour works without: just setup cpu, then just build";
            return NAMES.map(|name| Check::warn(name, error.clone(), advice));
        }
    };
    let seen = match said.devices {
        0 => Check::warn(
            devices,
            "none is seen",
            "look at nvidia-smi and CUDA_VISIBLE_DEVICES; until one is seen, train with --device cpu",
        ),
        1 => Check::ok(devices, "cuda:0"),
        count => Check::ok(devices, format!("cuda:0 to cuda:{}", count - 1)),
    };
    let driver = match driver {
        Ok(version) => Check::ok(driver_name, version),
        Err(reason) => Check::warn(
            driver_name,
            format!("absent ({reason})"),
            "install NVIDIA's driver, or go back to the CPU's flavour: just setup cpu, then just build",
        ),
    };
    let cudnn = match said.cudnn {
        Some(version) => Check::ok(cudnn, version),
        None => Check::warn(cudnn, "not in this libtorch", "just setup cuda fetches a libtorch with it"),
    };
    [Check::ok(flavour, format!("CUDA {}", said.toolkit)), seen, driver, cudnn]
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
    let mut checks: Vec<Check> = Name::all().into_iter().map(|name| data_set(name, &root, verify)).collect();
    checks.push(free_space("free for data", &root));
    checks
}

fn data_set(name: Name, root: &Path, verify: bool) -> Check {
    let (label, folder) = (format!("data {name}"), data::place(name, root));
    let place = folder.display();
    if !data::is_present(name, root) {
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
        Err(error) if name.published().is_none() => Check::fail(
            &label,
            error.to_string(),
            format!("remove it, and add it anew: pinbench data add {name} FOLDER"),
        ),
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
    checks.push(writable(&workspace.store));
    checks.extend(shared::checks(&workspace.store));
    checks.push(free_space("free for runs", &workspace.store));
    checks
}

/// Writes a file without a name where runs go, or where the store's folder would be made: nobody sees it, and nothing is
/// left. Permissions alone say little: a disk may be mounted read-only, or be full.
fn writable(store: &Path) -> Check {
    const NAME: &str = "runs are written";
    let parts = ["staging", "trials", "locks"].map(|part| store.join(part));
    let folders =
        [existing(store).to_owned()].into_iter().chain(parts.into_iter().filter(|part| part.exists()));
    for folder in folders {
        if let Err(error) = try_to_write(&folder) {
            return Check::fail(
                NAME,
                format!("cannot write in '{}': {error}", folder.display()),
                "make it writable, or name a folder that is: --store DIR, or PINBENCH_STORE",
            );
        }
    }
    Check::ok(NAME, format!("'{}' takes files", existing(store).display()))
}

fn try_to_write(folder: &Path) -> io::Result<()> {
    let mut file = tempfile::tempfile_in(folder)?;
    file.write_all(&[0; 4096])?;
    file.sync_all()
}

/// `path`, or the nearest folder above it that there is.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"))
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
    let within = shared::locks_within(store.path());
    let is_cleaned = args.clean && within.is_none();
    let abandoned = if is_cleaned { store.clean()? } else { store.abandoned()? };
    for run in abandoned {
        let what = format!("{}, left by a process that was killed", run.run);
        checks.push(match &within {
            None if args.clean => Check::ok("abandoned run", format!("removed {what}")),
            None => Check::warn("abandoned run", what, "remove it: pinbench doctor --clean"),
            // A task of another machine would lose what it is writing.
            Some(option) => Check::warn(
                "run on its way",
                format!("{}: a killed process left it, or another machine is at it ('{option}')", run.run),
                format!(
                    "not removed by --clean here; remove '{}' once nothing runs any more",
                    run.path.display()
                ),
            ),
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
    let mut all = store.all_kept()?;
    all.retain(|kept| !kept.key.has_ended(records));
    let mut checks = Vec::new();
    if all.is_empty() {
        return Ok(checks);
    }
    let experiments = workspace.experiments(&[], None).unwrap_or_default();
    let experiments: Vec<Experiment> = experiments.iter().flat_map(Experiment::each).collect();
    for CheckpointKept { key, step } in all {
        if store.holder(&key.trial_id, &key.plan_hash)?.is_some() {
            continue;
        }
        let id = key.trial_id.short();
        let (what, advice) = match only_trial(&experiments, &key.trial_id.to_string()) {
            Ok((experiment, trial)) => {
                let train = &trial.config.train;
                let steps = Length::of(train, trial.config.data.train_images().into()).steps;
                let (profile, seed) = (experiment.profile.name.option(), trial.seed);
                let experiment = &experiment.id;
                (
                    format!("{id}, {experiment}, seed {seed}: {step} of {steps} steps"),
                    format!("goes on with the plan it had: pinbench run {experiment}{profile} --trial {id}"),
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
    let existing = existing(path);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn states(checks: &[Check; 4]) -> [State; 4] {
        checks.each_ref().map(|check| check.state)
    }

    fn gpus(devices: u32) -> Result<Option<Cuda>, String> {
        Ok(Some(Cuda { toolkit: "13.0".to_owned(), cudnn: Some("9.20.0".to_owned()), devices }))
    }

    /// One word stood for all of them: a libtorch with CUDA that saw no GPU was called one with "no CUDA".
    #[test]
    fn flavour_devices_driver_and_cudnn_are_told_apart_and_each_has_its_advice() {
        use State::{Ok as Fine, Warn};
        let absent = || Err("no NVIDIA driver: no such library".to_owned());
        let driver = || Ok("550.54".to_owned());
        let blind = cuda(gpus(0), absent());
        assert_eq!(states(&blind), [Fine, Warn, Warn, Fine]);
        assert_eq!((blind[0].value.as_str(), blind[3].value.as_str()), ("CUDA 13.0", "9.20.0"));
        assert!(blind[1].advice.as_ref().unwrap().contains("CUDA_VISIBLE_DEVICES"));
        assert!(blind[2].advice.as_ref().unwrap().contains("just setup cpu"));
        assert_eq!(states(&cuda(gpus(0), driver())), [Fine, Warn, Fine, Fine]);
        let seeing = cuda(gpus(2), driver());
        assert_eq!(states(&seeing), [Fine; 4]);
        assert_eq!((seeing[1].value.as_str(), seeing[2].value.as_str()), ("cuda:0 to cuda:1", "550.54"));
        assert_eq!(states(&cuda(Ok(None), absent())), [Fine; 4]);
        let unused = cuda(Ok(None), driver());
        assert_eq!(states(&unused), [Warn, Fine, Fine, Fine]);
        assert!(unused[0].advice.as_ref().unwrap().contains("just setup cuda"));
        for check in blind.iter().chain(&seeing).chain(&unused) {
            assert_eq!(check.advice.is_none(), check.state == Fine, "{}", check.name);
        }
    }

    #[test]
    fn the_write_test_makes_no_store_leaves_nothing_and_names_the_folder_it_failed_in() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("of/mine/runs");
        assert!(writable(&store).state == State::Ok);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        // What the kernel refuses whoever asks, as a disk that is mounted read-only does.
        let check = writable(Path::new("/proc/pinbench/runs"));
        assert!(
            check.state == State::Fail && check.value.starts_with("cannot write in '/proc'"),
            "{}",
            check.value
        );
        assert!(check.advice.unwrap().contains("--store DIR"));
    }
}
