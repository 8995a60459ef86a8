// Reads DeviceProfile from YAML; data/devices shows every key.

#include "cost/device_profile.h"

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "cost/data_file.h"
#include "cost/device_files.h"
#include "cost/energy_table.h"
#include "support/error.h"

namespace pare {
namespace {

constexpr int64_t kMaxParallel = 1 << 20;
constexpr double kMega = 1e6, kGiga = 1e9;
constexpr const char* kWhat = "device profile";

DataSection::Keys keys() {
  return {"name", "source", "cores", "arrays", "buffer_bytes", "dram_gb_per_second", "energy"};
}

double positive(const DataSection& section, const std::string& key) {
  const double value = section.number(key);
  if (!(value > 0)) section.fail(key, "'" + key + "' is 0, expected more");
  return value;
}

DeviceProfile::Array read_array(const DataSection& row) {
  DeviceProfile::Array array;
  const std::optional<Precision> precision = Precision::parse(row.text("precision"));
  if (!precision)
    row.fail("precision", "'precision' is '" + row.text("precision") +
                              "', expected fp32, fp16, int2 to int32, or binary");
  array.precision = *precision;
  array.pixels = row.whole("pixels", 1, kMaxParallel);
  array.input_channels = row.whole("input_channels", 1, kMaxParallel);
  array.output_channels = row.whole("output_channels", 1, kMaxParallel);
  if (row.has("depthwise")) {
    const DataSection depthwise = row.section("depthwise", {"pixels", "channels"});
    array.depthwise_pixels = depthwise.whole("pixels", 1, kMaxParallel);
    array.depthwise_channels = depthwise.whole("channels", 1, kMaxParallel);
  }
  array.clock_hz = kMega * positive(row, "clock_mhz");
  return array;
}

DeviceProfile read(const DataSection& file) {
  DeviceProfile device;
  device.name = file.text("name");
  device.source = file.text("source");
  device.cores = file.whole("cores", 1, kMaxParallel);
  for (const DataSection& row : file.list("arrays", {"precision", "pixels", "input_channels",
                                                     "output_channels", "depthwise", "clock_mhz"}))
    device.arrays.push_back(read_array(row));
  if (device.arrays.empty()) file.fail("arrays", "'arrays' is empty");
  device.buffer_bytes = static_cast<uint64_t>(file.whole("buffer_bytes", 1, int64_t{1} << 50));
  device.dram_bytes_per_second = kGiga * positive(file, "dram_gb_per_second");
  if (file.has("energy")) device.energy = file.text("energy");
  return device;
}

std::vector<DeviceProfile> read_all(const std::vector<DataSection>& documents) {
  std::vector<DeviceProfile> devices;
  for (const DataSection& document : documents) devices.push_back(read(document));
  return devices;
}

std::vector<DeviceProfile> built_in() {
  std::vector<DeviceProfile> devices;
  for (const std::string_view file : {device_boards(), device_dpus(), device_chips()})
    std::ranges::move(read_all(DataSection::parse(std::string(file), "built in", kWhat, keys())),
                      std::back_inserter(devices));
  return devices;
}

std::string names_of(const std::vector<DeviceProfile>& devices) {
  std::string names;
  for (const DeviceProfile& device : devices) names += (names.empty() ? "" : ", ") + device.name;
  return names;
}

DeviceProfile from_file(const std::string& path, const std::string& name) {
  std::vector<DeviceProfile> devices = read_all(DataSection::load(path, kWhat, keys()));
  auto found = devices.begin();
  if (name.empty() && devices.size() > 1)
    throw Error(ErrorKind::kUsage, path + " holds more than one device, expected " + path +
                                       ":NAME with one of " + names_of(devices));
  if (!name.empty()) found = std::ranges::find(devices, name, &DeviceProfile::name);
  if (found == devices.end())
    throw Error(ErrorKind::kUsage,
                path + " has no device '" + name + "', expected one of " + names_of(devices));
  // An energy table is named from where the profile lies.
  if (found->energy != EnergyTable().name)
    found->energy = (std::filesystem::path(path).parent_path() / found->energy).string();
  return *found;
}

}  // namespace

DeviceProfile DeviceProfile::find(const std::string& name) {
  std::vector<DeviceProfile> devices = built_in();
  const auto known = std::ranges::find(devices, name, &DeviceProfile::name);
  if (known != devices.end()) return *known;
  if (name.ends_with(".yaml") || name.ends_with(".yml")) return from_file(name, {});
  const size_t colon = name.rfind(':');
  if (colon != std::string::npos) return from_file(name.substr(0, colon), name.substr(colon + 1));
  throw Error(
      ErrorKind::kUsage,
      "device '" + name + "' is unknown, expected a YAML file or one of " + names_of(devices));
}

int64_t DeviceProfile::channel_multiple() const {
  return std::lcm(arrays[0].input_channels, arrays[0].output_channels);
}

const DeviceProfile::Array& DeviceProfile::array_for(Precision a, Precision b) const {
  const auto takes = [](Precision array, Precision operand) {
    return array.bits >= operand.bits && (array.floating || !operand.floating);
  };
  const Array* best = nullptr;
  for (const Array& array : arrays) {
    if (!takes(array.precision, a) || !takes(array.precision, b)) continue;
    if (!best || array.precision.bits < best->precision.bits) best = &array;
  }
  return best ? *best : arrays[0];
}

std::vector<std::string> known_devices() {
  std::vector<std::string> names;
  for (const DeviceProfile& device : built_in()) names.push_back(device.name);
  return names;
}

}  // namespace pare
