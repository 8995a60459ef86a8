#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "calib/weighted.h"
#include "tensor/im2col.h"
#include "tensor/tensor.h"

namespace pare {

/// A dense row-major matrix in double, what fits are computed in.
struct Matrix {
  int64_t rows = 0, cols = 0;
  std::vector<double> data;

  Matrix() = default;
  Matrix(int64_t rows, int64_t cols)
      : rows(rows), cols(cols), data(static_cast<size_t>(rows * cols)) {}
  double* row(int64_t i) { return data.data() + i * cols; }
  const double* row(int64_t i) const { return data.data() + i * cols; }
};

/// Places in a node's output that a fit looks at.
struct Positions {
  std::vector<int64_t> image;  ///< Index along the batch axis of each place (Conv).
  std::vector<int64_t>
      place;  ///< Linear index in the space of one image (Conv), or the row (Gemm).
  int64_t size() const { return static_cast<int64_t>(place.size()); }
};

/// Sees a weighted node as the linear map it is: y = W u + b at every place of its output, where u
/// is the patch of the input that the place looks at (im2col). Handles Conv of any dimension,
/// grouped and depthwise too, Gemm and MatMul.
///
/// Column c * taps + k of a patch row is tap k of input channel c, so columns of a group follow
/// each other and a channel is `taps()` columns wide.
class PatchView {
 public:
  /// Empty where the node is no such map: weights not constant or not float, ConvTranspose, a
  /// transposed input, alpha or beta of a Gemm other than 1.
  static std::optional<PatchView> of(const Graph& graph, NodeId id);

  const WeightedNode& weighted() const { return weighted_; }
  int64_t groups() const { return weighted_.groups; }
  int64_t taps() const { return taps_; }
  int64_t inputs() const { return inputs_; }    ///< Columns of a patch, of one group.
  int64_t outputs() const { return outputs_; }  ///< Channels of the result, of one group.

  /// About `per_image` places of each image of an output of the given shape, on a grid whose offset
  /// moves with the image's number, so that all places are seen in turn. `first_image` is the
  /// number of the first of the batch's `images`.
  Positions positions(const Shape& output, int64_t images, int64_t first_image,
                      int64_t per_image) const;
  /// Patches of `x` at `positions`: [positions, groups * inputs], row-major.
  void read_patches(const Tensor& x, const Positions& positions, std::vector<float>& rows) const;
  /// Channels of a tensor shaped like the result: [positions, channels].
  void read_outputs(const Tensor& y, const Positions& positions, std::vector<float>& rows) const;

  /// Weights and bias of each group as [inputs + 1, outputs]; the bias is the last row, zero where
  /// the node has none.
  std::vector<Matrix> matrices(const Graph& graph) const;
  /// The weight tensor in its own layout and element type.
  Tensor weight_of(const Graph& graph, const std::vector<Matrix>& matrices) const;
  /// The last rows: [groups * outputs], of the weight's element type.
  Tensor bias_of(const Graph& graph, const std::vector<Matrix>& matrices) const;

 private:
  int64_t weight_index(int64_t group, int64_t input, int64_t output) const;

  WeightedNode weighted_;
  std::optional<Window> window_;  ///< Conv only; at the shapes the graph was inferred for.
  int64_t taps_ = 1, inputs_ = 0, outputs_ = 0;
  bool output_first_ = true;  ///< Weight [O, I...] (Conv, Gemm with transB), else [I, O].
};

}  // namespace pare
