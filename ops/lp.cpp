#include "ops/lp.h"

namespace pare {
namespace {

double read_p(const Node& node) {
  const auto it = node.attributes.find("p");
  if (it == node.attributes.end()) return 2;
  if (const float* p = std::get_if<float>(&it->second)) return static_cast<double>(*p);
  return static_cast<double>(node.attribute<int64_t>("p", 2));
}

}  // namespace

LpNorm::LpNorm(const Node& node) : p_(read_p(node)) {
  if (!(p_ > 0))
    throw Error(ErrorKind::kInput,
                "attribute 'p' is " + std::to_string(p_) + ", expected a positive number");
}

void upgrade_lp_norm(Graph& graph, NodeId id, int64_t) {
  const auto it = graph.node(id).attributes.find("p");
  if (it == graph.node(id).attributes.end()) return;
  const float* p = std::get_if<float>(&it->second);
  if (!p) return;
  if (!(*p >= 1 && *p <= 64 && std::floor(*p) == *p))
    throw Error(ErrorKind::kUnsupported,
                "attribute 'p' is " + std::to_string(*p) + ", newer opsets take integers only");
  graph.set_attribute(id, "p", static_cast<int64_t>(*p));
}

}  // namespace pare
