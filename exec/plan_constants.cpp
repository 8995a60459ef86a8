// Weights of a plan: the graph's own or packed, and how long the graph's are needed.

#include <algorithm>

#include "exec/plan_builder.h"

namespace pare {

void PlanBuilder::count_constants(const std::vector<FusedNode>& groups) {
  std::vector<size_t> last_of_node(graph().node_count());
  std::vector<bool> grouped(graph().node_count());
  size_t count = 0;
  for (const FusedNode& group : groups) {
    count += group.nodes.size();
    for (NodeId id : group.nodes) {
      last_of_node[index(id)] = count - 1;
      grouped[index(id)] = true;
    }
  }
  // A node in no group (a DequantizeLinear) is evaluated where a group that reads its result has to
  // be evaluated; so its operands are needed as long as those of its users.
  const std::vector<NodeId>& order = graph().order();
  for (auto id = order.rbegin(); id != order.rend(); ++id) {
    if (grouped[index(*id)]) continue;
    size_t& last = last_of_node[index(*id)];
    for (ValueId output : graph().node(*id).outputs) {
      if (output == kNoValue) continue;
      for (const Use& use : graph().value(output).uses)
        last = std::max(last, last_of_node[index(use.node)]);
    }
  }
  done_.resize(count);
  for (uint32_t i = 0; i < graph().value_count() && count > 0; ++i) {
    const ValueId id{i};
    if (!graph().value(id).constant || graph().is_output(id)) continue;
    size_t last = 0;
    for (const Use& use : graph().value(id).uses)
      last = std::max(last, last_of_node[index(use.node)]);
    done_[last].push_back(id);
  }
}

SlotId PlanBuilder::constant_slot(ValueId id) {
  std::vector<SlotId>& slots = slots_of_[index(id)];
  if (slots.empty()) {
    const TensorRef& tensor = graph().value(id).constant;
    PARE_CHECK(tensor != nullptr, "a value is read before it is computed");
    Slot slot{.desc = plain_desc_of(id), .home = Home::kConstant, .place = code_.constants.size()};
    code_.constants.push_back({.owner = tensor, .data = tensor->bytes().data()});
    slots.push_back(add_slot(std::move(slot)));
  }
  return slots[0];
}

SlotId PlanBuilder::pack(const Tensor& tensor, const Desc& from, const Desc& to) {
  ConstantBytes bytes{.packed_bytes = to.get_size()};
  if (code_.packs) {
    const auto memory = std::make_shared<dnnl::memory>(to, engine());
    // Reading is all a reorder does with its source.
    dnnl::memory source(from, engine(), const_cast<std::byte*>(tensor.bytes().data()));
    dnnl::stream stream(engine());
    dnnl::reorder(source, *memory).execute(stream, source, *memory);
    stream.wait();
    bytes.data = memory->get_data_handle();
    bytes.owner = memory;
  }
  code_.constants.push_back(std::move(bytes));
  return add_slot({.desc = to, .home = Home::kConstant, .place = code_.constants.size() - 1});
}

void PlanBuilder::release_constants() {
  for (; released_ <= position_; ++released_) {
    for (ValueId id : done_[released_]) {
      if (evaluated_[index(id)]) continue;
      const std::vector<SlotId>& slots = slots_of_[index(id)];
      if (!slots.empty()) {  // The first is of the tensor's own bytes.
        ConstantBytes& bytes = code_.constants[code_.slots[slots[0]].place];
        if (!bytes.read) bytes = {};
      }
      code_.graph.forget_elements(id);
    }
  }
}

}  // namespace pare
