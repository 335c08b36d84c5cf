//! The GPU that a program sees, from NVIDIA's management library (NVML): what it is, and what its driver counts.
//!
//! The library comes with the driver and is loaded when it is asked, so that a machine without one says so and nothing
//! else changes.

use std::{env, fmt};

use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::Clock;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use serde::{Deserialize, Serialize};

use crate::machine::HardwareCount;
use crate::text;

/// What the driver does not tell is `None`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Gpu {
    pub name: String,
    pub memory_bytes: Option<u64>,
    pub driver: Option<String>,
    /// Such as `9.0`.
    pub compute_capability: Option<String>,
}

impl Gpu {
    /// The one that is `cuda:index` in this process and its children, or why that cannot be told.
    ///
    /// libtorch does not say on which bus its devices are, so that they are matched by their order: NVML's is that of
    /// the PCI bus, and CUDA's is too under CUDA_DEVICE_ORDER=PCI_BUS_ID, which a plan sets for its runs and which is
    /// assumed here. CUDA_VISIBLE_DEVICES is followed, by number and by UUID.
    pub fn of(index: u32) -> Result<Self, String> {
        let nvml = load()?;
        let device = find(&nvml, index)?;
        let capability = device.cuda_compute_capability().ok();
        Ok(Self {
            name: device.name().map_err(|error| format!("the driver does not name cuda:{index}: {error}"))?,
            memory_bytes: device.memory_info().ok().map(|memory| memory.total),
            driver: nvml.sys_driver_version().ok(),
            compute_capability: capability.map(|version| format!("{}.{}", version.major, version.minor)),
        })
    }

    /// Version of NVIDIA's driver, which may be there without a GPU that this process sees.
    pub fn driver() -> Result<String, String> {
        load()?
            .sys_driver_version()
            .map_err(|error| format!("NVIDIA's driver does not name its version: {error}"))
    }

    /// One that cannot be told.
    pub fn unknown() -> Self {
        Self { name: "unknown GPU".to_owned(), memory_bytes: None, driver: None, compute_capability: None }
    }
}

/// What a libtorch with CUDA says of it; one without says nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cuda {
    /// Of the toolkit it was built with, such as `13.0`.
    pub toolkit: String,
    /// Such as `9.20.0`; `None` for a libtorch without.
    pub cudnn: Option<String>,
    /// That it sees.
    pub devices: u32,
}

/// What is known of it.
impl fmt::Display for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(bytes) = self.memory_bytes {
            write!(f, ", {}", text::bytes(bytes))?;
        }
        if let Some(driver) = &self.driver {
            write!(f, ", driver {driver}")?;
        }
        self.compute_capability.iter().try_for_each(|version| write!(f, ", compute capability {version}"))
    }
}

/// A GPU's clock at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GpuClock {
    pub sm_mhz: u32,
    /// Why it is below its most: the bits of NVML's `nvmlClocksEventReasons`.
    pub throttle_reasons: u64,
}

impl GpuClock {
    /// Of `cuda:index` now; `None` where the driver does not tell.
    pub fn now(index: u32) -> Option<Self> {
        let nvml = load().ok()?;
        let device = find(&nvml, index).ok()?;
        let throttle_reasons = device.current_throttle_reasons().ok()?.bits();
        Some(Self { sm_mhz: device.clock_info(Clock::SM).ok()?, throttle_reasons })
    }

    /// Whether heat, a failing supply or the board held it down. The power cap does not count: under full load it is what a GPU
    /// runs at, and a GPU that idles is slow because it has nothing to do.
    fn is_throttled(self) -> bool {
        let slow = ThrottleReasons::HW_SLOWDOWN
            | ThrottleReasons::SW_THERMAL_SLOWDOWN
            | ThrottleReasons::HW_THERMAL_SLOWDOWN
            | ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN;
        ThrottleReasons::from_bits_truncate(self.throttle_reasons).intersects(slow)
    }
}

/// A GPU's clock before the first step and after the last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GpuClocks {
    pub before: GpuClock,
    pub after: GpuClock,
}

impl GpuClocks {
    /// Whether it was held down at either end, so that times say little of the program.
    pub fn is_throttled(self) -> bool {
        self.before.is_throttled() || self.after.is_throttled()
    }
}

/// What a GPU's driver counts, for all programs that use it. Reading asks the driver: not within what is timed.
pub struct GpuCounters {
    nvml: Result<Nvml, String>,
    index: u32,
}

/// What a counter of a GPU says, in its unit.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Amount {
    /// Of the driver's last sampling period, between a sixth of a second and a second.
    Percent(u32),
    Bytes(u64),
    Watts(f64),
    MegaHertz(u32),
    /// Why the clock is below its most: the bits of NVML's `nvmlClocksEventReasons`.
    Reasons(u64),
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Percent(percent) => write!(f, "{percent} %"),
            Self::Bytes(bytes) => f.write_str(&text::bytes(bytes)),
            Self::Watts(watts) => write!(f, "{} W", text::fixed(watts, 1)),
            Self::MegaHertz(megahertz) => write!(f, "{megahertz} MHz"),
            Self::Reasons(0) => f.write_str("nothing"),
            Self::Reasons(bits) => {
                let names = ThrottleReasons::from_bits_truncate(bits).iter_names().map(|(name, _)| name);
                f.write_str(&names.collect::<Vec<_>>().join(" + ").to_lowercase().replace('_', " "))
            }
        }
    }
}

type Ask = fn(&Device<'_>) -> Result<Amount, NvmlError>;

const COUNTERS: [(&str, Ask); 6] = [
    ("GPU utilisation", |gpu| Ok(Amount::Percent(gpu.utilization_rates()?.gpu))),
    ("GPU memory utilisation", |gpu| Ok(Amount::Percent(gpu.utilization_rates()?.memory))),
    ("GPU memory in use", |gpu| Ok(Amount::Bytes(gpu.memory_info()?.used))),
    // NVML counts milliwatts.
    ("GPU power", |gpu| Ok(Amount::Watts(f64::from(gpu.power_usage()?) / 1e3))),
    ("GPU clock", |gpu| Ok(Amount::MegaHertz(gpu.clock_info(Clock::SM)?))),
    ("GPU clock held down by", |gpu| Ok(Amount::Reasons(gpu.current_throttle_reasons()?.bits()))),
];

impl GpuCounters {
    /// Of the GPU that [`Gpu::of`] names for the same index.
    pub fn open(index: u32) -> Self {
        Self { nvml: load(), index }
    }

    /// As they are now.
    pub fn read(&self) -> Vec<HardwareCount<Amount>> {
        let nvml = self.nvml.as_ref().map_err(String::clone);
        let device = nvml.and_then(|nvml| find(nvml, self.index));
        let count = |(name, ask): (&'static str, Ask)| {
            let device = device.as_ref().map_err(String::clone);
            let count = device.and_then(|device| ask(device).map_err(|error| error.to_string()));
            HardwareCount { name, count }
        };
        COUNTERS.map(count).into()
    }
}

fn load() -> Result<Nvml, String> {
    Nvml::init().map_err(|error| match error {
        NvmlError::LibloadingError(error) => format!("no NVIDIA driver: {error}"),
        NvmlError::DriverNotLoaded => "no NVIDIA driver: the kernel has not loaded it".to_owned(),
        other => format!("NVIDIA's driver does not answer: {other}"),
    })
}

fn find(nvml: &Nvml, index: u32) -> Result<Device<'_>, String> {
    let visible = env::var_os("CUDA_VISIBLE_DEVICES").map(|list| list.to_string_lossy().into_owned());
    match chosen(index, visible.as_deref())? {
        Chosen::Number(number) => {
            nvml.device_by_index(number).map_err(|error| format!("the driver has no GPU {number}: {error}"))
        }
        Chosen::Uuid(uuid) => by_uuid(nvml, uuid),
    }
}

/// As CUDA does, takes the start of a UUID for the whole.
fn by_uuid<'a>(nvml: &'a Nvml, uuid: &str) -> Result<Device<'a>, String> {
    if let Ok(device) = nvml.device_by_uuid(uuid) {
        return Ok(device);
    }
    let count = nvml.device_count().map_err(|error| format!("the driver counts no GPUs: {error}"))?;
    (0..count)
        .filter_map(|number| nvml.device_by_index(number).ok())
        .find(|device| device.uuid().is_ok_and(|whole| whole.starts_with(uuid)))
        .ok_or_else(|| format!("the driver has no GPU '{uuid}', which CUDA_VISIBLE_DEVICES names"))
}

/// How a GPU is named among all of a machine.
#[derive(PartialEq, Eq, Debug)]
enum Chosen<'a> {
    Number(u32),
    Uuid(&'a str),
}

/// Which GPU is `cuda:index` where CUDA_VISIBLE_DEVICES is `visible`.
fn chosen(index: u32, visible: Option<&str>) -> Result<Chosen<'_>, String> {
    let Some(visible) = visible else { return Ok(Chosen::Number(index)) };
    // CUDA stops at the first entry that names nothing.
    visible
        .split(',')
        .map_while(|entry| entry_of(entry.trim()))
        .nth(index as usize)
        .ok_or_else(|| format!("CUDA_VISIBLE_DEVICES='{visible}' leaves no cuda:{index}"))
}

fn entry_of(text: &str) -> Option<Chosen<'_>> {
    if text.starts_with("GPU-") || text.starts_with("MIG-") {
        return Some(Chosen::Uuid(text));
    }
    text.parse().ok().map(Chosen::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_has_a_name_or_there_is_a_reason() {
        match Gpu::of(0) {
            Ok(gpu) => assert!(!gpu.name.is_empty(), "{gpu:?}"),
            Err(reason) => assert!(!reason.is_empty()),
        }
    }

    /// For the first who has a GPU; this project had none.
    #[test]
    #[ignore = "needs a GPU"]
    fn a_gpu_is_told_whole_by_its_driver() {
        let gpu = Gpu::of(0).unwrap();
        let known = [gpu.memory_bytes.is_some(), gpu.driver.is_some(), gpu.compute_capability.is_some()];
        assert_eq!(known, [true; 3], "{gpu:?}");
        let counts = GpuCounters::open(0).read();
        assert!(counts.iter().all(|counter| counter.count.is_ok()), "{counts:?}");
    }

    #[test]
    fn a_counter_of_a_gpu_has_a_value_or_a_reason() {
        let counts = GpuCounters::open(0).read();
        assert_eq!(counts.len(), COUNTERS.len());
        let has_gpu = Gpu::of(0).is_ok();
        for HardwareCount { name, count } in counts {
            match count {
                Ok(amount) => assert!(has_gpu, "{name}: {amount}"),
                Err(reason) => assert!(!reason.is_empty(), "{name}"),
            }
        }
    }

    /// No machine has that many.
    #[test]
    fn a_gpu_that_is_not_there_is_told_from_one_that_is() {
        assert!(Gpu::of(9999).is_err());
        assert!(GpuCounters::open(9999).read().iter().all(|counter| counter.count.is_err()));
    }

    #[test]
    fn the_visible_devices_are_counted_as_cuda_counts_them() {
        let number = |index, visible| match chosen(index, visible) {
            Ok(Chosen::Number(number)) => Some(number),
            _ => None,
        };
        assert_eq!(number(3, None), Some(3));
        assert_eq!((number(0, Some("2, 0")), number(1, Some("2, 0"))), (Some(2), Some(0)));
        // What follows an entry that names nothing is not visible, and an empty list shows none.
        for (index, visible) in [(2, "2,0"), (0, ""), (0, "-1"), (1, "0,x,1"), (2, "0,-1,1")] {
            let error = chosen(index, Some(visible)).unwrap_err();
            assert!(error.contains("CUDA_VISIBLE_DEVICES") && error.contains(&format!("cuda:{index}")));
        }
        assert_eq!(chosen(1, Some("0,GPU-8932f937")), Ok(Chosen::Uuid("GPU-8932f937")));
        assert_eq!(chosen(0, Some("MIG-d7a5")), Ok(Chosen::Uuid("MIG-d7a5")));
    }

    #[test]
    fn what_is_known_is_written_with_its_unit() {
        let gpu = Gpu {
            name: "Example GPU".to_owned(),
            memory_bytes: Some(80 << 30),
            driver: Some("550.54".to_owned()),
            compute_capability: Some("9.0".to_owned()),
        };
        assert_eq!(gpu.to_string(), "Example GPU, 80.0 GiB, driver 550.54, compute capability 9.0");
        assert_eq!(Gpu::unknown().to_string(), "unknown GPU");
        let amounts = [Amount::Percent(7), Amount::Bytes(1536), Amount::Watts(61.3), Amount::MegaHertz(1980)];
        assert_eq!(amounts.map(|amount| amount.to_string()), ["7 %", "1.5 KiB", "61.3 W", "1980 MHz"]);
        let reasons = [Amount::Reasons(0), Amount::Reasons(0x20), Amount::Reasons(0x44)];
        let expected = ["nothing", "sw thermal slowdown", "sw power cap + hw thermal slowdown"];
        assert_eq!(reasons.map(|amount| amount.to_string()), expected);
    }

    #[test]
    fn heat_throttles_and_an_idle_or_a_loaded_gpu_is_as_it_should_be() {
        let at = |reasons| GpuClock { sm_mhz: 1980, throttle_reasons: reasons };
        let clocks = |before, after| GpuClocks { before: at(before), after: at(after) };
        // Idle, its clocks as set by an application, its power cap.
        assert!([0, 1, 2, 4, 7].into_iter().all(|reasons| !clocks(1, reasons).is_throttled()));
        assert!([8, 0x20, 0x40, 0x80, 0x44].into_iter().all(|reasons| clocks(reasons, 0).is_throttled()));
        assert!(clocks(0, 0x20).is_throttled());
        assert_eq!(GpuClock::now(9999), None);
    }
}
