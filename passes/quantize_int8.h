#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "calib/calibrate.h"
#include "config/options.h"
#include "passes/pass.h"
#include "passes/reconstruct.h"

namespace pare {

/// How the weights of quantized nodes find their integers.
enum class Rounding : uint8_t {
  kNearest,      ///< Each weight by itself.
  kCompensated,  ///< Errors of some inputs' weights are made up for by the others' (round_weights).
};

/// Bits of the weights of layers whose name or operator matches.
struct LayerBits {
  static constexpr int kFloat = 32;

  std::string pattern;
  int bits = 8;  ///< kFloat: not quantized.

  /// Reads "conv1=int8", "*.fc?=int4" or "Add=float". Throws Error(kUsage) for anything else.
  static LayerBits parse(const std::string& text);
};

struct QuantizeInt8Options {
  DType activations = DType::kU8;  ///< kU8, kI8, kU16 or kI16.
  bool symmetric = false;          ///< Activations with the zero point in the middle.
  bool per_channel = true;         ///< A scale for every output channel of a weight.
  /// Weights use seven bits, for processors whose int8 kernels add pairs in 16 bits and saturate
  /// (x86 before VNNI).
  bool reduce_range = false;
  RangeMethod ranges = RangeMethod::kLeastSquares;
  /// Scales are powers of two, chosen by measured error; operands of sums and Concats have one code
  /// and pools divide as the hardware does (power_of_two.h).
  bool power_of_two = false;
  double percentile = 99.99;  ///< Percent of the elements kept, for kPercentile.
  int64_t samples = 256;
  Rounding rounding = Rounding::kCompensated;
  bool correct = true;     ///< Weights and biases make up for the error of what comes before them.
  int weight_bits = 8;     ///< 2 to 8.
  bool edges_at_8 = true;  ///< The first and the last weighted layers keep 8 bits.
  bool operators = false;  ///< QOperator form (qoperator_form.h) in place of QDQ.
  bool packed = false;     ///< Weights of 4 bits and fewer in int4 tensors (opset 21).
  std::vector<LayerBits> overrides;  ///< The last one that matches counts.
  /// Widths chosen for single nodes, where no override says otherwise.
  std::map<NodeId, int> chosen;
  double absorb = 0.5;  ///< See WeightFitOptions.
  ReconstructOptions fit{.ridge = 0.3};
  std::vector<std::string> include;  ///< Names of nodes or operators, with * and ?; empty for all.
  std::vector<std::string> exclude;
  /// Only what lies between these tensors (graph_section.h); empty for inputs and outputs.
  std::vector<std::string> from, to;
};

/// Reads the options `pare passes` lists.
QuantizeInt8Options read_quantize_int8(Options& options);
/// The same without `weights`.
QuantizeInt8Options read_quantization(Options& options);

/// Static INT8 in QDQ form: QuantizeLinear and DequantizeLinear around integer operators.
///
///   weights       int8, symmetric, per output channel, in [-127, 127]; fewer bits on request
///   activations   uint8 (int8, 16 bits), per tensor, ranges observed on calibration data
///   biases        int32, scale x_scale * w_scale, zero point 0
///
/// The pairs stand where ONNX Runtime fuses them into integer kernels: on every operand of a Conv,
/// ConvTranspose, Gemm, MatMul, Add, Mul, Concat or pool; one DequantizeLinear per consumer; none
/// between an operator and the Relu or Clip that alone follows it; one scale all through operators
/// that only move elements (quantize_int8_plan.h). The graph is taken to opset 13 where it is
/// older, with a warning. What stays in float is counted in the stats with the reason.
std::unique_ptr<Pass> make_quantize_int8(const QuantizeInt8Options& options);

}  // namespace pare
