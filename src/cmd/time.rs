//! `pinbench time`: how fast a network's step is, where its time goes, and which of several ways is faster.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use pinbench::analyse::timing::Measured;
use pinbench::experiment::plan::Device;
use pinbench::experiment::{Arm, Experiment, Plan, PlanChange, setting};
use pinbench::planted::Planted;
use pinbench::record::{Condition, Design, Measurement};
use pinbench::report::timing::{self, Machine};
use pinbench::report::{File, PAGE};
use pinbench::schedule::EXIT_INTERRUPTED;
use pinbench::words::Words;
use serde_json::Value;

use crate::cmd::args::{EXIT_FAILURE, ProfileArg, WrongUsage};
use crate::cmd::console::{print, print_json, this_command};
use crate::cmd::measure::{self, Turns};
use crate::cmd::workspace::Workspace;

/// How fast a network's step is, and which way of running it is faster
///
/// Times a few warm steps of each condition, each in a process of its own, again and again in blocks until the minutes are
/// spent. Ratios are within blocks. The first condition is also measured under a second name: what the two differ by is
/// noise, and nothing smaller is called a difference.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pinbench time m1                                    ms a step, and where they go
  pinbench time my.toml --plan eager,tuned            which plan is faster here
  pinbench time m1 --set train.batch=64,128,1024
  pinbench time m1 --set plan.threads=1,2 --minutes 2 --json

Everything is kept in a folder, `--from FOLDER` prints it again. The exit code is
1 where a condition has no process that came to its end.")]
pub(crate) struct TimeArgs {
    /// Id of an experiment, a unique start of it, or the path of its file
    #[arg(value_name = "EXPERIMENT", required_unless_present = "from")]
    experiment: Option<String>,
    /// An arm by its name; may be repeated, `all` is every arm [default: the first]
    #[arg(long, value_name = "ARM")]
    arm: Vec<String>,
    /// Values of a key of the config or the plan to compare; may be repeated, then every combination is timed
    #[arg(long, value_name = "KEY=VALUE,…", value_parser = setting::parse)]
    set: Vec<(String, Vec<Value>)>,
    /// Plans to compare: eager, tuned, fused, winograd, graph [default: what the file's [plan] says, else winograd, and tuned on a GPU]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = plan_name)]
    plan: Vec<PlanChange>,
    /// Where to train: cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: Device,
    #[command(flatten)]
    profile: ProfileArg,
    /// How long to measure; a block that would end later does not begin
    #[arg(long, value_name = "N", default_value = "0.5", value_parser = minutes)]
    minutes: f64,
    /// Print one JSON object; its keys stay
    #[arg(long)]
    json: bool,
    /// Write a page into this folder too
    #[arg(long, value_name = "DIR")]
    page: Option<PathBuf>,
    /// Folder to keep the measurement in [default: one of now under measurements/ beside the store]
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Measure nothing: print what is in this folder
    #[arg(long, value_name = "DIR", conflicts_with_all = ["experiment", "arm", "set", "plan", "keep",
        "planted", "minutes", "device", "name"])]
    from: Option<PathBuf>,
    /// Wait for a line of standard input before each turn of steps: for programs that time several builds in turn
    ///
    /// Prints a line when it is ready for a turn, and the JSON object when the minutes are spent, which are those of its turns.
    /// One arm under one plan, in one process; whoever gives the turns sees to it that nothing else has the machine.
    #[arg(long, requires = "json", conflicts_with_all = ["from", "page"])]
    on_cue: bool,
    /// Demonstration: slow the last condition down on purpose, to see it found
    #[arg(long = "plant", value_name = "FAULT", help_heading = "To see it work")]
    planted: Option<Planted>,
}

/// A line that says that the next turn may come.
pub(crate) const READY: &str = "ready";

/// The least and the most it makes sense to measure.
pub(crate) fn minutes(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(minutes) if (0.05..=1440.0).contains(&minutes) => Ok(minutes),
        _ => Err(format!("'{text}': expected minutes from 0.05 to 1440")),
    }
}

fn plan_name(name: &str) -> Result<PlanChange, String> {
    PlanChange::parse(&format!("plan.name={name}"))
}

pub(crate) fn run(workspace: &Workspace, args: &TimeArgs) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    // The machine is kept until what it can do is measured too.
    let (measured, folder, _alone) = match &args.from {
        Some(folder) => {
            if !folder.is_dir() {
                return Err(WrongUsage(format!("--from: there is no folder '{}'", folder.display())).into());
            }
            let measured = Measured::of(&Measurement::open(folder)?)?;
            if !is_whole(&measured) {
                code = ExitCode::from(EXIT_FAILURE);
            }
            (measured, folder.clone(), None)
        }
        None => {
            let design = design(workspace, args)?;
            let name = format!("time-{}", design.conditions[0].experiment);
            let folder = args.keep.clone().map_or_else(|| measure::new_folder(workspace, &name), Ok)?;
            let budget = Duration::from_secs_f64(args.minutes * 60.0);
            let turns = match args.on_cue {
                true => Turns::OnCue { span: budget, cue: &cue },
                false => Turns::Own { budget },
            };
            // All of them until the end: the budget is short, and an interval that is looked at once needs no care.
            let mut all = |measured: &Measured| (0..measured.design.conditions.len()).collect();
            match measure::measure(workspace, design, &folder, &this_command(), turns, None, &mut all)? {
                Some(taken) => {
                    if taken.is_interrupted {
                        code = ExitCode::from(EXIT_INTERRUPTED);
                    } else if !is_whole(&taken.measured) {
                        code = ExitCode::from(EXIT_FAILURE);
                    }
                    (taken.measured, folder, taken.alone)
                }
                None => return Ok(ExitCode::from(EXIT_INTERRUPTED)),
            }
        }
    };
    let measured = measured.counted();
    let machine = match &args.from {
        Some(_) => kept_machine(&folder)?,
        // What the machine can do is measured on all of it, and another has its turn.
        None if args.on_cue => Machine::default(),
        None => keep_machine(&folder, &measured)?,
    };
    if args.json {
        print_json(&timing::json(&measured, &machine))?;
    } else {
        timing::table(&measured, &machine).iter().try_for_each(|line| print(line))?;
        print("")?;
        timing::sentences(&measured, Words::english()).iter().try_for_each(|line| print(line))?;
    }
    if let Some(out) = &args.page {
        let page = write(out, &measured, &machine, &command(&folder)?)?;
        workspace.note(&format!("page: {}", page.display()));
    }
    workspace.note(&format!("kept in {}", folder.display()));
    Ok(code)
}

/// Whether something is known of each condition. Why it is not was said when its process failed.
fn is_whole(measured: &Measured) -> bool {
    (0..measured.design.conditions.len()).all(|condition| measured.costs(condition).next().is_some())
}

/// Waits until somebody gives a turn: a line.
fn cue() -> bool {
    let mut line = String::new();
    print(READY).is_ok() && io::stdin().read_line(&mut line).is_ok_and(|bytes| bytes > 0)
}

/// What measured it.
fn command(folder: &Path) -> Result<String> {
    Ok(Measurement::open(folder)?.command)
}

fn write(out: &Path, measured: &Measured, machine: &Machine, command: &str) -> Result<PathBuf> {
    fs::create_dir_all(out).with_context(|| format!("cannot create '{}'", out.display()))?;
    let json = serde_json::to_string_pretty(&timing::json(measured, machine))?;
    let mut files = timing::pages(measured, machine, command)?;
    files.push(File { name: "timing.json".to_owned(), bytes: json.into_bytes() });
    for File { name, bytes } in files {
        let path = out.join(name);
        fs::write(&path, bytes).with_context(|| format!("cannot write '{}'", path.display()))?;
    }
    Ok(out.join(PAGE))
}

/// Every combination of arms, values and plans; the first is what the others are compared with.
fn design(workspace: &Workspace, args: &TimeArgs) -> Result<Design> {
    let asked = args.experiment.iter().cloned().collect::<Vec<_>>();
    let experiments = workspace.experiments(&asked, args.profile.name().as_ref())?;
    let experiment = experiments.first().ok_or_else(|| WrongUsage("no experiment was named".to_owned()))?;
    let arms = arms(workspace, experiment, &args.arm)?;
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    let base = Plan::by_default(cores, args.device);
    let plans = if args.plan.is_empty() { vec![PlanChange::default()] } else { args.plan.clone() };
    let mut conditions = Vec::new();
    for arm in &arms {
        for plan in &plans {
            for settings in combinations(&args.set) {
                let mut parts = Vec::new();
                if arms.len() > 1 {
                    parts.push(arm.name.to_string());
                }
                if plans.len() > 1 {
                    parts.extend(plan.name.map(|name| name.to_string()));
                }
                let varied = |key: &str| args.set.iter().any(|(set, values)| set == key && values.len() > 1);
                parts.extend(settings.iter().filter(|(key, _)| varied(key)).map(setting_name));
                let name = if parts.is_empty() { arm.name.to_string() } else { parts.join(", ") };
                let (config, plan) = changed(arm, &base, plan, &settings)?;
                conditions.push(Condition {
                    name,
                    experiment: experiment.id.clone(),
                    config,
                    plan,
                    fault: None,
                });
            }
        }
    }
    refuse_too_many(conditions.len())?;
    refuse_twins(&conditions)?;
    if let Some(last) = conditions.last_mut() {
        last.fault = args.planted;
    }
    if args.on_cue {
        let found = conditions.len();
        return match found {
            1 => Ok(Design { conditions, alike: None }),
            _ => Err(WrongUsage(format!(
                "--on-cue: found {found} combinations of arms, plans and values, expected one; give --arm and one of each"
            ))
            .into()),
        };
    }
    if args.planted.is_some() && conditions.len() < 2 {
        let wrong = "--plant slows the last condition down, and the first is what it is compared with: give two, as in --plan";
        return Err(WrongUsage(format!("{wrong} eager,tuned")).into());
    }
    let control =
        Condition { name: format!("{} again", conditions[0].name), fault: None, ..conditions[0].clone() };
    let alike = Some((0, conditions.len()));
    conditions.push(control);
    Ok(Design { conditions, alike })
}

const MOST_CONDITIONS: usize = 24;

fn refuse_too_many(conditions: usize) -> Result<(), WrongUsage> {
    if conditions <= MOST_CONDITIONS {
        return Ok(());
    }
    Err(WrongUsage(format!(
        "{conditions} combinations are too many to time in one block, expected at most {MOST_CONDITIONS}; give fewer values"
    )))
}

fn refuse_twins(conditions: &[Condition]) -> Result<(), WrongUsage> {
    let mut names: Vec<&str> = conditions.iter().map(|condition| condition.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(WrongUsage(format!("'{}' is there twice; give each value once", pair[0]))),
        None => Ok(()),
    }
}

fn arms<'a>(workspace: &Workspace, experiment: &'a Experiment, asked: &[String]) -> Result<Vec<&'a Arm>> {
    let all = &experiment.profile.arms;
    if asked.iter().any(|name| name == "all") {
        return Ok(all.iter().collect());
    }
    if asked.is_empty() {
        let first = all.first().ok_or_else(|| WrongUsage(format!("'{}' has no arm", experiment.id)))?;
        if all.len() > 1 {
            workspace.note(&format!(
                "'{}', the first of {} arms; --arm all times each",
                first.name,
                all.len()
            ));
        }
        return Ok(vec![first]);
    }
    let named = |name: &String| {
        all.iter().find(|arm| arm.name.en() == *name || arm.label == *name).ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|arm| arm.name.en()).collect();
            WrongUsage(format!(
                "no arm '{name}' in '{}': expected one of {}",
                experiment.id,
                names.join("; ")
            ))
            .into()
        })
    };
    asked.iter().map(named).collect()
}

/// Every choice of one value a key.
fn combinations(set: &[(String, Vec<Value>)]) -> Vec<Vec<(String, Value)>> {
    set.iter().fold(vec![vec![]], |chosen, (key, values)| {
        let with = |settings: &Vec<(String, Value)>| -> Vec<Vec<(String, Value)>> {
            let one = |value: &Value| [settings.clone(), vec![(key.clone(), value.clone())]].concat();
            values.iter().map(one).collect()
        };
        chosen.iter().flat_map(with).collect()
    })
}

fn setting_name((key, value): &(String, Value)) -> String {
    let short = key.rsplit('.').next().unwrap_or(key);
    match value {
        Value::String(word) => format!("{short} {word}"),
        other => format!("{short} {other}"),
    }
}

/// The arm under a plan with these settings; what is set goes before the plan's name, and that before the file.
fn changed(
    arm: &Arm,
    base: &Plan,
    named: &PlanChange,
    settings: &[(String, Value)],
) -> Result<(pinbench::experiment::Config, Plan)> {
    let (of_plan, of_config): (Vec<_>, Vec<_>) =
        settings.iter().cloned().partition(|(key, _)| key.starts_with("plan."));
    let wrong = |error: String| anyhow::Error::from(WrongUsage(format!("--set: {error}")));
    let config = arm.config.with(&of_config).map_err(wrong)?;
    let mut change = arm.plan.then(named);
    for (key, value) in &of_plan {
        let value = match value {
            Value::String(word) => word.clone(),
            other => other.to_string(),
        };
        change = change.then(&PlanChange::parse(&format!("{key}={value}")).map_err(wrong)?);
    }
    Ok((config, change.apply(base)))
}

/// In the folder of a measurement: it is of the machine that measured, which need not be the one that prints it again.
const MACHINE: &str = "machine.json";

fn keep_machine(folder: &Path, measured: &Measured) -> Result<Machine> {
    let (machine, path) = (machine(measured), folder.join(MACHINE));
    let writing = || format!("cannot write '{}'", path.display());
    fs::write(&path, serde_json::to_string_pretty(&machine)?).with_context(writing)?;
    Ok(machine)
}

/// What was kept; nothing where the measurement ended before.
fn kept_machine(folder: &Path) -> Result<Machine> {
    let path = folder.join(MACHINE);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Machine::default()),
        text => text.with_context(|| format!("cannot read '{}'", path.display()))?,
    };
    serde_json::from_str(&text).with_context(|| format!("'{}'", path.display()))
}

/// What the parts of a step are measured against, where it is the processor that trains.
#[cfg(feature = "torch")]
fn machine(measured: &Measured) -> Machine {
    let is_cpu = measured.design.conditions.iter().all(|condition| condition.plan.device == Device::Cpu);
    // The processes had the threads of their plans, whatever the shell says.
    let threads = measured.design.conditions.iter().map(|condition| condition.plan.threads).max();
    let of = |threads| pinbench::train::ceilings_of(threads).ok();
    let ceilings = if is_cpu { threads.and_then(of) } else { None };
    Machine { arithmetic_flop_per_s: ceilings.map(|ceilings| ceilings.flop_per_s) }
}

#[cfg(not(feature = "torch"))]
fn machine(_: &Measured) -> Machine {
    Machine { arithmetic_flop_per_s: None }
}
