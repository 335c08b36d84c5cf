//! Our own convolutions: 3×3 with stride 1 and padding 1. `convolution.cpp` is the operator, `winograd/` has the kernels.

use std::ffi::{c_int, c_void};
use std::ptr;

use tch::{Device, Kind, TchError, Tensor};

use crate::network::{Algorithm, Algorithms};
use crate::train::shim::fused::{owned, pointer};

unsafe extern "C" {
    fn pb_convolution(
        x: *mut c_void,
        weight: *mut c_void,
        bias: *mut c_void,
        forward_tile: i64,
        data_tile: i64,
        weights_tile: i64,
        out: *mut *mut c_void,
    ) -> c_int;
}

/// Whether the kernels here take `x`: 32-bit images [N, C, H, W] on the CPU. Which convolutions they take, the policy says.
pub(crate) fn takes(x: &Tensor) -> bool {
    let size = x.size();
    x.kind() == Kind::Float && x.device() == Device::Cpu && size.len() == 4 && size[0] > 0
}

/// The convolution of `x` by a weight [out, in, 3, 3], whose passes are computed as `algorithms` says. What comes out is
/// channels-last.
pub fn convolution(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    algorithms: Algorithms,
) -> Result<Tensor, TchError> {
    let [data, weights] =
        [algorithms.backward_data, algorithms.backward_weights].map(|algorithm| algorithm.map_or(0, tile));
    let bias = bias.map_or(ptr::null_mut(), pointer);
    let mut out = ptr::null_mut();
    // SAFETY: live tensors, or null for the bias; on success `out` is a fresh one that is ours.
    let code = unsafe {
        pb_convolution(pointer(x), pointer(weight), bias, tile(algorithms.forward), data, weights, &mut out)
    };
    owned(code, out)
}

/// Results along a side of a tile; 0 is libtorch's algorithm.
fn tile(algorithm: Algorithm) -> i64 {
    match algorithm {
        Algorithm::Direct => 0,
        Algorithm::WinogradF2 => 2,
        Algorithm::WinogradF4 => 4,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRng, TestRunner};

    use super::*;
    use crate::train::GENERATOR;

    const OWN: Algorithms = Algorithms::all(Algorithm::WinogradF2);
    const LARGER: Algorithms = Algorithms::all(Algorithm::WinogradF4);

    /// Images [N, C, H, W] and the channels of the results: the study's layers, odd sides, remainders of tiles, one image.
    const SHAPES: [([i64; 4], i64); 8] = [
        ([4, 32, 14, 14], 64),
        ([2, 32, 32, 32], 64),
        ([2, 128, 16, 16], 128),
        ([3, 256, 8, 8], 256),
        ([1, 64, 7, 7], 32),
        ([2, 32, 5, 9], 96),
        ([1, 32, 4, 4], 32),
        ([5, 160, 6, 11], 64),
    ];

    /// Each of `cases` with tiles of 2×2 and of 4×4.
    fn by_tile<T: Copy>(cases: impl IntoIterator<Item = T>) -> impl Iterator<Item = (T, Algorithms)> {
        cases.into_iter().flat_map(|case| [(case, OWN), (case, LARGER)])
    }

    struct Values {
        x: Tensor,
        weight: Tensor,
        bias: Option<Tensor>,
        grad: Tensor,
    }

    impl Values {
        /// As a layer has them: channels-last, and weights so small that results are of the size of values.
        fn new([images, input, height, width]: [i64; 4], output: i64, has_bias: bool) -> Self {
            let normal = |size: &[i64]| Tensor::randn(size, (Kind::Float, Device::Cpu));
            let weight = normal(&[output, input, 3, 3]) / (9.0 * input as f64).sqrt();
            Self {
                x: channels_last(&normal(&[images, input, height, width])),
                weight: channels_last(&weight),
                bias: has_bias.then(|| normal(&[output])),
                grad: channels_last(&normal(&[images, output, height, width])),
            }
        }

        /// Results, and the gradients of what went in, by `algorithms` or by libtorch.
        fn run(&self, kind: Kind, algorithms: Option<Algorithms>) -> Vec<Tensor> {
            let leaf = |tensor: &Tensor| tensor.detach().to_kind(kind).copy().set_requires_grad(true);
            let (x, weight, bias) = (leaf(&self.x), leaf(&self.weight), self.bias.as_ref().map(leaf));
            let y = match algorithms {
                Some(algorithms) => convolution(&x, &weight, bias.as_ref(), algorithms).unwrap(),
                None => x.conv2d(&weight, bias.as_ref(), [1, 1], [1, 1], [1, 1], 1),
            };
            (&y * self.grad.to_kind(kind)).sum(kind).backward();
            let mut results = vec![y.detach(), x.grad(), weight.grad()];
            results.extend(bias.map(|bias| bias.grad()));
            results
        }
    }

    fn channels_last(tensor: &Tensor) -> Tensor {
        tensor.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
    }

    /// Root of the mean squared difference, over the root of the mean square.
    fn distance(found: &Tensor, truth: &Tensor) -> f64 {
        assert_eq!(found.size(), truth.size());
        let found = found.to_kind(Kind::Double);
        let error = (&found - truth).square().mean(Kind::Double).sqrt().double_value(&[]);
        error / truth.square().mean(Kind::Double).sqrt().double_value(&[])
    }

    const PASSES: [&str; 4] = ["forward", "backward to the data", "backward to the weights", "bias"];

    /// Of the algorithm that libtorch chooses here, which also sums in vectors and blocks, and not one after the other. Tiles of
    /// 4×4 are two to four times as far.
    #[test]
    fn every_pass_is_about_as_close_to_float64_as_that_of_libtorch() {
        let _alone = GENERATOR.lock().unwrap();
        tch::manual_seed(11);
        let mut closer = [Vec::new(), Vec::new()];
        for (images, output) in SHAPES {
            let values = Values::new(images, output, true);
            let truth = values.run(Kind::Double, None);
            let stock = values.run(Kind::Float, None);
            let own = [OWN, LARGER].map(|algorithms| values.run(Kind::Float, Some(algorithms)));
            for (index, truth) in truth.iter().enumerate() {
                let stock = distance(&stock[index], truth);
                let [own, larger] = [0, 1].map(|tile| distance(&own[tile][index], truth));
                let pass = PASSES[index];
                println!("{images:?} to {output}, {pass}: own {own:.2e}, {larger:.2e}, stock {stock:.2e}");
                assert!(own <= (2.0 * stock).max(6e-7), "{images:?} to {output}, {pass}");
                assert!(larger <= (6.0 * stock).max(2e-6), "{images:?} to {output}, {pass}: {larger:.2e}");
                closer[0].push((stock.max(1e-9) / own.max(1e-9)).ln());
                closer[1].push((stock.max(1e-9) / larger.max(1e-9)).ln());
            }
        }
        let closer = closer.map(|closer| crate::stats::mean(&closer).unwrap().exp());
        println!("distance of libtorch from float64 over that of ours, geometric mean: {closer:.2?}");
        assert!(closer[0] > 0.8 && closer[1] > 0.3, "{closer:?}");
    }

    #[test]
    fn any_shape_that_fits_gives_what_libtorch_gives() {
        let _alone = GENERATOR.lock().unwrap();
        tch::manual_seed(12);
        let shapes = (1_i64..6, 4_i64..19, 4_i64..19, 1_i64..5, 1_i64..5, any::<bool>());
        let config = Config { cases: 40, failure_persistence: None, ..Config::default() };
        let rng = TestRng::deterministic_rng(config.rng_algorithm);
        TestRunner::new_with_rng(config, rng)
            .run(&shapes, |(images, height, width, input, output, has_bias)| {
                let values = Values::new([images, 32 * input, height, width], 32 * output, has_bias);
                let truth = values.run(Kind::Double, None);
                let stock = values.run(Kind::Float, None);
                for (algorithms, most) in [(OWN, 2e-6), (LARGER, 6e-6)] {
                    let own = values.run(Kind::Float, Some(algorithms));
                    prop_assert_eq!(own.len(), stock.len());
                    for ((own, stock), truth) in own.iter().zip(&stock).zip(&truth) {
                        prop_assert_eq!(own.stride(), stock.stride());
                        prop_assert!(distance(own, truth) < most);
                    }
                }
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let _alone = GENERATOR.lock().unwrap();
        tch::manual_seed(13);
        let threads = tch::get_num_threads();
        for ((images, output), algorithms) in by_tile(SHAPES) {
            let values = Values::new(images, output, true);
            let results = [1, 2, 3, 4, 8, 16].map(|threads| {
                tch::set_num_threads(threads);
                values.run(Kind::Float, Some(algorithms))
            });
            tch::set_num_threads(threads);
            let (one, others) = results.split_first().unwrap();
            for other in others {
                assert!(one.iter().zip(other).all(|(one, other)| one.equal(other)), "{images:?} to {output}");
            }
        }
    }

    /// A policy may have a pass computed by libtorch and the others not.
    #[test]
    fn a_pass_that_is_left_to_libtorch_has_its_bits() {
        let _alone = GENERATOR.lock().unwrap();
        tch::manual_seed(14);
        let values = Values::new([2, 32, 8, 8], 64, true);
        let stock = values.run(Kind::Float, None);
        let own = values.run(Kind::Float, Some(OWN));
        let direct = Some(Algorithm::Direct);
        for (pass, algorithms) in [
            Algorithms { forward: Algorithm::Direct, ..OWN },
            Algorithms { backward_data: direct, ..OWN },
            Algorithms { backward_weights: direct, ..OWN },
        ]
        .into_iter()
        .enumerate()
        {
            let mixed = values.run(Kind::Float, Some(algorithms));
            for (index, mixed) in mixed.iter().enumerate() {
                // The bias comes with the weights.
                let expected = if index.min(2) == pass { &stock } else { &own };
                assert!(mixed.equal(&expected[index]), "{algorithms:?}, {}", PASSES[index]);
            }
        }
    }

    /// Images that are not channels-last, as under plan eager.
    #[test]
    fn the_memory_format_of_what_arrives_changes_no_bit() {
        let _alone = GENERATOR.lock().unwrap();
        tch::manual_seed(15);
        let values = Values::new([3, 32, 6, 7], 32, true);
        let plain = Values {
            x: values.x.contiguous(),
            weight: values.weight.contiguous(),
            bias: values.bias.as_ref().map(Tensor::shallow_clone),
            grad: values.grad.contiguous(),
        };
        let (first, second) = (values.run(Kind::Float, Some(OWN)), plain.run(Kind::Float, Some(OWN)));
        assert!(first.iter().zip(&second).all(|(first, second)| first.equal(second)));
    }

    #[test]
    fn what_is_not_finite_or_far_from_the_rest_is_not_hidden() {
        let _alone = GENERATOR.lock().unwrap();
        tch::manual_seed(16);
        for (value, algorithms) in by_tile([f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e25]) {
            let values = Values::new([2, 32, 6, 5], 32, true);
            let _ = values.x.get(1).get(7).get(2).get(3).fill_(value);
            let (truth, own) = (values.run(Kind::Double, None), values.run(Kind::Float, Some(algorithms)));
            for (index, (truth, own)) in truth.iter().zip(own).enumerate() {
                let own = own.to_kind(Kind::Double);
                let is_lost = match value.is_finite() {
                    false => truth.isfinite().logical_not().logical_and(&own.isfinite()),
                    true => {
                        truth.abs().ge(1e23).logical_and(&(&own / truth - 1.0).abs().lt(1e-3).logical_not())
                    }
                };
                let lost = is_lost.sum(Kind::Int64).int64_value(&[]);
                assert_eq!(lost, 0, "{value}, {algorithms:?}, {}", PASSES[index]);
            }
        }
    }

    #[test]
    fn a_bias_has_its_gradient_beside_a_weight_that_has_none() {
        let _alone = GENERATOR.lock().unwrap();
        let values = Values::new([2, 32, 5, 9], 32, true);
        for algorithms in [OWN, LARGER, Algorithms::all(Algorithm::Direct)] {
            let bias = values.bias.as_ref().unwrap().copy().set_requires_grad(true);
            let y = convolution(&values.x, &values.weight, Some(&bias), algorithms).unwrap();
            (&y * &values.grad).sum(Kind::Float).backward();
            let expected = values.grad.sum_dim_intlist([0_i64, 2, 3].as_slice(), false, Kind::Float);
            assert!(distance(&bias.grad(), &expected.to_kind(Kind::Double)) < 1e-6);
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let tensor = |size: &[i64]| Tensor::ones(size, (Kind::Float, Device::Cpu));
        let (x, weight) = (tensor(&[2, 32, 8, 8]), tensor(&[32, 32, 3, 3]));
        for (x, weight, bias) in [
            (tensor(&[2, 48, 8, 8]), tensor(&[32, 48, 3, 3]), None),
            (x.copy(), tensor(&[33, 32, 3, 3]), None),
            (x.copy(), tensor(&[32, 64, 3, 3]), None),
            (x.copy(), tensor(&[32, 32, 5, 5]), None),
            (x.copy(), weight.copy(), Some(tensor(&[31]))),
            (x.to_kind(Kind::Double), weight.copy(), None),
        ] {
            let error = convolution(&x, &weight, bias.as_ref(), OWN).unwrap_err().to_string();
            assert!(error.contains("pinbench:"), "{error}");
        }
        assert!(takes(&x) && !takes(&x.to_kind(Kind::Double)) && !takes(&tensor(&[0, 32, 8, 8])));
    }

    #[test]
    fn a_second_derivative_is_refused_rather_than_wrong() {
        let x = Tensor::ones([1, 32, 4, 4], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let weight = Tensor::ones([32, 32, 3, 3], (Kind::Float, Device::Cpu));
        let y = convolution(&x, &weight, None, OWN).unwrap().sum(Kind::Float);
        let error = Tensor::f_run_backward(&[y], &[x], true, true).unwrap_err().to_string();
        assert!(error.contains("second derivative"), "{error}");
    }
}
