#include <gtest/gtest.h>

#include "config/pipeline.h"
#include "config/suggest.h"
#include "support/error.h"

namespace pare {
namespace {

/// The message of the Error that `body` throws.
template <typename Body>
std::string message(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    return error.what();
  }
  return "no error";
}

Pipeline parse(const std::string& text) { return parse_pipeline_text(text, "prune.yaml"); }

Options options(const std::string& settings) {
  return parse("passes:\n  - fold-batch-norm\n\n  - prune-channels: " + settings).passes[1].options;
}

TEST(Pipeline, ReadsPassesInOrderWithTheirSettings) {
  const Pipeline pipeline = parse(
      "name: small\ndescription: as small as it gets\nseed: 7\npasses:\n"
      "  - fold-batch-norm\n  - reduce-classes: {keep: [0, 3, 7]}\n  - prune-channels:\n"
      "      ratio: 0.5\n");
  EXPECT_EQ(pipeline.name, "small");
  EXPECT_EQ(pipeline.seed, 7u);
  ASSERT_EQ(pipeline.passes.size(), 3u);
  EXPECT_EQ(pipeline.passes[0].name, "fold-batch-norm");
  Options classes = pipeline.passes[1].options;
  EXPECT_EQ(classes.integers("keep", 0, 1000), (std::vector<int64_t>{0, 3, 7}));
  Options prune = pipeline.passes[2].options;
  EXPECT_EQ(prune.number("ratio", 0.1, 0, 1), 0.5);
  prune.finish();
}

TEST(Pipeline, TheTextOfAPassIsAPipelineOfItsOwn) {
  const Pipeline pipeline = parse("passes: [{prune-channels: {ratio: 0.5, exclude: [a, b]}}]");
  const Pipeline again = parse(pipeline.passes[0].text);
  Options settings = again.passes[0].options;
  EXPECT_EQ(settings.text("ratio", ""), "0.5");
  EXPECT_EQ(settings.list("exclude"), (std::vector<std::string>{"a", "b"}));
}

TEST(Pipeline, AnErrorNamesTheLine) {
  EXPECT_EQ(message([] { parse("name: x\npass:\n  - a\n"); }),
            "prune.yaml:3: unknown key 'pass', did you mean 'passes'? known keys: data, "
            "description, name, passes, seed");
  EXPECT_EQ(message([] { parse("passes: fold"); }),
            "prune.yaml:1: passes must be a list, one '- name' a line");
  EXPECT_EQ(message([] { parse("passes:\n  - a: {x: 1}\n    b: 2\n"); }),
            "prune.yaml:2: a pass has one name, found 'a' and 'b'; indent its settings below it or "
            "put them in {}");
  EXPECT_EQ(message([] { parse("passes:\n  - a: {x: 1, x: 2}\n"); }),
            "prune.yaml:2: key 'x' stands twice");
  EXPECT_EQ(message([] { parse("passes:\n  - a: {x: {y: 1}}\n"); }),
            "prune.yaml:2: a: x has no value, expected one or a list");
  EXPECT_EQ(message([] { parse("name: x\n"); }),
            "prune.yaml:1: has no key passes, expected a list of passes under it");
  EXPECT_EQ(message([] { parse(""); }),
            "prune.yaml:1: expected a pipeline with the key passes and a list under it");
  EXPECT_EQ(message([] { parse("passes:\n  - {a: [}\n"); }).substr(0, 34),
            "prune.yaml:2: is no valid YAML: il");
}

TEST(Pipeline, AMissingFileIsNamed) {
  EXPECT_EQ(message([] { parse_pipeline("/nowhere/p.yaml"); }),
            "/nowhere/p.yaml: cannot be read, expected a pipeline file");
}

TEST(Options, AKeyNobodyAskedForIsAnErrorWithASuggestion) {
  Options settings = options("{ration: 0.5}");
  settings.number("ratio", 0.5, 0, 1);
  settings.integer("min-channels", 1, 1, 10);
  EXPECT_EQ(message([&] { settings.finish(); }),
            "prune.yaml:4: prune-channels: unknown key 'ration', did you mean 'ratio'? known keys: "
            "ratio, min-channels");
  Options none = options("{x: 1}");
  EXPECT_EQ(message([&] { none.finish(); }),
            "prune.yaml:4: prune-channels: unknown key 'x'; it takes no options");
}

TEST(Options, ValuesAreChecked) {
  Options settings = options("{ratio: 2, count: 1.5, on: maybe, kind: c, many: [1, x], one: [1]}");
  EXPECT_EQ(message([&] { settings.number("ratio", 0, 0, 1); }),
            "prune.yaml:4: prune-channels: ratio is '2', expected a number in [0, 1]");
  EXPECT_EQ(message([&] { settings.integer("count", 0, 0, 9); }),
            "prune.yaml:4: prune-channels: count is '1.5', expected a whole number in [0, 9]");
  EXPECT_EQ(message([&] { settings.flag("on", true); }),
            "prune.yaml:4: prune-channels: on is 'maybe', expected true or false");
  EXPECT_EQ(message([&] {
              settings.choice("kind", "a", {"a", "b"});
            }),
            "prune.yaml:4: prune-channels: kind is 'c', expected one of a, b");
  EXPECT_EQ(message([&] { settings.integers("many", 0, 9); }),
            "prune.yaml:4: prune-channels: many is 'x', expected a whole number in [0, 9]");
  EXPECT_EQ(message([&] { settings.text("one", ""); }),
            "prune.yaml:4: prune-channels: one is a list, expected a single value");
}

TEST(Options, LeftOutKeysTakeTheFallback) {
  Options settings("quantize-int8");
  EXPECT_EQ(settings.number("ratio", 0.25, 0, 1), 0.25);
  EXPECT_TRUE(settings.flag("per-channel", true));
  EXPECT_EQ(settings.choice("ranges", "minmax", {"minmax", "mse"}), "minmax");
  EXPECT_TRUE(settings.list("exclude").empty());
  settings.finish();
}

TEST(Suggestion, IsSilentWhenNothingIsNear) {
  EXPECT_EQ(suggestion("zzzz", {"ratio"}), "");
  EXPECT_EQ(suggestion("foldbatchnorm", {"fold-constants", "fold-batch-norm"}),
            ", did you mean 'fold-batch-norm'?");
}

}  // namespace
}  // namespace pare
