#include "passes/lockstep.h"

#include <algorithm>

#include "calib/weighted.h"
#include "exec/engine.h"
#include "ir/slice.h"
#include "support/memory.h"
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

/// Samples that the inferred shapes are of.
int64_t inferred_batch(const Graph& graph) {
  const Shape& first = graph.shape(graph.inputs().at(0));
  return first.empty() ? 1 : std::max<int64_t>(1, first[0]);
}

/// So much of freed activations is given back to the system at once [bytes].
constexpr int64_t kWorthReturning = int64_t{64} << 20;

StoredTensor stored(Tensor tensor, bool packed) {
  return packed ? StoredTensor::packed(tensor) : StoredTensor::exact(std::move(tensor));
}

/// What a convolution makes of images, one by one: the layouts it works in then stay in the cache.
Tensor run_image_by_image(const Engine& convolution, const Tensor& images) {
  const int64_t count = images.shape()[0];
  Shape one = images.shape();
  one[0] = 1;
  const size_t size = images.bytes().size() / static_cast<size_t>(count);
  Tensor results;
  for (int64_t i = 0; i < count; ++i) {
    const auto bytes = images.bytes().subspan(static_cast<size_t>(i) * size, size);
    const Tensor result =
        convolution.run({Tensor::view(images.dtype(), one, nullptr, bytes)}).at(0);
    if (i == 0) {
      Shape shape = result.shape();
      shape[0] = count;
      results = Tensor::uninitialized(result.dtype(), shape);
    }
    std::ranges::copy(result.bytes(),
                      results.mutable_bytes().begin() + i * std::ssize(result.bytes()));
  }
  return results;
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
      position_(changed.node_count()),
      last_use_(find_last_uses(original, changed, settings.held)) {
  PARE_CHECK(std::ranges::count_if(order_, [&](NodeId id) { return in_original(id); }) ==
                 static_cast<int64_t>(original.order().size()),
             "the changed graph lacks nodes of the original");
  for (size_t i = 0; i < order_.size(); ++i) position_[index(order_[i])] = i;
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
          stored(std::move(inputs[i]), settings_.packed);
  });
}

Tensor Lockstep::original(ValueId id, int64_t batch) const {
  if (const Tensor* constant = original_.constant(id)) return *constant;
  return original_values_[index(id)].at(static_cast<size_t>(batch)).tensor();
}

Tensor Lockstep::changed(ValueId id, int64_t batch) const {
  if (const Tensor* constant = changed_.constant(id)) return *constant;
  return (same(id) ? original_values_ : changed_values_)[index(id)]
      .at(static_cast<size_t>(batch))
      .tensor();
}

const Shape& Lockstep::original_shape(ValueId id, int64_t batch) const {
  if (const Tensor* constant = original_.constant(id)) return constant->shape();
  return original_values_[index(id)].at(static_cast<size_t>(batch)).shape();
}

void Lockstep::run(const Graph& graph, NodeId id, Fetch fetch, Stream& results,
                   const Dying& dying) {
  const Node& node = graph.node(id);
  for (ValueId output : node.outputs) {
    if (output != kNoValue) results[index(output)].resize(first_.size());
  }
  const auto publish = [&](int64_t batch, std::vector<Tensor> outputs) {
    size_t next = 0;
    for (ValueId output : node.outputs) {
      if (output != kNoValue && next < outputs.size())
        results[index(output)][static_cast<size_t>(batch)] =
            stored(std::move(outputs[next]), settings_.packed);
      next += output != kNoValue;
    }
    for (std::vector<StoredTensor>* batches : dying) (*batches)[static_cast<size_t>(batch)] = {};
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
      publish(batch, node.op == "Conv" && inputs.size() == 1
                         ? std::vector{run_image_by_image(engine, inputs[0])}
                         : engine.run(inputs));
    });
  }
  for_batches([&](int64_t batch) {
    std::vector<Tensor> inputs;
    for (ValueId input : node.inputs)
      inputs.push_back(input == kNoValue ? Tensor() : (this->*fetch)(input, batch));
    std::vector<const Tensor*> operands;
    for (size_t i = 0; i < inputs.size(); ++i)
      operands.push_back(node.inputs[i] == kNoValue ? nullptr : &inputs[i]);
    std::vector<Tensor> outputs = evaluate(node, operands), present;
    for (size_t i = 0; i < node.outputs.size() && i < outputs.size(); ++i) {
      if (node.outputs[i] != kNoValue) present.push_back(std::move(outputs[i]));
    }
    publish(batch, std::move(present));
  });
}

Lockstep::Dying Lockstep::dying(
    const Graph& graph, NodeId id,
    const std::function<std::vector<StoredTensor>*(ValueId)>& kept_at) const {
  Dying result;
  for (ValueId input : graph.node(id).inputs) {
    // Constants that were added behind this object's back have no entry.
    if (input == kNoValue || index(input) >= last_use_.size() ||
        last_use_[index(input)] != position_[index(id)])
      continue;
    std::vector<StoredTensor>* batches = kept_at(input);
    if (batches && !batches->empty()) result.push_back(batches);
  }
  return result;
}

Lockstep::Dying Lockstep::dying_in_original(NodeId id) {
  // What both graphs have is read once more, by a fit or by the changed node.
  const bool once =
      !weighted_node(original_, id) && (&original_ == &changed_ || computes_the_same(id));
  return dying(original_, id, [&](ValueId input) {
    return once || !same(input) ? &original_values_[index(input)] : nullptr;
  });
}

Lockstep::Dying Lockstep::dying_in_changed(NodeId id) {
  return dying(changed_, id, [&](ValueId input) {
    return &(same(input) ? original_values_ : changed_values_)[index(input)];
  });
}

void Lockstep::run_original(NodeId id) {
  run(original_, id, &Lockstep::original, original_values_, dying_in_original(id));
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
  run(changed_, id, &Lockstep::changed, changed_values_, dying_in_changed(id));
}

void Lockstep::run_changed_again(const std::vector<NodeId>& nodes) {
  std::vector<ValueId> held;
  for (const HeldValue& value : settings_.held) held.push_back(value.value);
  const std::vector<ValueId> results = results_of(changed_, nodes, held);
  for (NodeId id : nodes) {
    for (ValueId output : changed_.node(id).outputs) {
      if (output != kNoValue) same_[index(output)] = false;
    }
  }
  for (ValueId result : results) changed_values_[index(result)].resize(first_.size());
  const Engine engine(slice(changed_, nodes, held));
  const std::vector<ValueId> operands = computed_operands(changed_, nodes);
  with_context([&] { return describe(changed_.node(nodes[0])); },
               [&] {
                 parallel_for(batches(), settings_.threads, [&](int64_t batch) {
                   std::vector<Tensor> inputs;
                   for (ValueId operand : operands) inputs.push_back(changed(operand, batch));
                   std::vector<Tensor> made = engine.run(inputs);
                   for (size_t i = 0; i < results.size(); ++i)
                     changed_values_[index(results[i])][static_cast<size_t>(batch)] =
                         stored(std::move(made[i]), settings_.packed);
                 });
               });
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
        if (!changed_.constant(value))
          freed_ += bytes_per_sample(changed_, value) * std::ssize(settings_.samples);
      }
    }
  };
  free_values(changed_.node(id));
  if (in_original(id)) free_values(original_.node(id));
  if (freed_ < kWorthReturning) return;
  return_free_memory();
  freed_ = 0;
}

size_t end_of_fits(const Graph& changed) {
  size_t end = changed.order().size();
  while (end > 0 && !weighted_node(changed, changed.order()[end - 1])) --end;
  return end;
}

int64_t bytes_per_sample(const Graph& graph, ValueId id) {
  const int64_t batch = inferred_batch(graph);
  return (bytes(graph.type(id)) + batch - 1) / batch;
}

std::vector<LockstepBytes> lockstep_bytes(const Graph& original, const Graph& changed,
                                          const std::vector<HeldValue>& held) {
  const std::vector<size_t> last = find_last_uses(original, changed, held);
  const bool beside_itself = &original == &changed;
  const int64_t batch = inferred_batch(original);
  std::vector<std::vector<ValueId>> dying(changed.order().size() + 1);
  struct Both {  // Of a value, in either graph.
    int64_t original = 0, changed = 0;
    int64_t sum() const { return original + changed; }
  };
  const auto both = [&](ValueId id) {
    const bool twice = !beside_itself && index(id) < original.value_count();
    return Both{twice ? bytes(original.type(id)) : 0, bytes(changed.type(id))};
  };
  int64_t alive = 0;
  for (ValueId id : original.inputs())
    alive += both(id).sum(), dying[last[index(id)]].push_back(id);
  std::vector<LockstepBytes> result(end_of_fits(changed));
  for (size_t position = 0; position < result.size(); ++position) {
    const NodeId id = changed.order()[position];
    const Node& node = changed.node(id);
    Both made, gone;
    const auto add = [&](Both& sum, ValueId value) {
      sum.original += both(value).original, sum.changed += both(value).changed;
    };
    for (ValueId output : node.outputs) {
      if (output != kNoValue) add(made, output), dying[last[index(output)]].push_back(output);
    }
    for (ValueId input : computed_operands(changed, {id}))
      result[position].in_work += std::max(both(input).original, both(input).changed);
    result[position].in_work += std::max(made.original, made.changed);
    for (ValueId value : dying[position]) {
      if (std::ranges::find(node.inputs, value) != node.inputs.end()) add(gone, value);
    }
    if (beside_itself && weighted_node(changed, id)) gone = {};
    const int64_t after = alive + made.original - gone.original;
    result[position].kept = std::max({alive, after, after + made.changed - gone.changed});
    alive += made.sum();
    for (ValueId value : dying[position]) alive -= both(value).sum();
  }
  for (LockstepBytes& entry : result) {
    entry.kept = (entry.kept + batch - 1) / batch;
    entry.in_work = (entry.in_work + batch - 1) / batch;
  }
  return result;
}

}  // namespace pare
