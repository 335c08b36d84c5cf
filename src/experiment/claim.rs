//! Claims as data: sentences, each with the statement over metrics that decides it.

use crate::experiment::metric::Metric;
use crate::experiment::plan::PlanName;
use crate::language::Localised;

/// One sentence and what would make it true.
#[derive(Clone, PartialEq, Debug)]
pub struct Claim {
    /// Such as `M1.a`.
    pub id: String,
    /// The sentence.
    pub says: Localised,
    /// All of these must hold.
    pub tests: Vec<Test>,
    /// What must be so before it can be judged at all.
    pub needs: Needs,
    /// What a reader must know beside the verdict.
    pub note: Option<Localised>,
    /// Why the claim cannot be evaluated as written: an unknown metric, an arm that does not exist. The page shows
    /// it, so that one mistake does not hide the other claims.
    pub mistake: Option<String>,
}

/// What the runs of every arm a claim speaks of must have come to for it to be judged; where they have not, it is not
/// evaluated.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Needs {
    /// Optimizer steps of each run.
    pub updates: Option<u64>,
    /// A training loss in eval mode, in nats, to which each run has come down.
    pub train_loss: Option<f64>,
    /// The plan the runs are under: a sentence about a plain script is about `eager`.
    pub plan: Option<PlanName>,
    /// Arms are compared where this is equal.
    pub alike: Option<Alike>,
}

/// The means of the arms lie within a distance of each other, in the metric's unit.
#[derive(Clone, PartialEq, Debug)]
pub struct Alike {
    pub metric: Metric,
    pub within: f64,
}

/// A statement over one metric.
#[derive(Clone, PartialEq, Debug)]
pub struct Test {
    pub metric: Metric,
    pub statement: Statement,
    /// The least effect that matters, above 0: in the metric's unit, or for a metric compared by its ratio, as a
    /// share (0.03 is 3 %).
    pub margin: f64,
}

/// Arms are indices into the profile's arms.
#[derive(Clone, PartialEq, Debug)]
pub enum Statement {
    /// Each arm is above the next.
    Order(Vec<usize>),
    /// The two are equal within the margin.
    Equal(usize, usize),
    /// The arm's mean is above (or below) a value.
    Above(usize, f64),
    Below(usize, f64),
    /// The arm's mean is a value, within the margin.
    Near(usize, f64),
    /// The metric rises (or falls) from each of these arms to the next, on average by the margin.
    Rises(Vec<usize>),
    Falls(Vec<usize>),
}

impl Statement {
    /// Every arm it speaks of.
    pub fn arms(&self) -> Vec<usize> {
        match self {
            Self::Order(list) | Self::Rises(list) | Self::Falls(list) => list.clone(),
            Self::Equal(a, b) => vec![*a, *b],
            Self::Above(arm, _) | Self::Below(arm, _) | Self::Near(arm, _) => vec![*arm],
        }
    }
}

impl Claim {
    /// What of an id tells its place on a page: letters of either case and digits, a `-` for any other sign.
    pub fn place(id: &str) -> String {
        let letters = id.chars().map(|letter| if letter.is_alphanumeric() { letter } else { '-' });
        letters.collect::<String>().to_lowercase()
    }

    /// Whether it compares times of several arms.
    pub fn compares_times(&self) -> bool {
        let compares =
            |test: &Test| test.metric.quantity.facts().is_timing && test.statement.arms().len() > 1;
        self.tests.iter().any(compares)
    }

    /// Every arm it speaks of, in the order of the profile.
    pub fn arms(&self) -> Vec<usize> {
        let mut arms: Vec<usize> = self.tests.iter().flat_map(|test| test.statement.arms()).collect();
        arms.sort_unstable();
        arms.dedup();
        arms
    }
}
