// ONNX RNN. https://onnx.ai/onnx/operators/onnx__RNN.html
//
//   X [T, N, I]  W [D, H, I]  R [D, H, H]  B [D, 2H]  sequence_lens [N]  initial_h [D, N, H]
//   ->   Y [T, D, N, H]  Y_h [D, N, H]

#include "ops/recurrent.h"
#include "ops/rows.h"

namespace pare {
namespace {

constexpr int64_t kGates = 1;

std::vector<TensorType> infer(const Node& node, Operands in) {
  return infer_recurrent(node, in, kGates, 1);
}

uint64_t macs(const Node& node, Operands in, std::span<const TensorType>) {
  return recurrent_macs(node, in, kGates);
}

/// Per unit: bias and activation.
uint64_t other_ops(const Node& node, Operands in, std::span<const TensorType>) {
  return recurrent_ops(node, in, kGates, 2);
}

template <typename T>
std::vector<Tensor> run(const Node& node, std::span<const Tensor* const> in) {
  const Recurrence r = recurrence(node, as_operands(in), kGates);
  const std::vector<Activation> functions = read_activations(node, r, {"Tanh"});
  const Tensor* bias = in.size() > kB ? in[kB] : nullptr;
  const double limit = clip_limit(node);
  const auto make_step = [&](int64_t d) {
    const Activation& f = functions[static_cast<size_t>(d)];
    const T* b = bias ? bias->data<T>().data() + d * 2 * r.hidden : nullptr;
    return
        [limit, &r, &f, b, d, weights = in[kR]](std::vector<T>& gates, RecurrentState<T>& state) {
          add_recurrent_product(r, *weights, d, 0, kGates, state.h, gates.data(), r.hidden);
          for (size_t i = 0; i < gates.size(); ++i) {
            const auto u = static_cast<int64_t>(i) % r.hidden;
            const T x = gates[i] + (b ? b[u] + b[r.hidden + u] : T{0});
            state.h[i] = static_cast<T>(f(clip_input(static_cast<double>(x), limit)));
          }
        };
  };
  std::vector<Tensor> outputs = run_recurrent<T>(r, in, false, make_step);
  outputs.pop_back();
  return outputs;
}

std::vector<Tensor> eval(const Node& node, std::span<const Tensor* const> in) {
  return visit_float(in[0]->dtype(), [&]<typename T>() { return run<T>(node, in); });
}

/// Opset 1 has a flag for what the presence of Y says since.
void upgrade(Graph& graph, NodeId id, int64_t) { graph.remove_attribute(id, "output_sequence"); }

}  // namespace

constinit const OpDef kRNN = {
    .name = "RNN",
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
