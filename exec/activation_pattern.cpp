#include "exec/activation_pattern.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace pare {
namespace {

constexpr int64_t kClipBoundsAreOperands = 11;

bool is_op(const Node& node, std::string_view op) {
  return node.def && node.op == op && node.domain.empty();
}

bool is_near(double x, double wanted) { return std::abs(x - wanted) < 1e-5 * wanted; }

/// Numbers and values that are multiplied with one another.
struct Product {
  double number = 1;
  std::vector<ValueId> factors;
};

class Matcher {
 public:
  explicit Matcher(const Graph& graph) : graph_(graph) {}

  std::optional<ActivationPattern> match(NodeId root) {
    Product product;
    if (!multiply(root, product) || product.factors.size() != 2) return {};
    nodes_.push_back(root);
    const size_t known = nodes_.size();
    for (const size_t at : {size_t{0}, size_t{1}}) {
      x_ = product.factors[at];
      nodes_.resize(known);
      const std::optional<Curve> curve = gate(product.factors[1 - at], product.number);
      if (curve && x_is_float()) return ActivationPattern{*curve, x_, in_order()};
    }
    return {};
  }

 private:
  bool x_is_float() const { return is_float(graph_.type(x_).dtype) && !graph_.constant(x_); }

  /// Nodes were found from the result back to x.
  std::vector<NodeId> in_order() const {
    std::vector<NodeId> ordered;
    for (const NodeId id : graph_.order()) {
      if (std::ranges::find(nodes_, id) != nodes_.end()) ordered.push_back(id);
      if (ordered.size() == nodes_.size()) break;
    }
    return ordered;
  }

  /// The node that makes `id` for one user alone.
  std::optional<NodeId> inner(ValueId id) const {
    const std::optional<NodeId> producer = graph_.value(id).producer;
    return producer && graph_.sole_user(id) && graph_.node(*producer).def ? producer : std::nullopt;
  }

  /// Multiplies what the Mul or Div `id` multiplies into `product`; false for other nodes.
  bool multiply(NodeId id, Product& product) {
    const Node& node = graph_.node(id);
    const bool divides = is_op(node, "Div");
    if ((!divides && !is_op(node, "Mul")) || node.inputs.size() != 2) return false;
    for (const size_t slot : {size_t{0}, size_t{1}}) {
      const ValueId operand = node.inputs[slot];
      if (const std::optional<float> number = scalar_constant(graph_, operand)) {
        const auto wide = static_cast<double>(*number);
        product.number *= divides && slot == 1 ? 1 / wide : wide;
      } else if (divides && slot == 1) {
        return false;
      } else {
        expand(operand, product);
      }
    }
    return true;
  }

  /// Multiplies `id`, or what it is a product of itself, into `product`.
  void expand(ValueId id, Product& product) {
    const std::optional<NodeId> producer = inner(id);
    Product parts;
    const size_t known = nodes_.size();
    if (producer && multiply(*producer, parts)) {
      nodes_.push_back(*producer);
      product.number *= parts.number;
      product.factors.insert(product.factors.end(), parts.factors.begin(), parts.factors.end());
      return;
    }
    nodes_.resize(known);
    product.factors.push_back(id);
  }

  Product product_of(ValueId id) {
    Product product;
    expand(id, product);
    return product;
  }

  /// The number k where `id` is k x.
  std::optional<double> multiple_of_x(ValueId id) {
    if (id == x_) return 1.0;
    const Product product = product_of(id);
    if (product.factors.size() != 1 || product.factors[0] != x_) return {};
    return product.number;
  }

  /// The operand that is added to the number `wanted` by the Add `id`.
  std::optional<ValueId> beside(NodeId id, double wanted) const {
    const Node& node = graph_.node(id);
    if (!is_op(node, "Add") || node.inputs.size() != 2) return {};
    for (const size_t slot : {size_t{0}, size_t{1}}) {
      const std::optional<float> number = scalar_constant(graph_, node.inputs[slot]);
      if (number && is_near(static_cast<double>(*number), wanted)) return node.inputs[1 - slot];
    }
    return {};
  }

  /// What x is multiplied with beside `number`.
  std::optional<Curve> gate(ValueId id, double number) {
    const std::optional<NodeId> producer = inner(id);
    if (!producer) return {};
    const Node& node = graph_.node(*producer);
    nodes_.push_back(*producer);
    if (is_near(number, 1) && is_op(node, "Sigmoid")) {
      const std::optional<double> alpha = multiple_of_x(node.inputs[0]);
      if (!alpha || !(*alpha > 0)) return {};
      return Curve{Curve::Kind::kSwish, static_cast<float>(*alpha)};
    }
    if (is_near(number, 1) && is_op(node, "HardSigmoid")) {
      const bool sixth = is_near(static_cast<double>(node.attribute("alpha", 0.2f)), 1.0 / 6) &&
                         node.attribute("beta", 0.5f) == 0.5f;
      if (sixth && node.inputs[0] == x_) return Curve{Curve::Kind::kHardSwish};
    }
    if (is_near(number, 1.0 / 6) && is_op(node, "Clip")) return hard_gate(node);
    if (is_near(number, 0.5) && is_op(node, "Add")) return gelu_gate(*producer);
    return {};
  }

  /// clip(x + 3, 0, 6)
  std::optional<Curve> hard_gate(const Node& clip) {
    const std::optional<Curve> bounds = clip_curve(graph_, clip);
    if (!bounds || bounds->alpha != 0.0f || bounds->beta != 6.0f) return {};
    const std::optional<NodeId> plus = inner(clip.inputs[0]);
    if (!plus || beside(*plus, 3) != x_) return {};
    nodes_.push_back(*plus);
    return Curve{Curve::Kind::kHardSwish};
  }

  /// 1 + erf(..) or 1 + tanh(..)
  std::optional<Curve> gelu_gate(NodeId plus) {
    const std::optional<ValueId> bent = beside(plus, 1);
    const std::optional<NodeId> bend = bent ? inner(*bent) : std::nullopt;
    if (!bend) return {};
    const Node& node = graph_.node(*bend);
    nodes_.push_back(*bend);
    if (is_op(node, "Erf")) {
      const std::optional<double> k = multiple_of_x(node.inputs[0]);
      if (k && is_near(*k, std::numbers::sqrt2 / 2)) return Curve{Curve::Kind::kGeluErf};
    }
    if (is_op(node, "Tanh") && is_tanh_argument(node.inputs[0]))
      return Curve{Curve::Kind::kGeluTanh};
    return {};
  }

  /// sqrt(2 / pi) (x + 0.044715 x^3)
  bool is_tanh_argument(ValueId id) {
    const Product product = product_of(id);
    if (!is_near(product.number, std::sqrt(2 * std::numbers::inv_pi)) ||
        product.factors.size() != 1)
      return false;
    const std::optional<NodeId> sum = inner(product.factors[0]);
    if (!sum || !is_op(graph_.node(*sum), "Add")) return false;
    const Node& node = graph_.node(*sum);
    if (node.inputs[0] != x_ && node.inputs[1] != x_) return false;
    nodes_.push_back(*sum);
    const Product cube = product_of(node.inputs[node.inputs[0] == x_ ? 1 : 0]);
    int64_t degree = 0;
    for (const ValueId factor : cube.factors) degree += degree_of(factor);
    return is_near(cube.number, 0.044715) && degree == 3;
  }

  /// n where `id` is x^n; far from three where it is something else.
  int64_t degree_of(ValueId id) {
    constexpr int64_t kNoPower = 100;
    if (id == x_) return 1;
    const std::optional<NodeId> power = inner(id);
    if (!power || !is_op(graph_.node(*power), "Pow") || graph_.node(*power).inputs[0] != x_)
      return kNoPower;
    nodes_.push_back(*power);
    const std::optional<float> n = scalar_constant(graph_, graph_.node(*power).inputs[1]);
    return n && (*n == 2.0f || *n == 3.0f) ? static_cast<int64_t>(*n) : kNoPower;
  }

  const Graph& graph_;
  ValueId x_ = kNoValue;
  std::vector<NodeId> nodes_;
};

}  // namespace

std::optional<float> scalar_constant(const Graph& graph, ValueId id) {
  const Tensor* tensor = id == kNoValue ? nullptr : graph.constant(id);
  if (!tensor || !is_float(tensor->dtype()) || tensor->size() != 1) return {};
  return cast(*tensor, DType::kF32).data<float>()[0];
}

std::optional<Curve> clip_curve(const Graph& graph, const Node& clip) {
  float low = -std::numeric_limits<float>::max(), high = -low;
  if (clip.opset < kClipBoundsAreOperands) {
    low = clip.attribute("min", low);
    high = clip.attribute("max", high);
  }
  for (const size_t slot : {size_t{1}, size_t{2}}) {
    if (!clip.has_input(slot)) continue;
    const std::optional<float> bound = scalar_constant(graph, clip.inputs[slot]);
    if (!bound) return {};
    (slot == 1 ? low : high) = *bound;
  }
  if (low > high) return {};
  return Curve{Curve::Kind::kClip, low, high};
}

std::optional<ActivationPattern> activation_pattern(const Graph& graph, NodeId root) {
  return Matcher(graph).match(root);
}

}  // namespace pare
