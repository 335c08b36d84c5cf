//! The environment of a run, captured once before its first step.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::machine::Gpu;

/// What the machine does not tell is `None` or `unknown`, never a guess.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Environment {
    pub cpu: String,
    pub cores: u32,
    pub memory_bytes: Option<u64>,
    pub kernel: String,
    pub os: String,
    /// Load average of the last minute, before the run added its own.
    #[serde(default, with = "crate::number::optional")]
    pub load_1m: Option<f64>,
    /// The kernel's transparent huge page policy, the word in brackets; empty where there is none.
    pub huge_pages: String,
    pub pinbench: String,
    /// Of the running program, which no version number identifies as well.
    pub binary: Option<Digest>,
    pub rustc: String,
    /// Revision of the folder the program was started in, `-dirty` when it has changes; `None` outside git.
    pub git: Option<String>,
    /// Variables that change how libtorch, glibc, OpenMP or CUDA work, as the run saw them.
    pub variables: BTreeMap<String, String>,
    /// `None` when built without libtorch.
    pub torch: Option<Torch>,
    /// Name of the machine; kept of tasks of a manifest alone, whose machines are many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The device of the plan, where that is a GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Gpu>,
}

/// What libtorch says of itself.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Torch {
    pub version: String,
    /// The instruction set its kernels were dispatched to, such as `AVX2`.
    pub capability: String,
    pub threads: u32,
    /// `at::get_parallel_info()`: versions of OpenMP, MKL and oneDNN and what they were told.
    pub parallel: String,
    pub cuda: bool,
    /// The copy of pinbench's own kernels that the loader chose for this processor, such as `x86-64-v3`; `None` in records
    /// from before it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernels: Option<String>,
}

impl Torch {
    /// The copy of our own kernels, where that is not the one of the instruction set that libtorch uses: the class says
    /// the latter already.
    fn other_kernels(&self) -> Option<&str> {
        let implied = match self.capability.as_str() {
            "AVX512" => "x86-64-v4",
            "AVX2" => "x86-64-v3",
            _ => PORTABLE,
        };
        self.kernels.as_deref().filter(|&chosen| chosen != implied)
    }
}

/// The copy of our own kernels that runs on every processor, as the shim calls it.
const PORTABLE: &str = "portable";

/// Runs of one class give the same bits and comparable times: same CPU model and core count, same libtorch
/// dispatched alike, same thread count; on a GPU, the same model of that too. Where a variable keeps oneDNN or MKL from
/// instructions there are, or our own kernels use others than libtorch, the class says that as well.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EnvironmentClass(String);

/// Variables that choose the code of oneDNN and MKL within one instruction set of libtorch's. `ATEN_CPU_CAPABILITY` is
/// none of them: what it chose is what libtorch says of itself.
const DISPATCH_VARIABLES: [&str; 9] = [
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "ONEDNN_CPU_ISA_HINTS",
    "DNNL_CPU_ISA_HINTS",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "DNNL_DEFAULT_FPMATH_MODE",
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_CBWR",
    "MKL_DEBUG_CPU_TYPE",
];

const VARIABLE_PREFIXES: [&str; 18] = [
    "MALLOC_",
    "GLIBC_TUNABLES",
    "THP_MEM_ALLOC",
    "OMP_",
    "MKL_",
    "KMP_",
    "GOMP_",
    "DNNL_",
    "ONEDNN_",
    "ATEN_",
    "LD_PRELOAD",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "CUDA_LAUNCH_BLOCKING",
    "CUBLAS_",
    "CUDNN_",
    "NVIDIA_TF32_OVERRIDE",
    "PYTORCH_",
];

impl Environment {
    /// Asks the machine; `workspace` is the folder whose git revision is recorded. Of no GPU: which one matters is the
    /// plan's to say, and whoever has that adds it.
    pub fn capture(workspace: &Path, torch: Option<Torch>) -> Self {
        let known = |text: Option<String>| text.unwrap_or_else(|| "unknown".to_owned());
        let ask = sysinfo::RefreshKind::nothing()
            .with_cpu(sysinfo::CpuRefreshKind::nothing())
            .with_memory(sysinfo::MemoryRefreshKind::nothing().with_ram());
        let system = sysinfo::System::new_with_specifics(ask).ok();
        let cpus = system.as_ref().map_or(&[][..], |system| system.cpus());
        Self {
            cpu: known(cpus.first().map(|cpu| cpu.brand().trim().to_owned())),
            cores: cpus.len() as u32,
            memory_bytes: system.as_ref().map(|system| system.total_memory()),
            kernel: known(sysinfo::System::kernel_long_version().ok()),
            os: known(sysinfo::System::long_os_version().ok()),
            load_1m: sysinfo::System::load_average().ok().map(|load| load.one),
            huge_pages: huge_page_policy().unwrap_or_default(),
            pinbench: env!("CARGO_PKG_VERSION").to_owned(),
            binary: std::env::current_exe().and_then(|path| Digest::of_file(&path)).ok(),
            rustc: env!("PINBENCH_RUSTC").to_owned(),
            git: git_revision(workspace),
            variables: variables(),
            torch,
            host: None,
            gpu: None,
        }
    }

    /// The same, saying on which machine.
    pub fn on_this_host(self) -> Self {
        Self { host: sysinfo::System::host_name().ok(), ..self }
    }

    /// The environment of a run of so many threads on the same machine.
    pub fn with_threads(&self, threads: u32) -> Self {
        let torch = self.torch.clone().map(|torch| Torch { threads, ..torch });
        Self { torch, ..self.clone() }
    }

    pub fn class(&self) -> EnvironmentClass {
        let mut class = format!("{} × {}", self.cores, self.cpu);
        match &self.torch {
            Some(Torch { version, capability, threads, .. }) => {
                class += &format!(", libtorch {version} {capability}, {threads} threads");
            }
            None => class += ", no libtorch",
        }
        if let Some(gpu) = &self.gpu {
            class += &format!(", {}", gpu.name);
        }
        if let Some(kernels) = self.torch.as_ref().and_then(Torch::other_kernels) {
            class += &format!(", own kernels {kernels}");
        }
        for (name, value) in self.dispatch() {
            class += &format!(", {name}={value}");
        }
        EnvironmentClass(class)
    }

    /// The variables that choose among kernels, in the order of their names.
    fn dispatch(&self) -> impl Iterator<Item = (&String, &String)> {
        let chooses = |(name, value): &(&String, &String)| {
            DISPATCH_VARIABLES.contains(&name.as_str()) && !value.is_empty()
        };
        self.variables.iter().filter(chooses)
    }
}

impl fmt::Display for EnvironmentClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn huge_page_policy() -> Option<String> {
    let text = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").ok()?;
    Some(text.split('[').nth(1)?.split(']').next()?.to_owned())
}

fn git_revision(workspace: &Path) -> Option<String> {
    let describe = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"];
    let output = Command::new("git").arg("-C").arg(workspace).args(describe).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

fn variables() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .filter(|(name, _)| VARIABLE_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capture_names_this_machine() {
        let environment = Environment::capture(Path::new("."), None);
        assert!(environment.cores >= 1 && environment.memory_bytes > Some(0), "{environment:?}");
        assert!(environment.rustc.starts_with("rustc "), "{}", environment.rustc);
        assert!(environment.class().to_string().ends_with("no libtorch"));
    }

    #[test]
    fn the_class_moves_with_what_changes_bits_and_not_with_what_does_not() {
        let torch = |threads| Torch {
            version: "2.13.0".to_owned(),
            capability: "AVX2".to_owned(),
            threads,
            parallel: String::new(),
            cuda: false,
            kernels: None,
        };
        let environment = Environment::capture(Path::new("."), Some(torch(2)));
        let mut other = environment.clone();
        (other.load_1m, other.git, other.kernel) = (Some(9.0), None, "6.1".to_owned());
        assert_eq!(environment.class(), other.class());
        other.torch = Some(torch(1));
        assert_ne!(environment.class(), other.class());
    }

    /// As runs wrote it before there was a GPU in it.
    const OLD: &str = r#"{
        "cpu": "AMD EPYC", "cores": 2, "memory_bytes": 25276063744, "kernel": "Linux 6.18", "os": "Debian 12",
        "load_1m": 1.55, "huge_pages": "madvise", "pinbench": "0.1.0", "binary": null, "rustc": "rustc 1.95.0",
        "git": null, "variables": { "OMP_NUM_THREADS": "2" },
        "torch": { "version": "2.13.0", "capability": "AVX2", "threads": 2, "parallel": "", "cuda": false }
    }"#;

    #[test]
    fn a_record_from_before_gpus_is_read_has_its_old_class_and_is_written_as_it_was() {
        let environment: Environment = serde_json::from_str(OLD).unwrap();
        assert_eq!(environment.gpu, None);
        assert_eq!(environment.class().to_string(), "2 × AMD EPYC, libtorch 2.13.0 AVX2, 2 threads");
        let old: serde_json::Value = serde_json::from_str(OLD).unwrap();
        assert_eq!(serde_json::to_value(&environment).unwrap(), old);
    }

    fn old() -> Environment {
        serde_json::from_str(OLD).unwrap()
    }

    /// The class named libtorch's instruction set alone: runs whose convolutions were kept to older instructions were of
    /// the class of those that were not, and the gate demanded the same bits of both.
    #[test]
    fn what_keeps_onednn_or_mkl_from_instructions_is_part_of_the_class() {
        let with = |name: &str, value: &str| {
            let mut environment = old();
            environment.variables.insert(name.to_owned(), value.to_owned());
            environment.class().to_string()
        };
        let class = old().class().to_string();
        for name in DISPATCH_VARIABLES {
            assert!(
                VARIABLE_PREFIXES.iter().any(|prefix| name.starts_with(prefix)),
                "{name} is not recorded"
            );
            assert_eq!(with(name, "SSE41"), format!("{class}, {name}=SSE41"));
            assert_eq!(with(name, ""), class);
        }
        // What they choose is in the class already, or is no other code.
        for name in ["ATEN_CPU_CAPABILITY", "OMP_PROC_BIND", "ONEDNN_VERBOSE"] {
            assert_eq!(with(name, "1"), class);
        }
    }

    /// No class said which copy of our own kernels ran, and that copy is not libtorch's to choose.
    #[test]
    fn own_kernels_are_part_of_the_class_where_they_are_not_those_of_libtorchs_instruction_set() {
        let of = |capability: &str, kernels: &str| {
            let mut environment = old();
            let torch = environment.torch.as_mut().unwrap();
            (torch.capability, torch.kernels) = (capability.to_owned(), Some(kernels.to_owned()));
            environment.class().to_string()
        };
        // The classes there were before: of stored runs and baselines.
        assert_eq!(of("AVX2", "x86-64-v3"), "2 × AMD EPYC, libtorch 2.13.0 AVX2, 2 threads");
        assert_eq!(of("AVX512", "x86-64-v4"), "2 × AMD EPYC, libtorch 2.13.0 AVX512, 2 threads");
        assert_eq!(of("DEFAULT", PORTABLE), "2 × AMD EPYC, libtorch 2.13.0 DEFAULT, 2 threads");
        let class = "2 × AMD EPYC, libtorch 2.13.0 AVX2, 2 threads, own kernels x86-64-v4";
        assert_eq!(of("AVX2", "x86-64-v4"), class);
        assert_eq!(
            of("DEFAULT", "x86-64-v3"),
            "2 × AMD EPYC, libtorch 2.13.0 DEFAULT, 2 threads, own kernels x86-64-v3"
        );
    }

    #[test]
    fn runs_on_different_gpus_or_on_none_are_never_of_one_class() {
        let on = |gpu| Environment { gpu, ..serde_json::from_str(OLD).unwrap() };
        let named = |name: &str| Gpu { name: name.to_owned(), ..Gpu::unknown() };
        let large = on(Some(named("Large GPU")));
        let text = large.class().to_string();
        assert_eq!(text, "2 × AMD EPYC, libtorch 2.13.0 AVX2, 2 threads, Large GPU");
        for other in [Some(named("Small GPU")), Some(Gpu::unknown()), None] {
            assert_ne!(large.class(), on(other).class());
        }
        let newer = Gpu { driver: Some("550.54".to_owned()), ..named("Large GPU") };
        assert_eq!(large.class(), on(Some(newer)).class());
        let read: Environment = serde_json::from_str(&serde_json::to_string(&large).unwrap()).unwrap();
        assert_eq!(read, large);
    }
}
