//! Safe calls into the C++ shim; see its C++ files for what each does in libtorch.

mod event;
pub(super) mod fused;
pub(super) mod graph;
pub(super) mod profiler;
pub(super) mod winograd;

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

use tch::Tensor;

use crate::machine::Cuda;
use crate::train::TrainError;

pub(super) use event::{CudaStream, set_tf32};

/// Adam's settings, laid out as in `shim.cpp`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct AdamKnobs {
    pub lr: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
}

/// Parameters and, in the same order, what Adam remembers of each.
pub(super) struct AdamTensors<'a> {
    pub params: &'a [Tensor],
    pub exp_avgs: &'a [Tensor],
    pub exp_avg_sqs: &'a [Tensor],
    /// Steps taken so far, a float scalar a parameter.
    pub steps: &'a [Tensor],
}

unsafe extern "C" {
    fn pb_last_error() -> *const c_char;
    fn pb_free(text: *mut c_char);
    fn pb_version(out: *mut *mut c_char) -> c_int;
    fn pb_capability(out: *mut *mut c_char) -> c_int;
    fn pb_cuda(toolkit: *mut i64, cudnn: *mut i64, devices: *mut i64) -> c_int;
    fn pb_own_kernels(out: *mut *mut c_char) -> c_int;
    fn pb_parallel_info(out: *mut *mut c_char) -> c_int;
    fn pb_use_deterministic_algorithms() -> c_int;
    fn pb_clear_grads(params: *mut *mut c_void, count: i64) -> c_int;
    fn pb_adam_fused(
        params: *mut *mut c_void,
        exp_avgs: *mut *mut c_void,
        exp_avg_sqs: *mut *mut c_void,
        steps: *mut *mut c_void,
        count: i64,
        knobs: AdamKnobs,
        rate: *mut c_void,
    ) -> c_int;
    fn pb_adam_foreach(
        params: *mut *mut c_void,
        exp_avgs: *mut *mut c_void,
        exp_avg_sqs: *mut *mut c_void,
        steps: *mut *mut c_void,
        count: i64,
        knobs: AdamKnobs,
    ) -> c_int;
    fn pb_adam_loop(
        params: *mut *mut c_void,
        exp_avgs: *mut *mut c_void,
        exp_avg_sqs: *mut *mut c_void,
        steps: *mut *mut c_void,
        count: i64,
        knobs: AdamKnobs,
    ) -> c_int;
}

pub(super) fn version() -> Result<String, TrainError> {
    text(pb_version)
}

/// Instruction set of the dispatched kernels, such as `AVX2`.
pub(super) fn capability() -> Result<String, TrainError> {
    text(pb_capability)
}

/// The copy of our own kernels that the loader chose, such as `x86-64-v3`.
pub(super) fn own_kernels() -> Result<String, TrainError> {
    text(pb_own_kernels)
}

/// What libtorch says of CUDA; `None` for the flavour without.
pub(super) fn cuda() -> Result<Option<Cuda>, TrainError> {
    let (mut toolkit, mut cudnn, mut devices) = (-1, -1, -1);
    // SAFETY: three integers that live until the call returns.
    check(unsafe { pb_cuda(&mut toolkit, &mut cudnn, &mut devices) })?;
    Ok((toolkit >= 0).then(|| Cuda {
        toolkit: format!("{}.{}", toolkit / 1000, toolkit % 1000 / 10),
        cudnn: (cudnn >= 0).then(|| format!("{}.{}.{}", cudnn / 10_000, cudnn % 10_000 / 100, cudnn % 100)),
        devices: u32::try_from(devices).unwrap_or_default(),
    }))
}

pub(super) fn parallel_info() -> Result<String, TrainError> {
    text(pb_parallel_info)
}

pub(super) fn use_deterministic_algorithms() -> Result<(), TrainError> {
    // SAFETY: no arguments; exceptions are caught in the shim.
    check(unsafe { pb_use_deterministic_algorithms() })
}

pub(super) fn clear_grads(params: &[Tensor]) -> Result<(), TrainError> {
    let mut params = pointers(params);
    // SAFETY: `count` live tensors, which tch keeps while `params` is borrowed.
    check(unsafe { pb_clear_grads(params.as_mut_ptr(), params.len() as i64) })
}

/// With `rate`, a float scalar where the parameters are, that is the rate and not the knobs'.
pub(super) fn adam_fused(
    tensors: &AdamTensors,
    knobs: AdamKnobs,
    rate: Option<&Tensor>,
) -> Result<(), TrainError> {
    let rate = rate.map_or(ptr::null_mut(), |rate| rate.as_ptr() as *mut c_void);
    // SAFETY: what `adam` gives, and a live tensor or null.
    adam(tensors, |[params, exp_avgs, exp_avg_sqs, steps], count| unsafe {
        pb_adam_fused(params, exp_avgs, exp_avg_sqs, steps, count, knobs, rate)
    })
}

pub(super) fn adam_foreach(tensors: &AdamTensors, knobs: AdamKnobs) -> Result<(), TrainError> {
    // SAFETY: what `adam` gives.
    adam(tensors, |[params, exp_avgs, exp_avg_sqs, steps], count| unsafe {
        pb_adam_foreach(params, exp_avgs, exp_avg_sqs, steps, count, knobs)
    })
}

pub(super) fn adam_loop(tensors: &AdamTensors, knobs: AdamKnobs) -> Result<(), TrainError> {
    // SAFETY: what `adam` gives.
    adam(tensors, |[params, exp_avgs, exp_avg_sqs, steps], count| unsafe {
        pb_adam_loop(params, exp_avgs, exp_avg_sqs, steps, count, knobs)
    })
}

/// Gives `step` four lists of as many live tensors, which tch keeps while `tensors` is borrowed.
fn adam(
    tensors: &AdamTensors,
    step: impl FnOnce([*mut *mut c_void; 4], i64) -> c_int,
) -> Result<(), TrainError> {
    let [mut params, mut exp_avgs, mut exp_avg_sqs, mut steps] =
        [tensors.params, tensors.exp_avgs, tensors.exp_avg_sqs, tensors.steps].map(pointers);
    let count = params.len();
    if [&exp_avgs, &exp_avg_sqs, &steps].iter().any(|list| list.len() != count) {
        return Err(TrainError::Internal("Adam's state does not match its parameters".to_owned()));
    }
    let lists = [&mut params, &mut exp_avgs, &mut exp_avg_sqs, &mut steps].map(|list| list.as_mut_ptr());
    check(step(lists, count as i64))
}

fn pointers(tensors: &[Tensor]) -> Vec<*mut c_void> {
    tensors.iter().map(|tensor| tensor.as_ptr() as *mut c_void).collect()
}

fn text(ask: unsafe extern "C" fn(*mut *mut c_char) -> c_int) -> Result<String, TrainError> {
    let mut out = ptr::null_mut();
    // SAFETY: on success `out` is a fresh NUL-terminated string that only we free.
    unsafe {
        check(ask(&mut out))?;
        Ok(taken(out))
    }
}

/// # Safety
///
/// `text` must be a string of the shim's that nobody else frees.
unsafe fn taken(text: *mut c_char) -> String {
    // SAFETY: the caller's promise; such a string ends with a NUL.
    unsafe {
        let taken = CStr::from_ptr(text).to_string_lossy().into_owned();
        pb_free(text);
        taken
    }
}

fn check(code: c_int) -> Result<(), TrainError> {
    if code == 0 {
        return Ok(());
    }
    Err(TrainError::Torch(last_error()))
}

fn last_error() -> String {
    // SAFETY: the shim keeps the text of this thread's last error until the next one.
    unsafe { CStr::from_ptr(pb_last_error()) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No record said which copy of a kernel had run.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_copy_of_our_own_kernels_is_that_of_this_processor() {
        let expected = if is_x86_feature_detected!("avx512vl") && is_x86_feature_detected!("avx512bw") {
            "x86-64-v4"
        } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2") {
            "x86-64-v3"
        } else {
            "portable"
        };
        // Clang makes the portable copy alone.
        assert!([expected, "portable"].contains(&own_kernels().unwrap().as_str()), "{:?}", own_kernels());
    }
}
