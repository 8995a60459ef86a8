#pragma once

#include <onnx/onnx_pb.h>

#include "ir/graph.h"
#include "onnx_proto/tensor_codec.h"

namespace pare {

/// True for an attribute that holds subgraphs.
bool holds_graphs(const onnx::AttributeProto& proto);

/// Decodes an attribute. What the IR has no form for (graphs, sparse tensors, types, references to
/// a function's attributes) becomes Opaque with all of `proto` in it; so does a tensor when
/// `keep_tensors` is not set, for then nobody will look at it. Throws Error(kInput) when `proto`
/// does not say what its type is.
Attribute read_attribute(onnx::AttributeProto proto, bool keep_tensors,
                         const ExternalSource& external);

/// Makes `proto` say `attribute`; its name, doc string and unknown fields stay.
void put_attribute(const Attribute& attribute, onnx::AttributeProto& proto);

/// Same type and value; tensors by content, floats by bits (a NaN equals itself).
bool same_attribute(const Attribute& a, const Attribute& b);

}  // namespace pare
