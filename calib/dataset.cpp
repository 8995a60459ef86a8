#include "calib/dataset.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "calib/npy.h"

namespace pare {

/// The arrays, by position or by name, all with the same number of samples.
struct Dataset::Source {
  std::string name;  ///< File name for messages, without folders.
  std::vector<Tensor> arrays;
  std::vector<std::string> names;  ///< Of a .npz's arrays, else empty: arrays are by position.
  Preprocess preprocess;
};

namespace {

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

[[noreturn]] void fail(const std::string& name, const std::string& fact) {
  throw Error(ErrorKind::kInput, name + ": " + fact);
}

std::string base_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

/// Shape of one sample.
Shape sample_shape(const Shape& array) { return {array.begin() + 1, array.end()}; }

void check_sizes(const std::string& name, const std::vector<Tensor>& arrays) {
  for (const Tensor& array : arrays) {
    if (array.shape().empty())
      fail(name, "holds a single number, expected samples along the first axis");
    if (array.shape()[0] == 0) fail(name, "holds no samples");
    if (array.shape()[0] != arrays[0].shape()[0])
      fail(name, "holds arrays of " + std::to_string(arrays[0].shape()[0]) + " and of " +
                     std::to_string(array.shape()[0]) + " samples, expected the same number");
  }
}

/// "the model's input 'x' takes [3,32,32]"
std::string expectation(const Value& input) {
  return "the model's input '" + input.name + "' takes " +
         (input.type.shape.empty() ? "no batch" : to_string(sample_shape(input.type.shape)));
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

void check_channels(const std::string& name, const std::vector<double>& numbers, const char* what,
                    const Shape& sample) {
  if (numbers.size() <= 1) return;
  if (sample.empty() || sample[0] != static_cast<int64_t>(numbers.size()))
    throw Error(ErrorKind::kUsage, name + ": " + what + " has " + std::to_string(numbers.size()) +
                                       " numbers, the samples " + to_string(sample) + " have " +
                                       (sample.empty() ? "no" : std::to_string(sample[0])) +
                                       " channels");
}

/// (x * scale - mean) / std, rounded to the target when that is an integer.
template <typename From, typename To>
void convert(std::span<const From> from, std::span<To> to, double scale, double mean, double std) {
  for (size_t i = 0; i < from.size(); ++i) {
    double y = 0;
    if constexpr (std::is_same_v<From, Float16> || std::is_same_v<From, BFloat16>) {
      y = static_cast<float>(from[i]);
    } else {
      y = static_cast<double>(from[i]);
    }
    y = (y * scale - mean) / std;
    if constexpr (std::is_same_v<To, bool>) {
      to[i] = y != 0;
    } else if constexpr (std::is_integral_v<To>) {
      const double low = static_cast<double>(std::numeric_limits<To>::min());
      const double high = std::ldexp(1.0, std::numeric_limits<To>::digits);
      y = std::isnan(y) ? 0 : std::nearbyint(y);
      to[i] = y >= high  ? std::numeric_limits<To>::max()
              : y <= low ? std::numeric_limits<To>::min()
                         : static_cast<To>(y);
    } else if constexpr (std::is_same_v<To, double>) {
      to[i] = y;
    } else {
      to[i] = static_cast<To>(static_cast<float>(y));
    }
  }
}

double channel(const std::vector<double>& numbers, int64_t c, double fallback) {
  if (numbers.empty()) return fallback;
  return numbers[numbers.size() == 1 ? 0 : static_cast<size_t>(c)];
}

/// `batch` is [count, channels, ...] or [count].
Tensor preprocessed(const Tensor& batch, const Preprocess& preprocess, DType dtype) {
  const Shape& shape = batch.shape();
  Tensor result = Tensor::uninitialized(dtype, shape);
  const int64_t channels = shape.size() > 1 ? shape[1] : 1;
  const int64_t planes = shape[0] * channels;
  if (planes == 0 || batch.size() == 0) return result;
  const auto plane = static_cast<size_t>(batch.size() / planes);
  visit_dtype(batch.dtype(), [&]<typename From>() {
    visit_dtype(dtype, [&]<typename To>() {
      const std::span<const From> from = batch.data<From>();
      const std::span<To> to = result.mutable_data<To>();
      for (int64_t p = 0; p < planes; ++p) {
        const size_t begin = static_cast<size_t>(p) * plane;
        convert<From, To>(from.subspan(begin, plane), to.subspan(begin, plane), preprocess.scale,
                          channel(preprocess.mean, p % channels, 0),
                          channel(preprocess.std, p % channels, 1));
      }
    });
  });
  return result;
}

/// The samples at `indices`, as they are stored.
Tensor rows(const Tensor& array, const std::vector<int64_t>& indices) {
  Shape shape = array.shape();
  shape[0] = static_cast<int64_t>(indices.size());
  Tensor result = Tensor::uninitialized(array.dtype(), std::move(shape));
  const size_t stride = array.bytes().size() / static_cast<size_t>(array.shape()[0]);
  const std::span<std::byte> target = result.mutable_bytes();
  for (size_t i = 0; i < indices.size(); ++i) {
    PARE_CHECK(indices[i] >= 0 && indices[i] < array.shape()[0], "sample index out of range");
    std::ranges::copy(array.bytes().subspan(static_cast<size_t>(indices[i]) * stride, stride),
                      target.subspan(i * stride).begin());
  }
  return result;
}

/// Integer inputs beside others are indices or flags, which no image preprocessing is meant for.
bool is_preprocessed(const Graph& graph, ValueId input, const Preprocess& preprocess) {
  return !preprocess.identity() &&
         (graph.inputs().size() == 1 || is_float(graph.type(input).dtype));
}

}  // namespace

Dataset Dataset::open(const std::string& path, const Preprocess& preprocess) {
  if (std::ranges::find(preprocess.std, 0.0) != preprocess.std.end())
    throw Error(ErrorKind::kUsage, "std contains 0, expected numbers to divide by");
  auto source = std::make_shared<Source>();
  source->name = base_name(path);
  source->preprocess = preprocess;
  if (path.ends_with(".npz")) {
    for (auto& [name, array] : read_npz(path)) {
      source->names.push_back(name);
      source->arrays.push_back(std::move(array));
    }
  } else {
    source->arrays.push_back(read_npy(path));
  }
  check_sizes(source->name, source->arrays);
  Dataset dataset;
  dataset.source_ = std::move(source);
  return dataset;
}

Dataset Dataset::of(std::vector<Tensor> inputs, const Preprocess& preprocess) {
  auto source = std::make_shared<Source>();
  source->name = "data";
  source->preprocess = preprocess;
  source->arrays = std::move(inputs);
  check_sizes(source->name, source->arrays);
  Dataset dataset;
  dataset.source_ = std::move(source);
  return dataset;
}

int64_t Dataset::size() const {
  return source_->arrays.empty() ? 0 : source_->arrays[0].shape()[0];
}

const Tensor& Dataset::array(const Graph& graph, size_t position) const {
  const Source& source = *source_;
  const Value& input = graph.value(graph.inputs()[position]);
  if (source.names.empty()) {
    if (source.arrays.size() != graph.inputs().size()) {
      std::string names;
      for (const ValueId id : graph.inputs())
        names += (names.empty() ? "'" : ", '") + graph.value(id).name + "'";
      fail(source.name, "holds " + std::to_string(source.arrays.size()) +
                            " array, the model takes " + std::to_string(graph.inputs().size()) +
                            " inputs (" + names + "), expected a .npz with arrays of these names");
    }
    return source.arrays[position];
  }
  const auto name = std::ranges::find(source.names, input.name);
  if (name == source.names.end()) {
    std::string names;
    for (const std::string& known : source.names)
      names += (names.empty() ? "'" : ", '") + known + "'";
    fail(source.name, "has no array for the model's input '" + input.name + "', only " + names);
  }
  return source.arrays[static_cast<size_t>(name - source.names.begin())];
}

void Dataset::check(const Graph& graph) const {
  for (size_t i = 0; i < graph.inputs().size(); ++i) {
    const Value& input = graph.value(graph.inputs()[i]);
    const Shape sample = sample_shape(array(graph, i).shape());
    if (!fits(input, sample))
      fail(source_->name, "samples are " + to_string(sample) + ", " + expectation(input));
    if (!is_preprocessed(graph, graph.inputs()[i], source_->preprocess)) continue;
    check_channels(source_->name, source_->preprocess.mean, "mean", sample);
    check_channels(source_->name, source_->preprocess.std, "std", sample);
  }
}

std::vector<Tensor> Dataset::samples(const Graph& graph,
                                     const std::vector<int64_t>& indices) const {
  check(graph);
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < graph.inputs().size(); ++i) {
    const ValueId input = graph.inputs()[i];
    Tensor batch = rows(array(graph, i), indices);
    const DType dtype = graph.type(input).dtype;
    if (is_preprocessed(graph, input, source_->preprocess)) {
      batch = preprocessed(batch, source_->preprocess, dtype);
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

std::vector<int64_t> Dataset::spread(int64_t count) const {
  const int64_t total = size(), chosen = std::clamp<int64_t>(count, 0, total);
  std::vector<int64_t> indices;
  // In double, exact far beyond any count of samples that fits a disk.
  for (int64_t i = 0; i < chosen; ++i)
    indices.push_back(static_cast<int64_t>(static_cast<double>(i) * static_cast<double>(total) /
                                           static_cast<double>(chosen)));
  return indices;
}

}  // namespace pare
