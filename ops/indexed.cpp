#include "ops/indexed.h"

#include "ops/axes.h"
#include "ops/movement.h"

namespace pare {
namespace {

int64_t positive(int64_t index, int64_t extent) {
  if (index < -extent || index >= extent) {
    throw Error(ErrorKind::kInput, "index " + std::to_string(index) + " is outside an extent of " +
                                       std::to_string(extent));
  }
  return index < 0 ? index + extent : index;
}

}  // namespace

size_t element_axis(const Node& node, const Shape& data, const Shape& indices) {
  const size_t axis = axis_attribute(node, 0, data.size());
  bool fits = data.size() == indices.size();
  for (size_t a = 0; fits && a < data.size(); ++a) fits = a == axis || indices[a] <= data[a];
  if (!fits) {
    throw Error(ErrorKind::kInput, "indices " + to_string(indices) + " do not fit into data " +
                                       to_string(data) + " but for axis " + std::to_string(axis));
  }
  return axis;
}

std::vector<int64_t> element_offsets(const Shape& data, const Tensor& indices, size_t axis) {
  std::vector<int64_t> strides = row_strides(data);
  const int64_t along = strides[axis];
  strides[axis] = 0;
  std::vector<int64_t> offsets = to_int64(indices);
  size_t position = 0;
  for_each_offset(indices.shape(), strides, [&](int64_t rest) {
    int64_t& offset = offsets[position++];
    offset = rest + positive(offset, data[axis]) * along;
  });
  return offsets;
}

size_t index_depth(const Shape& indices, size_t rank) {
  if (indices.empty() || indices.back() < 0 || indices.back() > static_cast<int64_t>(rank)) {
    throw Error(ErrorKind::kInput, "indices " + to_string(indices) + " do not end in at most " +
                                       std::to_string(rank) + " coordinates");
  }
  return static_cast<size_t>(indices.back());
}

int64_t tuple_offset(const Shape& shape, std::span<const int64_t> tuple) {
  int64_t offset = 0;
  for (size_t a = 0; a < shape.size(); ++a)
    offset = offset * shape[a] + (a < tuple.size() ? positive(tuple[a], shape[a]) : 0);
  return offset;
}

}  // namespace pare
