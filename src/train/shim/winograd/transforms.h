// The transforms of Winograd's minimal filtering F(m×m, 3×3), as in Lavin and Gray (2016), one dimension at a time.
//
// A tile of m×m results needs (m+2)×(m+2) values. With d the values, g the filter and dY the gradient of the results, each
// transformed along both dimensions,
//   results:  Aᵀ [ (G g Gᵀ) · (Bᵀ d B) ] A                  multiplied point by point, summed over channels
//   filter:   Gᵀ [ (A dY Aᵀ) · (Bᵀ d B) ] G                 the exact transpose, summed over tiles
// The gradient of the values is the first line again, with dY for d and the filter turned by 180°.
#pragma once

#include "../vectors.h"

namespace pinbench::winograd {

template <class F, int M>
struct Transforms;

// m = 2, at the points 0, 1, −1 and ∞: additions and exact halves alone, so that no step of it depends on whether a
// multiplication and an addition round once or twice.
template <class F>
struct Transforms<F, 2> {
  // Bᵀ
  struct Values {
    static constexpr int in = 4, out = 4;
    static PB_INLINE void apply(const F* d, F* v) {
      v[0] = d[0] - d[2];
      v[1] = d[1] + d[2];
      v[2] = d[2] - d[1];
      v[3] = d[3] - d[1];
    }
  };
  // Aᵀ
  struct Results {
    static constexpr int in = 4, out = 2;
    static PB_INLINE void apply(const F* p, F* y) {
      y[0] = p[0] + (p[1] + p[2]);
      y[1] = (p[1] - p[2]) + p[3];
    }
  };
  // A
  struct Gradient {
    static constexpr int in = 2, out = 4;
    static PB_INLINE void apply(const F* y, F* d) {
      d[0] = y[0];
      d[1] = y[0] + y[1];
      d[2] = y[0] - y[1];
      d[3] = y[1];
    }
  };
  // G
  struct Filter {
    static constexpr int in = 3, out = 4;
    static PB_INLINE void apply(const F* g, F* u) {
      const F even = (g[0] + g[2]) * 0.5f, odd = g[1] * 0.5f;
      u[0] = g[0];
      u[1] = even + odd;
      u[2] = even - odd;
      u[3] = g[2];
    }
  };
  // Gᵀ
  struct FilterGradient {
    static constexpr int in = 4, out = 3;
    static PB_INLINE void apply(const F* s, F* g) {
      const F even = (s[1] + s[2]) * 0.5f;
      g[0] = s[0] + even;
      g[1] = (s[1] - s[2]) * 0.5f;
      g[2] = even + s[3];
    }
  };

  // Two rows of Bᵀ and A at a time, for a sum that holds half of the planes: `rows` says which.
  static constexpr int pairs = 2;
  static constexpr int rows[pairs][2] = {{0, 3}, {1, 2}};
  template <int P>
  struct ValuePair {
    static constexpr int in = 4, out = 2;
    static PB_INLINE void apply(const F* d, F* v) {
      v[0] = P == 0 ? d[0] - d[2] : d[1] + d[2];
      v[1] = P == 0 ? d[3] - d[1] : d[2] - d[1];
    }
  };
  template <int P>
  struct GradientPair {
    static constexpr int in = 2, out = 2;
    static PB_INLINE void apply(const F* y, F* d) {
      d[0] = P == 0 ? y[0] : y[0] + y[1];
      d[1] = P == 0 ? y[1] : y[0] - y[1];
    }
  };
};

}  // namespace pinbench::winograd
