#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace pare {

class ChannelSlots;
class Graph;
struct Node;
enum class NodeId : uint32_t;

/// What a rule sees of one operand. An optional operand that is left out has a null type.
struct Operand {
  const TensorType* type = nullptr;
  /// The elements, where they are known before running: a weight, or shape arithmetic that was
  /// propagated (Graph::infer_types). Null otherwise.
  const Tensor* value = nullptr;

  explicit operator bool() const { return type != nullptr; }
  const Shape& shape() const { return type->shape; }
};

using Operands = std::span<const Operand>;

/// How INT8 quantization treats an op.
enum class Quant : uint8_t {
  kFloat,        ///< Keep in float (Softmax, unknown numerics).
  kWeighted,     ///< int8 x int8 -> int32 -> int8 with per-channel weights (Conv, Gemm, MatMul).
  kPassThrough,  ///< Output has the scale of its first input (MaxPool, Reshape, Transpose).
  kActivation,   ///< Merges into the weighted op before it (Relu, Clip), else passes through.
  kRescale,      ///< Has a scale of its own for every operand and the output (Add, Mul, Concat).
};

/// What changed around a node when slots were removed (OpDef::resize).
struct ShapeChange {
  std::span<const Shape> old_inputs;   ///< By operand; empty for one left out.
  std::span<const Shape> new_inputs;   ///< By operand.
  std::span<const Shape> new_outputs;  ///< What each output must become.
  /// Old indices that survive, ascending, by operand (or output) and axis; what Gather's indices or
  /// Slice's bounds are rewritten with. No axes for one left out or of unknown shape.
  std::span<const std::vector<std::vector<int64_t>>> kept_inputs;
  std::span<const std::vector<std::vector<int64_t>>> kept_outputs;
  /// Operands before the change, with their elements where those were known: shape arithmetic may
  /// come out otherwise now.
  Operands old_operands;
};

/// Everything the tool knows about one operator: one row of the op table.
///
/// A null rule means the tool cannot do that with the op, and says so: no `tie` pins the op's
/// operands, no `eval` makes the model not executable. Rules read a node as it stands in the file,
/// in whatever form its opset has (Node::opset); nothing is rewritten on import.
struct OpDef {
  std::string_view name;         ///< ONNX op_type.
  std::string_view domain = {};  ///< Empty for ai.onnx.
  int min_inputs = 1;
  int max_inputs = 1;  ///< kVariadic for any number.

  /// Types of the outputs, from operands and attributes, one for each of Node::outputs (at least).
  /// Called only when the type of every present operand is known() (see `infers_unknown`). An
  /// output whose extent depends on data gets -1 there. Throws Error(kInput) naming fact and
  /// expectation when the operands do not fit. Required.
  std::vector<TensorType> (*infer)(const Node&, Operands);
  /// `infer` copes with operands whose shape is not known() (Shape-like ops seldom do).
  bool infers_unknown = false;

  /// Declares which slots live and die together. Called only when every operand is known().
  void (*tie)(const Graph&, const Node&, ChannelSlots&) = nullptr;
  /// What `tie` does, in words a user understands: the documentation and `pare explain` say it.
  /// Empty exactly where `tie` is null.
  std::string_view channels = {};
  /// `tie` has a choice and looks at what other rules fixed (Reshape); it runs after all of them.
  bool ties_last = false;
  /// `tie` copes with operands whose shape is not known() and have no slots (what was selected by
  /// value).
  bool ties_unknown = false;
  /// Repairs attributes and constant operands that repeat an extent (group, split sizes, Reshape's
  /// target) after slots were removed, so that `infer` gives `new_outputs`.
  void (*resize)(Graph&, NodeId, const ShapeChange&) = nullptr;

  /// Multiply-accumulates of one inference. Null for none.
  uint64_t (*macs)(const Node&, Operands inputs, std::span<const TensorType> outputs) = nullptr;
  /// Other arithmetic operations (adds, comparisons, exponentials each count one). Null for none.
  uint64_t (*other_ops)(const Node&, Operands inputs,
                        std::span<const TensorType> outputs) = nullptr;

  /// Reference semantics on the CPU: operands in (null for one left out), outputs out, one for each
  /// of Node::outputs. Works from the operands' actual shapes, not from inferred ones, so a graph
  /// runs at any batch. Float16 and bfloat16 operands arrive as float and the result is rounded by
  /// the caller unless `native_half` is set.
  std::vector<Tensor> (*eval)(const Node&, std::span<const Tensor* const>) = nullptr;
  bool native_half = false;
  /// `eval` and `infer` look at the types of their operands only (Shape, Size).
  bool reads_only_types = false;

  Quant quant = Quant::kFloat;
  /// Rewrites a node from the form of an older opset into the form opset `target` (13 or newer)
  /// has. Null: the forms do not differ.
  void (*upgrade)(Graph&, NodeId, int64_t target) = nullptr;

  static constexpr int kVariadic = 1 << 20;
};

/// The rows a graph may use. The IR knows no operator by itself: the real table is onnx_ops() in
/// ops/ops.h, and a test may pass a table of its own.
class OpTable {
 public:
  explicit OpTable(std::span<const OpDef* const> rows) : rows_(rows) {}

  std::span<const OpDef* const> rows() const { return rows_; }

  /// The row for an ONNX op_type, or null when there is none. "ai.onnx" and "" are one domain.
  const OpDef* find(std::string_view domain, std::string_view name) const;

 private:
  std::span<const OpDef* const> rows_;
};

}  // namespace pare
