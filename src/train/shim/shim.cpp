// The part of libtorch that tch does not reach, behind a C interface.

#include "shim.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <c10/core/GradMode.h>
#include <torch/version.h>

#include <cmath>
#include <vector>

#include "lanes.h"

using pinbench::copy;
using pinbench::guard;
using pinbench::tensor;

std::string& pinbench::last_error() {
  thread_local std::string text;
  return text;
}

namespace {

// One parameter with what Adam remembers of it.
struct Slot {
  at::Tensor param, grad, exp_avg, exp_avg_sq, step;
};

std::vector<Slot> slots(void** params, void** exp_avgs, void** exp_avg_sqs, void** steps, int64_t count) {
  std::vector<Slot> found;
  for (int64_t i = 0; i < count; i++) {
    const at::Tensor& grad = tensor(params[i]).grad();
    // A parameter the loss does not depend on has none, and PyTorch leaves it alone.
    if (grad.defined())
      found.push_back({tensor(params[i]), grad, tensor(exp_avgs[i]), tensor(exp_avg_sqs[i]), tensor(steps[i])});
  }
  return found;
}

}  // namespace

extern "C" {

struct AdamKnobs {
  double lr, beta1, beta2, eps, weight_decay;
};

const char* pb_last_error() { return pinbench::last_error().c_str(); }

void pb_free(char* text) { free(text); }

int pb_version(char** out) {
  return guard([&] { *out = copy(TORCH_VERSION); });
}

int pb_capability(char** out) {
  return guard([&] { *out = copy(at::get_cpu_capability()); });
}

// The copy of PB_CLONES that runs here: the loader asks the same of the processor, in this order.
int pb_own_kernels(char** out) {
  return guard([&] { *out = copy(PB_HAS_V4 ? "x86-64-v4" : PB_HAS_V3 ? "x86-64-v3" : "portable"); });
}

// What a libtorch with CUDA was built with and sees. All are -1 in one without, and cuDNN is where that alone is missing.
int pb_cuda(int64_t* toolkit, int64_t* cudnn, int64_t* devices) {
  return guard([&] {
    *toolkit = *cudnn = *devices = -1;
    if (!at::Context::hasCUDART()) return;
    *toolkit = at::Context::versionCUDART();
    if (at::Context::hasCuDNN()) *cudnn = at::Context::versionRuntimeCuDNN();
    *devices = at::detail::getCUDAHooks().deviceCount();
  });
}

int pb_parallel_info(char** out) {
  return guard([&] { *out = copy(at::get_parallel_info()); });
}

// Operators without a deterministic form raise an error instead of giving other bits each time.
int pb_use_deterministic_algorithms() {
  return guard([&] {
    auto& context = at::globalContext();
    context.setDeterministicAlgorithms(true, /*warn_only=*/false);
    context.setDeterministicCuDNN(true);
    context.setBenchmarkCuDNN(false);
    // Filling every fresh tensor with NaN finds bugs but costs a pass over memory.
    context.setDeterministicFillUninitializedMemory(false);
  });
}

// As optimizer.zero_grad(set_to_none=True).
int pb_clear_grads(void** params, int64_t count) {
  return guard([&] {
    for (int64_t i = 0; i < count; i++) tensor(params[i]).mutable_grad().reset();
  });
}

// As torch.optim.Adam(fused=True), whose kernel it is. A rate on the device takes the place of the knobs': a CUDA graph
// would freeze a number of the host.
int pb_adam_fused(void** params, void** exp_avgs, void** exp_avg_sqs, void** steps, int64_t count, AdamKnobs k,
                  void* rate) {
  return guard([&] {
    c10::NoGradGuard no_grad;
    std::vector<at::Tensor> p, g, m, v, s;
    for (auto& slot : slots(params, exp_avgs, exp_avg_sqs, steps, count)) {
      p.push_back(slot.param);
      g.push_back(slot.grad);
      m.push_back(slot.exp_avg);
      v.push_back(slot.exp_avg_sq);
      s.push_back(slot.step);
    }
    if (p.empty()) return;
    at::_foreach_add_(s, 1);
    if (rate != nullptr)
      at::_fused_adam_(p, g, m, v, {}, s, tensor(rate), k.beta1, k.beta2, k.weight_decay, k.eps, /*amsgrad=*/false,
                       /*maximize=*/false);
    else
      at::_fused_adam_(p, g, m, v, {}, s, k.lr, k.beta1, k.beta2, k.weight_decay, k.eps, /*amsgrad=*/false,
                       /*maximize=*/false);
  });
}

// As torch.optim.Adam's default on a CPU: operator by operator in the order of torch/optim/adam.py,
// _single_tensor_adam, so that the rounding is the same too.
int pb_adam_loop(void** params, void** exp_avgs, void** exp_avg_sqs, void** steps, int64_t count, AdamKnobs k) {
  return guard([&] {
    c10::NoGradGuard no_grad;
    for (auto& slot : slots(params, exp_avgs, exp_avg_sqs, steps, count)) {
      slot.step.add_(1);
      at::Tensor grad = k.weight_decay != 0 ? slot.grad.add(slot.param, k.weight_decay) : slot.grad;
      slot.exp_avg.lerp_(grad, 1 - k.beta1);
      slot.exp_avg_sq.mul_(k.beta2).addcmul_(grad, grad, 1 - k.beta2);
      double step = slot.step.item<double>();
      double step_size = k.lr / (1 - std::pow(k.beta1, step));
      double correction = std::sqrt(1 - std::pow(k.beta2, step));
      at::Tensor denominator = (slot.exp_avg_sq.sqrt() / correction).add_(k.eps);
      slot.param.addcdiv_(slot.exp_avg, denominator, -step_size);
    }
  });
}

// As torch.optim.Adam's default on a GPU: torch/optim/adam.py, _multi_tensor_adam, an operator for all parameters at once.
// The counts are on the host, so that no step waits for the device.
int pb_adam_foreach(void** params, void** exp_avgs, void** exp_avg_sqs, void** steps, int64_t count, AdamKnobs k) {
  return guard([&] {
    c10::NoGradGuard no_grad;
    std::vector<at::Tensor> p, g, m, v;
    std::vector<at::Scalar> step_sizes, corrections;
    for (auto& slot : slots(params, exp_avgs, exp_avg_sqs, steps, count)) {
      slot.step.add_(1);
      const double step = slot.step.item<double>();
      step_sizes.push_back(-k.lr / (1 - std::pow(k.beta1, step)));
      corrections.push_back(std::sqrt(1 - std::pow(k.beta2, step)));
      p.push_back(slot.param);
      g.push_back(slot.grad);
      m.push_back(slot.exp_avg);
      v.push_back(slot.exp_avg_sq);
    }
    if (p.empty()) return;
    if (k.weight_decay != 0) g = at::_foreach_add(g, p, k.weight_decay);
    at::_foreach_lerp_(m, g, 1 - k.beta1);
    at::_foreach_mul_(v, k.beta2);
    at::_foreach_addcmul_(v, g, g, 1 - k.beta2);
    std::vector<at::Tensor> denominators = at::_foreach_sqrt(v);
    at::_foreach_div_(denominators, corrections);
    at::_foreach_add_(denominators, k.eps);
    at::_foreach_addcdiv_(p, m, denominators, step_sizes);
  });
}

}  // extern "C"
