#pragma once

#include <cstdint>
#include <vector>

#include "passes/class_axes.h"

namespace pare {

/// Keeps the classes `kept` (ascending) and puts one more behind them that stands for all others.
/// Returns how many slices of constants were removed.
///
///     logits = head(x)            ->   own    = head of the kept classes (x)
///     p      = Softmax(logits)         others = ReduceLogSumExp(head of the others (x))
///                                      p      = Softmax(Concat(own, others))
///
/// Exact: the probabilities of the kept classes are what they were, and the last one is the sum of
/// the others', for sum exp(logit) is what a Softmax divides by. Where nothing normalises, the last
/// logit is still that log-sum-exp. The head keeps its cost; what is saved comes later, from
/// pruning for fewer outputs.
///
/// Works for each of several outputs, and for scores that a Concat joined with box coordinates.
/// Throws Error(kUnsupported) where classes are scored one by one (Sigmoid), where they come out of
/// one convolution with box coordinates or once an anchor, and where a list by class follows.
int64_t merge_classes(Graph& graph, const std::vector<ClassAxis>& axes,
                      const std::vector<int64_t>& kept);

/// True when a Softmax normalises the scores of `axis` over the classes.
bool classes_compete(const Graph& graph, const ClassAxis& axis);

}  // namespace pare
