#include <sstream>

#include "ir/graph.h"

namespace pare {
namespace {

template <typename T>
void print_list(std::ostream& out, const std::vector<T>& list) {
  out << "[";
  for (size_t i = 0; i < list.size(); ++i) out << (i ? "," : "") << list[i];
  out << "]";
}

struct PrintAttribute {
  std::ostream& out;
  void operator()(int64_t x) const { out << x; }
  void operator()(float x) const { out << x; }
  void operator()(const std::string& x) const { out << '"' << x << '"'; }
  void operator()(const std::vector<int64_t>& x) const { print_list(out, x); }
  void operator()(const std::vector<float>& x) const { print_list(out, x); }
  void operator()(const std::vector<std::string>& x) const { print_list(out, x); }
  void operator()(const TensorRef& x) const { out << to_string(x->type()); }
  void operator()(const Opaque& x) const { out << "<" << x.bytes.size() << " bytes>"; }
};

}  // namespace

std::string to_text(const Graph& graph) {
  std::ostringstream out;
  const auto typed = [&](ValueId id) {
    return id == kNoValue ? std::string("_")
                          : graph.value(id).name + ": " + to_string(graph.type(id));
  };
  for (ValueId id : graph.inputs()) out << "input " << typed(id) << "\n";
  for (NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    for (size_t i = 0; i < node.outputs.size(); ++i)
      out << (i ? ", " : "") << typed(node.outputs[i]);
    out << " = " << (node.domain.empty() ? "" : node.domain + "::") << node.op << "(";
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const ValueId input = node.inputs[i];
      out << (i ? ", " : "");
      if (input != kNoValue && graph.value(input).constant) {
        out << "@" << typed(input);
      } else {
        out << (input == kNoValue ? "_" : graph.value(input).name);
      }
    }
    out << ")";
    for (const auto& [key, attribute] : node.attributes) {
      out << " " << key << "=";
      std::visit(PrintAttribute{out}, attribute);
    }
    out << "\n";
  }
  for (ValueId id : graph.outputs()) out << "output " << typed(id) << "\n";
  return out.str();
}

}  // namespace pare
