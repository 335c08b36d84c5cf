//! The plan: *how* a trial is executed. It changes time and, at the level of rounding, bits; never the question.

mod change;
mod effective;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use change::{ConvolutionName, LoaderName, PlanAsked, PlanChange, bare};
pub use effective::{Effective, EffectiveLayer, Fallback, Normalised, OwnOperator, Pass};

/// Every knob is spelled out, so that a record says what ran even after a named plan has changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    pub name: PlanName,
    pub device: Device,
    /// Of libtorch's intra-operator pool.
    pub threads: u32,
    pub memory_format: MemoryFormat,
    pub allocator: Allocator,
    /// Ask the kernel for 2 MiB pages behind tensors of that size.
    pub huge_pages: bool,
    pub pooling: Pooling,
    pub optimizer: OptimizerForm,
    pub loader: Loader,
    #[serde(default, skip_serializing_if = "is_default")]
    pub kernels: Kernels,
    #[serde(default, skip_serializing_if = "is_default")]
    pub convolution: Convolution,
    /// Convolutions on a GPU round their factors to TF32, whose fraction has 10 bits instead of 23: PyTorch's default.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tf32: bool,
    /// A step on a GPU is recorded once as CUDA graphs and launched from then on: the same bits without a launch an operator.
    #[serde(default, skip_serializing_if = "is_default")]
    pub graph: bool,
}

named! {
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum PlanName {
        /// What a plain PyTorch script does.
        Eager = "eager",
        /// The fastest from libtorch's own operators.
        Tuned = "tuned",
        /// Tuned, with our own kernels where there is one.
        Fused = "fused",
        /// Fused, with Winograd convolutions where they fit.
        Winograd = "winograd",
        /// Tuned, each step recorded as CUDA graphs: for a GPU.
        Graph = "graph",
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryFormat {
    Contiguous,
    /// Channels innermost: oneDNN's convolutions need no reordering.
    ChannelsLast,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Allocator {
    /// As the C library comes. glibc gives large blocks back to the kernel at every free, and each step
    /// faults its activations in again.
    System,
    /// glibc told to keep freed memory.
    Keep,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    AsWritten,
    /// Pool before an activation that commutes exactly with a maximum: the same bits from a quarter of the work.
    BeforeMonotoneActivation,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerForm {
    /// One tensor and one operator after the other, as PyTorch does by default on a CPU.
    Loop,
    /// One operator after the other, each for all tensors at once, as PyTorch does by default on a GPU.
    Foreach,
    /// libtorch's fused kernel.
    Fused,
}

/// Who computes what lies between two convolutions.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kernels {
    /// libtorch, operator by operator.
    #[default]
    Stock,
    /// pinbench: BatchNorm, ReLU and pooling in the same passes over memory, and for grey images the first convolution with
    /// them. The same function; sums are taken in another order, so it equals stock up to rounding.
    Fused,
}

/// Who computes 3×3 convolutions with stride 1 and padding 1.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Convolution {
    /// libtorch, as the formula says.
    #[default]
    Direct,
    /// pinbench, with fewer multiplications, in training and in evaluation: by layer and pass as version `policy` of
    /// [`crate::network::convolution`]'s table says. It equals direct up to rounding.
    Winograd { policy: u32 },
}

impl Convolution {
    /// Version of the table, if there is one.
    pub fn policy(self) -> Option<u32> {
        match self {
            Self::Direct => None,
            Self::Winograd { policy } => Some(policy),
        }
    }
}

/// What is left out where it is written.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loader {
    /// The whole set is one tensor on the device; a batch is an `index_select`.
    Resident,
    /// Image by image, as PyTorch's `DataLoader` with `num_workers` and `prefetch_factor`: each worker, a thread here, makes
    /// whole batches, at most `prefetch` of them ahead of the training. The same batches, bit for bit.
    Samples { workers: u32, prefetch: u32 },
}

impl Loader {
    /// The loader that makes the batches. No set that is on a device can be changed image by image, so with augmentation
    /// those of a resident set are made image by image by the thread that trains.
    pub fn effective(self, is_augmented: bool) -> Self {
        match self {
            Self::Resident if is_augmented => Self::Samples { workers: 0, prefetch: 0 },
            loader => loader,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Device {
    Cpu,
    Cuda(u32),
}

impl Device {
    /// The index of a GPU.
    pub fn gpu(self) -> Option<u32> {
        match self {
            Self::Cpu => None,
            Self::Cuda(index) => Some(index),
        }
    }
}

impl Plan {
    pub fn named(name: PlanName, threads: u32, device: Device) -> Self {
        let eager = Self {
            name,
            device,
            threads,
            memory_format: MemoryFormat::Contiguous,
            allocator: Allocator::System,
            huge_pages: false,
            pooling: Pooling::AsWritten,
            optimizer: OptimizerForm::Loop,
            loader: Loader::Resident,
            kernels: Kernels::Stock,
            convolution: Convolution::Direct,
            tf32: false,
            graph: false,
        };
        let tuned = || Self {
            memory_format: MemoryFormat::ChannelsLast,
            allocator: Allocator::Keep,
            huge_pages: true,
            pooling: Pooling::BeforeMonotoneActivation,
            optimizer: OptimizerForm::Fused,
            ..eager.clone()
        };
        let fused = || Self { kernels: Kernels::Fused, ..tuned() };
        match name {
            // What PyTorch does by itself differs there.
            PlanName::Eager if device != Device::Cpu => {
                Self { optimizer: OptimizerForm::Foreach, tf32: true, ..eager }
            }
            PlanName::Eager => eager,
            PlanName::Tuned => tuned(),
            PlanName::Fused => fused(),
            PlanName::Winograd => Self { convolution: Convolution::Winograd { policy: 1 }, ..fused() },
            PlanName::Graph => Self { graph: true, ..tuned() },
        }
    }

    /// The fastest there is of the named ones, where nobody says which.
    pub fn by_default(threads: u32, device: Device) -> Self {
        // Our own kernels are for the CPU.
        let name = if device == Device::Cpu { PlanName::Winograd } else { PlanName::Tuned };
        Self::named(name, threads, device)
    }

    /// What it has otherwise than the plan of its name.
    pub fn changes(&self) -> PlanChange {
        let named = Self::named(self.name, self.threads, self.device);
        PlanChange::of(self).differing_from(&PlanChange::of(&named))
    }

    /// The process environment this plan needs, and the names it must not inherit (`None`).
    ///
    /// glibc, OpenMP and libtorch read these at process start, which is why a run is a process of its own.
    /// Setting any of glibc's three also stops its rule that moves the other thresholds by itself (mallopt(3)).
    pub fn environment(&self) -> Vec<(&'static str, Option<String>)> {
        let keep = |value: &str| (self.allocator == Allocator::Keep).then(|| value.to_owned());
        let threads = Some(self.threads.to_string());
        let mut variables = vec![
            ("MALLOC_MMAP_MAX_", keep("0")),
            ("MALLOC_TRIM_THRESHOLD_", keep("-1")),
            ("MALLOC_TOP_PAD_", keep("67108864")), // bytes
            ("MALLOC_MMAP_THRESHOLD_", None),
            ("MALLOC_ARENA_MAX", None),
            ("GLIBC_TUNABLES", None),
            ("LD_PRELOAD", None),
            ("THP_MEM_ALLOC_ENABLE", self.huge_pages.then(|| "1".to_owned())),
            ("OMP_NUM_THREADS", threads.clone()),
            ("MKL_NUM_THREADS", threads),
            ("OMP_DYNAMIC", Some("FALSE".to_owned())),
            ("MKL_DYNAMIC", Some("FALSE".to_owned())),
        ];
        if self.device != Device::Cpu {
            // Without a workspace of fixed size cuBLAS gives other bits each time, and libtorch refuses to multiply.
            variables.push(("CUBLAS_WORKSPACE_CONFIG", Some(":4096:8".to_owned())));
            // The order in which the driver's own library counts, so that what it says is of the device that trains.
            variables.push(("CUDA_DEVICE_ORDER", Some("PCI_BUS_ID".to_owned())));
        }
        variables
    }
}

/// For people: `tuned`, or `tuned with plan.loader=samples, plan.workers=2`.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes: Vec<String> =
            self.changes().pairs().into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        match changes.len() {
            0 => write!(f, "{}", self.name),
            _ => write!(f, "{} with {}", self.name, changes.join(", ")),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a device: expected 'cpu', 'cuda' or 'cuda:N'")]
pub struct NotADevice(String);

impl FromStr for Device {
    type Err = NotADevice;

    fn from_str(text: &str) -> Result<Self, NotADevice> {
        match text {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|index| index.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| NotADevice(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Device {
    type Error = NotADevice;

    fn try_from(text: String) -> Result<Self, NotADevice> {
        text.parse()
    }
}

impl From<Device> for String {
    fn from(device: Device) -> Self {
        device.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_survive_a_round_trip_and_others_are_refused() {
        for text in ["cpu", "cuda:0", "cuda:3"] {
            assert_eq!(text.parse::<Device>().unwrap().to_string(), text);
        }
        assert_eq!("cuda".parse::<Device>().unwrap(), Device::Cuda(0));
        for text in ["", "gpu", "cuda:", "cuda:x", "cuda:-1"] {
            assert!(text.parse::<Device>().unwrap_err().to_string().contains("cuda:N"));
        }
    }

    #[test]
    fn only_a_plan_for_a_gpu_says_how_cublas_works_and_how_devices_are_counted() {
        let cuda = |device| -> Vec<(&str, Option<String>)> {
            let variables = Plan::named(PlanName::Tuned, 2, device).environment();
            variables.into_iter().filter(|(name, _)| name.starts_with("CU")).collect()
        };
        assert!(cuda(Device::Cpu).is_empty());
        let expected = [("CUBLAS_WORKSPACE_CONFIG", ":4096:8"), ("CUDA_DEVICE_ORDER", "PCI_BUS_ID")];
        assert_eq!(cuda(Device::Cuda(1)), expected.map(|(name, value)| (name, Some(value.to_owned()))));
    }

    /// Records of before have no such key, and their hashes stay.
    #[test]
    fn a_plan_says_who_computes_convolutions_where_that_is_not_libtorch() {
        let json = |name| serde_json::to_value(Plan::named(name, 2, Device::Cpu)).unwrap();
        for name in [PlanName::Eager, PlanName::Tuned, PlanName::Fused, PlanName::Graph] {
            assert_eq!(json(name).get("convolution"), None, "{name}");
        }
        let winograd = json(PlanName::Winograd);
        assert_eq!(winograd["convolution"], serde_json::json!({ "winograd": { "policy": 1 } }));
        let plan: Plan = serde_json::from_value(winograd).unwrap();
        assert_eq!(plan, Plan::named(PlanName::Winograd, 2, Device::Cpu));
        assert_eq!(
            Plan { convolution: Convolution::Direct, name: PlanName::Fused, ..plan },
            Plan::named(PlanName::Fused, 2, Device::Cpu)
        );
    }

    #[test]
    fn the_eager_plan_inherits_no_allocator_setting() {
        let plan = Plan::named(PlanName::Eager, 2, Device::Cpu);
        for (name, value) in plan.environment() {
            let allocates = ["MALLOC", "GLIBC", "THP", "LD_"].iter().any(|prefix| name.starts_with(prefix));
            assert_eq!(value.is_none(), allocates, "{name}");
        }
    }
}
