//! Running the user's own package clients.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::data::intake::{Intake, SourceError};
use crate::text;

/// Enough for 139 MB over 2 Mbit/s; a client that hangs longer is ended.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
const MAX_SAID: u64 = 1 << 16;
const POLL: Duration = Duration::from_millis(50);

/// Runs `program` in the intake's scratch folder until it has ended well; what it wrote as errors is the
/// reason when it does not.
pub(super) fn run(program: &str, args: &[&str], intake: &mut Intake<'_>) -> Result<(), SourceError> {
    let mut command = Command::new(program);
    command.args(args).current_dir(intake.scratch());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| refuse_spawn(program, &error))?;
    let listener = listen(&mut child);
    let what = format!("{program} {}", args.first().copied().unwrap_or_default());
    let Some(status) = wait(&mut child, PATIENCE, || intake.progress(&what, 0, None))? else {
        let patience = text::duration(PATIENCE);
        return Err(SourceError::Refused(format!("'{program}' was ended after {patience}")));
    };
    if status.success() {
        return Ok(());
    }
    // A listener that panicked heard nothing.
    let said = listener.join().unwrap_or_default();
    if said.contains("ENOSPC") || said.contains("No space left on device") {
        let path = intake.scratch().to_owned();
        return Err(SourceError::Cache { path, error: io::ErrorKind::StorageFull.into() });
    }
    Err(SourceError::Refused(describe_failure(program, status, &said)))
}

/// Reads the child's errors as they come, so that it never waits for a full pipe.
///
/// Not by a file: when the disk is full, the file would not say so.
fn listen(child: &mut Child) -> JoinHandle<String> {
    let errors = child.stderr.take();
    thread::spawn(move || {
        let mut said = Vec::new();
        if let Some(mut errors) = errors {
            // What could be read is the best there is; a reason that is cut off beats none.
            let _ = errors.by_ref().take(MAX_SAID).read_to_end(&mut said);
            let _ = io::copy(&mut errors, &mut io::sink());
        }
        String::from_utf8_lossy(&said).into_owned()
    })
}

pub(super) fn refuse_spawn(program: &str, error: &io::Error) -> SourceError {
    SourceError::Refused(match error.kind() {
        io::ErrorKind::NotFound => format!("'{program}' is not installed"),
        _ => format!("'{program}' does not start: {error}"),
    })
}

/// `None` when `patience` was over and the child was ended.
fn wait(
    child: &mut Child,
    patience: Duration,
    mut tick: impl FnMut(),
) -> Result<Option<ExitStatus>, SourceError> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() > patience {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        tick();
        thread::sleep(POLL);
    }
}

fn describe_failure(program: &str, status: ExitStatus, said: &str) -> String {
    match said.lines().map(str::trim).find(|line| is_reason(line)) {
        Some(reason) => format!("'{program}' failed: {reason}"),
        None => format!("'{program}' failed without a word ({status})"),
    }
}

/// The first line that says something: `npm` begins with codes and ends with general advice, `apt-get` may
/// begin with warnings.
fn is_reason(line: &str) -> bool {
    let npm = line.strip_prefix("npm error ").or_else(|| line.strip_prefix("npm ERR! "));
    let is_code = |said: &str| ["code ", "syscall ", "errno "].iter().any(|code| said.starts_with(code));
    !line.is_empty() && !line.starts_with("W:") && !npm.is_some_and(is_code)
}

/// The one file of `folder` that ends in `ending`, which a client was told to leave there.
pub(super) fn product(folder: &Path, ending: &str) -> Result<PathBuf, SourceError> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(ending) {
            return Ok(path);
        }
    }
    Err(SourceError::Refused(format!("no '*{ending}' was delivered")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::intake::fake::missing_after;
    use crate::dataset::pin;

    fn outcome(program: &str, args: &[&str]) -> Result<(), String> {
        let home = tempfile::tempdir().unwrap();
        let spec = pin::fake::spec("set", &[("one", b"1")]);
        missing_after(spec, &home, |intake| run(program, args, intake)).map(drop)
    }

    #[test]
    fn a_client_that_is_not_installed_is_said_to_be_so() {
        assert_eq!(outcome("no-such-client", &[]), Err("'no-such-client' is not installed".to_owned()));
    }

    #[test]
    fn a_failing_client_is_quoted_by_its_reason_not_by_its_codes_or_advice() {
        let failure = |said: &str| outcome("sh", &["-c", &format!("echo '{said}' >&2; exit 1")]).unwrap_err();
        let npm = "npm error code E404\nnpm error 404 Not Found - GET x\nnpm error A complete log is in y";
        assert_eq!(failure(npm), "'sh' failed: npm error 404 Not Found - GET x");
        let apt = "\nW: old lists\nE: Unable to locate package x";
        assert_eq!(failure(apt), "'sh' failed: E: Unable to locate package x");
        assert_eq!(failure(""), "'sh' failed without a word (exit status: 1)");
    }

    #[test]
    #[should_panic(expected = "no storage space")]
    fn a_client_that_fills_the_disk_is_not_the_fault_of_its_source() {
        let _ = outcome("sh", &["-c", "echo npm error code ENOSPC >&2; exit 1"]);
    }

    #[test]
    fn a_client_that_hangs_is_ended() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let mut ticks = 0;
        let status = wait(&mut child, Duration::from_millis(120), || ticks += 1).unwrap();
        assert!(status.is_none() && ticks > 0);
        assert!(child.try_wait().unwrap().is_some());
    }
}
