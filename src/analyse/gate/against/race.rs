//! Ratios of step times over blocks, and when they decide.

use crate::analyse::timing::{Contrast, Estimate, LOOKS, Look, Noise, Standing};
use crate::stats;

/// A slowdown of this factor is to be found, and one that is ruled out needs no more blocks.
pub const EFFECT: f64 = 1.05;

/// Nothing smaller is called slower or faster. Two builds of one source place their code and data at other addresses,
/// which alone moves a step by a percent or so (Mytkowicz et al., ASPLOS 2009): a true difference, and nobody's doing.
pub const LEAST: f64 = 1.02;

/// Arms whose step times are compared over blocks.
///
/// In a block a process of either program times the arm, in turns of a tenth of a second, one right beside the other. What
/// a neighbour on the machine does falls on both; what is left is how two processes of one program differ.
#[derive(Clone, PartialEq, Debug)]
pub struct Race {
    lanes: Vec<Lane>,
}

#[derive(Clone, PartialEq, Debug, Default)]
struct Lane {
    /// Logarithm of new over old, by block.
    logs: Vec<f64>,
    /// Once it is decided it stays so: to look again after more blocks would be a look that was not planned.
    decision: Option<Decision>,
}

/// What the blocks of an arm say.
#[derive(Clone, PartialEq, Debug)]
pub struct Decision {
    /// Step time of the new program over that of the old, with the interval at the level of its look.
    pub ratio: Estimate,
    pub standing: Standing,
}

/// Step time of new over that of old in a block: the median over pairs of turns, one right beside the other, of the milliseconds
/// a step took in each. `None` where there is no pair.
pub fn ratio(old_ms: &[Option<f64>], new_ms: &[Option<f64>]) -> Option<f64> {
    let log = |(old, new): (&Option<f64>, &Option<f64>)| Some((new.as_ref()? / old.as_ref()?).ln());
    let logs: Vec<f64> = old_ms.iter().zip(new_ms).filter_map(log).filter(|log| log.is_finite()).collect();
    stats::median(&logs).map(f64::exp)
}

impl Race {
    pub fn new(arms: usize) -> Self {
        Self { lanes: vec![Lane::default(); arms] }
    }

    /// A block of the arm: step time of new over that of old. What is no ratio is no block.
    pub fn add(&mut self, arm: usize, ratio: Option<f64>) {
        let log = ratio.map(f64::ln).filter(|log| log.is_finite());
        if let Some((lane, log)) = self.lanes.get_mut(arm).zip(log) {
            lane.logs.push(log);
        }
    }

    /// Arms that need another block.
    pub fn running(&self) -> Vec<usize> {
        let needs = |lane: &Lane| lane.decision.is_none() && lane.logs.len() < LOOKS[LOOKS.len() - 1].blocks;
        self.lanes.iter().enumerate().filter(|(_, lane)| needs(lane)).map(|(arm, _)| arm).collect()
    }

    /// After a round of blocks: decides the arms that are at a planned look and that it decides.
    pub fn look(&mut self) {
        for arm in self.running() {
            let decision = self.decide(arm).filter(|_| Look::is_planned(self.lanes[arm].logs.len()));
            let is_decided = |decision: &Decision| match decision.standing {
                Standing::Slower | Standing::Faster => true,
                Standing::Open { within } => within.is_some_and(|within| within < EFFECT),
            };
            self.lanes[arm].decision = decision.filter(is_decided);
        }
    }

    /// Time is up: what is undecided is looked at as it is. `None` of an arm without a block.
    pub fn end(self) -> Vec<Option<Decision>> {
        let decision = |arm: usize| self.lanes[arm].decision.clone().or_else(|| self.decide(arm));
        (0..self.lanes.len()).map(decision).collect()
    }

    /// At the level of the look that is due, shared by all arms (Bonferroni): over all looks of all arms *slower* is wrong
    /// with a probability of at most 2.5 %, and so is *faster*.
    fn decide(&self, arm: usize) -> Option<Decision> {
        let values = self.lanes[arm].logs.clone();
        let alpha = Look::at(values.len()).alpha() / self.lanes.len() as f64;
        let ratio = Contrast { values, squares: 2.0 }.estimate(self.noise().as_ref(), alpha)?.exp();
        let standing = if ratio.is_above(1.0) && ratio.value > LEAST {
            Standing::Slower
        } else if ratio.is_below(1.0) && ratio.value < 1.0 / LEAST {
            Standing::Faster
        } else {
            Standing::Open { within: ratio.interval.map(|(_, high)| high.max(1.0)) }
        };
        Some(Decision { ratio, standing })
    }

    /// How far a step of one program strays, over all arms: of the two that a ratio is made of, half of its variance each.
    fn noise(&self) -> Option<Noise> {
        let of_lane = |lane: &Lane| {
            let freedom = lane.logs.len().checked_sub(1)? as f64;
            Some((freedom, freedom * stats::sample_sd(&lane.logs)?.powi(2)))
        };
        let sums = self.lanes.iter().filter_map(of_lane);
        let (freedom, squares) = sums.fold((0.0, 0.0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
        (freedom > 0.0).then(|| Noise { sd: (squares / freedom / 2.0).sqrt(), freedom })
    }
}

#[cfg(test)]
impl Decision {
    pub fn none() -> Self {
        let ratio = Estimate { value: 1.0, interval: None, n: 1 };
        Self { ratio, standing: Standing::Open { within: None } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::inference::draws::Normal;

    /// Blocks of two arms that fit into five minutes, and how far a process strays.
    const BLOCKS: usize = 20;
    const NOISE: f64 = 0.011;

    /// As the command runs it: rounds of blocks until all is decided. Of a share of the blocks a neighbour took one program's
    /// turns alone, and made it a tenth slower.
    fn race(normal: &mut Normal, effects: &[f64], disturbed: f64) -> (Vec<Option<Decision>>, usize) {
        let mut race = Race::new(effects.len());
        let mut blocks = 0;
        for _ in 0..BLOCKS {
            for arm in race.running() {
                let mut process = |effect: f64| {
                    let neighbour = if normal.draw(0.0, 1.0).abs() < disturbed { 1.1 } else { 1.0 };
                    effect * neighbour * normal.draw(0.0, NOISE).exp()
                };
                let (old, new) = (process(1.0), process(effects[arm]));
                race.add(arm, Some(new / old));
                blocks += 1;
            }
            race.look();
        }
        (race.end(), blocks)
    }

    fn slower(studies: usize, effects: &[f64], disturbed: f64) -> usize {
        let mut normal = Normal::new(71);
        let is_slower = |decision: &Decision| decision.standing == Standing::Slower;
        let finds = |_: &usize| race(&mut normal, effects, disturbed).0.iter().flatten().any(is_slower);
        (0..studies).filter(finds).count()
    }

    #[test]
    fn five_percent_of_one_arm_are_found_and_nothing_is_found_of_nothing() {
        assert!(slower(400, &[1.05, 1.0], 0.0) >= 396);
        assert!(slower(400, &[1.05], 0.0) >= 396);
        // One call in eight.
        let found = slower(400, &[1.05, 1.0], 0.15);
        assert!(found >= 340, "{found}");
        // 2.5 % of 2,000 are 50; that the ratio has to be beyond 2 % makes it fewer.
        assert!(slower(2000, &[1.0; 2], 0.0) <= 50);
        assert!(slower(2000, &[1.0; 2], 0.15) <= 50);
    }

    #[test]
    fn what_is_decided_needs_no_more_blocks_and_stays_so() {
        let mut normal = Normal::new(72);
        let (found, blocks) = race(&mut normal, &[1.0, 1.3], 0.0);
        assert!(blocks < 2 * BLOCKS, "{blocks}");
        let slower = found[1].as_ref().unwrap();
        assert!(slower.standing == Standing::Slower && slower.ratio.is_above(1.2), "{slower:?}");
        assert!(slower.ratio.n < BLOCKS, "{slower:?}");
        let Standing::Open { within: Some(within) } = found[0].as_ref().unwrap().standing else { panic!() };
        assert!(within < EFFECT, "{within}");
        assert_eq!(race(&mut normal, &[0.8], 0.0).0[0].as_ref().unwrap().standing, Standing::Faster);
    }

    #[test]
    fn a_block_is_the_median_of_pairs_of_turns() {
        let ms = |turns: &[f64]| turns.iter().map(|ms| Some(*ms)).collect::<Vec<_>>();
        let found = ratio(&ms(&[30.0, 10.0, 20.0, 10.0]), &ms(&[11.0, 11.0, 22.0, 11.0, 99.0])).unwrap();
        assert!((found - 1.1).abs() < 1e-9, "{found}");
        assert_eq!(ratio(&[None, Some(10.0)], &[Some(5.0), Some(20.0)]), Some(2.0_f64.ln().exp()));
        assert_eq!(ratio(&[None], &ms(&[10.0])), None);
        assert_eq!(ratio(&ms(&[0.0]), &ms(&[10.0])), None);
    }

    #[test]
    fn too_few_blocks_say_what_could_still_be_there_or_nothing() {
        let mut short = Race::new(2);
        short.add(0, Some(1.01));
        short.add(0, None);
        short.add(0, Some(0.0));
        short.look();
        assert_eq!(short.running(), [0, 1]);
        let [Some(one), None] = &short.clone().end()[..] else { panic!() };
        assert_eq!((one.ratio.n, one.standing), (1, Standing::Open { within: None }));
        for new in [0.9, 1.1] {
            short.add(0, Some(new));
        }
        let Some(Decision { standing: Standing::Open { within: Some(within) }, .. }) = &short.end()[0] else {
            panic!()
        };
        assert!(*within > EFFECT, "{within}");
    }
}
