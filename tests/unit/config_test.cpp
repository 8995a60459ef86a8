#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

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
            "description, name, passes, seed, variables");
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

/// A folder of pipeline files.
class Files {
 public:
  Files()
      : folder_(std::filesystem::temp_directory_path() /
                ("pare-config-" + std::to_string(getpid()))) {
    std::filesystem::create_directories(folder_);
  }
  ~Files() { std::filesystem::remove_all(folder_); }
  std::string write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << text;
    return (folder_ / name).string();
  }

 private:
  std::filesystem::path folder_;
};

TEST(Pipeline, VariablesStandInSettings) {
  const Pipeline pipeline = parse(
      "variables: {share: -40%, heads: [a, b], block: 16}\npasses:\n"
      "  - p: {macs: $share, exclude: $heads, limits: [\"${block}x\", $$, $heads]}\n");
  Options settings = pipeline.passes[0].options;
  EXPECT_EQ(settings.text("macs", ""), "-40%");
  EXPECT_EQ(settings.list("exclude"), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(settings.list("limits"), (std::vector<std::string>{"16x", "$", "a", "b"}));
  EXPECT_EQ(parse(pipeline.text).passes[0].text, pipeline.passes[0].text)
      << "the text for the report stands for itself";
  EXPECT_EQ(pipeline.text.find("variables:"), std::string::npos);
}

TEST(Pipeline, WrongVariablesAreNamed) {
  const auto wrong = [](const std::string& text) { return message([&] { parse(text); }); };
  EXPECT_EQ(wrong("variables: {share: 1}\npasses:\n  - p:\n      macs: $shar\n"),
            "prune.yaml:4: p: macs: variable 'shar' is not defined, did you mean 'share'?");
  EXPECT_EQ(wrong("passes: [p: {a: $b}]"), "prune.yaml:1: p: a: variable 'b' is not defined");
  EXPECT_EQ(wrong("variables: {a: 1}\npasses: [p]"),
            "prune.yaml:1: variable 'a' is used nowhere, expected $a in a setting");
  EXPECT_EQ(wrong("variables: {a: [1]}\npasses: [p: {x: \"-$a\"}]"),
            "prune.yaml:2: p: x: variable 'a' is a list and cannot stand inside '-$a'");
  EXPECT_EQ(wrong("passes: [p: {x: \"5 $\"}]"),
            "prune.yaml:1: p: x: '5 $' has a $ without a name behind it, expected $name, ${name}, "
            "or $$ for a $");
  EXPECT_EQ(wrong("variables: {1a: 1}\npasses: []"),
            "prune.yaml:1: '1a' is no name of a variable, expected letters, digits, _ and -");
  EXPECT_EQ(wrong("variables: [a]\npasses: []"), "prune.yaml:1: variables must be {name: value}");
}

TEST(Pipeline, AnIncludePutsThePassesOfAnotherFileIn) {
  const Files files;
  files.write("parts/prune.yaml",
              "name: no\nseed: 3\nvariables: {macs: -10%}\npasses:\n  - p: {macs: $macs}\n");
  const std::string path =
      files.write("main.yaml",
                  "variables: {m: -50%}\npasses:\n  - a\n  - include: parts/prune.yaml\n"
                  "  - include: {file: parts/prune.yaml, macs: $m}\n  - b\n");
  Pipeline pipeline = parse_pipeline(path);
  ASSERT_EQ(pipeline.passes.size(), 4u);
  EXPECT_EQ(pipeline.passes[1].options.text("macs", ""), "-10%");
  EXPECT_EQ(pipeline.passes[2].options.text("macs", ""), "-50%");
  EXPECT_EQ(pipeline.seed, 3u);
  EXPECT_EQ(pipeline.name, "");
  EXPECT_EQ(parse(pipeline.text).passes.size(), 4u);
  pipeline = parse_pipeline(path, {parse_setting("variables.m=-60%")});
  EXPECT_EQ(pipeline.passes[2].options.text("macs", ""), "-60%");
}

TEST(Pipeline, WrongIncludesNameFileAndLine) {
  const Files files;
  const auto wrong = [&](const std::string& text) {
    const std::string path = files.write("main.yaml", text);
    return message([&] { parse_pipeline(path); });
  };
  files.write("part.yaml", "variables: {macs: 1}\npasses:\n  - p: {x: $macs}\n");
  EXPECT_THAT(wrong("passes:\n  - include: nowhere.yaml\n"),
              testing::MatchesRegex("main.yaml:2: include: .*/nowhere.yaml cannot be read, "
                                    "expected a pipeline file or one of classes, .*, prune-int8"));
  EXPECT_EQ(wrong("passes:\n  - include: main.yaml\n"),
            "main.yaml:2: include: main.yaml includes itself");
  EXPECT_EQ(wrong("passes:\n  - include: {file: part.yaml, mcas: 2}\n"),
            "part.yaml:1: has no variable 'mcas', did you mean 'macs'?");
  EXPECT_EQ(
      wrong("passes:\n  - include: [part.yaml]\n"),
      "main.yaml:2: include: expected a file, as in 'include: clean.yaml' or 'include: {file: "
      "prune.yaml, macs: -40%}'");
  files.write("part.yaml", "passes:\n  - p: {x: [}\n");
  EXPECT_TRUE(wrong("passes:\n  - include: part.yaml\n").starts_with("part.yaml:2: is no valid"));
}

TEST(Pipeline, ASettingOfAVariableNeedsOne) {
  const Files files;
  const std::string path = files.write("main.yaml", "variables: {a: 1}\npasses: [p: {x: $a}]\n");
  EXPECT_EQ(message([&] { parse_pipeline(path, {parse_setting("variables.share=2")}); }),
            "main.yaml:1: has no variable 'share', only a");
  EXPECT_EQ(parse_pipeline(path, {parse_setting("variables.a=$z")}).passes[0].options.text("x", ""),
            "$z")
      << "a $ of the command line is one";
}

TEST(Pipeline, AMissingFileIsNamed) {
  EXPECT_EQ(message([] { parse_pipeline("/nowhere/p.yaml"); }),
            "/nowhere/p.yaml: cannot be read, expected a pipeline file or one of classes, "
            "classifier, clean, cpu, detector, dpu, int8, prune, prune-int8");
}

TEST(Pipeline, AMisspeltFileIsSuggestedAmongThoseBesideIt) {
  const Files files;
  const std::string path = files.write("net-a.yaml", "passes: []\n");
  files.write("net-b.txt", "no pipeline");
  const std::string folder = path.substr(0, path.rfind('/') + 1);
  for (const std::string name : {"net-b.yaml", "nett-a", "net_a.yml"})
    EXPECT_EQ(message([&] { parse_pipeline(folder + name); }),
              folder + name + ": cannot be read, did you mean '" + path + "'?");
  EXPECT_EQ(message([] { parse_pipeline("clasifier"); }),
            "clasifier: cannot be read, did you mean 'classifier'?");
  EXPECT_EQ(message([] { parse_pipeline("/nowhere/prun-int8.yaml"); }),
            "/nowhere/prun-int8.yaml: cannot be read, did you mean 'prune-int8'?");
}

TEST(Pipeline, ReadyOnesGoByTheirNameWhereNoFileDoes) {
  const Pipeline ready = parse_pipeline("classifier");
  EXPECT_EQ(ready.name, "classifier");
  EXPECT_EQ(ready.passes.front().name, "fold-constants") << "what it includes is put in";
  const Files files;
  const std::string path = files.write("mine.yaml", "passes:\n  - include: clean.yaml\n  - own\n");
  const Pipeline mine = parse_pipeline(path);
  EXPECT_GT(mine.passes.size(), 2u);
  files.write("clean.yaml", "passes: []\n");
  EXPECT_EQ(parse_pipeline(path).passes.size(), 1u) << "a file goes before a ready pipeline";
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
