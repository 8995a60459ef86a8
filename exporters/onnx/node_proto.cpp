#include "exporters/onnx/node_proto.h"

#include <algorithm>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "onnx_proto/attribute_codec.h"
#include "onnx_proto/captures.h"

namespace pare {
namespace {

using Names = google::protobuf::RepeatedPtrField<std::string>;

std::vector<std::string> names_of(const Graph& graph, std::span<const ValueId> values) {
  std::vector<std::string> names;
  for (ValueId id : values) names.push_back(id == kNoValue ? std::string() : graph.value(id).name);
  return names;
}

/// Left-out operands at the end are not written unless the file wrote them.
void put_names(std::vector<std::string> names, Names& field) {
  if (std::ranges::equal(names, field)) return;
  while (!names.empty() && names.back().empty()) names.pop_back();
  field.Clear();
  for (std::string& name : names) *field.Add() = std::move(name);
}

bool unchanged(const Attribute& attribute, const onnx::AttributeProto& proto) {
  return same_attribute(read_attribute(proto, true, no_external_data), attribute);
}

/// Of an Opaque attribute the source has the name only; every other one is complete there.
void put_attributes(const Node& node, onnx::NodeProto& proto) {
  auto& field = *proto.mutable_attribute();
  for (int i = 0; i < field.size();) {
    if (node.attributes.contains(field[i].name())) {
      ++i;
    } else {
      field.erase(field.begin() + i);
    }
  }
  for (const auto& [name, attribute] : node.attributes) {
    const auto it = std::ranges::find(field, name, &onnx::AttributeProto::name);
    if (it == field.end()) {
      onnx::AttributeProto& added = *field.Add();
      added.set_name(name);
      put_attribute(attribute, added);
    } else if (std::holds_alternative<Opaque>(attribute) || !unchanged(attribute, *it)) {
      put_attribute(attribute, *it);
    }
  }
}

/// Follows captured values that were renamed or replaced into the subgraphs that read them.
void put_captures(const Graph& graph, const Node& node, onnx::NodeProto& proto) {
  if (node.captures == 0) return;
  const std::vector<std::string> before = captured_names(proto);
  PARE_CHECK(before.size() == node.captures, "a subgraph captures other values than on import");
  const std::vector<std::string> after =
      names_of(graph, std::span(node.inputs).last(node.captures));
  std::map<std::string, std::string> renames;
  for (size_t i = 0; i < before.size(); ++i) {
    if (before[i] != after[i]) renames[before[i]] = after[i];
  }
  if (!renames.empty()) rename_captures(proto, renames);
}

}  // namespace

onnx::NodeProto node_proto(const Graph& graph, const Node& node) {
  onnx::NodeProto proto;
  if (node.source) {
    PARE_CHECK(proto.ParsePartialFromString(*node.source), "a node's source was altered");
  } else {
    proto.set_name(node.name);
    if (!node.domain.empty()) proto.set_domain(node.domain);
  }
  if (proto.op_type() != node.op) proto.set_op_type(node.op);
  const std::span<const ValueId> operands(node.inputs);
  put_names(names_of(graph, operands.first(operands.size() - node.captures)),
            *proto.mutable_input());
  put_names(names_of(graph, node.outputs), *proto.mutable_output());
  put_attributes(node, proto);
  put_captures(graph, node, proto);
  return proto;
}

}  // namespace pare
