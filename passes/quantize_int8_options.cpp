#include <charconv>
#include <optional>

#include "passes/quantize_int8.h"

namespace pare {
namespace {

DType activation_type(const std::string& word) {
  if (word == "int8") return DType::kI8;
  if (word == "uint16") return DType::kU16;
  return word == "int16" ? DType::kI16 : DType::kU8;
}

/// "int4" as 4, "float" as LayerBits::kFloat.
std::optional<int> bits_of(std::string_view word) {
  if (word == "float") return LayerBits::kFloat;
  if (!word.starts_with("int")) return {};
  word.remove_prefix(3);
  int bits = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), bits);
  if (error != std::errc() || end != word.data() + word.size() || bits < 2 || bits > 8) return {};
  return bits;
}

}  // namespace

LayerBits LayerBits::parse(const std::string& text) {
  const size_t equals = text.rfind('=');
  if (equals != std::string::npos && equals > 0) {
    const std::optional<int> bits = bits_of(std::string_view(text).substr(equals + 1));
    if (bits) return {text.substr(0, equals), *bits};
  }
  throw Error(ErrorKind::kUsage, "'" + text +
                                     "' is no override, which is a pattern and int2 to int8 or "
                                     "float, such as conv1=int8 or '*.fc?=int4'");
}

QuantizeInt8Options read_quantization(Options& options) {
  QuantizeInt8Options result;
  result.power_of_two = options.choice("profile", "cpu", {"cpu", "dpu"}) == "dpu";
  const bool dpu = result.power_of_two;
  result.activations = activation_type(
      options.choice("activations", dpu ? "int8" : "uint8", {"uint8", "int8", "uint16", "int16"}));
  result.symmetric = options.flag("symmetric", dpu);
  result.per_channel = options.flag("per-channel", !dpu);
  if (dpu && result.activations != DType::kI8)
    options.fail("activations", "profile dpu has int8 activations, expected int8");
  if (dpu && !result.symmetric)
    options.fail("symmetric", "profile dpu has no zero points, expected true");
  if (dpu && result.per_channel)
    options.fail("per-channel", "profile dpu has one scale a weight, expected false");
  result.reduce_range = options.flag("reduce-range", false);
  const std::string ranges =
      options.choice("ranges", dpu ? "minmax" : "mse", {"minmax", "percentile", "mse", "entropy"});
  result.ranges = ranges == "mse"          ? RangeMethod::kLeastSquares
                  : ranges == "percentile" ? RangeMethod::kPercentile
                  : ranges == "entropy"    ? RangeMethod::kEntropy
                                           : RangeMethod::kMinMax;
  result.percentile = options.number("percentile", result.percentile, 50, 100);
  result.samples = options.integer("samples", result.samples, 1, 1'000'000);
  result.rounding =
      options.choice("rounding", "compensated", {"compensated", "nearest"}) == "nearest"
          ? Rounding::kNearest
          : Rounding::kCompensated;
  result.correct = options.flag("correct", true);
  result.edges_at_8 = options.choice("first-last", "int8", {"int8", "same"}) == "int8";
  result.operators = options.choice("format", "qdq", {"qdq", "qoperator"}) == "qoperator";
  result.packed = options.choice("storage", "int8", {"int8", "int4"}) == "int4";
  for (const std::string& text : options.list("overrides")) {
    try {
      result.overrides.push_back(LayerBits::parse(text));
    } catch (const Error& error) {
      options.fail("overrides", error.what());
    }
  }
  result.absorb = options.number("absorb", result.absorb, 0, 1);
  result.fit.positions = options.integer("positions", result.fit.positions, 1, 1'000'000);
  result.fit.ridge = options.number("ridge", result.fit.ridge, 0, 1e6);
  result.include = options.list("include");
  result.exclude = options.list("exclude");
  result.from = options.list("from");
  result.to = options.list("to");
  return result;
}

QuantizeInt8Options read_quantize_int8(Options& options) {
  QuantizeInt8Options result = read_quantization(options);
  result.weight_bits = *bits_of(options.choice("weights", "int8", {"int8", "int4", "int3"}));
  return result;
}

}  // namespace pare
