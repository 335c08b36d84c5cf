// Forward, and backward to the data, which is the same with other weights.
//
// A worker takes one block of tiles after the other and keeps it in its own second-level cache: it transforms the block's
// values for all input channels, multiplies them plane by plane with the transformed filter, which all workers share, and
// transforms the products of some output channels at a time into results.

#include <vector>

#include "tiles.h"

namespace pinbench::winograd {

bool fits(const Shape& s) {
  const auto takes = [](int64_t channels) { return channels > 0 && channels % kStep == 0 && channels <= kMostChannels; };
  return s.images > 0 && s.height > 0 && s.width > 0 && takes(s.inputs) && takes(s.outputs);
}

namespace {

// Floats of a block's values that stay in a second-level cache of 512 KiB beside products and filter. With tiles of 4×4 and 256
// channels the fewest tiles are more than that.
constexpr int64_t kBlockFloats = 48 * 1024;
constexpr int64_t kMostTiles = 24, kFewestTiles = 12;
// Output channels whose products are kept at a time.
constexpr int64_t kMostOutputs = 128;

template <int M>
struct Plan {
  static constexpr int edge = M + 2, planes = edge * edge;
  Grid<M> grid;
  int64_t inputs, outputs, blocks, tiles, at_once;
  int64_t filter_plane, value_plane, product_plane, own;

  Plan(const Shape& s, Way way) : grid(s), inputs(way == Way::Forward ? s.inputs : s.outputs), outputs(way == Way::Forward ? s.outputs : s.inputs) {
    const int64_t most = std::clamp(kBlockFloats / (planes * inputs) / kFewestTiles * kFewestTiles, kFewestTiles, kMostTiles);
    // Near-equal blocks, so many that 2, 4 or 8 workers have the same number.
    blocks = ((grid.tiles + most - 1) / most + 7) / 8 * 8;
    tiles = (grid.tiles + blocks - 1) / blocks;
    at_once = std::min(outputs, kMostOutputs);
    filter_plane = padded(inputs * outputs);
    value_plane = padded(tiles * inputs);
    product_plane = padded(tiles * at_once);
    own = padded(planes * (value_plane + product_plane) + outputs);
  }
  int64_t scratch(int64_t workers) const { return planes * filter_plane + workers * own; }
};

// Transforms the filter: on the way back, with inputs and outputs exchanged and turned by 180°.
template <int M>
void transform_filter(const Routines& r, const Plan<M>& plan, Way way, const float* weight, float* filter, const Workers& workers) {
  const int64_t panels = plan.outputs / r.panel, K = plan.inputs;
  shared_out(workers, K / kChunk * panels, [&](int64_t, int64_t item) {
    const int64_t first = item / panels * kChunk, panel = item % panels, output = panel * r.panel;
    // [tap][input channel][output channel]
    alignas(64) float taps[9 * kChunk * 2 * kLine];
    for (int64_t k = 0; k < kChunk; k++)
      for (int64_t n = 0; n < r.panel; n++)
        for (int64_t tap = 0; tap < 9; tap++)
          taps[(tap * kChunk + k) * r.panel + n] =
              way == Way::Forward ? weight[((output + n) * 9 + tap) * K + first + k] : weight[((first + k) * 9 + 8 - tap) * plan.outputs + output + n];
    for (int64_t k = 0; k < kChunk; k++)
      r.filter(taps + k * r.panel, kChunk * r.panel, filter + panel * K * r.panel + (first + k) * r.panel, plan.filter_plane);
  });
}

template <int M>
struct Block {
  const Routines& r;
  const Plan<M>& plan;
  const float *values, *filter, *bias;
  float* results;
  float *transformed, *products, *nowhere;
  std::vector<float*> pixel;

  static constexpr int planes = Plan<M>::planes;

  // The tiles from `first` on.
  void run(int64_t first, int64_t tiles) {
    const float* from[planes];
    for (int64_t t = 0; t < tiles; t++) {
      plan.grid.template pixels<M + 2, 1>(values, plan.inputs, first + t, from, static_cast<const float*>(kZeros));
      r.values(from, plan.inputs, transformed + t * kChunk, plan.value_plane, plan.tiles * kChunk);
      plan.grid.template pixels<M, 0>(results, plan.outputs, first + t, &pixel[t * M * M], nowhere);
    }
    for (int64_t output = 0; output < plan.outputs; output += plan.at_once) {
      const int64_t end = std::min(plan.outputs, output + plan.at_once);
      for (int p = 0; p < planes; p++) {
        if (output == 0) fetch_next(first + tiles, tiles * p / planes, tiles * (p + 1) / planes);
        multiply(p, output, end, tiles);
      }
      for (int64_t t = 0; t < tiles; t++)
        for (int64_t o = output; o < end; o += r.panel)
          r.results(products + (o - output) * plan.tiles + t * r.panel, plan.product_plane, &pixel[t * M * M], o, bias);
    }
  }

  void fetch_next(int64_t next, int64_t from, int64_t to) const {
    for (int64_t t = from; t < to; t++) plan.grid.prefetch(values, plan.inputs, plan.inputs, next + t);
  }

  void multiply(int p, int64_t output, int64_t end, int64_t tiles) const {
    const float* v = transformed + p * plan.value_plane;
    for (int64_t o = output; o < end; o += r.panel) {
      const float* f = filter + p * plan.filter_plane + o * plan.inputs;
      float* out = products + p * plan.product_plane + (o - output) * plan.tiles;
      in_parts(tiles, r.rows, [&](int64_t row, int64_t rows) {
        r.product[rows](plan.inputs / kChunk, v + row * kChunk, plan.tiles * kChunk, f, out + row * r.panel);
      });
    }
  }
};

template <int M>
void convolve_by(const Routines& r, const Shape& shape, Way way, const float* values, const float* weight, const float* bias,
                 float* results, float* scratch, const Workers& workers) {
  const Plan<M> plan(shape, way);
  float *filter = scratch, *own = scratch + plan.planes * plan.filter_plane;
  transform_filter(r, plan, way, weight, filter, workers);
  std::atomic<int64_t> next{0};
  workers.run([&](int64_t worker) {
    float *transformed = own + worker * plan.own, *products = transformed + plan.planes * plan.value_plane;
    float* nowhere = products + plan.planes * plan.product_plane;
    Block<M> block{r, plan, values, filter, bias, results, transformed, products, nowhere, std::vector<float*>(plan.tiles * M * M)};
    for (int64_t b; (b = next.fetch_add(1, std::memory_order_relaxed)) < plan.blocks;) {
      const int64_t first = plan.grid.tiles * b / plan.blocks;
      block.run(first, plan.grid.tiles * (b + 1) / plan.blocks - first);
    }
  });
}

}  // namespace

int64_t convolution_scratch(const Shape& shape, Way way, int tile, int64_t workers) {
  return of_tile(tile, [&](auto m) { return Plan<m>(shape, way).scratch(workers); });
}

void convolve(const Routines& routines, const Shape& shape, Way way, int tile, const float* values, const float* weight,
              const float* bias, float* results, float* scratch, const Workers& workers) {
  of_tile(tile, [&](auto m) { convolve_by<m>(routines, shape, way, values, weight, bias, results, scratch, workers); });
}

}  // namespace pinbench::winograd
