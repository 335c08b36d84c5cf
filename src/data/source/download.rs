//! One file over HTTP into a `.part` file, resumed where an earlier attempt or an earlier process was cut
//! off.
//!
//! Whether the bytes are right is not decided here: a resumed file may be half of one version and half of the
//! next, and only the pin of what is in it can tell.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use ureq::Agent;
use ureq::http::{Response, StatusCode, header};

use crate::data::intake::{Intake, SourceError};
use crate::text;

const RESOLVE: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(8);
/// For the first byte and between two: a slow line is fine, a dead one is not.
const SILENCE: Duration = Duration::from_secs(20);
/// A cut that brought bytes is no failure, but nobody waits for a server that cuts all the time.
const MAX_ATTEMPTS: u32 = 8;
const MAX_FRUITLESS: u32 = 2;

/// A client that is quick to give up on a host that does not answer.
pub(super) fn agent(https_only: bool) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .https_only(https_only)
        .user_agent(concat!("pinbench/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(RESOLVE))
        .timeout_connect(Some(CONNECT))
        .timeout_recv_response(Some(SILENCE))
        .timeout_per_read(Some(SILENCE));
    // Plain HTTP is for tests on loopback, which no proxy can reach.
    if https_only { config.build().new_agent() } else { config.proxy(None).build().new_agent() }
}

/// What to fetch, and at most how many bytes of it.
pub(super) struct Download<'a> {
    pub agent: &'a Agent,
    pub url: &'a str,
    pub part: &'a Path,
    pub limit: u64,
}

enum Failure {
    /// Another attempt may go on from here.
    Cut(String),
    Final(SourceError),
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self::Final(error)
    }
}

impl Download<'_> {
    /// Completes the part file. Unreachable hosts and refusals fail at once; a cut connection is taken up
    /// again.
    pub(super) fn complete(&self, intake: &mut Intake<'_>) -> Result<(), SourceError> {
        let mut fruitless = 0;
        let mut reason = String::new();
        for _ in 0..MAX_ATTEMPTS {
            let before = self.have()?;
            match self.attempt(before, intake) {
                Ok(()) => return Ok(()),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Cut(cut)) => reason = cut,
            }
            fruitless = if self.have()? > before { 0 } else { fruitless + 1 };
            if fruitless == MAX_FRUITLESS {
                break;
            }
            intake.note(&format!("{}: {reason}; trying again", self.url));
        }
        Err(SourceError::Refused(reason))
    }

    fn have(&self) -> Result<u64, SourceError> {
        match fs::metadata(self.part) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(SourceError::cache(self.part)(error)),
        }
    }

    fn attempt(&self, have: u64, intake: &mut Intake<'_>) -> Result<(), Failure> {
        let mut request = self.agent.get(self.url);
        if have > 0 {
            request = request.header(header::RANGE, format!("bytes={have}-"));
        }
        let mut response = request.call().map_err(|error| SourceError::Refused(describe(error)))?;
        let start = match response.status() {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT if starts_at(&response, have) => have,
            StatusCode::PARTIAL_CONTENT => return Err(self.start_over()),
            // Nothing comes after what is here: if it is not the whole file, its content will tell.
            StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => return Ok(()),
            status => return Err(SourceError::Refused(format!("answered {status}")).into()),
        };
        let total = response.body().content_length().map(|left| start.saturating_add(left));
        self.check_limit(total.unwrap_or(start))?;
        let mut part = self.open_part(start).map_err(SourceError::cache(self.part))?;
        self.copy(response.body_mut().as_reader(), &mut part, (start, total), intake)
    }

    fn copy(
        &self,
        mut body: impl Read,
        part: &mut File,
        (start, total): (u64, Option<u64>),
        intake: &mut Intake<'_>,
    ) -> Result<(), Failure> {
        let what = self.url.rsplit('/').next().unwrap_or(self.url);
        let mut block = vec![0; 1 << 16];
        let mut done = start;
        loop {
            let cut = |why: &str| Failure::Cut(format!("cut off after {}: {why}", text::bytes(done)));
            let read = body.read(&mut block).map_err(|error| cut(&describe(error.into())))?;
            if read == 0 {
                return if total.is_some_and(|total| done < total) {
                    Err(cut("end of data"))
                } else {
                    Ok(())
                };
            }
            done += read as u64;
            self.check_limit(done)?;
            part.write_all(&block[..read]).map_err(SourceError::cache(self.part))?;
            intake.progress(what, done, total);
        }
    }

    fn check_limit(&self, bytes: u64) -> Result<(), SourceError> {
        if bytes <= self.limit {
            return Ok(());
        }
        let (bytes, limit) = (text::bytes(bytes), text::bytes(self.limit));
        Err(SourceError::Refused(format!("sends {bytes} or more, expected at most {limit}")))
    }

    fn open_part(&self, start: u64) -> io::Result<File> {
        if let Some(folder) = self.part.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut part = OpenOptions::new().create(true).write(true).truncate(false).open(self.part)?;
        part.set_len(start)?;
        part.seek(SeekFrom::Start(start))?;
        Ok(part)
    }

    fn start_over(&self) -> Failure {
        match fs::remove_file(self.part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                SourceError::cache(self.part)(error).into()
            }
            _ => Failure::Cut("resumed at another place than asked for".to_owned()),
        }
    }
}

fn starts_at<B>(response: &Response<B>, start: u64) -> bool {
    let range = response.headers().get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
    range.is_some_and(|range| range.trim().starts_with(&format!("bytes {start}-")))
}

/// Without the `io: ` that ureq puts before what the system said.
fn describe(error: ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}
