// What a device other than the CPU needs: marks on its own timeline, waiting for its work, and full precision.
//
// For any device that libtorch has a guard for, without CUDA's headers.

#include "shim.h"

#include <ATen/Context.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

using pinbench::guard;

namespace {

static_assert(static_cast<int>(c10::DeviceType::CUDA) == 1, "event.rs has the number");

c10::Event& event(void* pointer) { return *static_cast<c10::Event*>(pointer); }

}  // namespace

extern "C" {

// An event that can be timed. The device makes it when it is first recorded.
int pb_event_new(int device_type, void** out) {
  return guard([&] {
    *out = new c10::Event(static_cast<c10::DeviceType>(device_type), c10::EventFlag::BACKEND_DEFAULT);
  });
}

// Queues the event on the current stream of the device, and waits for nothing.
int pb_event_record(void* pointer, int index) {
  return guard([&] {
    c10::Event& mark = event(pointer);
    const c10::Device device(mark.device_type(), static_cast<c10::DeviceIndex>(index));
    mark.record(c10::impl::VirtualGuardImpl(mark.device_type()).getStream(device));
  });
}

// Milliseconds between two events of one stream; waits for the later one alone.
int pb_event_elapsed(void* from, void* to, double* ms) {
  return guard([&] {
    event(to).synchronize();
    *ms = event(from).elapsedTime(event(to));
  });
}

void pb_event_free(void* pointer) { delete static_cast<c10::Event*>(pointer); }

int pb_device_synchronize(int device_type, int index) {
  return guard([&] {
    const c10::impl::VirtualGuardImpl backend(static_cast<c10::DeviceType>(device_type));
    backend.synchronizeDevice(static_cast<c10::DeviceIndex>(index));
  });
}

// Whether cuDNN rounds what it multiplies in a convolution to TF32, whose fraction has 10 bits, as it does by PyTorch's
// default. Products of matrices keep all their bits, by that default too.
int pb_set_tf32(int convolutions) {
  return guard([&] {
    at::globalContext().setAllowTF32CuDNN(convolutions != 0);
    at::globalContext().setAllowTF32CuBLAS(false);
  });
}

}  // extern "C"
