#include "passes/prune_channels_obs.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "passes/held_out.h"
#include "passes/knapsack.h"
#include "passes/prune_channels_sensitivity.h"

namespace pare {
namespace {

/// Images whose outputs are compared for a sensitivity.
constexpr int64_t kSensitivitySamples = 256;
constexpr size_t kBins = 4000;
constexpr int kRounds = 8;

class LossAllocator {
 public:
  LossAllocator(const MeasuredFamilies& measured, const LossBudget& budget)
      : measured_(measured), budget_(budget), shared_(*budget.axes, budget.slots->size()) {
    std::vector<size_t> family_of(budget.slots->size(), measured.curves.size());
    for (size_t f = 0; f < measured.curves.size(); ++f) {
      const ErrorCurve& curve = measured.curves[f];
      options_.push_back(legal_counts(*curve.family, budget.limits));
      std::erase_if(options_.back(), [&](int64_t k) { return k < curve.least; });
      std::vector<double>& losses = losses_.emplace_back();
      for (int64_t kept : options_.back())
        losses.push_back(predicted_loss(curve, measured.losses[f], kept));
      for (uint32_t group : curve.family->groups) family_of[group] = f;
    }
    neighbours_ = budget.model->neighbours(family_of, measured.curves.size());
  }

  std::optional<std::vector<bool>> run() {
    Choice last;
    for (const auto& options : options_) last.push_back(options.size() - 1);
    if (size(last) > budget_.target) return {};
    // What a family costs depends on the others, so where the search begins matters.
    const Choice even = uniform();
    Choice best = repaired(even);
    for (const Choice& start : {even, Choice(options_.size(), 0), last}) {
      const Choice found = search(start);
      if (loss(found) < loss(best)) best = found;
    }
    return doomed(best);
  }

 private:
  using Choice = std::vector<size_t>;  ///< Index into options_, by family.

  /// Solves the knapsack linearised around one choice after the other; the best of them.
  Choice search(const Choice& start) const {
    Choice current = start, best;
    double slack = 0;  // What linearising was wrong by.
    for (int round = 0; round < kRounds; ++round) {
      Choice next = linearised(current, budget_.target - slack);
      if (next.empty()) break;
      const double over = size(next) - budget_.target;
      if (over > 0) slack += over;
      next = repaired(std::move(next));
      if (best.empty() || loss(next) < loss(best)) best = next;
      if (next == current) break;
      current = std::move(next);
    }
    return best.empty() ? repaired(start) : best;
  }

  int64_t kept(const Choice& choice, size_t f) const { return options_[f][choice[f]]; }

  std::vector<bool> doomed(const Choice& choice) const {
    std::vector<bool> result = budget_.doomed;
    AxisGuard guard(shared_);
    for (uint32_t group = 0; group < result.size(); ++group) {
      if (result[group]) guard.take(group);
    }
    for (size_t f = 0; f < choice.size(); ++f) {
      const ErrorCurve& curve = measured_.curves[f];
      const auto gone = static_cast<int64_t>(curve.family->groups.size()) - kept(choice, f);
      for (int64_t i = 0; i < gone; ++i) {
        const uint32_t group = curve.order[static_cast<size_t>(i)];
        if (!result[group] && guard.take(group)) result[group] = true;
      }
    }
    return result;
  }

  double size(const Choice& choice) const { return budget_.model->without(doomed(choice)); }

  double loss(const Choice& choice) const {
    double sum = 0;
    for (size_t f = 0; f < choice.size(); ++f) sum += losses_[f][choice[f]];
    return sum;
  }

  /// The same share of every family, as much as the budget asks for.
  Choice uniform() const {
    const auto at = [&](double share) {
      Choice choice;
      for (const std::vector<int64_t>& options : options_) {
        const double wanted = share * static_cast<double>(options[0]);
        size_t option = 0;
        while (option + 1 < options.size() && static_cast<double>(options[option + 1]) >= wanted)
          ++option;
        choice.push_back(option);
      }
      return choice;
    };
    double low = 0, high = 1;
    for (int i = 0; i < 20; ++i) {
      const double middle = (low + high) / 2;
      (size(at(middle)) <= budget_.target ? low : high) = middle;
    }
    return at(low);
  }

  /// What one more group of a family costs while the others are as in `choice`.
  double slope(const Choice& choice, size_t f) const {
    if (options_[f].size() < 2) return 0;
    Choice all = choice, least = choice;
    all[f] = 0;
    least[f] = options_[f].size() - 1;
    const auto groups = static_cast<double>(kept(all, f) - kept(least, f));
    return std::max(0.0, (size(all) - size(least)) / groups);
  }

  Choice linearised(const Choice& around, double target) const {
    std::vector<KnapsackItem> items;
    double rest = size(around);
    for (size_t f = 0; f < options_.size(); ++f) {
      const double price = slope(around, f);
      const int64_t least = options_[f].back();
      rest -= price * static_cast<double>(kept(around, f) - least);
      KnapsackItem& item = items.emplace_back();
      item.loss = losses_[f];
      for (int64_t k : options_[f]) item.cost.push_back(price * static_cast<double>(k - least));
    }
    return solve_knapsack(items, target - rest, kBins);
  }

  /// By family: what its next step changes the size by, where that is known.
  using Changes = std::vector<std::optional<double>>;

  /// The family whose next step costs the least loss for what it changes; `down` removes. Fills in
  /// the changes it needs.
  std::optional<size_t> best_step(const Choice& choice, double now, bool down,
                                  Changes& changes) const {
    std::optional<size_t> best;
    double best_rate = 0;
    for (size_t f = 0; f < choice.size(); ++f) {
      Choice step = choice;
      if (down ? ++step[f] >= options_[f].size() : step[f]-- == 0) continue;
      if (!changes[f]) changes[f] = std::abs(size(step) - now);
      const double change = *changes[f];
      if (change <= 0 || (!down && now + change > budget_.target)) continue;
      const double rate = std::abs(losses_[f][step[f]] - losses_[f][choice[f]]) / change;
      if (best && (down ? rate >= best_rate : rate <= best_rate)) continue;
      best = f;
      best_rate = rate;
    }
    return best;
  }

  /// Steps down while over the budget, then up while there is room.
  Choice repaired(Choice choice) const {
    for (const bool down : {true, false}) {
      Changes changes(choice.size());
      for (;;) {
        const double now = size(choice);
        if (down && now <= budget_.target) break;
        const std::optional<size_t> f = best_step(choice, now, down, changes);
        if (!f) break;
        down ? ++choice[*f] : --choice[*f];
        for (size_t other : neighbours_[*f]) changes[other].reset();
      }
    }
    return choice;
  }

  const MeasuredFamilies& measured_;
  const LossBudget& budget_;
  const SharedAxes shared_;
  std::vector<std::set<size_t>> neighbours_;   ///< By family: those whose changes depend on it.
  std::vector<std::vector<int64_t>> options_;  ///< Groups kept, descending, by family.
  std::vector<std::vector<double>> losses_;    ///< By family and option.
};

/// Splits families into those known, those to measure here and those that others measure.
struct FamilyMeasurer {
  FamilyMeasurer(const Graph& graph, const std::vector<Family>& families,
                 const AllocationLimits& limits)
      : graph(graph), families(families), limits(limits) {}

  void sort(const MeasureSharing& sharing) {
    for (size_t i = 0; i < families.size(); ++i) {
      if (families[i].coupled && !sharing.coupled) continue;
      const std::vector<NodeId> consumers = fitted_consumers(graph, families[i]);
      if (consumers.empty()) continue;  // Cannot be measured.
      const int64_t least = legal_counts(families[i], limits).back();
      std::optional<MeasurementStore::Known> entry;
      if (sharing.store) entry = sharing.store->find(graph, families[i], least);
      if (!entry && static_cast<int64_t>(i) % sharing.shards == sharing.shard) {
        here.push_back(families[i]);
        least_here.push_back(least);
        places.push_back(i);
        continue;
      }
      const auto count = static_cast<int64_t>(families[i].groups.size());
      work_elsewhere += sensitivity_work(graph, consumers, measured_counts(count, least).size());
      if (entry) known.emplace(i, std::move(*entry));
    }
  }

  /// Measures what is to be measured here; all of it is known then.
  void measure(const ChannelSlots& slots, const ReconstructOptions& options,
               const PassContext& context, MeasurementStore* store) {
    std::vector<ErrorCurve> curves;
    std::vector<size_t> curve_places;
    std::vector<std::optional<ErrorCurve>> found =
        measure_curves(graph, slots, here, least_here, options, context);
    for (size_t i = 0; i < found.size(); ++i) {
      if (!found[i]) continue;
      curves.push_back(std::move(*found[i]));
      curves.back().family = &families[places[i]];
      curve_places.push_back(places[i]);
    }
    std::vector<const ErrorCurve*> pointers;
    for (const ErrorCurve& curve : curves) pointers.push_back(&curve);
    const auto done = [&](size_t c, const std::vector<double>& losses, double seconds) {
      curves[c].seconds += seconds;
      curves[c].solutions.clear();
      if (store) store->keep(graph, curves[c], losses);
    };
    // What nothing was fitted to says more.
    std::vector<int64_t> samples =
        unfitted_samples(*context.data, options.samples, kSensitivitySamples);
    if (samples.empty()) samples = context.data->spread(kSensitivitySamples);
    std::vector<std::vector<double>> losses = measure_sensitivities(
        graph, graph, pointers, samples, options.max_memory, context, {work_elsewhere, done});
    for (size_t c = 0; c < curves.size(); ++c) {
      known.emplace(curve_places[c],
                    MeasurementStore::Known{std::move(curves[c]), std::move(losses[c])});
    }
  }

  const Graph& graph;
  const std::vector<Family>& families;
  const AllocationLimits& limits;
  std::map<size_t, MeasurementStore::Known> known;  ///< By position in `families`.
  std::vector<Family> here;                         ///< To measure.
  std::vector<int64_t> least_here;
  std::vector<size_t> places;  ///< Of `here` in `families`.
  double work_elsewhere = 0;   ///< MACs a sample of tails that are not run here.
};

}  // namespace

double predicted_loss(const ErrorCurve& curve, const std::vector<double>& losses, int64_t kept) {
  const auto error = [&](int64_t k) { return curve.error[static_cast<size_t>(k)]; };
  int64_t above = static_cast<int64_t>(curve.family->groups.size());
  double loss_above = 0;
  if (kept >= above) return 0;
  for (size_t i = 0; i < curve.kept.size(); ++i) {
    const int64_t below = curve.kept[i];
    if (kept >= below) {
      const double span = error(below) - error(above);
      const double share = span > 0 ? (error(kept) - error(above)) / span : 1;
      return loss_above + share * (losses[i] - loss_above);
    }
    above = below;
    loss_above = losses[i];
  }
  return error(above) > 0 ? loss_above * error(kept) / error(above) : loss_above;
}

MeasuredFamilies measure_families(const Graph& graph, const ChannelSlots& slots,
                                  const std::vector<Family>& families,
                                  const AllocationLimits& limits, const ReconstructOptions& options,
                                  const PassContext& context, const MeasureSharing& sharing) {
  FamilyMeasurer sorter(graph, families, limits);
  sorter.sort(sharing);
  if (!sorter.here.empty()) sorter.measure(slots, options, context, sharing.store);
  MeasuredFamilies measured;
  for (auto& [place, known] : sorter.known) {
    measured.curves.push_back(std::move(known.curve));
    measured.losses.push_back(std::move(known.losses));
  }
  return measured;
}

MeasuredFamilies averaged(const MeasuredFamilies& first, const MeasuredFamilies& second) {
  MeasuredFamilies result;
  for (size_t f = 0; f < first.curves.size(); ++f) {
    ErrorCurve& curve = result.curves.emplace_back(first.curves[f]);
    const auto other = std::ranges::find_if(
        second.curves, [&](const ErrorCurve& c) { return c.family == curve.family; });
    const auto at = static_cast<size_t>(other - second.curves.begin());
    curve.kept.clear();
    std::vector<double>& losses = result.losses.emplace_back();
    for (auto k = static_cast<int64_t>(curve.family->groups.size()) - 1; k >= curve.least; --k) {
      double loss = predicted_loss(first.curves[f], first.losses[f], k);
      if (other != second.curves.end())
        loss = (loss + predicted_loss(*other, second.losses[at], k)) / 2;
      curve.kept.push_back(k);
      losses.push_back(loss);
    }
  }
  return result;
}

std::optional<std::vector<bool>> choose_by_loss(const MeasuredFamilies& measured,
                                                const LossBudget& budget) {
  return LossAllocator(measured, budget).run();
}

}  // namespace pare
