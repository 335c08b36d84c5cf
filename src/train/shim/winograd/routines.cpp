#include "routines.h"

#include <utility>

#include "kernels.h"

namespace pinbench::winograd {
namespace {

// A set of routines whose vectors are `F` and whose products take up to R rows. Only here is code compiled for more than
// the oldest processor, and everything these functions call is inlined: what else is compiled for one, such as a standard
// container, another function might share on a processor that cannot run it.
#define PB_ROUTINES(SET, TARGET)                                                                                              \
  template <class F, int R, int M>                                                                                            \
  struct SET {                                                                                                                \
    using T = Transforms<F, M>;                                                                                               \
    using K = Tiles<F, M>;                                                                                                    \
    template <class Down, class Across, int64_t block>                                                                        \
    TARGET static void spread(const float* const* pixel, int64_t channels, float* out, int64_t plane, int64_t step) {         \
      K::template spread<Down, Across, block>(pixel, channels, out, plane, step);                                             \
    }                                                                                                                         \
    TARGET static void results(const float* products, int64_t plane, float* const* pixel, int64_t channel, const float* bias) { \
      K::results(products, plane, pixel, channel, bias);                                                                      \
    }                                                                                                                         \
    TARGET static void filter(const float* taps, int64_t tap, float* out, int64_t plane) { K::filter(taps, tap, out, plane); } \
    TARGET static void filter_gradient(const float* const* plane, int64_t offset, int64_t parts, int64_t part, float* taps,   \
                                       int64_t tap) {                                                                         \
      K::filter_gradient(plane, offset, parts, part, taps, tap);                                                              \
    }                                                                                                                         \
    TARGET static void sum(const float* const* pixel, int64_t count, int64_t channels, float* sums) {                         \
      sum_pixels<F>(pixel, count, channels, sums);                                                                            \
    }                                                                                                                         \
    template <int N>                                                                                                          \
    TARGET static void product_of(int64_t chunks, const float* values, int64_t chunk, const float* filter, float* out) {      \
      product<F, N>(chunks, values, chunk, filter, out);                                                                      \
    }                                                                                                                         \
    template <int N>                                                                                                          \
    TARGET static void outer_of(int64_t tiles, const float* values, const float* gradient, float* sums) {                     \
      outer<F, N>(tiles, values, gradient, sums);                                                                             \
    }                                                                                                                         \
  };

#if PB_HAS_TARGETS
PB_ROUTINES(Wide, PB_V4)
PB_ROUTINES(Middle, PB_V3)
#endif
PB_ROUTINES(Portable, )
#undef PB_ROUTINES

template <class Set, int M, size_t... P, size_t... N>
Routines listed(const char* name, int64_t rows, std::index_sequence<P...>, std::index_sequence<N...>) {
  using T = typename Set::T;
  constexpr int64_t panel = Set::K::panel;
  return {
      name, panel, rows, T::pairs, {{T::rows[P][0], T::rows[P][1]}...},
      Set::template spread<typename T::Values, typename T::Values, kChunk>,
      Set::template spread<typename T::Gradient, typename T::Gradient, panel>,
      {Set::template spread<typename T::template ValuePair<P>, typename T::Values, kChunk>...},
      {Set::template spread<typename T::template GradientPair<P>, typename T::Gradient, panel>...},
      Set::results, Set::filter, Set::filter_gradient, Set::sum,
      {nullptr, Set::template product_of<N + 1>...},
      {nullptr, Set::template outer_of<N + 1>...},
  };
}

template <template <class, int, int> class Set, class F, int R, int M>
const Routines* routines(const char* name) {
  static const Routines made =
      listed<Set<F, R, M>, M>(name, R, std::make_index_sequence<Transforms<F, M>::pairs>(), std::make_index_sequence<R>());
  return &made;
}

template <int M>
Copies copies_of() {
  static const Routines* sets[4];
  static const int count = [] {
    int count = 0;
#if PB_HAS_TARGETS
    if (PB_HAS_V4) sets[count++] = routines<Wide, F16, 12, M>("x86-64-v4");
    if (PB_HAS_V3) sets[count++] = routines<Middle, F8, 6, M>("x86-64-v3");
#endif
#if defined(__AVX512F__)
    sets[count++] = routines<Portable, F16, 12, M>("x86-64-v4");
#else
    sets[count++] = routines<Portable, F4, 6, M>("portable");
#endif
#if PB_HAS_TARGETS
    if (PB_HAS_V3) sets[count++] = routines<Middle, F16, 12, M>("x86-64-v4 by halves");
#endif
    return count;
  }();
  return {sets, count};
}

}  // namespace

Copies copies(int tile) { return tile == 2 ? copies_of<2>() : copies_of<4>(); }

}  // namespace pinbench::winograd
