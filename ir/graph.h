#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "ir/op.h"
#include "tensor/tensor.h"

namespace pare {

/// Identities. Names are for people and for ONNX; the program compares ids.
enum class ValueId : uint32_t {};
enum class NodeId : uint32_t {};

constexpr uint32_t index(ValueId id) { return static_cast<uint32_t>(id); }
constexpr uint32_t index(NodeId id) { return static_cast<uint32_t>(id); }

/// What is left of a value: the indices of an axis, ascending; axes that lost none are left out.
using Survivors = std::map<int, std::vector<int64_t>>;
/// By value, what is left of those that lost something in one step.
using Cut = std::map<ValueId, Survivors>;

/// Stands for an optional operand or output that is left out ("" in ONNX).
inline constexpr ValueId kNoValue{0xffffffffu};

/// Text whose meaning only the importer and the exporter know (serialized protobuf).
struct Opaque {
  std::string bytes;
  bool operator==(const Opaque&) const = default;
};
using OpaqueRef = std::shared_ptr<const std::string>;

/// A tensor attribute compares by identity of the shared tensor.
using Attribute = std::variant<int64_t, float, std::string, std::vector<int64_t>,
                               std::vector<float>, std::vector<std::string>, TensorRef, Opaque>;
using Attributes = std::map<std::string, Attribute, std::less<>>;

/// One use of a value: operand `slot` of `node`.
struct Use {
  NodeId node;
  uint32_t slot;
  bool operator==(const Use&) const = default;
};

/// A tensor that flows along an edge: produced once, used any number of times.
struct Value {
  std::string name;
  TensorType type;
  TensorRef constant;  ///< Set for weights and folded constants, else null.
  TensorRef known;     ///< Value of propagated shape arithmetic at the bound dims, else null.
  std::vector<Use> uses;
  std::optional<NodeId> producer;  ///< Empty for graph inputs and constants.
  /// The shape or content depends on a symbolic dim of a graph input (a batch "N"), so what was
  /// inferred holds for the bound extent only and must not be frozen into the model.
  bool dynamic = false;
  /// Graph inputs: symbol of each symbolic axis, "" for a fixed one. Empty when all are fixed.
  std::vector<std::string> dim_symbols;
  OpaqueRef declaration;  ///< ValueInfoProto of the file, if it had one.
  OpaqueRef header;       ///< TensorProto of the file without its data, where it says more.
};

/// One operator application. `def` is null for an operator this tool does not know, or one that
/// holds subgraphs: such a node is carried through unchanged and pins all its operands.
struct Node {
  std::string name;
  std::string domain;
  std::string op;
  const OpDef* def = nullptr;
  int64_t opset = 13;  ///< Version of `domain` the node is written in.
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  /// The last `captures` of `inputs` are no operands of the op: its subgraphs read them by name.
  size_t captures = 0;
  Attributes attributes;
  OpaqueRef source;  ///< NodeProto of the file; null for a node a pass made.
  bool alive = true;

  bool has_input(size_t i) const { return i < inputs.size() && inputs[i] != kNoValue; }
  bool has_output(size_t i) const { return i < outputs.size() && outputs[i] != kNoValue; }
  bool has_attribute(std::string_view key) const { return attributes.contains(key); }

  /// The attribute, or `fallback` where it is left out. Throws Error(kInput) when the file gives it
  /// another type.
  template <typename T>
  T attribute(std::string_view key, T fallback) const {
    const auto it = attributes.find(key);
    if (it == attributes.end()) return fallback;
    if (const T* value = std::get_if<T>(&it->second)) return *value;
    throw Error(ErrorKind::kInput, "attribute '" + std::string(key) + "' has the wrong type");
  }
  std::string attribute(std::string_view key, const char* fallback) const {
    return attribute<std::string>(key, std::string(fallback));
  }
};

/// "node 'stem' (Conv)", for messages.
std::string describe(const Node& node);

/// A single-assignment dataflow graph in topological order.
///
/// Readers get const references. Every change goes through a member function below, which keeps use
/// lists right and bumps revision(); the pass manager therefore knows whether a pass changed
/// anything without asking it. Copying shares all weights, so a snapshot is cheap. Ids are never
/// reused and stay valid in copies, so they name the same thing in a graph and its snapshot.
class Graph {
 public:
  /// `ops` gives nodes their meaning and must outlive the graph.
  explicit Graph(const OpTable& ops) : ops_(&ops) {}

  // -- Building --------------------------------------------------------------
  ValueId add_input(const std::string& name, TensorType type,
                    std::vector<std::string> dim_symbols = {});
  /// A constant; the name is made unique where it is taken.
  ValueId add_constant(const std::string& name, Tensor tensor);
  /// Appends a node and infers its outputs; `op` is one of ai.onnx, or DOMAIN:OP. Returns the first
  /// output; more through node(value(result).producer).outputs.
  ValueId add_node(std::string_view op, std::vector<ValueId> inputs, Attributes attributes = {},
                   std::string name = {}, size_t outputs = 1);
  /// The same, in the execution order right before node `before`.
  ValueId insert_node(NodeId before, std::string_view op, std::vector<ValueId> inputs,
                      Attributes attributes = {}, std::string name = {}, size_t outputs = 1);
  /// For importers: adds `value` as it is; its name must be free.
  ValueId add_value(Value value);
  /// For importers: appends a fully formed node (inputs, outputs by id; def is looked up unless
  /// `opaque`). The caller runs infer_types() when all nodes are in.
  NodeId add_imported_node(Node node, bool opaque);
  /// For importers: declares an existing value a graph input.
  void mark_input(ValueId id);
  /// For importers: a subgraph uses `name` for itself, so unique_name() must not give it out.
  void reserve_name(std::string name) { names_.emplace(std::move(name), kNoValue); }
  /// For importers: replaces what the file says about a value.
  void set_declaration(ValueId id, OpaqueRef declaration);
  void set_outputs(std::vector<ValueId> outputs);
  void set_opset(const std::string& domain, int64_t version);

  // -- Reading ---------------------------------------------------------------
  const Value& value(ValueId id) const { return values_[index(id)]; }
  const Node& node(NodeId id) const { return nodes_[index(id)]; }
  const TensorType& type(ValueId id) const { return value(id).type; }
  /// Throws Error(kUnsupported) naming the value when its shape is not known.
  const Shape& shape(ValueId id) const;
  /// The constant's tensor, or null when the value is left out or no constant.
  const Tensor* constant(ValueId id) const;
  /// Live nodes, each after the producers of its operands.
  const std::vector<NodeId>& order() const { return order_; }
  /// Graph inputs in the file's order, without those that an initializer gives a value.
  const std::vector<ValueId>& inputs() const { return inputs_; }
  const std::vector<ValueId>& outputs() const { return outputs_; }
  uint32_t value_count() const { return static_cast<uint32_t>(values_.size()); }
  uint32_t node_count() const { return static_cast<uint32_t>(nodes_.size()); }
  /// Operands of a node as rules see them.
  std::vector<Operand> operands(const Node& node) const;
  std::vector<TensorType> output_types(const Node& node) const;
  bool is_output(ValueId id) const;
  /// The only node that uses `id`, when it is used exactly once and is no graph output.
  std::optional<NodeId> sole_user(ValueId id) const;
  const OpTable& ops() const { return *ops_; }
  const std::map<std::string, int64_t>& opsets() const { return opsets_; }
  /// Version of a domain ("" is ai.onnx), 0 when the model does not import it.
  int64_t opset(const std::string& domain = {}) const;
  uint64_t revision() const { return revision_; }
  /// What values have lost so far, in order; for telling how far one is from what it was.
  const std::vector<Cut>& cuts() const { return cuts_; }
  /// A name no value has: `wish`, or `wish` with a number behind it.
  std::string unique_name(const std::string& wish) const;

  // -- Changing --------------------------------------------------------------
  void set_constant(ValueId id, Tensor tensor);
  /// Keeps of a constant only its type: for what will never look at its elements again.
  void forget_elements(ValueId id);
  /// Turns a computed value into a constant and detaches it from its producer, which keeps a
  /// placeholder output (remove it when all its outputs are unused).
  void make_constant(ValueId id, Tensor tensor);
  void set_attribute(NodeId id, std::string key, Attribute attribute);
  void remove_attribute(NodeId id, std::string_view key);
  void set_inputs(NodeId id, std::vector<ValueId> inputs);
  void set_input(NodeId id, size_t slot, ValueId value);
  /// Changes what a node computes; attributes stay as they are.
  void set_op(NodeId id, std::string_view op);
  void set_node_opset(NodeId id, int64_t version);
  /// Points every use of `from`, graph outputs included, at `to`. A graph output keeps its name:
  /// `to` takes it over, for the name is part of the model's interface. `to` must not be a graph
  /// input or output when `from` is an output.
  void replace_uses(ValueId from, ValueId to);
  /// Removes a node whose outputs nobody uses.
  void remove_node(NodeId id);
  void rename(ValueId id, std::string name);
  /// Changes the bound shape of a graph input (a batch size); call infer_types() afterwards.
  void set_input_shape(ValueId id, Shape shape);
  /// Recomputes the output types and propagated values of one node from its operands, or of every
  /// node in order. What stays the same is no change. Where an operand's shape is not known, the
  /// outputs keep the type the file declared.
  void infer_types(NodeId id);
  void infer_types();

  /// Remembers what values have lost, of which remove_slots() is to know. Changes nothing else.
  void add_cut(Cut cut) { cuts_.push_back(std::move(cut)); }

  // -- For importers and exporters ---------------------------------------------
  /// What the file says beside the graph (ModelProto without nodes and weights) and where it lay.
  OpaqueRef shell;
  std::string source_path;
  /// Free text about the model by key (ONNX metadata_props): a detector's class names, say.
  std::map<std::string, std::string> metadata;

 private:
  Value& mutable_value(ValueId id) { return values_[index(id)]; }
  Node& mutable_node(NodeId id) { return nodes_[index(id)]; }
  /// `wish`, or `wish` with a number behind it: ONNX Runtime refuses nodes that share a name.
  std::string unique_node_name(const std::string& wish) const;
  ValueId add_node_at(size_t position, std::string_view op, std::vector<ValueId> inputs,
                      Attributes attributes, std::string name, size_t outputs);
  void attach(NodeId id);
  void detach(NodeId id);
  void propagate(const Node& node, const std::vector<Operand>& operands);

  const OpTable* ops_;
  std::deque<Value> values_;
  std::deque<Node> nodes_;
  std::vector<NodeId> order_;
  std::vector<ValueId> inputs_, outputs_;
  std::map<std::string, int64_t> opsets_;
  std::map<std::string, ValueId, std::less<>> names_;
  std::vector<Cut> cuts_;
  uint64_t revision_ = 0;
};

/// Checks every structural invariant: use lists, order, unique names, recorded types. Throws
/// Error(kInternal) naming the first node that breaks one.
void verify(const Graph& graph);

/// One line a node; the format the golden tests compare.
std::string to_text(const Graph& graph);

}  // namespace pare
