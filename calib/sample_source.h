#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "calib/preprocess.h"
#include "ir/graph.h"
#include "support/progress.h"

namespace pare {

// Inside this folder: where the samples of a Dataset come from. Thread-safe.

/// How every sample is looked at before work begins.
struct PrepareOptions {
  int threads = 1;
  int64_t limit = 0;  ///< Use that many samples, spread evenly; 0 for all.
  Progress progress;
};

/// A sample that cannot be used.
struct BadSample {
  int64_t index = 0;
  std::string reason;
};

/// What SampleSource::prepare() found.
struct Prepared {
  std::vector<BadSample> bad;                        ///< By index.
  std::shared_ptr<const class SampleSource> source;  ///< Null: the source itself will do.
};

class SampleSource {
 public:
  explicit SampleSource(std::string name) : name_(std::move(name)) {}
  virtual ~SampleSource() = default;
  SampleSource(const SampleSource&) = default;
  SampleSource& operator=(const SampleSource&) = delete;

  const std::string& name() const { return name_; }  ///< For messages, without folders.
  virtual int64_t size() const = 0;
  /// Shape of one sample for the graph input at `position`. Throws Error(kInput) where there is
  /// none for it.
  virtual Shape sample_shape(const Graph& graph, size_t position) const = 0;
  /// The samples at `indices` as they are stored: [indices.size(), ...].
  virtual Tensor rows(const Graph& graph, size_t position,
                      const std::vector<int64_t>& indices) const = 0;
  /// How the channels lie in what rows() returns.
  virtual Layout layout(const Graph& graph) const = 0;
  /// False where samples are already what a network takes.
  virtual bool is_raw() const { return true; }
  /// Looks at the samples at `indices`; sources that need no look say nothing is bad.
  virtual Prepared prepare(const Graph& graph, const std::vector<int64_t>& indices,
                           const PrepareOptions& options) const;
  /// A name for each sample; empty where they have none.
  virtual const std::vector<std::string>& sample_names() const;
  /// A class for each sample where the source knows it.
  virtual std::vector<int64_t> classes() const { return {}; }
  /// Sentences the user should read before relying on anything.
  virtual std::vector<std::string> notes() const { return {}; }

 private:
  std::string name_;
};

/// `arrays` by position, or by name where there are names; all with the same number of samples.
std::shared_ptr<const SampleSource> make_array_source(std::string name, std::vector<Tensor> arrays,
                                                      std::vector<std::string> names,
                                                      Layout layout);
/// Images of a folder or an archive.
std::shared_ptr<const SampleSource> make_image_source(const std::string& path,
                                                      const Preprocess& preprocess);
/// `count` samples that are noise: normal for floats, whole numbers otherwise.
std::shared_ptr<const SampleSource> make_random_source(int64_t count);

}  // namespace pare
