#pragma once

#include <memory>
#include <string>
#include <vector>

#include "calib/sample_source.h"
#include "ir/graph.h"
#include "tensor/tensor.h"

namespace pare {

/// Samples on disk, read in batches: an array is mapped, images are decoded when asked for (a
/// bounded number is kept ready). Thread-safe but for prepare().
class Dataset {
 public:
  /// Opens a .npy of shape [N, ...] (uint8, int8, float16, float32, float64, ...), a .npz whose
  /// arrays are named like the model's inputs, a folder or archive of images, or "random[:N]".
  /// Throws Error(kInput) naming file, fact, expectation.
  static Dataset open(const std::string& path, const Preprocess& preprocess);
  /// In memory: one tensor [N, ...] for each graph input; `name` stands for them in messages.
  static Dataset of(std::vector<Tensor> inputs, const Preprocess& preprocess = {},
                    const std::string& name = "data");

  /// Looks at the samples before any work: chooses PrepareOptions::limit of them, checks them
  /// against the graph and leaves out images that cannot be decoded. Throws Error(kInput) where the
  /// shape is wrong, or fewer than Preprocess::minimum or than half of the images can be read.
  void prepare(const Graph& graph, const PrepareOptions& options);

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

  /// What the user should know: random data, files and damaged images that were left out.
  const std::vector<std::string>& notes() const { return notes_; }
  /// The file's or folder's name, for messages.
  const std::string& name() const { return source_->name(); }
  /// How many samples there were before prepare() left any out.
  int64_t found() const { return source_->size(); }
  /// Where sample `index` stood among those found.
  int64_t position(int64_t index) const;
  /// Names of those found ("cat/0001.jpg"), empty where they have none.
  const std::vector<std::string>& names() const { return source_->sample_names(); }
  /// Classes of those found, from the folders they lie in; empty where those say nothing.
  std::vector<int64_t> classes() const { return source_->classes(); }

 private:
  Dataset(std::shared_ptr<const SampleSource> source, const Preprocess& preprocess);
  void drop(const std::vector<BadSample>& bad, int64_t looked_at);
  /// Integer inputs beside others are indices or flags, which no image preprocessing is meant for.
  bool is_normalized(const Graph& graph, ValueId input) const;

  std::shared_ptr<const SampleSource> source_;
  Preprocess preprocess_;
  std::vector<int64_t> chosen_;  ///< Indices in the source.
  std::vector<std::string> notes_;
};

}  // namespace pare
