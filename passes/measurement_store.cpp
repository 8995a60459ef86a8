#include "passes/measurement_store.h"

#include <algorithm>
#include <filesystem>

#include "support/sha256.h"

namespace pare {
namespace {

constexpr int64_t kBatch = 16;

void add_text(Sha256& sha, const std::string& text) { sha.add(std::as_bytes(std::span(text))); }

/// Topology, attributes, opsets and weights.
std::string digest_of(const Graph& graph) {
  Sha256 sha;
  add_text(sha, to_text(graph));
  for (const auto& [domain, version] : graph.opsets())
    add_text(sha, domain + "=" + std::to_string(version) + "\n");
  for (uint32_t i = 0; i < graph.value_count(); ++i) {
    const Value& value = graph.value(ValueId{i});
    if (!value.constant || value.uses.empty()) continue;
    add_text(sha, value.name + ": " + to_string(value.type) + "\n");
    sha.add(value.constant->bytes());
  }
  return sha.hex();
}

/// The samples that weights are fitted to, and how many there are to choose others from.
std::string digest_of(const Graph& graph, const Dataset& data, int64_t samples,
                      const PassContext& context) {
  Sha256 sha;
  add_text(sha, std::to_string(data.size()) + "\n");
  const std::vector<int64_t> chosen = data.spread(samples);
  const auto count = static_cast<int64_t>(chosen.size());
  const int64_t batch = std::min(kBatch, Dataset::max_batch(graph));
  for (int64_t first = 0; first < count; first += batch) {
    context.progress.step("reading samples", first, count);
    const auto begin = chosen.begin() + first;
    for (const Tensor& input : data.samples(graph, {begin, begin + std::min(batch, count - first)}))
      sha.add(input.bytes());
  }
  return sha.hex();
}

const std::string& key_of(const Graph& graph, const Family& family) {
  return graph.value(family.producers[0].output.value).name;
}

}  // namespace

MeasurementStore::MeasurementStore(std::string path, const Graph& graph,
                                   const ReconstructOptions& options, const PassContext& context)
    : path_(std::move(path)) {
  if (std::filesystem::exists(path_)) file_ = SensitivityFile::read(path_);
  file_.write(path_);  // A place that cannot be written to is known now, not after measuring.
  key_ = {.model = digest_of(graph),
          .data = digest_of(graph, *context.data, options.samples, context),
          .samples = options.samples,
          .positions = options.positions,
          .ridge = options.ridge};
}

std::optional<MeasurementStore::Known> MeasurementStore::find(const Graph& graph,
                                                              const Family& family,
                                                              int64_t least) const {
  const auto section = std::ranges::find(file_.sections, key_, &MeasurementSection::key);
  if (section == file_.sections.end()) return {};
  const FamilyMeasurement* known = section->find(key_of(graph, family));
  if (!known || known->groups != static_cast<int64_t>(family.groups.size()) ||
      known->least != least)
    return {};
  Known result{.curve = {.family = &family,
                         .error = known->error,
                         .least = known->least,
                         .kept = known->kept},
               .losses = known->losses};
  for (int64_t position : known->order)
    result.curve.order.push_back(family.groups[static_cast<size_t>(position)]);
  return result;
}

void MeasurementStore::keep(const Graph& graph, const ErrorCurve& curve,
                            const std::vector<double>& losses) {
  const Family& family = *curve.family;
  FamilyMeasurement measurement{.name = key_of(graph, family),
                                .groups = static_cast<int64_t>(family.groups.size()),
                                .least = curve.least,
                                .order = {},
                                .error = curve.error,
                                .kept = curve.kept,
                                .losses = losses};
  for (uint32_t group : curve.order)
    measurement.order.push_back(std::ranges::find(family.groups, group) - family.groups.begin());
  file_.section(key_).put(std::move(measurement));
  file_.write(path_);
}

}  // namespace pare
