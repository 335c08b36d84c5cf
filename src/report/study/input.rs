//! What an explanation's page is made of.

use crate::analyse::study::{CurveFound, Explanation, Layout};
use crate::analyse::timing::Measured;
use crate::experiment::study::Study;
use crate::language::Language;
use crate::record::RunRecord;

/// An explanation and where it comes from.
pub struct Input<'a> {
    pub study: &'a Study,
    pub layout: &'a Layout,
    pub measured: &'a Measured,
    pub explanation: &'a Explanation,
    /// `None` where no curve was measured.
    pub curve: Option<&'a CurveFound>,
    pub records: &'a [RunRecord],
    /// Measures all of it again.
    pub command: &'a str,
    /// Of the measurement.
    pub folder: &'a str,
    /// Whether an index lies beside the page's folder.
    pub has_index: bool,
    /// The page is made in each of these.
    pub languages: &'a [Language],
}
