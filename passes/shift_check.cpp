#include "passes/shift_check.h"

#include <algorithm>
#include <cmath>

#include "exec/interpreter.h"
#include "passes/shift_rules.h"
#include "passes/shift_simulator.h"

namespace pare {
namespace {

std::vector<int64_t> position(size_t element, const Shape& shape) {
  std::vector<int64_t> at(shape.size(), 0);
  for (size_t axis = shape.size(); axis-- > 0;) {
    const auto extent = static_cast<size_t>(std::max<int64_t>(1, shape[axis]));
    at[axis] = static_cast<int64_t>(element % extent);
    element /= extent;
  }
  return at;
}

/// `expected` are steps of the code, element by element.
TensorMatch match(const Graph& graph, NodeId quantize, const FixedPoint& codes,
                  const std::vector<double>& expected) {
  const Node& node = graph.node(quantize);
  TensorMatch result{.maker = maker_of(graph, quantize),
                     .tensor = graph.value(node.inputs[0]).name,
                     .elements = static_cast<int64_t>(codes.numbers.size())};
  for (size_t i = 0; i < expected.size(); ++i) {
    const double difference = std::abs(expected[i] - static_cast<double>(codes.numbers[i]));
    if (difference < 0.5) continue;
    if (result.different++ == 0) {
      result.at = position(i, codes.shape);
      result.expected = expected[i];
      result.simulated = static_cast<double>(codes.numbers[i]);
    }
    result.largest = std::max(result.largest, static_cast<int64_t>(std::nearbyint(difference)));
  }
  return result;
}

/// Steps of a code at `exponent` that the elements of `tensor` stand for.
std::vector<double> steps_of(const Tensor& tensor, int exponent) {
  const Tensor numbers = cast(tensor, DType::kF64);
  const std::span<const double> data = numbers.data<double>();
  std::vector<double> steps(data.begin(), data.end());
  if (is_float(tensor.dtype()))
    for (double& step : steps) step = std::ldexp(step, -exponent);
  return steps;
}

/// From [N, H, W, C] to [N, C, H, W].
std::vector<double> channels_first(const std::vector<double>& from, const Shape& to) {
  std::vector<double> result(from.size());
  const auto channels = static_cast<size_t>(to[1]);
  const auto places = static_cast<size_t>(to[2] * to[3]);
  for (size_t i = 0; i < from.size(); ++i) {
    const size_t image = i / (channels * places), c = i % channels, p = i / channels % places;
    result[(image * channels + c) * places + p] = from[i];
  }
  return result;
}

std::vector<double> dumped_steps(const Tensor& tensor, const FixedPoint& codes,
                                 const std::string& name) {
  if (tensor.size() != static_cast<int64_t>(codes.numbers.size()))
    throw Error(ErrorKind::kInput, "the dump's '" + name + "' is " + to_string(tensor.type()) +
                                       ", expected " + to_string(codes.shape));
  std::vector<double> steps = steps_of(tensor, codes.exponent);
  const Shape& s = codes.shape;
  const bool last = s.size() == 4 && tensor.shape() == Shape{s[0], s[2], s[3], s[1]};
  return last && tensor.shape() != s ? channels_first(steps, s) : steps;
}

/// The names the stored form of a value may have in a dump.
std::vector<std::string> names_of(const Graph& graph, const Node& quantize) {
  std::vector<std::string> names = {graph.value(quantize.outputs[0]).name,
                                    graph.value(quantize.inputs[0]).name};
  for (const Use& use : graph.value(quantize.outputs[0]).uses)
    names.push_back(graph.value(graph.node(use.node).outputs[0]).name);
  return names;
}

}  // namespace

NodeId maker_of(const Graph& graph, NodeId quantize) {
  NodeId maker = quantize;
  while (const std::optional<NodeId> producer = graph.value(graph.node(maker).inputs[0]).producer) {
    const Node& node = graph.node(*producer);
    if (node.op == "DequantizeLinear") break;
    maker = *producer;
    if (node.def && node.def->quant != Quant::kActivation) break;
  }
  return maker;
}

const Tensor* find_dumped(const std::map<std::string, Tensor>& dump, const std::string& name) {
  auto found = dump.find(name);
  if (found == dump.end()) {
    std::string plain = name;
    std::ranges::replace_if(
        plain, [](char c) { return c == '/' || c == '\\' || c == ':' || c == '?'; }, '_');
    found = dump.find(plain);
  }
  return found == dump.end() ? nullptr : &found->second;
}

std::vector<TensorMatch> compare_with_float(const Graph& graph, const std::vector<Tensor>& inputs,
                                            ShiftRounding rounding) {
  std::map<ValueId, Tensor> stored;
  execute(graph, inputs, [&](ValueId id, const Tensor& tensor) {
    const Node* quantizer = quantizer_of(graph, id);
    if (quantizer && quantizer->op == "QuantizeLinear") stored.emplace(id, tensor);
  });
  std::vector<TensorMatch> matches;
  simulate_shifts(graph, inputs, rounding, [&](NodeId id, const FixedPoint& codes) {
    const Tensor& expected = stored.at(graph.node(id).outputs[0]);
    matches.push_back(match(graph, id, codes, steps_of(expected, codes.exponent)));
  });
  return matches;
}

std::vector<TensorMatch> compare_with_dump(const Graph& graph, const std::vector<Tensor>& inputs,
                                           ShiftRounding rounding,
                                           const std::map<std::string, Tensor>& dump) {
  std::vector<TensorMatch> matches;
  simulate_shifts(graph, inputs, rounding, [&](NodeId id, const FixedPoint& codes) {
    for (const std::string& name : names_of(graph, graph.node(id))) {
      const Tensor* found = find_dumped(dump, name);
      if (!found) continue;
      matches.push_back(match(graph, id, codes, dumped_steps(*found, codes, name)));
      return;
    }
  });
  return matches;
}

}  // namespace pare
