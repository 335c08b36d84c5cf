//! `pinbench reproduce`: train what is due, then make the reports.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use pinbench::experiment::{Experiment, Setting};
use pinbench::language::Language;
use pinbench::report::{Lead, PAGE, kept};
use pinbench::schedule::EXIT_INTERRUPTED;
use pinbench::words::Words;

use crate::cmd::args::SweepArgs;
use crate::cmd::console::print;
use crate::cmd::explain::{ExplainArgs, Made, explain};
use crate::cmd::list::dry_run;
use crate::cmd::report::{Choice, Reporter};
use crate::cmd::sweep::sweep;
use crate::cmd::workspace::Workspace;

/// Train what is missing of the experiments, then make their reports
///
/// The one command to get from a fresh clone to the pages. A trial is an arm under a seed; those that are done are not trained again, so that after
/// an interruption the same command goes on. Before it starts it says what is done, what is due and how long that
/// takes. The path of each report is printed on standard output.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pinbench reproduce m1 --profile full
  pinbench reproduce --profile smoke --report /tmp/reports
  pinbench reproduce m1 --plan eager        times of a plain PyTorch script
  pinbench reproduce --dry-run              what is due, and how long it takes

Words such as arm, profile and plan: pinbench help words.
A run that failed or diverged is in the report, and the exit code is 1.")]
pub(crate) struct ReproduceArgs {
    #[command(flatten)]
    pub sweep: SweepArgs,
    /// Folder the reports are written into, one folder an experiment
    #[arg(long, value_name = "DIR", default_value = "reports")]
    pub report: PathBuf,
}

pub(crate) fn run(workspace: &Workspace, args: &ReproduceArgs) -> Result<ExitCode> {
    if args.sweep.dry_run {
        let explained = match args.sweep.experiments.is_empty() {
            true => format!(", and `pinbench explain {STUDY}` would run where its experiment is among these"),
            false => String::new(),
        };
        let then = format!("then the reports would be written into '{}'{explained}", args.report.display());
        return dry_run(workspace, &args.sweep, None, &then);
    }
    let swept = sweep(workspace, &args.sweep, None, false)?;
    if swept.tally.interrupted {
        return Ok(swept.exit_code());
    }
    let choice = match swept.environment.clone() {
        Some(environment) => Choice::Exactly(swept.plan.clone(), Box::new(environment)),
        None => Choice::Fullest(Some(swept.plan.base.name)),
    };
    let listing = swept.store.records()?;
    // What went wrong there is said at the end: the pages of what was trained are made in any case.
    let explained = explanation(workspace, args, &swept.experiments);
    let reporter = Reporter {
        workspace,
        store: Some(&swept.store),
        listing: &listing,
        profile: args.sweep.profile.name(),
        out: &args.report,
        steps: None,
        languages: &Language::ALL,
    };
    let written = reporter.write(&swept.experiments, &choice, Some((&swept.plan.base, swept.at_once)))?;
    take_away(&written.leads, &args.report).iter().for_each(|line| workspace.note(line));
    let (made, is_interrupted) = explained?;
    if let Some(made) = &made {
        made.says.iter().for_each(|line| workspace.note(line));
        print(&made.page.display().to_string())?;
    }
    Ok(if is_interrupted { ExitCode::from(EXIT_INTERRUPTED) } else { swept.exit_code() })
}

/// What a newcomer's index leads with.
const STUDY: &str = "batch-size";

/// Explains what the built-in experiments leave open, where all of them were asked for and it is not there yet. Before the
/// pages, which link it. Whether somebody interrupted that stands beside it.
fn explanation(
    workspace: &Workspace,
    args: &ReproduceArgs,
    experiments: &[Experiment],
) -> Result<(Option<Made>, bool)> {
    if !args.sweep.experiments.is_empty() || !cfg!(feature = "torch") {
        return Ok((None, false));
    }
    let study = workspace.study(STUDY)?;
    if experiments.iter().all(|experiment| experiment.id != study.low.experiment) {
        return Ok((None, false));
    }
    let folder = args.report.join(format!("explain-{STUDY}"));
    // One of an older pinbench could not be checked.
    if kept::kind(&folder).is_ok_and(|kind| kind == Some(kept::Kind::Explanation)) {
        workspace.note(&format!("'{}' is there; `pinbench explain {STUDY}` makes it anew", folder.display()));
        return Ok((None, false));
    }
    let made = explain(workspace, &ExplainArgs::of(STUDY, &args.report))?;
    let is_interrupted = made.as_ref().is_none_or(|made| made.is_interrupted);
    Ok((made, is_interrupted))
}

/// Experiments whose sentences are still read on a terminal; of more, what their claims came to.
const MOST_TOLD: usize = 3;
/// Of a terminal that nobody has made wider.
const COLUMNS: usize = 80;

/// What the pages say, for who does not open them at once: each with its path.
fn take_away(leads: &[Lead], reports: &Path) -> Vec<String> {
    leads.iter().flat_map(|lead| told(lead, reports, leads.len() <= MOST_TOLD)).collect()
}

fn told(lead: &Lead, reports: &Path, is_whole: bool) -> Vec<String> {
    let mut lines = wrapped(if is_whole { &lead.title } else { &lead.id }, "");
    // A path is copied, and is no path any more in two lines.
    lines.push(format!("  {}", reports.join(&lead.id).join(PAGE).display()));
    if is_whole {
        lines.extend(lead.sentences.iter().flat_map(|sentence| wrapped(sentence, "  ")));
    }
    let counts: Vec<String> = lead
        .verdicts
        .iter()
        .map(|(verdict, count)| format!("{} {count}", verdict.says(Setting::Own, Words::english())))
        .collect();
    if !counts.is_empty() {
        lines.extend(wrapped(&format!("claims: {}", counts.join(", ")), "  "));
    }
    lines
}

/// Lines of at most [`COLUMNS`] letters, but for a word that is longer; those after the first stand further in.
fn wrapped(text: &str, indent: &str) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), indent.to_owned());
    for word in text.split_whitespace() {
        let is_begun = !line.trim().is_empty();
        if is_begun && line.chars().count() + 1 + word.chars().count() > COLUMNS {
            lines.push(std::mem::replace(&mut line, format!("{indent}  ")));
        } else if is_begun {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lead(id: &str) -> Lead {
        let sentence = "Holds: In as many epochs, batch 1024 ends behind batch 64: it has made a sixteenth of the \
                        updates (demo.a: +0.3837, interval +0.2098 to +0.5575, 3 seeds).";
        Lead {
            id: id.to_owned(),
            title: "A first page: batch 64, 128 and 1024 on a little of MNIST".to_owned(),
            sentences: vec![sentence.to_owned()],
            verdicts: vec![(pinbench::analyse::Verdict::ALL[0], 2)],
        }
    }

    #[test]
    fn what_a_page_says_fits_a_terminal_and_has_the_pages_path() {
        let lines = take_away(&[lead("demo")], Path::new("reports"));
        assert_eq!(lines[1], "  reports/demo/index.html");
        assert!(lines.iter().all(|line| line.chars().count() <= COLUMNS), "{lines:#?}");
        assert_eq!(lines[2..4].iter().filter(|line| line.starts_with("    ")).count(), 1, "{lines:#?}");
        assert!(lines.last().unwrap().starts_with("  claims: ") && lines.last().unwrap().ends_with(" 2"));
    }

    #[test]
    fn of_many_pages_only_paths_and_counts_are_said() {
        let leads: Vec<Lead> = (0..5).map(|number| lead(&format!("m{number}"))).collect();
        let lines = take_away(&leads, Path::new("reports"));
        assert_eq!(lines.len(), 15, "{lines:#?}");
        assert_eq!(&lines[3..5], ["m1", "  reports/m1/index.html"]);
    }
}
