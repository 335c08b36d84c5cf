// Tests of the kernels by themselves: `just test-kernels` builds this once for each instruction set, under the sanitizers.

#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <thread>
#include <vector>

#include "winograd.h"

namespace {

using namespace pinbench::winograd;
using Floats = std::vector<float>;
using Doubles = std::vector<double>;

int failures = 0;

// At an address that a cache line divides.
struct Scratch {
  std::vector<float> floats;
  explicit Scratch(int64_t count) : floats(count + 16, std::numeric_limits<float>::quiet_NaN()) {}
  float* at() { return floats.data() + (64 - reinterpret_cast<uintptr_t>(floats.data()) % 64) % 64 / sizeof(float); }
};

Workers threads(int64_t count) {
  return {count, [count](const std::function<void(int64_t)>& body) {
            std::vector<std::thread> all;
            for (int64_t i = 1; i < count; i++) all.emplace_back([&body, i] { body(i); });
            body(0);
            for (auto& thread : all) thread.join();
          }};
}

struct Problem {
  Shape shape;
  Floats x, w, bias, dy;

  Problem(const Shape& s, unsigned seed) : shape(s), x(s.images * s.height * s.width * s.inputs), w(s.outputs * 9 * s.inputs), bias(s.outputs), dy(s.images * s.height * s.width * s.outputs) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal;
    for (auto* values : {&x, &w, &bias, &dy})
      for (float& value : *values) value = normal(generator);
    for (float& value : w) value /= std::sqrt(9.f * s.inputs);
  }
};

template <class T>
struct Results {
  std::vector<T> y, dx, dw, db;
  std::vector<std::pair<const char*, const std::vector<T>*>> all() const {
    return {{"forward", &y}, {"backward to the data", &dx}, {"backward to the weights", &dw}, {"backward to the bias", &db}};
  }
};

// By nine loops, summed in `T`.
template <class T>
Results<T> direct(const Problem& p) {
  const Shape& s = p.shape;
  const auto& [x, w, bias, dy] = std::tie(p.x, p.w, p.bias, p.dy);
  Results<T> r{std::vector<T>(dy.size()), std::vector<T>(x.size()), std::vector<T>(w.size()), std::vector<T>(s.outputs)};
  for (size_t i = 0; i < dy.size(); i++) r.y[i] = bias[i % s.outputs], r.db[i % s.outputs] += dy[i];
  for (int64_t n = 0; n < s.images; n++)
    for (int64_t h = 0; h < s.height; h++)
      for (int64_t v = 0; v < s.width; v++)
        for (int64_t tap = 0; tap < 9; tap++) {
          const int64_t y = h + tap / 3 - 1, z = v + tap % 3 - 1;
          if (y < 0 || z < 0 || y >= s.height || z >= s.width) continue;
          const int64_t from = ((n * s.height + y) * s.width + z) * s.inputs, to = ((n * s.height + h) * s.width + v) * s.outputs;
          for (int64_t o = 0; o < s.outputs; o++)
            for (int64_t c = 0; c < s.inputs; c++) {
              const int64_t k = (o * 9 + tap) * s.inputs + c;
              r.y[to + o] += static_cast<T>(x[from + c]) * w[k];
              r.dx[from + c] += static_cast<T>(w[k]) * dy[to + o];
              r.dw[k] += static_cast<T>(x[from + c]) * dy[to + o];
            }
        }
  return r;
}

// A set of routines, and what it computes by.
struct Set {
  const Routines& routines;
  int tile;
};

Results<float> ours(const Problem& p, const Set& set, int64_t workers) {
  const auto [routines, tile] = set;
  const Shape& s = p.shape;
  const float nan = std::nanf("");
  Results<float> r{Floats(p.dy.size(), nan), Floats(p.x.size(), nan), Floats(p.w.size(), nan), Floats(s.outputs, nan)};
  const Workers pool = threads(workers);
  Scratch forward(convolution_scratch(s, Way::Forward, tile, workers)), back(convolution_scratch(s, Way::Back, tile, workers));
  Scratch sums(weight_gradient_scratch(s, tile, workers));
  convolve(routines, s, Way::Forward, tile, p.x.data(), p.w.data(), p.bias.data(), r.y.data(), forward.at(), pool);
  convolve(routines, s, Way::Back, tile, p.dy.data(), p.w.data(), nullptr, r.dx.data(), back.at(), pool);
  weight_gradient(routines, s, tile, p.x.data(), p.dy.data(), r.dw.data(), r.db.data(), sums.at(), pool);
  return r;
}

struct Distance {
  double rms, most;  // over the root of the mean square of the truth
};

Distance distance(const Floats& found, const Doubles& truth) {
  double square = 0, error = 0, most = 0;
  for (size_t i = 0; i < truth.size(); i++) {
    const double d = std::fabs(found[i] - truth[i]);
    square += truth[i] * truth[i], error += d * d;
    if (!(d <= most)) most = d;
  }
  const double size = std::sqrt(square / truth.size());
  return {std::sqrt(error / truth.size()) / size, most / size};
}

void expect(bool holds, const char* what, const Shape& s, const Set& set) {
  if (holds) return;
  failures++;
  std::printf("FAILED: %s: %ld images %ldx%ld, %ld to %ld channels, tiles of %d, %s\n", what, long(s.images), long(s.height), long(s.width), long(s.inputs), long(s.outputs), set.tile, set.routines.name);
}

bool same(const Floats& a, const Floats& b) { return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0; }

bool same(const Results<float>& a, const Results<float>& b) { return same(a.y, b.y) && same(a.dx, b.dx) && same(a.dw, b.dw) && same(a.db, b.db); }

// With tiles of 2×2 no pass is further from float64 than a plain sum in single precision, and with those of 4×4, whose transforms
// have larger factors, not much further, but for what 32 values leave to chance.
void is_close_to_float64(const Problem& p, const Results<double>& truth, const Results<float>& plain, const Set& set, bool is_shown) {
  const auto found = ours(p, set, 2);
  const double rms = set.tile == 2 ? 1.2 : 2.5, most = set.tile == 2 ? 1.5 : 4, chance = set.tile == 2 ? 1 : 4;
  for (size_t i = 0; i < truth.all().size(); i++) {
    const auto [pass, exact] = truth.all()[i];
    const Distance own = distance(*found.all()[i].second, *exact), other = distance(*plain.all()[i].second, *exact);
    expect(own.rms <= std::max(rms * other.rms, chance * 2e-7), pass, p.shape, set);
    expect(own.most <= std::max(most * other.most, chance * 2e-6), pass, p.shape, set);
    if (is_shown) std::printf("  %d %-24s rms %.2e, most %.2e; plain sums %.2e, %.2e\n", set.tile, pass, own.rms, own.most, other.rms, other.most);
  }
}

// A value that is not finite leaves none of the results finite that depend on it; one far from the others leaves those right
// that it is part of.
void hides_nothing(const Set& set) {
  const Shape s{2, 6, 5, 32, 32};
  const int64_t pixel = (1 * 6 + 2) * 5 + 3, channel = 7;
  for (float value : {std::nanf(""), INFINITY, -INFINITY, 1e25f}) {
    Problem p(s, 9);
    p.x[pixel * s.inputs + channel] = value;
    const auto found = ours(p, set, 1);
    const auto truth = direct<double>(p);
    bool holds = true;
    for (size_t i = 0; i < found.y.size(); i++) {
      if (std::isfinite(value)) holds &= std::fabs(truth.y[i]) < 1e23 || std::fabs(found.y[i] / truth.y[i] - 1) < 1e-3;
      else holds &= std::isfinite(truth.y[i]) || !std::isfinite(found.y[i]);
    }
    for (size_t i = 0; i < found.dw.size(); i++)
      if (!std::isfinite(truth.dw[i])) holds &= !std::isfinite(found.dw[i]);
    expect(holds, "a value is hidden", s, set);
  }
}

}  // namespace

int main() {
  const Shape shapes[] = {{3, 7, 7, 32, 64}, {2, 5, 9, 64, 32}, {1, 4, 4, 32, 32}, {1, 1, 1, 32, 32}, {2, 3, 2, 32, 32}, {5, 14, 14, 32, 64},
                          {1, 16, 16, 64, 96}, {2, 9, 8, 160, 128}, {9, 8, 8, 128, 64}, {2, 4, 4, 128, 256}};
  unsigned seed = 1;
  for (const Shape& shape : shapes) {
    const Problem problem(shape, seed++);
    std::printf("%ld images %ldx%ld, %ld to %ld channels\n", long(shape.images), long(shape.height), long(shape.width), long(shape.inputs), long(shape.outputs));
    const auto truth = direct<double>(problem);
    const auto plain = direct<float>(problem);
    for (int tile : {2, 4}) {
      const Copies sets = copies(tile);
      const auto first = ours(problem, {*sets.sets[0], tile}, 1);
      for (int i = 0; i < sets.count; i++) {
        const Set set{*sets.sets[i], tile};
        is_close_to_float64(problem, truth, plain, set, i == 0);
        const Results<float> one = ours(problem, set, 1);
        for (int64_t workers : {2, 3, 4, 8, 16}) expect(same(one, ours(problem, set, workers)), "the number of workers changes bits", shape, set);
        // The portable set has no fused multiply-add, unless this program is built for processors with it.
#ifndef __FMA__
        if (std::strcmp(set.routines.name, "portable") == 0) continue;
#endif
        expect(same(one, first), "sets of routines differ in bits", shape, set);
      }
    }
  }
  for (int tile : {2, 4})
    for (int i = 0; i < copies(tile).count; i++) hides_nothing({*copies(tile).sets[i], tile});
  for (int i = 0; i < copies(2).count; i++) std::printf("ran: %s\n", copies(2).sets[i]->name);
  if (failures == 0) std::puts("all well");
  return failures != 0;
}
