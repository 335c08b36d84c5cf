//! Curves with fewer points that look the same.

/// The least and the greatest of each of `buckets` stretches, in the order they came: oscillation stays as wide as
/// it was, where every n-th point would show a calmer curve. The same points give the same choice.
pub(super) fn extremes(points: &[(f64, f64)], buckets: usize) -> Vec<(f64, f64)> {
    if points.len() <= 2 * buckets {
        return points.to_vec();
    }
    let by_height = |left: &&(f64, f64), right: &&(f64, f64)| left.1.total_cmp(&right.1);
    let both_ends = |bucket: &[(f64, f64)]| -> Vec<(f64, f64)> {
        let ends = bucket.iter().min_by(by_height).zip(bucket.iter().max_by(by_height));
        let Some((&low, &high)) = ends else { return Vec::new() };
        if low == high {
            vec![low]
        } else if low.0 < high.0 {
            vec![low, high]
        } else {
            vec![high, low]
        }
    };
    let cut = |bucket: usize| points.len() * bucket / buckets;
    (0..buckets).flat_map(|bucket| both_ends(&points[cut(bucket)..cut(bucket + 1)])).collect()
}

/// At most `most` values, evenly by rank, the least and the greatest among them: as many dots show the same spread.
pub(super) fn ranked(values: &[f64], most: usize) -> Vec<f64> {
    if values.len() <= most {
        return values.to_vec();
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    evenly(&sorted, most)
}

/// At most `most` points at even distances, the first and the last among them: for curves that are smooth.
pub(super) fn evenly<T: Copy>(points: &[T], most: usize) -> Vec<T> {
    if points.len() <= most || most < 2 {
        return points.to_vec();
    }
    (0..most).map(|index| points[index * (points.len() - 1) / (most - 1)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saw(count: usize) -> Vec<(f64, f64)> {
        (0..count).map(|x| (x as f64, (x % 7) as f64)).collect()
    }

    #[test]
    fn thinning_keeps_the_width_of_the_oscillation_and_the_order() {
        let thin = extremes(&saw(7000), 100);
        assert_eq!(thin.len(), 200);
        assert!(thin.is_sorted_by(|left, right| left.0 < right.0));
        for pair in thin.chunks(2) {
            assert_eq!((pair[0].1 - pair[1].1).abs(), 6.0);
        }
    }

    #[test]
    fn short_and_constant_curves_come_through() {
        assert_eq!(extremes(&[], 10), []);
        assert_eq!(extremes(&saw(20), 10), saw(20));
        let flat: Vec<(f64, f64)> = (0..1000).map(|x| (f64::from(x), 1.0)).collect();
        let thin = extremes(&flat, 10);
        assert_eq!((thin[0].0, thin[thin.len() - 1].0, thin.len()), (0.0, 999.0, 20));
        assert_eq!(evenly(&saw(5), 10), saw(5));
    }

    #[test]
    fn even_thinning_keeps_both_ends() {
        let thin = evenly(&saw(1001), 11);
        assert_eq!((thin.len(), thin[0].0, thin[10].0), (11, 0.0, 1000.0));
    }
}
