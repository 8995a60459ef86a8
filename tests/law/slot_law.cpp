#include "law/slot_law.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "exec/interpreter.h"
#include "ops/ops.h"
#include "passes/remove_slots.h"

namespace pare {
namespace {

/// Groups that constants reach, that are not pinned and that leave something of every axis.
std::set<uint32_t> removable_groups(const Graph& graph, const ChannelSlots& slots) {
  std::set<uint32_t> groups, whole_axes;
  for (uint32_t i = 0; i < graph.value_count(); ++i) {
    const Value& value = graph.value(ValueId{i});
    for (int axis = 0; axis < static_cast<int>(value.type.shape.size()); ++axis) {
      const Dim dim{ValueId{i}, axis};
      std::set<uint32_t> of_axis;
      for (int64_t index = 0; index < slots.extent(dim); ++index)
        of_axis.insert(slots.group_of(dim, index));
      if (of_axis.size() == 1) whole_axes.insert(*of_axis.begin());
      if (value.constant) groups.insert(of_axis.begin(), of_axis.end());
    }
  }
  std::erase_if(groups, [&](uint32_t g) { return slots.pinned(g) || whole_axes.contains(g); });
  return groups;
}

/// Sets the slices of `doomed` groups to zero in every constant but those that hold indices.
Graph zeroed(Graph graph, const ChannelSlots& slots, const std::set<uint32_t>& doomed) {
  for (uint32_t i = 0; i < graph.value_count(); ++i) {
    const ValueId id{i};
    if (!graph.constant(id) || graph.type(id).dtype != DType::kF32) continue;
    if (graph.constant(id)->size() == 0) continue;
    Tensor tensor = *graph.constant(id);
    const Shape shape = tensor.shape();
    int64_t inner = tensor.size();
    for (size_t axis = 0; axis < shape.size(); ++axis) {
      inner /= shape[axis];
      for (int64_t at = 0; at < tensor.size(); ++at) {
        const int64_t index = at / inner % shape[axis];
        if (doomed.contains(slots.group_of({id, static_cast<int>(axis)}, index)))
          tensor.mutable_data<float>()[static_cast<size_t>(at)] = 0;
      }
    }
    graph.set_constant(id, std::move(tensor));
  }
  return graph;
}

/// True when some axis would lose its last index.
bool empties_an_axis(const Graph& graph, const ChannelSlots& slots,
                     const std::set<uint32_t>& doomed) {
  for (uint32_t i = 0; i < graph.value_count(); ++i) {
    const auto rank = static_cast<int>(graph.type(ValueId{i}).shape.size());
    for (int axis = 0; axis < rank; ++axis) {
      const Dim dim{ValueId{i}, axis};
      const auto gone = [&](uint32_t g) { return doomed.contains(g); };
      if (slots.extent(dim) > 0 && slots.surviving(dim, gone).empty()) return true;
    }
  }
  return false;
}

/// Inputs at another batch than the bound one, where the batch is symbolic.
std::vector<Tensor> draw_inputs(LawGraph& law) {
  std::vector<Tensor> inputs;
  for (ValueId id : law.graph.inputs()) {
    Shape shape = law.graph.shape(id);
    const std::vector<std::string>& symbols = law.graph.value(id).dim_symbols;
    for (size_t a = 0; a < symbols.size(); ++a) shape[a] += symbols[a].empty() ? 0 : 2;
    inputs.push_back(law.normal(shape));
  }
  return inputs;
}

double largest_difference(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  double worst = 0;
  for (size_t k = 0; k < a.size(); ++k) {
    if (a[k].shape() != b[k].shape()) return INFINITY;
    for (size_t i = 0; i < a[k].data<float>().size(); ++i) {
      const double scale = 1 + std::abs(static_cast<double>(a[k].data<float>()[i]));
      const double difference = std::abs(static_cast<double>(a[k].data<float>()[i]) -
                                         static_cast<double>(b[k].data<float>()[i]));
      worst = std::max(worst, std::isnan(difference) ? INFINITY : difference / scale);
    }
  }
  return worst;
}

}  // namespace

LawGraph::LawGraph(uint32_t seed, int64_t opset) : graph(onnx_ops()), random_(seed) {
  graph.set_opset("", opset);
}

int64_t LawGraph::pick(int64_t low, int64_t high) {
  return low + static_cast<int64_t>(random_()) % (high - low + 1);
}

Tensor LawGraph::normal(Shape shape) {
  std::normal_distribution<float> distribution;
  std::vector<float> values(static_cast<size_t>(element_count(shape)));
  for (float& value : values) value = distribution(random_);
  return Tensor(std::move(shape), values);
}

ValueId LawGraph::input(Shape shape) {
  return graph.add_input("x", {DType::kF32, std::move(shape)});
}

ValueId LawGraph::batch_input(Shape shape) {
  std::vector<std::string> symbols(shape.size());
  symbols[0] = "N";
  return graph.add_input("x", {DType::kF32, std::move(shape)}, std::move(symbols));
}

ValueId LawGraph::weight(Shape shape) { return graph.add_constant("w", normal(std::move(shape))); }

ValueId LawGraph::positive_weight(Shape shape) {
  Tensor tensor = normal(std::move(shape));
  for (float& value : tensor.mutable_data<float>()) value = 0.5f + std::abs(value);
  return graph.add_constant("w", std::move(tensor));
}

ValueId LawGraph::node(std::string_view op, std::vector<ValueId> inputs, Attributes attributes,
                       size_t outputs) {
  return graph.add_node(op, std::move(inputs), std::move(attributes), {}, outputs);
}

ValueId LawGraph::pointwise(ValueId x, int64_t channels) {
  Shape w(shape(x).size(), 1);
  w[0] = channels, w[1] = this->channels(x);
  return node("Conv", {x, weight(w), weight({channels})});
}

LawResult check_slot_law(LawGraph& law) {
  constexpr double kTolerance = 2e-4;  // Removal changes the order of float sums.
  constexpr int kMixtures = 4;
  const Graph& graph = law.graph;
  verify(graph);
  const ChannelSlots slots = ChannelSlots::analyze(graph);
  const std::vector<Tensor> inputs = draw_inputs(law);
  const std::vector<Tensor> original = execute(graph, inputs);
  LawResult result;
  const auto check = [&](const std::set<uint32_t>& doomed) {
    const std::vector<Tensor> expected = execute(zeroed(graph, slots, doomed), inputs);
    Graph smaller = graph;
    remove_slots(smaller, slots, [&](uint32_t g) { return doomed.contains(g); });
    verify(smaller);
    const double difference = largest_difference(expected, execute(smaller, inputs));
    EXPECT_LT(difference, kTolerance)
        << doomed.size() << " groups from " << *doomed.begin() << " on, of\n"
        << to_text(graph);
    return largest_difference(original, expected) > kTolerance;
  };
  const std::set<uint32_t> groups = removable_groups(graph, slots);
  for (uint32_t group : groups) {
    ++result.free_groups;
    result.effective += check({group});
  }
  for (int i = 0; i < kMixtures; ++i) {
    std::set<uint32_t> doomed;
    for (uint32_t group : groups) {
      if (law.pick(0, 2) == 0) doomed.insert(group);
    }
    if (doomed.size() > 1 && !empties_an_axis(graph, slots, doomed)) check(doomed);
  }
  return result;
}

}  // namespace pare
