#include "passes/sensitivity_file.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "support/file.h"

namespace pare {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "pare-sensitivity";
constexpr int kVersion = 3;
constexpr int64_t kMostGroups = 1 << 24;

[[noreturn]] void fail(const std::string& fact) { throw Error(ErrorKind::kInput, fact); }

bool finite(const std::vector<double>& numbers) {
  return std::ranges::all_of(numbers, [](double x) { return std::isfinite(x); });
}

/// Throws unless the numbers fit each other, so that no one has to look again.
void check(const FamilyMeasurement& family) {
  const auto wrong = [&](const std::string& fact) {
    fail("family '" + family.name + "': " + fact);
  };
  if (family.groups < 1 || family.groups > kMostGroups) wrong("expected a number of groups");
  if (family.least < 1 || family.least > family.groups) wrong("'least' is no number of its groups");
  const std::set<int64_t> distinct(family.order.begin(), family.order.end());
  if (static_cast<int64_t>(family.order.size()) != family.groups - family.least ||
      distinct.size() != family.order.size() ||
      (!distinct.empty() && (*distinct.begin() < 0 || *distinct.rbegin() >= family.groups)))
    wrong("'order' does not list the groups that may go");
  if (static_cast<int64_t>(family.error.size()) != family.groups + 1 || !finite(family.error))
    wrong("'error' does not have a number for each number of groups kept");
  int64_t above = family.groups;
  for (int64_t kept : family.kept) {
    if (kept < family.least || kept >= above) wrong("'kept' does not descend");
    above = kept;
  }
  if (family.losses.size() != family.kept.size() || !finite(family.losses))
    wrong("'losses' does not have a number for each of 'kept'");
}

FamilyMeasurement family_of(const Json& json) {
  FamilyMeasurement family{.name = json.at("name"),
                           .groups = json.at("groups"),
                           .least = json.at("least"),
                           .order = json.at("order"),
                           .error = json.at("error"),
                           .kept = json.at("kept"),
                           .losses = json.at("losses")};
  check(family);
  return family;
}

Json json_of(const FamilyMeasurement& family) {
  return {{"name", family.name},  {"groups", family.groups}, {"least", family.least},
          {"kept", family.kept},  {"losses", family.losses}, {"order", family.order},
          {"error", family.error}};
}

MeasurementSection section_of(const Json& json) {
  MeasurementSection section{.key = {.model = json.at("model"),
                                     .data = json.at("data"),
                                     .samples = json.at("samples"),
                                     .positions = json.at("positions"),
                                     .ridge = json.at("ridge")}};
  for (const Json& family : json.at("families")) section.put(family_of(family));
  return section;
}

Json json_of(const MeasurementSection& section) {
  Json families = Json::array();
  for (const FamilyMeasurement& family : section.families) families.push_back(json_of(family));
  return {{"model", section.key.model},     {"data", section.key.data},
          {"samples", section.key.samples}, {"positions", section.key.positions},
          {"ridge", section.key.ridge},     {"families", std::move(families)}};
}

SensitivityFile parse(const std::string& text) {
  try {
    const Json json = Json::parse(text);
    if (!json.is_object() || json.value("format", "") != kFormat)
      fail("is no sensitivity file, which begins with {\"format\": \"" + std::string(kFormat) +
           "\"");
    if (json.at("version") != kVersion)
      fail("is of version " + json.at("version").dump() + ", expected " + std::to_string(kVersion));
    SensitivityFile file;
    for (const Json& section : json.at("sections")) file.sections.push_back(section_of(section));
    return file;
  } catch (const nlohmann::json::exception& error) {
    std::string what = error.what();  // "[json.exception.parse_error.101] parse error at ..."
    what.erase(0, std::min(what.size(), what.find("] ") + 2));
    fail("is no sensitivity file: " + what);
  }
}

}  // namespace

const FamilyMeasurement* MeasurementSection::find(const std::string& name) const {
  const auto at = std::ranges::lower_bound(families, name, {}, &FamilyMeasurement::name);
  return at != families.end() && at->name == name ? &*at : nullptr;
}

void MeasurementSection::put(FamilyMeasurement measurement) {
  const auto at =
      std::ranges::lower_bound(families, measurement.name, {}, &FamilyMeasurement::name);
  if (at != families.end() && at->name == measurement.name) {
    *at = std::move(measurement);
  } else {
    families.insert(at, std::move(measurement));
  }
}

SensitivityFile SensitivityFile::read(const std::string& path) {
  const auto file = MappedFile::open(path);
  const std::span<const std::byte> bytes = file->bytes();
  return with_context([&] { return path; },
                      [&] {
                        return parse({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
                      });
}

void SensitivityFile::write(const std::string& path) const {
  Json list = Json::array();
  for (const MeasurementSection& section : sections) list.push_back(json_of(section));
  const std::string text =
      Json{{"format", kFormat}, {"version", kVersion}, {"sections", std::move(list)}}.dump(
          1, ' ', false, Json::error_handler_t::replace) +
      "\n";
  write_file(path, [&](const auto& append) { append(std::as_bytes(std::span(text))); });
}

MeasurementSection& SensitivityFile::section(const MeasurementKey& key) {
  const auto at = std::ranges::find(sections, key, &MeasurementSection::key);
  if (at != sections.end()) return *at;
  sections.push_back({.key = key, .families = {}});
  return sections.back();
}

void SensitivityFile::merge(const SensitivityFile& other) {
  for (const MeasurementSection& from : other.sections) {
    MeasurementSection& to = section(from.key);
    for (const FamilyMeasurement& family : from.families) to.put(family);
  }
}

}  // namespace pare
