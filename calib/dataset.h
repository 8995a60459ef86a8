#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "tensor/tensor.h"

namespace pare {

/// What is done to every sample: y = (x * scale - mean) / std, per channel (axis 1 of NCHW).
struct Preprocess {
  double scale = 1;
  std::vector<double> mean;  ///< Empty for none; one number for all channels, or one per channel.
  std::vector<double> std;
  bool identity() const { return scale == 1 && mean.empty() && std.empty(); }
};

/// Samples on disk, read in batches: nothing but the batch asked for is held in memory (a .npy is
/// mapped). Thread-safe.
class Dataset {
 public:
  /// Opens a .npy of shape [N, ...] (uint8, int8, float16, float32, float64, ...), or a .npz whose
  /// arrays are named like the model's inputs. Throws Error(kInput) naming file, fact, expectation.
  static Dataset open(const std::string& path, const Preprocess& preprocess);
  /// In memory, for tests and benchmarks: one tensor [N, ...] for each graph input.
  static Dataset of(std::vector<Tensor> inputs, const Preprocess& preprocess = {});

  int64_t size() const;
  /// Tensors for the graph inputs, in order, of samples [first, first + count), preprocessed and
  /// converted to each input's element type. Throws Error(kInput) when the samples' shape is not
  /// the input's: name both.
  std::vector<Tensor> batch(const Graph& graph, int64_t first, int64_t count) const;
  /// The same for chosen samples.
  std::vector<Tensor> samples(const Graph& graph, const std::vector<int64_t>& indices) const;
  /// Checks one sample against the graph's inputs without running anything.
  void check(const Graph& graph) const;
  /// Largest batch the graph takes at once: 1 when its batch axis is fixed at 1, no limit (a large
  /// number) when it is symbolic, else the fixed batch.
  static int64_t max_batch(const Graph& graph);
  /// `count` indices spread evenly over the data, ascending and fixed (no randomness).
  std::vector<int64_t> spread(int64_t count) const;

 private:
  struct Source;
  /// The array for graph input `position`, whatever its shape.
  const Tensor& array(const Graph& graph, size_t position) const;

  std::shared_ptr<const Source> source_;
};

}  // namespace pare
