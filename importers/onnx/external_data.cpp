#include "importers/onnx/external_data.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <vector>

namespace pare {
namespace {

namespace fs = std::filesystem;

struct Place {
  std::string location;
  uint64_t offset = 0;
  std::optional<uint64_t> length;
};

uint64_t parse_number(const std::string& key, const std::string& text) {
  uint64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end)
    throw Error(ErrorKind::kInput,
                "external data has " + key + " '" + text + "', expected a number of bytes");
  return number;
}

Place place_of(const onnx::TensorProto& proto) {
  Place place;
  for (const auto& entry : proto.external_data()) {
    if (entry.key() == "location") place.location = entry.value();
    if (entry.key() == "offset") place.offset = parse_number("offset", entry.value());
    if (entry.key() == "length") place.length = parse_number("length", entry.value());
  }
  return place;
}

[[noreturn]] void refuse(const std::string& location, const std::string& why) {
  throw Error(ErrorKind::kInput, "external data location '" + location + "' " + why);
}

bool contains(const fs::path& folder, const fs::path& file) {
  const auto [in_folder, in_file] =
      std::mismatch(folder.begin(), folder.end(), file.begin(), file.end());
  return in_folder == folder.end() && in_file != file.end();
}

}  // namespace

ExternalData::ExternalData(const std::string& model_path)
    : folder_(fs::absolute(model_path).parent_path()) {}

const std::shared_ptr<const MappedFile>& ExternalData::file(const std::string& location) {
  const auto known = files_.find(location);
  if (known != files_.end()) return known->second;
  const fs::path relative(location);
  if (location.empty() || location.find('\0') != std::string::npos)
    refuse(location, "is no file name");
  if (relative.is_absolute())
    refuse(location, "is absolute, expected a path in the model's folder");
  if (std::ranges::find(relative, "..") != relative.end())
    refuse(location, "has '..', expected a path in the model's folder");
  std::error_code error;
  const fs::path folder = fs::canonical(folder_, error);
  const fs::path path = fs::canonical(folder / relative, error);
  if (error) refuse(location, "cannot be read: " + error.message());
  if (!contains(folder, path)) refuse(location, "is a link that leaves the model's folder");
  return files_.emplace(location, MappedFile::open(path)).first->second;
}

ExternalBytes ExternalData::find(const onnx::TensorProto& proto, uint64_t size) {
  const Place place = place_of(proto);
  const std::shared_ptr<const MappedFile>& mapped = file(place.location);
  const uint64_t available = mapped->bytes().size();
  if (place.length && *place.length != size)
    refuse(place.location, "gives length " + std::to_string(*place.length) +
                               ", but the tensor has " + std::to_string(size) + " bytes");
  if (place.offset > available || size > available - place.offset)
    refuse(place.location, "has " + std::to_string(available) + " bytes, but the tensor needs " +
                               std::to_string(size) + " from offset " +
                               std::to_string(place.offset));
  // Memory it takes is given up with the tensor, not with the whole file.
  const std::span<const std::byte> bytes = mapped->bytes().subspan(place.offset, size);
  return {{bytes.data(), [mapped, bytes](const void*) { mapped->release(bytes); }}, bytes};
}

void ExternalData::embed(google::protobuf::Message& message) {
  if (auto* tensor = dynamic_cast<onnx::TensorProto*>(&message)) {
    if (tensor->data_location() != onnx::TensorProto::EXTERNAL) return;
    const auto source = [this](const auto& proto, uint64_t size) { return find(proto, size); };
    const Tensor data = take_tensor(*tensor, source);
    put_tensor(data, *tensor);
    return;
  }
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const auto* field : fields) {
    if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      embed(*reflection.MutableMessage(&message, field));
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(message, field); ++i)
      embed(*reflection.MutableRepeatedMessage(&message, field, i));
  }
}

}  // namespace pare
