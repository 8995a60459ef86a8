#include "ir/lineage.h"

#include <algorithm>
#include <set>

namespace pare {
namespace {

/// Whether the constants of a node that was there before are other ones now.
bool took_work(const Graph& before, const Graph& after, NodeId id) {
  const std::vector<ValueId>&old_inputs = before.node(id).inputs, &inputs = after.node(id).inputs;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i] == kNoValue || !after.value(inputs[i]).constant) continue;
    if (i >= old_inputs.size() || old_inputs[i] != inputs[i] ||
        before.value(inputs[i]).constant != after.value(inputs[i]).constant)
      return true;
  }
  return false;
}

/// What takes the place of `value` among the outputs, or for the first user that is left.
std::optional<ValueId> replacement(const Graph& before, const Graph& after, ValueId value) {
  const auto output = std::ranges::find(before.outputs(), value);
  const auto at = static_cast<size_t>(output - before.outputs().begin());
  if (output != before.outputs().end() && at < after.outputs().size()) return after.outputs()[at];
  for (const Use& use : before.value(value).uses) {
    const Node& user = after.node(use.node);
    if (user.alive && user.has_input(use.slot)) return user.inputs[use.slot];
  }
  return {};
}

/// What the users of `value` read after a step: `value` itself also where those behind a user that
/// only handed it on read it now, and it still is what it was.
std::optional<ValueId> successor(const Graph& before, const Graph& after, ValueId value) {
  if (const std::optional<ValueId> next = replacement(before, after, value)) return next;
  const std::optional<NodeId> producer = after.value(value).producer;
  if (producer && took_work(before, after, *producer)) return {};
  for (const Use& use : before.value(value).uses)
    for (const ValueId output : before.node(use.node).outputs)
      if (output != kNoValue && replacement(before, after, output) == value) return value;
  return {};
}

/// Where nodes that a step removed went.
class Removal {
 public:
  Removal(const Graph& before, const Graph& after) : before_(before), after_(after) {
    const std::vector<NodeId>& order = before.order();
    for (auto id = order.rbegin(); id != order.rend(); ++id)
      if (!after.node(*id).alive) heirs_[*id] = find(*id);
  }

  /// Nodes of `after`, by removed node; none where all it did is gone.
  const std::map<NodeId, std::set<NodeId>>& heirs() const { return heirs_; }

 private:
  std::set<NodeId> find(NodeId id) const {
    std::set<NodeId> heirs;
    for (const ValueId output : before_.node(id).outputs)
      if (output != kNoValue) add(output, heirs);
    return heirs;
  }

  void add(ValueId output, std::set<NodeId>& heirs) const {
    const Value& now = after_.value(output);
    if (now.producer) {
      heirs.insert(*now.producer);
    } else if (now.constant) {
      for (const Use& use : now.uses) heirs.insert(use.node);
    } else {
      if (const auto place = std::ranges::find(before_.outputs(), output);
          place != before_.outputs().end())
        add_output(static_cast<size_t>(place - before_.outputs().begin()), heirs);
      for (const Use& use : before_.value(output).uses) add_user(use, heirs);
    }
  }

  void add_output(size_t place, std::set<NodeId>& heirs) const {
    if (place >= after_.outputs().size()) return;
    if (const auto producer = after_.value(after_.outputs()[place]).producer)
      heirs.insert(*producer);
  }

  void add_user(const Use& use, std::set<NodeId>& heirs) const {
    const auto removed = heirs_.find(use.node);
    if (removed != heirs_.end()) {  // Users come later, so their heirs are known.
      heirs.insert(removed->second.begin(), removed->second.end());
      return;
    }
    const Node& user = after_.node(use.node);
    if (!user.alive || !user.has_input(use.slot)) return;
    const std::optional<NodeId> producer = after_.value(user.inputs[use.slot]).producer;
    const bool into_user = !producer || (index(*producer) < before_.node_count() &&
                                         !took_work(before_, after_, *producer) &&
                                         took_work(before_, after_, use.node));
    heirs.insert(into_user ? use.node : *producer);
  }

  const Graph& before_;
  const Graph& after_;
  std::map<NodeId, std::set<NodeId>> heirs_;
};

void merge(std::vector<NodeId>& into, const std::vector<NodeId>& more) {
  into.insert(into.end(), more.begin(), more.end());
  std::ranges::sort(into);
  into.erase(std::unique(into.begin(), into.end()), into.end());
}

/// What is left of what was left.
void narrow(Survivors& survivors, const Survivors& of_them) {
  for (const auto& [axis, kept] : of_them) {
    const auto [at, first] = survivors.emplace(axis, kept);
    if (first) continue;
    std::vector<int64_t> left;
    for (const int64_t k : kept) left.push_back(at->second.at(static_cast<size_t>(k)));
    at->second = std::move(left);
  }
}

}  // namespace

Lineage::Lineage(const Graph& beginning)
    : origins_(beginning.node_count()),
      made_by_(beginning.node_count()),
      survivors_(beginning.value_count()) {
  for (const NodeId id : beginning.order()) origins_[index(id)] = {id};
  for (uint32_t i = 0; i < beginning.value_count(); ++i) heirs_.emplace_back(ValueId{i});
}

void Lineage::follow(const Graph& before, const Graph& after, const std::string& step) {
  origins_.resize(after.node_count());
  made_by_.resize(after.node_count(), step);
  std::vector<NodeId> gone;
  const Removal removal(before, after);
  for (const auto& [id, heirs] : removal.heirs()) {
    for (const NodeId heir : heirs) merge(origins_[index(heir)], origins_[index(id)]);
    if (heirs.empty()) merge(gone, origins_[index(id)]);
    origins_[index(id)].clear();
  }
  std::set<NodeId> alive;
  for (const std::vector<NodeId>& origins : origins_) alive.insert(origins.begin(), origins.end());
  for (const NodeId origin : gone)
    if (!alive.contains(origin)) removed_.emplace(origin, step);
  for (size_t i = before.cuts().size(); i < after.cuts().size(); ++i)
    for (size_t value = 0; value < heirs_.size(); ++value)
      if (const auto& heir = heirs_[value]; heir && after.cuts()[i].contains(*heir))
        narrow(survivors_[value], after.cuts()[i].at(*heir));
  for (std::optional<ValueId>& heir : heirs_)
    if (heir) heir = successor(before, after, *heir);
}

}  // namespace pare
