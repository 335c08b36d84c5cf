//! A task whose result lies in a folder and in no store: the first steps of a trial, or a trace of them.

use anyhow::{Result, bail};
use pinbench::schedule::{Children, Ending, Event, Executor as _, Interrupt, Job};

use crate::cmd::sweep;
use crate::cmd::workspace::Workspace;

/// Runs `job` alone on this machine, as anything that trains; `false` when it was interrupted.
pub(super) fn run(workspace: &Workspace, job: &Job) -> Result<bool> {
    let interrupt = Interrupt::install()?;
    let _machine = sweep::machine_alone(&interrupt)?;
    let mut note = |event: &Event| {
        if let Event::Note { text } = event {
            workspace.note(text);
        }
    };
    match Children::of_this_program(&interrupt)?.execute(job, &mut note)? {
        Ending::Done => Ok(true),
        Ending::Interrupted => Ok(false),
        Ending::Died { reason } => bail!("nothing was written: {reason}"),
        other => bail!(
            "nothing was written: the child ended as if it had trained a run ({other:?}); this is a bug"
        ),
    }
}
