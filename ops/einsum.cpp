// ONNX Einsum. https://onnx.ai/onnx/operators/onnx__Einsum.html
//
//   operands..., equation "bij,bjk->bik"   ->   Y: products summed over the letters Y lacks
//
// Two operands that contract plainly become one gemm a batch; everything else runs through loops.

#include <algorithm>
#include <cctype>
#include <optional>

#include "ir/channel_slots.h"
#include "ops/axes.h"
#include "ops/elementwise.h"
#include "ops/plain_gemm.h"
#include "ops/rows.h"

namespace pare {
namespace {

/// A letter; axes of an ellipsis get labels above all letters, the last one the highest.
using Label = int;
using Labels = std::vector<Label>;
constexpr Label kEllipsisEnd = 512;

struct Equation {
  std::vector<Labels> operands;
  Labels output;
  std::vector<int64_t> extents;  ///< By label; -1 for one that does not occur.
  bool has_ellipsis = false;

  int64_t extent(Label label) const { return extents[static_cast<size_t>(label)]; }
};

[[noreturn]] void refuse(const std::string& equation, const std::string& fact) {
  throw Error(ErrorKind::kInput, "equation '" + equation + "' " + fact);
}

/// Labels of one term; `ellipsis` is how many axes "..." stands for.
Labels parse_term(const std::string& equation, std::string_view term, size_t ellipsis) {
  Labels labels;
  bool seen = false;
  for (size_t i = 0; i < term.size(); ++i) {
    if (std::isalpha(static_cast<unsigned char>(term[i]))) {
      labels.push_back(static_cast<unsigned char>(term[i]));
    } else if (term.substr(i, 3) == "..." && !seen) {
      for (size_t e = 0; e < ellipsis; ++e)
        labels.push_back(kEllipsisEnd - static_cast<Label>(ellipsis - e));
      seen = true;
      i += 2;
    } else {
      refuse(equation, "has a '" + std::string(1, term[i]) + "' in it, expected letters");
    }
  }
  return labels;
}

std::vector<std::string_view> split_terms(std::string_view left) {
  std::vector<std::string_view> terms;
  for (size_t comma = left.find(','); comma != std::string_view::npos; comma = left.find(',')) {
    terms.push_back(left.substr(0, comma));
    left.remove_prefix(comma + 1);
  }
  terms.push_back(left);
  return terms;
}

size_t count_letters(std::string_view term) {
  return static_cast<size_t>(std::ranges::count_if(
      term, [](char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; }));
}

/// Without "->": the ellipsis, then every letter that occurs once, by alphabet.
Labels implicit_output(const Equation& equation, size_t ellipsis) {
  std::vector<int> count(kEllipsisEnd);
  for (const Labels& labels : equation.operands) {
    for (Label label : labels) ++count[static_cast<size_t>(label)];
  }
  Labels output;
  for (size_t e = 0; e < ellipsis; ++e)
    output.push_back(kEllipsisEnd - static_cast<Label>(ellipsis - e));
  for (Label label = 0; label < 256; ++label) {
    if (count[static_cast<size_t>(label)] == 1) output.push_back(label);
  }
  return output;
}

void bind_extents(const std::string& text, Equation& equation, Operands in) {
  equation.extents.assign(kEllipsisEnd, -1);
  for (size_t k = 0; k < in.size(); ++k) {
    const Shape& shape = in[k].shape();
    if (equation.operands[k].size() != shape.size())
      refuse(text, "does not fit operand " + std::to_string(k) + ", which is " + to_string(shape));
    for (size_t axis = 0; axis < shape.size(); ++axis) {
      int64_t& extent = equation.extents[static_cast<size_t>(equation.operands[k][axis])];
      if (extent >= 0 && extent != shape[axis] && extent != 1 && shape[axis] != 1)
        refuse(text, "binds one letter to extents " + std::to_string(extent) + " and " +
                         std::to_string(shape[axis]));
      extent = extent < 0 || extent == 1 ? shape[axis] : extent;
    }
  }
  for (Label label : equation.output) {
    if (equation.extent(label) < 0) refuse(text, "has a letter in the output that no operand has");
    if (std::ranges::count(equation.output, label) > 1)
      refuse(text, "repeats a letter in the output");
  }
}

Equation parse(const Node& node, Operands in) {
  std::string text = node.attribute("equation", "");
  std::erase(text, ' ');
  const size_t arrow = text.find("->");
  const std::vector<std::string_view> terms = split_terms(std::string_view(text).substr(0, arrow));
  if (terms.size() != in.size())
    refuse(text, "has " + std::to_string(terms.size()) + " terms, but there are " +
                     std::to_string(in.size()) + " operands");
  Equation equation;
  size_t ellipsis = 0;
  for (size_t k = 0; k < in.size(); ++k) {
    if (!in[k]) refuse(text, "has a term for operand " + std::to_string(k) + ", which is left out");
    const size_t letters = count_letters(terms[k]), rank = in[k].shape().size();
    const bool dots = terms[k].find("...") != std::string_view::npos;
    const size_t hidden = dots && rank > letters ? std::min<size_t>(rank - letters, 128) : 0;
    equation.operands.push_back(parse_term(text, terms[k], hidden));
    equation.has_ellipsis |= dots;
    ellipsis = std::max(ellipsis, hidden);
  }
  equation.output = arrow == std::string::npos
                        ? implicit_output(equation, ellipsis)
                        : parse_term(text, std::string_view(text).substr(arrow + 2), ellipsis);
  bind_extents(text, equation, in);
  return equation;
}

std::vector<TensorType> infer(const Node& node, Operands in) {
  require_one_dtype(in);
  const Equation equation = parse(node, in);
  Shape y;
  for (Label label : equation.output) y.push_back(equation.extent(label));
  return {{in[0].type->dtype, std::move(y)}};
}

/// Does each letter stand for one axis at most in each operand, everywhere with one extent?
bool is_plain(const Equation& equation, Operands in) {
  if (equation.has_ellipsis) return false;
  for (size_t k = 0; k < in.size(); ++k) {
    const Labels& labels = equation.operands[k];
    for (size_t axis = 0; axis < labels.size(); ++axis) {
      if (std::ranges::count(labels, labels[axis]) > 1 ||
          in[k].shape()[axis] != equation.extent(labels[axis]))
        return false;
    }
  }
  return true;
}

/// One letter, one group of slots. A letter that is summed in a single operand is fixed, as is
/// everything in an equation that is not plain.
void tie(const Graph& graph, const Node& node, ChannelSlots& slots) {
  const std::vector<Operand> in = graph.operands(node);
  const Equation equation = parse(node, in);
  std::vector<std::vector<Dim>> places(kEllipsisEnd);
  for (size_t k = 0; k < in.size(); ++k) {
    for (size_t axis = 0; axis < equation.operands[k].size(); ++axis)
      places[static_cast<size_t>(equation.operands[k][axis])].push_back(
          dim_of(node.inputs[k], axis));
  }
  for (size_t axis = 0; axis < equation.output.size(); ++axis)
    places[static_cast<size_t>(equation.output[axis])].push_back(dim_of(node.outputs[0], axis));
  if (is_plain(equation, in)) {
    for (const std::vector<Dim>& dims : places) {
      for (size_t i = 1; i < dims.size(); ++i) slots.tie(dims[0], dims[i]);
    }
  }
  for (ValueId x : node.inputs) slots.fix_rest(x);
  slots.fix_rest(node.outputs[0]);
}

/// Every combination of letters is a product of the operands: one MAC for each operand but one.
uint64_t macs(const Node& node, Operands in, std::span<const TensorType>) {
  const Equation equation = parse(node, in);
  Shape all;
  for (int64_t extent : equation.extents) {
    if (extent >= 0) all.push_back(extent);
  }
  return static_cast<uint64_t>(element_count(all)) * (in.size() - 1);
}

// -- Evaluation --------------------------------------------------------------------

/// Element strides of an operand by label: summed where a letter repeats, 0 where it broadcasts.
std::vector<int64_t> strides_by_label(const Labels& labels, const Shape& shape) {
  std::vector<int64_t> strides(kEllipsisEnd, 0);
  int64_t stride = 1;
  for (size_t axis = shape.size(); axis-- > 0; stride *= shape[axis]) {
    if (shape[axis] != 1) strides[static_cast<size_t>(labels[axis])] += stride;
  }
  return strides;
}

/// Calls `body(offsets)` for every combination of `labels`, the last running fastest.
template <size_t N, typename Body>
void for_each_index(const Equation& equation, const Labels& labels,
                    const std::array<std::vector<int64_t>, N>& strides, Body&& body) {
  BroadcastPlan plan;
  plan.strides.resize(N);
  for (Label label : labels) {
    plan.extents.push_back(equation.extent(label));
    if (equation.extent(label) == 0) plan.row = 0;
    for (size_t k = 0; k < N; ++k)
      plan.strides[k].push_back(strides[k][static_cast<size_t>(label)]);
  }
  for_each_row<N>(plan, [&](int64_t, const std::array<int64_t, N>& offsets) { body(offsets); });
}

/// Multiplies operands one after the other into a dense product over `labels`, then sums.
template <typename T>
void contract_by_loops(const Equation& equation, std::span<const Tensor* const> in, Tensor& y) {
  Labels all = equation.output;
  Shape shape;
  for (Label label = 0; label < kEllipsisEnd; ++label) {
    if (equation.extent(label) >= 0 && std::ranges::find(all, label) == all.end())
      all.push_back(label);
  }
  for (Label label : all) shape.push_back(equation.extent(label));
  (void)element_count(shape);  // Refuses what no loop can count.
  std::vector<std::vector<int64_t>> strides;
  for (size_t k = 0; k < in.size(); ++k)
    strides.push_back(strides_by_label(equation.operands[k], in[k]->shape()));
  const std::vector<int64_t> out = strides_by_label(equation.output, y.shape());

  T* to = y.mutable_data<T>().data();
  std::fill_n(to, y.size(), T{0});
  std::vector<int64_t> position(all.size(), 0), offsets(in.size(), 0);
  const int64_t count = element_count(shape);
  int64_t target = 0;
  for (int64_t n = 0; n < count; ++n) {
    T product = in[0]->data<T>()[static_cast<size_t>(offsets[0])];
    for (size_t k = 1; k < in.size(); ++k)
      product = static_cast<T>(product * in[k]->data<T>()[static_cast<size_t>(offsets[k])]);
    to[target] = static_cast<T>(to[target] + product);
    for (size_t axis = all.size(); axis-- > 0;) {
      const auto label = static_cast<size_t>(all[axis]);
      const bool wraps = ++position[axis] == shape[axis];
      const int64_t step = wraps ? 1 - shape[axis] : 1;
      for (size_t k = 0; k < in.size(); ++k) offsets[k] += step * strides[k][label];
      target += step * out[label];
      if (!wraps) break;
      position[axis] = 0;
    }
  }
}

/// The labels of a contraction of two operands, by the operands and output that have them.
struct Contraction {
  Labels batch, m, n, k;
};

/// Empty where a letter is summed within one operand alone.
std::optional<Contraction> as_gemm(const Equation& equation) {
  if (equation.operands.size() != 2) return {};
  const auto has = [](const Labels& labels, Label label) {
    return std::ranges::find(labels, label) != labels.end();
  };
  Contraction c;
  for (Label label = 0; label < kEllipsisEnd; ++label) {
    if (equation.extent(label) < 0) continue;
    const bool a = has(equation.operands[0], label), b = has(equation.operands[1], label);
    const bool y = has(equation.output, label);
    if (!y && !(a && b)) return {};
    (y ? (a && b ? c.batch : (a ? c.m : c.n)) : c.k).push_back(label);
  }
  return c;
}

int64_t extent_of(const Equation& equation, const Labels& labels) {
  Shape shape;
  for (Label label : labels) shape.push_back(equation.extent(label));
  return element_count(shape);
}

Labels joined(const Labels& a, const Labels& b, const Labels& c) {
  Labels all = a;
  all.insert(all.end(), b.begin(), b.end());
  all.insert(all.end(), c.begin(), c.end());
  return all;
}

/// The elements of operand `k` densely in the order of `labels`.
template <typename T>
std::vector<T> pack(const Equation& equation, size_t k, const Tensor& x, const Labels& labels) {
  std::vector<T> packed;
  packed.reserve(static_cast<size_t>(extent_of(equation, labels)));
  const T* from = x.data<T>().data();
  for_each_index<1>(equation, labels, {strides_by_label(equation.operands[k], x.shape())},
                    [&](const std::array<int64_t, 1>& at) { packed.push_back(from[at[0]]); });
  return packed;
}

template <typename T>
void contract_by_gemm(const Equation& equation, const Contraction& c,
                      std::span<const Tensor* const> in, Tensor& y) {
  const int64_t batch = extent_of(equation, c.batch), m = extent_of(equation, c.m),
                n = extent_of(equation, c.n), k = extent_of(equation, c.k);
  const std::vector<T> a = pack<T>(equation, 0, *in[0], joined(c.batch, c.m, c.k));
  const std::vector<T> b = pack<T>(equation, 1, *in[1], joined(c.batch, c.k, c.n));
  std::vector<T> product(static_cast<size_t>(y.size()), T{0});
  for (int64_t i = 0; i < batch && m * n * k > 0; ++i)
    gemm(Transpose::kNo, Transpose::kNo, m, n, k, a.data() + i * m * k, k, b.data() + i * k * n, n,
         T{0}, product.data() + i * m * n, n);
  T* to = y.mutable_data<T>().data();
  const T* from = product.data();
  for_each_index<1>(equation, joined(c.batch, c.m, c.n),
                    {strides_by_label(equation.output, y.shape())},
                    [&](const std::array<int64_t, 1>& at) { to[at[0]] = *from++; });
}

std::vector<Tensor> eval(const Node& node, std::span<const Tensor* const> in) {
  const std::vector<Operand> operands = as_operands(in);
  Tensor y = Tensor::uninitialized(in[0]->dtype(), infer(node, operands)[0].shape);
  const Equation equation = parse(node, operands);
  const std::optional<Contraction> contraction = as_gemm(equation);
  visit_number(y.dtype(), [&]<typename T>() {
    if (contraction) {
      contract_by_gemm<T>(equation, *contraction, in, y);
    } else {
      contract_by_loops<T>(equation, in, y);
    }
  });
  return {std::move(y)};
}

}  // namespace

constinit const OpDef kEinsum = {
    .name = "Einsum",
    .max_inputs = OpDef::kVariadic,
    .infer = infer,
    .tie = tie,
    .channels = "a letter is one axis in all operands; one that is summed within one operand stays",
    .macs = macs,
    .eval = eval,
};

}  // namespace pare
