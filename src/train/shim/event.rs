//! A CUDA device's own timeline, and waiting for its work; `event.cpp` has what libtorch does.

use std::ffi::{c_int, c_void};
use std::ptr;

use crate::clock::EventSource;
use crate::train::TrainError;
use crate::train::shim::check;

/// `c10::DeviceType::CUDA`.
const CUDA: c_int = 1;

unsafe extern "C" {
    fn pb_event_new(device_type: c_int, out: *mut *mut c_void) -> c_int;
    fn pb_event_record(event: *mut c_void, index: c_int) -> c_int;
    fn pb_event_elapsed(from: *mut c_void, to: *mut c_void, ms: *mut f64) -> c_int;
    fn pb_event_free(event: *mut c_void);
    fn pb_device_synchronize(device_type: c_int, index: c_int) -> c_int;
    fn pb_set_tf32(convolutions: c_int) -> c_int;
}

/// A mark on the timeline of a CUDA device.
pub struct Event(*mut c_void);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the shim made it, and nobody else frees it.
        unsafe { pb_event_free(self.0) };
    }
}

/// The work that libtorch has queued on a CUDA device: its current stream there.
#[derive(Clone, Copy)]
pub struct CudaStream {
    index: c_int,
}

impl CudaStream {
    pub fn of(index: usize) -> Self {
        // A device's number is far below 2³¹.
        Self { index: index as c_int }
    }

    /// Waits until the device has nothing left to do.
    pub fn wait(self) -> Result<(), TrainError> {
        // SAFETY: numbers only; exceptions are caught in the shim.
        check(unsafe { pb_device_synchronize(CUDA, self.index) })
    }
}

impl EventSource for CudaStream {
    type Event = Event;
    type Error = TrainError;

    fn create(&self) -> Result<Event, TrainError> {
        let mut event = ptr::null_mut();
        // SAFETY: on success `event` is a fresh one that is ours.
        check(unsafe { pb_event_new(CUDA, &mut event) })?;
        Ok(Event(event))
    }

    fn record(&self, event: &Event) -> Result<(), TrainError> {
        // SAFETY: a live event, used by this thread alone, for a pointer is neither `Send` nor `Sync`.
        check(unsafe { pb_event_record(event.0, self.index) })
    }

    fn elapsed_ns(&self, from: &Event, to: &Event) -> Result<u64, TrainError> {
        let mut ms = 0.0;
        // SAFETY: two live events and a number to write.
        check(unsafe { pb_event_elapsed(from.0, to.0, &mut ms) })?;
        // CUDA resolves about half a microsecond.
        Ok((ms * 1e6).round() as u64)
    }
}

/// Sets for the process whether convolutions on a GPU round their factors to TF32. Products of matrices use all bits, as
/// both do on the CPU.
pub(crate) fn set_tf32(convolutions: bool) -> Result<(), TrainError> {
    // SAFETY: a number; exceptions are caught in the shim.
    check(unsafe { pb_set_tf32(c_int::from(convolutions)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_cuda_an_event_and_waiting_are_errors_that_say_so() {
        if tch::utils::has_cudart() {
            return; // nothing to refuse; `a_gpu_times_what_lies_between_two_events` is for such a machine
        }
        let stream = CudaStream::of(0);
        for error in [stream.create().err().unwrap(), stream.wait().unwrap_err()] {
            assert!(error.to_string().contains("not linked with support for cuda"), "{error}");
        }
    }

    #[test]
    fn tf32_is_a_setting_that_every_libtorch_takes() {
        set_tf32(true).unwrap();
        set_tf32(false).unwrap();
    }

    #[test]
    #[ignore = "needs a GPU and a libtorch with CUDA"]
    fn a_gpu_times_what_lies_between_two_events() {
        let stream = CudaStream::of(0);
        let (from, to) = (stream.create().unwrap(), stream.create().unwrap());
        let matrix = tch::Tensor::ones([4096, 4096], (tch::Kind::Float, tch::Device::Cuda(0)));
        stream.record(&from).unwrap();
        let product = matrix.mm(&matrix);
        stream.record(&to).unwrap();
        // 137 GFLOP: no GPU does it in 0.1 ms, or takes a minute.
        let ns = stream.elapsed_ns(&from, &to).unwrap();
        assert!((100_000..60_000_000_000).contains(&ns), "{ns}");
        assert_eq!(product.double_value(&[0, 0]), 4096.0);
        stream.wait().unwrap();
    }
}
