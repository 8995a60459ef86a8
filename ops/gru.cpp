// ONNX GRU. https://onnx.ai/onnx/operators/onnx__GRU.html
//
//   X [T, N, I]  W [D, 3H, I]  R [D, 3H, H]  B [D, 6H]  sequence_lens [N]  initial_h [D, N, H]
//   ->   Y [T, D, N, H]  Y_h [D, N, H]
//
// Gates in the order update, reset, hidden.

#include "ops/recurrent.h"
#include "ops/rows.h"

namespace pare {
namespace {

constexpr int64_t kGates = 3;

std::vector<TensorType> infer(const Node& node, Operands in) {
  return infer_recurrent(node, in, kGates, 1);
}

uint64_t macs(const Node& node, Operands in, std::span<const TensorType>) {
  return recurrent_macs(node, in, kGates);
}

/// Per unit: bias and activation of three gates; the reset product; 1 - z, two products and a sum.
uint64_t other_ops(const Node& node, Operands in, std::span<const TensorType>) {
  return recurrent_ops(node, in, kGates, 11);
}

/// One direction's parameters.
template <typename T>
struct Cell {
  double limit;
  const Recurrence& r;
  int64_t direction;
  const Tensor& recurrent;
  const T* bias;  ///< [6H], null for none.
  const Activation *f, *g;
  bool reset_last;  ///< Attribute linear_before_reset: r times (H R + b) instead of (r H) R + b.

  T bias_of(int64_t at) const { return bias ? bias[at] : T{0}; }

  void operator()(std::vector<T>& gates, RecurrentState<T>& state) const {
    const int64_t hidden = r.hidden, width = kGates * hidden;
    add_recurrent_product(r, recurrent, direction, 0, 2, state.h, gates.data(), width);
    const auto gate = [&](int64_t n, int64_t at) {
      const T x = gates[static_cast<size_t>(n * width + at)] + bias_of(at) + bias_of(width + at);
      return (*f)(clip_input(static_cast<double>(x), limit));
    };
    const std::vector<T> last = hidden_product(state, gate);
    for (int64_t n = 0; n < r.batch; ++n) {
      for (int64_t u = 0; u < hidden; ++u) {
        const auto at = static_cast<size_t>(n * hidden + u);
        const double z = gate(n, u);
        T x = last[at] + bias_of(width + 2 * hidden + u);
        if (reset_last) x = static_cast<T>(gate(n, hidden + u)) * x;
        x += gates[static_cast<size_t>(n * width + 2 * hidden + u)] + bias_of(2 * hidden + u);
        const double candidate = (*g)(clip_input(static_cast<double>(x), limit));
        state.h[at] = static_cast<T>((1 - z) * candidate + z * static_cast<double>(state.h[at]));
      }
    }
  }

  /// The recurrent product of the hidden gate [N, H], of the state or of its reset part.
  template <typename Gate>
  std::vector<T> hidden_product(const RecurrentState<T>& state, Gate&& gate) const {
    std::vector<T> product(state.h.size(), T{0}), h = state.h;
    for (int64_t i = 0; !reset_last && i < r.batch * r.hidden; ++i)
      h[static_cast<size_t>(i)] *= static_cast<T>(gate(i / r.hidden, r.hidden + i % r.hidden));
    add_recurrent_product(r, recurrent, direction, 2, 1, h, product.data(), r.hidden);
    return product;
  }
};

template <typename T>
std::vector<Tensor> run(const Node& node, std::span<const Tensor* const> in) {
  const Recurrence r = recurrence(node, as_operands(in), kGates);
  const std::vector<Activation> functions = read_activations(node, r, {"Sigmoid", "Tanh"});
  const Tensor* bias = in.size() > kB ? in[kB] : nullptr;
  std::vector<Tensor> outputs = run_recurrent<T>(r, in, false, [&](int64_t d) {
    return Cell<T>{clip_limit(node),
                   r,
                   d,
                   *in[kR],
                   bias ? bias->data<T>().data() + d * 2 * kGates * r.hidden : nullptr,
                   functions.data() + 2 * d,
                   functions.data() + 2 * d + 1,
                   node.attribute<int64_t>("linear_before_reset", 0) != 0};
  });
  outputs.pop_back();
  return outputs;
}

std::vector<Tensor> eval(const Node& node, std::span<const Tensor* const> in) {
  return visit_float(in[0]->dtype(), [&]<typename T>() { return run<T>(node, in); });
}

/// Opset 1 has a flag for what the presence of Y says since.
void upgrade(Graph& graph, NodeId id, int64_t) { graph.remove_attribute(id, "output_sequence"); }

}  // namespace

constinit const OpDef kGRU = {
    .name = "GRU",
    .min_inputs = 3,
    .max_inputs = 6,
    .infer = infer,
    .tie = tie_recurrent,
    .channels = kRecurrentChannels,
    .macs = macs,
    .other_ops = other_ops,
    .eval = eval,
    .upgrade = upgrade,
};

}  // namespace pare
