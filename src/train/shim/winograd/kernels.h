// What is done with vectors: transforms of one tile for all channels, and products of tiles and channels in registers.
//
// Layouts, with panels of two vectors of output channels and chunks of 16 input channels; a plane is one point of a tile:
//   values    [plane][input channel / 16][tile][16]
//   filter    [plane][output channel / panel][input channel][panel]
//   products  [plane][output channel / panel][tile][panel], and so the transformed gradient of the results
//   sums      [plane][output channel / panel][input channel][panel], of the filter's gradient
// Values need no repacking between transform and product that way, and all strides of a product are known here.
#pragma once

#include "routines.h"
#include "transforms.h"

namespace pinbench::winograd {

// Values that lie in pixels of their own.
template <class P>
struct Pixels {
  P const* pixel;
  int64_t channel;
  template <class F>
  PB_INLINE F get(int i) const { return load<F>(pixel[i] + channel); }
  template <class F>
  PB_INLINE void put(int i, F v) const { store<F>(pixel[i] + channel, v); }
};

// The same pixels, to which a bias is added.
template <class F>
struct Biased {
  float* const* pixel;
  int64_t channel;
  F bias;
  template <class>
  PB_INLINE void put(int i, F v) const { store<F>(pixel[i] + channel, v + bias); }
};

// Values one plane apart.
template <class P>
struct Planes {
  P at;
  int64_t plane;
  template <class F>
  PB_INLINE F get(int i) const { return load<F>(at + i * plane); }
  template <class F>
  PB_INLINE void put(int i, F v) const { store<F>(at + i * plane, v); }
};

// Sums of several parts of the tiles, added up in order.
struct Parts {
  const float* const* plane;
  int64_t offset, parts, part;
  template <class F>
  PB_INLINE F get(int i) const {
    const float* at = plane[i] + offset;
    F sum = load<F>(at);
    for (int64_t k = 1; k < parts; k++) sum += load<F>(at + k * part);
    return sum;
  }
};

// `Down` along the columns, then `Across` along the rows.
template <class F, class Down, class Across, class From, class To>
PB_INLINE void transform(From from, To to) {
  F rows[Down::out][Across::in];
  PB_UNROLL
  for (int j = 0; j < Across::in; j++) {
    F column[Down::in], done[Down::out];
    PB_UNROLL
    for (int i = 0; i < Down::in; i++) column[i] = from.template get<F>(i * Across::in + j);
    Down::apply(column, done);
    PB_UNROLL
    for (int i = 0; i < Down::out; i++) rows[i][j] = done[i];
  }
  PB_UNROLL
  for (int i = 0; i < Down::out; i++) {
    F done[Across::out];
    Across::apply(rows[i], done);
    PB_UNROLL
    for (int j = 0; j < Across::out; j++) to.template put<F>(i * Across::out + j, done[j]);
  }
}

// The transforms of F(M×M, 3×3) by vectors `F`.
template <class F, int M>
struct Tiles {
  using T = Transforms<F, M>;
  static constexpr int64_t width = sizeof(F) / sizeof(float), panel = 2 * width;

  // `Down` with the transform of all rows across it, of all channels of one tile.
  template <class Down, class Across, int64_t block>
  static PB_INLINE void spread(const float* const* pixel, int64_t channels, float* out, int64_t plane, int64_t step) {
    for (int64_t c = 0; c < channels; c += width)
      transform<F, Down, Across>(Pixels<const float*>{pixel, c}, Planes<float*>{out + c / block * step + c % block, plane});
  }
  static PB_INLINE void results(const float* products, int64_t plane, float* const* pixel, int64_t channel, const float* bias) {
    for (int64_t c = 0; c < panel; c += width) {
      const F b = bias ? load<F>(bias + channel + c) : F{};
      transform<F, typename T::Results, typename T::Results>(Planes<const float*>{products + c, plane}, Biased<F>{pixel, channel + c, b});
    }
  }
  // A filter [9][panel], one tap after the other, `tap` apart.
  static PB_INLINE void filter(const float* taps, int64_t tap, float* out, int64_t plane) {
    for (int64_t c = 0; c < panel; c += width)
      transform<F, typename T::Filter, typename T::Filter>(Planes<const float*>{taps + c, tap}, Planes<float*>{out + c, plane});
  }
  static PB_INLINE void filter_gradient(const float* const* plane, int64_t offset, int64_t parts, int64_t part, float* taps, int64_t tap) {
    for (int64_t c = 0; c < panel; c += width)
      transform<F, typename T::FilterGradient, typename T::FilterGradient>(Parts{plane, offset + c, parts, part}, Planes<float*>{taps + c, tap});
  }
};

// products[R][panel] = Σ over channels of values · filter, for R tiles.
template <class F, int R>
PB_INLINE void product(int64_t chunks, const float* values, int64_t chunk, const float* filter, float* out) {
  constexpr int64_t width = sizeof(F) / sizeof(float), panel = 2 * width;
  F low[R], high[R];
  PB_UNROLL
  for (int r = 0; r < R; r++) low[r] = high[r] = F{};
  for (int64_t q = 0; q < chunks; q++, values += chunk) {
#pragma GCC unroll 2
    for (int64_t k = 0; k < kChunk; k++, filter += panel) {
      const F f0 = load<F>(filter), f1 = load<F>(filter + width);
      PB_UNROLL
      for (int r = 0; r < R; r++) {
        const F v = values[r * kChunk + k] - F{};
        low[r] += v * f0;
        high[r] += v * f1;
      }
    }
  }
  PB_UNROLL
  for (int r = 0; r < R; r++) {
    store<F>(out + r * panel, low[r]);
    store<F>(out + r * panel + width, high[r]);
  }
}

// sums[R][panel] += Σ over tiles of values · gradient, for R input channels.
template <class F, int R>
PB_INLINE void outer(int64_t tiles, const float* values, const float* gradient, float* sums) {
  constexpr int64_t width = sizeof(F) / sizeof(float), panel = 2 * width;
  F low[R], high[R];
  PB_UNROLL
  for (int r = 0; r < R; r++) low[r] = high[r] = F{};
  for (int64_t t = 0; t < tiles; t++, values += kChunk, gradient += panel) {
    const F g0 = load<F>(gradient), g1 = load<F>(gradient + width);
    PB_UNROLL
    for (int r = 0; r < R; r++) {
      const F v = values[r] - F{};
      low[r] += v * g0;
      high[r] += v * g1;
    }
  }
  PB_UNROLL
  for (int r = 0; r < R; r++) {
    add<F>(sums + r * panel, low[r]);
    add<F>(sums + r * panel + width, high[r]);
  }
}

// Adds up `count` pixels by channel.
template <class F>
PB_INLINE void sum_pixels(const float* const* pixel, int64_t count, int64_t channels, float* sums) {
  for (int64_t c = 0; c < channels; c += sizeof(F) / sizeof(float)) {
    F sum = load<F>(sums + c);
    for (int64_t i = 0; i < count; i++) sum += load<F>(pixel[i] + c);
    store<F>(sums + c, sum);
  }
}

}  // namespace pinbench::winograd
