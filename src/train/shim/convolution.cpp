// A 3×3 convolution with stride 1 and padding 1 in training and in evaluation, by the algorithm that is asked for in each pass:
// Winograd's kernels (winograd/), or libtorch's.

#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include "lanes.h"
#include "winograd/winograd.h"

namespace {

using namespace pinbench;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// In place of the results along a side of a tile: leaves a pass to libtorch.
constexpr int64_t kDirect = 0;

winograd::Workers workers() {
  const int64_t count = at::in_parallel_region() ? 1 : at::get_num_threads();
  return {count, [count](const std::function<void(int64_t)>& body) {
            at::parallel_for(0, count, 1, [&](int64_t from, int64_t to) {
              for (int64_t worker = from; worker < to; worker++) body(worker);
            });
          }};
}

winograd::Shape shape_of(const at::Tensor& images, const at::Tensor& weight) {
  return {images.size(0), images.size(2), images.size(3), weight.size(1), weight.size(0)};
}

// Freed behind the call: a caching allocator hands it out again for the next.
at::Tensor scratch(int64_t floats, const at::Tensor& like) { return at::empty({floats}, like.options()); }

const winograd::Routines& routines(int tile) { return *winograd::copies(tile).sets[0]; }

at::Tensor convolved(const at::Tensor& images, const at::Tensor& weight, const at::Tensor& bias, winograd::Way way, int tile) {
  const at::Tensor x = to_channels_last(images), w = to_channels_last(weight);
  const winograd::Shape shape = shape_of(x, w);
  const winograd::Workers pool = workers();
  const at::Tensor own = scratch(winograd::convolution_scratch(shape, way, tile, pool.count), x);
  const int64_t channels = way == winograd::Way::Forward ? shape.outputs : shape.inputs;
  at::Tensor y = empty_channels_last({shape.images, channels, shape.height, shape.width}, x.options());
  winograd::convolve(routines(tile), shape, way, tile, x.const_data_ptr<float>(), w.const_data_ptr<float>(),
                     bias.defined() ? bias.const_data_ptr<float>() : nullptr, y.data_ptr<float>(), own.data_ptr<float>(), pool);
  return y;
}

struct Convolution : torch::autograd::Function<Convolution> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                            int64_t forward_tile, int64_t data_tile, int64_t weights_tile) {
    ctx->save_for_backward({x, weight});
    ctx->saved_data["bias"] = bias.has_value();
    ctx->saved_data["data"] = data_tile;
    ctx->saved_data["weights"] = weights_tile;
    if (forward_tile == kDirect) return at::conv2d(x, weight, bias, 1, 1);
    RECORD_FUNCTION("pinbench::winograd_forward", std::vector<c10::IValue>());
    return convolved(x, weight, bias.value_or(at::Tensor()), winograd::Way::Forward, static_cast<int>(forward_tile));
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    TORCH_CHECK(!at::GradMode::is_enabled(), "pinbench: its own convolution has no second derivative; use plan `tuned`");
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], dy = to_channels_last(grads[0]);
    const bool has_bias = ctx->saved_data["bias"].toBool();
    at::Tensor dx, dweight, dbias;
    if (ctx->needs_input_grad(0)) dx = of_data(dy, x, weight, ctx->saved_data["data"].toInt());
    if (!ctx->needs_input_grad(1)) {
      if (has_bias && ctx->needs_input_grad(2)) dbias = dy.sum({0, 2, 3});
      return {dx, dweight, dbias, {}, {}, {}};
    }
    const int64_t tile = ctx->saved_data["weights"].toInt();
    if (tile == kDirect) {
      std::tie(std::ignore, dweight, dbias) = stock(dy, x, weight, {false, true, has_bias});
    } else {
      std::tie(dweight, dbias) = of_weights(dy, x, weight, has_bias, static_cast<int>(tile));
    }
    return {dx, dweight, dbias, {}, {}, {}};
  }

  static at::Tensor of_data(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& weight, int64_t tile) {
    if (tile == kDirect) return std::get<0>(stock(dy, x, weight, {true, false, false}));
    RECORD_FUNCTION("pinbench::winograd_backward_data", std::vector<c10::IValue>());
    return convolved(dy, weight, {}, winograd::Way::Back, static_cast<int>(tile));
  }

  static std::tuple<at::Tensor, at::Tensor> of_weights(const at::Tensor& dy, const at::Tensor& images, const at::Tensor& weight, bool has_bias, int tile) {
    RECORD_FUNCTION("pinbench::winograd_backward_weights", std::vector<c10::IValue>());
    const at::Tensor x = to_channels_last(images);
    const winograd::Shape shape = shape_of(x, weight);
    const winograd::Workers pool = workers();
    const at::Tensor own = scratch(winograd::weight_gradient_scratch(shape, tile, pool.count), x);
    at::Tensor dweight = empty_channels_last(weight.sizes(), weight.options());
    at::Tensor dbias = has_bias ? at::empty({shape.outputs}, weight.options()) : at::Tensor();
    winograd::weight_gradient(routines(tile), shape, tile, x.const_data_ptr<float>(), dy.const_data_ptr<float>(), dweight.data_ptr<float>(),
                              has_bias ? dbias.data_ptr<float>() : nullptr, own.data_ptr<float>(), pool);
    return {dweight, dbias};
  }

  static std::tuple<at::Tensor, at::Tensor, at::Tensor> stock(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& weight, std::array<bool, 3> wanted) {
    return at::convolution_backward(dy, x, weight, at::IntArrayRef(weight.size(0)), {1, 1}, {1, 1}, {1, 1}, false, {0, 0}, 1, wanted);
  }
};

}  // namespace

// `bias` may be null. A tile has 2 or 4 results along a side; 0 is libtorch's algorithm.
extern "C" int pb_convolution(void* x, void* weight, void* bias, int64_t forward_tile, int64_t data_tile, int64_t weights_tile, void** out) {
  return guard([&] {
    const at::Tensor &images = tensor(x), &kernel = tensor(weight);
    TORCH_CHECK(kernel.dim() == 4 && kernel.size(2) == 3 && kernel.size(3) == 3 && kernel.scalar_type() == at::kFloat && kernel.device().is_cpu(),
                "pinbench: expected the weight of a 3×3 convolution, found ", kernel.sizes());
    check(images, {}, kernel.size(1));
    TORCH_CHECK(images.size(1) == kernel.size(1), "pinbench: expected images of ", kernel.size(1), " channels, found ", images.sizes());
    TORCH_CHECK(winograd::fits(shape_of(images, kernel)), "pinbench: expected channels that ", winograd::kStep, " divides, found ", kernel.sizes());
    std::optional<at::Tensor> by_channel;
    if (bias != nullptr) check(images, {by_channel.emplace(tensor(bias))}, kernel.size(0));
    for (int64_t tile : {forward_tile, data_tile, weights_tile})
      TORCH_CHECK(tile == kDirect || tile == 2 || tile == 4, "pinbench: no tiles of ", tile, "×", tile, " results");
    *out = new at::Tensor(Convolution::apply(images, kernel, by_channel, forward_tile, data_tile, weights_tile));
  });
}
