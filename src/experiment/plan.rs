//! The plan: *how* a trial is executed. It changes time and, at the level of rounding, bits; never the question.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::experiment::config::Impossible;
use crate::experiment::{Arm, words};

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
    #[serde(default, skip_serializing_if = "Kernels::is_stock")]
    pub kernels: Kernels,
    /// Convolutions on a GPU round their factors to TF32, whose fraction has 10 bits instead of 23: PyTorch's default.
    #[serde(default, skip_serializing_if = "is_false")]
    pub tf32: bool,
    /// A step on a GPU is recorded once as CUDA graphs and launched from then on: the same bits without a launch an operator.
    #[serde(default, skip_serializing_if = "is_false")]
    pub graph: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanName {
    /// What a plain PyTorch script does.
    Eager,
    /// The fastest from libtorch's own operators.
    Tuned,
    /// Tuned, with our own kernels where there is one.
    Fused,
    /// Tuned, each step recorded as CUDA graphs: for a GPU.
    Graph,
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

// serde's signature.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Kernels {
    // serde's signature.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_stock(&self) -> bool {
        *self == Self::Stock
    }
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

/// What a plan came to for one trial: which loader made its batches and which operators our own kernels computed. A record
/// has it beside the plan, for a plan is what was asked.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effective {
    pub loader: Loader,
    /// The layers from the input on, in training and in evaluation; a pass that never happened is left out.
    pub layers: Vec<EffectiveLayer>,
    /// What pixels were normalised by, where the config asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalised: Option<Normalised>,
}

/// A number a channel, of pixels in [0, 1]; where each pixel has its own, their mean.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalised {
    pub mean: Vec<f64>,
    pub std: Vec<f64>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EffectiveLayer {
    /// Name of its convolution, such as `conv1`.
    pub layer: String,
    pub pass: Pass,
    /// Operators that our own kernels computed, in order; libtorch computed the others.
    pub own: Vec<OwnOperator>,
    /// What the convolution could not have as the plan asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    /// Contiguous in place of channels-last.
    PlainFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    Training,
    Evaluation,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnOperator {
    Convolution,
    BatchNorm,
    Relu,
    MaxPool,
}

#[cfg(test)]
impl Effective {
    /// As under augmentation and a plan with our own kernels.
    pub fn sample() -> Self {
        let layer = |pass, own| EffectiveLayer { layer: "conv1".to_owned(), pass, own, fallback: None };
        let own = vec![OwnOperator::BatchNorm, OwnOperator::MaxPool];
        let layers = vec![layer(Pass::Training, own), layer(Pass::Evaluation, vec![])];
        Self { loader: Loader::Samples { workers: 0, prefetch: 0 }, layers, normalised: None }
    }
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
        match name {
            // What PyTorch does by itself differs there.
            PlanName::Eager if device != Device::Cpu => {
                Self { optimizer: OptimizerForm::Foreach, tf32: true, ..eager }
            }
            PlanName::Eager => eager,
            PlanName::Tuned => tuned(),
            PlanName::Fused => Self { kernels: Kernels::Fused, ..tuned() },
            PlanName::Graph => Self { graph: true, ..tuned() },
        }
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

impl fmt::Display for PlanName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eager => "eager",
            Self::Tuned => "tuned",
            Self::Fused => "fused",
            Self::Graph => "graph",
        })
    }
}

impl fmt::Display for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resident => f.write_str("resident"),
            Self::Samples { workers: 0, .. } => f.write_str("image by image, by the thread that trains"),
            Self::Samples { workers, prefetch } => {
                write!(f, "image by image, by {workers} threads, {prefetch} batches ahead")
            }
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

/// Declares [`PlanChange`]: a line for each key.
macro_rules! plan_keys {
    ($($(#[$doc:meta])* $key:ident: $type:ty,)*) => {
        /// What a file's `[plan]`, a factor and `--set plan.KEY=VALUE` change in a plan: every knob of an execution by name.
        /// A key that is absent changes nothing.
        #[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct PlanChange {
            $($(#[$doc])* #[serde(default)] pub $key: Option<$type>,)*
        }

        impl PlanChange {
            /// This change, and then `later`, which goes before it.
            pub fn then(&self, later: &Self) -> Self {
                Self { $($key: later.$key.or(self.$key),)* }
            }

            /// The keys that are not the same in `other`.
            pub fn differing_from(&self, other: &Self) -> Self {
                Self { $($key: self.$key.filter(|_| self.$key != other.$key),)* }
            }

            /// This change without the keys that `others` has.
            pub fn without(&self, others: &Self) -> Self {
                Self { $($key: self.$key.filter(|_| others.$key.is_none()),)* }
            }

            /// Those of its keys of which `is_wanted` says so.
            pub fn only(&self, is_wanted: impl Fn(&str) -> bool) -> Self {
                Self { $($key: self.$key.filter(|_| is_wanted(stringify!($key))),)* }
            }
        }
    };
}

plan_keys! {
    /// The named plan that the other keys change.
    name: PlanName,
    threads: u32,
    memory_format: MemoryFormat,
    allocator: Allocator,
    huge_pages: bool,
    pooling: Pooling,
    optimizer: OptimizerForm,
    kernels: Kernels,
    /// Of a GPU: convolutions round their factors to TF32.
    tf32: bool,
    /// Of a GPU: a step is recorded as CUDA graphs.
    graph: bool,
    loader: LoaderName,
    /// Of the loader `samples`, which it chooses: threads that make batches; 0 is the thread that trains.
    workers: u32,
    /// Of the loader `samples`, which it chooses: batches that a worker is ahead.
    prefetch: u32,
}

/// Batches a worker is ahead where nobody says how many, as in PyTorch's `DataLoader`.
const PREFETCH: u32 = 2;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoaderName {
    Resident,
    Samples,
}

impl PlanChange {
    /// Every key as `plan` has it.
    pub fn of(plan: &Plan) -> Self {
        let (loader, workers, prefetch) = match plan.loader {
            Loader::Resident => (LoaderName::Resident, None, None),
            Loader::Samples { workers, prefetch } => (LoaderName::Samples, Some(workers), Some(prefetch)),
        };
        Self {
            name: Some(plan.name),
            threads: Some(plan.threads),
            memory_format: Some(plan.memory_format),
            allocator: Some(plan.allocator),
            huge_pages: Some(plan.huge_pages),
            pooling: Some(plan.pooling),
            optimizer: Some(plan.optimizer),
            kernels: Some(plan.kernels),
            tf32: Some(plan.tf32),
            graph: Some(plan.graph),
            loader: Some(loader),
            workers,
            prefetch,
        }
    }

    /// Reads `KEY=VALUE`, the value as in a file; quotes around a word may be left out.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((key, value)) = text.split_once('=') else {
            return Err(format!("'{text}': expected plan.KEY=VALUE, such as plan.loader=samples"));
        };
        let Some(key) = key.trim().strip_prefix("plan.") else {
            return Err(format!(
                "'{text}': only keys of the plan can be set here, such as plan.loader=samples"
            ));
        };
        let is_word = |value: &str| value.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_');
        let value = match value.trim() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            word if is_word(word) => Value::String(word.to_owned()),
            other => serde_json::from_str(other).unwrap_or_else(|_| Value::String(other.to_owned())),
        };
        let change: Self = serde_json::from_value(json!({ key: value }))
            .map_err(|error| format!("'{text}': {}", words::plain(&error.to_string())))?;
        change.check().map_err(|error| error.to_string())?;
        Ok(change)
    }

    /// The first impossible value.
    pub fn check(&self) -> Result<(), Impossible> {
        let counts = [("plan.threads", self.threads, 1..=1024), ("plan.workers", self.workers, 0..=256)];
        for (key, found, range) in counts.into_iter().chain([("plan.prefetch", self.prefetch, 1..=1024)]) {
            if let Some(found) = found.filter(|found| !range.contains(found)) {
                let expected = format!("{} to {}", range.start(), range.end());
                return Err(Impossible { key: key.into(), found: found.to_string(), expected });
            }
        }
        let of_samples = [("plan.workers", self.workers), ("plan.prefetch", self.prefetch)];
        match of_samples.into_iter().find_map(|(key, found)| Some((key, found?))) {
            Some((key, found)) if self.loader == Some(LoaderName::Resident) => {
                let expected = "nothing beside the loader `resident`: it belongs to `samples`".to_owned();
                Err(Impossible { key: key.into(), found: found.to_string(), expected })
            }
            _ => Ok(()),
        }
    }

    pub fn apply(&self, plan: &Plan) -> Plan {
        let named = |name| Plan::named(name, plan.threads, plan.device);
        let plan = self.name.map_or_else(|| plan.clone(), named);
        Plan {
            threads: self.threads.unwrap_or(plan.threads),
            memory_format: self.memory_format.unwrap_or(plan.memory_format),
            allocator: self.allocator.unwrap_or(plan.allocator),
            huge_pages: self.huge_pages.unwrap_or(plan.huge_pages),
            pooling: self.pooling.unwrap_or(plan.pooling),
            optimizer: self.optimizer.unwrap_or(plan.optimizer),
            kernels: self.kernels.unwrap_or(plan.kernels),
            tf32: self.tf32.unwrap_or(plan.tf32),
            graph: self.graph.unwrap_or(plan.graph),
            loader: self.loader(plan.loader),
            ..plan
        }
    }

    fn loader(&self, loader: Loader) -> Loader {
        let names_samples = self.workers.is_some() || self.prefetch.is_some();
        let (workers, prefetch) = match (self.loader, loader) {
            (Some(LoaderName::Resident), _) => return Loader::Resident,
            (None, Loader::Resident) if !names_samples => return Loader::Resident,
            (_, Loader::Resident) => (0, PREFETCH),
            (_, Loader::Samples { workers, prefetch }) => (workers, prefetch),
        };
        Loader::Samples {
            workers: self.workers.unwrap_or(workers),
            prefetch: self.prefetch.unwrap_or(prefetch),
        }
    }

    /// Whether `plan` has every key as this change would make it.
    pub fn is_in(&self, plan: &Plan) -> bool {
        let of = Self::of(plan);
        of.then(self) == of
    }

    /// `plan` but for the keys that are set here, and for a named plan all that the name stands for: what two plans have to
    /// have in common whose difference is meant.
    pub fn apart_from(&self, plan: &Plan) -> (Self, Device) {
        let mut of = Self::of(plan);
        if self.loader.or(self.workers.map(|_| LoaderName::Samples)).is_some() {
            // They are keys of one loader alone, so that another has none of them.
            (of.loader, of.workers, of.prefetch) = (None, None, None);
        }
        let kept = match self.name {
            Some(_) => Self { threads: of.threads, ..Self::default() },
            None => of,
        };
        (kept.without(self), plan.device)
    }

    /// `key=value` of every key that is set, dotted as in a factor.
    pub fn pairs(&self) -> Vec<(String, String)> {
        // Numbers, words and truth values, which always have a JSON form.
        let tree = serde_json::to_value(self).unwrap_or_default();
        let set = tree.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        set.map(|(key, value)| (format!("plan.{key}"), bare(value))).collect()
    }
}

/// A value as people write it: strings without quotes, lists without brackets.
pub fn bare(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(bare).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// A plan as it is asked for: what is not said otherwise by an experiment, and what a command line says whatever the
/// experiment does.
#[derive(Clone, PartialEq, Debug)]
pub struct PlanAsked {
    pub base: Plan,
    /// Goes before a file's `[plan]`; an arm's own keys go before it.
    pub set: PlanChange,
}

impl PlanAsked {
    /// That plan for every arm that does not say otherwise.
    pub fn exactly(plan: Plan) -> Self {
        Self { base: plan, set: PlanChange::default() }
    }

    /// The plan under which `arm` runs.
    pub fn of(&self, arm: &Arm) -> Plan {
        arm.plan.then(&self.set).then(&arm.varied).apply(&self.base)
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
    fn a_change_says_what_it_changes_and_a_plan_what_it_has_otherwise_than_its_name() {
        let plan = Plan::named(PlanName::Tuned, 2, Device::Cpu);
        let change = PlanChange::parse("plan.workers=3").unwrap();
        let changed = change.apply(&plan);
        assert_eq!(changed.loader, Loader::Samples { workers: 3, prefetch: PREFETCH });
        assert_eq!(changed.to_string(), "tuned with plan.loader=samples, plan.prefetch=2, plan.workers=3");
        assert_eq!(changed.changes().apply(&plan), changed);
        assert!(change.is_in(&changed) && !change.is_in(&plan));
        assert_ne!(changed.hash(), plan.hash());
        let eager = PlanChange::parse("plan.name=eager").unwrap().then(&change);
        assert_eq!(
            (eager.apply(&plan).memory_format, eager.apply(&plan).name),
            (MemoryFormat::Contiguous, PlanName::Eager)
        );
    }

    #[test]
    fn plans_that_differ_in_what_is_varied_alone_are_the_same_apart_from_it() {
        let varied = PlanChange::parse("plan.allocator=keep").unwrap();
        let eager = Plan::named(PlanName::Eager, 2, Device::Cpu);
        let (kept, other) = (varied.apply(&eager), Plan { huge_pages: true, ..eager.clone() });
        assert_eq!(varied.apart_from(&kept), varied.apart_from(&eager));
        assert_ne!(varied.apart_from(&other), varied.apart_from(&eager));
        let named = PlanChange::parse("plan.name=tuned").unwrap();
        assert_eq!(named.apart_from(&named.apply(&eager)), named.apart_from(&eager));
        assert_ne!(named.apart_from(&Plan { threads: 1, ..eager.clone() }), named.apart_from(&eager));
    }

    #[test]
    fn a_mistake_in_a_change_names_the_key_and_what_is_expected() {
        for (text, what) in [
            ("plan.laoder=samples", "did you mean `loader`?"),
            ("plan.loader=sampels", "did you mean `samples`?"),
            ("plan.threads=two", "expected a whole number, found the text"),
            ("plan.threads=0", "expected 1 to 1024"),
            ("train.batch=64", "only keys of the plan"),
            ("plan.loader", "expected plan.KEY=VALUE"),
        ] {
            let error = PlanChange::parse(text).unwrap_err();
            assert!(error.contains(what), "{text}: {error}");
        }
        let both =
            PlanChange { loader: Some(LoaderName::Resident), workers: Some(2), ..PlanChange::default() };
        assert!(both.check().unwrap_err().to_string().contains("belongs to `samples`"));
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

    #[test]
    fn the_eager_plan_inherits_no_allocator_setting() {
        let plan = Plan::named(PlanName::Eager, 2, Device::Cpu);
        for (name, value) in plan.environment() {
            let allocates = ["MALLOC", "GLIBC", "THP", "LD_"].iter().any(|prefix| name.starts_with(prefix));
            assert_eq!(value.is_none(), allocates, "{name}");
        }
    }
}
