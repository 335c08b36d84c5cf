// BatchNorm in train mode, with ReLU and 2×2 max pooling in the same passes over memory.
//
// Stock operators read and write the whole activation once for each of them; here the forward pass reads it twice
// (statistics, values) and the backward pass twice (sums, gradient), and what is written between is a quarter of it.

#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

#include "lanes.h"

namespace pinbench {

Normalised normalise(std::vector<double> mean, const std::vector<double>& variance, int64_t count, const at::Tensor& weight,
                     const at::Tensor& bias, at::Tensor& running_mean, at::Tensor& running_var, double momentum, double eps) {
  const int64_t C = static_cast<int64_t>(mean.size());
  Normalised n{std::move(mean), std::vector<double>(C), std::vector<float>(C), std::vector<float>(C), std::vector<float>(C)};
  const float *w = weight.const_data_ptr<float>(), *b = bias.const_data_ptr<float>();
  float *rm = running_mean.data_ptr<float>(), *rv = running_var.data_ptr<float>();
  const double unbiased = count > 1 ? static_cast<double>(count) / static_cast<double>(count - 1) : 1.0;
  for (int64_t c = 0; c < C; c++) {
    // An infinity or a square beyond the range would leave finite constants behind, and hide a training that diverges.
    const double var = std::isfinite(n.mean[c]) && std::isfinite(variance[c]) ? variance[c] : std::nan("");
    n.inverse[c] = 1.0 / std::sqrt(var + eps);
    n.scale[c] = static_cast<float>(w[c] * n.inverse[c]);
    n.shift[c] = static_cast<float>(b[c] - n.mean[c] * n.inverse[c] * w[c]);
    n.floor[c] = std::isfinite(n.scale[c]) && std::isfinite(n.shift[c]) ? 0.f : std::nanf("");
    rm[c] = static_cast<float>((1 - momentum) * rm[c] + momentum * n.mean[c]);
    rv[c] = static_cast<float>((1 - momentum) * rv[c] + momentum * var * unbiased);
  }
  return n;
}

void check(const at::Tensor& x, at::ArrayRef<at::Tensor> by_channel, int64_t channels) {
  TORCH_CHECK(x.dim() == 4 && x.scalar_type() == at::kFloat && x.device().is_cpu(), "pinbench: expected 32-bit images [N, C, H, W] on the CPU, found ", x.sizes());
  TORCH_CHECK(x.numel() > 0, "pinbench: no images");
  for (const auto& t : by_channel)
    TORCH_CHECK(t.device().is_cpu() && t.scalar_type() == at::kFloat && t.numel() == channels && t.is_contiguous(), "pinbench: expected ", channels, " 32-bit values, one a channel");
}

}  // namespace pinbench

namespace {

using namespace pinbench;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// ---- rows of channels -----------------------------------------------------------------------------------------------

// Sums of x − origin and of its square over `n` pixels, for B vectors of channels: their sums stay in registers.
template <class F, int B>
PB_INLINE void moments_of(const float* x, int64_t n, int64_t C, const float* origin, float* sum, float* square) {
  constexpr int64_t W = Lanes<F>::width;
  F o[B], s[B], q[B];
  for (int b = 0; b < B; b++) {
    o[b] = load<F>(origin + b * W);
    s[b] = q[b] = F{};
  }
  for (int64_t i = 0; i < n; i++, x += C)
    for (int b = 0; b < B; b++) {
      F d = load<F>(x + b * W) - o[b];
      s[b] += d;
      q[b] += d * d;
    }
  for (int b = 0; b < B; b++) {
    add<F>(sum + b * W, s[b]);
    add<F>(square + b * W, q[b]);
  }
}

PB_CLONES void moments(const float* x, int64_t n, int64_t C, const float* origin, float* sum, float* square) {
  int64_t c = 0;
  for (; c + 32 <= C; c += 32) moments_of<F8, 4>(x + c, n, C, origin + c, sum + c, square + c);
  for (; c + 8 <= C; c += 8) moments_of<F8, 1>(x + c, n, C, origin + c, sum + c, square + c);
  for (; c < C; c++) moments_of<float, 1>(x + c, n, C, origin + c, sum + c, square + c);
}

struct Affine {
  const float *scale, *shift, *floor;
};

// One window: its greatest value after scale and shift, the input that gave it, and where it lay.
template <class F, bool relu>
PB_INLINE void pool_of(const float* a, const float* b, int64_t C, Affine k, float* y, float* chosen, uint8_t* place) {
  F scale = load<F>(k.scale), shift = load<F>(k.shift);
  F x0 = load<F>(a), x1 = load<F>(a + C), x2 = load<F>(b), x3 = load<F>(b + C);
  F u0 = x0 * scale + shift, u1 = x1 * scale + shift, u2 = x2 * scale + shift, u3 = x3 * scale + shift;
  Greatest<F> greatest{u0};
  F x = x0;
  x = greatest.take(u1, 1) ? x1 : x;
  x = greatest.take(u2, 2) ? x2 : x;
  x = greatest.take(u3, 3) ? x3 : x;
  if (relu) greatest.cut_off(load<F>(k.floor));
  store<F>(y, greatest.value);
  store<F>(chosen, x);
  Lanes<F>::store(place, greatest.place);
}

template <bool relu>
PB_INLINE void pool_row_of(const float* a, const float* b, int64_t windows, int64_t C, Affine k, float* y, float* chosen, uint8_t* place) {
  for (int64_t w = 0; w < windows; w++, a += 2 * C, b += 2 * C, y += C, chosen += C, place += C) {
    int64_t c = 0;
    for (; c + 8 <= C; c += 8) pool_of<F8, relu>(a + c, b + c, C, {k.scale + c, k.shift + c, k.floor + c}, y + c, chosen + c, place + c);
    for (; c < C; c++) pool_of<float, relu>(a + c, b + c, C, {k.scale + c, k.shift + c, k.floor + c}, y + c, chosen + c, place + c);
  }
}

PB_CLONES void pool_row(const float* a, const float* b, int64_t windows, int64_t C, Affine k, bool relu, float* y, float* chosen, uint8_t* place) {
  if (relu) pool_row_of<true>(a, b, windows, C, k, y, chosen, place);
  else pool_row_of<false>(a, b, windows, C, k, y, chosen, place);
}

template <class F>
PB_INLINE void plain_of(const float* x, Affine k, bool relu, float* y) {
  F v = load<F>(x) * load<F>(k.scale) + load<F>(k.shift);
  store<F>(y, relu ? (v > F{} ? v : load<F>(k.floor)) : v);
}

PB_CLONES void plain_row(const float* x, int64_t n, int64_t C, Affine k, bool relu, float* y) {
  for (int64_t i = 0; i < n; i++, x += C, y += C) {
    int64_t c = 0;
    for (; c + 8 <= C; c += 8) plain_of<F8>(x + c, {k.scale + c, k.shift + c, k.floor + c}, relu, y + c);
    for (; c < C; c++) plain_of<float>(x + c, {k.scale + c, k.shift + c, k.floor + c}, relu, y + c);
  }
}

// Sums of g and of g·(x − origin) over `n` values of which ReLU let through those with `place` < 4 (`y` > 0).
template <class F, int B, bool pooled>
PB_INLINE void grad_sums_of(const float* g, const float* x, const uint8_t* place, const float* y, int64_t n, int64_t C, const float* origin, float* sum, float* product) {
  constexpr int64_t W = Lanes<F>::width;
  using I = typename Lanes<F>::Int;
  F o[B], s[B], p[B];
  for (int b = 0; b < B; b++) {
    o[b] = load<F>(origin + b * W);
    s[b] = p[b] = F{};
  }
  for (int64_t i = 0; i < n; i++)
    for (int b = 0; b < B; b++) {
      int64_t at = i * C + b * W;
      F v = load<F>(g + at);
      if (pooled) v = Lanes<F>::bytes(place + at) < I{} + kCutOff ? v : F{};
      else if (y) v = load<F>(y + at) > F{} ? v : F{};
      s[b] += v;
      p[b] += v * (load<F>(x + at) - o[b]);
    }
  for (int b = 0; b < B; b++) {
    add<F>(sum + b * W, s[b]);
    add<F>(product + b * W, p[b]);
  }
}

PB_CLONES void pooled_grad_sums(const float* g, const float* x, const uint8_t* place, int64_t n, int64_t C, const float* origin, float* sum, float* product) {
  int64_t c = 0;
  for (; c + 16 <= C; c += 16) grad_sums_of<F8, 2, true>(g + c, x + c, place + c, nullptr, n, C, origin + c, sum + c, product + c);
  for (; c + 8 <= C; c += 8) grad_sums_of<F8, 1, true>(g + c, x + c, place + c, nullptr, n, C, origin + c, sum + c, product + c);
  for (; c < C; c++) grad_sums_of<float, 1, true>(g + c, x + c, place + c, nullptr, n, C, origin + c, sum + c, product + c);
}

PB_CLONES void plain_grad_sums(const float* g, const float* x, const float* y, int64_t n, int64_t C, const float* origin, float* sum, float* product) {
  auto from = [&](int64_t c) { return y ? y + c : nullptr; };
  int64_t c = 0;
  for (; c + 16 <= C; c += 16) grad_sums_of<F8, 2, false>(g + c, x + c, nullptr, from(c), n, C, origin + c, sum + c, product + c);
  for (; c + 8 <= C; c += 8) grad_sums_of<F8, 1, false>(g + c, x + c, nullptr, from(c), n, C, origin + c, sum + c, product + c);
  for (; c < C; c++) grad_sums_of<float, 1, false>(g + c, x + c, nullptr, from(c), n, C, origin + c, sum + c, product + c);
}

// dx = of_g·g + of_x·x + rest
struct Slope {
  const float *of_g, *of_x, *rest;
};

template <class F>
PB_INLINE void pooled_slope_of(const float* a, const float* b, int64_t C, const float* g, const uint8_t* place, Slope k, float* da, float* db) {
  using I = typename Lanes<F>::Int;
  I at = Lanes<F>::bytes(place);
  F of_x = load<F>(k.of_x), without = load<F>(k.rest), with = load<F>(g) * load<F>(k.of_g) + without;
  store<F>(da, load<F>(a) * of_x + (at == I{} ? with : without));
  store<F>(da + C, load<F>(a + C) * of_x + (at == I{} + 1 ? with : without));
  store<F>(db, load<F>(b) * of_x + (at == I{} + 2 ? with : without));
  store<F>(db + C, load<F>(b + C) * of_x + (at == I{} + 3 ? with : without));
}

PB_CLONES void pooled_slope_row(const float* a, const float* b, int64_t windows, int64_t C, const float* g, const uint8_t* place, Slope k, float* da, float* db) {
  for (int64_t w = 0; w < windows; w++, a += 2 * C, b += 2 * C, da += 2 * C, db += 2 * C, g += C, place += C) {
    int64_t c = 0;
    for (; c + 8 <= C; c += 8) pooled_slope_of<F8>(a + c, b + c, C, g + c, place + c, {k.of_g + c, k.of_x + c, k.rest + c}, da + c, db + c);
    for (; c < C; c++) pooled_slope_of<float>(a + c, b + c, C, g + c, place + c, {k.of_g + c, k.of_x + c, k.rest + c}, da + c, db + c);
  }
}

// `g` is null where no gradient arrives: in an odd last row or column, which no window covers.
template <class F>
PB_INLINE void plain_slope_of(const float* x, const float* g, const float* y, Slope k, float* d) {
  F slope = load<F>(x) * load<F>(k.of_x) + load<F>(k.rest);
  if (g) {
    F v = load<F>(g);
    if (y) v = load<F>(y) > F{} ? v : F{};
    slope += v * load<F>(k.of_g);
  }
  store<F>(d, slope);
}

PB_CLONES void plain_slope_row(const float* x, int64_t n, int64_t C, const float* g, const float* y, Slope k, float* d) {
  for (int64_t i = 0; i < n; i++) {
    int64_t c = 0, at = i * C;
    for (; c + 8 <= C; c += 8) plain_slope_of<F8>(x + at + c, g ? g + at + c : g, y ? y + at + c : y, {k.of_g + c, k.of_x + c, k.rest + c}, d + at + c);
    for (; c < C; c++) plain_slope_of<float>(x + at + c, g ? g + at + c : g, y ? y + at + c : y, {k.of_g + c, k.of_x + c, k.rest + c}, d + at + c);
  }
}

// ---- the operator ---------------------------------------------------------------------------------------------------

struct Shape {
  int64_t N, C, H, W;
  explicit Shape(const at::Tensor& x) : N(x.size(0)), C(x.size(1)), H(x.size(2)), W(x.size(3)) {}
  int64_t rows() const { return N * H; }
  int64_t count() const { return N * H * W; }
};

// Rows whose values one chunk adds up in single precision: some thousand values a channel.
int64_t chunks_of(int64_t rows, int64_t width) { return std::max<int64_t>(64, rows * width / 1024); }

struct NormPool : torch::autograd::Function<NormPool> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                            at::Tensor running_mean, at::Tensor running_var, double momentum, double eps, bool pool, bool relu) {
    RECORD_FUNCTION("pinbench::norm_pool", std::vector<c10::IValue>());
    at::Tensor x = to_channels_last(input);
    const Shape s(x);
    const float* px = x.const_data_ptr<float>();
    // Moments about the first pixel: about zero, a large mean would take the digits of a small variance.
    const std::vector<float> origin(px, px + s.C);
    auto sums = sum_in_chunks(s.rows(), chunks_of(s.rows(), s.W), 2 * s.C, [&](int64_t from, int64_t to, float* out) {
      moments(px + from * s.W * s.C, (to - from) * s.W, s.C, origin.data(), out, out + s.C);
    });
    std::vector<double> mean(s.C), variance(s.C);
    for (int64_t c = 0; c < s.C; c++) {
      const double d = sums[c] / s.count(), square = sums[s.C + c] / s.count();
      mean[c] = origin[c] + d;
      const double spread = square - d * d;
      variance[c] = spread < 0 ? 0.0 : spread;
    }
    const Normalised n = normalise(std::move(mean), variance, s.count(), weight, bias, running_mean, running_var, momentum, eps);
    const Affine affine{n.scale.data(), n.shift.data(), n.floor.data()};
    ctx->saved_data["pool"] = pool;
    ctx->saved_data["relu"] = relu;
    ctx->saved_data["mean"] = n.mean;
    ctx->saved_data["inverse"] = n.inverse;
    return pool ? pooled(ctx, x, weight, affine, relu) : plain(ctx, x, weight, affine, relu);
  }

  static at::Tensor pooled(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight, Affine affine, bool relu) {
    const Shape s(x);
    const int64_t Ho = s.H / 2, Wo = s.W / 2;
    at::Tensor y = empty_channels_last({s.N, s.C, Ho, Wo}, x.options()), chosen = at::empty_like(y);
    at::Tensor place = empty_channels_last({s.N, s.C, Ho, Wo}, x.options().dtype(at::kByte));
    const float* px = x.const_data_ptr<float>();
    float *py = y.data_ptr<float>(), *pc = chosen.data_ptr<float>();
    uint8_t* pp = place.data_ptr<uint8_t>();
    at::parallel_for(0, s.N * Ho, 8, [&](int64_t from, int64_t to) {
      for (int64_t r = from; r < to; r++) {
        const float* a = px + (r / Ho * s.H + 2 * (r % Ho)) * s.W * s.C;
        const int64_t out = r * Wo * s.C;
        pool_row(a, a + s.W * s.C, Wo, s.C, affine, relu, py + out, pc + out, pp + out);
      }
    });
    ctx->save_for_backward({x, weight, chosen, place});
    return y;
  }

  static at::Tensor plain(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight, Affine affine, bool relu) {
    const Shape s(x);
    at::Tensor y = empty_channels_last(x.sizes(), x.options());
    const float* px = x.const_data_ptr<float>();
    float* py = y.data_ptr<float>();
    at::parallel_for(0, s.rows(), 8, [&](int64_t from, int64_t to) {
      const int64_t at = from * s.W * s.C;
      plain_row(px + at, (to - from) * s.W, s.C, affine, relu, py + at);
    });
    // What ReLU let through is read from its output.
    ctx->save_for_backward({x, weight, relu ? y : at::Tensor()});
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "pinbench: its own BatchNorm has no second derivative; use plan `tuned`");
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1];
    const bool pool = ctx->saved_data["pool"].toBool();
    const Shape s(x);
    const std::vector<double> mean = ctx->saved_data["mean"].toDoubleVector(), inverse = ctx->saved_data["inverse"].toDoubleVector();
    const std::vector<float> origin(mean.begin(), mean.end());
    const at::Tensor g = to_channels_last(grads[0]);
    const float *pg = g.const_data_ptr<float>(), *px = x.const_data_ptr<float>(), *w = weight.const_data_ptr<float>();
    const float* chosen = pool ? saved[2].const_data_ptr<float>() : px;
    const uint8_t* place = pool ? saved[3].const_data_ptr<uint8_t>() : nullptr;
    const float* y = !pool && saved[2].defined() ? saved[2].const_data_ptr<float>() : nullptr;
    const int64_t Ho = s.H / 2, Wo = s.W / 2, rows = pool ? s.N * Ho : s.rows(), width = pool ? Wo : s.W;
    auto sums = sum_in_chunks(rows, chunks_of(rows, width), 2 * s.C, [&](int64_t from, int64_t to, float* out) {
      const int64_t at = from * width * s.C, n = (to - from) * width;
      if (pool) pooled_grad_sums(pg + at, chosen + at, place + at, n, s.C, origin.data(), out, out + s.C);
      else plain_grad_sums(pg + at, px + at, y ? y + at : y, n, s.C, origin.data(), out, out + s.C);
    });
    at::Tensor dweight = at::empty({s.C}, x.options()), dbias = at::empty({s.C}, x.options());
    std::vector<float> of_g(s.C), of_x(s.C), rest(s.C);
    for (int64_t c = 0; c < s.C; c++) {
      // Ioffe and Szegedy (2015), section 3: dx = γ/σ · (g − Σg/M − x̂ · Σ(g·x̂)/M).
      const double sum = sums[c], product = (sums[s.C + c] + (origin[c] - mean[c]) * sum) * inverse[c];
      dbias.data_ptr<float>()[c] = static_cast<float>(sum);
      dweight.data_ptr<float>()[c] = static_cast<float>(product);
      const double k = w[c] * inverse[c], slope = -k * inverse[c] * product / s.count();
      of_g[c] = static_cast<float>(k);
      of_x[c] = static_cast<float>(slope);
      rest[c] = static_cast<float>(-k * sum / s.count() - slope * mean[c]);
    }
    const Slope slope{of_g.data(), of_x.data(), rest.data()};
    at::Tensor dx = empty_channels_last(x.sizes(), x.options());
    float* pd = dx.data_ptr<float>();
    const int64_t row = s.W * s.C;
    if (pool) {
      at::parallel_for(0, s.N * Ho, 8, [&](int64_t from, int64_t to) {
        for (int64_t r = from; r < to; r++) {
          const int64_t h = r % Ho, at = (r / Ho * s.H + 2 * h) * row, in = r * Wo * s.C;
          pooled_slope_row(px + at, px + at + row, Wo, s.C, pg + in, place + in, slope, pd + at, pd + at + row);
          for (int64_t i = 0; s.W % 2 == 1 && i < 2; i++) {
            const int64_t last = at + i * row + 2 * Wo * s.C;
            plain_slope_row(px + last, 1, s.C, nullptr, nullptr, slope, pd + last);
          }
          if (s.H % 2 == 1 && h == Ho - 1) plain_slope_row(px + at + 2 * row, s.W, s.C, nullptr, nullptr, slope, pd + at + 2 * row);
        }
      });
    } else {
      at::parallel_for(0, s.rows(), 8, [&](int64_t from, int64_t to) {
        const int64_t at = from * row;
        plain_slope_row(px + at, (to - from) * s.W, s.C, pg + at, y ? y + at : y, slope, pd + at);
      });
    }
    return {dx, dweight, dbias, {}, {}, {}, {}, {}, {}};
  }
};

}  // namespace

extern "C" int pb_norm_pool(void* x, void* weight, void* bias, void* running_mean, void* running_var, double momentum, double eps,
                            int pool, int relu, void** out) {
  return guard([&] {
    const at::Tensor& images = tensor(x);
    check(images, {tensor(weight), tensor(bias), tensor(running_mean), tensor(running_var)}, images.size(1));
    TORCH_CHECK(!pool || (images.size(2) > 1 && images.size(3) > 1), "pinbench: nothing to pool in ", images.sizes());
    *out = new at::Tensor(NormPool::apply(images, tensor(weight), tensor(bias), tensor(running_mean), tensor(running_var), momentum, eps,
                                          pool != 0, relu != 0));
  });
}
