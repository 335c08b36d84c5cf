//! The learning rate of each step.

use std::f64::consts::PI;

use crate::experiment::config::{Optim, Schedule};

/// Share of the steps in which one-cycle rises, how far below `lr` it starts, and how far below that it ends: the
/// defaults of PyTorch's `OneCycleLR`.
const RISE: f64 = 0.3;
const START_DIVISOR: f64 = 25.0;
const END_DIVISOR: f64 = 1e4;

/// The rate of `step`, from 0, of `steps` in all. The config's `lr` is the rate itself without a schedule, and the highest
/// rate with one; a warm-up takes its share of either.
///
/// Cosine reaches 0 at the step after the last one, as `CosineAnnealingLR` with `T_max = steps` does.
pub(super) fn rate(optim: &Optim, step: u64, steps: u64) -> f64 {
    let rate = scheduled(optim, step, steps);
    match optim.warm_up {
        Some(rise) if step < rise => rate * ((step + 1) as f64 / rise as f64),
        _ => rate,
    }
}

fn scheduled(optim: &Optim, step: u64, steps: u64) -> f64 {
    let (lr, at, all) = (optim.lr, step as f64, steps as f64);
    match optim.schedule {
        None | Some(Schedule::Constant) => lr,
        Some(Schedule::Cosine) => anneal(lr, 0.0, at / all),
        Some(Schedule::OneCycle) => {
            let (low, top, last) = (lr / START_DIVISOR, RISE * all - 1.0, all - 1.0);
            if at <= top {
                anneal(low, lr, at / top)
            } else {
                anneal(lr, low / END_DIVISOR, (at - top) / (last - top))
            }
        }
        Some(Schedule::Multistep) => {
            let milestones = optim.milestones.as_deref().unwrap_or_default();
            let behind = milestones.iter().filter(|&&milestone| milestone <= step).count();
            lr * optim.gamma.unwrap_or(1.0).powi(behind as i32)
        }
    }
}

/// From `start` to `end` along half a cosine while `share` goes from 0 to 1.
fn anneal(start: f64, end: f64, share: f64) -> f64 {
    end + (start - end) / 2.0 * ((PI * share).cos() + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::config::OptimName;

    fn rate(schedule: Option<Schedule>, lr: f64, step: u64, steps: u64) -> f64 {
        super::rate(&optim(schedule, lr), step, steps)
    }

    fn optim(schedule: Option<Schedule>, lr: f64) -> Optim {
        Optim { schedule, ..Optim::of(OptimName::Sgd, lr) }
    }

    /// Expected: `MultiStepLR([3, 5], gamma=0.1)` from 0.1, and the same behind four steps of warm-up.
    #[test]
    fn a_multistep_rate_falls_at_its_milestones_and_a_warm_up_rises_to_it() {
        let mut optim =
            Optim { milestones: Some(vec![3, 5]), gamma: Some(0.1), ..optim(Some(Schedule::Multistep), 0.1) };
        let near = |optim: &Optim, expected: [f64; 7]| {
            for (step, expected) in (0..).zip(expected) {
                let found = super::rate(optim, step, 7);
                assert!((found - expected).abs() < 1e-15, "{step}: {found} {expected}");
            }
        };
        near(&optim, [0.1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001]);
        optim.warm_up = Some(4);
        near(&optim, [0.025, 0.05, 0.075, 0.01, 0.01, 0.001, 0.001]);
    }

    const LR: f64 = 1e-3;

    /// What PyTorch's own schedulers give for 20 steps from 0.1 (`tools/reference.py`).
    #[test]
    fn twenty_rates_are_those_of_pytorch() {
        let text = include_str!("../../tests/data/pytorch.json");
        let reference: serde_json::Value = serde_json::from_str(text).unwrap();
        for (name, schedule) in [("cosine", Schedule::Cosine), ("one_cycle", Schedule::OneCycle)] {
            let expected: Vec<f64> = serde_json::from_value(reference["schedules"][name].clone()).unwrap();
            assert_eq!(expected.len(), 20);
            for (step, expected) in (0..).zip(expected) {
                let found = rate(Some(schedule), 0.1, step, 20);
                assert!((found - expected).abs() < 1e-12, "{name} {step}: {found} {expected}");
            }
        }
    }

    /// The expected values are the closed forms in the source of PyTorch's `torch/optim/lr_scheduler.py`, evaluated in
    /// Python with `lr = 1e-3` and `T` steps:
    ///
    /// ```python
    /// cosine = lambda t, T: lr * (1 + math.cos(math.pi * t / T)) / 2  # CosineAnnealingLR._get_closed_form_lr
    /// def one_cycle(t, T):                                            # OneCycleLR.get_lr
    ///     start, phases = 0.0, [(0.3 * T - 1, lr / 25, lr), (T - 1, lr, lr / 25 / 1e4)]
    ///     for i, (end, a, b) in enumerate(phases):
    ///         if t <= end or i == 1:
    ///             return b + (a - b) / 2.0 * (math.cos(math.pi * (t - start) / (end - start)) + 1)
    ///         start = end
    /// ```
    #[test]
    fn rates_are_those_of_the_closed_forms() {
        let check = |schedule, steps, expected: &[(u64, f64)]| {
            for &(step, expected) in expected {
                let found = rate(Some(schedule), LR, step, steps);
                assert!((found - expected).abs() < 1e-15, "{schedule:?} {step}/{steps}: {found} {expected}");
            }
        };
        let ten = [(0, 1e-3), (1, 9.755282581475768e-4), (5, 5e-4), (9, 2.4471741852423235e-5)];
        check(Schedule::Cosine, 10, &ten);
        let study = [
            (1, 9.999998245403766e-4),
            (1124, 7.94231403220172e-4),
            (1125, 7.938926261462366e-4),
            (3749, 1.7545962355258739e-10),
        ];
        check(Schedule::Cosine, 3750, &study);
        let ten = [
            (0, 3.9999999999999996e-5),
            (1, 5.200000000000001e-4),
            (2, 1e-3),
            (3, 9.504846320134736e-4),
            (6, 3.8874197806371076e-4),
            (9, 4e-9),
        ];
        check(Schedule::OneCycle, 10, &ten);
        let study = [
            (0, 3.9999999999999996e-5),
            (1, 4.00018748998827e-5),
            (562, 5.200000000000001e-4),
            (1124, 1e-3),
            (1125, 9.999996419205897e-4),
            (2000, 7.494825947671384e-4),
            (3749, 4e-9),
        ];
        check(Schedule::OneCycle, 3750, &study);
        // Too short to rise.
        check(Schedule::OneCycle, 1, &[(0, 4e-9)]);
        check(Schedule::OneCycle, 2, &[(0, 8.117456539497629e-4), (1, 4e-9)]);
    }

    #[test]
    fn without_a_schedule_the_rate_keeps_its_bits() {
        for (step, lr) in [(0, 0.1), (7, 1e-3), (9, 0.005)] {
            assert_eq!(rate(None, lr, step, 10), lr);
            assert_eq!(rate(Some(Schedule::Constant), lr, step, 10), lr);
        }
    }

    #[test]
    fn every_rate_of_every_length_is_positive_and_at_most_lr() {
        for schedule in [Schedule::Cosine, Schedule::OneCycle] {
            for steps in 1..200 {
                for step in 0..steps {
                    let rate = rate(Some(schedule), LR, step, steps);
                    assert!(rate > 0.0 && rate <= LR, "{schedule:?} {step}/{steps}: {rate}");
                }
            }
        }
    }
}
