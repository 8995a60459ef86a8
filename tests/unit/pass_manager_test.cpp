#include "passes/pass_manager.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "ops/ops.h"
#include "passes/registry.h"

namespace pare {
namespace {

Graph two_relus() {
  Graph graph(onnx_ops());
  graph.set_opset("", 13);
  const ValueId x = graph.add_input("x", {DType::kF32, {1, 2}}, {"N", ""});
  graph.set_outputs({graph.add_node("Relu", {graph.add_node("Relu", {x}, {}, "a")}, {}, "b")});
  return graph;
}

/// A pass that does what the test says.
class Scripted final : public Pass {
 public:
  Scripted(Effect effect, std::function<void(Graph&)> body, bool data = false)
      : effect_(effect), body_(std::move(body)), needs_data_(data) {}
  std::string_view name() const override { return "scripted"; }
  Effect effect() const override { return effect_; }
  bool needs_data() const override { return needs_data_; }
  PassStats run(Graph& graph, PassContext&) override {
    body_(graph);
    return {{"runs", int64_t{1}}};
  }

 private:
  Effect effect_;
  std::function<void(Graph&)> body_;
  bool needs_data_;
};

std::unique_ptr<Pass> exact(std::function<void(Graph&)> body) {
  return std::make_unique<Scripted>(Effect::kExact, std::move(body));
}
std::unique_ptr<Pass> lossy(std::function<void(Graph&)> body, bool data = false) {
  return std::make_unique<Scripted>(Effect::kLossy, std::move(body), data);
}

/// Turns the last Relu into a LeakyRelu, which changes nothing behind another Relu.
void make_leaky(Graph& graph) { graph.set_op(graph.order().back(), "LeakyRelu"); }
/// Turns the first Relu into a Sigmoid, which changes the outputs.
void make_sigmoid(Graph& graph) { graph.set_op(graph.order().front(), "Sigmoid"); }

const Dataset kData = Dataset::of({Tensor({3, 2}, std::vector<float>{-1, 2, 0, 5, -7, 1})});

PassContext with_data() {
  PassContext context;
  context.data = &kData;
  return context;
}

std::string failure(const PassManager& manager, Graph& graph, PassContext& context) {
  try {
    manager.run(graph, context);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(PassManager, RecordsWhatAPassDid) {
  Graph graph = two_relus();
  PassContext context = with_data();
  int seen = 0;
  PassManagerOptions options;
  options.on_record = [&](const PassRecord&) { ++seen; };
  PassManager manager(options);
  manager.add(exact([](Graph&) {}));
  manager.add(exact(make_leaky));
  manager.add(lossy(make_sigmoid));
  const std::vector<PassRecord> records = manager.run(graph, context).passes;
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(seen, 3);
  EXPECT_FALSE(records[0].changed);
  EXPECT_FALSE(records[0].numerics);
  EXPECT_TRUE(records[1].changed);
  EXPECT_EQ(records[1].numerics->max_abs_error, 0);
  EXPECT_GT(records[2].numerics->max_abs_error, 0.1);
  EXPECT_EQ(std::get<int64_t>(records[2].stats.at("runs")), 1);
}

TEST(PassManager, AnExactPassThatChangesTheOutputsIsAnInternalErrorAndUndone) {
  Graph graph = two_relus();
  const std::string before = to_text(graph);
  PassContext context = with_data();
  PassManager manager;
  manager.add(exact(make_sigmoid));
  const std::string message = failure(manager, graph, context);
  EXPECT_TRUE(message.starts_with("pass 'scripted': output 'b_out' changed by")) << message;
  EXPECT_TRUE(message.ends_with("but the pass is declared exact")) << message;
  EXPECT_EQ(to_text(graph), before);
}

TEST(PassManager, AFailedPassLeavesTheGraphAsItWasBefore) {
  Graph graph = two_relus();
  PassContext context;
  PassManager manager;
  manager.add(lossy(make_leaky));
  manager.add(lossy([](Graph& g) {
    make_sigmoid(g);
    throw Error(ErrorKind::kUnsupported, "node 'a' (Relu) is not to my taste");
  }));
  EXPECT_EQ(failure(manager, graph, context),
            "pass 'scripted': node 'a' (Relu) is not to my taste");
  EXPECT_EQ(graph.node(graph.order()[0]).op, "Relu");
  EXPECT_EQ(graph.node(graph.order()[1]).op, "LeakyRelu") << "the first pass was done";
}

TEST(PassManager, MissingDataIsFoundBeforeAnythingRuns) {
  Graph graph = two_relus();
  PassContext context;
  bool ran = false;
  PassManager manager;
  manager.add(lossy([&](Graph&) { ran = true; }));
  manager.add(lossy([](Graph&) {}, true));
  EXPECT_EQ(failure(manager, graph, context),
            "pass 'scripted' needs samples to calibrate on, but no data is given: --data takes a "
            "folder or archive of images, .npy, .npz or .pb");
  EXPECT_FALSE(ran);
}

TEST(PassManager, AModelThatCannotBeRunIsNotCompared) {
  Graph graph = two_relus();
  graph.set_op(graph.order()[0], "NoSuchOperator");
  PassContext context = with_data();
  std::string warning;
  context.warn = [&](const std::string& sentence) { warning = sentence; };
  PassManager manager;
  manager.add(exact(make_leaky));
  EXPECT_FALSE(manager.run(graph, context).passes[0].numerics);
  EXPECT_EQ(warning,
            "outputs are not compared around passes: node 'a' (NoSuchOperator) cannot be executed");
}

TEST(PassManager, AFailureLeavesAReproducer) {
  const std::filesystem::path dir =
      std::filesystem::temp_directory_path() / ("pare_reproducer" + std::to_string(::getpid()));
  Graph graph = two_relus();
  PassContext context = with_data();
  PassManagerOptions options;
  options.reproducer_dir = dir.string();
  options.write_model = [](const Graph& g, const std::string& folder) {
    std::ofstream(folder + "/model.txt") << to_text(g);
  };
  PassManager manager(options);
  manager.add(exact(make_sigmoid), "passes:\n  - scripted\n");
  const std::string message = failure(manager, graph, context);
  EXPECT_TRUE(message.ends_with("(a reproducer is in " + dir.string() + ")")) << message;
  const auto text = [&](const char* name) {
    std::stringstream stream;
    stream << std::ifstream(dir / name).rdbuf();
    return stream.str();
  };
  EXPECT_EQ(text("model.txt"), to_text(two_relus()));
  EXPECT_EQ(text("pipeline.yaml"), "passes:\n  - scripted\n");
  EXPECT_TRUE(text("message.txt").starts_with("pass 'scripted': output 'b_out' changed by"));
  std::filesystem::remove_all(dir);
}

TEST(PassManager, AfterOutputsOfAnotherShapeLaterPassesAreComparedWithThose) {
  Graph graph = two_relus();
  PassContext context = with_data();
  PassManager manager;
  manager.add(lossy([](Graph& g) {
    const ValueId axes = g.add_constant("axes", Tensor({1}, std::vector<int64_t>{2}));
    g.set_outputs({g.add_node("Unsqueeze", {g.outputs()[0], axes}, {}, "u")});
  }));
  manager.add(exact([](Graph& g) { g.set_op(g.order()[1], "LeakyRelu"); }));
  const std::vector<PassRecord> records = manager.run(graph, context).passes;
  EXPECT_FALSE(records[0].numerics);
  EXPECT_EQ(records[1].numerics->max_abs_error, 0);
}

// -- Registry ------------------------------------------------------------------------------------

TEST(Registry, IsSortedAndDocumented) {
  std::string_view last;
  for (const PassInfo& info : all_passes()) {
    EXPECT_LT(last, info.name);
    EXPECT_FALSE(info.summary.empty());
    for (const OptionInfo& option : info.options) {
      EXPECT_FALSE(option.type.empty()) << info.name << " " << option.key;
      EXPECT_FALSE(option.summary.empty()) << info.name << " " << option.key;
    }
    last = info.name;
  }
}

/// Options with what a pass cannot do without.
Options sufficient(const PassInfo& info) {
  std::map<std::string, Options::Entry> entries;
  if (info.name == "reduce-classes") entries["keep"] = {{"0"}, true, 0};
  return Options({}, 0, std::string(info.name), std::move(entries));
}

TEST(Registry, DocumentsTheKeysAPassReadsAndNoOthers) {
  for (const PassInfo& info : all_passes()) {
    Options options = sufficient(info);
    const std::unique_ptr<Pass> pass = info.make(options);
    EXPECT_EQ(pass->name(), info.name);
    EXPECT_EQ(pass->effect(), info.effect);
    std::vector<std::string> read = options.known(), documented;
    for (const OptionInfo& option : info.options) documented.emplace_back(option.key);
    std::ranges::sort(read);
    std::ranges::sort(documented);
    EXPECT_EQ(read, documented) << info.name;
  }
}

TEST(Registry, AnUnknownPassIsNamedWithTheLine) {
  const Pipeline pipeline = parse_pipeline_text("passes:\n  - fold-batchnorm\n", "p.yaml");
  try {
    make_pass(pipeline.passes[0]);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).substr(0, 81),
              "p.yaml:2: unknown pass 'fold-batchnorm', did you mean 'fold-batch-norm'? known pa");
  }
}

TEST(Registry, AnUnknownSettingIsNamedWithTheKnownOnes) {
  const Pipeline pipeline =
      parse_pipeline_text("passes:\n  - fold-batch-norm: {epsilon: 1}\n", "p.yaml");
  try {
    make_pass(pipeline.passes[0]);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "p.yaml:2: fold-batch-norm: unknown key 'epsilon'; it takes no options");
  }
}

}  // namespace
}  // namespace pare
