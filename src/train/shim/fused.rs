//! Our own kernels: several operators of a block in fewer passes over memory. `batch_norm.cpp` and `first_block.cpp` have
//! the formulas.

use std::ffi::{c_int, c_void};
use std::ptr;

use tch::{Device, Kind, TchError, Tensor};

use crate::train::shim::last_error;

/// BatchNorm's tensors, one value a channel each; the running ones are moved.
pub(crate) struct Norm<'a> {
    pub weight: &'a Tensor,
    pub bias: &'a Tensor,
    pub running_mean: &'a Tensor,
    pub running_var: &'a Tensor,
    pub momentum: f64,
    pub eps: f64,
}

/// What follows BatchNorm in the same kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Then {
    /// 2×2, stride 2; an odd last row or column is left out, as PyTorch does.
    pub pool: bool,
    pub relu: bool,
}

unsafe extern "C" {
    fn pb_norm_pool(
        x: *mut c_void,
        weight: *mut c_void,
        bias: *mut c_void,
        running_mean: *mut c_void,
        running_var: *mut c_void,
        momentum: f64,
        eps: f64,
        pool: c_int,
        relu: c_int,
        out: *mut *mut c_void,
    ) -> c_int;
    fn pb_first_block(
        x: *mut c_void,
        conv_weight: *mut c_void,
        conv_bias: *mut c_void,
        weight: *mut c_void,
        bias: *mut c_void,
        running_mean: *mut c_void,
        running_var: *mut c_void,
        momentum: f64,
        eps: f64,
        relu: c_int,
        out: *mut *mut c_void,
    ) -> c_int;
}

/// Whether the kernels here take `x`: 32-bit images [N, C, H, W] on the CPU, of at least 2×2 pixels.
pub(crate) fn takes(x: &Tensor) -> bool {
    let size = x.size();
    x.kind() == Kind::Float
        && x.device() == Device::Cpu
        && size.len() == 4
        && size[0] > 0
        && size[2].min(size[3]) > 1
}

/// Pixels of an image up to which [`first_block`] sums the moments of its taps in float: of bright images twice as wide the
/// variance lost a digit, of 512 pixels a side all of them.
const MOST_PIXELS: i64 = 32 * 32;

/// Whether [`first_block`] takes `x` and the weight of a 3×3 convolution with padding 1: one channel, not too large, and no
/// gradient wanted for the images.
pub(crate) fn takes_first(x: &Tensor, conv_weight: &Tensor) -> bool {
    takes(x)
        && conv_weight.size()[1..] == [1, 3, 3]
        && x.size()[2] * x.size()[3] <= MOST_PIXELS
        && !x.requires_grad()
}

/// BatchNorm of `x` [N, C, H, W] in train mode, then what `then` says: [N, C, H, W] or [N, C, H/2, W/2], channels last.
pub(crate) fn norm_pool(x: &Tensor, norm: &Norm, then: Then) -> Result<Tensor, TchError> {
    let mut out = ptr::null_mut();
    // SAFETY: live tensors; on success `out` is a fresh one that is ours.
    let code = unsafe {
        pb_norm_pool(
            pointer(x),
            pointer(norm.weight),
            pointer(norm.bias),
            pointer(norm.running_mean),
            pointer(norm.running_var),
            norm.momentum,
            norm.eps,
            then.pool.into(),
            then.relu.into(),
            &mut out,
        )
    };
    owned(code, out)
}

/// 3×3 convolution with padding 1 of images [N, 1, H, W], BatchNorm in train mode, ReLU if asked for, 2×2 max pooling:
/// [N, C, H/2, W/2], channels last.
pub(crate) fn first_block(
    x: &Tensor,
    (conv_weight, conv_bias): (&Tensor, &Tensor),
    norm: &Norm,
    relu: bool,
) -> Result<Tensor, TchError> {
    let mut out = ptr::null_mut();
    // SAFETY: as above.
    let code = unsafe {
        pb_first_block(
            pointer(x),
            pointer(conv_weight),
            pointer(conv_bias),
            pointer(norm.weight),
            pointer(norm.bias),
            pointer(norm.running_mean),
            pointer(norm.running_var),
            norm.momentum,
            norm.eps,
            relu.into(),
            &mut out,
        )
    };
    owned(code, out)
}

pub(crate) fn pointer(tensor: &Tensor) -> *mut c_void {
    tensor.as_ptr() as *mut c_void
}

/// The tensor that a function of the shim made, or its error.
pub(crate) fn owned(code: c_int, out: *mut c_void) -> Result<Tensor, TchError> {
    if code != 0 {
        return Err(TchError::Torch(last_error()));
    }
    // SAFETY: the shim made it with `new at::Tensor`, as torch-sys makes its own.
    Ok(unsafe { Tensor::from_ptr(out.cast()) })
}

#[cfg(test)]
mod tests {
    use tch::Reduction;

    use super::*;

    /// Standard operators in float64 are the truth. No result may be further from it than twice the way of stock operators
    /// in float32, or than this; on the whole ours have to be closer.
    const ROUNDING: f64 = 2e-6;

    struct Case {
        images: [i64; 4],
        channels: i64,
        then: Then,
    }

    fn cases() -> Vec<Case> {
        let all = [(true, true), (true, false), (false, true), (false, false)];
        let then = all.map(|(pool, relu)| Then { pool, relu });
        // The study's shapes, and some that end in the middle of a vector, a window or a chunk.
        let shapes = [[16, 1, 28, 28], [7, 64, 14, 14], [3, 13, 7, 9], [1, 8, 2, 3], [5, 33, 5, 4]];
        shapes
            .iter()
            .flat_map(|&images| then.map(|then| Case { images, channels: images[1].max(13), then }))
            .collect()
    }

    /// Everything there is to compare, as float64: output, gradients, running statistics.
    type Results = Vec<Tensor>;

    struct Values {
        x: Tensor,
        conv: Option<(Tensor, Tensor)>,
        norm: [Tensor; 4],
        grad: Option<Tensor>,
    }

    impl Values {
        fn new(case: &Case) -> Self {
            let kind = (Kind::Float, Device::Cpu);
            let [_, input, ..] = case.images;
            let first = input == 1;
            let channels = if first { case.channels } else { input };
            let x = Tensor::rand(case.images, kind).pow_tensor_scalar(3);
            // Far from zero beside its spread, where a sum of squares would lose its digits.
            let x = if first { x } else { x * 4.0 + 9.0 };
            let conv = first.then(|| {
                let weight = Tensor::rand([channels, 1, 3, 3], kind) - 0.5;
                (weight, Tensor::rand([channels], kind) - 0.5)
            });
            let norm = [
                Tensor::rand([channels], kind) * 2.0 - 0.7,
                Tensor::rand([channels], kind) - 0.5,
                Tensor::zeros([channels], kind),
                Tensor::ones([channels], kind),
            ];
            Self { x, conv, norm, grad: None }
        }

        fn run(&mut self, kind: Kind, own: bool, then: Then) -> Results {
            let leaf = |tensor: &Tensor| tensor.detach().to_kind(kind).copy().set_requires_grad(true);
            let moved = |tensor: &Tensor| tensor.to_kind(kind).copy();
            let (weight, bias) = (leaf(&self.norm[0]), leaf(&self.norm[1]));
            let (running_mean, running_var) = (moved(&self.norm[2]), moved(&self.norm[3]));
            let conv = self.conv.as_ref().map(|(weight, bias)| (leaf(weight), leaf(bias)));
            let x = if conv.is_some() { moved(&self.x) } else { leaf(&self.x) };
            let y = {
                let norm = Norm {
                    weight: &weight,
                    bias: &bias,
                    running_mean: &running_mean,
                    running_var: &running_var,
                    momentum: 0.1,
                    eps: 1e-5,
                };
                match (&conv, own) {
                    (Some((w, b)), true) if then.pool => first_block(&x, (w, b), &norm, then.relu).unwrap(),
                    (Some((w, b)), true) => {
                        norm_pool(&x.conv2d(w, Some(b), [1, 1], [1, 1], [1, 1], 1), &norm, then).unwrap()
                    }
                    (None, true) => norm_pool(&x, &norm, then).unwrap(),
                    (conv, false) => stock(&x, conv.as_ref(), &norm, then),
                }
            };
            let grad = self.grad.get_or_insert_with(|| y.randn_like().to_kind(Kind::Float)).to_kind(kind);
            (&y * grad).sum(kind).backward();
            let mut results = vec![y, weight.grad(), bias.grad(), running_mean, running_var];
            match conv {
                // The bias has a gradient of 0 in exact arithmetic, and is compared with nothing.
                Some((weight, _)) => results.push(weight.grad()),
                None => results.push(x.grad()),
            }
            results.iter().map(|tensor| tensor.detach().to_kind(Kind::Double)).collect()
        }
    }

    fn stock(x: &Tensor, conv: Option<&(Tensor, Tensor)>, norm: &Norm, then: Then) -> Tensor {
        let x = match conv {
            Some((weight, bias)) => x.conv2d(weight, Some(bias), [1, 1], [1, 1], [1, 1], 1),
            None => x.shallow_clone(),
        };
        let (weight, bias) = (Some(norm.weight), Some(norm.bias));
        let y = x.batch_norm(
            weight,
            bias,
            Some(norm.running_mean),
            Some(norm.running_var),
            true,
            norm.momentum,
            norm.eps,
            false,
        );
        let y = if then.relu { y.relu() } else { y };
        if then.pool { y.max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false) } else { y }
    }

    /// Root of the mean squared difference, over the root of the mean square.
    fn distance(found: &Tensor, truth: &Tensor) -> f64 {
        assert_eq!(found.size(), truth.size());
        let error = found.mse_loss(truth, Reduction::Mean).sqrt().double_value(&[]);
        let size = truth.square().mean(Kind::Double).sqrt().double_value(&[]);
        error / size.max(1e-9)
    }

    #[test]
    fn every_result_is_as_close_to_float64_as_that_of_stock_operators() {
        let _alone = crate::train::GENERATOR.lock().unwrap();
        tch::manual_seed(5);
        let mut closer = Vec::new();
        for case in cases() {
            let mut values = Values::new(&case);
            let truth = values.run(Kind::Double, false, case.then);
            let stock = values.run(Kind::Float, false, case.then);
            let own = values.run(Kind::Float, true, case.then);
            for (index, truth) in truth.iter().enumerate() {
                let (stock, own) = (distance(&stock[index], truth), distance(&own[index], truth));
                let (images, then) = (case.images, case.then);
                let is_close = own <= (2.0 * stock).max(ROUNDING);
                assert!(is_close, "{images:?} {then:?}, result {index}: own {own:e}, stock {stock:e}");
                closer.push((stock.max(1e-9) / own.max(1e-9)).ln());
            }
        }
        let closer = crate::stats::mean(&closer).unwrap().exp();
        println!("distance of stock operators from float64 over that of ours, geometric mean: {closer:.2}");
        assert!(closer > 1.0, "{closer}");
    }

    #[test]
    fn the_same_bits_come_out_again() {
        let _alone = crate::train::GENERATOR.lock().unwrap();
        tch::manual_seed(6);
        for case in cases() {
            let mut values = Values::new(&case);
            let first = values.run(Kind::Float, true, case.then);
            let again = values.run(Kind::Float, true, case.then);
            assert!(first.iter().zip(&again).all(|(first, again)| first.equal(again)));
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let _alone = crate::train::GENERATOR.lock().unwrap();
        tch::manual_seed(7);
        let threads = tch::get_num_threads();
        // Stock convolutions do depend on it, so the images come without one, or through our own.
        for case in cases().iter().filter(|case| case.images[1] > 1 || case.then.pool) {
            let mut values = Values::new(case);
            let results = [1, 3].map(|threads| {
                tch::set_num_threads(threads);
                values.run(Kind::Float, true, case.then)
            });
            tch::set_num_threads(threads);
            let [one, three] = results;
            assert!(one.iter().zip(&three).all(|(one, three)| one.equal(three)), "{:?}", case.images);
        }
    }

    #[test]
    fn what_is_not_finite_or_beyond_the_range_is_not_hidden() {
        let ones = || Tensor::ones([8], (Kind::Float, Device::Cpu));
        let (weight, bias, mean, var) = (ones(), ones(), ones(), ones());
        let norm = Norm {
            weight: &weight,
            bias: &bias,
            running_mean: &mean,
            running_var: &var,
            momentum: 0.1,
            eps: 1e-5,
        };
        let nan_count = |y: Tensor| y.isnan().sum(Kind::Int64).int64_value(&[]);
        let conv = (Tensor::ones([8, 1, 3, 3], (Kind::Float, Device::Cpu)), ones());
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e25] {
            // Of channel 1 in images [2, 8, 5, 5]: at each place of a window, and in the last column, which none covers.
            for place in [0, 1, 5, 6, 4] {
                let mut values = [0.5_f32; 2 * 8 * 5 * 5];
                values[25 + place] = value;
                let x = Tensor::from_slice(&values).view([2, 8, 5, 5]);
                for (relu, pool) in [(true, true), (true, false), (false, true), (false, false)] {
                    let y = norm_pool(&x, &norm, Then { pool, relu }).unwrap();
                    // The whole of the channel, in both images, and no other.
                    let all = if pool { 2 * 2 * 2 } else { 2 * 5 * 5 };
                    assert_eq!(nan_count(y), all, "{value} at {place}, pool {pool}, relu {relu}");
                }
                let grey = x.narrow(1, 1, 1).contiguous();
                for relu in [true, false] {
                    let y = first_block(&grey, (&conv.0, &conv.1), &norm, relu).unwrap();
                    assert_eq!(nan_count(y), 2 * 8 * 2 * 2, "{value} at {place}, relu {relu}");
                }
            }
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let tensor = |size: &[i64]| Tensor::ones(size, (Kind::Float, Device::Cpu));
        let (right, wrong) = (tensor(&[8]), tensor(&[7]));
        let norm = |weight| Norm {
            weight,
            bias: &right,
            running_mean: &right,
            running_var: &right,
            momentum: 0.1,
            eps: 1e-5,
        };
        let then = Then { pool: true, relu: true };
        for (x, weight) in
            [(tensor(&[2, 8, 4, 4]), &wrong), (tensor(&[2, 8, 1, 4]), &right), (tensor(&[8, 4]), &right)]
        {
            let error = norm_pool(&x, &norm(weight), then).unwrap_err().to_string();
            assert!(error.contains("pinbench:"), "{error}");
        }
        assert!(!takes(&tensor(&[8, 4])) && !takes(&tensor(&[2, 8, 1, 4])) && takes(&tensor(&[2, 8, 4, 4])));
        let doubles = tensor(&[2, 8, 4, 4]).to_kind(Kind::Double);
        assert!(!takes(&doubles) && norm_pool(&doubles, &norm(&right), then).is_err());
    }

    #[test]
    fn a_second_derivative_is_refused_rather_than_wrong() {
        let x = Tensor::ones([2, 8, 4, 4], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let ones = Tensor::ones([8], (Kind::Float, Device::Cpu));
        let norm = Norm {
            weight: &ones,
            bias: &ones,
            running_mean: &ones.copy(),
            running_var: &ones.copy(),
            momentum: 0.1,
            eps: 1e-5,
        };
        let y = norm_pool(&x, &norm, Then { pool: false, relu: true }).unwrap().sum(Kind::Float);
        let error = Tensor::f_run_backward(&[y], &[x], true, true).unwrap_err().to_string();
        assert!(error.contains("second derivative"), "{error}");
    }
}
