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
}

/// Runs of one class give the same bits and comparable times: same CPU model and core count, same libtorch
/// dispatched alike, same thread count; on a GPU, the same model of that too.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EnvironmentClass(String);

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
            gpu: None,
        }
    }

    pub fn class(&self) -> EnvironmentClass {
        let torch = match &self.torch {
            Some(torch) => {
                format!("libtorch {} {}, {} threads", torch.version, torch.capability, torch.threads)
            }
            None => "no libtorch".to_owned(),
        };
        let gpu = self.gpu.as_ref().map(|gpu| format!(", {}", gpu.name)).unwrap_or_default();
        EnvironmentClass(format!("{} × {}, {torch}{gpu}", self.cores, self.cpu))
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
