//! `pinbench bundle`: the evidence of pages in one file.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use pinbench::digest::Digest;
use pinbench::report::bundle;
use pinbench::text;

use crate::cmd::audit;
use crate::cmd::console::print;
use crate::cmd::report::write_whole;

/// Put pages and all their evidence into one file, or check such a file
///
/// The file is a gzipped tar of the folder of pages, with the SHA-256 of each file and the versions of every library of this
/// program. The same pages give the same bytes. Checking it needs no store, no data set and no network.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pinbench bundle reports/quick --out evidence.tar.gz
  pinbench bundle --verify evidence.tar.gz

Exit codes of --verify are those of pinbench audit.")]
pub(crate) struct BundleArgs {
    /// Folder of pages
    #[arg(value_name = "DIR", required_unless_present = "verify")]
    folder: Option<PathBuf>,
    /// File to write
    #[arg(long, value_name = "FILE", default_value = "pinbench-evidence.tar.gz")]
    out: PathBuf,
    /// Check this file: the digest of everything in it, then its pages as `pinbench audit` does
    #[arg(long, value_name = "FILE", conflicts_with_all = ["folder", "out"])]
    verify: Option<PathBuf>,
}

pub(crate) fn run(args: &BundleArgs) -> Result<ExitCode> {
    match (&args.verify, &args.folder) {
        (Some(file), _) => verify(file),
        (None, Some(folder)) => {
            let bytes = bundle::pack(folder, &args.out)?;
            let writing = || format!("cannot write '{}'; check space and permissions", args.out.display());
            write_whole(&args.out, &bytes).with_context(writing)?;
            let size = text::bytes(bytes.len() as u64);
            print(&format!("{}: {size}, SHA-256 {}", args.out.display(), Digest::of(&bytes)))?;
            Ok(ExitCode::SUCCESS)
        }
        // clap asks for one of the two.
        (None, None) => Ok(ExitCode::FAILURE),
    }
}

fn verify(file: &Path) -> Result<ExitCode> {
    let folder = tempfile::tempdir().context("cannot make a folder to unpack the bundle into")?;
    let checked = bundle::verify(file, folder.path())?;
    let files = text::plural(checked.files, "file");
    print(&format!("{}: {files} with the digests that are named for them", file.display()))?;
    audit::tell(&checked.audit)?;
    Ok(audit::exit_code(&checked.audit))
}
