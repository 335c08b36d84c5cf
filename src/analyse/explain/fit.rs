//! Cost over the batch: the curve, the line through its falling part, and where it turns up.

use crate::analyse::explain::condition::{BATCHES, Condition, Variant};
use crate::analyse::explain::cost::Cost;
use crate::analyse::explain::costs::{BlockCosts, Costs};
use crate::analyse::explain::estimate::{ALPHA, Estimate};
use crate::stats;
use crate::stats::inference;

#[derive(Clone, PartialEq, Debug)]
pub struct Curve {
    pub variant: Variant,
    /// By batch; without those of no run.
    pub points: Vec<Point>,
    pub fit: Option<Fit>,
    pub turn: Option<Turn>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Point {
    pub batch: u32,
    pub us_per_image: Estimate,
    pub ms_per_step: Estimate,
    pub images_per_s: Estimate,
    /// Means over the blocks.
    pub faults_per_step: f64,
    pub system_share: Option<f64>,
}

/// Step time = `fixed_ms` + `us_per_image` · batch, over the batches before the turning point.
///
/// The least squares are of relative errors, (t − a − b·batch) / t: the noise of a time is a factor, so that a step of
/// 400 ms strays by as many milliseconds as one of 10 ms by a fortieth of them, and unweighted the largest batch alone
/// would decide.
#[derive(Clone, PartialEq, Debug)]
pub struct Fit {
    /// What a step costs however small it is.
    pub fixed_ms: Estimate,
    pub us_per_image: Estimate,
    pub batches: Vec<u32>,
    /// Greatest distance of a mean step time from the line, as a share of it.
    pub worst: f64,
}

/// Where a larger batch stops paying.
#[derive(Clone, PartialEq, Debug)]
pub struct Turn {
    /// Whose images cost least.
    pub cheapest: u32,
    /// The first batch beyond whose images cost more, and their cost over that at the cheapest; `None` where none do.
    pub upward: Option<(u32, Estimate)>,
}

impl Curve {
    pub fn of(costs: &Costs, variant: Variant) -> Self {
        let points: Vec<Point> =
            BATCHES.into_iter().filter_map(|batch| Point::of(costs, Condition { batch, variant })).collect();
        let turn = Turn::of(costs, variant, &points);
        let before = turn.as_ref().and_then(|turn| Some(turn.upward.as_ref()?.0)).unwrap_or(u32::MAX);
        let batches = points.iter().map(|point| point.batch).filter(|batch| *batch < before).collect();
        let fit = Fit::of(costs, variant, batches, &points);
        Self { variant, points, fit, turn }
    }

    pub fn point(&self, batch: u32) -> Option<&Point> {
        self.points.iter().find(|point| point.batch == batch)
    }
}

impl Point {
    fn of(costs: &Costs, condition: Condition) -> Option<Self> {
        let each = |of: fn(&Cost) -> f64| costs.each(|block| block.get(&condition).map(of));
        let system = costs.each(|block| block.get(&condition)?.system_share);
        Some(Self {
            batch: condition.batch,
            us_per_image: Estimate::geometric(&each(|cost| cost.us_per_image))?,
            ms_per_step: Estimate::geometric(&each(|cost| cost.ms_per_step))?,
            images_per_s: Estimate::geometric(&each(|cost| cost.images_per_s))?,
            faults_per_step: stats::mean(&each(|cost| cost.faults_per_step))?,
            system_share: stats::mean(&system),
        })
    }
}

impl Turn {
    /// The cheapest batch is chosen from the same data, and several batches are then tried, so that each is tested at
    /// its part of 5 %.
    fn of(costs: &Costs, variant: Variant, points: &[Point]) -> Option<Self> {
        let cheapest =
            points.iter().min_by(|a, b| a.us_per_image.value.total_cmp(&b.us_per_image.value))?.batch;
        let beyond: Vec<u32> = points.iter().map(|p| p.batch).filter(|batch| *batch > cheapest).collect();
        let alpha = ALPHA / beyond.len().max(1) as f64;
        let dearer = |batch: &u32| {
            let logs = costs.each(|block| {
                let us = |batch| Some(block.get(&Condition { batch, variant })?.us_per_image);
                Some((us(*batch)? / us(cheapest)?).ln())
            });
            let (low, _) = inference::interval(&logs, alpha)?;
            if low <= 0.0 {
                return None;
            }
            Some((*batch, Estimate::of_logs(&logs)?))
        };
        Some(Self { cheapest, upward: beyond.iter().find_map(dearer) })
    }
}

impl Fit {
    /// Below three batches a line says nothing.
    fn of(costs: &Costs, variant: Variant, batches: Vec<u32>, points: &[Point]) -> Option<Self> {
        if batches.len() < 3 {
            return None;
        }
        let lines = costs.each(|block| line(&step_times(block, variant, &batches)?));
        let (fixed, slope): (Vec<f64>, Vec<f64>) = lines.into_iter().unzip();
        let (fixed_ms, ms_per_image) = (Estimate::of(&fixed)?, Estimate::of(&slope)?);
        let on_line = |batch: u32| fixed_ms.value + ms_per_image.value * f64::from(batch);
        let used = points.iter().filter(|point| batches.contains(&point.batch));
        let off = used.map(|point| (point.ms_per_step.value / on_line(point.batch) - 1.0).abs());
        let worst = off.fold(0.0, f64::max);
        let us = |ms: f64| ms * 1e3;
        let us_per_image = Estimate {
            value: us(ms_per_image.value),
            interval: ms_per_image.interval.map(|(low, high)| (us(low), us(high))),
            n: ms_per_image.n,
        };
        Some(Self { fixed_ms, us_per_image, batches, worst })
    }

    /// Cost of an image at `batch` on the line, in µs.
    pub fn us_at(&self, batch: f64) -> f64 {
        self.fixed_ms.value * 1e3 / batch + self.us_per_image.value
    }
}

/// Batch and step time in ms; `None` where the block lacks one.
fn step_times(block: &BlockCosts, variant: Variant, batches: &[u32]) -> Option<Vec<(f64, f64)>> {
    let time = |batch: &u32| {
        Some((f64::from(*batch), block.get(&Condition { batch: *batch, variant })?.ms_per_step))
    };
    batches.iter().map(time).collect()
}

/// Intercept and slope of the line with the least squares of relative errors.
fn line(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let sum = |of: &dyn Fn(f64, f64) -> f64| points.iter().map(|(x, t)| of(*x, *t) / (t * t)).sum::<f64>();
    let (w, wx, wt) = (sum(&|_, _| 1.0), sum(&|x, _| x), sum(&|_, t| t));
    let (wxx, wxt) = (sum(&|x, _| x * x), sum(&|x, t| x * t));
    let determinant = w * wxx - wx * wx;
    (determinant > 0.0).then(|| ((wt * wxx - wxt * wx) / determinant, (w * wxt - wx * wt) / determinant))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyse::explain::simulated::{self, Study};

    /// 4 ms a step and 300 µs an image, and from 1024 on half as much again.
    fn curve(noise: f64) -> Curve {
        let us = |condition: Condition| {
            let us = 4000.0 / f64::from(condition.batch) + 300.0;
            if condition.batch >= 1024 { us * 1.5 } else { us }
        };
        let mut study = Study::new(2, noise);
        study.drift = 0.0;
        let blocks = study.blocks(6, |condition| simulated::even(us(condition)));
        Curve::of(&Costs::of(&blocks, &simulated::design()), Variant::Base)
    }

    #[test]
    fn a_line_is_found_exactly_where_there_is_no_noise() {
        let points: Vec<(f64, f64)> =
            BATCHES.iter().map(|batch| (f64::from(*batch), 4.0 + 0.3 * f64::from(*batch))).collect();
        let (fixed, slope) = line(&points).unwrap();
        assert!((fixed - 4.0).abs() < 1e-9 && (slope - 0.3).abs() < 1e-12, "{fixed} {slope}");
        assert_eq!(line(&[(8.0, 1.0)]), None);
    }

    #[test]
    fn the_turning_point_and_the_line_before_it_are_found() {
        let curve = curve(0.01);
        let turn = curve.turn.clone().unwrap();
        assert_eq!((turn.cheapest, turn.upward.unwrap().0), (512, 1024));
        let fit = curve.fit.unwrap();
        assert_eq!(fit.batches, [16, 32, 64, 128, 256, 512]);
        assert!((fit.fixed_ms.value / 4.0 - 1.0).abs() < 0.1, "{:?}", fit.fixed_ms);
        assert!((fit.us_per_image.value / 300.0 - 1.0).abs() < 0.05, "{:?}", fit.us_per_image);
        assert!((fit.us_at(1024.0) / (300.0 + 4000.0 / 1024.0) - 1.0).abs() < 0.05);
    }

    #[test]
    fn a_curve_that_keeps_falling_has_no_turning_point() {
        let us = |condition: Condition| 4000.0 / f64::from(condition.batch) + 300.0;
        let blocks = Study::new(3, 0.005).blocks(6, |condition| simulated::even(us(condition)));
        let curve = Curve::of(&Costs::of(&blocks, &simulated::design()), Variant::Base);
        assert_eq!(curve.turn.unwrap().upward, None);
        assert_eq!(curve.fit.unwrap().batches.len(), BATCHES.len());
    }
}
