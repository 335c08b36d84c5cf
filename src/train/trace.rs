//! A training that is watched for some steps: by the clock alone, then by libtorch's profiler as well.

use std::path::Path;

use crate::data::DataSet;
use crate::experiment::plan::Device;
use crate::experiment::{Plan, Trial};
use crate::machine::{self, Amount, GpuCounters, HardwareCount, HardwareCounters};
use crate::row::{ChainRow, Diagnostics, EpochRow, StepRow};
use crate::train::TrainError;
use crate::train::run::{Control, Ending, Observer, Options, Started, train};
use crate::train::shim::profiler::Profiler;
use crate::train::timing;

/// What is to be watched.
pub struct Wanted<'a> {
    /// Steps at the start that do not count.
    pub warm_up: usize,
    /// Steps of full size without the profiler, and then as many with it.
    pub steps: usize,
    /// Where the profiler's trace goes.
    pub trace: &'a Path,
    /// Whether somebody wants it to end now.
    pub is_asked: &'a dyn Fn() -> bool,
}

pub struct Traced {
    pub ending: Ending,
    /// The steps without the profiler, and those with it.
    pub plain: Vec<StepRow>,
    pub profiled: Vec<StepRow>,
    /// The profiler's table of operators over the profiled steps: a line each, between tabs name, calls, and
    /// nanoseconds without and with what it calls. `None` where the training ended before there were enough steps.
    pub operators: Option<String>,
    /// Before the profiler, which keeps what it sees in memory.
    pub peak_rss_bytes: u64,
    /// The mean of a step without the profiler.
    pub hardware: Vec<HardwareCount<f64>>,
    /// Of the plan's GPU, or of the first where the plan has none; once, between the steps without the profiler and
    /// those with it.
    pub gpu: Vec<HardwareCount<Amount>>,
    /// What timing a step costs by itself.
    pub timing_ns: f64,
}

/// Trains `trial` as [`train`] does, but only as long as this takes and whatever its own end.
pub fn trace(trial: &Trial, plan: &Plan, data: &DataSet, wanted: &Wanted) -> Result<Traced, TrainError> {
    let trial = lengthened(trial, wanted);
    let timing_ns = timing::cost_ns()?;
    let mut tracer = Tracer::new(trial.config.train.batch, plan.device, wanted);
    let options = Options { diagnostics: Diagnostics::Off, ..Options::default() };
    let trained = train(&trial, plan, data, options, &mut tracer)?;
    if let Some(error) = tracer.failed {
        return Err(error);
    }
    Ok(Traced {
        ending: trained.ending,
        plain: tracer.plain,
        profiled: tracer.profiled,
        operators: tracer.operators,
        peak_rss_bytes: tracer.peak_rss_bytes,
        hardware: tracer.hardware.mean(),
        gpu: tracer.gpu,
        timing_ns,
    })
}

/// Trained on every image of its split, without an end in sight, evaluated on one image: none of this changes what a
/// step costs, and short epochs would leave few steps of full size between evaluations.
fn lengthened(trial: &Trial, wanted: &Wanted) -> Trial {
    let mut trial = trial.clone();
    trial.config.data.train_limit = None;
    trial.config.data.eval_limit = Some(1);
    let train = &mut trial.config.train;
    // An epoch of at least two steps has one that counts; twice as many, because now and then that one is hashed.
    train.epochs = 2 * (wanted.warm_up + 2 * wanted.steps) as u32;
    (train.max_steps, train.target_loss, train.target_eval_loss) = (None, None, None);
    (train.patience, train.min_delta) = (None, None);
    trial
}

/// The processor's own counts over some steps.
struct Hardware {
    counters: HardwareCounters,
    before: Vec<HardwareCount<u64>>,
    sums: Vec<HardwareCount<u64>>,
    steps: u64,
}

impl Hardware {
    fn open() -> Self {
        Self { counters: HardwareCounters::open(), before: Vec::new(), sums: Vec::new(), steps: 0 }
    }

    fn begin_step(&mut self) {
        self.before = self.counters.read();
    }

    fn end_step(&mut self) {
        let after = self.counters.read();
        if self.sums.is_empty() {
            self.sums = after
                .iter()
                .map(|now| HardwareCount { count: now.count.clone().map(|_| 0), ..*now })
                .collect();
        }
        for ((sum, before), after) in self.sums.iter_mut().zip(&self.before).zip(after) {
            sum.count = match (&sum.count, &before.count, after.count) {
                (Ok(sum), Ok(before), Ok(after)) => Ok(sum + (after - before)),
                (Err(reason), ..) | (_, Err(reason), _) => Err(reason.clone()),
                (.., Err(reason)) => Err(reason),
            };
        }
        self.steps += 1;
    }

    fn mean(&self) -> Vec<HardwareCount<f64>> {
        let steps = self.steps.max(1) as f64;
        let mean = |sum: &HardwareCount<u64>| HardwareCount {
            name: sum.name,
            count: sum.count.clone().map(|sum| sum as f64 / steps),
        };
        self.sums.iter().map(mean).collect()
    }
}

struct Tracer<'a> {
    wanted: &'a Wanted<'a>,
    batch: u32,
    /// Steps so far.
    seen: usize,
    /// The step's tensors were hashed after it.
    is_hashed: bool,
    plain: Vec<StepRow>,
    profiled: Vec<StepRow>,
    profiler: Option<Profiler>,
    operators: Option<String>,
    peak_rss_bytes: u64,
    hardware: Hardware,
    gpu_counters: GpuCounters,
    gpu: Vec<HardwareCount<Amount>>,
    /// An observer has nobody to tell.
    failed: Option<TrainError>,
}

impl<'a> Tracer<'a> {
    fn new(batch: u32, device: Device, wanted: &'a Wanted<'a>) -> Self {
        Self {
            wanted,
            batch,
            seen: 0,
            is_hashed: false,
            plain: Vec::new(),
            profiled: Vec::new(),
            profiler: None,
            operators: None,
            peak_rss_bytes: 0,
            hardware: Hardware::open(),
            gpu_counters: GpuCounters::open(device.gpu().unwrap_or(0)),
            gpu: Vec::new(),
            failed: None,
        }
    }

    /// Starts the profiler when its time has come.
    fn begin(&mut self) -> Result<(), TrainError> {
        if self.profiler.is_none() && self.plain.len() == self.wanted.steps {
            self.peak_rss_bytes = machine::peak_rss_bytes();
            self.gpu = self.gpu_counters.read();
            self.profiler = Some(Profiler::start()?);
        }
        match &mut self.profiler {
            Some(profiler) => profiler.begin_step(),
            None => {
                self.hardware.begin_step();
                Ok(())
            }
        }
    }

    /// Keeps the step if it counts, and stops the profiler after the last.
    fn end(&mut self, row: &StepRow) -> Result<(), TrainError> {
        let is_full = row.images == self.batch;
        let Some(profiler) = &mut self.profiler else {
            if is_full && self.seen > self.wanted.warm_up {
                self.plain.push(*row);
                if !self.is_hashed {
                    self.hardware.end_step();
                }
            }
            return Ok(());
        };
        // The operators of the hashing follow those of the step at once, and cannot be told from them.
        let counts = is_full && !self.is_hashed;
        profiler.end_step(counts)?;
        if counts {
            self.profiled.push(*row);
        }
        if self.profiled.len() == self.wanted.steps
            && let Some(profiler) = self.profiler.take()
        {
            self.operators = Some(profiler.stop(self.wanted.trace)?);
        }
        Ok(())
    }
}

impl Observer for Tracer<'_> {
    fn started(&mut self, _: &Started) {}

    fn chose(&mut self, _: &[u32]) {
        self.failed = self.begin().err();
    }

    /// One row is the chain's own, any other a tensor's.
    fn chained(&mut self, rows: Vec<ChainRow>) {
        self.is_hashed = rows.len() > 1;
    }

    fn stepped(&mut self, row: &StepRow) -> Control {
        self.seen += 1;
        if self.failed.is_none() {
            self.failed = self.end(row).err();
        }
        let is_over = self.failed.is_some() || self.operators.is_some();
        if is_over || (self.wanted.is_asked)() { Control::Stop } else { Control::Continue }
    }

    fn measured(&mut self, _: &EpochRow) {}
}
