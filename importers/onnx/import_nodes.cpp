#include <algorithm>
#include <array>
#include <functional>
#include <queue>
#include <utility>

#include "importers/onnx/importer.h"
#include "importers/onnx/read_model.h"
#include "onnx_proto/attribute_codec.h"
#include "onnx_proto/captures.h"

namespace pare {
namespace {

std::string describe(const onnx::NodeProto& proto) {
  const std::string& name =
      proto.name().empty() && proto.output_size() > 0 ? proto.output(0) : proto.name();
  return "node '" + name + "' (" + proto.op_type() + ")";
}

/// Attributes a Constant node keeps its value in; a sparse one has no dense form here.
constexpr std::array kValueAttributes = {"value",      "value_float",  "value_floats", "value_int",
                                         "value_ints", "value_string", "value_strings"};

template <typename T>
Tensor vector_tensor(const std::vector<T>& values) {
  return Tensor({static_cast<int64_t>(values.size())}, values);
}

/// The tensor a Constant attribute stands for.
struct ToTensor {
  Tensor operator()(const TensorRef& tensor) const { return *tensor; }
  Tensor operator()(int64_t value) const { return Tensor::scalar(value); }
  Tensor operator()(float value) const { return Tensor::scalar(value); }
  Tensor operator()(const std::string& value) const { return Tensor::of_strings({}, {value}); }
  Tensor operator()(const std::vector<int64_t>& values) const { return vector_tensor(values); }
  Tensor operator()(const std::vector<float>& values) const { return vector_tensor(values); }
  Tensor operator()(const std::vector<std::string>& values) const {
    return Tensor::of_strings({static_cast<int64_t>(values.size())}, values);
  }
  Tensor operator()(const Opaque&) const {
    throw Error(ErrorKind::kInput, "its value has no type, expected a tensor, number or string");
  }
};

}  // namespace

void Importer::import_nodes() {
  std::vector<Pending> pending;
  std::set<std::string> subgraph_names;
  for (onnx::NodeProto& proto : *file_.mutable_node()) {
    with_context([&] { return describe(proto); },
                 [&] {
                   if (proto.op_type().empty())
                     throw Error(ErrorKind::kInput, "has no op type, expected one");
                   if (!proto.name().empty()) node_names_.insert(proto.name());
                   subgraph_names.merge(local_names(proto));
                   if (!import_constant(proto)) pending.push_back({&proto, captured_names(proto)});
                 });
  }
  for (size_t i : order_of(pending)) {
    with_context([&] { return describe(*pending[i].proto); }, [&] { import_node(pending[i]); });
  }
  for (const std::string& name : subgraph_names) graph_.reserve_name(name);
}

bool Importer::is_function(const onnx::NodeProto& proto) const {
  return functions_.contains({normal_domain(proto.domain()), proto.op_type()});
}

bool Importer::import_constant(onnx::NodeProto& proto) {
  if (!normal_domain(proto.domain()).empty() || proto.op_type() != "Constant" ||
      is_function(proto) || proto.input_size() != 0 || proto.output_size() != 1 ||
      proto.attribute_size() != 1)
    return false;
  onnx::AttributeProto& attribute = *proto.mutable_attribute(0);
  if (std::ranges::find(kValueAttributes, attribute.name()) == kValueAttributes.end()) return false;
  onnx::AttributeProto taken;
  taken.Swap(&attribute);
  Tensor tensor = std::visit(ToTensor{}, read_attribute(std::move(taken), true, external_source_));
  TensorType type = tensor.type();
  define({.name = proto.output(0),
          .type = std::move(type),
          .constant = std::make_shared<const Tensor>(std::move(tensor))});
  return true;
}

/// The file's order where it is topological, else the nearest one to it: of all nodes whose
/// operands are there, the first in the file goes next.
std::vector<size_t> Importer::order_of(const std::vector<Pending>& pending) const {
  std::unordered_map<std::string, size_t> producers;
  for (size_t i = 0; i < pending.size(); ++i) {
    for (const std::string& output : pending[i].proto->output()) {
      if (output.empty()) continue;
      if (values_.contains(output) || !producers.emplace(output, i).second)
        throw Error(ErrorKind::kInput, describe(*pending[i].proto) + ": output '" + output +
                                           "' is defined twice, expected once");
    }
  }
  std::vector<std::vector<size_t>> users(pending.size()), needs(pending.size());
  for (size_t i = 0; i < pending.size(); ++i) {
    const auto need = [&](const std::string& name) {
      if (name.empty() || values_.contains(name)) return;
      const auto it = producers.find(name);
      if (it == producers.end())
        throw Error(ErrorKind::kInput, describe(*pending[i].proto) + ": input '" + name +
                                           "' is not defined, expected a graph input, an "
                                           "initializer or another node's output");
      users[it->second].push_back(i);
      needs[i].push_back(it->second);
    };
    std::ranges::for_each(pending[i].proto->input(), need);
    std::ranges::for_each(pending[i].captures, need);
  }

  std::vector<size_t> missing(pending.size()), order;
  std::priority_queue<size_t, std::vector<size_t>, std::greater<>> ready;
  for (size_t i = 0; i < pending.size(); ++i) {
    missing[i] = needs[i].size();
    if (missing[i] == 0) ready.push(i);
  }
  while (!ready.empty()) {
    const size_t i = ready.top();
    ready.pop();
    order.push_back(i);
    for (size_t user : users[i]) {
      if (--missing[user] == 0) ready.push(user);
    }
  }
  if (order.size() == pending.size()) return order;

  // Whoever waits, waits for somebody who waits: following that leads into a cycle.
  size_t at = static_cast<size_t>(
      std::ranges::find_if(missing, [](size_t count) { return count > 0; }) - missing.begin());
  for (size_t step = 0; step < pending.size(); ++step)
    at = *std::ranges::find_if(needs[at], [&](size_t need) { return missing[need] > 0; });
  throw Error(ErrorKind::kInput,
              describe(*pending[at].proto) +
                  ": depends on its own output, expected a graph without cycles");
}

void Importer::import_node(const Pending& pending) {
  onnx::NodeProto& proto = *pending.proto;
  Node node;
  node.domain = normal_domain(proto.domain());
  node.op = proto.op_type();
  node.opset = graph_.opset(node.domain);
  if (node.opset == 0)
    throw Error(ErrorKind::kInput, "its domain '" + node.domain +
                                       "' is not imported, expected a version in opset_import");
  const auto resolve = [&](const std::string& name) {
    node.inputs.push_back(name.empty() ? kNoValue : values_.at(name));
  };
  std::ranges::for_each(proto.input(), resolve);
  std::ranges::for_each(pending.captures, resolve);
  node.captures = pending.captures.size();
  for (const std::string& name : proto.output()) {
    if (name.empty()) {
      node.outputs.push_back(kNoValue);
      continue;
    }
    const auto declared = declarations_.find(name);
    node.outputs.push_back(
        define({.name = name,
                .type = declared == declarations_.end() ? TensorType::unknown()
                                                        : symbols_.declared(*declared->second)}));
  }
  const bool opaque = import_attributes(proto, node);
  node.name = node_name(proto);
  node.source = std::make_shared<const std::string>(proto.SerializeAsString());
  graph_.add_imported_node(std::move(node), opaque);
}

/// Fills in the attributes; of those that become Opaque only the name stays in `proto`. Returns
/// whether the tool must treat the node as unknown.
bool Importer::import_attributes(onnx::NodeProto& proto, Node& node) {
  // A Constant that import_constant() left alone has a form no rule reads (a sparse tensor).
  const bool opaque = is_function(proto) || std::ranges::any_of(proto.attribute(), holds_graphs) ||
                      (node.domain.empty() && node.op == "Constant");
  const bool understood = !opaque && graph_.ops().find(node.domain, node.op);
  for (onnx::AttributeProto& entry : *proto.mutable_attribute()) {
    external_.embed(entry);
    Attribute attribute =
        with_context([&] { return "attribute '" + entry.name() + "'"; },
                     [&] { return read_attribute(entry, understood, external_source_); });
    std::string name = entry.name();
    if (std::holds_alternative<Opaque>(attribute)) {
      entry.Clear();
      entry.set_name(name);
    }
    if (!node.attributes.emplace(name, std::move(attribute)).second)
      throw Error(ErrorKind::kInput, "attribute '" + name + "' is given twice, expected once");
  }
  return opaque;
}

/// Nodes may lack a name in ONNX; here they get one for messages and reports.
std::string Importer::node_name(const onnx::NodeProto& proto) {
  if (!proto.name().empty()) return proto.name();
  std::string name;
  for (uint32_t i = graph_.node_count(); name.empty() || !node_names_.insert(name).second; ++i)
    name = proto.op_type() + "_" + std::to_string(i);
  return name;
}

}  // namespace pare
