//! Two yardsticks: how fast libtorch computes and copies memory here, with the threads it has.

use tch::{Device, Kind, TchError, Tensor};

use crate::clock::{Clock, Monotonic};
use crate::train::TrainError;
use crate::work::{COPY_BYTES, Ceilings, PRODUCT_SIDE};

/// The best of so many, because a neighbour on the machine only ever makes it slower.
const REPEATS: usize = 10;

/// The same in a process that was prepared for nothing: with so many threads.
pub fn ceilings_of(threads: u32) -> Result<Ceilings, TrainError> {
    tch::set_num_threads(threads as i32);
    ceilings()
}

/// In a prepared process. Takes a second or two and 0.6 GB, so that it belongs after whatever is timed: memory that it
/// leaves with the allocator would spare a training its page faults.
pub fn ceilings() -> Result<Ceilings, TrainError> {
    let _no_grad = tch::no_grad_guard();
    // Neither is the faster one everywhere: on an AMD EPYC with AVX-512 the product reaches 230 GFLOP/s and a convolution 560.
    Ok(Ceilings { flop_per_s: product()?.max(convolution()?), bytes_per_s: copy()? })
}

fn product() -> Result<f64, TrainError> {
    let side = i64::from(PRODUCT_SIDE);
    let matrix = || Tensor::f_full([side, side], 0.5, (Kind::Float, Device::Cpu));
    let (left, right, out) = (matrix()?, matrix()?, matrix()?);
    let ns = best_ns(|| left.f_mm_out(&out, &right).map(drop))?;
    Ok(2.0 * f64::from(PRODUCT_SIDE).powi(3) * 1e9 / ns)
}

/// 3×3 with stride 1 and padding 1, as many channels out as in.
fn convolution() -> Result<f64, TrainError> {
    const IMAGES: i64 = 8;
    const SIDE: i64 = 32;
    const CHANNELS: i64 = 256;
    let filled = |size: [i64; 4]| Tensor::f_full(size, 0.5, (Kind::Float, Device::Cpu));
    let images = filled([IMAGES, SIDE, SIDE, CHANNELS])?.f_permute([0, 3, 1, 2])?;
    let weight = filled([CHANNELS, 3, 3, CHANNELS])?.f_permute([0, 3, 1, 2])?;
    let ns = best_ns(|| images.f_conv2d(&weight, None::<&Tensor>, [1, 1], [1, 1], [1, 1], 1).map(drop))?;
    Ok((2 * 9 * IMAGES * SIDE * SIDE * CHANNELS * CHANNELS) as f64 * 1e9 / ns)
}

fn copy() -> Result<f64, TrainError> {
    let values = (COPY_BYTES / 4) as i64;
    // Written, and not merely asked for: what was never written is one page of zeros, which fits into any cache.
    let tensor = || Tensor::f_full([values], 0.5, (Kind::Float, Device::Cpu));
    let (from, mut to) = (tensor()?, tensor()?);
    let ns = best_ns(|| to.f_copy_(&from))?;
    Ok(2.0 * COPY_BYTES as f64 * 1e9 / ns)
}

/// At least 1, so that it can be divided by.
fn best_ns(mut work: impl FnMut() -> Result<(), TchError>) -> Result<f64, TrainError> {
    // The first settles caches and threads.
    work()?;
    let clock = Monotonic::start();
    let mut best = u64::MAX;
    for _ in 0..REPEATS {
        let began_ns = clock.now_ns();
        work()?;
        best = best.min(clock.now_ns() - began_ns);
    }
    Ok(best.max(1) as f64)
}
