//! What a child is told to do.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::experiment::{Plan, Trial};

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
    /// Runs the trial again; goes into the record.
    pub command: String,
}
