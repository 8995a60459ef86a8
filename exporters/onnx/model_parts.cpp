#include "exporters/onnx/model_parts.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "exporters/onnx/node_proto.h"
#include "exporters/onnx/wire.h"
#include "onnx_proto/sparse.h"
#include "onnx_proto/value_info.h"

namespace pare {
namespace {

using Infos = google::protobuf::RepeatedPtrField<onnx::ValueInfoProto>;

/// The first IR version in which initializers need not be graph inputs.
constexpr int64_t kFreeInitializers = 4;

std::string_view normal_domain(std::string_view domain) {
  return domain == "ai.onnx" ? std::string_view() : domain;
}

/// The IR version that came with an opset: https://onnx.ai/onnx/repo-docs/Versioning.html.
int64_t ir_version_for(int64_t opset) {
  constexpr int64_t kFirstOpset[] = {9, 10, 11, 12, 15, 19, 21, 23, 24};  // Of IR version 4, 5, ...
  const auto reached =
      std::ranges::count_if(kFirstOpset, [&](int64_t first) { return opset >= first; });
  return std::max(kFreeInitializers, 3 + static_cast<int64_t>(reached));
}

/// Puts one graph together.
class Builder {
 public:
  explicit Builder(const Graph& graph);

  ModelParts build();

 private:
  bool is_written(ValueId id) const;
  bool is_alive(ValueId id) const;
  ValueId find(const std::string& name) const;
  onnx::ValueInfoProto declaration(ValueId id) const;
  void put_opsets();
  void put_weights();
  void put_inputs();
  void put_outputs();
  void put_value_infos();
  void drop_stale_annotations();

  const Graph& graph_;
  onnx::ModelProto model_;
  onnx::GraphProto file_;
  Weights weights_;
  std::vector<ValueId> written_;
  std::map<std::string, ValueId, std::less<>> values_;
  std::set<std::string> kept_unused_;
};

/// Changes the entries that differ, so that what is as it was keeps its place.
void put_metadata(std::map<std::string, std::string> texts, onnx::ModelProto& model) {
  google::protobuf::RepeatedPtrField<onnx::StringStringEntryProto> entries;
  entries.Swap(model.mutable_metadata_props());
  for (onnx::StringStringEntryProto& entry : entries) {
    const auto text = texts.find(entry.key());
    if (text == texts.end()) continue;
    entry.set_value(text->second);
    model.add_metadata_props()->Swap(&entry);
    texts.erase(text);
  }
  for (const auto& [key, text] : texts) {
    onnx::StringStringEntryProto& entry = *model.add_metadata_props();
    entry.set_key(key);
    entry.set_value(text);
  }
}

Builder::Builder(const Graph& graph) : graph_(graph) {
  if (graph.shell) {
    PARE_CHECK(model_.ParsePartialFromString(*graph.shell), "the model's shell was altered");
  } else {
    model_.set_ir_version(ir_version_for(graph.opset()));
    model_.set_producer_name("pare");
    model_.mutable_graph()->set_name("graph");
  }
  put_metadata(graph.metadata, model_);
  file_.Swap(model_.mutable_graph());
  for (const onnx::TensorProto& tensor : file_.initializer()) kept_unused_.insert(tensor.name());
  file_.clear_initializer();
  for (uint32_t i = 0; i < graph.value_count(); ++i)
    values_.emplace(graph.value(ValueId{i}).name, ValueId{i});
}

ValueId Builder::find(const std::string& name) const {
  const auto it = values_.find(name);
  return it == values_.end() ? kNoValue : it->second;
}

bool Builder::is_written(ValueId id) const {
  const Value& value = graph_.value(id);
  return value.constant &&
         (!value.uses.empty() || graph_.is_output(id) || kept_unused_.contains(value.name));
}

bool Builder::is_alive(ValueId id) const {
  return id != kNoValue && (graph_.value(id).producer || is_written(id) ||
                            std::ranges::find(graph_.inputs(), id) != graph_.inputs().end());
}

onnx::ValueInfoProto Builder::declaration(ValueId id) const {
  const Value& value = graph_.value(id);
  onnx::ValueInfoProto info;
  if (value.declaration)
    PARE_CHECK(info.ParsePartialFromString(*value.declaration), "a declaration was altered");
  info.set_name(value.name);
  TensorType type = value.type;
  const onnx::TypeProto::Tensor* declared = tensor_type(info);
  const bool same_rank = declared && declared->has_shape() &&
                         static_cast<size_t>(declared->shape().dim_size()) == type.shape.size();
  // Without a declared axis to go by, extents that follow the bound dims are left open.
  if (value.dynamic && !same_rank && value.dim_symbols.empty())
    std::ranges::fill(type.shape, int64_t{-1});
  if (value.declaration) {
    fit_declaration(info, type, ExtentPolicy::kOverwrite);
    return info;
  }
  declare(info, type);
  for (size_t axis = 0; axis < value.dim_symbols.size(); ++axis) {
    if (value.dim_symbols[axis].empty()) continue;
    auto& dim = *info.mutable_type()->mutable_tensor_type()->mutable_shape()->mutable_dim(
        static_cast<int>(axis));
    dim.clear_dim_value();
    if (!value.dim_symbols[axis].starts_with('?')) dim.set_dim_param(value.dim_symbols[axis]);
  }
  return info;
}

void Builder::put_opsets() {
  std::set<std::string_view> present;
  for (auto& import : *model_.mutable_opset_import()) {
    if (const int64_t version = graph_.opset(import.domain()); version > 0)
      import.set_version(version);
    present.insert(normal_domain(import.domain()));
  }
  for (const auto& [domain, version] : graph_.opsets()) {
    if (present.contains(domain)) continue;
    auto& import = *model_.add_opset_import();
    import.set_domain(domain);
    import.set_version(version);
  }
}

void Builder::put_weights() {
  google::protobuf::RepeatedPtrField<onnx::SparseTensorProto> sparse;
  sparse.Swap(file_.mutable_sparse_initializer());
  std::set<ValueId> still_sparse;
  for (onnx::SparseTensorProto& proto : sparse) {
    const ValueId id = find(proto.values().name());
    if (id == kNoValue || !is_written(id) || !identical(densify(proto), *graph_.value(id).constant))
      continue;
    file_.add_sparse_initializer()->Swap(&proto);
    still_sparse.insert(id);
  }
  for (uint32_t i = 0; i < graph_.value_count(); ++i) {
    const ValueId id{i};
    if (!is_written(id)) continue;
    written_.push_back(id);
    if (!still_sparse.contains(id)) weights_.add(graph_.value(id));
  }
}

/// The file's order, initializers that it lists as inputs included; then inputs it does not have.
///
/// Before IR version 4 every initializer had to be an input. Where that no longer holds the model
/// moves on to version 4, and as in that version a listed initializer would mean one the caller may
/// override (and no runtime may fold), the initializers leave the list.
void Builder::put_inputs() {
  std::set<ValueId> listed;
  for (const onnx::ValueInfoProto& info : file_.input()) listed.insert(find(info.name()));
  bool list_weights = true;
  if (model_.ir_version() < kFreeInitializers &&
      !std::ranges::all_of(written_, [&](ValueId id) { return listed.contains(id); })) {
    model_.set_ir_version(kFreeInitializers);
    list_weights = false;
  }
  Infos infos;
  infos.Swap(file_.mutable_input());
  std::set<ValueId> done;
  for (const onnx::ValueInfoProto& info : infos) {
    const ValueId id = find(info.name());
    if (id == kNoValue || graph_.value(id).producer || !is_alive(id)) continue;
    if (graph_.value(id).constant && !list_weights) continue;
    *file_.add_input() = declaration(id);
    done.insert(id);
  }
  for (ValueId id : graph_.inputs()) {
    if (!done.contains(id)) *file_.add_input() = declaration(id);
  }
}

void Builder::put_outputs() {
  file_.clear_output();
  for (ValueId id : graph_.outputs()) *file_.add_output() = declaration(id);
}

/// A bare name stands for what is declared with the value; a complete entry is about a name the
/// graph never had and stays.
void Builder::put_value_infos() {
  Infos infos;
  infos.Swap(file_.mutable_value_info());
  for (onnx::ValueInfoProto& info : infos) {
    const ValueId id = find(info.name());
    if (info.has_type() || info.has_doc_string()) {
      file_.add_value_info()->Swap(&info);
    } else if (is_alive(id) && graph_.value(id).declaration) {
      *file_.add_value_info() = declaration(id);
    }
  }
}

void Builder::drop_stale_annotations() {
  auto& annotations = *file_.mutable_quantization_annotation();
  annotations.erase(std::remove_if(annotations.begin(), annotations.end(),
                                   [&](const onnx::TensorAnnotation& annotation) {
                                     const ValueId id = find(annotation.tensor_name());
                                     return id != kNoValue && !is_alive(id);
                                   }),
                    annotations.end());
}

ModelParts Builder::build() {
  put_opsets();
  put_weights();
  put_inputs();
  put_outputs();
  put_value_infos();
  drop_stale_annotations();
  ModelParts parts;
  for (NodeId id : graph_.order())
    *parts.graph_head.add_node() = node_proto(graph_, graph_.node(id));
  if (file_.has_name()) parts.graph_head.set_name(file_.name());
  file_.clear_name();
  parts.graph_tail.Swap(&file_);
  parts.weights = std::move(weights_);
  model_.clear_graph();
  parts.model_tail.mutable_opset_import()->Swap(model_.mutable_opset_import());
  parts.model_tail.mutable_metadata_props()->Swap(model_.mutable_metadata_props());
  parts.model_tail.mutable_training_info()->Swap(model_.mutable_training_info());
  parts.model_tail.mutable_functions()->Swap(model_.mutable_functions());
  auto& reflection = *model_.GetReflection();
  reflection.MutableUnknownFields(&parts.model_tail)
      ->Swap(reflection.MutableUnknownFields(&model_));
  parts.model_head.Swap(&model_);
  return parts;
}

}  // namespace

uint64_t ModelParts::graph_size() const {
  return graph_head.ByteSizeLong() + weights.size() + graph_tail.ByteSizeLong();
}

uint64_t ModelParts::size() const {
  return model_head.ByteSizeLong() + wire::field_size(graph_size()) + model_tail.ByteSizeLong();
}

void ModelParts::write(google::protobuf::io::CodedOutputStream& out) const {
  out.SetSerializationDeterministic(true);
  model_head.SerializeToCodedStream(&out);
  wire::begin_field(onnx::ModelProto::kGraphFieldNumber, graph_size(), out);
  graph_head.SerializeToCodedStream(&out);
  weights.write(out);
  graph_tail.SerializeToCodedStream(&out);
  model_tail.SerializeToCodedStream(&out);
}

ModelParts model_parts(const Graph& graph) { return Builder(graph).build(); }

}  // namespace pare
