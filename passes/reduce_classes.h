#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/options.h"
#include "passes/class_axes.h"
#include "passes/pass.h"

namespace pare {

struct ReduceClassesOptions {
  enum class Others : uint8_t { kDrop, kMerge };
  enum class Background : uint8_t { kByLabels, kNone, kAt };

  std::vector<std::string> keep;    ///< Names, indices and ranges ("7-9"), not empty.
  std::vector<std::string> labels;  ///< Names by class; empty: the model's metadata has them.
  ClassHints hints;
  Others others = Others::kDrop;
  Background background = Background::kByLabels;
  int64_t background_class = 0;  ///< For kAt.
};

/// Reads `keep` ([person, 3, 7-9]; @FILE stands for the lines of a file), `labels` (a file),
/// `output`, `axis`, `classes`, `first`, `anchors`, `background` and `others`.
ReduceClassesOptions read_reduce_classes(Options& options);

/// Keeps some classes of a classifier, detector head or segmentation network and removes the rest
/// with all that only they need.
///
/// The class axis (find_class_axes()) shrinks to the kept classes, in ascending order, on every
/// output that holds them; a background class stays. Their logits stay what they were, and a
/// Softmax behind them normalises over the kept classes; a TopK asks for no more than there are;
/// what ArgMax, TopK and NonMaxSuppression look up in constant tables shrinks along. With
/// Others::kMerge one more logit stands for all removed classes (merge_classes()). Labels in the
/// metadata are rewritten; the stat "labels" lists what each class is now.
///
/// Throws Error(kUsage) for a class that is not there or stands twice and where the class axis is
/// ambiguous (with the candidates), Error(kUnsupported) naming the node that holds on to a class.
std::unique_ptr<Pass> make_reduce_classes(const ReduceClassesOptions& options);

}  // namespace pare
