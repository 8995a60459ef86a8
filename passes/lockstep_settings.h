#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "calib/patches.h"
#include "passes/lockstep.h"
#include "passes/reconstruct.h"

namespace pare {

/// Above this width the normal equations take too long and too much memory [columns].
constexpr int64_t kWidestNormalEquations = 6000;

/// What fitting the weights of a node to so many rows takes: moments, their factors, solutions
/// [bytes].
int64_t fit_bytes(const PatchView& view, int64_t rows);

/// How much of a Lockstep's work fits the memory.
struct MemoryPlan {
  int64_t samples = 1, batch = 1;
  bool packed = false;
  int threads = 1;
};

/// What is to fit: by position of the order what a sample takes and what a fit there takes.
struct MemoryDemand {
  std::vector<LockstepBytes> sample;
  std::vector<int64_t> fit;
  int64_t reserved = 0;      ///< For anything else, all the time.
  bool fixed_batch = false;  ///< The network takes no smaller batch than is wanted.
};

/// The most of `wanted` that `max_memory` bytes hold. An eighth of them is for batches in work:
/// where four do not fit there, batches get smaller, and as many threads run as there is room for.
/// Samples are packed before any is left out. However tight it is, samples get a quarter of the
/// memory. Neither samples nor batch nor packing depend on the threads.
MemoryPlan plan_memory(const MemoryDemand& demand, const MemoryPlan& wanted, int64_t max_memory);

/// What the caller of a Lockstep needs beside the values of the node that is worked on.
struct LockstepNeeds {
  std::vector<HeldValue> held;
  std::map<NodeId, int64_t> in_work;  ///< A sample of a batch in work at a node takes [bytes].
  int64_t reserved = 0;               ///< All the time [bytes].
};

/// Samples spread over the data, as many as options and memory allow; warns when memory does not
/// allow as many as the options ask for.
Lockstep::Settings lockstep_settings(const Graph& original, const Graph& changed,
                                     const ReconstructOptions& options, const PassContext& context,
                                     LockstepNeeds needs = {});

/// The same options, with samples added that are held out of the fits (held_out.h).
ReconstructOptions with_held_out(ReconstructOptions options, const Dataset& data);

/// What a graph's weights, their copies in pruned networks and the program itself take [bytes].
int64_t standing_bytes(const Graph& graph);

}  // namespace pare
