#include "importers/onnx/symbols.h"

#include <algorithm>

#include "onnx_proto/tensor_codec.h"
#include "onnx_proto/value_info.h"
#include "support/error.h"

namespace pare {
namespace {

/// A negative extent is how some exporters write an unknown one.
bool is_fixed(const onnx::TensorShapeProto::Dimension& dim) {
  return dim.has_dim_value() && dim.dim_value() >= 0;
}

}  // namespace

Symbols::Symbols(std::map<std::string, int64_t> bind) : bind_(std::move(bind)) {
  for (const auto& [name, extent] : bind_) {
    if (extent < 1)
      throw Error(ErrorKind::kUsage, "dimension '" + name + "' is bound to " +
                                         std::to_string(extent) + ", expected 1 or more");
  }
}

std::string Symbols::unnamed_symbol() {
  return std::string("?").append(std::to_string(unnamed_++));
}

int64_t Symbols::bind_symbol(const std::string& name) {
  if (const auto it = bound_.find(name); it != bound_.end()) return it->second;
  const auto wish = bind_.find(name);
  if (wish == bind_.end()) defaulted_.push_back(name);
  return bound_[name] = wish == bind_.end() ? 1 : wish->second;
}

Symbols::Input Symbols::bind_input(const onnx::ValueInfoProto& info) {
  Input input{TensorType::unknown(), {}, true};
  const onnx::TypeProto::Tensor* tensor = tensor_type(info);
  if (!tensor) return input;
  input.type.dtype = dtype_from_onnx(tensor->elem_type());
  if (!tensor->has_shape()) return input;
  input.type.ranked = true;
  for (const auto& dim : tensor->shape().dim()) {
    std::string name;
    if (!is_fixed(dim)) name = dim.dim_param().empty() ? unnamed_symbol() : dim.dim_param();
    input.type.shape.push_back(name.empty() ? dim.dim_value() : bind_symbol(name));
    input.names.push_back(std::move(name));
  }
  input.dynamic = std::ranges::any_of(input.names, [](const auto& name) { return !name.empty(); });
  if (!input.dynamic) input.names.clear();
  return input;
}

TensorType Symbols::declared(const onnx::ValueInfoProto& info) const {
  const onnx::TypeProto::Tensor* tensor = tensor_type(info);
  if (!tensor) return TensorType::unknown();
  TensorType type = TensorType::unknown(dtype_from_onnx(tensor->elem_type()));
  if (!tensor->has_shape()) return type;
  type.ranked = true;
  for (const auto& dim : tensor->shape().dim()) {
    int64_t extent = is_fixed(dim) ? dim.dim_value() : -1;
    if (!dim.dim_param().empty()) {
      const auto bound = bound_.find(dim.dim_param());
      const auto wish = bind_.find(dim.dim_param());
      if (wish != bind_.end()) extent = wish->second;
      if (bound != bound_.end()) extent = bound->second;
    }
    type.shape.push_back(extent);
  }
  return type;
}

std::string Symbols::defaults() const {
  std::string text;
  for (const std::string& name : defaulted_) {
    if (!text.empty()) text += ", ";
    text += name + "=1";
  }
  return text;
}

}  // namespace pare
