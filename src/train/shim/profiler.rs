//! libtorch's own profiler; see `profiler.cpp`.

use std::ffi::{CString, c_char, c_int};
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr;

use crate::train::TrainError;
use crate::train::shim::{check, taken};

unsafe extern "C" {
    fn pb_profiler_start() -> c_int;
    fn pb_profiler_begin_step() -> c_int;
    fn pb_profiler_end_step(counts: c_int) -> c_int;
    fn pb_profiler_stop(path: *const c_char, table: *mut *mut c_char) -> c_int;
}

/// Called as `start → (begin_step → end_step) … → stop`, by one thread, one at a time. Dropped before, it ends without
/// a trace.
pub(crate) struct Profiler {
    is_on: bool,
    /// It watches the thread that started it.
    _thread: PhantomData<*const ()>,
}

impl Profiler {
    pub(crate) fn start() -> Result<Self, TrainError> {
        // SAFETY: no arguments; exceptions are caught in the shim.
        check(unsafe { pb_profiler_start() })?;
        Ok(Self { is_on: true, _thread: PhantomData })
    }

    pub(crate) fn begin_step(&mut self) -> Result<(), TrainError> {
        // SAFETY: as above.
        check(unsafe { pb_profiler_begin_step() })
    }

    /// Only the operators of steps that count are in the table; the trace has all there were.
    pub(crate) fn end_step(&mut self, counts: bool) -> Result<(), TrainError> {
        // SAFETY: as above.
        check(unsafe { pb_profiler_end_step(counts.into()) })
    }

    /// Writes the trace, and returns the table: a line an operator, between tabs its name, calls, self and total
    /// nanoseconds. That the file cannot be written is no error to libtorch.
    pub(crate) fn stop(mut self, trace: &Path) -> Result<String, TrainError> {
        let path = CString::new(trace.as_os_str().as_bytes())
            .map_err(|_| TrainError::Internal("a path with a NUL in it".to_owned()))?;
        self.is_on = false;
        let mut table = ptr::null_mut();
        // SAFETY: `path` ends with a NUL and lives on; on success `table` is a fresh string that only we free.
        unsafe {
            check(pb_profiler_stop(path.as_ptr(), &mut table))?;
            Ok(taken(table))
        }
    }
}

impl Drop for Profiler {
    fn drop(&mut self) {
        if self.is_on {
            // Something else has failed, and is told; this only leaves libtorch in order.
            // SAFETY: null pointers ask for nothing.
            unsafe { pb_profiler_stop(ptr::null(), ptr::null_mut()) };
        }
    }
}
