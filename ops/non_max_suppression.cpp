// ONNX NonMaxSuppression: boxes [N, B, 4], scores [N, classes, B] -> selected [K, 3].
// https://onnx.ai/onnx/operators/onnx__NonMaxSuppression.html

#include <algorithm>
#include <limits>

#include "ir/channel_slots.h"
#include "ops/axes.h"

namespace pare {
namespace {

struct Box {
  float y0 = 0, x0 = 0, y1 = 0, x1 = 0;  ///< Lower corner, upper corner.
  float area() const { return (y1 - y0) * (x1 - x0); }
};

struct Limits {
  int64_t per_class = 0;
  float overlap = 0;
  float score = -std::numeric_limits<float>::infinity();
};

void check_shapes(const Shape& boxes, const Shape& scores) {
  const bool fits = boxes.size() == 3 && scores.size() == 3 && boxes[2] == 4 &&
                    boxes[0] == scores[0] && boxes[1] == scores[2];
  if (!fits) {
    throw Error(ErrorKind::kInput, "boxes " + to_string(boxes) + " and scores " +
                                       to_string(scores) + " are not [N,B,4] and [N,classes,B]");
  }
}

std::vector<TensorType> infer(const Node&, Operands in) {
  check_shapes(in[0].shape(), in[1].shape());
  return {{DType::kI64, {-1, 3}}};
}

/// Selected boxes are numbers of places, which must stay; so must classes, except while they are
/// reduced.
void tie(const Graph& graph, const Node& node, ChannelSlots& slots) {
  if (slots.reducing_classes() && graph.type(node.inputs[1]).known())
    slots.free({node.inputs[1], 1});
  for (ValueId value : node.inputs) slots.fix_rest(value);
  for (ValueId value : node.outputs) slots.fix_rest(value);
}

/// Boxes are two opposite corners (y, x), or a centre (x, y) and a size.
Box box_of(std::span<const float> b, bool centred) {
  if (centred) return {b[1] - b[3] / 2, b[0] - b[2] / 2, b[1] + b[3] / 2, b[0] + b[2] / 2};
  return {std::min(b[0], b[2]), std::min(b[1], b[3]), std::max(b[0], b[2]), std::max(b[1], b[3])};
}

float overlap(const Box& a, const Box& b) {
  const float height = std::min(a.y1, b.y1) - std::max(a.y0, b.y0);
  const float width = std::min(a.x1, b.x1) - std::max(a.x0, b.x0);
  if (height <= 0 || width <= 0) return 0;
  const float common = height * width, all = a.area() + b.area() - common;
  return all > 0 ? common / all : 0;
}

/// The boxes of one class that stay, best first.
std::vector<int64_t> suppress(std::span<const Box> boxes, std::span<const float> scores,
                              const Limits& limits) {
  std::vector<int64_t> order;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] > limits.score) order.push_back(static_cast<int64_t>(i));
  }
  const auto score = [&](int64_t i) { return scores[static_cast<size_t>(i)]; };
  std::ranges::stable_sort(order, [&](int64_t a, int64_t b) { return score(a) > score(b); });
  std::vector<int64_t> kept;
  for (int64_t candidate : order) {
    if (std::ssize(kept) >= limits.per_class) break;
    const Box& box = boxes[static_cast<size_t>(candidate)];
    const bool free = std::ranges::none_of(kept, [&](int64_t other) {
      return overlap(box, boxes[static_cast<size_t>(other)]) > limits.overlap;
    });
    if (free) kept.push_back(candidate);
  }
  return kept;
}

template <typename T>
T number(std::span<const Tensor* const> in, size_t slot, T fallback) {
  const Tensor* tensor = operand_or_null(in, slot);
  if (!tensor) return fallback;
  if (tensor->size() != 1)
    throw Error(ErrorKind::kInput, "input " + std::to_string(slot) + " must be one number");
  return cast(*tensor, dtype_of<T>()).template data<T>()[0];
}

std::vector<Tensor> eval(const Node& node, std::span<const Tensor* const> in) {
  check_shapes(in[0]->shape(), in[1]->shape());
  const Limits limits = {number<int64_t>(in, 2, 0), number<float>(in, 3, 0.0f),
                         number<float>(in, 4, -std::numeric_limits<float>::infinity())};
  const bool centred = node.attribute<int64_t>("center_point_box", 0) != 0;
  const Shape& shape = in[1]->shape();
  const auto classes = static_cast<size_t>(shape[1]), count = static_cast<size_t>(shape[2]);
  const std::span<const float> corners = in[0]->data<float>(), scores = in[1]->data<float>();

  std::vector<int64_t> selected;
  std::vector<Box> boxes(count);
  for (size_t image = 0; image < static_cast<size_t>(shape[0]); ++image) {
    for (size_t b = 0; b < count; ++b)
      boxes[b] = box_of(corners.subspan((image * count + b) * 4, 4), centred);
    for (size_t c = 0; c < classes; ++c) {
      const auto own = scores.subspan((image * classes + c) * count, count);
      for (int64_t box : suppress(boxes, own, limits)) {
        selected.insert(selected.end(),
                        {static_cast<int64_t>(image), static_cast<int64_t>(c), box});
      }
    }
  }
  return {Tensor({std::ssize(selected) / 3, 3}, selected)};
}

}  // namespace

extern const OpDef kNonMaxSuppression;
constinit const OpDef kNonMaxSuppression = {.name = "NonMaxSuppression",
                                            .min_inputs = 2,
                                            .max_inputs = 5,
                                            .infer = infer,
                                            .tie = tie,
                                            .channels = "boxes and classes stay",
                                            .ties_unknown = true,
                                            .eval = eval};

}  // namespace pare
