#include <cmath>
#include <numbers>
#include <random>

#include "calib/sample_source.h"

namespace pare {
namespace {

/// Noise in the model's own shape, the same for the same index, input and element type.
class RandomSource : public SampleSource {
 public:
  explicit RandomSource(int64_t count) : SampleSource("random"), count_(count) {}

  int64_t size() const override { return count_; }

  Shape sample_shape(const Graph& graph, size_t position) const override {
    const Value& input = graph.value(graph.inputs()[position]);
    if (!input.type.ranked || input.type.shape.empty() || !input.type.known())
      throw Error(ErrorKind::kInput, "random: the model's input '" + input.name + "' is " +
                                         to_string(input.type) +
                                         ", expected a batch of known extents (--bind)");
    return {input.type.shape.begin() + 1, input.type.shape.end()};
  }

  Tensor rows(const Graph& graph, size_t position,
              const std::vector<int64_t>& indices) const override {
    Shape shape = sample_shape(graph, position);
    const auto stride = static_cast<size_t>(element_count(shape));
    shape.insert(shape.begin(), static_cast<int64_t>(indices.size()));
    const DType dtype = graph.type(graph.inputs()[position]).dtype;
    Tensor floats = Tensor::uninitialized(DType::kF32, std::move(shape));
    const std::span<float> all = floats.mutable_data<float>();
    for (size_t i = 0; i < indices.size(); ++i)
      fill(all.subspan(i * stride, stride), indices[i], position, dtype);
    return cast(floats, dtype);
  }

  Layout layout(const Graph&) const override { return Layout::kAuto; }
  bool is_raw() const override { return false; }
  std::vector<std::string> notes() const override {
    return {
        "THE DATA IS RANDOM NOISE: what is calibrated, pruned or measured with it says nothing "
        "about real inputs; use it to try things out only"};
  }

 private:
  /// Normal by Box and Muller for floats; pixels for 8-bit integers; 0 and 1, which are valid
  /// indices nearly everywhere, for the rest.
  static void fill(std::span<float> values, int64_t index, size_t position, DType dtype) {
    std::mt19937_64 bits(static_cast<uint64_t>(index) * 1000003 + position);
    const auto uniform = [&] { return (static_cast<double>(bits() >> 11) + 0.5) * 0x1p-53; };
    const double levels = dtype == DType::kU8 ? 256 : 2;
    for (float& value : values) {
      const double u = uniform();
      value = static_cast<float>(is_float(dtype) ? std::sqrt(-2 * std::log(u)) *
                                                       std::cos(2 * std::numbers::pi * uniform())
                                                 : std::floor(u * levels));
    }
  }

  int64_t count_;
};

}  // namespace

std::shared_ptr<const SampleSource> make_random_source(int64_t count) {
  return std::make_shared<RandomSource>(count);
}

}  // namespace pare
