//! The gate's probes: asked of children, one process for each set of threads, kernels and instructions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use pinbench::analyse::gate::probe::{changed_keys, compare, structure};
use pinbench::analyse::gate::{Alarm, Bar, Finding, Findings, Subject, Verdict};
use pinbench::experiment::plan::{Device, Plan, PlanName};
use pinbench::experiment::probe::{Answers, Probe, ProbeFile, ProbedArm, SEEDS, Stored};
use pinbench::experiment::{Arm, Experiment, PlanChange, PlanHash, Trial};
use pinbench::planted::Planted;
use pinbench::schedule::{Children, Ending, Executor as _, Instructions, Interrupt, Job, ProbeTask, Task};
use pinbench::text;

use crate::cmd::workspace::Workspace;

/// By id.
type Asked = BTreeMap<String, Probe>;
type Found = BTreeMap<String, Answers>;

/// A way in which probes are taken.
struct Way<'a> {
    name: &'a str,
    plan: Plan,
    instructions: Instructions,
    nudged: bool,
}

/// An honest way to compute the same.
pub(crate) struct Twin {
    pub name: &'static str,
    plan: PlanName,
    threads: u32,
    instructions: Instructions,
    nudged: bool,
}

const fn twin(name: &'static str, plan: PlanName, threads: u32) -> Twin {
    Twin { name, plan, threads, instructions: Instructions::Own, nudged: false }
}

impl Twin {
    fn way(&self) -> Way<'static> {
        let plan = Plan::named(self.plan, self.threads, Device::Cpu);
        Way { name: self.name, plan, instructions: self.instructions, nudged: self.nudged }
    }
}

/// What is stored.
const PLAIN: Twin = twin("winograd, 1 thread", PlanName::Winograd, 1);

/// What rounding does is measured between it and these.
const TWINS: [Twin; 5] = [
    twin("eager, 2 threads", PlanName::Eager, 2),
    Twin { instructions: Instructions::Avx2, ..twin("tuned, AVX2", PlanName::Tuned, 1) },
    twin("fused, 2 threads", PlanName::Fused, 2),
    Twin {
        nudged: true,
        ..twin("winograd, weights one unit in the last place larger", PlanName::Winograd, 2)
    },
    Twin { instructions: Instructions::Sse41, ..twin("eager, SSE4.1", PlanName::Eager, 1) },
];

/// The probes of each experiment's arms, as they answer now, with their twins. `None` where somebody interrupted.
pub(crate) fn accept(
    workspace: &Workspace,
    experiments: &[Experiment],
    interrupt: &Interrupt,
) -> Result<Option<Vec<ProbeFile>>> {
    let all: Asked = experiments.iter().flat_map(asked).collect();
    let mut answers = Vec::new();
    for (number, twin) in std::iter::once(&PLAIN).chain(&TWINS).enumerate() {
        let (networks, of) = (text::plural(all.len(), "network"), TWINS.len() + 1);
        workspace.note(&format!("single steps of {networks}, {} of {of}: {}", number + 1, twin.name));
        let Some(found) = ask(workspace, &all, &twin.way(), None, interrupt)? else { return Ok(None) };
        answers.push(found);
    }
    let Some((plain, twins)) = answers.split_first() else { return Ok(None) };
    experiments.iter().map(|experiment| file(experiment, plain, twins)).collect::<Result<_>>().map(Some)
}

fn file(experiment: &Experiment, plain: &Found, twins: &[Found]) -> Result<ProbeFile> {
    let mut file = ProbeFile::new(
        &experiment.id,
        experiment.profile.name.clone(),
        Timestamp::now().to_string(),
        TWINS.iter().map(|twin| twin.name.to_owned()).collect(),
    );
    for arm in &experiment.profile.arms {
        let structure = structure(&arm.config)
            .with_context(|| format!("arm '{}' cannot be split; see `pinbench list`", arm.label))?;
        let probe = Probe::of(&arm.config).id().to_string();
        if let Some(answers) = plain.get(&probe) {
            let twins: Vec<Answers> = twins.iter().filter_map(|found| found.get(&probe).cloned()).collect();
            file.probes.insert(probe.clone(), Stored::new(answers.clone(), &twins));
        }
        let (arm, config) = (arm.label.clone(), arm.config.clone());
        file.arms.push(ProbedArm { arm, config, probe, structure });
    }
    Ok(file)
}

/// Findings about the arms of each experiment that has probes, in the order they are given. `None` where somebody interrupted.
pub(crate) fn check(
    workspace: &Workspace,
    cases: &[(Experiment, ProbeFile)],
    planted: Option<Planted>,
    interrupt: &Interrupt,
) -> Result<Option<Vec<Findings>>> {
    // Each arm under its own plan: what is stored is of one plan, and honest others are within rounding of it.
    let mut by_plan: BTreeMap<PlanHash, (Plan, Asked)> = BTreeMap::new();
    for (experiment, file) in cases {
        for arm in &experiment.profile.arms {
            let (id, probe) = asked_of(arm);
            if file.probes.contains_key(&id) {
                let plan = plan_of(arm);
                by_plan.entry(plan.hash()).or_insert_with(|| (plan, Asked::new())).1.insert(id, probe);
            }
        }
    }
    let mut found = FoundUnder::new();
    for (hash, (plan, all)) in by_plan {
        let name = plan.to_string();
        let way = Way { name: &name, plan, ..PLAIN.way() };
        let Some(answers) = ask(workspace, &all, &way, planted, interrupt)? else { return Ok(None) };
        found.extend(answers.into_iter().map(|(id, answers)| ((id, hash), answers)));
    }
    let of_case = |(experiment, file): &(Experiment, ProbeFile)| Findings {
        experiment: experiment.id.clone(),
        named: workspace.named(experiment),
        profile: experiment.profile.name.clone(),
        false_alarm_rate: None,
        all: findings(experiment, file, &found, planted),
    };
    Ok(Some(cases.iter().map(of_case).collect()))
}

/// By id and plan.
type FoundUnder = BTreeMap<(String, PlanHash), Answers>;

/// What the arm says of its plan, on one thread. A plan that this machine cannot train under cannot be asked either.
fn plan_of(arm: &Arm) -> Plan {
    let plain = PLAIN.way().plan;
    let change = PlanChange { threads: Some(plain.threads), ..arm.plan.clone() };
    let own = change.apply(&plain);
    if is_possible(&own) { own } else { plain }
}

#[cfg(feature = "torch")]
fn is_possible(plan: &Plan) -> bool {
    pinbench::train::check_device(plan).is_ok()
}

#[cfg(not(feature = "torch"))]
fn is_possible(_: &Plan) -> bool {
    true
}

fn findings(
    experiment: &Experiment,
    file: &ProbeFile,
    found: &FoundUnder,
    planted: Option<Planted>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for arm in &experiment.profile.arms {
        let label = Some(arm.label.as_str());
        let finding = |verdict| Finding::new(label, Subject::Probe, verdict);
        let Some(stored) = file.arms.iter().find(|stored| stored.arm == arm.label) else {
            findings.push(finding(Verdict::NotComparable(Bar::NotProbed)));
            continue;
        };
        if stored.config != arm.config {
            let keys = changed_keys(&stored.config, &arm.config).join(", ");
            findings.push(finding(Verdict::NotComparable(Bar::ConfigChanged { keys })));
            continue;
        }
        let now = structure(&arm.config);
        if now.as_ref() != Some(&stored.structure) && planted.is_none() {
            let found = now.map_or_else(|| "none".to_owned(), |now| now.to_string());
            let stored = stored.structure.to_string();
            findings.push(finding(Verdict::Alarm(Alarm::Structure { stored, found })));
            continue;
        }
        let id = Probe::of(&arm.config).id().to_string();
        findings.push(match (file.probes.get(&id), found.get(&(id.clone(), plan_of(arm).hash()))) {
            (Some(stored), Some(found)) => match compare(stored, found) {
                None => finding(Verdict::Holds),
                Some(change) => finding(Verdict::Alarm(Alarm::Changed(change))),
            },
            // Of the same config another probe is made: how arms are probed has changed.
            _ => finding(Verdict::NotComparable(Bar::NotProbed)),
        });
    }
    for stored in &file.arms {
        if !experiment.profile.arms.iter().any(|arm| arm.label == stored.arm) {
            let verdict = Verdict::NotComparable(Bar::OrphanedArm);
            findings.push(Finding::new(Some(&stored.arm), Subject::Probe, verdict));
        }
    }
    findings
}

/// What the arms of an experiment ask, each once.
fn asked(experiment: &Experiment) -> Asked {
    experiment.profile.arms.iter().map(asked_of).collect()
}

fn asked_of(arm: &Arm) -> (String, Probe) {
    let probe = Probe::of(&arm.config);
    (probe.id().to_string(), probe)
}

/// What the probes answer in a process of that kind.
fn ask(
    workspace: &Workspace,
    asked: &Asked,
    way: &Way,
    planted: Option<Planted>,
    interrupt: &Interrupt,
) -> Result<Option<Found>> {
    // What takes no thread of another: one process a core.
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    let mut parts = vec![Asked::new(); (cores / way.plan.threads).max(1) as usize];
    let processes = parts.len();
    for (number, (id, probe)) in asked.iter().enumerate() {
        parts[number % processes].insert(id.clone(), probe.clone());
    }
    let found = std::thread::scope(|scope| {
        let ask = |part| scope.spawn(move || ask_one(workspace, part, way, planted, interrupt));
        let asking: Vec<_> = parts.iter().map(ask).collect();
        let ended = asking.into_iter().map(|asking| asking.join());
        ended.map(|found| found.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect::<Vec<_>>()
    });
    let mut all = Found::new();
    for found in found {
        let Some(found) = found? else { return Ok(None) };
        all.extend(found);
    }
    // It may have come while the last probe was under way, which answers all the same.
    Ok((!interrupt.is_asked()).then_some(all))
}

fn ask_one(
    workspace: &Workspace,
    asked: &Asked,
    way: &Way,
    planted: Option<Planted>,
    interrupt: &Interrupt,
) -> Result<Option<Found>> {
    let Some(first) = asked.values().next() else { return Ok(Some(Found::new())) };
    let folder = tempfile::tempdir().context("a folder for probes")?;
    let (questions, out) = (folder.path().join("asked.json"), folder.path().join("found.json"));
    fs::write(&questions, serde_json::to_vec(asked)?)
        .with_context(|| format!("cannot write '{}'", questions.display()))?;
    let trial = Trial { config: first.config.clone(), seed: SEEDS[0] };
    let task = Task::Probe(ProbeTask {
        asked: questions,
        out: out.clone(),
        instructions: way.instructions,
        nudged: way.nudged,
        fault: planted,
    });
    let job = workspace.job(trial, way.plan.clone(), folder.path(), task, String::new());
    let job = Job { store: folder.path().to_owned(), ..job };
    match Children::of_this_program(interrupt)?.execute(&job, &mut |_| {})? {
        Ending::Done => {
            let text = fs::read(&out).with_context(|| format!("cannot read '{}'", out.display()))?;
            Ok(Some(serde_json::from_slice(&text).context("the answers of a probe cannot be read")?))
        }
        Ending::Interrupted => Ok(None),
        Ending::Died { reason } => bail!("the probes could not be taken under '{}': {reason}", way.name),
        other => bail!("the probes ended otherwise than a probe does ({other:?}); this is a bug in pinbench"),
    }
}

/// In the process that has the environment of the plan.
#[cfg(feature = "torch")]
pub(crate) fn child(job: &Job, task: &ProbeTask, interrupt: &Interrupt) -> Result<std::process::ExitCode> {
    use std::path::Path;
    use std::process::ExitCode;

    use pinbench::schedule::{EXIT_INTERRUPTED, EXIT_SEALED, Event};
    use pinbench::train::{self, Asking};

    train::prepare_process(job.plan.threads)?;
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read '{}'", path.display()));
    let asked: Asked = serde_json::from_slice(&read(&task.asked)?).context("probes that cannot be read")?;
    let asking = Asking { planted: task.fault, nudged: task.nudged };
    let mut found = Found::new();
    for (id, probe) in asked {
        if interrupt.is_asked() {
            return Ok(ExitCode::from(EXIT_INTERRUPTED));
        }
        found.insert(id, train::answer(&probe, &job.plan, asking)?);
    }
    fs::write(&task.out, serde_json::to_vec(&found)?)
        .with_context(|| format!("cannot write '{}'", task.out.display()))?;
    crate::cmd::console::tell(&Event::Done);
    Ok(ExitCode::from(EXIT_SEALED))
}

/// Ids of probes, to say how many there are.
pub(crate) fn count(cases: &[(Experiment, ProbeFile)]) -> usize {
    cases.iter().flat_map(|(experiment, _)| asked(experiment).into_keys()).collect::<BTreeSet<_>>().len()
}

/// What accepting `new` would change, a line an arm; of an arm that is as it was, nothing.
pub(crate) fn changes(old: Option<&ProbeFile>, new: &ProbeFile) -> Vec<String> {
    let Some(old) = old else {
        return vec![format!(
            "there were no probes; {} answer for {} arms",
            new.probes.len(),
            new.arms.len()
        )];
    };
    let mut lines = Vec::new();
    for arm in &new.arms {
        let Some(stored) = old.arms.iter().find(|stored| stored.arm == arm.arm) else {
            lines.push(format!("new arm '{}'", arm.arm));
            continue;
        };
        let keys = changed_keys(&stored.config, &arm.config);
        if !keys.is_empty() {
            lines.push(format!("'{}': {}", arm.arm, keys.join(", ")));
        } else if stored.structure != arm.structure {
            lines.push(format!(
                "'{}': a whole training was {}, is {}",
                arm.arm, stored.structure, arm.structure
            ));
        } else if let (Some(before), Some(now)) = (old.probes.get(&stored.probe), new.probes.get(&arm.probe))
            && let Some(change) = compare(before, &now.answers())
        {
            lines.push(format!("'{}': {change}", arm.arm));
        }
    }
    let gone = old.arms.iter().filter(|stored| !new.arms.iter().any(|arm| arm.arm == stored.arm));
    lines.extend(gone.map(|arm| format!("arm '{}' goes: the experiment has it no more", arm.arm)));
    lines
}
