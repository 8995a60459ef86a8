#pragma once

#include <google/protobuf/io/coded_stream.h>

#include <cstdint>

// Length-delimited fields of protobuf, written by hand where a message is put together from parts.
// https://protobuf.dev/programming-guides/encoding/#structure
namespace pare::wire {

inline constexpr uint32_t kLengthDelimited = 2;

/// Bytes of a field whose number is below 16 and whose payload has `size` bytes.
inline uint64_t field_size(uint64_t size) {
  return 1 + google::protobuf::io::CodedOutputStream::VarintSize64(size) + size;
}

/// Announces a payload of `size` bytes, which the caller writes next.
inline void begin_field(int number, uint64_t size, google::protobuf::io::CodedOutputStream& out) {
  out.WriteTag(static_cast<uint32_t>(number) << 3 | kLengthDelimited);
  out.WriteVarint64(size);
}

}  // namespace pare::wire
