#pragma once

// Private to exec: how a plan is put together. This header shows oneDNN's types.

#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "exec/arena.h"
#include "exec/fusion.h"
#include "exec/plan.h"

namespace pare {

using Desc = dnnl::memory::desc;
using Dims = dnnl::memory::dims;
using SlotId = size_t;

/// Where the bytes of a slot are.
enum class Home : uint8_t {
  kInput,     ///< A graph input's tensor.
  kConstant,  ///< Packed or original weights.
  kArena,     ///< The run's block of activations.
  kTensor,    ///< A tensor that evaluate() returned.
};

/// A value in one layout.
struct Slot {
  Desc desc;  ///< Empty where oneDNN cannot see it: integers, extents that data decides.
  Home home = Home::kTensor;
  /// kArena: its buffer, which views of the same bytes share. kInput: its number. kConstant: its
  /// entry in PlanCode::constants.
  size_t place = 0;
  std::vector<SlotId> aliases;     ///< Other layouts that name the same bytes of a tensor.
  std::optional<SlotId> alias_of;  ///< The slot this is an alias of.
};

/// Bytes of a constant, kept alive by whoever owns them.
struct ConstantBytes {
  std::shared_ptr<const void> owner;
  const void* data = nullptr;
  size_t packed_bytes = 0;  ///< Of those made for the plan.
  bool read = false;        ///< By a step.
};

/// A step calls a primitive, reshapes a tensor, or evaluates a node.
struct Step {
  dnnl::primitive primitive;
  std::vector<std::pair<int, SlotId>> arguments;  ///< DNNL_ARG_* and where it lies.
  Desc scratchpad;
  const Node* node = nullptr;                 ///< To evaluate.
  std::vector<std::optional<SlotId>> inputs;  ///< Of `node` where computed, or what to reshape.
  std::vector<std::optional<SlotId>> outputs;
  std::optional<Shape> reshape;
  std::vector<SlotId> dying;  ///< Tensors nobody needs after this step.
  std::vector<std::pair<ValueId, SlotId>> observed;
};

/// Everything a run needs.
struct PlanCode {
  Graph graph;
  bool packs = true;  ///< False where only the sizes are wanted.
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  std::vector<Slot> slots;
  std::vector<ConstantBytes> constants;
  std::vector<Step> steps;
  std::vector<PlanStep> infos;
  std::vector<SlotId> inputs, outputs;
  std::vector<size_t> offsets;  ///< Of each buffer in the arena.
  size_t arena_bytes = 0, scratchpad_bytes = 0;

  size_t activation_bytes() const { return arena_bytes + scratchpad_bytes; }
};

/// The dense row-major layout of a shape; elements are f32, u8, i8 or i32.
Desc plain_desc(const Shape& shape, DType dtype = DType::kF32);
/// Strides of the dense row-major layout [elements].
Shape dense_strides(const Shape& shape);
/// The same with given strides instead.
Desc strided_desc(const Shape& shape, const Shape& strides, DType dtype = DType::kF32);
/// A layout the primitive may choose.
Desc any_desc(const Shape& shape, DType dtype = DType::kF32);
/// The same layout with elements of another type of the same size.
Desc retyped(Desc desc, DType dtype);
/// Attributes that leave the scratchpad to the run. One primitive each: copies share their state.
dnnl::primitive_attr plain_attributes();
/// A plain reference loop of oneDNN's is slower than evaluate().
bool is_fast(const dnnl::primitive_desc_base& pd);

/// Appends steps to a plan, and knows in which layouts each value is there.
class PlanBuilder {
 public:
  /// `order` is that in which observers see elements.
  PlanBuilder(PlanCode& code, ElementOrder order);

  const Graph& graph() const { return code_.graph; }
  const dnnl::engine& engine() const { return code_.engine; }

  /// A float value of known, non-empty extents: something primitives can take.
  bool is_dense(ValueId id) const;
  /// The same for an 8-bit value.
  bool is_byte(ValueId id) const;
  /// The layout a value was made in.
  Desc desc_of(ValueId id);
  /// The layout two operands of one shape should meet in: that of `a`, unless only `b` was made by
  /// a primitive that chose one.
  Desc common_desc(ValueId a, ValueId b);
  /// A slot that holds the value in that layout; reorders where there is none yet.
  SlotId slot_in(ValueId id, const Desc& desc);
  SlotId plain_slot(ValueId id);
  /// Where the value can be taken from as a tensor: in plain layout, or as evaluate() made it.
  SlotId tensor_slot(ValueId id);
  const Slot& slot(SlotId id) const { return code_.slots[id]; }
  /// The bytes of `slot` under another layout of the same size.
  SlotId alias(SlotId slot, const Desc& desc);
  /// The value in layout `desc`, whose dims may split the value's otherwise when it is dense
  /// row-major; nothing where that cannot be.
  std::optional<SlotId> slot_like(ValueId id, const Desc& desc);
  /// Some of `others` has its bytes in the same buffer.
  bool shares(SlotId slot, const std::vector<SlotId>& others) const;
  /// A constant of the plan's own, reordered from `from` to `to`.
  SlotId pack(const Tensor& tensor, const Desc& from, const Desc& to);
  /// A new buffer for the value, or the bytes of `in_place` where its buffer may be overwritten.
  SlotId define(ValueId id, const Desc& desc, std::optional<SlotId> in_place = {});
  /// The value is another name of `source`, in whatever layout that has.
  void define_same(ValueId id, ValueId source, NodeId node);
  /// The value is a view of bytes that `slot` holds, under another shape.
  void define_view(ValueId id, SlotId slot, const Shape& shape, NodeId node);
  /// No group after the one being lowered reads the value.
  bool dies_here(ValueId id) const;
  /// The group being lowered may put its result over the value: no later group reads its bytes.
  bool may_overwrite(ValueId id, SlotId slot) const;

  struct Call {
    dnnl::primitive primitive;
    const dnnl::primitive_desc_base* desc = nullptr;
    std::vector<std::pair<int, SlotId>> arguments;
  };
  void add_call(Call call, const std::vector<NodeId>& nodes, const Desc& result);
  /// Evaluates a node as the interpreter does.
  void add_eval(NodeId id);
  /// Adds observers and frees; called after the steps of each group.
  void finish_group(const FusedNode& group, const std::vector<bool>& observed);
  /// Results, lifetimes, arena.
  void finish();

  /// What is lowered next ends with the node at `position`, counted over all groups in order: what
  /// nothing behind it reads may be overwritten.
  void start(size_t position) { position_ = position; }
  void count_uses(const std::vector<FusedNode>& groups);

 private:
  SlotId add_slot(Slot slot);
  SlotId constant_slot(ValueId id);
  Desc plain_desc_of(ValueId id) const;
  SlotId reorder_to(SlotId from, const Desc& desc);
  void touch(SlotId slot);
  void count_constants(const std::vector<FusedNode>& groups);
  /// Forgets weights of the graph that were packed, now that no group needs them as they were.
  void release_constants();
  std::string kind_of(const std::vector<NodeId>& nodes) const;

  /// Where an observer can look at the elements of a value.
  SlotId observed_slot(ValueId id);

  PlanCode& code_;
  ElementOrder order_;
  std::vector<std::vector<SlotId>> slots_of_;  ///< By value; the first is the one it was made in.
  std::vector<ArenaBuffer> buffers_;
  std::vector<size_t> last_read_;  ///< By value: position of the last node that reads it.
  std::vector<size_t> buffer_last_read_;
  std::vector<size_t> last_step_;  ///< By slot, for tensors.
  size_t position_ = 0;
  std::vector<std::vector<ValueId>> done_;  ///< By position: constants that nothing later may read.
  size_t released_ = 0;                     ///< The first position whose constants are still there.
  std::vector<bool> evaluated_;             ///< By value: the interpreter reads this constant.
};

/// The post-operations of a group as oneDNN's.
class PostOps {
 public:
  /// For a result in layout `result`. Nothing when one cannot be expressed.
  /// `sources` are what the group's anchor reads.
  static std::optional<PostOps> build(PlanBuilder& builder, const FusedNode& group,
                                      const Desc& result, const std::vector<SlotId>& sources);

  dnnl::primitive_attr attributes() const;
  /// Operands of binary post-operations.
  const std::vector<std::pair<int, SlotId>>& arguments() const { return arguments_; }
  /// The slot the result is accumulated into.
  std::optional<SlotId> in_place() const { return in_place_; }

 private:
  dnnl::post_ops ops_;
  std::vector<std::pair<int, SlotId>> arguments_;
  std::optional<SlotId> in_place_;
};

/// Curves as oneDNN's post-operations.
dnnl::post_ops post_ops_of(const std::vector<Curve>& curves);

/// Each lowers a group it knows and returns true, or leaves the builder as it was.
bool lower_quantized(PlanBuilder& builder, const FusedNode& group);
bool lower_convolution(PlanBuilder& builder, const FusedNode& group);
bool lower_inner_product(PlanBuilder& builder, const FusedNode& group);
bool lower_matmul(PlanBuilder& builder, const FusedNode& group);
bool lower_pooling(PlanBuilder& builder, const FusedNode& group);
bool lower_elementwise(PlanBuilder& builder, const FusedNode& group);
/// A pooling `node` over `input`, which stands for the node's own operand.
bool lower_pool(PlanBuilder& builder, const FusedNode& group, const Node& node, ValueId input);
bool lower_normalization(PlanBuilder& builder, const FusedNode& group);
bool lower_movement(PlanBuilder& builder, const FusedNode& group);

}  // namespace pare
