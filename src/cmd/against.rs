//! `pinbench check --against`: this program beside another build of it, each driven by its own command line.
//!
//! Both are asked in the same way, this one as well as the other: what they print is what they promise to keep, and
//! nothing inside of an older revision has to be known here.

mod side;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use pinbench::analyse::gate::against::{Against, ArmFound, Bits, Decision, Pair, Paired, Race, pair, ratio};
use pinbench::report::gate::against as report;
use pinbench::schedule::{EXIT_INTERRUPTED, Interrupt};
use pinbench::text;

use crate::cmd::check::args::{CheckArgs, write};
use crate::cmd::console::{print, say};
use crate::cmd::sweep;
use crate::cmd::workspace::Workspace;
use side::{Side, Stopped};

/// How long a process is timed for. Making it ready takes about as long, and what a process differs by from another of the same
/// program no longer time in it takes away.
const SPAN_MINUTES: f64 = 0.05;

pub(crate) fn run(workspace: &Workspace, args: &CheckArgs, binary: &Path) -> Result<ExitCode> {
    sweep::require_torch()?;
    let interrupt = Interrupt::install()?;
    let scratch =
        tempfile::Builder::new().prefix("pinbench-against-").tempdir().context("a folder for runs")?;
    let comparing = Comparing {
        old: Side::other(workspace, args, &workspace.root.join(binary), scratch.path())?,
        new: Side::own(workspace, args, scratch.path())?,
        workspace,
        args,
        interrupt,
    };
    // Children wait for the machine without a word: whom for is said here, and then they have it in turn.
    drop(sweep::machine_alone(&comparing.interrupt)?);
    let against = match comparing.compare() {
        Err(error) if error.is::<Stopped>() => {
            say("interrupted: nothing was judged and no run is kept; the same command starts over");
            return Ok(ExitCode::from(EXIT_INTERRUPTED));
        }
        compared => compared?,
    };
    print(report::table(&against).trim_end())?;
    write(args.markdown.as_deref(), || Ok(report::markdown(&against)?))?;
    write(args.junit.as_deref(), || Ok(report::junit(&against)?))?;
    write(args.json.as_deref(), || Ok(report::json(&against)))?;
    Ok(ExitCode::from(against.exit().code()))
}

struct Comparing<'a> {
    old: Side,
    new: Side,
    workspace: &'a Workspace,
    args: &'a CheckArgs,
    interrupt: Interrupt,
}

impl Comparing<'_> {
    fn compare(&self) -> Result<Against> {
        let (old, new) = (self.old.identify()?, self.new.identify()?);
        self.old.require(&old, !self.args.against.no_times)?;
        let mut paired = self.paired()?;
        let left_out = paired.keep(self.args.against.arms.into());
        let mut bits = Vec::new();
        for pair in &paired.pairs {
            self.go_on()?;
            self.workspace.note(&format!("training {} by both", pair.new.name()));
            bits.push(self.bits(pair)?);
        }
        let times = self.times(&paired.pairs, &bits)?;
        let found = |((pair, bits), time): ((&Pair, Bits), Option<Decision>)| {
            let (name, old) = (pair.new.name(), pair.old.name());
            ArmFound { old_name: (old != name).then_some(old), name, bits, time }
        };
        let arms = paired.pairs.iter().zip(bits).zip(times).map(found).collect();
        let (only_old, only_new) = (paired.only_old, paired.only_new);
        Ok(Against { old, new, arms, only_old, only_new, left_out, is_timed: !self.args.against.no_times })
    }

    /// What both list under one profile, else each file under its own.
    fn paired(&self) -> Result<Paired> {
        let profile = self.args.profile().map(|profile| profile.to_string());
        let new = self.new.list(profile.as_deref())?;
        self.go_on()?;
        Ok(pair(&self.old.list(profile.as_deref())?, &new))
    }

    /// One training by either program. What goes wrong in one is an answer too.
    fn bits(&self, pair: &Pair) -> Result<Bits> {
        let Some(seed) = pair.seed else {
            return Ok(Bits::NotPromised("the two have no seed of this arm in common".to_owned()));
        };
        let old = self.old.train(&pair.old)?;
        self.go_on()?;
        let new = self.new.train(&pair.new)?;
        Ok(match (old, new) {
            (Ok(old), Ok(new)) => Bits::of(pair, seed, &old, &new),
            (Ok(_), Err(reason)) => Bits::Failed(reason),
            (Err(reason), _) => Bits::NotTrained(format!("the old one ended without a run: {reason}")),
        })
    }

    /// Blocks of the arms in turn until all are decided or time is up.
    fn times(&self, pairs: &[Pair], bits: &[Bits]) -> Result<Vec<Option<Decision>>> {
        let timed: Vec<usize> = (0..pairs.len()).filter(|arm| bits[*arm].is_trained()).collect();
        let mut found = vec![None; pairs.len()];
        if self.args.against.no_times || timed.is_empty() {
            return Ok(found);
        }
        // Whoever gives turns has the machine; the trainings before took it themselves.
        let _machine = sweep::machine_alone(&self.interrupt)?;
        let (began, budget) = (Instant::now(), Duration::from_secs_f64(self.args.against.minutes * 60.0));
        let mut race = Race::new(timed.len());
        let mut took = vec![Duration::ZERO; timed.len()];
        for round in 0_usize.. {
            let mut is_over = true;
            for lane in race.running() {
                let (pair, start) = (&pairs[timed[lane]], Instant::now());
                // The first block of each arm may end too late, or nothing would be known of it.
                if round > 0 && began.elapsed() + took[lane] > budget {
                    continue;
                }
                is_over = false;
                let ratio = self.block(pair, round)?;
                race.add(lane, ratio);
                took[lane] = start.elapsed();
                let (name, ratio) =
                    (pair.new.name(), ratio.map_or("none".to_owned(), |it| text::fixed(it, 3)));
                let left = text::duration(budget.saturating_sub(began.elapsed()));
                self.workspace
                    .note(&format!("block {}: {name}: new over old {ratio}; {left} left", round + 1));
            }
            if is_over {
                break;
            }
            race.look();
        }
        for (arm, decision) in timed.into_iter().zip(race.end()) {
            found[arm] = decision;
        }
        Ok(found)
    }

    /// Step time of new over that of old: one process each, which have turns of a tenth of a second, there and back again, so that
    /// whatever a neighbour does to this machine it does to both. `None` where no turn of theirs can be compared.
    fn block(&self, pair: &Pair, round: usize) -> Result<Option<f64>> {
        self.go_on()?;
        let old = self.old.time(&pair.old, SPAN_MINUTES, None)?;
        let new = self.new.time(&pair.new, SPAN_MINUTES, self.args.planted)?;
        let mut timings = [old, new];
        // Loading libtorch and the data they do at once.
        let mut running = Vec::new();
        for (side, timing) in timings.iter_mut().enumerate() {
            running.extend(timing.is_ready()?.then_some(side));
        }
        if !round.is_multiple_of(2) {
            running.reverse();
        }
        while !running.is_empty() {
            let mut still = Vec::new();
            for side in running {
                timings[side].go();
                still.extend(timings[side].is_ready()?.then_some(side));
            }
            still.reverse();
            running = still;
        }
        self.go_on()?;
        let [old, new] = timings;
        Ok(ratio(&old.end()?, &new.end()?))
    }

    fn go_on(&self) -> Result<(), Stopped> {
        if self.interrupt.is_asked() { Err(Stopped) } else { Ok(()) }
    }
}
