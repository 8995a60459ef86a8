#include "passes/reconstruct.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "passes/graph_edit.h"
#include "passes/lockstep_settings.h"
#include "passes/reconstruct_layer.h"
#include "passes/refit_producer.h"

namespace pare {
namespace {

bool finite(const std::vector<Matrix>& matrices) {
  return std::ranges::all_of(matrices, [](const Matrix& m) {
    return std::ranges::all_of(m.data, [](double x) { return std::isfinite(x); });
  });
}

class Reconstruction {
 public:
  Reconstruction(const Graph& original, Graph& changed, const SurvivingIndices& surviving,
                 const ReconstructOptions& options, const PassContext& context,
                 InputChooser* chooser)
      : original_(original),
        changed_(changed),
        surviving_(surviving),
        options_(options),
        context_(context),
        chooser_(chooser),
        producers_(producers()),
        settings_(lockstep_settings(original, changed, with_held_out(options, *context.data),
                                    context, needs_of_producers())),
        lockstep_(original, changed, *context.data, settings_),
        position_(changed.node_count()) {
    for (size_t i = 0; i < lockstep_.order().size(); ++i)
      position_[index(lockstep_.order()[i])] = i;
  }

  ReconstructResult run() {
    const std::vector<NodeId>& order = lockstep_.order();
    const size_t end = end_of_fits(changed_);
    for (size_t i = 0; i < end; ++i) {
      context_.progress.step("fitting weights", static_cast<int64_t>(i), static_cast<int64_t>(end));
      if (lockstep_.in_original(order[i])) {
        lockstep_.run_original(order[i]);
        with_context([&] { return describe(changed_.node(order[i])); }, [&] { fit(order[i]); });
      }
      lockstep_.run_changed(order[i]);
      lockstep_.release(i);
    }
    result_.samples = static_cast<int64_t>(settings_.samples.size());
    return result_;
  }

 private:
  void fit(NodeId id) {
    const std::optional<WeightedNode> weighted = weighted_node(changed_, id);
    if (!weighted) return;
    const ResultPath path = follow_result(changed_, *weighted, position_);
    const bool restricted = chooser_ && chooser_->restricts(id);
    const bool behind = restricted || !lockstep_.same(weighted->input.value) ||
                        (path.stream != kNoValue && !lockstep_.same(path.stream));
    if (!behind) return;
    std::optional<PatchView> view = PatchView::of(changed_, id);
    // Weights that other nodes share would have to suit all of them.
    if (!view || changed_.value(weighted->weight_input.value).uses.size() != 1) {
      ++result_.skipped;
      return;
    }
    solve(*view, path, restricted ? chooser_ : nullptr);
    ++result_.fitted;
    if (restricted || !producers_.contains(id)) return;
    for (const ProducerPath& producer : producers_.at(id)) {
      const LayerFit fit(original_, changed_, lockstep_, *view, path, surviving_, options_);
      if (!fit.is_well_determined()) break;  // A wide classifier of few images: it would overfit.
      const double gained = refit_producer(changed_, lockstep_, producer, fit, options_);
      if (gained <= 0) continue;
      std::vector<NodeId> again{producer.producer};
      again.insert(again.end(), producer.between.begin(), producer.between.end());
      lockstep_.run_changed_again(again);
      ++result_.producers;
      solve(*view, path, nullptr);
    }
  }

  void solve(const PatchView& view, const ResultPath& path, InputChooser* chooser) {
    const LayerFit fit(original_, changed_, lockstep_, view, path, surviving_, options_);
    const std::vector<Matrix> m = fit.solve(chooser);
    if (!finite(m))
      throw Error(ErrorKind::kInput, "the fitted weights are not finite numbers on this data");
    store(fit, path, m);
  }

  /// By consumer: the producers that are bettered when it is fitted.
  std::map<NodeId, std::vector<ProducerPath>> producers() const {
    std::map<NodeId, std::vector<ProducerPath>> result;
    if (options_.producer_steps == 0) return result;
    for (NodeId id : changed_.order()) {
      std::vector<ProducerPath> paths = sole_producers(changed_, id);
      if (!paths.empty()) result.emplace(id, std::move(paths));
    }
    return result;
  }

  LockstepNeeds needs_of_producers() const {
    LockstepNeeds needs;
    for (const auto& [consumer, paths] : producers_) {
      for (const ProducerPath& path : paths) {
        needs.held.push_back({weighted_node(changed_, path.producer)->input.value, consumer});
        for (ValueId other : path.others) needs.held.push_back({other, consumer});
        int64_t& in_work = needs.in_work[consumer];
        in_work = std::max(in_work, bytes_on_the_way(changed_, path, consumer));
      }
    }
    return needs;
  }

  void store(const LayerFit& fit, const ResultPath& path, const std::vector<Matrix>& m) {
    const NodeId id = fit.view().weighted().node;
    const Tensor weight = fit.view().weight_of(changed_, m), bias = fit.view().bias_of(changed_, m);
    set_constant_operand(changed_, id, 1, weight);
    if (path.addend != kNoValue) {
      const NodeId add = *changed_.sole_user(fit.view().weighted().output.value);
      const auto slot = static_cast<size_t>(changed_.node(add).inputs[1] == path.addend);
      set_constant_operand(changed_, add, slot, bias.reshaped(changed_.shape(path.addend)));
    } else if (fit.has_bias()) {
      set_constant_operand(changed_, id, 2, bias);
    }
  }

  const Graph& original_;
  Graph& changed_;
  const SurvivingIndices& surviving_;
  const ReconstructOptions& options_;
  const PassContext& context_;
  InputChooser* chooser_;
  ReconstructResult result_;
  std::map<NodeId, std::vector<ProducerPath>> producers_;
  Lockstep::Settings settings_;
  Lockstep lockstep_;
  std::vector<size_t> position_;  ///< By node.
};

}  // namespace

ReconstructResult reconstruct(const Graph& original, Graph& changed,
                              const SurvivingIndices& surviving, const ReconstructOptions& options,
                              const PassContext& context, InputChooser* chooser) {
  PARE_CHECK(context.data && context.data->size() > 0, "least squares needs samples");
  ReconstructResult result =
      Reconstruction(original, changed, surviving, options, context, chooser).run();
  changed.infer_types();
  return result;
}

}  // namespace pare
