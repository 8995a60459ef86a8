#include "passes/registry.h"

#include <algorithm>

#include "config/suggest.h"
#include "passes/fold_batch_norm.h"
#include "passes/fold_constants.h"
#include "passes/remove_dead_nodes.h"
#include "passes/remove_identity.h"

namespace pare {
namespace {

constexpr PassInfo kPasses[] = {
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
