#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ir/channel_slots.h"

namespace pare {

/// Where a value holds its classes: class c of block b is index b * stride + first + c of `dim`.
/// One block without anything around the classes is the usual case; a YOLO head of three anchors
/// with 5 + 80 scores each has three blocks, a stride of 85, and `first` 5.
struct ClassAxis {
  Dim dim;
  int64_t classes = 0;
  int64_t first = 0;
  int64_t blocks = 1;
  int64_t stride = 0;

  int64_t at(int64_t block, int64_t c) const { return block * stride + first + c; }
};

/// What is known of the classes before the graph is looked at.
struct ClassHints {
  std::vector<std::string> outputs;  ///< Names or patterns; empty: find them.
  std::optional<int64_t> axis;       ///< Of them; negative counts from the back.
  int64_t classes = 0;               ///< 0: not known.
  bool exact = false;  ///< `classes` is what the network has; else it may have a background more.
  std::optional<int64_t> first;    ///< Indices before class 0 in each block.
  std::optional<int64_t> anchors;  ///< Blocks.
};

/// The axes that hold the classes of a model, all with the same number of them.
struct ClassAxes {
  std::vector<ClassAxis> axes;
  int64_t classes = 0;
  bool detector = false;  ///< There are boxes beside the scores.
};

/// Finds the class axes of a classifier, detector or segmentation network.
///
/// Looks at the model's float outputs, and at what an ArgMax or TopK output or a NonMaxSuppression
/// chooses from. Where the number of classes is known (labels), every axis is tried against the
/// forms classes come in: alone, with a background before them, behind box coordinates (4 + C,
/// 5 + C), a part of a Concat, anchors times any of these. Where it is not, the classes are the
/// axis a Softmax normalises, the part of a Concat beside box coordinates, or the usual axis of the
/// shape; [N, B, 4] and what has one index there are taken for boxes and the like when others
/// remain. Several outputs are taken together when they agree on form and are no plain [N, C].
/// Throws Error(kUsage) that lists the candidates where more than one remains, or none does.
ClassAxes find_class_axes(const Graph& graph, const ClassHints& hints);

/// "axis 1 of 'logits' [1,1000]".
std::string to_string(const Graph& graph, Dim dim);

}  // namespace pare
