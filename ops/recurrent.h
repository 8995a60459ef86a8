#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "ops/elementwise.h"
#include "ops/plain_gemm.h"

namespace pare {

class ChannelSlots;

// What LSTM, GRU and RNN have in common. Gates lie behind each other in W [D, G H, I] and
// R [D, G H, H] for D directions, G gates, H hidden units and I inputs; B [D, 2 G H] holds the bias
// of W, then that of R. Time comes first: X [T, N, I], Y [T, D, N, H], states [D, N, H]; with
// layout=1 the batch does: X [N, T, I], Y [N, T, D, H], states [N, D, H].

enum RecurrentOperand : size_t { kX, kW, kR, kB, kSequenceLens, kInitialH, kInitialC, kPeephole };

struct Recurrence {
  int64_t steps, batch, input, hidden, directions, gates;
  bool batch_first, first_is_reverse;

  bool reverse(int64_t direction) const { return direction == 1 || first_is_reverse; }
  Shape state_shape() const;
  Shape output_shape() const;
};

/// Reads and checks the operands that all three ops have.
Recurrence recurrence(const Node& node, Operands in, int64_t gates);

/// Y, then `states` final states.
std::vector<TensorType> infer_recurrent(const Node& node, Operands in, int64_t gates,
                                        size_t states);

/// The input features may go; all else is fixed.
void tie_recurrent(const Graph& graph, const Node& node, ChannelSlots& slots);
inline constexpr std::string_view kRecurrentChannels =
    "an input feature goes with its column of W; hidden units stay";

/// Input and recurrent products of every gate, all steps run.
uint64_t recurrent_macs(const Node& node, Operands in, int64_t gates);

/// `per_unit` operations for each hidden unit, direction, step and image.
uint64_t recurrent_ops(const Node& node, Operands in, int64_t gates, uint64_t per_unit);

/// One of the activation functions a recurrent op may name.
class Activation {
 public:
  double operator()(double x) const;

 private:
  friend std::vector<Activation> read_activations(const Node&, const Recurrence&,
                                                  std::vector<std::string>);
  enum class Kind : uint8_t {
    kAffine,
    kElu,
    kHardSigmoid,
    kLeakyRelu,
    kRelu,
    kScaledTanh,
    kSigmoid,
    kSoftplus,
    kSoftsign,
    kTanh,
    kThresholdedRelu,
  };
  Kind kind_ = Kind::kTanh;
  double alpha_ = 0, beta_ = 0;
};

/// The functions of every direction, one after the other; `defaults` are those of one direction.
std::vector<Activation> read_activations(const Node& node, const Recurrence& r,
                                         std::vector<std::string> defaults);

/// Attribute `clip`: what goes into an activation is kept within it. Zero stands for no limit.
inline double clip_limit(const Node& node) {
  return static_cast<double>(node.attribute("clip", 0.0f));
}
inline double clip_input(double x, double limit) {
  return limit > 0 ? std::clamp(x, -limit, limit) : x;
}

/// Steps of each sequence of the batch. Throws Error(kInput) for one outside [0, T].
std::vector<int64_t> sequence_lengths(const Recurrence& r, std::span<const Tensor* const> in);

/// Swaps the first two axes, between time first and batch first, of [a, b, rest...].
Tensor swap_first_axes(const Tensor& tensor);

/// The state of one direction while it runs; rows are the images.
template <typename T>
struct RecurrentState {
  std::vector<T> h, c;  ///< [N, H]; `c` is LSTM's cell.
};

/// The state a direction starts from, zeros where the operand is left out.
template <typename T>
std::vector<T> initial_state(const Recurrence& r, const Tensor* initial, int64_t direction) {
  const auto size = static_cast<size_t>(r.batch * r.hidden);
  if (!initial) return std::vector<T>(size, T{0});
  const Tensor state = r.batch_first ? swap_first_axes(*initial) : *initial;
  const T* first = state.data<T>().data() + direction * r.batch * r.hidden;
  return std::vector<T>(first, first + size);
}

/// X W^T of one direction for all steps [T, N, G H]; X is time first.
template <typename T>
std::vector<T> input_products(const Recurrence& r, const Tensor& x, const Tensor& w,
                              int64_t direction) {
  const int64_t columns = r.gates * r.hidden, rows = r.steps * r.batch;
  std::vector<T> products(static_cast<size_t>(rows * columns), T{0});
  if (!products.empty() && r.input > 0)
    gemm(Transpose::kNo, Transpose::kYes, rows, columns, r.input, x.data<T>().data(), r.input,
         w.data<T>().data() + direction * columns * r.input, r.input, T{0}, products.data(),
         columns);
  return products;
}

/// gates [N, count H] += h [N, H] times rows [first H, (first + count) H) of R, transposed.
template <typename T>
void add_recurrent_product(const Recurrence& r, const Tensor& weights, int64_t direction,
                           int64_t first, int64_t count, const std::vector<T>& h, T* gates,
                           int64_t stride) {
  const T* rows = weights.data<T>().data() + (direction * r.gates + first) * r.hidden * r.hidden;
  gemm(Transpose::kNo, Transpose::kYes, r.batch, count * r.hidden, r.hidden, h.data(), r.hidden,
       rows, r.hidden, T{1}, gates, stride);
}

/// Runs one direction. `step(gates, state)` turns the input products [N, G H] of a step and the
/// state before it into the state after it. Writes Y [T, D, N, H], zeros behind a sequence's end.
template <typename T, typename Step>
void run_direction(const Recurrence& r, int64_t direction, const std::vector<T>& products,
                   const std::vector<int64_t>& lengths, RecurrentState<T>& state, T* y,
                   Step&& step) {
  const int64_t width = r.gates * r.hidden;
  std::vector<T> gates(static_cast<size_t>(r.batch * width));
  for (int64_t s = 0; s < r.steps; ++s) {
    const auto time = [&](int64_t n) {  // The step of sequence n that is due, -1 when it is over.
      const int64_t length = lengths[static_cast<size_t>(n)];
      return s >= length ? -1 : (r.reverse(direction) ? length - 1 - s : s);
    };
    for (int64_t n = 0; n < r.batch; ++n) {
      const T* row = products.data() + (std::max<int64_t>(time(n), 0) * r.batch + n) * width;
      std::copy_n(row, width, gates.data() + n * width);
    }
    const RecurrentState<T> before = state;
    step(gates, state);
    for (int64_t n = 0; n < r.batch; ++n) {
      const int64_t first = n * r.hidden;
      if (time(n) >= 0) {
        std::copy_n(state.h.data() + first, r.hidden,
                    y + ((time(n) * r.directions + direction) * r.batch + n) * r.hidden);
      } else {
        std::copy_n(before.h.data() + first, r.hidden, state.h.data() + first);
        if (!state.c.empty())
          std::copy_n(before.c.data() + first, r.hidden, state.c.data() + first);
      }
    }
  }
}

/// Runs all directions and lays the outputs out: Y, Y_h and, where `initial_c` says there is a
/// cell, Y_c. `make_step(direction)` gives run_direction() its step.
template <typename T, typename MakeStep>
std::vector<Tensor> run_recurrent(const Recurrence& r, std::span<const Tensor* const> in,
                                  bool has_cell, MakeStep&& make_step) {
  const Tensor x = r.batch_first ? swap_first_axes(*in[kX]) : *in[kX];
  const std::vector<int64_t> lengths = sequence_lengths(r, in);
  const auto operand = [&](size_t slot) { return slot < in.size() ? in[slot] : nullptr; };
  Tensor y(dtype_of<T>(), {r.steps, r.directions, r.batch, r.hidden});
  Tensor h(dtype_of<T>(), {r.directions, r.batch, r.hidden}), c(h);
  for (int64_t d = 0; d < r.directions; ++d) {
    RecurrentState<T> state{initial_state<T>(r, operand(kInitialH), d), {}};
    if (has_cell) state.c = initial_state<T>(r, operand(kInitialC), d);
    if (r.batch > 0 && r.hidden > 0)
      run_direction<T>(r, d, input_products<T>(r, x, *in[kW], d), lengths, state,
                       y.mutable_data<T>().data(), make_step(d));
    const int64_t first = d * r.batch * r.hidden;
    std::ranges::copy(state.h, h.mutable_data<T>().begin() + first);
    std::ranges::copy(state.c, c.mutable_data<T>().begin() + first);
  }
  if (r.batch_first) {  // [T, D, N, H] -> [N, T, D, H]: merge T and D, then swap with N.
    y = swap_first_axes(y.reshaped({r.steps * r.directions, r.batch, r.hidden}))
            .reshaped(r.output_shape());
    h = swap_first_axes(h), c = swap_first_axes(c);
  }
  return {std::move(y), std::move(h), std::move(c)};
}

}  // namespace pare
