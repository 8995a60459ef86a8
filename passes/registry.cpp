#include "passes/registry.h"

#include <algorithm>
#include <array>

#include "config/suggest.h"
#include "passes/dequantize.h"
#include "passes/equalize_layers.h"
#include "passes/fold_batch_norm.h"
#include "passes/fold_constants.h"
#include "passes/fuse_activations.h"
#include "passes/prune_channels.h"
#include "passes/quantize_int8.h"
#include "passes/quantize_mixed.h"
#include "passes/reduce_classes.h"
#include "passes/remove_dead_nodes.h"
#include "passes/remove_identity.h"

namespace pare {
namespace {

constexpr OptionInfo kPruneChannels[] = {
    {"macs", "text", "-30%",
     "Multiply-accumulates: a share to remove (-40%) or what may stay (75M)"},
    {"params", "text", "", "The same for parameters, instead of macs"},
    {"max-drop", "text", "",
     "Prune until this share of held-out samples (0.5%) changes its best class; macs or params "
     "then "
     "say how far it may go (default: -90%)"},
    {"method", "obs | l2 | l1 | geometric-median | random", "obs",
     "Which channels go: obs by measured loss (needs data, else l2), or the smallest filters"},
    {"coupled", "auto | yes | no", "auto",
     "Prune residual streams too; auto: only when inner channels do not reach the budget"},
    {"min-channels", "integer", "4", "No layer keeps fewer channels than this"},
    {"multiple", "text", "1",
     "Channels kept are a multiple of this number, or of what a device computes at once (zcu102)"},
    {"include", "list", "", "Only layers whose name or operator matches a pattern (* and ?)"},
    {"exclude", "list", "", "No layer whose name or operator matches one of these"},
    {"limits", "list", "",
     "What layers keep at the least: PATTERN=SHARE% or PATTERN=CHANNELS, such as conv1=50%"},
    {"refit", "true/false", "true",
     "Fit the weights of what is left to the original's activations"},
    {"sensitivity", "text", "",
     "File that keeps what is measured, for later runs with other budgets and after Ctrl-C"},
    {"samples", "integer", "512", "Calibration samples used"},
    {"positions", "integer", "64", "Places looked at in each image and layer"},
    {"ridge", "number", "0.05", "Pull of fitted weights towards what they were"},
    {"producer-steps", "integer", "4",
     "Steps that better what a layer reads for the layer's sake; 0 for none"},
    {"max-memory", "number", "3",
     "Gigabytes of memory that may be taken; samples are packed, then left out"},
};

// What passes that quantize have in common stands around the widths each lets choose from.
constexpr std::array kActivations = std::to_array<OptionInfo>({
    {"profile", "cpu | dpu", "cpu",
     "What runs it; dpu: hardware that rescales by shifting (int8, power-of-two scales)"},
    {"activations", "uint8 | int8 | uint16 | int16", "uint8",
     "Type activations are stored in; int8 for profile dpu"},
    {"symmetric", "true/false", "false",
     "Zero point of activations in the middle; true for profile dpu"},
    {"per-channel", "true/false", "true",
     "A scale for every output channel of a weight; false for profile dpu"},
    {"reduce-range", "true/false", "false",
     "Weights in 7 bits, for x86 without VNNI, whose int8 kernels saturate"},
    {"ranges", "minmax | percentile | mse | entropy", "mse",
     "How ranges follow from what is observed; minmax for profile dpu"},
    {"percentile", "number", "99.99", "Percent of the elements inside, for ranges: percentile"},
});
constexpr std::array kOneWidth = std::to_array<OptionInfo>({
    {"weights", "int8 | int4 | int3", "int8", "Width of weights"},
});
constexpr std::array kManyWidths = std::to_array<OptionInfo>({
    {"bits", "list", "8, 4, 3", "Widths of weights to choose from"},
    {"average-bits", "number", "5",
     "Bits a weight may have on average, first and last layers aside"},
    {"bytes", "text", "",
     "What weights and biases may take, instead of average-bits: a share to remove (-80%) or bytes "
     "to keep (1.2M)"},
    {"energy", "text", "", "The same for the energy of an inference (-90%, 0.2mJ)"},
    {"power", "text", "", "The same for the power at --fps inferences a second (-90%, 3W)"},
    {"max-drop", "text", "",
     "Largest share of held-out samples (0.5%) whose best class may change; widths grow until so"},
    {"measure-samples", "integer", "64", "Samples sensitivities are measured on"},
});
constexpr std::array kWeights = std::to_array<OptionInfo>({
    {"first-last", "int8 | same", "int8",
     "Width of the weights of the first and last layers: always 8 bits, or as the others"},
    {"format", "qdq | qoperator", "qdq",
     "Operators between QuantizeLinear and DequantizeLinear, or QLinearConv and the like"},
    {"storage", "int8 | int4", "int8",
     "Tensors that hold weights of 4 and fewer bits; int4 needs opset 21"},
    {"overrides", "list", "",
     "Widths of single layers: PATTERN=int2 to int8 or PATTERN=float, such as conv1=int8"},
    {"rounding", "compensated | nearest", "compensated",
     "Rounding of weights: to make up for one another's errors, or each to the nearest"},
    {"correct", "true/false", "true",
     "Fit weights and biases to the original's activations behind the quantized layers before"},
    {"samples", "integer", "256", "Calibration samples used"},
    {"positions", "integer", "64", "Places looked at in each image and layer"},
    {"absorb", "number", "0.5",
     "Share of the error of earlier layers that later ones are to make up for, 0 to 1"},
    {"ridge", "number", "0.3", "Pull of fitted weights towards what they were"},
    {"include", "list", "", "Only nodes whose name or operator matches a pattern (* and ?)"},
    {"exclude", "list", "", "No node whose name or operator matches one of these"},
    {"from", "list", "",
     "Only what these tensors lead to (names, * and ?): what prepares the input stays in float "
     "(default: the inputs)"},
    {"to", "list", "",
     "Only what leads to these tensors: what works on the results stays in float (default: the "
     "outputs)"},
});

/// The rows of tables, one table after the other.
template <size_t... kSizes>
constexpr auto rows_of(const std::array<OptionInfo, kSizes>&... tables) {
  std::array<OptionInfo, (kSizes + ...)> all{};
  auto end = all.begin();
  ((end = std::copy(tables.begin(), tables.end(), end)), ...);
  return all;
}

constexpr auto kQuantizeInt8 = rows_of(kActivations, kOneWidth, kWeights);
constexpr auto kQuantizeMixed = rows_of(kActivations, kManyWidths, kWeights);

constexpr OptionInfo kEqualizeLayers[] = {
    {"reach", "proven | measured", "proven",
     "How it is known that a channel stays below a Clip: proven by weights, or measured on the "
     "calibration data"},
    {"samples", "integer", "256", "Samples to measure on"},
};

constexpr OptionInfo kReduceClasses[] = {
    {"keep", "list", "",
     "Classes to keep: labels, indices and ranges, such as [person, 3, 7-9], or @FILE with one a "
     "line; required"},
    {"labels", "text", "",
     "File with the label of every class, one a line (default: the model's metadata)"},
    {"others", "drop | merge", "drop",
     "The rest: drop it, or merge it into one logit behind the kept ones"},
    {"background", "text", "",
     "Class that stays whatever is kept: its index, or no (default: as the labels say)"},
    {"output", "list", "", "The outputs that hold the classes, where more may; patterns do"},
    {"axis", "integer", "", "Their class axis, where it is not found"},
    {"classes", "integer", "", "How many classes there are, where labels do not say"},
    {"first", "integer", "0", "Indices before class 0 on the axis, in each anchor's part of it"},
    {"anchors", "integer", "1", "Parts the axis falls into, one an anchor"},
};

constexpr PassInfo kPasses[] = {
    {"dequantize",
     "Take a quantized model back to float, to be pruned or quantized anew",
     Effect::kLossy,
     {},
     [](Options&) { return make_dequantize(); }},
    {"equalize-layers", "Even out the reach of channels between layers that follow each other",
     Effect::kExact, kEqualizeLayers,
     [](Options& options) { return make_equalize_layers(read_equalize_layers(options)); }},
    {"fold-batch-norm",
     "Fold BatchNormalization and per-channel arithmetic into convolutions",
     Effect::kExact,
     {},
     [](Options&) { return make_fold_batch_norm(); }},
    {"fold-constants",
     "Compute beforehand what does not depend on the inputs",
     Effect::kExact,
     {},
     [](Options&) { return make_fold_constants(); }},
    {"fuse-activations",
     "Write Swish, HardSwish and Gelu that are spelled in several nodes as one",
     Effect::kExact,
     {},
     [](Options&) { return make_fuse_activations(); }},
    {"prune-channels",
     "Remove channels to meet a budget, then fit the weights of what is left to calibration data",
     Effect::kLossy, kPruneChannels,
     [](Options& options) { return make_prune_channels(read_prune_channels(options)); }},
    {"quantize-int8", "Store weights and activations in INT8 (QDQ form)", Effect::kLossy,
     kQuantizeInt8,
     [](Options& options) { return make_quantize_int8(read_quantize_int8(options)); }},
    {"quantize-mixed",
     "Store weights in 8, 4 or 3 bits, layer by layer as measured loss and a budget allow",
     Effect::kLossy, kQuantizeMixed,
     [](Options& options) { return make_quantize_mixed(read_quantize_mixed(options)); }},
    {"reduce-classes", "Keep some classes of a classifier, detector or segmentation network",
     Effect::kLossy, kReduceClasses,
     [](Options& options) { return make_reduce_classes(read_reduce_classes(options)); }},
    {"remove-dead-nodes",
     "Remove nodes whose results nothing uses",
     Effect::kExact,
     {},
     [](Options&) { return make_remove_dead_nodes(); }},
    {"remove-identity",
     "Remove nodes that hand their operand on unchanged",
     Effect::kExact,
     {},
     [](Options&) { return make_remove_identity(); }},
};

}  // namespace

std::span<const PassInfo> all_passes() { return kPasses; }

std::unique_ptr<Pass> make_pass(const PassSpec& spec) {
  const auto info = std::ranges::find(kPasses, spec.name, &PassInfo::name);
  if (info == std::end(kPasses)) {
    std::vector<std::string> known;
    for (const PassInfo& pass : kPasses) known.emplace_back(pass.name);
    const std::string hint = suggestion(spec.name, known);
    throw Error(ErrorKind::kUsage, spec.options.place() + "unknown pass '" + spec.name + "'" +
                                       hint + (hint.empty() ? "; " : " ") +
                                       "known passes: " + joined(known));
  }
  Options options = spec.options;  // A copy: reading consumes keys.
  std::unique_ptr<Pass> pass = info->make(options);
  options.finish();
  return pass;
}

}  // namespace pare
