#include "calib/dataset.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <limits>
#include <numeric>

#include "calib/npy.h"
#include "images/archive.h"

namespace pare {
namespace {

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();
constexpr std::string_view kRandom = "random";
constexpr int64_t kRandomSamples = 64;
constexpr int64_t kMaxRandomSamples = 1'000'000;
/// Damaged images that are named in a sentence; the others are counted.
constexpr size_t kNamed = 3;

std::string base_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

/// "the model's input 'x' takes [3,32,32]"
std::string expectation(const Value& input) {
  const Shape& shape = input.type.shape;
  return "the model's input '" + input.name + "' takes " +
         (shape.empty() ? "no batch" : to_string(Shape{shape.begin() + 1, shape.end()}));
}

bool fits(const Value& input, const Shape& sample) {
  const Shape& shape = input.type.shape;
  if (!input.type.ranked || shape.size() != sample.size() + 1) return false;
  for (size_t axis = 1; axis < shape.size(); ++axis) {
    const bool free =
        shape[axis] < 0 || (axis < input.dim_symbols.size() && !input.dim_symbols[axis].empty());
    if (!free && shape[axis] != sample[axis - 1]) return false;
  }
  return true;
}

/// `count` of [0, total), spread evenly.
std::vector<int64_t> spread_over(int64_t total, int64_t count) {
  const int64_t chosen = std::clamp<int64_t>(count, 0, total);
  std::vector<int64_t> indices;
  // In double, exact far beyond any count of samples that fits a disk.
  for (int64_t i = 0; i < chosen; ++i)
    indices.push_back(static_cast<int64_t>(static_cast<double>(i) * static_cast<double>(total) /
                                           static_cast<double>(chosen)));
  return indices;
}

/// N of "random:N"; 0 where `path` is something else.
int64_t random_count(const std::string& path) {
  if (path == kRandom) return kRandomSamples;
  if (!path.starts_with(std::string(kRandom) + ":")) return 0;
  int64_t count = 0;
  const char* end = path.data() + path.size();
  const auto [stop, failure] = std::from_chars(path.data() + kRandom.size() + 1, end, count);
  if (failure != std::errc() || stop != end || count < 1 || count > kMaxRandomSamples)
    throw Error(ErrorKind::kUsage, "'" + path + "' is no random:N, expected 1 to " +
                                       std::to_string(kMaxRandomSamples) + " samples");
  return count;
}

std::shared_ptr<const SampleSource> open_source(const std::string& path,
                                                const Preprocess& preprocess) {
  if (const int64_t count = random_count(path); count > 0) return make_random_source(count);
  if (std::filesystem::is_directory(path) || has_archive_name(path))
    return make_image_source(path, preprocess);
  std::vector<Tensor> arrays;
  std::vector<std::string> names;
  if (path.ends_with(".npz")) {
    for (auto& [name, array] : read_npz(path)) {
      names.push_back(name);
      arrays.push_back(std::move(array));
    }
  } else {
    arrays.push_back(read_npy(path));
  }
  return make_array_source(base_name(path), std::move(arrays), std::move(names), preprocess.layout);
}

}  // namespace

Dataset::Dataset(std::shared_ptr<const SampleSource> source, const Preprocess& preprocess)
    : source_(std::move(source)), preprocess_(preprocess), notes_(source_->notes()) {
  if (std::ranges::find(preprocess.std, 0.0) != preprocess.std.end())
    throw Error(ErrorKind::kUsage, "std contains 0, expected numbers to divide by");
  chosen_ = spread_over(source_->size(), source_->size());
}

Dataset Dataset::open(const std::string& path, const Preprocess& preprocess) {
  return {open_source(path, preprocess), preprocess};
}

Dataset Dataset::of(std::vector<Tensor> inputs, const Preprocess& preprocess,
                    const std::string& name) {
  return {make_array_source(name, std::move(inputs), {}, preprocess.layout), preprocess};
}

void Dataset::prepare(const Graph& graph, const PrepareOptions& options) {
  check(graph);
  if (options.limit > 0) chosen_ = spread_over(source_->size(), options.limit);
  const auto looked_at = static_cast<int64_t>(chosen_.size());
  const Prepared prepared = source_->prepare(graph, chosen_, options);
  if (prepared.source) source_ = prepared.source;
  drop(prepared.bad, looked_at);
}

void Dataset::drop(const std::vector<BadSample>& bad, int64_t looked_at) {
  std::erase_if(chosen_, [&](int64_t index) {
    return std::ranges::binary_search(bad, index, {}, &BadSample::index);
  });
  std::string list;
  for (size_t i = 0; i < std::min(bad.size(), kNamed); ++i)
    list += (i > 0 ? "; " : "") + names()[static_cast<size_t>(bad[i].index)] + " " + bad[i].reason;
  if (bad.size() > kNamed) list += "; and " + std::to_string(bad.size() - kNamed) + " more";
  const std::string counts =
      std::to_string(bad.size()) + " of " + std::to_string(looked_at) + " images cannot be used";
  if (size() < preprocess_.minimum || 2 * size() < looked_at)
    throw Error(
        ErrorKind::kInput,
        source_->name() + ": " +
            (bad.empty() ? "holds " + std::to_string(looked_at) + " samples"
                         : counts + " (" + list + ")") +
            ", expected " +
            (size() < preprocess_.minimum ? "at least " + std::to_string(preprocess_.minimum)
                                          : "at least half of them"));
  if (!bad.empty())
    notes_.push_back(source_->name() + ": " + counts + " and are left out: " + list);
}

int64_t Dataset::size() const { return static_cast<int64_t>(chosen_.size()); }

int64_t Dataset::position(int64_t index) const {
  PARE_CHECK(index >= 0 && index < size(), "sample index out of range");
  return chosen_[static_cast<size_t>(index)];
}

bool Dataset::is_normalized(const Graph& graph, ValueId input) const {
  return source_->is_raw() && !preprocess_.identity() &&
         (graph.inputs().size() == 1 || is_float(graph.type(input).dtype));
}

void Dataset::check(const Graph& graph) const {
  for (size_t i = 0; i < graph.inputs().size(); ++i) {
    const ValueId input = graph.inputs()[i];
    const Shape sample = source_->sample_shape(graph, i);
    if (!fits(graph.value(input), sample))
      throw Error(ErrorKind::kInput, source_->name() + ": samples are " + to_string(sample) + ", " +
                                         expectation(graph.value(input)));
    if (is_normalized(graph, input))
      check_channels(source_->name(), preprocess_, sample, source_->layout(graph));
  }
}

std::vector<Tensor> Dataset::samples(const Graph& graph,
                                     const std::vector<int64_t>& indices) const {
  check(graph);
  std::vector<int64_t> stored;
  for (const int64_t index : indices) stored.push_back(position(index));
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < graph.inputs().size(); ++i) {
    const ValueId input = graph.inputs()[i];
    Tensor batch = source_->rows(graph, i, stored);
    const DType dtype = graph.type(input).dtype;
    if (is_normalized(graph, input)) {
      batch = normalized(batch, preprocess_, source_->layout(graph), dtype);
    } else if (batch.dtype() != dtype) {
      batch = cast(batch, dtype);
    }
    inputs.push_back(std::move(batch));
  }
  return inputs;
}

std::vector<Tensor> Dataset::batch(const Graph& graph, int64_t first, int64_t count) const {
  std::vector<int64_t> indices(static_cast<size_t>(std::max<int64_t>(count, 0)));
  std::iota(indices.begin(), indices.end(), first);
  return samples(graph, indices);
}

int64_t Dataset::max_batch(const Graph& graph) {
  int64_t limit = kNoLimit;
  for (const ValueId id : graph.inputs()) {
    const Value& input = graph.value(id);
    if (!input.type.ranked || input.type.shape.empty()) return 1;
    const bool symbolic =
        input.type.shape[0] < 0 || (!input.dim_symbols.empty() && !input.dim_symbols[0].empty());
    if (!symbolic) limit = std::min(limit, std::max<int64_t>(input.type.shape[0], 1));
  }
  return limit;
}

std::vector<int64_t> Dataset::spread(int64_t count) const { return spread_over(size(), count); }

}  // namespace pare
