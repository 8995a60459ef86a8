#pragma once

#include <onnx/onnx_pb.h>

#include <map>
#include <set>
#include <string>
#include <vector>

namespace pare {

/// Names that subgraphs of `node`, at any depth, read from the graph around it: each once, in the
/// order they are met. A name that a subgraph defines itself hides the outer one.
std::vector<std::string> captured_names(const onnx::NodeProto& node);

/// Names that subgraphs of `node` use for what they define themselves, at any depth.
std::set<std::string> local_names(const onnx::NodeProto& node);

/// Renames what the subgraphs of `node` capture. A local name that would hide one of the new names
/// is renamed too.
void rename_captures(onnx::NodeProto& node, const std::map<std::string, std::string>& renames);

}  // namespace pare
