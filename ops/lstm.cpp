// ONNX LSTM. https://onnx.ai/onnx/operators/onnx__LSTM.html
//
//   X [T, N, I]  W [D, 4H, I]  R [D, 4H, H]  B [D, 8H]  sequence_lens [N]  initial_h, initial_c
//   [D, N, H]  P [D, 3H]   ->   Y [T, D, N, H]  Y_h, Y_c [D, N, H]
//
// Gates in the order input, output, forget, cell; peepholes in the order input, output, forget.

#include "ops/recurrent.h"
#include "ops/rows.h"

namespace pare {
namespace {

constexpr int64_t kGates = 4;

std::vector<TensorType> infer(const Node& node, Operands in) {
  return infer_recurrent(node, in, kGates, 2);
}

uint64_t macs(const Node& node, Operands in, std::span<const TensorType>) {
  return recurrent_macs(node, in, kGates);
}

/// Per unit: bias and activation of four gates; two products and a sum for the cell, its
/// activation, the output product.
uint64_t other_ops(const Node& node, Operands in, std::span<const TensorType>) {
  return recurrent_ops(node, in, kGates, 13);
}

/// One direction's parameters.
template <typename T>
struct Cell {
  double limit;
  const Recurrence& r;
  int64_t direction;
  const Tensor& recurrent;
  const T* bias;      ///< [8H], null for none.
  const T* peephole;  ///< [3H], null for none.
  const Activation *f, *g, *h;
  bool couples;  ///< Attribute input_forget: the forget gate is 1 - input gate.

  void operator()(std::vector<T>& gates, RecurrentState<T>& state) const {
    const int64_t hidden = r.hidden, width = kGates * hidden;
    add_recurrent_product(r, recurrent, direction, 0, kGates, state.h, gates.data(), width);
    for (int64_t n = 0; n < r.batch; ++n) {
      for (int64_t u = 0; u < hidden; ++u) {
        T& cell = state.c[static_cast<size_t>(n * hidden + u)];
        const auto input = [&](int64_t gate, int64_t hole) {
          const int64_t at = gate * hidden + u;
          T x = gates[static_cast<size_t>(n * width + at)];
          if (bias) x += bias[at] + bias[width + at];
          if (peephole && hole >= 0) x += peephole[hole * hidden + u] * cell;
          return clip_input(static_cast<double>(x), limit);
        };
        const double i = (*f)(input(0, 0));
        const double forget = couples ? 1 - i : (*f)(input(2, 2));
        const double candidate = (*g)(input(3, -1));
        cell = static_cast<T>(forget * static_cast<double>(cell) + i * candidate);
        const double o = (*f)(input(1, 1));  // Its peephole looks at the new cell.
        state.h[static_cast<size_t>(n * hidden + u)] =
            static_cast<T>(o * (*h)(static_cast<double>(cell)));
      }
    }
  }
};

template <typename T>
std::vector<Tensor> run(const Node& node, std::span<const Tensor* const> in) {
  const Recurrence r = recurrence(node, as_operands(in), kGates);
  const std::vector<Activation> functions = read_activations(node, r, {"Sigmoid", "Tanh", "Tanh"});
  const auto row = [&](size_t slot, int64_t direction, int64_t width) -> const T* {
    return slot < in.size() && in[slot] ? in[slot]->data<T>().data() + direction * width : nullptr;
  };
  return run_recurrent<T>(r, in, true, [&](int64_t d) {
    const Activation* first = functions.data() + 3 * d;
    return Cell<T>{clip_limit(node),
                   r,
                   d,
                   *in[kR],
                   row(kB, d, 2 * kGates * r.hidden),
                   row(kPeephole, d, 3 * r.hidden),
                   first,
                   first + 1,
                   first + 2,
                   node.attribute<int64_t>("input_forget", 0) != 0};
  });
}

std::vector<Tensor> eval(const Node& node, std::span<const Tensor* const> in) {
  return visit_float(in[0]->dtype(), [&]<typename T>() { return run<T>(node, in); });
}

/// Opset 1 has a flag for what the presence of Y says since.
void upgrade(Graph& graph, NodeId id, int64_t) { graph.remove_attribute(id, "output_sequence"); }

}  // namespace

constinit const OpDef kLSTM = {
    .name = "LSTM",
    .min_inputs = 3,
    .max_inputs = 8,
    .infer = infer,
    .tie = tie_recurrent,
    .channels = kRecurrentChannels,
    .macs = macs,
    .other_ops = other_ops,
    .eval = eval,
    .upgrade = upgrade,
};

}  // namespace pare
