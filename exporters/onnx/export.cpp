#include "exporters/onnx/export.h"

#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <filesystem>
#include <functional>
#include <limits>
#include <span>

#include "exporters/onnx/model_parts.h"
#include "support/file.h"

namespace pare {
namespace {

namespace fs = std::filesystem;

constexpr int kBufferBytes = 1 << 20;
constexpr uint64_t kMaxModelBytes = std::numeric_limits<int>::max();

bool same_file(const fs::path& a, const fs::path& b) {
  std::error_code error;
  return fs::equivalent(a, b, error) && !error;
}

/// Neither the model that was read nor the weights beside it may be written over: a failed run must
/// leave the user with what there was.
void refuse_source(const Graph& graph, const std::string& target) {
  if (graph.source_path.empty()) return;
  const auto refuse = [&](const std::string& what) {
    throw Error(ErrorKind::kUsage, target + ": is " + what +
                                       ", which is not overwritten; expected another output path");
  };
  if (same_file(graph.source_path, target)) refuse("the model that was read");
  const fs::path folder = fs::path(graph.source_path).parent_path();
  for (uint32_t i = 0; i < graph.value_count(); ++i) {
    const OpaqueRef& header = graph.value(ValueId{i}).header;
    onnx::TensorProto proto;
    if (!header || !proto.ParsePartialFromString(*header)) continue;
    for (const auto& entry : proto.external_data()) {
      if (entry.key() == "location" && same_file(folder / entry.value(), target))
        refuse("where weights of the model that was read are");
    }
  }
}

using Append = std::function<void(std::span<const std::byte>)>;

/// Lets protobuf write through the function that write_file() hands out.
class AppendStream : public google::protobuf::io::CopyingOutputStream {
 public:
  explicit AppendStream(const Append& append) : append_(append) {}
  bool Write(const void* bytes, int size) override {
    append_({static_cast<const std::byte*>(bytes), static_cast<size_t>(size)});
    return true;
  }

 private:
  const Append& append_;
};

template <typename Write>
void write_through(const Append& append, Write&& write) {
  AppendStream stream(append);
  google::protobuf::io::CopyingOutputStreamAdaptor buffer(&stream, kBufferBytes);
  {
    google::protobuf::io::CodedOutputStream out(&buffer);
    write(out);
  }  // Hands what is left to the buffer.
  buffer.Flush();
}

}  // namespace

void export_onnx(const Graph& graph, const std::string& path, const ExportOptions& options) {
  refuse_source(graph, path);
  ModelParts parts = model_parts(graph);
  bool external = options.external_data || parts.size() > kMaxModelBytes;
  const std::string data_path = path + ".data";
  if (external) {
    refuse_source(graph, data_path);
    external = parts.weights.move_out(fs::path(data_path).filename());
    if (parts.size() > kMaxModelBytes)
      throw Error(ErrorKind::kUnsupported,
                  path + ": would exceed 2 GB even with its weights in another file");
  }
  write_file(path, [&](const Append& append) {
    write_through(append, [&](auto& out) { parts.write(out); });
    if (!external) return;  // Else the weights are in place before the model that needs them.
    write_file(data_path, [&](const Append& append_data) {
      write_through(append_data, [&](auto& out) { parts.weights.write_moved(out); });
    });
  });
}

}  // namespace pare
