// The first block of a model for grey images, in one operator: 3×3 convolution of one channel with padding 1, BatchNorm in
// train mode, ReLU, 2×2 max pooling.
//
// A convolution of one channel is nine multiply–adds a value: computing it again is cheaper than reading it. So its output is
// never written. Its mean and variance follow from the moments of the nine taps,
//   E[y] = w·E[t] + b,   Var[y] = wᵀ Cov[t] w,
// and in the gradient of the weights everything but the sum over the chosen places does too: with g the gradient at the
// chosen places, x̂ the normalised output and M values a channel,
//   dw = γ/σ · (Σ g·t − Σg/M · Σt − Σ(g·x̂)/M · Σ x̂·t),   Σ x̂·t = (Σ (w·t' + b)·t − μ Σt)/σ.
// The gradient of the bias is 0, for BatchNorm takes it out again; stock operators give the rounding error of that 0.

#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <cstring>

#include "lanes.h"

namespace {

using namespace pinbench;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kTaps = 9;
constexpr int64_t kPairs = kTaps * kTaps;

// One image with a border of zeros.
struct Padded {
  int64_t H, W, pitch;
  std::vector<float> pixels;

  Padded(int64_t H, int64_t W) : H(H), W(W), pitch(W + 2), pixels((H + 2) * (W + 2), 0.f) {}
  void fill(const float* image) {
    for (int64_t h = 0; h < H; h++) std::memcpy(&pixels[(h + 1) * pitch + 1], image + h * W, W * sizeof(float));
  }
  const float* row(int64_t h) const { return &pixels[h * pitch]; }
};

// ---- moments of the taps --------------------------------------------------------------------------------------------

PB_CLONES float dot(const float* a, const float* b, int64_t eights) {
  F8 s0{}, s1{}, s2{}, s3{};
  int64_t i = 0;
  for (; i + 4 <= eights; i += 4, a += 32, b += 32) {
    s0 += load<F8>(a) * load<F8>(b);
    s1 += load<F8>(a + 8) * load<F8>(b + 8);
    s2 += load<F8>(a + 16) * load<F8>(b + 16);
    s3 += load<F8>(a + 24) * load<F8>(b + 24);
  }
  for (; i < eights; i++, a += 8, b += 8) s0 += load<F8>(a) * load<F8>(b);
  F8 s = (s0 + s1) + (s2 + s3);
  float sum = 0;
  for (int l = 0; l < 8; l++) sum += s[l];
  return sum;
}

struct TapMoments {
  std::vector<double> sum, product;  // [9], [9·9]
};

// What each tap sees of an image, one plane after the other, each row filled up to eights with zeros.
struct Planes {
  int64_t H, pitch, size;
  std::vector<float> pixels, ones;

  Planes(int64_t H, int64_t W) : H(H), pitch((W + 7) / 8 * 8), size(H * pitch), pixels(kTaps * size, 0.f), ones(size, 1.f) {}
  void fill(const Padded& image) {
    for (int64_t t = 0; t < kTaps; t++)
      for (int64_t h = 0; h < H; h++)
        std::memcpy(&pixels[t * size + h * pitch], image.row(h + t / 3) + t % 3, image.W * sizeof(float));
  }
  const float* tap(int64_t t) const { return &pixels[t * size]; }
};

TapMoments tap_moments(const float* images, int64_t N, int64_t H, int64_t W) {
  auto sums = sum_in_chunks(N, 64, kTaps + kPairs, [&](int64_t from, int64_t to, float* out) {
    Padded image(H, W);
    Planes planes(H, W);
    for (int64_t n = from; n < to; n++) {
      image.fill(images + n * H * W);
      planes.fill(image);
      for (int64_t t = 0; t < kTaps; t++) {
        out[t] += dot(planes.tap(t), planes.ones.data(), planes.size / 8);
        for (int64_t u = t; u < kTaps; u++) out[kTaps + t * kTaps + u] += dot(planes.tap(t), planes.tap(u), planes.size / 8);
      }
    }
  });
  TapMoments m{std::vector<double>(sums.begin(), sums.begin() + kTaps), std::vector<double>(sums.begin() + kTaps, sums.end())};
  for (int64_t t = 0; t < kTaps; t++)
    for (int64_t u = 0; u < t; u++) m.product[t * kTaps + u] = m.product[u * kTaps + t];
  return m;
}

// ---- rows of windows ------------------------------------------------------------------------------------------------

// Weights with BatchNorm's scale folded in, [9, C], and the shift, [C].
struct Folded {
  const float *weight, *shift, *floor;
  int64_t C;
};

template <class F, bool relu>
PB_INLINE void windows_of(const float* const r[4], int64_t windows, Folded k, float* y, uint8_t* place) {
  F w[kTaps];
  for (int64_t t = 0; t < kTaps; t++) w[t] = load<F>(k.weight + t * k.C);
  const F shift = load<F>(k.shift), floor = load<F>(k.floor);
  const float *p0 = r[0], *p1 = r[1], *p2 = r[2], *p3 = r[3];
  for (int64_t i = 0; i < windows; i++, p0 += 2, p1 += 2, p2 += 2, p3 += 2, y += k.C, place += k.C) {
    F u0 = shift, u1 = shift, u2 = shift, u3 = shift;
    for (int64_t j = 0; j < 3; j++) {
      u0 += w[j] * p0[j] + w[3 + j] * p1[j] + w[6 + j] * p2[j];
      u1 += w[j] * p0[j + 1] + w[3 + j] * p1[j + 1] + w[6 + j] * p2[j + 1];
      u2 += w[j] * p1[j] + w[3 + j] * p2[j] + w[6 + j] * p3[j];
      u3 += w[j] * p1[j + 1] + w[3 + j] * p2[j + 1] + w[6 + j] * p3[j + 1];
    }
    Greatest<F> greatest{u0};
    greatest.take(u1, 1);
    greatest.take(u2, 2);
    greatest.take(u3, 3);
    if (relu) greatest.cut_off(floor);
    store<F>(y, greatest.value);
    Lanes<F>::store(place, greatest.place);
  }
}

template <bool relu>
PB_INLINE void window_row_of(const float* const r[4], int64_t windows, Folded k, float* y, uint8_t* place) {
  int64_t c = 0;
  for (; c + 8 <= k.C; c += 8) windows_of<F8, relu>(r, windows, {k.weight + c, k.shift + c, k.floor + c, k.C}, y + c, place + c);
  for (; c < k.C; c++) windows_of<float, relu>(r, windows, {k.weight + c, k.shift + c, k.floor + c, k.C}, y + c, place + c);
}

PB_CLONES void window_row(const float* const r[4], int64_t windows, Folded k, bool relu, float* y, uint8_t* place) {
  if (relu) window_row_of<true>(r, windows, k, y, place);
  else window_row_of<false>(r, windows, k, y, place);
}

// Adds Σ g·t, [9, C], and Σ g, [C], of the chosen places of one row of windows.
template <class F>
PB_INLINE void chosen_of(const float* const r[4], int64_t windows, int64_t C, const float* g, const uint8_t* place, float* sums) {
  using I = typename Lanes<F>::Int;
  F s[kTaps], all = F{};
  for (int64_t t = 0; t < kTaps; t++) s[t] = F{};
  for (int64_t i = 0; i < windows; i++, g += C, place += C) {
    const I at = Lanes<F>::bytes(place);
    const F v = load<F>(g);
    for (int64_t k = 0; k < 4; k++) {
      const F here = at == I{} + static_cast<int32_t>(k) ? v : F{};
      all += here;
      for (int64_t t = 0; t < kTaps; t++) s[t] += here * r[k / 2 + t / 3][2 * i + k % 2 + t % 3];
    }
  }
  for (int64_t t = 0; t < kTaps; t++) add<F>(sums + t * C, s[t]);
  add<F>(sums + kTaps * C, all);
}

PB_CLONES void chosen_row(const float* const r[4], int64_t windows, int64_t C, const float* g, const uint8_t* place, float* sums) {
  int64_t c = 0;
  for (; c + 8 <= C; c += 8) chosen_of<F8>(r, windows, C, g + c, place + c, sums + c);
  for (; c < C; c++) chosen_of<float>(r, windows, C, g + c, place + c, sums + c);
}

// Calls `body(rows, h)` for the four rows of pixels under each row of windows.
template <class Body>
void each_row(const Padded& image, Body body) {
  for (int64_t h = 0; h < image.H / 2; h++) {
    const float* r[4] = {image.row(2 * h), image.row(2 * h + 1), image.row(2 * h + 2), image.row(2 * h + 3)};
    body(r, h);
  }
}

// ---- the operator ---------------------------------------------------------------------------------------------------

struct FirstBlock : torch::autograd::Function<FirstBlock> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input, const at::Tensor& conv_weight, const at::Tensor& conv_bias,
                            const at::Tensor& weight, const at::Tensor& bias, at::Tensor running_mean, at::Tensor running_var,
                            double momentum, double eps, bool relu) {
    RECORD_FUNCTION("pinbench::first_block", std::vector<c10::IValue>());
    const at::Tensor x = input.contiguous();
    const int64_t N = x.size(0), H = x.size(2), W = x.size(3), C = conv_weight.size(0), Ho = H / 2, Wo = W / 2;
    const double M = static_cast<double>(N * H * W);
    const float *px = x.const_data_ptr<float>(), *b = conv_bias.const_data_ptr<float>();
    const at::Tensor kernel = conv_weight.contiguous();
    const float* w = kernel.const_data_ptr<float>();
    const TapMoments taps = tap_moments(px, N, H, W);
    std::vector<double> mean(C), variance(C);
    for (int64_t c = 0; c < C; c++) {
      double along = 0, square = 0;
      for (int64_t t = 0; t < kTaps; t++) {
        along += w[c * kTaps + t] * taps.sum[t] / M;
        for (int64_t u = 0; u < kTaps; u++) {
          const double covariance = taps.product[t * kTaps + u] / M - taps.sum[t] / M * (taps.sum[u] / M);
          square += static_cast<double>(w[c * kTaps + t]) * w[c * kTaps + u] * covariance;
        }
      }
      mean[c] = along + b[c];
      variance[c] = square < 0 ? 0.0 : square;
    }
    const Normalised n = normalise(std::move(mean), variance, N * H * W, weight, bias, running_mean, running_var, momentum, eps);
    std::vector<float> folded(kTaps * C), shift(C);
    for (int64_t c = 0; c < C; c++) {
      const double k = weight.const_data_ptr<float>()[c] * n.inverse[c];
      shift[c] = static_cast<float>((b[c] - n.mean[c]) * k + bias.const_data_ptr<float>()[c]);
      for (int64_t t = 0; t < kTaps; t++) folded[t * C + c] = static_cast<float>(w[c * kTaps + t] * k);
    }
    const Folded fold{folded.data(), shift.data(), n.floor.data(), C};
    at::Tensor y = empty_channels_last({N, C, Ho, Wo}, x.options());
    at::Tensor place = empty_channels_last({N, C, Ho, Wo}, x.options().dtype(at::kByte));
    float* py = y.data_ptr<float>();
    uint8_t* pp = place.data_ptr<uint8_t>();
    at::parallel_for(0, N, 1, [&](int64_t from, int64_t to) {
      Padded image(H, W);
      for (int64_t i = from; i < to; i++) {
        image.fill(px + i * H * W);
        each_row(image, [&](const float* const r[4], int64_t h) {
          const int64_t out = (i * Ho + h) * Wo * C;
          window_row(r, Wo, fold, relu, py + out, pp + out);
        });
      }
    });
    ctx->save_for_backward({x, kernel, conv_bias, weight, place});
    ctx->saved_data["mean"] = n.mean;
    ctx->saved_data["inverse"] = n.inverse;
    ctx->saved_data["sum"] = taps.sum;
    ctx->saved_data["product"] = taps.product;
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "pinbench: its own first block has no second derivative; use plan `tuned`");
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &kernel = saved[1], &conv_bias = saved[2], &weight = saved[3], &place = saved[4];
    const auto doubles = [&](const char* name) { return ctx->saved_data[name].toDoubleVector(); };
    const auto mean = doubles("mean"), inverse = doubles("inverse"), sum = doubles("sum"), product = doubles("product");
    const int64_t N = x.size(0), H = x.size(2), W = x.size(3), C = kernel.size(0), Ho = H / 2, Wo = W / 2;
    const double M = static_cast<double>(N * H * W);
    const at::Tensor g = to_channels_last(grads[0]);
    const float *px = x.const_data_ptr<float>(), *pg = g.const_data_ptr<float>();
    const uint8_t* pp = place.const_data_ptr<uint8_t>();
    auto sums = sum_in_chunks(N, 256, (kTaps + 1) * C, [&](int64_t from, int64_t to, float* out) {
      Padded image(H, W);
      for (int64_t i = from; i < to; i++) {
        image.fill(px + i * H * W);
        each_row(image, [&](const float* const r[4], int64_t h) {
          const int64_t in = (i * Ho + h) * Wo * C;
          chosen_row(r, Wo, C, pg + in, pp + in, out);
        });
      }
    });
    const float *w = kernel.const_data_ptr<float>(), *b = conv_bias.const_data_ptr<float>();
    at::Tensor dkernel = at::empty_like(kernel), dconv_bias = at::zeros({C}, x.options());
    at::Tensor dweight = at::empty({C}, x.options()), dbias = at::empty({C}, x.options());
    for (int64_t c = 0; c < C; c++) {
      const double all = sums[kTaps * C + c];
      // Σ g·(y − μ), with y = w·t + b
      double along = (b[c] - mean[c]) * all;
      for (int64_t t = 0; t < kTaps; t++) along += w[c * kTaps + t] * sums[t * C + c];
      const double normalised = along * inverse[c], k = weight.const_data_ptr<float>()[c] * inverse[c];
      dbias.data_ptr<float>()[c] = static_cast<float>(all);
      dweight.data_ptr<float>()[c] = static_cast<float>(normalised);
      for (int64_t t = 0; t < kTaps; t++) {
        double output_tap = (b[c] - mean[c]) * sum[t];
        for (int64_t u = 0; u < kTaps; u++) output_tap += w[c * kTaps + u] * product[u * kTaps + t];
        const double slope = sums[t * C + c] - all / M * sum[t] - normalised / M * inverse[c] * output_tap;
        dkernel.data_ptr<float>()[c * kTaps + t] = static_cast<float>(k * slope);
      }
    }
    return {{}, dkernel, dconv_bias, dweight, dbias, {}, {}, {}, {}, {}};
  }
};

}  // namespace

extern "C" int pb_first_block(void* x, void* conv_weight, void* conv_bias, void* weight, void* bias, void* running_mean,
                              void* running_var, double momentum, double eps, int relu, void** out) {
  return guard([&] {
    const at::Tensor &images = tensor(x), &kernel = tensor(conv_weight);
    TORCH_CHECK(kernel.dim() == 4 && kernel.size(1) == 1 && kernel.size(2) == 3 && kernel.size(3) == 3 && kernel.scalar_type() == at::kFloat && kernel.device().is_cpu(),
                "pinbench: expected a 3×3 convolution of one channel, found ", kernel.sizes());
    check(images, {tensor(conv_bias), tensor(weight), tensor(bias), tensor(running_mean), tensor(running_var)}, kernel.size(0));
    TORCH_CHECK(images.size(1) == 1 && images.size(2) > 1 && images.size(3) > 1, "pinbench: expected grey images, found ", images.sizes());
    TORCH_CHECK(!images.requires_grad(), "pinbench: the first block gives its input no gradient");
    *out = new at::Tensor(FirstBlock::apply(images, kernel, tensor(conv_bias), tensor(weight), tensor(bias), tensor(running_mean),
                                            tensor(running_var), momentum, eps, relu != 0));
  });
}
