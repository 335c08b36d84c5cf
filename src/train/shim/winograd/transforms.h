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

// m = 4, at the points 0, ±a, ±b and ∞: with a = 5/8 and b = 3/2 results are twice as close to float64 as with the usual 1 and 2,
// for as many operations, and all constants but the filter's are exact. A pair of points ±p shares its even and odd part.
//
// Which products are rounded before they are added is the compiler's choice here, unlike with m = 2: bits are those of one build.
// Tests hold vectors of every width to the same.
template <class F>
struct Transforms<F, 4> {
  static constexpr float a = 0.625f, b = 1.5f, a2 = a * a, b2 = b * b, sum = a2 + b2, product = a2 * b2;
  // One over what Lagrange's formula divides by, at each of the points.
  static constexpr double exact_a2 = a2, exact_b2 = b2;
  static constexpr float at_0 = static_cast<float>(1 / (exact_a2 * exact_b2)),
                         at_a = static_cast<float>(1 / (2 * exact_a2 * (exact_a2 - exact_b2))),
                         at_b = static_cast<float>(1 / (2 * exact_b2 * (exact_b2 - exact_a2)));

  // Bᵀ
  struct Values {
    static constexpr int in = 6, out = 6;
    static PB_INLINE void apply(const F* d, F* v) {
      ValuePair<0>::apply(d, v);
      v[5] = v[1];
      ValuePair<1>::apply(d, v + 1);
      ValuePair<2>::apply(d, v + 3);
    }
  };
  // Aᵀ
  struct Results {
    static constexpr int in = 6, out = 4;
    static PB_INLINE void apply(const F* p, F* y) {
      const F even_a = p[1] + p[2], odd_a = p[1] - p[2], even_b = p[3] + p[4], odd_b = p[3] - p[4];
      y[0] = p[0] + even_a + even_b;
      y[1] = odd_a * a + odd_b * b;
      y[2] = even_a * a2 + even_b * b2;
      y[3] = p[5] + odd_a * (a2 * a) + odd_b * (b2 * b);
    }
  };
  // A
  struct Gradient {
    static constexpr int in = 4, out = 6;
    static PB_INLINE void apply(const F* y, F* d) {
      GradientPair<0>::apply(y, d);
      d[5] = d[1];
      GradientPair<1>::apply(y, d + 1);
      GradientPair<2>::apply(y, d + 3);
    }
  };
  // G
  struct Filter {
    static constexpr int in = 3, out = 6;
    static PB_INLINE void apply(const F* g, F* u) {
      const F even_a = g[0] * at_a + g[2] * (at_a * a2), odd_a = g[1] * (at_a * a);
      const F even_b = g[0] * at_b + g[2] * (at_b * b2), odd_b = g[1] * (at_b * b);
      u[0] = g[0] * at_0;
      u[1] = even_a + odd_a;
      u[2] = even_a - odd_a;
      u[3] = even_b + odd_b;
      u[4] = even_b - odd_b;
      u[5] = g[2];
    }
  };
  // Gᵀ
  struct FilterGradient {
    static constexpr int in = 6, out = 3;
    static PB_INLINE void apply(const F* s, F* g) {
      const F even_a = s[1] + s[2], odd_a = s[1] - s[2], even_b = s[3] + s[4], odd_b = s[3] - s[4];
      g[0] = s[0] * at_0 + even_a * at_a + even_b * at_b;
      g[1] = odd_a * (at_a * a) + odd_b * (at_b * b);
      g[2] = s[5] + even_a * (at_a * a2) + even_b * (at_b * b2);
    }
  };

  static constexpr int pairs = 3;
  static constexpr int rows[pairs][2] = {{0, 5}, {1, 2}, {3, 4}};
  template <int P>
  struct ValuePair {
    static constexpr int in = 6, out = 2;
    static PB_INLINE void apply(const F* d, F* v) {
      if (P == 0) {
        v[0] = d[4] - d[2] * sum + d[0] * product;
        v[1] = d[5] - d[3] * sum + d[1] * product;
        return;
      }
      constexpr float other2 = P == 1 ? b2 : a2, point = P == 1 ? a : b;
      const F even = d[4] - d[2] * other2, odd = d[3] - d[1] * other2;
      v[0] = even + odd * point;
      v[1] = even - odd * point;
    }
  };
  template <int P>
  struct GradientPair {
    static constexpr int in = 4, out = 2;
    static PB_INLINE void apply(const F* y, F* d) {
      if (P == 0) {
        d[0] = y[0];
        d[1] = y[3];
        return;
      }
      constexpr float point = P == 1 ? a : b, square = P == 1 ? a2 : b2;
      const F even = y[0] + y[2] * square, odd = y[1] + y[3] * square;
      d[0] = even + odd * point;
      d[1] = even - odd * point;
    }
  };
};

}  // namespace pinbench::winograd
