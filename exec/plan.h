#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "exec/interpreter.h"

namespace pare {

/// In which order a hook sees the elements of an observed value.
enum class ElementOrder : uint8_t {
  kRowMajor,
  kAny,  ///< As they lie in memory where that saves a reorder: for sums and counts over all.
};

struct PlanOptions {
  /// Extents of the graph inputs, in order; empty for those that were inferred.
  std::vector<Shape> input_shapes;
  /// Values a hook wants to see: they are computed as such and not fused away.
  std::vector<ValueId> observed;
  ElementOrder order = ElementOrder::kRowMajor;  ///< Of observed values.
};

/// What a plan does in one step, for reports.
struct PlanStep {
  std::string kind;            ///< "Conv + Add + Relu", or "reorder".
  std::string implementation;  ///< Of oneDNN ("jit:avx512_core"), or "eval" for the interpreter's.
  std::string layout;          ///< Of the result, in oneDNN's letters ("aBcd16b").
  std::vector<NodeId> nodes;   ///< Of the graph; empty for a reorder.
};

/// A graph compiled for one set of input extents: oneDNN primitives in blocked layouts, weights
/// packed once, elementwise operators and residual additions fused into what comes before them, and
/// all activations in one block of memory that is reused as values die. A node without a primitive
/// runs as the interpreter runs it (evaluate()).
///
/// Means what execute() means, up to the rounding of float sums. A run is on the calling thread
/// alone: results at another number of threads might differ in the last bit. Thread-safe: each run
/// takes a block of activations of its own, and hands it on to a later run.
class Plan {
 public:
  /// What activation_bytes() of such a plan would be; no weights are packed to find out.
  static size_t activation_bytes_of(Graph graph, const PlanOptions& options = {});

  /// Lets go of each of the graph's weights once it is packed, so that weights are held once where
  /// nobody else has them. Throws what Graph::infer_types() throws where the extents do not fit.
  explicit Plan(Graph graph, const PlanOptions& options = {});
  Plan(Plan&&) noexcept;
  Plan& operator=(Plan&&) noexcept;
  ~Plan();

  /// Runs once. `inputs` must have the extents the plan was compiled for. `hook` sees the observed
  /// values as they are computed. Returns the graph outputs in order.
  std::vector<Tensor> run(const std::vector<Tensor>& inputs, const ValueHook& hook = {}) const;
  /// The same; adds the seconds each step took to `seconds`, which has a place for every step.
  std::vector<Tensor> run_timed(const std::vector<Tensor>& inputs,
                                std::vector<double>& seconds) const;

  /// The graph at the extents the plan was compiled for. Of constants it may have but the types.
  const Graph& graph() const;
  const std::vector<PlanStep>& steps() const;
  /// Memory for the activations of one run, and for packed weights [bytes].
  size_t activation_bytes() const;
  size_t weight_bytes() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pare
