//! `pinbench explain`: measure a study, take suspected causes away, and write the page that says what that did.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Args;
use pinbench::analyse::study::{CurveFound, Demonstration, Explanation, Layout, layout, wanted};
use pinbench::analyse::timing::Measured;
use pinbench::experiment::plan::{Device, PlanName};
use pinbench::experiment::study::Change;
use pinbench::experiment::study::Study;
use pinbench::experiment::{Experiment, Plan, PlanChange};
use pinbench::language::Language;
use pinbench::planted::Planted;
use pinbench::record::{Design, Measurement, MeasurementError};
use pinbench::report::{PAGE, study};
use pinbench::schedule::EXIT_INTERRUPTED;
use pinbench::{stats, text};

use crate::cmd::args::WrongUsage;
use crate::cmd::console::{print, this_command};
use crate::cmd::measure::{self, Taken, Turns};
use crate::cmd::workspace::Workspace;
use crate::cmd::{report, time};

/// Why one setting is slower than another, by taking suspected causes away
///
/// A study is a TOML file: two levels, and hypotheses with the change of config or plan that removes each. All of it is
/// timed in blocks; a cause is what takes the slowdown away when it is taken away. Built in are batch-size, resnet-vgg and
/// two-threads. The first looks come after 3 and 5 blocks; what is decided is measured no more.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pinbench explain batch-size
  pinbench explain my-study.toml --minutes 10
  pinbench explain batch-size --plan tuned --plant delay-load
  pinbench explain --from measurements/explain-batch-size-20260102T030405

Writes index.html, explanation.json and processes.csv into DIR/explain-STUDY;
another plan and demonstrations have folders of their own. Nothing else should
run meanwhile. After Ctrl-C the page is of the blocks that are whole.

explanation.json is one object. Its keys stay:
  format         2
  study, title, says, base, plan, low, high, ideal, reported
  demonstration  null, or what was planted
  blocks, alpha, tested, floor, processes, disturbed, repeated, left_out
  slowdown       presence (found, absent, undecided), ratio, above_ideal
  mechanisms     verdict and the ids of its hypotheses
  hypotheses     verdict, share, slowdown_given (before the removal, where a
                 setting holds on both sides), slowdown_left, gain, blocks, gauges
  parts          of a step: µs at both levels, and what is more
  curve          null, or points and the rise
  measurement, command
Estimates have the keys value, interval (or null) and n.")]
pub(crate) struct ExplainArgs {
    /// Id of a study, a unique start of it, or the path of its file
    #[arg(value_name = "STUDY", required_unless_present = "from")]
    study: Option<String>,
    /// How long to measure; a block that would end later does not begin
    #[arg(long, value_name = "N", default_value = "5", value_parser = time::minutes)]
    minutes: f64,
    /// Base plan: eager, tuned, fused, winograd [default: the study's]
    #[arg(long, value_name = "NAME", value_parser = plan_name)]
    plan: Option<PlanName>,
    /// Folder the page's own folder is written into
    #[arg(long, value_name = "DIR", default_value = "reports")]
    out: PathBuf,
    /// Folder to keep the measurement in [default: one of now under measurements/ beside the store]
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Measure nothing: make the page of what is in this folder
    #[arg(long, value_name = "DIR", conflicts_with_all = ["study", "plan", "keep", "planted", "aa"])]
    from: Option<PathBuf>,
    /// Demonstration: slow the high level down on purpose, to see it found
    ///
    /// delay-load, delay-forward, delay-backward and delay-optimizer wait 150 µs an image at the end of that phase,
    /// slow-step a fifth of the step. No other report ever counts such runs.
    #[arg(long = "plant", visible_alias = "planted", value_name = "FAULT", help_heading = "To see it work")]
    planted: Option<Planted>,
    /// Demonstration: measure the low level under both names, to see nothing found (an A/A run)
    #[arg(long, conflicts_with = "planted", help_heading = "To see it work")]
    aa: bool,
    /// What makes the measurement again, where it is not this command line.
    #[arg(skip)]
    command: Option<String>,
}

impl ExplainArgs {
    /// A built-in study in its own time, as `reproduce` asks for it.
    pub(crate) fn of(study: &str, out: &Path) -> Self {
        Self {
            study: Some(study.to_owned()),
            minutes: MINUTES,
            plan: None,
            out: out.to_owned(),
            keep: None,
            from: None,
            planted: None,
            aa: false,
            command: Some(format!("pinbench explain {study}")),
        }
    }
}

/// What [`ExplainArgs`] has where nobody says.
const MINUTES: f64 = 5.0;

/// Of the minutes, what is left for a study's curve, where it has one.
const FOR_THE_CURVE: f64 = 0.15;

/// Beside a measurement: which of its conditions are compared.
const LAYOUT: &str = "layout.json";
/// Folder in that of a measurement.
const CURVE: &str = "curve";

fn plan_name(name: &str) -> Result<PlanName, String> {
    let change = PlanChange::parse(&format!("plan.name={name}"))?;
    change.name.ok_or_else(|| format!("'{name}': expected a plan's name"))
}

pub(crate) fn run(workspace: &Workspace, args: &ExplainArgs) -> Result<ExitCode> {
    let Some(made) = explain(workspace, args)? else { return Ok(ExitCode::from(EXIT_INTERRUPTED)) };
    made.says.iter().try_for_each(|line| print(line))?;
    print(&made.page.display().to_string())?;
    Ok(if made.is_interrupted { ExitCode::from(EXIT_INTERRUPTED) } else { ExitCode::SUCCESS })
}

/// A page that was written.
pub(crate) struct Made {
    pub says: Vec<String>,
    pub page: PathBuf,
    pub is_interrupted: bool,
}

/// Measures and writes; `None` where somebody interrupted before there was anything to say.
pub(crate) fn explain(workspace: &Workspace, args: &ExplainArgs) -> Result<Option<Made>> {
    let (folder, is_interrupted) = match &args.from {
        Some(folder) => (folder.clone(), false),
        None => match measured(workspace, args)? {
            Some(measured) => measured,
            None => return Ok(None),
        },
    };
    let whole = workspace.root.join(&folder);
    let inside = whole.strip_prefix(&workspace.root).ok();
    // A path of this machine leads nobody anywhere who reads the page elsewhere.
    let name = inside.unwrap_or(Path::new(whole.file_name().unwrap_or(whole.as_os_str())));
    let shown = inside.unwrap_or(&folder).display().to_string();
    let named = name.display().to_string();
    let input = study::Input { has_index: args.out.join(PAGE).exists(), ..stored(&folder, &named)? };
    let out = args.out.join(study::folder_name(&input.study, &input.layout));
    report::replace(&out, &study::render(&input)?)?;
    workspace.note(&format!("kept in {shown}; `pinbench explain --from` makes the page of it again"));
    Ok(Some(Made { says: study::says(&input), page: out.join(PAGE), is_interrupted }))
}

/// What is to be measured, and where.
struct Asked<'a> {
    workspace: &'a Workspace,
    study: Study,
    /// Of the low and the high level.
    experiments: [Experiment; 2],
    layout: Layout,
    folder: PathBuf,
    budget: Duration,
    /// Makes the measurement again.
    command: String,
}

/// The folder it lies in, and whether somebody interrupted; `None` where that was before a block was whole.
fn measured(workspace: &Workspace, args: &ExplainArgs) -> Result<Option<(PathBuf, bool)>> {
    let began = Instant::now();
    let (asked, design) = asked(workspace, args)?;
    let Asked { study, layout, folder, .. } = &asked;
    workspace.note(&format!(
        "{}: {} conditions a block, {} at most",
        study.title,
        design.conditions.len(),
        text::duration(asked.budget)
    ));
    asked.keep()?;
    let has_curve = study.curve.is_some() && layout.demonstration.is_none();
    let budget = if has_curve { asked.budget.mul_f64(1.0 - FOR_THE_CURVE) } else { asked.budget };
    let mut wanted = |measured: &Measured| wanted(study, layout, measured);
    let turns = Turns::Own { budget };
    let taken = measure::measure(workspace, design, folder, &asked.command, turns, None, &mut wanted)?;
    let Some(taken) = taken else { return Ok(None) };
    let mut is_interrupted = taken.is_interrupted;
    if has_curve && !is_interrupted {
        is_interrupted = asked.curve(taken, asked.budget.saturating_sub(began.elapsed()))?;
    }
    Ok(Some((asked.folder, is_interrupted)))
}

fn asked<'a>(workspace: &'a Workspace, args: &ExplainArgs) -> Result<(Asked<'a>, Design)> {
    let demonstration = demonstration(args)?;
    let named = args.study.as_deref().unwrap_or_default();
    let mut study = workspace.study(named)?;
    study.plan.name = args.plan.or(study.plan.name);
    let experiments = [
        workspace.experiment_of(&study, &study.low.experiment)?,
        workspace.experiment_of(&study, &study.high.experiment)?,
    ];
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    let base = Plan::named(PlanName::Eager, threads, Device::Cpu);
    let (design, layout) = Layout::of(&study, experiments.each_ref(), &base, demonstration)
        .map_err(|error| WrongUsage(error.to_string()))?;
    // It is measured last, and its mistakes would cost all that was measured before.
    layout::curve(&study, &experiments[1], &layout.base, &Change::default())
        .map_err(|error| WrongUsage(error.to_string()))?;
    let folder = args
        .keep
        .clone()
        .map_or_else(|| measure::new_folder(workspace, &format!("explain-{}", study.id)), Ok)?;
    let budget = Duration::from_secs_f64(args.minutes * 60.0);
    let command = args.command.clone().unwrap_or_else(this_command);
    Ok((Asked { workspace, study, experiments, layout, folder, budget, command }, design))
}

fn demonstration(args: &ExplainArgs) -> Result<Option<Demonstration>, WrongUsage> {
    match args.planted {
        Some(planted) if planted.phase().is_none() => {
            let slow = Planted::ALL.into_iter().filter(|planted| planted.phase().is_some());
            let slow = slow.map(Planted::name).collect::<Vec<_>>().join(", ");
            Err(WrongUsage(format!("'{planted}' makes no step slower; expected one of {slow}")))
        }
        Some(planted) => Ok(Some(Demonstration::Planted(planted))),
        None => Ok(args.aa.then_some(Demonstration::Alike)),
    }
}

impl Asked<'_> {
    /// Puts the study and the layout where the measurement will be, so that a page is made of that folder alone.
    fn keep(&self) -> Result<()> {
        let Self { folder, study, .. } = self;
        if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(MeasurementError::Taken(folder.clone()).into());
        }
        let layout = serde_json::to_string_pretty(&self.layout)?;
        let writing = || format!("cannot write into '{}'", folder.display());
        fs::create_dir_all(folder).with_context(writing)?;
        fs::write(folder.join(format!("{}.toml", study.id)), study.text()).with_context(writing)?;
        fs::write(folder.join(LAYOUT), layout).with_context(writing)
    }

    /// The study's curve, as it is and with the main cause removed, where one was found and the time suffices. Whether
    /// somebody interrupted it. It has the machine of the blocks, and waits for nobody.
    fn curve(&self, blocks: Taken, left: Duration) -> Result<bool> {
        let Taken { measured, alone, .. } = blocks;
        let explanation = Explanation::of(&self.study, &self.layout, &measured);
        let Some(removal) = explanation.removal(&self.study) else { return Ok(false) };
        let design = layout::curve(&self.study, &self.experiments[1], &self.layout.base, &removal)
            .map_err(|error| WrongUsage(error.to_string()))?;
        let us: Vec<f64> = measured.costs(self.layout.levels.high).map(|cost| cost.us_per_image).collect();
        let us = stats::mean(&us).unwrap_or(0.0);
        // Ten steps are what a process takes whose memory grows, and it needs about a second to be made ready.
        let s = |batch: u32| (10e-6 * us * f64::from(batch)).clamp(0.6, 2.6) + 1.0;
        let needed: f64 = design.conditions.iter().map(|condition| s(condition.config.train.batch)).sum();
        if needed > left.as_secs_f64() {
            self.workspace.note(&format!(
                "the study's curve is left out: it takes about {}, and {} are left (`--minutes`)",
                text::duration(Duration::from_secs_f64(needed)),
                text::duration(left)
            ));
            return Ok(false);
        }
        self.workspace.note(&format!(
            "the curve over `{}`, once",
            self.study.curve.as_ref().map_or("", |curve| &curve.key)
        ));
        // One block, whatever it takes.
        let folder = self.folder.join(CURVE);
        let once = Turns::Own { budget: Duration::ZERO };
        let taken =
            measure::measure(self.workspace, design, &folder, &self.command, once, alone, &mut |_| {
                Vec::new()
            })?;
        Ok(taken.is_none_or(|taken| taken.is_interrupted))
    }
}

/// A measured study, from its folder, which the page is to name so.
fn stored(folder: &Path, shown: &str) -> Result<study::Input> {
    let missing = |what: &str| {
        WrongUsage(format!(
            "'{}' has no {what}: expected a folder that `pinbench explain` kept",
            folder.display()
        ))
    };
    let files = fs::read_dir(folder).with_context(|| format!("cannot read '{}'", folder.display()))?;
    let mut paths = files.filter_map(|entry| Some(entry.ok()?.path()));
    let is_study = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "toml");
    let study = Study::load(&paths.find(is_study).ok_or_else(|| missing("study"))?)?;
    let layout = fs::read_to_string(folder.join(LAYOUT)).map_err(|_| missing(LAYOUT))?;
    let layout: Layout = serde_json::from_str(&layout).with_context(|| format!("'{LAYOUT}'"))?;
    let measurement = Measurement::open(folder)?;
    let mut measured = Measured::of(&measurement)?;
    // What is left of a block that was interrupted is compared with nothing.
    let levels = [layout.levels.low, layout.levels.high];
    measured.blocks.retain(|_, block| levels.iter().all(|level| block.processes.contains_key(level)));
    let curve = match &study.curve {
        Some(curve) if folder.join(CURVE).exists() => {
            Some(CurveFound::of(curve, &Measured::of(&Measurement::open(&folder.join(CURVE))?)?))
        }
        _ => None,
    };
    Ok(study::Input {
        explanation: Explanation::of(&study, &layout, &measured),
        study,
        layout,
        measured,
        curve,
        records: measurement.store.records()?.records,
        command: measurement.command,
        folder: shown.to_owned(),
        has_index: false,
        languages: Language::ALL.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use pinbench::experiment::study::Test;

    use super::*;
    use crate::cmd::built_in;

    fn experiment(id: &str) -> Experiment {
        let all = || built_in::EXPERIMENTS.iter().chain(built_in::EXAMPLES);
        let (id, text) = all().find(|(known, _)| *known == id).unwrap();
        Experiment::parse(Path::new(&format!("{id}.toml")), text).unwrap()
    }

    /// What cannot be applied would be found only after minutes of measuring.
    #[test]
    fn every_built_in_study_can_be_measured_and_each_removal_changes_something() {
        for (id, text) in built_in::STUDIES {
            let study = Study::parse(Path::new(&format!("{id}.toml")), text).unwrap();
            let experiments = [experiment(&study.low.experiment), experiment(&study.high.experiment)];
            let base = Plan::named(PlanName::Eager, 2, Device::Cpu);
            let (design, layout) = Layout::of(&study, experiments.each_ref(), &base, None).unwrap();
            let removals = |test: &&Test| matches!(test, Test::Remove { .. });
            let removals =
                study.hypotheses.iter().map(|hypothesis| &hypothesis.test).filter(removals).count();
            let compared = layout.tests.iter().filter(|test| matches!(test, layout::Arranged::Compared(_)));
            assert_eq!(compared.count(), removals, "{id}");
            assert!(design.conditions.len() <= 24, "{id}: {} conditions", design.conditions.len());
            for (index, hypothesis) in study.hypotheses.iter().enumerate() {
                if let Test::Remove { given, remove } = &hypothesis.test {
                    let change = given.then(remove);
                    let curve = layout::curve(&study, &experiments[1], &layout.base, &change);
                    assert!(curve.is_ok_and(|design| !design.conditions.is_empty()), "{id} {index}");
                }
            }
        }
    }
}
