// ONNX Attention (opset 23 on). https://onnx.ai/onnx/operators/onnx__Attention.html
//
//   Q [N, H, S, D]   K [N, G, T, D]   V [N, G, T, E]   ->   Y [N, H, S, E]
//   or, with the heads merged, Q [N, S, H D]   K [N, T, G D]   V [N, T, G E]   ->   Y [N, S, H E]
//
// G key heads each serve H / G query heads. past_key and past_value [N, G, P, ...] come before K
// and V; present_key and present_value are the two joined. qk_matmul_output is [N, H, S, P + T].

#include <cmath>
#include <cstring>
#include <limits>

#include "ops/axes.h"
#include "ops/elementwise.h"
#include "ops/plain_gemm.h"
#include "ops/rows.h"

namespace pare {
namespace {

enum Slot : size_t { kQ, kK, kV, kMask, kPastKey, kPastValue, kLengths };

using Tensors = std::span<const Tensor* const>;

struct Geometry {
  int64_t batch, heads, key_heads, queries, keys, past, depth, value_depth;
  bool merged;  ///< Heads and depth share an axis: rank 3.

  int64_t total() const { return past + keys; }
  Shape scores() const { return {batch, heads, queries, total()}; }
};

[[noreturn]] void refuse(const std::string& message) { throw Error(ErrorKind::kInput, message); }

void expect(const Operand& operand, const char* name, const Shape& expected) {
  if (operand && operand.shape() != expected)
    refuse(std::string(name) + " is " + to_string(operand.shape()) + ", expected " +
           to_string(expected));
}

/// Splits a merged extent over heads.
int64_t depth_of(const Shape& shape, int64_t heads) {
  if (heads < 1 || shape[2] % heads != 0)
    refuse("the last axis of " + to_string(shape) + " does not split into " +
           std::to_string(heads) + " heads");
  return shape[2] / heads;
}

/// The mask's shape after its last axis was filled up to all keys.
Shape filled(Shape mask, int64_t total) {
  if (mask.empty()) refuse("attn_mask is a scalar");
  mask.back() = std::max(mask.back(), total);
  return mask;
}

Geometry geometry(const Node& node, Operands in) {
  const auto operand = [&](size_t slot) { return slot < in.size() ? in[slot] : Operand{}; };
  for (size_t slot : {size_t{kQ}, size_t{kK}, size_t{kV}})
    require_dtype(in[slot], is_float, "floats");
  const Shape &q = in[kQ].shape(), &k = in[kK].shape(), &v = in[kV].shape();
  if ((q.size() != 3 && q.size() != 4) || k.size() != q.size() || v.size() != q.size())
    refuse("Q is " + to_string(q) + ", K " + to_string(k) + " and V " + to_string(v) +
           ", expected rank 3 or 4 each");
  Geometry g{};
  g.merged = q.size() == 3;
  g.batch = q[0];
  g.heads = g.merged ? node.attribute<int64_t>("q_num_heads", 0) : q[1];
  g.key_heads = g.merged ? node.attribute<int64_t>("kv_num_heads", 0) : k[1];
  g.queries = q[q.size() - 2], g.keys = k[k.size() - 2];
  g.depth = g.merged ? depth_of(q, g.heads) : q[3];
  g.value_depth = g.merged ? depth_of(v, g.key_heads) : v[3];
  if (g.key_heads < 1 || g.heads % g.key_heads != 0)
    refuse(std::to_string(g.heads) + " query heads cannot share " + std::to_string(g.key_heads) +
           " key heads");
  const int64_t n = g.batch, groups = g.key_heads;
  expect(in[kK], "K",
         g.merged ? Shape{n, g.keys, groups * g.depth} : Shape{n, groups, g.keys, g.depth});
  expect(in[kV], "V",
         g.merged ? Shape{n, g.keys, groups * g.value_depth}
                  : Shape{n, groups, g.keys, g.value_depth});
  if (const Operand past = operand(kPastKey)) {
    if (!operand(kPastValue) || past.shape().size() != 4)
      refuse("past_key is " + to_string(past.shape()) + ", expected rank 4 and a past_value");
    g.past = past.shape()[2];
  }
  require_one_dtype(std::array{in[kQ], in[kK], operand(kPastKey)});
  require_one_dtype(std::array{in[kV], operand(kPastValue)});
  expect(operand(kPastKey), "past_key", {n, groups, g.past, g.depth});
  expect(operand(kPastValue), "past_value", {n, groups, g.past, g.value_depth});
  expect(operand(kLengths), "nonpad_kv_seqlen", {n});
  if (const Operand mask = operand(kMask)) {
    if (broadcast_shape(filled(mask.shape(), g.total()), g.scores()) != g.scores())
      refuse("attn_mask is " + to_string(mask.shape()) + ", which does not broadcast into " +
             to_string(g.scores()));
  }
  return g;
}

std::vector<TensorType> infer(const Node& node, Operands in) {
  const Geometry g = geometry(node, in);
  const DType dtype = in[kQ].type->dtype, values = in[kV].type->dtype;
  return {{dtype, g.merged ? Shape{g.batch, g.queries, g.heads * g.value_depth}
                           : Shape{g.batch, g.heads, g.queries, g.value_depth}},
          {dtype, {g.batch, g.key_heads, g.total(), g.depth}},
          {values, {g.batch, g.key_heads, g.total(), g.value_depth}},
          {dtype, g.scores()}};
}

/// The products Q K^T and P V, masked scores included.
uint64_t macs(const Node& node, Operands in, std::span<const TensorType>) {
  const Geometry g = geometry(node, in);
  return static_cast<uint64_t>(element_count(g.scores()) * (g.depth + g.value_depth));
}

/// Per score: scaling, mask, and the four of a softmax.
uint64_t other_ops(const Node& node, Operands in, std::span<const TensorType>) {
  return static_cast<uint64_t>(6 * element_count(geometry(node, in).scores()));
}

// -- Evaluation --------------------------------------------------------------------

/// [n, a, b, rest] -> [n, b, a, rest], of rows of `rest` elements.
Tensor swap_middle(const Tensor& tensor, int64_t a, int64_t b, const Shape& shape) {
  Tensor result = Tensor::uninitialized(tensor.dtype(), shape);
  if (result.size() == 0) return result;
  const int64_t n = tensor.shape()[0];
  const size_t row = tensor.bytes().size() / static_cast<size_t>(n * a * b);
  const std::byte* from = tensor.bytes().data();
  std::byte* to = result.mutable_bytes().data();
  for (int64_t i = 0; i < n * a * b; ++i) {
    const int64_t image = i / (a * b), x = i / b % a, y = i % b;
    std::memcpy(to + static_cast<size_t>((image * b + y) * a + x) * row,
                from + static_cast<size_t>(i) * row, row);
  }
  return result;
}

/// An operand as [N, heads, length, depth].
Tensor by_head(const Geometry& g, const Tensor& x, int64_t heads, int64_t depth) {
  if (!g.merged) return x;
  const int64_t length = x.shape()[1];
  return swap_middle(x, length, heads, {g.batch, heads, length, depth});
}

/// `past`, where there is one, and `x` joined along axis 2.
Tensor joined(const Tensor* past, const Tensor& x) {
  if (!past) return x;
  Shape shape = x.shape();
  shape[2] += past->shape()[2];
  Tensor result = Tensor::uninitialized(x.dtype(), shape);
  const int64_t rows = shape[0] * shape[1];
  if (rows == 0) return result;
  const size_t first = past->bytes().size() / static_cast<size_t>(rows),
               second = x.bytes().size() / static_cast<size_t>(rows);
  std::byte* to = result.mutable_bytes().data();
  for (size_t r = 0; r < static_cast<size_t>(rows); ++r, to += first + second) {
    std::copy_n(past->bytes().data() + r * first, first, to);
    std::copy_n(x.bytes().data() + r * second, second, to + first);
  }
  return result;
}

/// What is added to the scores: the mask, and -inf where a key must not be seen.
template <typename T>
class Bias {
 public:
  Bias(const Node& node, const Geometry& g, Tensors in)
      : g_(g),
        causal_(node.attribute<int64_t>("is_causal", 0) != 0),
        left_(node.attribute<int64_t>("left_window_size", -1)),
        right_(node.attribute<int64_t>("right_window_size", -1)) {
    left_ = std::min(left_, g.queries + g.total());  // Farther than any key is no limit.
    right_ = std::min(right_, g.queries + g.total());
    if (const Tensor* lengths = operand_or_null(in, kLengths)) lengths_ = to_int64(*lengths);
    for (int64_t& length : lengths_) length = std::clamp<int64_t>(length, 0, g.total());
    if (const Tensor* mask = operand_or_null(in, kMask)) read_mask(*mask);
  }

  /// Writes the row of image `n`, head `h`, query `i` [total()].
  void row(int64_t n, int64_t h, int64_t i, std::vector<T>& bias) const {
    const int64_t length = lengths_.empty() ? g_.total() : lengths_[static_cast<size_t>(n)];
    // Where the queries stand among the keys.
    const int64_t position = i + (lengths_.empty() ? g_.past : length - g_.queries);
    for (int64_t j = 0; j < g_.total(); ++j) {
      const bool hidden = j >= length || (causal_ && j > position) ||
                          (left_ >= 0 && j < position - left_) ||
                          (right_ >= 0 && j > position + right_);
      bias[static_cast<size_t>(j)] = hidden ? kHidden : mask(n, h, i, j);
    }
  }

  static constexpr T kHidden = -std::numeric_limits<T>::infinity();

 private:
  void read_mask(const Tensor& mask) {
    extent_ = mask.shape().back();
    values_ = cast(mask, dtype_of<T>());
    if (mask.dtype() == DType::kBool) {
      for (T& value : values_.template mutable_data<T>()) value = value != T{0} ? T{0} : kHidden;
    }
    // Strides of the mask as it is; keys behind its end never reach it.
    Shape scores = g_.scores();
    scores.back() = std::max<int64_t>(extent_, 1);
    strides_ = broadcast_strides(mask.shape(), scores);
  }

  T mask(int64_t n, int64_t h, int64_t i, int64_t j) const {
    if (!values_.defined()) return T{0};
    if (j >= extent_) return kHidden;
    const int64_t at = n * strides_[0] + h * strides_[1] + i * strides_[2] + j * strides_[3];
    return values_.template data<T>()[static_cast<size_t>(at)];
  }

  const Geometry& g_;
  bool causal_;
  int64_t left_, right_;
  std::vector<int64_t> lengths_, strides_;
  Tensor values_;
  int64_t extent_ = 0;
};

/// Softmax of x + bias in place; a query that sees no key gets zeros.
template <typename T>
void masked_softmax(const std::vector<T>& bias, T* x) {
  T largest = Bias<T>::kHidden, visible = Bias<T>::kHidden;
  for (size_t j = 0; j < bias.size(); ++j) {
    x[j] += bias[j];
    visible = std::max(visible, bias[j]);
    largest = std::max(largest, x[j]);
  }
  if (visible == Bias<T>::kHidden) {
    std::fill_n(x, bias.size(), T{0});
    return;
  }
  double sum = 0;
  for (size_t j = 0; j < bias.size(); ++j) {
    x[j] = std::exp(x[j] - largest);
    sum += static_cast<double>(x[j]);
  }
  for (size_t j = 0; j < bias.size(); ++j) x[j] = static_cast<T>(static_cast<double>(x[j]) / sum);
}

/// Turns the raw scores of one head [S, T] into probabilities; `shown`, where not null, gets the
/// stage that attribute qk_matmul_output_mode asks for.
template <typename T>
void score_to_probability(const Node& node, const Geometry& g, const Bias<T>& bias, int64_t n,
                          int64_t h, T* scores, T* shown) {
  const auto mode = node.attribute<int64_t>("qk_matmul_output_mode", 0);
  const auto cap = static_cast<T>(node.attribute("softcap", 0.0f));
  std::vector<T> row(static_cast<size_t>(g.total()));
  for (int64_t i = 0; i < g.queries; ++i, scores += g.total()) {
    const auto show = [&](int64_t stage) {
      if (shown && mode == stage) std::copy_n(scores, g.total(), shown + i * g.total());
    };
    show(0);
    for (int64_t j = 0; cap > 0 && j < g.total(); ++j) scores[j] = cap * std::tanh(scores[j] / cap);
    show(1);
    bias.row(n, h, i, row);
    if (shown && mode == 2) {
      for (int64_t j = 0; j < g.total(); ++j)
        shown[i * g.total() + j] = scores[j] + row[static_cast<size_t>(j)];
    }
    masked_softmax(row, scores);
    show(3);
  }
}

template <typename T>
std::vector<Tensor> attend(const Node& node, const Geometry& g, Tensors in) {
  const DType dtype = dtype_of<T>();
  const auto scale = static_cast<T>(node.has_attribute("scale")
                                        ? static_cast<double>(node.attribute("scale", 1.0f))
                                        : 1 / std::sqrt(static_cast<double>(g.depth)));
  const Tensor q =
      map_elements<T, T>(by_head(g, *in[kQ], g.heads, g.depth), [scale](T x) { return x * scale; });
  const Tensor k = joined(operand_or_null(in, kPastKey), by_head(g, *in[kK], g.key_heads, g.depth));
  const Tensor v =
      joined(operand_or_null(in, kPastValue), by_head(g, *in[kV], g.key_heads, g.value_depth));
  const Tensor wide = cast(v, dtype);
  const Bias<T> bias(node, g, in);
  const int64_t total = g.total();
  Tensor y(dtype, {g.batch, g.heads, g.queries, g.value_depth});
  Tensor shown;
  if (node.has_output(3)) shown = Tensor(dtype, g.scores());
  std::vector<T> scores(static_cast<size_t>(g.queries * total));
  for (int64_t at = 0; at < g.batch * g.heads && !scores.empty(); ++at) {
    const int64_t group = at / (g.heads / g.key_heads);  // Counts on through the batch.
    if (g.depth > 0)
      gemm(Transpose::kNo, Transpose::kYes, g.queries, total, g.depth,
           q.data<T>().data() + at * g.queries * g.depth, g.depth,
           k.data<T>().data() + group * total * g.depth, g.depth, T{0}, scores.data(), total);
    T* stage = shown.defined() ? shown.mutable_data<T>().data() + at * g.queries * total : nullptr;
    score_to_probability(node, g, bias, at / g.heads, at % g.heads, scores.data(), stage);
    if (g.value_depth > 0)
      gemm(Transpose::kNo, Transpose::kNo, g.queries, g.value_depth, total, scores.data(), total,
           wide.data<T>().data() + group * total * g.value_depth, g.value_depth, T{0},
           y.mutable_data<T>().data() + at * g.queries * g.value_depth, g.value_depth);
  }
  if (g.merged)
    y = swap_middle(y, g.heads, g.queries, {g.batch, g.queries, g.heads * g.value_depth});
  return {std::move(y), k, v, std::move(shown)};
}

std::vector<Tensor> eval(const Node& node, Tensors in) {
  const std::vector<Operand> operands = as_operands(in);
  const Geometry g = geometry(node, operands);
  return visit_float(in[kQ]->dtype(), [&]<typename T>() { return attend<T>(node, g, in); });
}

}  // namespace

constinit const OpDef kAttention = {
    .name = "Attention",
    .min_inputs = 3,
    .max_inputs = 7,
    .infer = infer,
    .macs = macs,
    .other_ops = other_ops,
    .eval = eval,
};

}  // namespace pare
