#include "importers/onnx/read_model.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <limits>
#include <map>

#include "support/error.h"

namespace pare {
namespace {

constexpr int64_t kOldestOpset = 7;
constexpr int64_t kOldestIrVersion = 3;
/// Messages inside messages; If bodies inside If bodies are four levels each.
constexpr int kMaxNesting = 100;

void check_opsets(const onnx::ModelProto& model) {
  std::map<std::string, int64_t> versions;
  for (const auto& import : model.opset_import()) {
    const std::string domain = normal_domain(import.domain());
    const auto [it, added] = versions.emplace(domain, import.version());
    if (!added && it->second != import.version())
      throw Error(ErrorKind::kInput, "imports domain '" + import.domain() + "' in versions " +
                                         std::to_string(it->second) + " and " +
                                         std::to_string(import.version()) + ", expected one");
    if (import.version() < 1)
      throw Error(ErrorKind::kInput, "imports domain '" + import.domain() + "' in version " +
                                         std::to_string(import.version()) + ", expected 1 or more");
    if (domain.empty() && import.version() < kOldestOpset)
      throw Error(ErrorKind::kUnsupported, "is written in opset " +
                                               std::to_string(import.version()) +
                                               ", opset 7 is the oldest this tool reads");
  }
}

}  // namespace

void check_size(std::span<const std::byte> bytes, const std::string& what) {
  if (bytes.empty()) throw Error(ErrorKind::kInput, "is empty, expected " + what);
  if (bytes.size() > std::numeric_limits<int>::max())
    throw Error(ErrorKind::kInput, "has " + std::to_string(bytes.size()) +
                                       " bytes, but protobuf ends at 2 GB (larger weights belong "
                                       "in external data)");
}

void merge_message(std::span<const std::byte> bytes, const std::string& what, int depth,
                   google::protobuf::Message& message) {
  const auto size = static_cast<int>(bytes.size());
  google::protobuf::io::ArrayInputStream array(bytes.data(), size);
  google::protobuf::io::CodedInputStream stream(&array);
  stream.SetTotalBytesLimit(size);
  stream.SetRecursionLimit(kMaxNesting - depth);
  if (!message.MergePartialFromCodedStream(&stream) || !stream.ConsumedEntireMessage())
    throw Error(ErrorKind::kInput, "is no " + what +
                                       ": the data is damaged, cut off, or nested "
                                       "more than " +
                                       std::to_string(kMaxNesting) + " deep");
}

void read_message(std::span<const std::byte> bytes, const std::string& what,
                  google::protobuf::Message& message) {
  check_size(bytes, what);
  message.Clear();
  merge_message(bytes, what, 0, message);
}

void check_model(const onnx::ModelProto& model) {
  if (!model.has_graph()) throw Error(ErrorKind::kInput, "is no ONNX model: it has no graph");
  if (model.ir_version() < 1)
    throw Error(ErrorKind::kInput, "is no ONNX model: it has no IR version");
  if (model.ir_version() < kOldestIrVersion)
    throw Error(ErrorKind::kUnsupported, "has IR version " + std::to_string(model.ir_version()) +
                                             ", 3 is the oldest this tool reads");
  if (model.opset_import_size() == 0)
    throw Error(ErrorKind::kInput, "imports no opset, expected one for each domain it uses");
  check_opsets(model);
}

}  // namespace pare
