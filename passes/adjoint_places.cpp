#include "passes/adjoint_places.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <span>

#include "exec/interpreter.h"

namespace pare {
namespace {

/// The node's first operand made of `element` (channel, place along `axis`), batch 1, and its
/// result `output`; nothing where other operands are not constant.
std::optional<Tensor> run_on(const Graph& graph, const Node& node, size_t output, size_t axis,
                             const std::function<float(int64_t, int64_t)>& element) {
  Shape shape = graph.shape(node.inputs[0]);
  shape[0] = 1;
  int64_t inner = 1;
  for (size_t i = axis + 1; i < shape.size(); ++i) inner *= shape[i];
  const int64_t channel = element_count(shape) / std::max<int64_t>(1, shape[1]);
  Tensor first = Tensor::uninitialized(DType::kF32, shape);
  int64_t at = 0;
  for (float& x : first.mutable_data<float>()) {
    x = element(at / channel, at / inner % shape[axis]);
    ++at;
  }
  std::vector<const Tensor*> operands{&first};
  for (ValueId input : std::span(node.inputs).subspan(1)) {
    operands.push_back(input == kNoValue ? nullptr : graph.constant(input));
    if (input != kNoValue && !operands.back()) return {};
  }
  return evaluate(node, operands)[output];
}

/// The largest element at each place along an axis, of some channel (of all when negative).
std::vector<float> largest_along(const Tensor& tensor, size_t axis, int64_t channel) {
  const Shape& shape = tensor.shape();
  int64_t inner = 1;
  for (size_t i = axis + 1; i < shape.size(); ++i) inner *= shape[i];
  const int64_t plane = tensor.size() / std::max<int64_t>(1, shape[1]);
  std::vector<float> result(static_cast<size_t>(shape[axis]));
  const std::span<const float> elements = tensor.data<float>();
  for (int64_t i = 0; i < tensor.size(); ++i) {
    if (channel >= 0 && i / plane != channel) continue;
    float& largest = result[static_cast<size_t>(i / inner % shape[axis])];
    largest = std::max(largest, elements[static_cast<size_t>(i)]);
  }
  return result;
}

}  // namespace

ValueId gather_along(Graph& graph, ValueId value, size_t axis, const std::vector<int64_t>& places) {
  const ValueId indices = graph.add_constant("places", Tensor(Shape{std::ssize(places)}, places));
  return graph.add_node("Gather", {value, indices}, {{"axis", static_cast<int64_t>(axis)}});
}

std::vector<int64_t> picked_along(const Graph& graph, const Node& node, size_t output,
                                  size_t axis) {
  const std::optional<Tensor> result =
      run_on(graph, node, output, axis,
             [](int64_t, int64_t place) { return static_cast<float>(1 + place); });
  std::vector<int64_t> picked;
  if (!result) return picked;
  for (float place : largest_along(*result, axis, -1))
    picked.push_back(static_cast<int64_t>(place));
  return picked;
}

std::optional<ValueId> put_back(Graph& graph, ValueId value, size_t axis,
                                const std::vector<int64_t>& picked, int64_t extent) {
  const auto none = static_cast<int64_t>(picked.size());
  std::vector<int64_t> from(static_cast<size_t>(extent), none);
  for (int64_t i = 0; i < none; ++i) {
    const int64_t place = picked[static_cast<size_t>(i)];
    if (place == 0) continue;
    int64_t& source = from[static_cast<size_t>(place - 1)];
    if (source != none) return {};
    source = i;
  }
  std::vector<int64_t> same(picked.size());
  std::iota(same.begin(), same.end(), int64_t{0});
  if (from == same) return value;
  const ValueId one = gather_along(graph, value, axis, {0});
  const ValueId zero = graph.add_node("Sub", {one, one});
  const ValueId padded =
      graph.add_node("Concat", {value, zero}, {{"axis", static_cast<int64_t>(axis)}});
  return gather_along(graph, padded, axis, from);
}

std::optional<std::vector<Tensor>> axis_matrices(const Graph& graph, const Node& node) {
  const Shape &x = graph.shape(node.inputs[0]), &y = graph.shape(node.outputs[0]);
  if (x.size() != 4 || y.size() != 4 || x[1] != y[1]) return {};
  if (node.attribute<std::string>("mode", "nearest") == "cubic") return {};
  std::vector<Tensor> matrices;
  for (const size_t axis : {size_t{2}, size_t{3}}) {
    Tensor& matrix = matrices.emplace_back(Tensor::uninitialized(DType::kF32, {y[axis], x[axis]}));
    const std::span<float> elements = matrix.mutable_data<float>();
    for (int64_t first = 0; first < x[axis]; first += x[1]) {  // A channel for each unit vector.
      const std::optional<Tensor> result = run_on(
          graph, node, 0, axis,
          [&](int64_t channel, int64_t place) { return place == first + channel ? 1.0f : 0.0f; });
      if (!result) return {};
      for (int64_t c = 0; c < std::min(x[1], x[axis] - first); ++c) {
        const std::vector<float> column = largest_along(*result, axis, c);
        for (int64_t o = 0; o < y[axis]; ++o)
          elements[static_cast<size_t>(o * x[axis] + first + c)] = column[static_cast<size_t>(o)];
      }
    }
  }
  return matrices;
}

}  // namespace pare
