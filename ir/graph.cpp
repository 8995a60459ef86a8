#include "ir/graph.h"

#include <algorithm>

namespace pare {
namespace {

/// Shape arithmetic is small; anything larger is data and stays uncomputed.
constexpr int64_t kMaxPropagatedElements = 4096;

std::string normal_domain(std::string_view domain) {
  return domain == "ai.onnx" ? std::string() : std::string(domain);
}

/// Throws Error(kInput) for too few or too many operands, or a required one that is left out.
void check_arity(const OpDef& def, const std::vector<Operand>& operands) {
  const int count = static_cast<int>(operands.size());
  if (count < def.min_inputs || count > def.max_inputs)
    throw Error(ErrorKind::kInput, "has " + std::to_string(count) + " inputs, takes " +
                                       std::to_string(def.min_inputs) + " to " +
                                       std::to_string(def.max_inputs));
  for (int i = 0; i < def.min_inputs; ++i) {
    if (!operands[static_cast<size_t>(i)])
      throw Error(ErrorKind::kInput, "input " + std::to_string(i) + " is required but left out");
  }
}

}  // namespace

const OpDef* OpTable::find(std::string_view domain, std::string_view name) const {
  if (domain == "ai.onnx") domain = {};
  const auto it = std::ranges::find_if(
      rows_, [&](const OpDef* row) { return row->name == name && row->domain == domain; });
  return it == rows_.end() ? nullptr : *it;
}

std::string describe(const Node& node) { return "node '" + node.name + "' (" + node.op + ")"; }

// -- Building ------------------------------------------------------------------

ValueId Graph::add_value(Value value) {
  ++revision_;
  const ValueId id{value_count()};
  PARE_CHECK(names_.emplace(value.name, id).second, "value name '" + value.name + "' is taken");
  values_.push_back(std::move(value));
  return id;
}

ValueId Graph::add_input(const std::string& name, TensorType type,
                         std::vector<std::string> dim_symbols) {
  Value value{.name = unique_name(name), .type = std::move(type)};
  value.dynamic = std::ranges::any_of(dim_symbols, [](const auto& s) { return !s.empty(); });
  value.dim_symbols = std::move(dim_symbols);
  inputs_.push_back(add_value(std::move(value)));
  return inputs_.back();
}

ValueId Graph::add_constant(const std::string& name, Tensor tensor) {
  TensorType type = tensor.type();
  return add_value({.name = unique_name(name),
                    .type = std::move(type),
                    .constant = std::make_shared<Tensor>(std::move(tensor))});
}

ValueId Graph::add_node(std::string_view op, std::vector<ValueId> inputs, Attributes attributes,
                        std::string name, size_t outputs) {
  return add_node_at(order_.size(), op, std::move(inputs), std::move(attributes), std::move(name),
                     outputs);
}

ValueId Graph::insert_node(NodeId before, std::string_view op, std::vector<ValueId> inputs,
                           Attributes attributes, std::string name, size_t outputs) {
  const auto position = std::ranges::find(order_, before);
  PARE_CHECK(position != order_.end(), "insert_node before a removed node");
  return add_node_at(static_cast<size_t>(position - order_.begin()), op, std::move(inputs),
                     std::move(attributes), std::move(name), outputs);
}

ValueId Graph::add_node_at(size_t position, std::string_view op, std::vector<ValueId> inputs,
                           Attributes attributes, std::string name, size_t outputs) {
  ++revision_;
  const NodeId id{node_count()};
  std::string domain;
  if (const size_t colon = op.rfind(':'); colon != std::string_view::npos) {
    domain = op.substr(0, colon);
    op.remove_prefix(colon + 1);
    if (opset(domain) == 0) set_opset(domain, 1);
  }
  if (name.empty()) name = std::string(op) + "_" + std::to_string(node_count());
  name = unique_node_name(name);
  Node& node = nodes_.emplace_back();
  node.op = op;
  node.def = ops_->find(domain, op);
  if (const int64_t version = opset(domain); version > 0) node.opset = version;
  node.domain = std::move(domain);
  node.inputs = std::move(inputs);
  node.attributes = std::move(attributes);
  for (size_t i = 0; i < outputs; ++i) {
    const std::string suffix = outputs == 1 ? "_out" : "_out" + std::to_string(i);
    node.outputs.push_back(
        add_value({.name = unique_name(name + suffix), .type = TensorType::unknown()}));
  }
  node.name = std::move(name);
  order_.insert(order_.begin() + static_cast<ptrdiff_t>(position), id);
  attach(id);
  infer_types(id);
  return node.outputs.front();
}

std::string Graph::unique_node_name(const std::string& wish) const {
  const auto taken = [&](const std::string& name) {
    return std::ranges::any_of(order_, [&](NodeId id) { return node(id).name == name; });
  };
  std::string name = wish;
  for (int64_t i = 1; taken(name); ++i) name = wish + "_" + std::to_string(i);
  return name;
}

NodeId Graph::add_imported_node(Node node, bool opaque) {
  ++revision_;
  const NodeId id{node_count()};
  node.def = opaque ? nullptr : ops_->find(node.domain, node.op);
  nodes_.push_back(std::move(node));
  order_.push_back(id);
  attach(id);
  return id;
}

void Graph::mark_input(ValueId id) {
  ++revision_;
  inputs_.push_back(id);
}

void Graph::set_declaration(ValueId id, OpaqueRef declaration) {
  ++revision_;
  mutable_value(id).declaration = std::move(declaration);
}

void Graph::set_outputs(std::vector<ValueId> outputs) {
  if (outputs == outputs_) return;
  ++revision_;
  outputs_ = std::move(outputs);
}

void Graph::set_opset(const std::string& domain, int64_t version) {
  int64_t& entry = opsets_[normal_domain(domain)];
  if (entry == version) return;
  ++revision_;
  entry = version;
}

// -- Reading -------------------------------------------------------------------

const Shape& Graph::shape(ValueId id) const {
  const Value& value = this->value(id);
  if (!value.type.known())
    throw Error(ErrorKind::kUnsupported, "the shape of '" + value.name + "' is " +
                                             to_string(value.type) + ", known only when running");
  return value.type.shape;
}

const Tensor* Graph::constant(ValueId id) const {
  return id == kNoValue ? nullptr : value(id).constant.get();
}

std::vector<Operand> Graph::operands(const Node& node) const {
  std::vector<Operand> operands(node.inputs.size() - node.captures);
  for (size_t i = 0; i < operands.size(); ++i) {
    if (node.inputs[i] == kNoValue) continue;
    const Value& input = value(node.inputs[i]);
    operands[i] = {&input.type, input.constant ? input.constant.get() : input.known.get()};
  }
  return operands;
}

std::vector<TensorType> Graph::output_types(const Node& node) const {
  std::vector<TensorType> types;
  for (ValueId output : node.outputs)
    types.push_back(output == kNoValue ? TensorType::unknown() : type(output));
  return types;
}

bool Graph::is_output(ValueId id) const {
  return std::ranges::find(outputs_, id) != outputs_.end();
}

std::optional<NodeId> Graph::sole_user(ValueId id) const {
  const std::vector<Use>& uses = value(id).uses;
  if (uses.size() != 1 || is_output(id)) return {};
  return uses[0].node;
}

int64_t Graph::opset(const std::string& domain) const {
  const auto it = opsets_.find(normal_domain(domain));
  return it == opsets_.end() ? 0 : it->second;
}

std::string Graph::unique_name(const std::string& wish) const {
  if (!names_.contains(wish) && !wish.empty()) return wish;
  for (int64_t i = 1;; ++i) {
    std::string name = wish + "_" + std::to_string(i);
    if (!names_.contains(name)) return name;
  }
}

// -- Changing ------------------------------------------------------------------

void Graph::attach(NodeId id) {
  const Node& node = this->node(id);
  for (uint32_t slot = 0; slot < node.inputs.size(); ++slot) {
    if (node.inputs[slot] != kNoValue) mutable_value(node.inputs[slot]).uses.push_back({id, slot});
  }
  for (ValueId output : node.outputs) {
    if (output != kNoValue) mutable_value(output).producer = id;
  }
}

void Graph::detach(NodeId id) {
  for (ValueId input : node(id).inputs) {
    if (input != kNoValue)
      std::erase_if(mutable_value(input).uses, [&](const Use& use) { return use.node == id; });
  }
}

void Graph::set_constant(ValueId id, Tensor tensor) {
  Value& value = mutable_value(id);
  PARE_CHECK(value.constant, "set_constant on a value that is no constant");
  if (identical(*value.constant, tensor)) return;
  ++revision_;
  value.type = tensor.type();
  value.constant = std::make_shared<Tensor>(std::move(tensor));
}

void Graph::forget_elements(ValueId id) {
  Value& value = mutable_value(id);
  PARE_CHECK(value.constant, "forget_elements of a value that is no constant");
  ++revision_;
  value.constant = std::make_shared<const Tensor>(Tensor::without_elements(value.type));
}

void Graph::make_constant(ValueId id, Tensor tensor) {
  ++revision_;
  Value& value = mutable_value(id);
  PARE_CHECK(value.producer && !value.constant, "make_constant on a value nothing computes");
  Node& producer = mutable_node(*value.producer);
  std::ranges::replace(producer.outputs, id, kNoValue);
  value.producer.reset();
  value.type = tensor.type();
  value.known = nullptr;
  value.dynamic = false;
  value.constant = std::make_shared<Tensor>(std::move(tensor));
}

void Graph::set_attribute(NodeId id, std::string key, Attribute attribute) {
  Attributes& attributes = mutable_node(id).attributes;
  const auto it = attributes.find(key);
  if (it != attributes.end() && it->second == attribute) return;
  ++revision_;
  attributes.insert_or_assign(std::move(key), std::move(attribute));
}

void Graph::remove_attribute(NodeId id, std::string_view key) {
  Attributes& attributes = mutable_node(id).attributes;
  const auto it = attributes.find(key);
  if (it == attributes.end()) return;
  ++revision_;
  attributes.erase(it);
}

void Graph::set_inputs(NodeId id, std::vector<ValueId> inputs) {
  if (node(id).inputs == inputs) return;
  ++revision_;
  detach(id);
  mutable_node(id).inputs = std::move(inputs);
  attach(id);
}

void Graph::set_input(NodeId id, size_t slot, ValueId value) {
  std::vector<ValueId> inputs = node(id).inputs;
  PARE_CHECK(node(id).captures == 0 || slot < inputs.size(), "set_input behind captured values");
  if (slot >= inputs.size()) inputs.resize(slot + 1, kNoValue);
  inputs[slot] = value;
  set_inputs(id, std::move(inputs));
}

void Graph::set_op(NodeId id, std::string_view op) {
  Node& node = mutable_node(id);
  if (node.op == op) return;
  ++revision_;
  node.op = op;
  node.def = ops_->find(node.domain, op);
}

void Graph::set_node_opset(NodeId id, int64_t version) {
  Node& node = mutable_node(id);
  if (node.opset == version) return;
  ++revision_;
  node.opset = version;
}

void Graph::replace_uses(ValueId from, ValueId to) {
  if (from == to) return;
  Value& old_value = mutable_value(from);
  Value& new_value = mutable_value(to);
  const bool output = is_output(from);
  if (old_value.uses.empty() && !output) return;
  ++revision_;
  if (output) {
    PARE_CHECK(!is_output(to) && std::ranges::find(inputs_, to) == inputs_.end(),
               "replace_uses would rename an input or output of the model");
    std::swap(old_value.name, new_value.name);
    std::swap(old_value.declaration, new_value.declaration);
    names_.find(old_value.name)->second = from;
    names_.find(new_value.name)->second = to;
    std::ranges::replace(outputs_, from, to);
  }
  for (const Use& use : old_value.uses) {
    mutable_node(use.node).inputs[use.slot] = to;
    new_value.uses.push_back(use);
  }
  old_value.uses.clear();
}

void Graph::remove_node(NodeId id) {
  ++revision_;
  Node& node = mutable_node(id);
  for (ValueId output : node.outputs) {
    PARE_CHECK(output == kNoValue || (value(output).uses.empty() && !is_output(output)),
               "remove_node on a node whose output is used");
  }
  detach(id);
  for (ValueId output : node.outputs) {
    if (output != kNoValue) mutable_value(output).producer.reset();
  }
  node.alive = false;
  std::erase(order_, id);
}

void Graph::rename(ValueId id, std::string name) {
  Value& value = mutable_value(id);
  if (value.name == name) return;
  ++revision_;
  PARE_CHECK(names_.emplace(name, id).second, "value name '" + name + "' is taken");
  names_.erase(names_.find(value.name));
  value.name = std::move(name);
}

void Graph::set_input_shape(ValueId id, Shape shape) {
  Value& value = mutable_value(id);
  if (value.type.shape == shape && value.type.ranked) return;
  ++revision_;
  value.type.shape = std::move(shape);
  value.type.ranked = true;
}

// -- Types ---------------------------------------------------------------------

void Graph::infer_types() {
  for (NodeId id : order_) infer_types(id);
}

void Graph::infer_types(NodeId id) {
  const Node& node = this->node(id);
  const std::vector<Operand> operands = this->operands(node);
  const bool dynamic = std::ranges::any_of(
      node.inputs, [&](ValueId input) { return input != kNoValue && value(input).dynamic; });
  const bool known =
      std::ranges::all_of(operands, [](const Operand& x) { return !x || x.type->known(); });

  std::vector<TensorType> types;
  if (node.def) {
    with_context([&] { return describe(node); },
                 [&] {
                   check_arity(*node.def, operands);  // What `infer` and `eval` may rely on.
                   if (!known && !node.def->infers_unknown) return;
                   types = node.def->infer(node, operands);
                   if (types.size() < node.outputs.size())
                     throw Error(ErrorKind::kInput, "has " + std::to_string(node.outputs.size()) +
                                                        " outputs, makes " +
                                                        std::to_string(types.size()));
                 });
  }
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    if (node.outputs[i] == kNoValue) continue;
    Value& output = mutable_value(node.outputs[i]);
    output.dynamic = dynamic;
    if (i < types.size() && types[i] != output.type) {
      ++revision_;
      output.type = std::move(types[i]);
    }
  }
  if (node.def) propagate(node, operands);
}

void Graph::propagate(const Node& node, const std::vector<Operand>& operands) {
  for (ValueId output : node.outputs) {
    if (output != kNoValue) mutable_value(output).known = nullptr;
  }
  const auto half = [](const TensorType& t) {
    return t.dtype == DType::kF16 || t.dtype == DType::kBF16;
  };
  const bool ready = std::ranges::all_of(operands, [&](const Operand& x) {
    if (node.def->reads_only_types) return !x || x.type->known();
    return !x || (x.value && (node.def->native_half || !half(*x.type)));
  });
  const bool small = std::ranges::all_of(node.outputs, [&](ValueId output) {
    return output == kNoValue ||
           (type(output).known() && element_count(type(output).shape) <= kMaxPropagatedElements);
  });
  if (!node.def->eval || !ready || !small) return;

  std::deque<Tensor> types_only;
  std::vector<const Tensor*> tensors;
  for (const Operand& x : operands) {
    if (x && !x.value) {
      tensors.push_back(&types_only.emplace_back(Tensor::without_elements(*x.type)));
    } else {
      tensors.push_back(x.value);
    }
  }
  std::vector<Tensor> results;
  try {
    results =
        with_context([&] { return describe(node); }, [&] { return node.def->eval(node, tensors); });
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kUnsupported) return;  // Then the value stays unknown.
    throw;
  }
  for (size_t i = 0; i < node.outputs.size() && i < results.size(); ++i) {
    if (node.outputs[i] != kNoValue)
      mutable_value(node.outputs[i]).known = std::make_shared<Tensor>(std::move(results[i]));
  }
}

}  // namespace pare
