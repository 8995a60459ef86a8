#include "exporters/onnx/weights.h"

#include <algorithm>

#include "exporters/onnx/wire.h"
#include "onnx_proto/tensor_codec.h"

namespace pare {
namespace {

using google::protobuf::io::CodedOutputStream;

constexpr uint64_t kSmallestMoved = 1024;
/// A memory page, so that each weight can be mapped by itself.
constexpr uint64_t kAlignment = 4096;

uint64_t aligned(uint64_t offset) { return (offset + kAlignment - 1) / kAlignment * kAlignment; }

void add_entry(onnx::TensorProto& proto, const std::string& key, std::string value) {
  onnx::StringStringEntryProto& entry = *proto.add_external_data();
  entry.set_key(key);
  entry.set_value(std::move(value));
}

void write_raw(const Tensor& tensor, CodedOutputStream& out) {
  std::string buffer;
  std::span<const std::byte> bytes = raw_bytes(tensor, buffer);
  constexpr size_t kChunk = size_t{1} << 30;  // WriteRaw counts in int.
  while (!bytes.empty()) {
    const std::span<const std::byte> chunk = bytes.first(std::min(bytes.size(), kChunk));
    out.WriteRaw(chunk.data(), static_cast<int>(chunk.size()));
    bytes = bytes.subspan(chunk.size());
  }
}

}  // namespace

void Weights::add(const Value& value) {
  Entry& entry = entries_.emplace_back();
  if (value.header)
    PARE_CHECK(entry.proto.ParsePartialFromString(*value.header), "a tensor's header was altered");
  put_type(*value.constant, entry.proto);
  entry.proto.set_name(value.name);
  entry.tensor = value.constant;
  entry.raw_size = raw_size(*value.constant);
}

bool Weights::move_out(const std::string& location) {
  uint64_t offset = 0;
  for (Entry& entry : entries_) {
    if (entry.raw_size < kSmallestMoved) continue;
    entry.moved = true;
    entry.proto.set_data_location(onnx::TensorProto::EXTERNAL);
    add_entry(entry.proto, "location", location);
    add_entry(entry.proto, "offset", std::to_string(offset));
    add_entry(entry.proto, "length", std::to_string(entry.raw_size));
    offset = aligned(offset + entry.raw_size);
  }
  return offset > 0;
}

uint64_t Weights::message_size(const Entry& entry) {
  const uint64_t rest = entry.proto.ByteSizeLong();
  const bool raw = !entry.moved && entry.tensor->dtype() != DType::kString;
  return rest + (raw ? wire::field_size(entry.raw_size) : 0);
}

uint64_t Weights::size() const {
  uint64_t size = 0;
  for (const Entry& entry : entries_) size += wire::field_size(message_size(entry));
  return size;
}

void Weights::write(CodedOutputStream& out) const {
  for (const Entry& entry : entries_) {
    wire::begin_field(onnx::GraphProto::kInitializerFieldNumber, message_size(entry), out);
    entry.proto.SerializeToCodedStream(&out);
    if (entry.moved || entry.tensor->dtype() == DType::kString) continue;
    wire::begin_field(onnx::TensorProto::kRawDataFieldNumber, entry.raw_size, out);
    write_raw(*entry.tensor, out);
  }
}

void Weights::write_moved(CodedOutputStream& out) const {
  uint64_t offset = 0;
  for (const Entry& entry : entries_) {
    if (!entry.moved) continue;
    const std::string padding(aligned(offset) - offset, '\0');
    out.WriteString(padding);
    write_raw(*entry.tensor, out);
    offset = aligned(offset) + entry.raw_size;
  }
}

}  // namespace pare
