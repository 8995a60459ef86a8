#include "passes/prune_channels_options.h"

#include <charconv>
#include <cmath>

#include "cost/device_profile.h"
#include "support/error.h"

namespace pare {
namespace {

/// As far as a search by max-drop goes where no budget ends it.
constexpr double kMostRemoved = 0.9;
constexpr int kLargestMultiple = 4096;

/// The number before `unit`, which must end the text; NaN for anything else.
double number_before(std::string_view text, std::string_view unit) {
  if (!text.ends_with(unit)) return NAN;
  text.remove_suffix(unit.size());
  double number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && rest == text.data() + text.size() ? number : NAN;
}

/// A number, or the one that leaves no part of a device's array idle.
int64_t read_multiple(Options& options) {
  const std::string text = options.text("multiple", "1");
  const double number = number_before(text, "");
  try {
    if (std::isnan(number)) return DeviceProfile::find(text).channel_multiple();
  } catch (const Error& error) {
    options.fail("multiple", error.what());
  }
  if (!(number >= 1 && number <= kLargestMultiple && number == std::floor(number)))
    options.fail("multiple", "'" + text + "' is neither a whole number from 1 to " +
                                 std::to_string(kLargestMultiple) + " nor a device");
  return static_cast<int64_t>(number);
}

}  // namespace

double read_drop(Options& options, const std::string& text) {
  const double percent = number_before(text, "%");
  if (!(percent > 0 && percent < 100))
    options.fail("max-drop",
                 "'" + text + "' is no drop, which is a share of the samples such as 0.5%");
  return percent / 100;
}

LayerLimit LayerLimit::parse(const std::string& text) {
  const size_t equals = text.rfind('=');
  if (equals != std::string::npos && equals > 0) {
    const std::string_view amount = std::string_view(text).substr(equals + 1);
    const double percent = number_before(amount, "%"), channels = number_before(amount, "");
    if (percent > 0 && percent <= 100) return {text.substr(0, equals), percent / 100, true};
    if (channels >= 1 && channels == std::floor(channels))
      return {text.substr(0, equals), channels, false};
  }
  throw Error(ErrorKind::kUsage,
              "'" + text +
                  "' is no limit, which is a pattern and the least to keep, such "
                  "as conv1=50% or 'layer4.*=16'");
}

PruneChannelsOptions read_prune_channels(Options& options) {
  PruneChannelsOptions result;
  const auto budget = [&](const char* key, Measure measure) {
    const std::string text = options.text(key, "");
    if (text.empty()) return;
    try {
      result.budget = Budget::parse(measure, text);
    } catch (const Error& error) {
      options.fail(key, error.what());
    }
  };
  if (options.has("macs") && options.has("params"))
    options.fail("params", "give either macs or params, not both");
  budget("macs", Measure::kMacs);
  budget("params", Measure::kParameters);
  const std::string drop = options.text("max-drop", "");
  if (!drop.empty()) {
    result.max_drop = read_drop(options, drop);
    if (!options.has("macs") && !options.has("params")) result.budget.amount = kMostRemoved;
  }
  const std::string method =
      options.choice("method", "obs", {"obs", "l2", "l1", "geometric-median", "random"});
  result.method = method == "obs"                ? PruneMethod::kObs
                  : method == "l2"               ? PruneMethod::kL2
                  : method == "l1"               ? PruneMethod::kL1
                  : method == "geometric-median" ? PruneMethod::kGeometricMedian
                                                 : PruneMethod::kRandom;
  const std::string coupled = options.choice("coupled", "auto", {"auto", "yes", "no"});
  result.coupled = coupled == "auto"  ? PruneCoupled::kWhenNeeded
                   : coupled == "yes" ? PruneCoupled::kYes
                                      : PruneCoupled::kNo;
  result.min_channels = options.integer("min-channels", result.min_channels, 1, 1 << 20);
  result.multiple = read_multiple(options);
  result.include = options.list("include");
  result.exclude = options.list("exclude");
  for (const std::string& text : options.list("limits")) {
    try {
      result.limits.push_back(LayerLimit::parse(text));
    } catch (const Error& error) {
      options.fail("limits", error.what());
    }
  }
  result.refit = options.flag("refit", result.refit);
  result.sensitivity = options.text("sensitivity", "");
  ReconstructOptions& fit = result.reconstruct;
  fit.samples = options.integer("samples", fit.samples, 1, 1 << 30);
  fit.positions = options.integer("positions", fit.positions, 1, 1 << 20);
  fit.ridge = options.number("ridge", fit.ridge, 1e-6, 100);
  fit.producer_steps = options.integer("producer-steps", fit.producer_steps, 0, 1000);
  constexpr double kGigabyte = 1 << 30;
  fit.max_memory = static_cast<int64_t>(
      kGigabyte *
      options.number("max-memory", static_cast<double>(fit.max_memory) / kGigabyte, 0.01, 1e5));
  return result;
}

}  // namespace pare
