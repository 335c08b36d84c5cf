// Backward to the weights, and to the bias.
//
// A job is a part of the tiles, a block of input channels and one of output channels: it goes through its tiles in order, some
// at a time, transforms both sides of them and adds their products to sums of its own, all in one core's cache. The sums of
// the parts are added up in order at the end and transformed back. With many channels a job has the planes of one pair of
// rows alone, so that its block of channels may be wider and the images are transformed less often.

#include <cstring>
#include <vector>

#include "tiles.h"

namespace pinbench::winograd {
namespace {

// From so many input channels on a job has a pair of rows. With tiles of 4×4 from fewer: their 36 planes of sums of 64 by 64 channels
// are 576 KiB, and the transformed tiles beside them 432.
constexpr int64_t many_inputs(int tile) { return tile == 2 ? 128 : 64; }
// Tiles that all jobs pass over before they go on, so that these stay in the last-level cache.
constexpr int64_t kStretch = 512;
// Tiles of a part, at least.
constexpr int64_t kFewestTiles = 64;

template <int M>
struct Plan {
  static constexpr int edge = M + 2;
  Grid<M> grid;
  Shape shape;
  bool by_pairs;
  int64_t inputs, outputs, down, across;  // channels of a block, and blocks
  int64_t pairs, planes, tiles, parts, stretch;
  int64_t value_plane, gradient_plane, sum_plane, sums, own;

  explicit Plan(const Shape& s) : grid(s), shape(s), by_pairs(s.inputs >= many_inputs(M)) {
    inputs = block(s.inputs), outputs = block(s.outputs);
    down = s.inputs / inputs, across = s.outputs / outputs;
    pairs = by_pairs ? edge / 2 : 1;
    planes = by_pairs ? 2 * edge : edge * edge;
    tiles = by_pairs || M > 2 ? 24 : 32;
    // Some jobs for each of several workers, but neither more sums than tiles are worth nor more memory.
    const int64_t wanted = by_pairs ? 8 : 16, jobs = down * across * pairs;
    parts = std::clamp<int64_t>(wanted / jobs, 1, std::max<int64_t>(1, grid.tiles / kFewestTiles));
    stretch = by_pairs ? kStretch : grid.tiles;
    value_plane = padded(tiles * inputs), gradient_plane = padded(tiles * outputs), sum_plane = padded(inputs * outputs);
    sums = planes * sum_plane;
    own = padded(planes * (value_plane + gradient_plane) + outputs);
  }
  int64_t block(int64_t channels) const {
    const int64_t widest = by_pairs ? 128 : 64;
    return channels % widest == 0 ? widest : channels % 64 == 0 ? 64 : kStep;
  }
  int64_t jobs() const { return parts * down * across * pairs; }
  int64_t scratch(int64_t workers) const { return jobs() * sums + workers * own; }
  int64_t begin(int64_t part) const { return grid.tiles * part / parts; }
  int64_t longest() const { return (grid.tiles + parts - 1) / parts; }
};

template <int M>
struct Worker {
  const Routines& r;
  const Plan<M>& plan;
  const float *values, *gradient;
  float* sums;
  double* bias;  // [part][output channel], or null
  float *transformed, *transformed_gradient, *bias_sums;

  struct Job {
    int64_t part, input, output;
    int pair;
  };
  Job job(int64_t number) const {
    const int64_t block = number / plan.pairs;
    return {block / (plan.down * plan.across), block / plan.across % plan.down * plan.inputs, block % plan.across * plan.outputs,
            static_cast<int>(number % plan.pairs)};
  }

  // What a job has between `from` and `to` of its part.
  void run(int64_t number, int64_t from, int64_t to) const {
    const Job j = job(number);
    float* s = sums + number * plan.sums;
    if (from == 0) std::memset(s, 0, plan.sums * sizeof(float));
    const int64_t end = std::min(plan.begin(j.part) + to, plan.begin(j.part + 1));
    for (int64_t first = plan.begin(j.part) + from; first < end; first += plan.tiles) {
      const int64_t tiles = std::min(plan.tiles, end - first);
      spread(j, first, tiles);
      for (int64_t p = 0; p < plan.planes; p++) {
        fetch_next(j, first + tiles, tiles * p / plan.planes, tiles * (p + 1) / plan.planes);
        multiply(p, tiles, s + p * plan.sum_plane);
      }
    }
  }

  void spread(const Job& j, int64_t first, int64_t tiles) const {
    const float* from[plan.edge * plan.edge];
    const auto of_values = plan.by_pairs ? r.value_pairs[j.pair] : r.values;
    const auto of_gradient = plan.by_pairs ? r.gradient_pairs[j.pair] : r.gradient;
    const bool is_for_bias = bias != nullptr && j.input == 0 && j.pair == 0;
    if (is_for_bias) std::fill(bias_sums, bias_sums + plan.outputs, 0.f);
    for (int64_t t = 0; t < tiles; t++) {
      plan.grid.template pixels<M + 2, 1>(values + j.input, plan.shape.inputs, first + t, from, static_cast<const float*>(kZeros));
      of_values(from, plan.inputs, transformed + t * kChunk, plan.value_plane, plan.tiles * kChunk);
      plan.grid.template pixels<M, 0>(gradient + j.output, plan.shape.outputs, first + t, from, static_cast<const float*>(kZeros));
      of_gradient(from, plan.outputs, transformed_gradient + t * r.panel, plan.gradient_plane, plan.tiles * r.panel);
      if (is_for_bias) r.sum_pixels(from, M * M, plan.outputs, bias_sums);
    }
    // In double precision from here on: a channel has a value of every pixel.
    for (int64_t o = 0; is_for_bias && o < plan.outputs; o++) bias[j.part * plan.shape.outputs + j.output + o] += bias_sums[o];
  }

  void fetch_next(const Job& j, int64_t next, int64_t from, int64_t to) const {
    for (int64_t t = from; t < to; t++) {
      plan.grid.prefetch(values + j.input, plan.shape.inputs, plan.inputs, next + t);
      plan.grid.prefetch(gradient + j.output, plan.shape.outputs, plan.outputs, next + t);
    }
  }

  void multiply(int64_t p, int64_t tiles, float* s) const {
    const float *v = transformed + p * plan.value_plane, *g = transformed_gradient + p * plan.gradient_plane;
    for (int64_t o = 0; o < plan.outputs; o += r.panel)
      for (int64_t k = 0; k < plan.inputs; k += kChunk)
        in_parts(kChunk, r.rows, [&](int64_t row, int64_t rows) {
          r.outer[rows](tiles, v + k * plan.tiles + row, g + o * plan.tiles, s + o * plan.inputs + (k + row) * r.panel);
        });
  }
};

// Adds the parts up and transforms them back: [plane][in][out] of all jobs to [out][tap][in].
template <int M>
void gather(const Routines& r, const Plan<M>& plan, const float* sums, float* weight_gradient, const Workers& workers) {
  const int64_t panels = plan.shape.outputs / r.panel, K = plan.shape.inputs, part = plan.down * plan.across * plan.pairs * plan.sums;
  shared_out(workers, K / kChunk * panels, [&](int64_t, int64_t item) {
    const int64_t first = item / panels * kChunk, output = item % panels * r.panel;
    const int64_t block = first / plan.inputs * plan.across + output / plan.outputs;
    const float* plane[plan.edge * plan.edge];
    for (int64_t pair = 0; pair < plan.pairs; pair++)
      for (int64_t p = 0; p < plan.planes; p++) {
        const int64_t there = plan.by_pairs ? r.pair_rows[pair][p / plan.edge] * plan.edge + p % plan.edge : p;
        plane[there] = sums + (block * plan.pairs + pair) * plan.sums + p * plan.sum_plane;
      }
    alignas(64) float taps[9 * kChunk * 2 * kLine];
    for (int64_t k = 0; k < kChunk; k++) {
      const int64_t offset = output % plan.outputs * plan.inputs + (first + k) % plan.inputs * r.panel;
      r.filter_gradient(plane, offset, plan.parts, part, taps + k * r.panel, kChunk * r.panel);
    }
    for (int64_t n = 0; n < r.panel; n++)
      for (int64_t tap = 0; tap < 9; tap++)
        for (int64_t k = 0; k < kChunk; k++) weight_gradient[((output + n) * 9 + tap) * K + first + k] = taps[(tap * kChunk + k) * r.panel + n];
  });
}

template <int M>
void weight_gradient_by(const Routines& r, const Shape& shape, const float* values, const float* gradient, float* weight_gradient,
                        float* bias_gradient, float* scratch, const Workers& workers) {
  const Plan<M> plan(shape);
  std::vector<double> bias(bias_gradient ? plan.parts * shape.outputs : 0, 0.0);
  float* own = scratch + plan.jobs() * plan.sums;
  workers.run([&](int64_t number) {
    float *transformed = own + number * plan.own, *transformed_gradient = transformed + plan.planes * plan.value_plane;
    float* bias_sums = transformed_gradient + plan.planes * plan.gradient_plane;
    const Worker<M> worker{r, plan, values, gradient, scratch, bias_gradient ? bias.data() : nullptr, transformed, transformed_gradient, bias_sums};
    for (int64_t from = 0; from < plan.longest(); from += plan.stretch)
      for (int64_t job = number; job < plan.jobs(); job += workers.count) worker.run(job, from, from + plan.stretch);
  });
  gather(r, plan, scratch, weight_gradient, workers);
  for (int64_t o = 0; bias_gradient && o < shape.outputs; o++) {
    double sum = 0;
    for (int64_t part = 0; part < plan.parts; part++) sum += bias[part * shape.outputs + o];
    bias_gradient[o] = static_cast<float>(sum);
  }
}

}  // namespace

int64_t weight_gradient_scratch(const Shape& shape, int tile, int64_t workers) {
  return of_tile(tile, [&](auto m) { return Plan<m>(shape).scratch(workers); });
}

void weight_gradient(const Routines& routines, const Shape& shape, int tile, const float* values, const float* gradient,
                     float* weight_gradient, float* bias_gradient, float* scratch, const Workers& workers) {
  of_tile(tile, [&](auto m) {
    weight_gradient_by<m>(routines, shape, values, gradient, weight_gradient, bias_gradient, scratch, workers);
  });
}

}  // namespace pinbench::winograd
