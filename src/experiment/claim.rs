//! Claims as data: sentences, each with the statement over metrics that decides it.

use crate::experiment::metric::Metric;

/// One sentence and what would make it true.
#[derive(Clone, PartialEq, Debug)]
pub struct Claim {
    /// Such as `M1.a`.
    pub id: String,
    /// The sentence.
    pub says: String,
    /// All of these must hold.
    pub tests: Vec<Test>,
    /// What a reader must know beside the verdict.
    pub note: Option<String>,
    /// Why the claim cannot be evaluated as written: an unknown metric, an arm that does not exist. The page shows
    /// it, so that one mistake does not hide the other claims.
    pub mistake: Option<String>,
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
    /// The metric rises (or falls) from each of these arms to the next, on average by the margin.
    Rises(Vec<usize>),
    Falls(Vec<usize>),
}
