#include "onnx_proto/captures.h"

#include <algorithm>
#include <set>

namespace pare {
namespace {

using Names = std::set<std::string>;
using Renames = std::map<std::string, std::string>;

/// Calls `body` with every subgraph right below `node`.
template <typename Node, typename Body>
void for_each_subgraph(Node& node, Body&& body) {
  for (auto& attribute : *node.mutable_attribute()) {
    if (attribute.has_g()) body(*attribute.mutable_g());
    for (auto& graph : *attribute.mutable_graphs()) body(graph);
  }
}
template <typename Body>
void for_each_subgraph(const onnx::NodeProto& node, Body&& body) {
  for (const auto& attribute : node.attribute()) {
    if (attribute.has_g()) body(attribute.g());
    for (const auto& graph : attribute.graphs()) body(graph);
  }
}

/// What a graph defines before its first node runs.
Names names_from_start(const onnx::GraphProto& graph) {
  Names names;
  for (const auto& input : graph.input()) names.insert(input.name());
  for (const auto& tensor : graph.initializer()) names.insert(tensor.name());
  for (const auto& tensor : graph.sparse_initializer()) names.insert(tensor.values().name());
  return names;
}

/// Collects what is read but not in `visible`, the names defined in the subgraphs around.
class Collector {
 public:
  void visit_subgraphs(const onnx::NodeProto& node, const Names& visible) {
    for_each_subgraph(node, [&](const onnx::GraphProto& graph) { visit(graph, visible); });
  }
  std::vector<std::string> names;

 private:
  void visit(const onnx::GraphProto& graph, Names visible) {
    visible.merge(names_from_start(graph));
    for (const auto& node : graph.node()) {
      for (const std::string& input : node.input()) read(input, visible);
      visit_subgraphs(node, visible);
      visible.insert(node.output().begin(), node.output().end());
    }
    for (const auto& output : graph.output()) read(output.name(), visible);
  }
  void read(const std::string& name, const Names& visible) {
    if (!name.empty() && !visible.contains(name) && seen_.insert(name).second)
      names.push_back(name);
  }

  Names seen_;
};

void rename(std::string& name, const Renames& renames) {
  if (const auto it = renames.find(name); it != renames.end()) name = it->second;
}

/// All names a subgraph and those inside it mention.
void mentioned_names(const onnx::GraphProto& graph, Names& names) {
  names.merge(names_from_start(graph));
  for (const auto& output : graph.output()) names.insert(output.name());
  for (const auto& node : graph.node()) {
    names.insert(node.input().begin(), node.input().end());
    names.insert(node.output().begin(), node.output().end());
    for_each_subgraph(node, [&](const onnx::GraphProto& inner) { mentioned_names(inner, names); });
  }
}

/// Applies renames to one subgraph; what it defines itself is taken out of them on the way down.
class Renamer {
 public:
  /// `taken` are names no fresh one may have; `targets` the new names, which nothing may hide.
  Renamer(Names taken, Names targets) : taken_(std::move(taken)), targets_(std::move(targets)) {}

  void apply(onnx::GraphProto& graph, Renames renames) {
    for (auto& input : *graph.mutable_input()) define(*input.mutable_name(), renames);
    for (auto& tensor : *graph.mutable_initializer()) define(*tensor.mutable_name(), renames);
    for (auto& tensor : *graph.mutable_sparse_initializer())
      define(*tensor.mutable_values()->mutable_name(), renames);
    for (auto& node : *graph.mutable_node()) {
      for (std::string& input : *node.mutable_input()) rename(input, renames);
      for_each_subgraph(node, [&](onnx::GraphProto& inner) { apply(inner, renames); });
      for (std::string& output : *node.mutable_output()) define(output, renames);
    }
    for (auto& output : *graph.mutable_output()) rename(*output.mutable_name(), renames);
    for (auto& info : *graph.mutable_value_info()) rename(*info.mutable_name(), renames);
    for (auto& annotation : *graph.mutable_quantization_annotation()) {
      rename(*annotation.mutable_tensor_name(), renames);
      for (auto& entry : *annotation.mutable_quant_parameter_tensor_names())
        rename(*entry.mutable_value(), renames);
    }
  }

 private:
  /// A definition ends the renaming of an outer name; one that is met twice (an input and its
  /// default) keeps the name it got first.
  void define(std::string& name, Renames& renames) {
    if (name.empty()) return;
    if (const auto it = local_.find(name); it != local_.end()) {
      renames[it->first] = it->second;
      name = it->second;
    } else if (targets_.contains(name)) {
      std::string fresh = name;
      for (int i = 1; taken_.contains(fresh); ++i) fresh = name + "_" + std::to_string(i);
      taken_.insert(fresh);
      local_[name] = fresh;
      renames[name] = fresh;
      name = fresh;
    } else {
      renames.erase(name);
    }
  }

  Names taken_, targets_;
  Renames local_;  ///< Local names that had to give way.
};

}  // namespace

std::set<std::string> local_names(const onnx::NodeProto& node) {
  Names names;
  for_each_subgraph(node, [&](const onnx::GraphProto& graph) {
    names.merge(names_from_start(graph));
    for (const auto& inner : graph.node()) {
      names.insert(inner.output().begin(), inner.output().end());
      names.merge(local_names(inner));
    }
  });
  return names;
}

std::vector<std::string> captured_names(const onnx::NodeProto& node) {
  Collector collector;
  collector.visit_subgraphs(node, {});
  return std::move(collector.names);
}

void rename_captures(onnx::NodeProto& node, const Renames& renames) {
  Names taken, targets;
  for (const auto& [from, to] : renames) targets.insert(to);
  for_each_subgraph(std::as_const(node),
                    [&](const onnx::GraphProto& graph) { mentioned_names(graph, taken); });
  taken.insert(targets.begin(), targets.end());
  Renamer renamer(std::move(taken), std::move(targets));
  for_each_subgraph(node, [&](onnx::GraphProto& graph) { renamer.apply(graph, renames); });
}

}  // namespace pare
