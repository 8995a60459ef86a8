#pragma once

#include <onnx/onnx_pb.h>

#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "importers/onnx/external_data.h"
#include "importers/onnx/import.h"
#include "importers/onnx/model_file.h"
#include "importers/onnx/symbols.h"
#include "ir/graph.h"

namespace pare {

/// One import: takes a parsed model apart into a Graph.
///
/// The IR holds what passes work on; the rest stays as the file said it: each node's NodeProto in
/// Node::source (without the attributes that are Opaque), each declaration in Value::declaration,
/// and everything else in Graph::shell. In the shell, `graph.input` and `graph.value_info` list the
/// names in the file's order (the declarations are with the values), and `graph.initializer` lists
/// the names of initializers that nothing used already in the file, which the exporter must keep.
class Importer {
 public:
  Importer(ModelFile model, const std::string& path, const OpTable& ops,
           const ImportOptions& options);

  Graph run();

 private:
  /// A node waiting for its place in the order.
  struct Pending {
    onnx::NodeProto* proto;
    std::vector<std::string> captures;
  };

  void import_opsets();
  void collect_declarations();
  void import_inputs();
  void import_initializers();
  void import_sparse_initializers();
  void import_outputs();
  void keep_shell();
  void infer();
  void reconcile_declarations();

  // import_nodes.cpp
  void import_nodes();
  bool import_constant(onnx::NodeProto& proto);
  std::vector<size_t> order_of(const std::vector<Pending>& pending) const;
  void import_node(const Pending& pending);
  bool import_attributes(onnx::NodeProto& proto, Node& node);
  std::string node_name(const onnx::NodeProto& proto);
  bool is_function(const onnx::NodeProto& proto) const;

  /// Adds a value with what the file declares about it. Throws Error(kInput) when the name is empty
  /// or taken.
  ValueId define(Value value);

  ModelFile source_;
  onnx::ModelProto& model_;
  onnx::GraphProto& file_;
  ExternalData external_;
  ExternalSource external_source_;
  Symbols symbols_;
  Graph graph_;
  std::unordered_map<std::string, ValueId> values_;
  std::unordered_map<std::string, const onnx::ValueInfoProto*> declarations_;
  std::set<std::pair<std::string, std::string>> functions_;  ///< (domain, name)
  std::set<std::string> node_names_;
  std::vector<ValueId> initializers_;
};

}  // namespace pare
