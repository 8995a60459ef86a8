#include "cli/prune_request.h"

#include "passes/registry.h"

namespace pare {

PruneRequest read_prune_request(const PipelineArguments& arguments) {
  PruneRequest request;
  const Pipeline pipeline = arguments.read();
  request.data = pipeline.data;
  for (const PassSpec& spec : pipeline.passes) {
    if (spec.name == "prune-channels") {
      Options options = spec.options;  // A copy: reading consumes keys.
      request.options = read_prune_channels(options);
      options.finish();
      request.has_prune = true;
      break;
    }
    request.before.add(make_pass(spec), spec.text);
  }
  return request;
}

}  // namespace pare
