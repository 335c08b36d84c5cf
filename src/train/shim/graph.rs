//! CUDA graphs; `graph.cpp` has what libtorch does.

use std::ffi::{c_int, c_void};
use std::ptr;

use crate::train::TrainError;
use crate::train::shim::check;

unsafe extern "C" {
    fn pb_graph_is_built() -> c_int;
    fn pb_graph_use_stream(index: c_int) -> c_int;
    fn pb_graph_begin(after: *mut c_void, out: *mut *mut c_void) -> c_int;
    fn pb_graph_end(graph: *mut c_void) -> c_int;
    fn pb_graph_launch(graph: *mut c_void) -> c_int;
    fn pb_graph_free(graph: *mut c_void);
}

/// Work on a GPU that was recorded once and is launched whole.
pub(crate) struct Graph(*mut c_void);

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: the shim made it, or it is null, which C++ deletes too; nobody else frees it.
        unsafe { pb_graph_free(self.0) };
    }
}

/// Whether this build can record graphs: it was made with CUDA's headers.
pub(crate) fn is_built() -> bool {
    // SAFETY: no arguments, and it only answers.
    unsafe { pb_graph_is_built() != 0 }
}

/// Has this thread queue its work on a stream on which graphs can be recorded.
pub(crate) fn use_stream(index: usize) -> Result<(), TrainError> {
    // SAFETY: a number; exceptions are caught in the shim.
    check(unsafe { pb_graph_use_stream(index as c_int) })
}

impl Graph {
    /// Records what `work` queues, without running it. A graph recorded `after` another shares its memory, and is launched
    /// after it each time.
    pub(crate) fn record<T>(
        after: Option<&Self>,
        work: impl FnOnce() -> Result<T, TrainError>,
    ) -> Result<(Self, T), TrainError> {
        let mut graph = ptr::null_mut();
        // SAFETY: `after` is a live graph or null, and `out` a pointer to write.
        let begun = unsafe { pb_graph_begin(after.map_or(ptr::null_mut(), |after| after.0), &mut graph) };
        let graph = Self(graph);
        check(begun)?;
        let done = work();
        // SAFETY: a live graph. Recording ends also where the work failed, or nothing could be queued any more.
        let ended = check(unsafe { pb_graph_end(graph.0) });
        let done = done?;
        ended?;
        Ok((graph, done))
    }

    pub(crate) fn launch(&self) -> Result<(), TrainError> {
        // SAFETY: a live graph whose recording has ended.
        check(unsafe { pb_graph_launch(self.0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_cudas_headers_says_that_it_has_no_graphs() {
        if is_built() {
            return; // `a_step_as_graphs_has_the_bits_of_the_step_without` is for such a build, and needs a GPU
        }
        for error in [use_stream(0).err().unwrap(), Graph::record(None, || Ok(())).err().unwrap()] {
            assert!(error.to_string().contains("no CUDA graphs"), "{error}");
        }
    }
}
