#include "conformance/inference.h"

#include "conformance/close.h"

namespace pare::conformance {
namespace {

/// Whether `actual` is one of the types `inferred` allows.
bool allows(const TensorType& inferred, bool dynamic, const TensorType& actual) {
  if (inferred.dtype != DType::kUndefined && inferred.dtype != actual.dtype) return false;
  if (!inferred.ranked) return true;
  if (inferred.shape.size() != actual.shape.size()) return false;
  for (size_t i = 0; i < actual.shape.size() && !dynamic; ++i) {
    if (inferred.shape[i] != -1 && inferred.shape[i] != actual.shape[i]) return false;
  }
  return true;
}

}  // namespace

std::string contradiction(const Value& value, const Tensor& tensor) {
  if (!allows(value.type, value.dynamic, tensor.type()))
    return "'" + value.name + "' was inferred as " + to_string(value.type) + ", but it is " +
           to_string(tensor.type());
  if (!value.known || value.dynamic) return {};
  const std::string wrong = difference(tensor, *value.known, {});
  return wrong.empty() ? "" : "propagated value of '" + value.name + "' " + wrong;
}

}  // namespace pare::conformance
