//! What a child is told to do.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::experiment::{Plan, Trial};
use crate::machine::Environment;
use crate::planted::Planted;
use crate::record::schema::FORMAT;
use crate::record::{Block, RunId, RunRecord, Status};
use crate::row::Diagnostics;

/// One run, with everything the child needs to know: it reads no experiment file and no option.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    pub experiment: String,
    pub profile: String,
    pub trial: Trial,
    pub plan: Plan,
    pub store: PathBuf,
    /// Root of the data cache.
    pub data: PathBuf,
    /// Folder whose git revision is recorded.
    pub workspace: PathBuf,
    #[serde(default)]
    pub diagnostics: Diagnostics,
    pub task: Task,
    /// Others that may run next to it at a time.
    #[serde(default)]
    pub beside: u32,
    #[serde(default)]
    pub block: Option<Block>,
    /// Runs the trial again; goes into the record.
    pub command: String,
}

/// What a child does with the trial.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum Task {
    /// A run in the store, with a fault for those who want to see it found.
    Train {
        fault: Option<Planted>,
        /// Although the trial is done: for its times.
        #[serde(default)]
        again: bool,
    },
    /// The same for an index of a manifest. The index owns the trial, so that it runs where nobody can lock; another run
    /// that came to another result is an error.
    Indexed,
    /// Its first steps, for another program to repeat. No run is sealed.
    Export(Export),
    /// Where the time of its steps goes. No run is sealed.
    Trace(Trace),
    /// A few steps and nothing else, once the parent says go. Its run is sealed in a measurement's own store.
    Time(Time),
    /// Single steps from states out of a stream, for the gate. The trial stands for all that are asked; no run is sealed.
    Probe(ProbeTask),
}

impl Task {
    /// A run as the trial says.
    pub const TRAIN: Self = Self::Train { fault: None, again: false };

    /// What its process needs beside the environment of the plan.
    pub fn environment(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Probe(ProbeTask { instructions, .. }) => instructions.environment(),
            _ => &[],
        }
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeTask {
    /// Probes by id, as JSON.
    pub asked: PathBuf,
    /// Where the answers are written, by id.
    pub out: PathBuf,
    pub instructions: Instructions,
    /// Every weight one unit in the last place larger.
    pub nudged: bool,
    pub fault: Option<Planted>,
}

/// What libtorch may use of the processor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Instructions {
    /// All there is.
    Own,
    /// As on a processor without AVX-512.
    Avx2,
    /// As on a processor without AVX.
    Sse41,
}

impl Instructions {
    /// What keeps libtorch, oneDNN and MKL to them; our own kernels take what the processor has.
    pub fn environment(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Own => &[],
            Self::Avx2 => &[
                ("ATEN_CPU_CAPABILITY", "avx2"),
                ("ONEDNN_MAX_CPU_ISA", "AVX2"),
                ("MKL_ENABLE_INSTRUCTIONS", "AVX2"),
            ],
            Self::Sse41 => &[
                ("ATEN_CPU_CAPABILITY", "default"),
                ("ONEDNN_MAX_CPU_ISA", "SSE41"),
                ("MKL_ENABLE_INSTRUCTIONS", "SSE4_2"),
            ],
        }
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// Must be there, and is best empty.
    pub folder: PathBuf,
    pub steps: u64,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// Must be there.
    pub folder: PathBuf,
    /// Timed without the profiler, and as many with it.
    pub steps: u32,
}

/// How long a process is timed for: until both the least number of steps and the span are reached, or the most steps.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Time {
    pub least_steps: u64,
    pub most_steps: u64,
    pub span_ms: u64,
    /// A turn is as long or a step, whichever is longer: then the process waits until it is told to go on.
    pub turn_ms: u64,
    pub fault: Option<Planted>,
    /// Captured once by the parent, but for the threads, which are the plan's.
    pub environment: Box<Environment>,
}

impl Job {
    /// The fault this run is trained with.
    pub fn fault(&self) -> Option<Planted> {
        match self.task {
            Task::Train { fault, .. } | Task::Time(Time { fault, .. }) => fault,
            Task::Probe(ProbeTask { fault, .. }) => fault,
            Task::Indexed | Task::Export(_) | Task::Trace(_) => None,
        }
    }

    /// The record of the run of this job that started then and ends now; the store fills in its files.
    pub fn record(
        &self,
        run: RunId,
        started: Timestamp,
        environment: &Environment,
        status: Status,
    ) -> RunRecord {
        RunRecord {
            format: FORMAT,
            run,
            experiment: self.experiment.clone(),
            profile: self.profile.clone(),
            trial_id: self.trial.id(),
            config_hash: self.trial.config.hash(),
            trial: self.trial.clone(),
            plan_hash: self.plan.hash(),
            plan: self.plan.clone(),
            program: None,
            beside: self.beside,
            block: self.block,
            effective: None,
            environment_class: environment.class(),
            environment: environment.clone(),
            started: started.to_string(),
            ended: Timestamp::now().to_string(),
            status,
            command: self.command.clone(),
            planted: self.fault(),
            outcome: None,
            files: Default::default(),
            stored_as: None,
        }
    }
}
