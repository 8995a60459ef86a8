#include "ops/movement.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace pare {
namespace {

/// A loop nest over the output, outermost first, and how far the source moves with each loop.
struct Nest {
  Shape extents;
  std::vector<int64_t> strides;
};

/// Drops loops of one round and joins neighbours that walk the source as one loop.
Nest collapse(const Shape& shape, std::span<const int64_t> strides) {
  Nest nest;
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    if (shape[axis] == 1) continue;
    if (!nest.extents.empty() && nest.strides.back() == strides[axis] * shape[axis]) {
      nest.extents.back() *= shape[axis];
      nest.strides.back() = strides[axis];
    } else {
      nest.extents.push_back(shape[axis]);
      nest.strides.push_back(strides[axis]);
    }
  }
  return nest;
}

/// One row of output: `count` elements, `stride` apart in the source.
template <size_t N>
void copy_row(std::byte* to, const std::byte* from, int64_t count, int64_t stride) {
  if (stride == 1) {
    std::memcpy(to, from, static_cast<size_t>(count) * N);
    return;
  }
  const ptrdiff_t step = static_cast<ptrdiff_t>(stride) * static_cast<ptrdiff_t>(N);
  for (int64_t i = 0; i < count; ++i, to += N, from += step) std::memcpy(to, from, N);
}

/// A matrix transposed in tiles that fit the first-level cache: `to` is [rows, columns] with rows
/// `pitch` elements apart, and the source moves by 1 along rows and by `stride` along columns.
template <size_t N>
void copy_transposed(std::byte* to, const std::byte* from, int64_t rows, int64_t columns,
                     int64_t pitch, int64_t stride) {
  constexpr int64_t kTile = 32;
  for (int64_t r0 = 0; r0 < rows; r0 += kTile) {
    const int64_t r1 = std::min(rows, r0 + kTile);
    for (int64_t c0 = 0; c0 < columns; c0 += kTile) {
      const int64_t c1 = std::min(columns, c0 + kTile);
      for (int64_t r = r0; r < r1; ++r) {
        for (int64_t c = c0; c < c1; ++c) {
          const auto target = static_cast<ptrdiff_t>(r * pitch + c);
          const auto source = static_cast<ptrdiff_t>(r + c * stride);
          constexpr auto kSize = static_cast<ptrdiff_t>(N);
          std::memcpy(to + target * kSize, from + source * kSize, N);
        }
      }
    }
  }
}

/// Runs the loops of `nest` but for those that `skip` names; body(output offset, source offset).
template <typename Body>
void run_loops(const Nest& nest, const std::vector<bool>& skip, Body&& body) {
  const std::vector<int64_t> pitches = row_strides(nest.extents);
  Shape extents;
  std::vector<int64_t> to, from;
  for (size_t i = 0; i < nest.extents.size(); ++i) {
    if (skip[i]) continue;
    extents.push_back(nest.extents[i]);
    to.push_back(pitches[i]);
    from.push_back(nest.strides[i]);
  }
  std::vector<int64_t> index(extents.size(), 0);
  int64_t target = 0, source = 0;
  for (int64_t left = element_count(extents); left > 0; --left) {
    body(target, source);
    for (size_t i = extents.size(); i-- > 0;) {
      target += to[i], source += from[i];
      if (++index[i] < extents[i]) break;
      target -= to[i] * extents[i], source -= from[i] * extents[i];
      index[i] = 0;
    }
  }
}

template <size_t N>
void copy_nest(const Nest& nest, std::byte* to, const std::byte* from) {
  const size_t inner = nest.extents.size() - 1;
  std::vector<bool> skip(nest.extents.size(), false);
  skip[inner] = true;
  // A loop that walks the source one by one, when the innermost does not, makes a transposition.
  const auto unit = std::ranges::find(nest.strides, 1) - nest.strides.begin();
  const auto row = static_cast<size_t>(unit);
  constexpr auto kSize = static_cast<ptrdiff_t>(N);
  if (row < inner && nest.strides[inner] > 1) {
    skip[row] = true;
    const int64_t pitch = row_strides(nest.extents)[row];
    run_loops(nest, skip, [&](int64_t target, int64_t source) {
      copy_transposed<N>(to + target * kSize, from + source * kSize, nest.extents[row],
                         nest.extents[inner], pitch, nest.strides[inner]);
    });
  } else {
    run_loops(nest, skip, [&](int64_t target, int64_t source) {
      copy_row<N>(to + target * kSize, from + source * kSize, nest.extents[inner],
                  nest.strides[inner]);
    });
  }
}

/// Runs of consecutive source indices in one axis map.
struct Run {
  int64_t source;  ///< -1: fill.
  int64_t count;
};

std::vector<Run> runs_of(const std::vector<int64_t>& map) {
  std::vector<Run> runs;
  for (int64_t source : map) {
    const bool extends =
        !runs.empty() &&
        (source < 0 ? runs.back().source < 0
                    : runs.back().source >= 0 && source == runs.back().source + runs.back().count);
    if (extends) {
      ++runs.back().count;
    } else {
      runs.push_back({source, 1});
    }
  }
  return runs;
}

/// Fills in one axis after the other; the last axis goes by runs.
class MappedCopy {
 public:
  MappedCopy(const Tensor& source, std::span<const std::vector<int64_t>> maps,
             std::span<const std::byte> fill, std::byte* to)
      : source_(source), maps_(maps), fill_(fill), to_(to), strides_(row_strides(source.shape())) {
    runs_ = runs_of(maps.back());
  }

  void run() { axis(0, 0, false); }

 private:
  void axis(size_t a, int64_t offset, bool outside) {
    if (a + 1 == maps_.size()) return row(offset, outside);
    for (int64_t index : maps_[a]) {
      const bool out = outside || index < 0;
      axis(a + 1, out ? 0 : offset + index * strides_[a], out);
    }
  }

  void row(int64_t offset, bool outside) {
    const size_t size = fill_.size();
    const size_t length = maps_.back().size();
    if (!outside && runs_.size() * kScattered > length) return scattered_row(offset);
    for (const Run& run : runs_) {
      const size_t bytes = static_cast<size_t>(run.count) * size;
      if (outside || run.source < 0) {
        for (size_t i = 0; i < bytes; i += size) std::memcpy(to_ + i, fill_.data(), size);
      } else {
        const auto first = static_cast<size_t>(offset + run.source);
        std::memcpy(to_, source_.bytes().data() + first * size, bytes);
      }
      to_ += bytes;
    }
  }

  /// Element by element, where runs are too short to copy each as a whole.
  void scattered_row(int64_t offset) {
    visit_element_size(fill_.size(), [&]<size_t N>() {
      const std::byte* from = source_.bytes().data() + static_cast<size_t>(offset) * N;
      for (int64_t index : maps_.back()) {
        std::memcpy(to_, index < 0 ? fill_.data() : from + static_cast<size_t>(index) * N, N);
        to_ += N;
      }
    });
  }

  static constexpr size_t kScattered = 4;  ///< Elements a run must have on average.

  const Tensor& source_;
  std::span<const std::vector<int64_t>> maps_;
  std::span<const std::byte> fill_;
  std::byte* to_;
  std::vector<int64_t> strides_;
  std::vector<Run> runs_;
};

}  // namespace

std::vector<int64_t> row_strides(const Shape& shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t axis = shape.size(); axis-- > 1;) strides[axis - 1] = strides[axis] * shape[axis];
  return strides;
}

Tensor strided_copy(const Tensor& source, int64_t offset, const Shape& shape,
                    std::span<const int64_t> strides) {
  Tensor result = Tensor::uninitialized(source.dtype(), shape);
  if (result.size() == 0) return result;
  const size_t size = element_size(source.dtype());
  const std::byte* from =
      source.bytes().data() + static_cast<ptrdiff_t>(offset) * static_cast<ptrdiff_t>(size);
  std::byte* to = result.mutable_bytes().data();
  const Nest nest = collapse(shape, strides);
  if (nest.extents.empty()) {
    std::memcpy(to, from, size);
  } else {
    visit_element_size(size, [&]<size_t N>() { copy_nest<N>(nest, to, from); });
  }
  return result;
}

Tensor mapped_copy(const Tensor& source, std::span<const std::vector<int64_t>> maps,
                   std::span<const std::byte> fill) {
  Shape shape;
  for (size_t axis = 0; axis < maps.size(); ++axis) {
    const int64_t extent = source.shape()[axis];
    if (std::ranges::any_of(maps[axis], [&](int64_t i) { return i < -1 || i >= extent; })) {
      throw Error(ErrorKind::kInput, "an index on axis " + std::to_string(axis) +
                                         " is outside its extent of " + std::to_string(extent));
    }
    shape.push_back(static_cast<int64_t>(maps[axis].size()));
  }
  if (shape.empty()) return source;
  Tensor result = Tensor::uninitialized(source.dtype(), shape);
  MappedCopy(source, maps, fill, result.mutable_bytes().data()).run();
  return result;
}

Tensor transposed(const Tensor& source, std::span<const size_t> order) {
  const std::vector<int64_t> strides = row_strides(source.shape());
  Shape shape;
  std::vector<int64_t> moved;
  for (size_t axis : order) {
    shape.push_back(source.shape()[axis]);
    moved.push_back(strides[axis]);
  }
  return strided_copy(source, 0, shape, moved);
}

std::vector<Tensor> move_elements(std::span<const Tensor> sources, const Mover& move) {
  if (sources.empty() || sources[0].dtype() != DType::kString) return move(sources);
  std::vector<std::string> strings;
  std::vector<Tensor> numbers;
  for (const Tensor& source : sources) {
    std::vector<int64_t> own(source.strings().size());
    std::iota(own.begin(), own.end(), static_cast<int64_t>(strings.size()));
    numbers.emplace_back(source.shape(), own);
    strings.insert(strings.end(), source.strings().begin(), source.strings().end());
  }
  std::vector<Tensor> results = move(numbers);
  for (Tensor& result : results) {
    std::vector<std::string> placed;
    for (int64_t number : result.data<int64_t>())
      placed.push_back(strings[static_cast<size_t>(number)]);
    result = Tensor::of_strings(result.shape(), std::move(placed));
  }
  return results;
}

Tensor move_elements(const Tensor& source, const std::function<Tensor(const Tensor&)>& move) {
  if (source.dtype() != DType::kString) return move(source);
  return move_elements(std::span(&source, 1), [&](std::span<const Tensor> numbers) {
    return std::vector<Tensor>{move(numbers[0])};
  })[0];
}

}  // namespace pare
