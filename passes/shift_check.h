#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "passes/shift_arithmetic.h"

namespace pare {

/// A stored tensor as simulated beside the same from elsewhere.
struct TensorMatch {
  NodeId maker;        ///< The node that computes it; QuantizeLinear itself for a graph input.
  std::string tensor;  ///< Name of what is quantized.
  int64_t elements = 0;
  int64_t different = 0;
  int64_t largest = 0;                 ///< Difference, in steps of the code.
  std::vector<int64_t> at;             ///< Of the first element that differs.
  double expected = 0, simulated = 0;  ///< There, in steps.
};

/// The node whose result a QuantizeLinear stores: what the activation behind it belongs to.
NodeId maker_of(const Graph& graph, NodeId quantize);

/// Compares the simulation of one input with what computing the model in float gives: every
/// QuantizeLinear, in execution order. A difference of one step is a sum whose rounding to 24 bits
/// moved it over a half, or under ShiftRounding::kHalfUp a half itself.
std::vector<TensorMatch> compare_with_float(const Graph& graph, const std::vector<Tensor>& inputs,
                                            ShiftRounding rounding);

/// Compares it with a dump: tensors by name. A name is that of a float value that is quantized, of
/// its integers, or of what DequantizeLinear makes of them; with / as _ where files are named so.
/// Whole numbers are codes, floats what they stand for; [N, H, W, C] is recognised by the shape.
/// Tensors that the dump does not have are left out. Throws Error(kInput) for one of another size.
std::vector<TensorMatch> compare_with_dump(const Graph& graph, const std::vector<Tensor>& inputs,
                                           ShiftRounding rounding,
                                           const std::map<std::string, Tensor>& dump);

/// The tensor a dump holds for a value; null where it has none.
const Tensor* find_dumped(const std::map<std::string, Tensor>& dump, const std::string& name);

}  // namespace pare
