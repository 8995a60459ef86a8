#include "ops/recurrent.h"

#include <cmath>
#include <cstring>

#include "ir/channel_slots.h"

namespace pare {
namespace {

void expect_shape(const Operand& operand, const char* name, const Shape& expected) {
  if (operand && operand.shape() != expected)
    throw Error(ErrorKind::kInput, std::string(name) + " is " + to_string(operand.shape()) +
                                       ", expected " + to_string(expected));
}

int64_t product(std::initializer_list<int64_t> factors) { return element_count(Shape(factors)); }

}  // namespace

Shape Recurrence::state_shape() const {
  return batch_first ? Shape{batch, directions, hidden} : Shape{directions, batch, hidden};
}

Shape Recurrence::output_shape() const {
  return batch_first ? Shape{batch, steps, directions, hidden}
                     : Shape{steps, directions, batch, hidden};
}

Recurrence recurrence(const Node& node, Operands in, int64_t gates) {
  require_dtype(in[kX], is_float, "floats");
  const Shape &x = in[kX].shape(), &w = in[kW].shape(), &recurrent = in[kR].shape();
  if (x.size() != 3 || w.size() != 3 || recurrent.size() != 3)
    throw Error(ErrorKind::kInput, "X is " + to_string(x) + ", W " + to_string(w) + " and R " +
                                       to_string(recurrent) + ", expected rank 3 each");
  const std::string direction = node.attribute("direction", "forward");
  if (direction != "forward" && direction != "reverse" && direction != "bidirectional")
    throw Error(ErrorKind::kInput, "attribute 'direction' is '" + direction +
                                       "', expected forward, reverse or bidirectional");
  Recurrence r{};
  r.batch_first = node.attribute<int64_t>("layout", 0) != 0;
  r.steps = x[r.batch_first ? 1 : 0], r.batch = x[r.batch_first ? 0 : 1], r.input = x[2];
  r.hidden = recurrent[2], r.gates = gates;
  r.directions = direction == "bidirectional" ? 2 : 1;
  r.first_is_reverse = direction == "reverse";
  const int64_t rows = product({gates, r.hidden});
  expect_shape(in[kW], "W", {r.directions, rows, r.input});
  expect_shape(in[kR], "R", {r.directions, rows, r.hidden});
  const int64_t declared = node.attribute<int64_t>("hidden_size", r.hidden);
  if (declared != r.hidden)
    throw Error(ErrorKind::kInput, "attribute 'hidden_size' is " + std::to_string(declared) +
                                       ", but R is " + to_string(recurrent));
  const auto operand = [&](size_t slot) { return slot < in.size() ? in[slot] : Operand{}; };
  for (size_t slot : {size_t{kW}, size_t{kR}, size_t{kB}, size_t{kInitialH}, size_t{kInitialC},
                      size_t{kPeephole}}) {
    if (operand(slot)) require_one_dtype(std::array{in[kX], operand(slot)});
  }
  expect_shape(operand(kB), "B", {r.directions, product({2, rows})});
  expect_shape(operand(kSequenceLens), "sequence_lens", {r.batch});
  expect_shape(operand(kInitialH), "initial_h", r.state_shape());
  expect_shape(operand(kInitialC), "initial_c", r.state_shape());
  expect_shape(operand(kPeephole), "P", {r.directions, product({3, r.hidden})});
  return r;
}

std::vector<TensorType> infer_recurrent(const Node& node, Operands in, int64_t gates,
                                        size_t states) {
  const Recurrence r = recurrence(node, in, gates);
  std::vector<TensorType> types(1 + states, {in[kX].type->dtype, r.state_shape()});
  types[0].shape = r.output_shape();
  return types;
}

void tie_recurrent(const Graph&, const Node& node, ChannelSlots& slots) {
  slots.tie({node.inputs[kX], 2}, {node.inputs[kW], 2});
  for (ValueId x : node.inputs) slots.fix_rest(x);
  for (ValueId y : node.outputs) slots.fix_rest(y);
}

uint64_t recurrent_macs(const Node& node, Operands in, int64_t gates) {
  const Recurrence r = recurrence(node, in, gates);
  return static_cast<uint64_t>(product({r.directions, r.steps, r.batch, gates, r.hidden})) *
         static_cast<uint64_t>(r.input + r.hidden);
}

uint64_t recurrent_ops(const Node& node, Operands in, int64_t gates, uint64_t per_unit) {
  const Recurrence r = recurrence(node, in, gates);
  return static_cast<uint64_t>(product({r.directions, r.steps, r.batch, r.hidden})) * per_unit;
}

double Activation::operator()(double x) const {
  switch (kind_) {
    case Kind::kAffine:
      return alpha_ * x + beta_;
    case Kind::kElu:
      return x >= 0 ? x : alpha_ * std::expm1(x);
    case Kind::kHardSigmoid:
      return std::clamp(alpha_ * x + beta_, 0.0, 1.0);
    case Kind::kLeakyRelu:
      return x >= 0 ? x : alpha_ * x;
    case Kind::kRelu:
      return std::max(x, 0.0);
    case Kind::kScaledTanh:
      return alpha_ * std::tanh(beta_ * x);
    case Kind::kSigmoid:
      return 1 / (1 + std::exp(-x));
    case Kind::kSoftplus:
      return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
    case Kind::kSoftsign:
      return x / (1 + std::abs(x));
    case Kind::kTanh:
      return std::tanh(x);
    case Kind::kThresholdedRelu:
      return x >= alpha_ ? x : 0;
  }
  return x;
}

std::vector<Activation> read_activations(const Node& node, const Recurrence& r,
                                         std::vector<std::string> defaults) {
  using Kind = Activation::Kind;
  struct Row {
    const char* name;
    Kind kind;
    int parameters;  // 1: alpha, 2: alpha and beta.
    double alpha, beta;
  };
  static constexpr Row kRows[] = {
      {"Affine", Kind::kAffine, 2, 1, 0},
      {"Elu", Kind::kElu, 1, 1, 0},
      {"HardSigmoid", Kind::kHardSigmoid, 2, 0.2, 0.5},
      {"LeakyRelu", Kind::kLeakyRelu, 1, 0.01, 0},
      {"Relu", Kind::kRelu, 0, 0, 0},
      {"ScaledTanh", Kind::kScaledTanh, 2, 1, 1},
      {"Sigmoid", Kind::kSigmoid, 0, 0, 0},
      {"Softplus", Kind::kSoftplus, 0, 0, 0},
      {"Softsign", Kind::kSoftsign, 0, 0, 0},
      {"Tanh", Kind::kTanh, 0, 0, 0},
      {"ThresholdedRelu", Kind::kThresholdedRelu, 1, 1, 0},
  };
  const auto expected = static_cast<size_t>(r.directions) * defaults.size();
  auto names = node.attribute<std::vector<std::string>>("activations", {});
  while (names.size() < expected && !node.has_attribute("activations"))
    names.insert(names.end(), defaults.begin(), defaults.end());
  if (names.size() != expected)
    throw Error(ErrorKind::kInput, "attribute 'activations' names " + std::to_string(names.size()) +
                                       " functions, expected " + std::to_string(expected));
  // The lists hold entries only for functions that take one, in their order.
  const auto alphas = node.attribute<std::vector<float>>("activation_alpha", {});
  const auto betas = node.attribute<std::vector<float>>("activation_beta", {});
  size_t alpha = 0, beta = 0;
  std::vector<Activation> activations;
  for (const std::string& name : names) {
    const auto same = [](char a, char b) { return std::tolower(a) == std::tolower(b); };
    const auto* row = std::ranges::find_if(kRows, [&](const Row& row) {
      return std::ranges::equal(name, std::string_view(row.name), same);
    });
    if (row == std::end(kRows))
      throw Error(ErrorKind::kInput, "activation '" + name + "' is none of ONNX");
    Activation& activation = activations.emplace_back();
    activation.kind_ = row->kind, activation.alpha_ = row->alpha, activation.beta_ = row->beta;
    if (row->parameters >= 1 && alpha < alphas.size())
      activation.alpha_ = static_cast<double>(alphas[alpha++]);
    if (row->parameters >= 2 && beta < betas.size())
      activation.beta_ = static_cast<double>(betas[beta++]);
  }
  return activations;
}

std::vector<int64_t> sequence_lengths(const Recurrence& r, std::span<const Tensor* const> in) {
  if (in.size() <= kSequenceLens || !in[kSequenceLens])
    return std::vector<int64_t>(static_cast<size_t>(r.batch), r.steps);
  std::vector<int64_t> lengths = to_int64(*in[kSequenceLens]);
  for (int64_t length : lengths) {
    if (length < 0 || length > r.steps)
      throw Error(ErrorKind::kInput, "sequence_lens holds " + std::to_string(length) +
                                         ", but X has " + std::to_string(r.steps) + " steps");
  }
  return lengths;
}

Tensor swap_first_axes(const Tensor& tensor) {
  Shape shape = tensor.shape();
  const int64_t a = shape[0], b = shape[1];
  std::swap(shape[0], shape[1]);
  Tensor result = Tensor::uninitialized(tensor.dtype(), shape);
  if (result.size() == 0) return result;
  const auto row = static_cast<size_t>(tensor.size() / (a * b)) * element_size(tensor.dtype());
  const std::byte* from = tensor.bytes().data();
  std::byte* to = result.mutable_bytes().data();
  for (int64_t i = 0; i < a; ++i) {
    for (int64_t j = 0; j < b; ++j)
      std::memcpy(to + static_cast<size_t>(j * a + i) * row,
                  from + static_cast<size_t>(i * b + j) * row, row);
  }
  return result;
}

}  // namespace pare
