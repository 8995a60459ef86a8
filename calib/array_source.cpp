#include <algorithm>

#include "calib/sample_source.h"

namespace pare {
namespace {

[[noreturn]] void fail(const std::string& name, const std::string& fact) {
  throw Error(ErrorKind::kInput, name + ": " + fact);
}

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

std::string quoted(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "'" : ", '") + name + "'";
  return list;
}

class ArraySource : public SampleSource {
 public:
  ArraySource(std::string name, std::vector<Tensor> arrays, std::vector<std::string> names,
              Layout layout)
      : SampleSource(std::move(name)),
        arrays_(std::move(arrays)),
        names_(std::move(names)),
        layout_(layout) {
    check_sizes(this->name(), arrays_);
  }

  int64_t size() const override { return arrays_.empty() ? 0 : arrays_[0].shape()[0]; }

  Shape sample_shape(const Graph& graph, size_t position) const override {
    const Shape& shape = array(graph, position).shape();
    return {shape.begin() + 1, shape.end()};
  }

  Tensor rows(const Graph& graph, size_t position,
              const std::vector<int64_t>& indices) const override {
    const Tensor& array = this->array(graph, position);
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

  Layout layout(const Graph&) const override { return layout_; }

 private:
  /// The array for graph input `position`, whatever its shape.
  const Tensor& array(const Graph& graph, size_t position) const {
    if (names_.empty()) {
      if (arrays_.size() == graph.inputs().size()) return arrays_[position];
      std::vector<std::string> inputs;
      for (const ValueId id : graph.inputs()) inputs.push_back(graph.value(id).name);
      fail(name(), "holds " + std::to_string(arrays_.size()) + " array, the model takes " +
                       std::to_string(inputs.size()) + " inputs (" + quoted(inputs) +
                       "), expected a .npz with arrays of these names");
    }
    const std::string& input = graph.value(graph.inputs()[position]).name;
    const auto found = std::ranges::find(names_, input);
    if (found == names_.end())
      fail(name(), "has no array for the model's input '" + input + "', only " + quoted(names_));
    return arrays_[static_cast<size_t>(found - names_.begin())];
  }

  std::vector<Tensor> arrays_;
  std::vector<std::string> names_;
  Layout layout_;
};

}  // namespace

Prepared SampleSource::prepare(const Graph&, const std::vector<int64_t>&,
                               const PrepareOptions&) const {
  return {};
}

const std::vector<std::string>& SampleSource::sample_names() const {
  static const std::vector<std::string> kNone;
  return kNone;
}

std::shared_ptr<const SampleSource> make_array_source(std::string name, std::vector<Tensor> arrays,
                                                      std::vector<std::string> names,
                                                      Layout layout) {
  return std::make_shared<ArraySource>(std::move(name), std::move(arrays), std::move(names),
                                       layout);
}

}  // namespace pare
