//! What runs say together: numbers over seeds, arms beside each other, and what keeps them from being compared.
//!
//! Pure functions over loaded runs. Tables, figures and their wording are the report's.

mod assess;
mod block;
mod caveat;
mod comparison;
pub mod confusion;
pub mod gate;
mod measure;
mod needs;
pub mod operators;
pub mod quantity;
pub mod replay;
pub mod roofline;
#[cfg(test)]
pub mod samples;
mod spreads;
pub mod study;
mod summary;
pub mod timing;
mod verdict;

pub use assess::assess;
pub use block::{Barred, DISTURBED_SHARE, disturbed_share};
pub use caveat::Caveat;
pub use measure::{Measures, Score, StepTiming, WARM_UP_STEPS};
pub use spreads::{Differences, Spreads};
pub use summary::{ArmRuns, ArmSummary, Summary};
pub use verdict::{Assessment, Bound, Evidence, Held, Verdict};
