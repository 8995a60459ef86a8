#include "passes/lockstep.h"

#include <algorithm>

#include "calib/weighted.h"
#include "exec/engine.h"
#include "ir/slice.h"
#include "support/parallel.h"

namespace pare {
namespace {

/// Position in the changed graph's order of each value's last user in either graph; the outputs
/// of the graph need not be kept.
std::vector<size_t> find_last_uses(const Graph& original, const Graph& changed,
                                   const std::vector<HeldValue>& held) {
  std::vector<size_t> last(changed.value_count(), 0);
  for (size_t position = 0; position < changed.order().size(); ++position) {
    const NodeId id = changed.order()[position];
    const auto note = [&](const Node& node) {
      for (const auto* values : {&node.inputs, &node.outputs}) {
        for (ValueId value : *values) {
          if (value != kNoValue) last[index(value)] = position;
        }
      }
    };
    note(changed.node(id));
    if (index(id) < original.node_count()) note(original.node(id));
    for (const HeldValue& value : held) {
      if (value.node == id) last[index(value.value)] = position;
    }
  }
  return last;
}

int64_t bytes(const TensorType& type) {
  return type.known() ? element_count(type.shape) * static_cast<int64_t>(element_size(type.dtype))
                      : 0;
}

}  // namespace

Lockstep::Lockstep(const Graph& original, const Graph& changed, const Dataset& data,
                   const Settings& settings)
    : original_(original),
      changed_(changed),
      settings_(settings),
      original_values_(changed.value_count()),
      changed_values_(changed.value_count()),
      same_(changed.value_count(), true),
      order_(changed.order()),
      last_use_(find_last_uses(original, changed, settings.held)) {
  PARE_CHECK(std::ranges::count_if(order_, [&](NodeId id) { return in_original(id); }) ==
                 static_cast<int64_t>(original.order().size()),
             "the changed graph lacks nodes of the original");
  const auto total = static_cast<int64_t>(settings.samples.size());
  for (int64_t first = 0; first < total; first += settings.batch) {
    first_.push_back(first);
    count_.push_back(std::min(settings.batch, total - first));
  }
  for (ValueId input : original.inputs()) original_values_[index(input)].resize(first_.size());
  parallel_for(batches(), settings_.threads, [&](int64_t batch) {
    const auto begin = settings_.samples.begin() + first_sample(batch);
    std::vector<Tensor> inputs = data.samples(original, {begin, begin + samples(batch)});
    for (size_t i = 0; i < inputs.size(); ++i)
      original_values_[index(original.inputs()[i])][static_cast<size_t>(batch)] =
          std::move(inputs[i]);
  });
}

const Tensor& Lockstep::original(ValueId id, int64_t batch) const {
  if (const Tensor* constant = original_.constant(id)) return *constant;
  return original_values_[index(id)].at(static_cast<size_t>(batch));
}

const Tensor& Lockstep::changed(ValueId id, int64_t batch) const {
  if (const Tensor* constant = changed_.constant(id)) return *constant;
  return (same(id) ? original_values_ : changed_values_)[index(id)].at(static_cast<size_t>(batch));
}

void Lockstep::run(const Graph& graph, NodeId id, Fetch fetch, Stream& results) {
  const Node& node = graph.node(id);
  for (ValueId output : node.outputs) {
    if (output != kNoValue) results[index(output)].resize(first_.size());
  }
  const auto publish = [&](int64_t batch, std::vector<Tensor> outputs) {
    size_t next = 0;
    for (ValueId output : node.outputs) {
      if (output != kNoValue && next < outputs.size())
        results[index(output)][static_cast<size_t>(batch)] = std::move(outputs[next]);
      next += output != kNoValue;
    }
  };
  const auto for_batches = [&](const std::function<void(int64_t)>& body) {
    with_context([&] { return describe(node); },
                 [&] { parallel_for(batches(), settings_.threads, body); });
  };
  if (weighted_node(graph, id)) {
    const Engine engine(slice(graph, {id}));
    const std::vector<ValueId> operands = computed_operands(graph, {id});
    return for_batches([&](int64_t batch) {
      std::vector<Tensor> inputs;
      for (ValueId input : operands) inputs.push_back((this->*fetch)(input, batch));
      publish(batch, engine.run(inputs));
    });
  }
  for_batches([&](int64_t batch) {
    std::vector<const Tensor*> operands;
    for (ValueId input : node.inputs)
      operands.push_back(input == kNoValue ? nullptr : &(this->*fetch)(input, batch));
    std::vector<Tensor> outputs = evaluate(node, operands), present;
    for (size_t i = 0; i < node.outputs.size() && i < outputs.size(); ++i) {
      if (node.outputs[i] != kNoValue) present.push_back(std::move(outputs[i]));
    }
    publish(batch, std::move(present));
  });
}

void Lockstep::run_original(NodeId id) {
  run(original_, id, &Lockstep::original, original_values_);
}

bool Lockstep::computes_the_same(NodeId id) const {
  if (!in_original(id)) return false;
  const Node &a = original_.node(id), &b = changed_.node(id);
  if (a.inputs != b.inputs || a.attributes != b.attributes) return false;
  return std::ranges::all_of(a.inputs, [&](ValueId input) {
    return input == kNoValue ||
           (same(input) && original_.value(input).constant == changed_.value(input).constant);
  });
}

void Lockstep::run_changed(NodeId id) {
  if (computes_the_same(id)) return;
  for (ValueId output : changed_.node(id).outputs) {
    if (output != kNoValue) same_[index(output)] = false;
  }
  run(changed_, id, &Lockstep::changed, changed_values_);
}

void Lockstep::run_changed_again(const std::vector<NodeId>& nodes) {
  for (NodeId id : nodes) run_changed(id);
  for (NodeId id : nodes) {
    if (id == nodes.back()) break;
    for (ValueId output : changed_.node(id).outputs) {
      const bool held = std::ranges::any_of(
          settings_.held, [&](const HeldValue& value) { return value.value == output; });
      if (output != kNoValue && !held) changed_values_[index(output)].clear();
    }
  }
}

void Lockstep::release(size_t position) {
  const NodeId id = order_[position];
  for (const HeldValue& held : settings_.held) {
    if (held.node != id || last_use_[index(held.value)] > position) continue;
    original_values_[index(held.value)].clear();
    changed_values_[index(held.value)].clear();
  }
  const auto free_values = [&](const Node& node) {
    for (const auto* values : {&node.inputs, &node.outputs}) {
      for (ValueId value : *values) {
        // Constants that were added behind this object's back have no entry.
        if (value == kNoValue || index(value) >= last_use_.size()) continue;
        if (last_use_[index(value)] > position) continue;
        original_values_[index(value)].clear();
        changed_values_[index(value)].clear();
      }
    }
  };
  free_values(changed_.node(id));
  if (in_original(id)) free_values(original_.node(id));
}

int64_t Lockstep::peak_bytes(const Graph& original, const Graph& changed,
                             const std::vector<HeldValue>& held) {
  const std::vector<size_t> last = find_last_uses(original, changed, held);
  std::vector<std::vector<ValueId>> dying(changed.order().size() + 1);
  int64_t alive = 0, peak = 1;
  const auto both = [&](ValueId id) {
    const bool twice = &original != &changed && index(id) < original.value_count();
    return bytes(changed.type(id)) + (twice ? bytes(original.type(id)) : 0);
  };
  for (ValueId id : original.inputs()) alive += both(id), dying[last[index(id)]].push_back(id);
  for (size_t position = 0; position < changed.order().size(); ++position) {
    for (ValueId output : changed.node(changed.order()[position]).outputs) {
      if (output == kNoValue) continue;
      alive += both(output);
      dying[last[index(output)]].push_back(output);
    }
    peak = std::max(peak, alive);
    for (ValueId id : dying[position]) alive -= both(id);
  }
  const Shape& first = original.shape(original.inputs().at(0));
  return std::max<int64_t>(1, peak / (first.empty() ? 1 : std::max<int64_t>(1, first[0])));
}

}  // namespace pare
