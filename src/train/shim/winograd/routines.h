// The kernels as functions, one set for each instruction set: what a loop over tiles calls.
#pragma once

#include <cstdint>

namespace pinbench::winograd {

// Input channels that lie side by side.
constexpr int64_t kChunk = 16;
// Tiles or channels that a product in registers takes at most, by any set.
constexpr int64_t kMostRows = 12;
// Pairs of rows of planes, by any transform.
constexpr int kMostPairs = 3;

// Of one instruction set and one size of tiles. What the arguments are, `kernels.h` says.
struct Routines {
  const char* name;
  int64_t panel, rows;
  int pairs, pair_rows[kMostPairs][2];
  using Spread = void (*)(const float* const* pixel, int64_t channels, float* out, int64_t plane, int64_t step);
  // All planes, or those of a pair of rows.
  Spread values, gradient, value_pairs[kMostPairs], gradient_pairs[kMostPairs];
  void (*results)(const float* products, int64_t plane, float* const* pixel, int64_t channel, const float* bias);
  void (*filter)(const float* taps, int64_t tap, float* out, int64_t plane);
  void (*filter_gradient)(const float* const* plane, int64_t offset, int64_t parts, int64_t part, float* taps, int64_t tap);
  void (*sum_pixels)(const float* const* pixel, int64_t count, int64_t channels, float* sums);
  // By the number of rows.
  void (*product[kMostRows + 1])(int64_t chunks, const float* values, int64_t chunk, const float* filter, float* out);
  void (*outer[kMostRows + 1])(int64_t tiles, const float* values, const float* gradient, float* sums);
};

// The sets that this processor runs, the one that serves first. All give the same bits but the portable one, which rounds
// twice where they round once. The last of several does by halves what AVX-512 does whole: slow, and for tests, to which it
// shows the wider set's bits on a processor without it.
struct Copies {
  const Routines* const* sets;
  int count;
};
Copies copies(int tile);

}  // namespace pinbench::winograd
