// A piece of a step as a CUDA graph: what is queued between begin and end is recorded, and launched whole from then on.
//
// Needs CUDA's own headers, which build.rs finds or does without: then every call says so.

#include "shim.h"

#ifdef PB_CUDA_GRAPHS
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAStream.h>
#endif

using pinbench::guard;

extern "C" {

int pb_graph_is_built() {
#ifdef PB_CUDA_GRAPHS
  return 1;
#else
  return 0;
#endif
}

#ifdef PB_CUDA_GRAPHS

// Has this thread queue its work on a stream of its own from now on: nothing can be recorded on the default one.
int pb_graph_use_stream(int index) {
  return guard([&] {
    c10::cuda::setCurrentCUDAStream(
        c10::cuda::getStreamFromPool(/*isHighPriority=*/false, static_cast<c10::DeviceIndex>(index)));
  });
}

// Begins a graph, in the memory of `after` where there is one: they must then be launched in the order of recording.
int pb_graph_begin(void* after, void** out) {
  return guard([&] {
    auto* graph = new at::cuda::CUDAGraph();
    // The caller frees it, also where recording fails.
    *out = graph;
    if (after == nullptr)
      graph->capture_begin();
    else
      graph->capture_begin(static_cast<at::cuda::CUDAGraph*>(after)->pool());
  });
}

int pb_graph_end(void* graph) {
  return guard([&] { static_cast<at::cuda::CUDAGraph*>(graph)->capture_end(); });
}

// Queues all of it. What draws random numbers takes the seed that its generator has now.
int pb_graph_launch(void* graph) {
  return guard([&] { static_cast<at::cuda::CUDAGraph*>(graph)->replay(); });
}

void pb_graph_free(void* graph) {
  guard([&] { delete static_cast<at::cuda::CUDAGraph*>(graph); });
}

#else

static int refuse() {
  return guard([] { TORCH_CHECK(false, "this build has no CUDA graphs: it was made without CUDA's headers"); });
}

int pb_graph_use_stream(int) { return refuse(); }
int pb_graph_begin(void*, void** out) {
  *out = nullptr;
  return refuse();
}
int pb_graph_end(void*) { return refuse(); }
int pb_graph_launch(void*) { return refuse(); }
void pb_graph_free(void*) {}

#endif

}  // extern "C"
