//! Over which values the cost rises, as it is and with the main cause removed.

use serde::{Deserialize, Serialize};

use crate::analyse::timing::{Cost, Measured};
use crate::experiment::plan::bare;
use crate::experiment::study::Curve;

/// Measured once: it shows where a cost begins, and decides nothing.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CurveFound {
    pub points: Vec<Point>,
    pub rise: Option<Rise>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Point {
    pub value: String,
    /// Of a value that is a number.
    pub place: Option<f64>,
    pub base: Option<Cost>,
    /// With the main cause removed.
    pub removed: Option<Cost>,
}

/// From the value whose images cost least to that whose cost most.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Rise {
    pub from: String,
    pub to: String,
    /// Factor of the cost.
    pub base: f64,
    /// Between the same two with the main cause removed.
    pub removed: f64,
}

impl CurveFound {
    /// `measured` has two conditions a value, as [`super::layout::curve`] makes them.
    pub fn of(curve: &Curve, measured: &Measured) -> Self {
        let cost = |condition| measured.costs(condition).next().cloned();
        let point = |(index, value): (usize, &serde_json::Value)| Point {
            value: bare(value),
            place: value.as_f64(),
            base: cost(2 * index),
            removed: cost(2 * index + 1),
        };
        let points: Vec<Point> = curve.values.iter().enumerate().map(point).collect();
        Self { rise: rise(&points), points }
    }
}

fn rise(points: &[Point]) -> Option<Rise> {
    let us = |cost: Option<&Cost>| cost.map(|cost| cost.us_per_image);
    let both = points
        .iter()
        .filter_map(|point| Some((point, us(point.base.as_ref())?, us(point.removed.as_ref())?)));
    let all: Vec<(&Point, f64, f64)> = both.collect();
    let least = all.iter().min_by(|one, other| one.1.total_cmp(&other.1))?;
    let most = all.iter().max_by(|one, other| one.1.total_cmp(&other.1))?;
    let (from, to) = (least.0.value.clone(), most.0.value.clone());
    (from != to).then(|| Rise { from, to, base: most.1 / least.1, removed: most.2 / least.2 })
}
