// What our own kernels share beside their vectors: lanes of floats, and sums that do not depend on the number of threads.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "shim.h"
#include "vectors.h"

namespace pinbench {

template <class F>
struct Lanes;
template <>
struct Lanes<F8> {
  using Int = I8;
  static constexpr int64_t width = 8;
  static PB_INLINE I8 bytes(const uint8_t* p) { return __builtin_convertvector(load<B8>(p), I8); }
  static PB_INLINE void store(uint8_t* p, I8 v) { pinbench::store<B8>(p, __builtin_convertvector(v, B8)); }
};
template <>
struct Lanes<float> {
  using Int = int32_t;
  static constexpr int64_t width = 1;
  static PB_INLINE int32_t bytes(const uint8_t* p) { return *p; }
  static PB_INLINE void store(uint8_t* p, int32_t v) { *p = static_cast<uint8_t>(v); }
};

// Where in its window the greatest of four values lay, and no place where ReLU cut it off.
constexpr int32_t kCutOff = 4;

// The greatest value of a window so far, and its place. It begins with that of place 0; of equals the first wins, as in
// PyTorch.
template <class F>
struct Greatest {
  using Int = typename Lanes<F>::Int;
  F value;
  Int place{};

  // Takes `v`, which lies at `there`, where it is greater; returns where that is.
  PB_INLINE auto take(F v, int32_t there) {
    auto better = v > value;
    place = better ? Int{} + there : place, value = better ? v : value;
    return better;
  }
  // ReLU, with `floor` for 0.
  PB_INLINE void cut_off(F floor) {
    auto above = value > F{};
    value = above ? value : floor;
    place = above ? place : Int{} + kCutOff;
  }
};

// In memory [N, H, W, C].
inline std::vector<int64_t> channels_last_strides(at::IntArrayRef s) { return {s[1] * s[2] * s[3], 1, s[3] * s[1], s[1]}; }

inline at::Tensor empty_channels_last(at::IntArrayRef sizes, const at::TensorOptions& options) {
  return at::empty_strided(sizes, channels_last_strides(sizes), options);
}

// `contiguous(ChannelsLast)` takes an image of one channel for contiguous either way; the strides are plain here.
inline at::Tensor to_channels_last(const at::Tensor& x) {
  auto strides = channels_last_strides(x.sizes());
  if (x.strides() == at::IntArrayRef(strides)) return x;
  at::Tensor moved = empty_channels_last(x.sizes(), x.options());
  moved.copy_(x);
  return moved;
}

// Sums `width` floats over `items`: `body(first, last, sums)` adds the items of one chunk to zeros. The chunks follow
// from the number of items alone and are added up in order, in double precision, so that threads change no bit.
template <class Body>
std::vector<double> sum_in_chunks(int64_t items, int64_t chunks, int64_t width, Body body) {
  chunks = std::max<int64_t>(1, std::min(items, chunks));
  std::vector<float> parts(chunks * width, 0.f);
  at::parallel_for(0, chunks, 1, [&](int64_t from, int64_t to) {
    for (int64_t k = from; k < to; k++) body(items * k / chunks, items * (k + 1) / chunks, &parts[k * width]);
  });
  std::vector<double> sums(width, 0.0);
  for (int64_t k = 0; k < chunks; k++)
    for (int64_t i = 0; i < width; i++) sums[i] += parts[k * width + i];
  return sums;
}

// BatchNorm over a batch: x ↦ scale·x + shift by channel, and what its gradient needs.
struct Normalised {
  std::vector<double> mean, inverse;  // of the standard deviation
  std::vector<float> scale, shift;
  // 0, or NaN for a channel that is not finite, so that ReLU does not hide it.
  std::vector<float> floor;
};

// From the mean and the biased variance of every channel over `count` values; moves the running statistics as PyTorch
// does, with the unbiased variance.
Normalised normalise(std::vector<double> mean, const std::vector<double>& variance, int64_t count, const at::Tensor& weight,
                     const at::Tensor& bias, at::Tensor& running_mean, at::Tensor& running_var, double momentum, double eps);

// What every kernel here asks of its input and of BatchNorm's four tensors.
void check(const at::Tensor& x, at::ArrayRef<at::Tensor> by_channel, int64_t channels);

}  // namespace pinbench
