#include "passes/held_out.h"

#include <gtest/gtest.h>

#include <set>

#include "pruning_graphs.h"

namespace pare {
namespace {

TEST(HeldOut, AnEighthOfManySamplesAndNoneOfFew) {
  int64_t held_out = 0;
  for (int64_t i = 0; i < 512; ++i) held_out += is_held_out(i, 512);
  EXPECT_EQ(held_out, 64);
  for (int64_t i = 0; i < 63; ++i) EXPECT_FALSE(is_held_out(i, 63));
}

TEST(HeldOut, SamplesAreAddedForThemWhereThereAreMore) {
  const Dataset data = random_images(400, 3, 4);
  const int64_t looked_at = samples_looked_at(data, 256);
  int64_t fitted = 0;
  for (int64_t i = 0; i < looked_at; ++i) fitted += !is_held_out(i, looked_at);
  EXPECT_EQ(fitted, 256);
  EXPECT_EQ(samples_looked_at(data, 1000), 400);
  EXPECT_EQ(samples_looked_at(data, 5), 5);
}

TEST(HeldOut, UnfittedSamplesAreThoseHeldOutAndThoseBeyond) {
  const Dataset data = random_images(400, 3, 4);
  const std::vector<int64_t> samples = data.spread(samples_looked_at(data, 256));
  const auto count = static_cast<int64_t>(samples.size());
  std::set<int64_t> fitted;
  for (int64_t i = 0; i < count; ++i) {
    if (!is_held_out(i, count)) fitted.insert(samples[static_cast<size_t>(i)]);
  }
  const std::vector<int64_t> unfitted = unfitted_samples(data, 256, 400);
  EXPECT_EQ(fitted.size() + unfitted.size(), 400u);
  for (int64_t i : unfitted) EXPECT_FALSE(fitted.contains(i));
  EXPECT_EQ(unfitted_samples(data, 256, 40).size(), 40u);
  EXPECT_TRUE(unfitted_samples(random_images(64, 3, 4), 64, 64).empty()) << "8 say too little";
}

}  // namespace
}  // namespace pare
