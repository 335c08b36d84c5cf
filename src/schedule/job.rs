//! What a child is told to do.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::experiment::{Plan, Trial};
use crate::machine::Environment;
use crate::planted::Planted;
use crate::record::schema::FORMAT;
use crate::record::{RunId, RunRecord, Status};
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
    /// Instead of a run in the store: its first steps, for another program to repeat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<Export>,
    /// Instead of a run in the store: where the time of its steps goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
    /// A fault to train with, for those who want to see it found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planted: Option<Planted>,
    /// Runs the trial again; goes into the record.
    pub command: String,
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

impl Job {
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
            environment_class: environment.class(),
            environment: environment.clone(),
            started: started.to_string(),
            ended: Timestamp::now().to_string(),
            status,
            command: self.command.clone(),
            planted: self.planted,
            outcome: None,
            files: Default::default(),
        }
    }
}
