#include "onnx_proto/attribute_codec.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace pare {
namespace {

using Proto = onnx::AttributeProto;

/// The declared type, or for files older than that field what is filled in.
Proto::AttributeType type_of(const Proto& proto) {
  if (proto.type() != Proto::UNDEFINED) return proto.type();
  if (proto.has_f()) return Proto::FLOAT;
  if (proto.has_i()) return Proto::INT;
  if (proto.has_s()) return Proto::STRING;
  if (proto.has_t()) return Proto::TENSOR;
  if (proto.has_g()) return Proto::GRAPH;
  if (proto.floats_size() > 0) return Proto::FLOATS;
  if (proto.ints_size() > 0) return Proto::INTS;
  if (proto.strings_size() > 0) return Proto::STRINGS;
  if (proto.graphs_size() > 0) return Proto::GRAPHS;
  return Proto::UNDEFINED;
}

Opaque opaque(const Proto& proto) { return {proto.SerializeAsString()}; }

bool same_bits(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
}

void clear_values(Proto& proto) {
  proto.clear_type();
  proto.clear_ref_attr_name();
  proto.clear_f();
  proto.clear_i();
  proto.clear_s();
  proto.clear_t();
  proto.clear_g();
  proto.clear_sparse_tensor();
  proto.clear_tp();
  proto.clear_floats();
  proto.clear_ints();
  proto.clear_strings();
  proto.clear_tensors();
  proto.clear_graphs();
  proto.clear_sparse_tensors();
  proto.clear_type_protos();
}

/// One overload for each form an attribute has.
struct Putter {
  Proto& proto;

  void operator()(int64_t value) const {
    proto.set_type(Proto::INT);
    proto.set_i(value);
  }
  void operator()(float value) const {
    proto.set_type(Proto::FLOAT);
    proto.set_f(value);
  }
  void operator()(const std::string& value) const {
    proto.set_type(Proto::STRING);
    proto.set_s(value);
  }
  void operator()(const std::vector<int64_t>& values) const {
    proto.set_type(Proto::INTS);
    for (int64_t value : values) proto.add_ints(value);
  }
  void operator()(const std::vector<float>& values) const {
    proto.set_type(Proto::FLOATS);
    for (float value : values) proto.add_floats(value);
  }
  void operator()(const std::vector<std::string>& values) const {
    proto.set_type(Proto::STRINGS);
    for (const std::string& value : values) proto.add_strings(value);
  }
  void operator()(const TensorRef& tensor) const {
    proto.set_type(Proto::TENSOR);
    put_tensor(*tensor, *proto.mutable_t());
  }
  void operator()(const Opaque& opaque) const {
    PARE_CHECK(proto.ParseFromString(opaque.bytes), "an opaque attribute was altered");
  }
};

}  // namespace

bool holds_graphs(const Proto& proto) { return proto.has_g() || proto.graphs_size() > 0; }

Attribute read_attribute(Proto proto, bool keep_tensors, const ExternalSource& external) {
  if (proto.has_ref_attr_name() || holds_graphs(proto)) return opaque(proto);
  switch (type_of(proto)) {
    case Proto::FLOAT:
      return proto.f();
    case Proto::INT:
      return proto.i();
    case Proto::STRING:
      return proto.s();
    case Proto::FLOATS:
      return std::vector<float>(proto.floats().begin(), proto.floats().end());
    case Proto::INTS:
      return std::vector<int64_t>(proto.ints().begin(), proto.ints().end());
    case Proto::STRINGS:
      return std::vector<std::string>(proto.strings().begin(), proto.strings().end());
    case Proto::TENSOR:
      if (!keep_tensors) return opaque(proto);
      return std::make_shared<const Tensor>(take_tensor(*proto.mutable_t(), external));
    default:
      return opaque(proto);
  }
}

void put_attribute(const Attribute& attribute, Proto& proto) {
  onnx::TensorProto tensor;  // Its name and doc string outlive the elements.
  if (proto.has_t()) tensor.Swap(proto.mutable_t());
  clear_values(proto);
  if (std::holds_alternative<TensorRef>(attribute)) proto.mutable_t()->Swap(&tensor);
  std::visit(Putter{proto}, attribute);
}

bool same_attribute(const Attribute& a, const Attribute& b) {
  if (a.index() != b.index()) return false;
  if (const auto* tensor = std::get_if<TensorRef>(&a))
    return *tensor == std::get<TensorRef>(b) || identical(**tensor, *std::get<TensorRef>(b));
  if (const auto* value = std::get_if<float>(&a)) return same_bits(*value, std::get<float>(b));
  if (const auto* values = std::get_if<std::vector<float>>(&a))
    return std::ranges::equal(*values, std::get<std::vector<float>>(b), same_bits);
  return a == b;
}

}  // namespace pare
