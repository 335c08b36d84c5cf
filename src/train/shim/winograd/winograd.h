// 3×3 convolutions with stride 1 and padding 1 by Winograd's minimal filtering, for training: forward, backward to the data
// and backward to the weights. Free of ATen, so that it can be tested by itself.
//
// Images, results and their gradients are [N, H, W, C] in memory, weights [out, 3, 3, in]. All bits follow from the shape:
// how tiles are cut into blocks and parts, and in which order these are added up, depends on nothing else, not on the
// number of workers and not on the width of vectors.
#pragma once

#include <cstdint>
#include <functional>

#include "routines.h"

namespace pinbench::winograd {

struct Shape {
  int64_t images, height, width, inputs, outputs;  // channels
};

// A parallel loop: `run` calls its argument once with each number below `count`, at the same time where it can.
struct Workers {
  int64_t count;
  std::function<void(const std::function<void(int64_t)>&)> run;
};

// Channels have to be multiples of 32, so that the widest panel divides them, and small enough for a row of zeros.
constexpr int64_t kStep = 32, kMostChannels = 8192;
bool fits(const Shape& shape);

enum class Way { Forward, Back };

// Results along a side of a tile, `tile` in all that follows, are 2 or 4.
//
// results = convolution of `values` plus bias, which may be null; or, on the way back, the gradient of the values from that
// of the results. `scratch` has as many floats as is said here, at an address that a cache line divides.
int64_t convolution_scratch(const Shape& shape, Way way, int tile, int64_t workers);
void convolve(const Routines& routines, const Shape& shape, Way way, int tile, const float* values, const float* weight,
              const float* bias, float* results, float* scratch, const Workers& workers);

// The gradients of the weights and, unless it is null, of the bias.
int64_t weight_gradient_scratch(const Shape& shape, int tile, int64_t workers);
void weight_gradient(const Routines& routines, const Shape& shape, int tile, const float* values, const float* gradient,
                     float* weight_gradient, float* bias_gradient, float* scratch, const Workers& workers);

}  // namespace pinbench::winograd
