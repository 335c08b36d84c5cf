//! The `pinbench` command.

mod cli;
mod cmd;

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory as _, Parser as _};
use pinbench::analyse::gate::Exit;
use pinbench::data::add::AddError;
use pinbench::experiment::ExperimentError;
use pinbench::report::bundle::BundleError;
use pinbench::report::kept::KeptError;
use pinbench::schedule::{EXIT_INTERRUPTED, ExclusiveError};

use cli::{Cli, Verb};
use cmd::baseline::BaselineVerb;
use cmd::data::DataVerb;
use cmd::{WrongUsage, console};

fn main() -> ExitCode {
    // Before the arguments are parsed, which may name a set.
    let wrong = cmd::data::define_own();
    run(Cli::parse(), &wrong).unwrap_or_else(|error| leave(&error))
}

fn run(cli: Cli, wrong: &[String]) -> Result<ExitCode> {
    // A child's output is its parent's, who has said so already.
    if !matches!(cli.verb, Verb::Train { .. }) {
        wrong.iter().for_each(|text| console::warn(text));
    }
    let workspace = cmd::Workspace::of(&cli.global)?;
    match cli.verb {
        Verb::Reproduce(args) => cmd::reproduce::run(&workspace, &args),
        Verb::Run(args) => cmd::run::run(&workspace, &args),
        Verb::Report(args) => cmd::report::run(&workspace, &args),
        Verb::List(args) => cmd::list::run(&workspace, &args),
        Verb::Show(args) => cmd::show::run(&workspace, &args),
        Verb::Verify(args) => cmd::verify::run(&workspace, &args),
        Verb::Check(args) => cmd::check::run(&workspace, &args),
        Verb::Baseline(BaselineVerb::Accept(args)) => cmd::baseline::run(&workspace, &args),
        Verb::Time(args) => cmd::time::run(&workspace, &args),
        Verb::Explain(args) => cmd::explain::run(&workspace, &args),
        Verb::Audit(args) => cmd::audit::run(&args),
        Verb::Bundle(args) => cmd::bundle::run(&args),
        Verb::Export(args) => cmd::export::run(&workspace, &args),
        Verb::Trace(args) => cmd::trace::run(&workspace, &args),
        Verb::Diff(args) => cmd::diff::run(&workspace, &args),
        Verb::Manifest(args) => cmd::manifest::run(&workspace, &args),
        Verb::Merge(args) => cmd::merge::run(&workspace, &args),
        Verb::Completions(args) => cmd::completions::run(&args, Cli::command()),
        Verb::Doctor(args) => cmd::doctor::run(&workspace, &args),
        Verb::Data(DataVerb::Fetch(args)) => cmd::data::fetch(&workspace, &args),
        Verb::Data(DataVerb::Add(args)) => cmd::data::add(&workspace, &args),
        Verb::Data(DataVerb::List) => cmd::data::list(),
        Verb::Data(DataVerb::Verify(args)) => cmd::data::verify(&workspace, &args),
        Verb::Init(args) => cmd::init::run(&workspace, &args),
        Verb::Help(args) => cmd::help::run(&args.topic, Cli::command()),
        #[cfg(feature = "torch")]
        Verb::Train { parent, patient } => cmd::train::run(parent, patient),
        #[cfg(not(feature = "torch"))]
        Verb::Train { .. } => Err(cmd::without_torch()),
    }
}

/// The one door for errors: what it says to a person, and the exit code it means.
fn leave(error: &anyhow::Error) -> ExitCode {
    console::say(&format!("error: {}", console::causes(error)));
    let is = |wrong: fn(&(dyn std::error::Error + 'static)) -> bool| error.chain().any(wrong);
    if is(|cause| matches!(cause.downcast_ref(), Some(ExclusiveError::Interrupted)))
        || is(|cause| matches!(cause.downcast_ref(), Some(AddError::Interrupted)))
    {
        return ExitCode::from(EXIT_INTERRUPTED);
    }
    let is_usage = is(|cause| {
        cause.is::<WrongUsage>()
            || cause.is::<ExperimentError>()
            || cause.downcast_ref().is_some_and(AddError::is_usage)
            || cause.downcast_ref().is_some_and(KeptError::is_usage)
            || cause.downcast_ref().is_some_and(BundleError::is_usage)
    });
    ExitCode::from(match is_usage {
        true => cmd::EXIT_USAGE,
        false if error.is::<cmd::check::NotJudged>() => Exit::NotComparable.code(),
        false => cmd::EXIT_FAILURE,
    })
}
