// A message is its fields one after another, and messages joined end to end are one message with
// the fields of both. So the runs of fields between those that are taken out here are merged by
// protobuf itself, and whatever is not plain goes to it too: it is what says that data is damaged.
// https://protobuf.dev/programming-guides/encoding

#include "importers/onnx/model_file.h"

#include <algorithm>
#include <functional>
#include <limits>

#include "importers/onnx/read_model.h"

namespace pare {
namespace {

using Bytes = std::span<const std::byte>;

/// Of the file at a time, when it is copied.
constexpr size_t kPiece = size_t{4} << 20;

struct Field {
  uint32_t number = 0;  ///< 0 where there is no length before the content.
  Bytes whole;          ///< With tag and length.
  Bytes content;
};

std::optional<uint64_t> take_varint(Bytes& bytes) {
  constexpr size_t kLongest = 10;
  uint64_t number = 0;
  for (size_t i = 0; i < std::min(kLongest, bytes.size()); ++i) {
    const auto byte = static_cast<uint64_t>(bytes[i]);
    number |= (byte & 0x7f) << (7 * i);
    if (byte >= 0x80) continue;
    bytes = bytes.subspan(i + 1);
    return number;
  }
  return {};
}

/// The first field; all of `bytes` where that is damaged or a group.
Field first_field(Bytes bytes) {
  enum : uint64_t { kVarint = 0, kFixed64 = 1, kLength = 2, kFixed32 = 5 };
  Bytes rest = bytes;
  const std::optional<uint64_t> tag = take_varint(rest);
  uint64_t skipped = 0;
  uint32_t number = 0;
  if (!tag || *tag > std::numeric_limits<uint32_t>::max()) return {.whole = bytes};
  switch (*tag & 7) {
    case kVarint:
      if (!take_varint(rest)) return {.whole = bytes};
      break;
    case kFixed64:
      skipped = 8;
      break;
    case kFixed32:
      skipped = 4;
      break;
    case kLength: {
      const std::optional<uint64_t> length = take_varint(rest);
      if (!length) return {.whole = bytes};
      skipped = *length;
      number = static_cast<uint32_t>(*tag >> 3);
      break;
    }
    default:
      return {.whole = bytes};
  }
  if (skipped > rest.size()) return {.whole = bytes};
  const Bytes content = rest.first(skipped);
  return {number, bytes.first(bytes.size() - rest.size() + skipped), content};
}

/// Gives every field `number` to `take` and merges the others into `message`.
void parse_around(Bytes bytes, int number, int depth, google::protobuf::Message& message,
                  const std::function<void(Bytes)>& take) {
  const auto merge = [&](Bytes run) {
    if (!run.empty()) merge_message(run, "ONNX model", depth, message);
  };
  size_t run = 0;
  for (size_t at = 0; at < bytes.size();) {
    const Field field = first_field(bytes.subspan(at));
    const size_t end = at + field.whole.size();
    if (field.number == static_cast<uint32_t>(number)) {
      merge(bytes.subspan(run, at - run));
      take(field.content);
      run = end;
    }
    at = end;
  }
  merge(bytes.subspan(run));
}

}  // namespace

ModelFile::ModelFile(std::shared_ptr<const MappedFile> file) : file_(std::move(file)) {
  check_size(file_->bytes(), "ONNX model");
  parse_around(file_->bytes(), onnx::ModelProto::kGraphFieldNumber, 0, model,
               [&](Bytes bytes) { parse_graph(bytes); });
  check_model(model);
}

void ModelFile::parse_graph(Bytes bytes) {
  parse_around(bytes, onnx::GraphProto::kInitializerFieldNumber, 1, *model.mutable_graph(),
               [&](Bytes tensor) { parse_initializer(tensor); });
}

void ModelFile::parse_initializer(Bytes bytes) {
  onnx::TensorProto& tensor = *model.mutable_graph()->add_initializer();
  // Protobuf may have met initializers too, in what it was given as a whole.
  raw_.resize(static_cast<size_t>(model.graph().initializer_size()));
  parse_around(bytes, onnx::TensorProto::kRawDataFieldNumber, 2, tensor,
               [&](Bytes data) { raw_.back() = data; });  // Of several the last counts.
}

std::optional<ExternalBytes> ModelFile::raw_data(size_t i) const {
  if (i >= raw_.size() || !raw_[i]) return {};
  const Bytes from = *raw_[i];
  const auto copy = std::make_shared<Tensor>(
      Tensor::uninitialized(DType::kU8, {static_cast<int64_t>(from.size())}));
  const std::span<std::byte> to = copy->mutable_bytes();
  for (size_t at = 0; at < from.size(); at += kPiece) {
    const Bytes piece = from.subspan(at, std::min(kPiece, from.size() - at));
    std::ranges::copy(piece, to.subspan(at).begin());
    file_->release(piece);
  }
  return ExternalBytes{copy, to};
}

}  // namespace pare
