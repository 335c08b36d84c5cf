//! Two streams: what was asked for goes to standard output, everything else to standard error.

use std::io::{self, Write as _};

#[cfg(feature = "torch")]
use pinbench::schedule::Event;
use pinbench::text::shell_word;

/// A line for people. That standard error is closed is nobody's loss.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// What must not go unseen, also under `--quiet`.
pub(crate) fn warn(line: &str) {
    say(&format!("warning: {line}"));
}

/// A line of what was asked for. That nobody reads on, as after `| head` and `| grep -q`, ends no work half-way and changes no
/// exit code.
pub(crate) fn print(line: &str) -> io::Result<()> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

pub(crate) fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    Ok(print(&serde_json::to_string_pretty(value)?)?)
}

/// An error and what caused it, each once: a message may quote its cause, and its cause comes after it all the same.
pub(crate) fn causes(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.as_str() {
        "" => cause,
        text if text.contains(&cause) => said,
        text => format!("{text}: {cause}"),
    })
}

#[cfg(feature = "torch")]
/// A line for the process that started this one. That it is gone does not stop a run: what matters is the store.
pub(crate) fn tell(event: &Event) {
    let mut out = io::stdout().lock();
    let line = serde_json::to_string(event).unwrap_or_else(|error| format!("unspeakable event: {error}"));
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Columns under each other, two spaces between them.
pub(crate) fn table(rows: &[Vec<String>]) -> Vec<String> {
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..rows.iter().map(Vec::len).max().unwrap_or(0)).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// The command that runs now.
pub(crate) fn this_command() -> String {
    let words = std::env::args_os().skip(1).map(|word| shell_word(&word.to_string_lossy()));
    std::iter::once("pinbench".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_by_letters_and_lines_have_no_blanks_at_their_ends() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        assert_eq!(table(&[row(["é", "b"]), row(["long", ""])]), ["é     b", "long"]);
    }

    /// "cannot create '/proc/x': No such file or directory (os error 2); check the disk and the path: No such file or
    /// directory (os error 2)".
    #[test]
    fn a_cause_that_a_message_quotes_is_not_said_again() {
        let cause = || std::io::Error::from_raw_os_error(libc::ENOENT);
        let quoted = anyhow::Error::new(cause()).context(format!("cannot create '/proc/x': {}", cause()));
        assert_eq!(causes(&quoted), format!("cannot create '/proc/x': {}", cause()));
        let told = anyhow::Error::new(cause()).context("cannot create '/proc/x'");
        assert_eq!(causes(&told), format!("cannot create '/proc/x': {}", cause()));
    }
}
