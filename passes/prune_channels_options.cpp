#include "passes/prune_channels_options.h"

#include "support/error.h"

namespace pare {

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
  const std::string method = options.choice("method", "obs", {"obs", "l2", "l1"});
  result.method = method == "obs"  ? PruneMethod::kObs
                  : method == "l2" ? PruneMethod::kL2
                                   : PruneMethod::kL1;
  const std::string coupled = options.choice("coupled", "auto", {"auto", "yes", "no"});
  result.coupled = coupled == "auto"  ? PruneCoupled::kWhenNeeded
                   : coupled == "yes" ? PruneCoupled::kYes
                                      : PruneCoupled::kNo;
  result.min_channels = options.integer("min-channels", result.min_channels, 1, 1 << 20);
  result.multiple = options.integer("multiple", result.multiple, 1, 4096);
  result.include = options.list("include");
  result.exclude = options.list("exclude");
  result.refit = options.flag("refit", result.refit);
  ReconstructOptions& fit = result.reconstruct;
  fit.samples = options.integer("samples", fit.samples, 1, 1 << 30);
  fit.positions = options.integer("positions", fit.positions, 1, 1 << 20);
  fit.ridge = options.number("ridge", fit.ridge, 1e-6, 100);
  constexpr double kGigabyte = 1 << 30;
  fit.max_memory = static_cast<int64_t>(
      kGigabyte *
      options.number("max-memory", static_cast<double>(fit.max_memory) / kGigabyte, 0.01, 1e5));
  return result;
}

}  // namespace pare
