//! `pinbench audit`: are pages what the files beside them say?

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use pinbench::report::audit::{Audit, Finding};
use pinbench::text;

use crate::cmd::console::{print, warn};

/// Are pages what the files beside them say?
///
/// Every page in the folder and below is made again from the files beside it alone, without a store, and compared byte by byte:
/// each number in words, tables and figures. The rows of each run are held against the digests that it was sealed with, and
/// every link is followed.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pinbench audit reports/quick
  pinbench audit reports --json | jq .findings

Exit codes: 0 all is as the files say, 1 something is not, 2 a page cannot be
made again here: damaged, or of another version.

--json prints one object. Its keys stay:
  pages, files, numbers, links   how many were looked at
  sealed, runs                   runs whose rows have their digests, and all
  unknown                        files there that no page is made from
  findings                       file, line, found, expected
  unreadable                     why pages could not be made again")]
pub(crate) struct AuditArgs {
    /// Folder of a page, or of many
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// Pages are not what their files say.
const EXIT_DIFFERS: u8 = 1;
/// It cannot be told.
const EXIT_UNREADABLE: u8 = 2;

pub(crate) fn run(args: &AuditArgs) -> Result<ExitCode> {
    let audit = Audit::of(&args.folder)?;
    if args.json {
        print(&serde_json::to_string_pretty(&audit)?)?;
    } else {
        tell(&audit)?;
    }
    Ok(exit_code(&audit))
}

pub(crate) fn exit_code(audit: &Audit) -> ExitCode {
    match (&audit.findings[..], &audit.unreadable[..]) {
        ([], []) => ExitCode::SUCCESS,
        ([], _) => ExitCode::from(EXIT_UNREADABLE),
        _ => ExitCode::from(EXIT_DIFFERS),
    }
}

pub(crate) fn tell(audit: &Audit) -> Result<()> {
    for Finding { file, line, found, expected } in &audit.findings {
        let line = line.map(|line| format!(":{line}")).unwrap_or_default();
        print(&format!("{}{line}: found '{found}', expected '{expected}'", file.display()))?;
    }
    audit.unreadable.iter().for_each(|reason| warn(reason));
    for file in &audit.unknown {
        warn(&format!("'{}' belongs to no page, and nothing is said of it", file.display()));
    }
    let count = |count: usize| text::count(count as u64);
    let verdict = match (audit.findings.len(), audit.unreadable.len()) {
        (0, 0) => "all is as the files beside the pages say".to_owned(),
        (0, pages) => format!("{} cannot be made again", text::plural(pages, "page")),
        (findings, _) => format!("{} from what the files say", text::plural(findings, "difference")),
    };
    let sealed = match (audit.sealed, audit.runs) {
        (_, 0) => String::new(),
        (0, runs) => format!(", rows of {} by another Parquet writer", text::plural(runs, "run")),
        (sealed, runs) => {
            format!(", rows of {} of {} as they were sealed", count(sealed), text::plural(runs, "run"))
        }
    };
    print(&format!(
        "{}, {}, {} numbers, {} links{sealed}: {verdict}",
        text::plural(audit.pages, "page"),
        text::plural(audit.files, "file"),
        count(audit.numbers),
        count(audit.links),
    ))?;
    Ok(())
}
