// From ModelProto to Graph. Inputs, weights and outputs are here, nodes in import_nodes.cpp.

#include "importers/onnx/import.h"

#include <utility>

#include "importers/onnx/importer.h"
#include "importers/onnx/read_model.h"
#include "onnx_proto/sparse.h"
#include "onnx_proto/value_info.h"

namespace pare {
namespace {

OpaqueRef serialized(const google::protobuf::Message& message) {
  return std::make_shared<const std::string>(message.SerializeAsString());
}

/// What an initializer says beside name and elements (a doc string, metadata, which file its data
/// is in), null for nothing.
OpaqueRef header_of(onnx::TensorProto proto, const std::string& location) {
  clear_data(proto);
  proto.clear_name();
  if (!location.empty()) {
    onnx::StringStringEntryProto& entry = *proto.add_external_data();
    entry.set_key("location");
    entry.set_value(location);
  }
  return proto.ByteSizeLong() == 0 ? nullptr : serialized(proto);
}

std::string location_of(const onnx::TensorProto& proto) {
  for (const auto& entry : proto.external_data()) {
    if (entry.key() == "location") return entry.value();
  }
  return {};
}

/// `names` without what an entry says beside its name.
void keep_names(google::protobuf::RepeatedPtrField<onnx::ValueInfoProto>& infos) {
  for (onnx::ValueInfoProto& info : infos) {
    std::string name = info.name();
    info.Clear();
    info.set_name(std::move(name));
  }
}

}  // namespace

Graph import_onnx(const std::string& path, const OpTable& ops, const ImportOptions& options) {
  auto file = MappedFile::open(path);
  return with_context(
      [&] { return path; },
      [&] { return Importer(ModelFile(std::move(file)), path, ops, options).run(); });
}

Importer::Importer(ModelFile model, const std::string& path, const OpTable& ops,
                   const ImportOptions& options)
    : source_(std::move(model)),
      model_(source_.model),
      file_(*model_.mutable_graph()),
      external_(path),
      external_source_([this](const onnx::TensorProto& proto, uint64_t size) {
        return external_.find(proto, size);
      }),
      symbols_(options.bind),
      graph_(ops) {
  graph_.source_path = path;
}

Graph Importer::run() {
  import_opsets();
  collect_declarations();
  import_inputs();
  import_initializers();
  import_sparse_initializers();
  import_nodes();
  import_outputs();
  keep_shell();
  infer();
  reconcile_declarations();
  return std::move(graph_);
}

void Importer::import_opsets() {
  for (const auto& import : model_.opset_import())
    graph_.set_opset(import.domain(), import.version());
  for (const auto& function : model_.functions())
    functions_.emplace(normal_domain(function.domain()), function.name());
}

void Importer::collect_declarations() {
  // Where a value is declared twice, the declaration that is part of the interface counts.
  for (const auto* infos : {&file_.input(), &file_.output(), &file_.value_info()}) {
    for (const onnx::ValueInfoProto& info : *infos) declarations_.emplace(info.name(), &info);
  }
}

ValueId Importer::define(Value value) {
  if (value.name.empty())
    throw Error(ErrorKind::kInput, "an input or initializer has no name, expected one");
  if (values_.contains(value.name))
    throw Error(ErrorKind::kInput, "'" + value.name + "' is defined twice, expected once");
  if (const auto it = declarations_.find(value.name); it != declarations_.end())
    value.declaration = serialized(*it->second);
  std::string name = value.name;
  const ValueId id = graph_.add_value(std::move(value));
  values_.emplace(std::move(name), id);
  return id;
}

void Importer::import_inputs() {
  std::set<std::string> weights;
  for (const auto& tensor : file_.initializer()) weights.insert(tensor.name());
  for (const auto& sparse : file_.sparse_initializer()) weights.insert(sparse.values().name());
  std::set<std::string> seen;
  for (const onnx::ValueInfoProto& info : file_.input()) {
    if (!seen.insert(info.name()).second)
      throw Error(ErrorKind::kInput, "has two inputs '" + info.name() + "', expected one");
    if (weights.contains(info.name())) continue;
    with_context([&] { return "input '" + info.name() + "'"; },
                 [&] {
                   Symbols::Input input = symbols_.bind_input(info);
                   graph_.mark_input(define({.name = info.name(),
                                             .type = std::move(input.type),
                                             .dynamic = input.dynamic,
                                             .dim_symbols = std::move(input.names)}));
                 });
  }
}

void Importer::import_initializers() {
  for (int i = 0; i < file_.initializer_size(); ++i) {
    onnx::TensorProto& proto = *file_.mutable_initializer(i);
    with_context([&] { return "initializer '" + proto.name() + "'"; },
                 [&] {
                   const std::string location = location_of(proto);
                   Tensor tensor = take_tensor(proto, external_source_,
                                               source_.raw_data(static_cast<size_t>(i)));
                   TensorType type = tensor.type();
                   initializers_.push_back(
                       define({.name = proto.name(),
                               .type = std::move(type),
                               .constant = std::make_shared<const Tensor>(std::move(tensor)),
                               .header = header_of(proto, location)}));
                 });
  }
}

void Importer::import_sparse_initializers() {
  for (onnx::SparseTensorProto& proto : *file_.mutable_sparse_initializer()) {
    with_context([&] { return "sparse initializer '" + proto.values().name() + "'"; },
                 [&] {
                   external_.embed(proto);
                   Tensor tensor = densify(proto);
                   TensorType type = tensor.type();
                   initializers_.push_back(
                       define({.name = proto.values().name(),
                               .type = std::move(type),
                               .constant = std::make_shared<const Tensor>(std::move(tensor))}));
                 });
  }
}

void Importer::import_outputs() {
  std::vector<ValueId> outputs;
  std::set<std::string> seen;
  for (const onnx::ValueInfoProto& info : file_.output()) {
    const auto it = values_.find(info.name());
    if (it == values_.end())
      throw Error(ErrorKind::kInput, "output '" + info.name() +
                                         "' is computed by no node, expected a node's output, an "
                                         "input or an initializer");
    if (!seen.insert(info.name()).second)
      throw Error(ErrorKind::kInput, "has two outputs '" + info.name() + "', expected one");
    outputs.push_back(it->second);
  }
  if (outputs.empty()) throw Error(ErrorKind::kInput, "has no outputs, expected at least one");
  graph_.set_outputs(std::move(outputs));
}

void Importer::keep_shell() {
  declarations_.clear();  // They point into what is taken apart now.
  file_.clear_node();
  file_.clear_initializer();
  for (ValueId id : initializers_) {
    const Value& value = graph_.value(id);
    if (value.uses.empty() && !graph_.is_output(id)) file_.add_initializer()->set_name(value.name);
  }
  file_.clear_output();
  keep_names(*file_.mutable_input());
  google::protobuf::RepeatedPtrField<onnx::ValueInfoProto> infos;
  infos.Swap(file_.mutable_value_info());
  for (onnx::ValueInfoProto& info : infos) {
    const bool ours = values_.contains(info.name());
    onnx::ValueInfoProto& kept = *file_.add_value_info();
    if (ours) {
      kept.set_name(info.name());
    } else {
      kept.Swap(&info);
    }
  }
  for (const auto& entry : model_.metadata_props()) graph_.metadata[entry.key()] = entry.value();
  external_.embed(model_);  // Functions and training graphs.
  graph_.shell = serialized(model_);
}

void Importer::infer() {
  try {
    graph_.infer_types();
  } catch (const Error& error) {
    const std::string defaults = symbols_.defaults();
    if (defaults.empty()) throw;
    throw Error(error.kind(),
                std::string(error.what()) + " (with dynamic dimensions bound to " + defaults + ")");
  }
}

void Importer::reconcile_declarations() {
  // From here on a declared extent that differs from the inferred one means that a pass changed it.
  for (uint32_t i = 0; i < graph_.value_count(); ++i) {
    const Value& value = graph_.value(ValueId{i});
    if (!value.declaration || value.constant || !value.producer) continue;
    onnx::ValueInfoProto info;
    PARE_CHECK(info.ParseFromString(*value.declaration), "a declaration was altered");
    if (fit_declaration(info, value.type,
                        value.dynamic ? ExtentPolicy::kForget : ExtentPolicy::kOverwrite))
      graph_.set_declaration(ValueId{i}, serialized(info));
  }
}

}  // namespace pare
