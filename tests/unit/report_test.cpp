#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "ops/ops.h"
#include "report/comparison.h"
#include "report/model_report.h"
#include "report/run_report.h"

namespace pare {
namespace {

using nlohmann::json;
using testing::HasSubstr;

/// x -> Relu without a name -> Mystery, which nobody knows.
ModelReport small_model() {
  Graph graph(onnx_ops());
  const ValueId x = graph.add_input("x", {DType::kF32, {1, 8}}, {"N", ""});
  const ValueId w = graph.add_constant("w", Tensor(DType::kF32, {8, 4}));
  const ValueId y = graph.add_node("MatMul", {x, w}, {}, "dense");
  graph.set_outputs({graph.add_node("Mystery", {y}, {}, "odd\n\xff")});
  Cost cost = estimate_cost(graph, {});
  return {.model = "small.onnx", .graph = std::move(graph), .cost = std::move(cost)};
}

RunReport run_of_two_passes() {
  RunReport report{.tool = "pare 0", .model = "a.onnx", .pipeline = "p.yaml", .rate = 500};
  report.before.totals = {.macs = 1000, .parameters = 10, .mac_joules = 4e-9};
  report.after.totals = {.macs = 700, .parameters = 7, .mac_joules = 1e-9};
  Comparison exact;
  exact.sqnr_db = std::numeric_limits<double>::infinity();
  report.passes = {
      {.pass = "fold", .before = report.before, .after = report.before, .numerics = {}},
      {.pass = "prune",
       .changed = true,
       .seconds = 2,
       .before = report.before,
       .after = report.after,
       .stats = {{"channels removed", int64_t{96}}, {"kept", 0.5}, {"method", std::string("l2")}},
       .numerics = exact}};
  return report;
}

TEST(ModelReport, JsonKeepsTheContractOfScripts) {
  const json document = json::parse(to_json(small_model()));
  const json& totals = document["totals"];
  EXPECT_EQ(totals["macs"], 32);
  EXPECT_DOUBLE_EQ(totals["gop"], 64e-9);
  EXPECT_EQ(totals["parameters"], 32);
  EXPECT_EQ(totals["weight_bytes"], 128);
  EXPECT_DOUBLE_EQ(totals["power_watts"], 1000 * totals["energy_joules"].get<double>());
  ASSERT_EQ(document["layers"].size(), 2u);
  EXPECT_EQ(document["layers"][0]["name"], "dense");
  EXPECT_EQ(document["layers"][0]["op"], "MatMul");
  EXPECT_EQ(document["layers"][0]["macs"], 32);
  EXPECT_EQ(document["uncosted"].size(), 1u);
  EXPECT_EQ(document["inputs"][0]["symbols"][0], "N");
  EXPECT_EQ(document["estimate"]["energy_table"], "horowitz-45nm");
}

TEST(ModelReport, NamesALayerWithoutANameByItsOutput) {
  const ModelReport report = small_model();
  const Node nameless{.outputs = report.graph.outputs()};
  EXPECT_EQ(layer_name(report.graph, nameless), report.graph.value(nameless.outputs[0]).name);
}

TEST(ModelReport, TableShowsUnitsAssumptionsAndWhatIsNotCounted) {
  const std::string table = to_table(small_model(), LayerRows::kWork);
  EXPECT_THAT(table, HasSubstr("GOP (2 per MAC)"));
  EXPECT_THAT(table, HasSubstr("DRAM traffic"));
  EXPECT_THAT(table, HasSubstr("1 node is not in these figures"));
  EXPECT_THAT(table, HasSubstr("power at 1000 inferences/s; energy estimated with table "
                               "horowitz-45nm, convention mac"));
  EXPECT_THAT(table, testing::Not(HasSubstr("odd\n")));
}

TEST(RunReport, JsonKeepsTheContractOfScripts) {
  const json document = json::parse(to_json(run_of_two_passes()));
  EXPECT_EQ(document["model"], "a.onnx");
  EXPECT_EQ(document["pipeline"], "p.yaml");
  EXPECT_EQ(document["totals_before"]["macs"], 1000);
  EXPECT_EQ(document["totals_after"]["macs"], 700);
  ASSERT_EQ(document["passes"].size(), 2u);
  EXPECT_TRUE(document["passes"][0]["numerics"].is_null());
  const json& pass = document["passes"][1];
  EXPECT_EQ(pass["name"], "prune");
  EXPECT_EQ(pass["seconds"], 2);
  EXPECT_EQ(pass["before"]["macs"], 1000);
  EXPECT_EQ(pass["after"]["macs"], 700);
  EXPECT_DOUBLE_EQ(pass["after"]["power_watts"], 500e-9);
  EXPECT_EQ(pass["numerics"]["agreement"], 1);
  EXPECT_EQ(pass["numerics"]["kl"], 0);
  EXPECT_TRUE(pass["numerics"]["sqnr_db"].is_null()) << "infinity";
  EXPECT_EQ(pass["stats"]["channels removed"], 96);
  EXPECT_EQ(pass["stats"]["method"], "l2");
}

TEST(RunReport, TableShowsEveryPassAndTheChange) {
  const std::string table = to_table(run_of_two_passes(), StatLines::kShort);
  EXPECT_THAT(table, HasSubstr("(as read)"));
  EXPECT_THAT(table, HasSubstr("fold: nothing to do"));
  EXPECT_THAT(table, HasSubstr("prune: channels removed 96, kept 0.5000, method l2"));
  EXPECT_THAT(table, HasSubstr("-30.0 %"));
  EXPECT_THAT(table, HasSubstr("-75.0 %"));
}

TEST(RunReport, TableLeavesLongListsToTheReport) {
  RunReport report = run_of_two_passes();
  for (int i = 0; i < 9; ++i)
    report.passes[1].stats["channels of conv" + std::to_string(i)] = std::string("16 -> 11");
  EXPECT_THAT(to_table(report, StatLines::kShort),
              HasSubstr("prune: channels removed 96, kept 0.5000 (10 details more with -v or "
                        "--report)"));
  EXPECT_THAT(to_table(report, StatLines::kAll), HasSubstr("channels of conv8 16 -> 11"));
}

TEST(RunReport, TablesOfAPassAreShownOnRequestAndAreObjectsInJson) {
  RunReport report = run_of_two_passes();
  report.passes[1].stats["sets"] =
      StatTable{.columns = {"set", "kept", "loss", "error"},
                .rows = {{std::string("stem"), int64_t{8}},
                         {std::string("a1"), int64_t{6}, 0.25, std::vector<double>{1, 0.5, 0}}}};
  EXPECT_THAT(to_table(report, StatLines::kShort), HasSubstr("sets 2 (with -v or --report)"));
  const std::string all = to_table(report, StatLines::kAll);
  EXPECT_THAT(all, HasSubstr("set   kept    loss\n"));
  EXPECT_THAT(all, HasSubstr("a1       6  0.2500\n"));
  const json sets = json::parse(to_json(report))["passes"][1]["stats"]["sets"];
  EXPECT_EQ(sets[0], (json{{"set", "stem"}, {"kept", 8}}));
  EXPECT_EQ(sets[1]["loss"], 0.25);
  EXPECT_EQ(sets[1]["error"], (json{1, 0.5, 0}));
}

TEST(Comparison, ReadsBackWhatTheReportsSay) {
  const Candidate run = read_candidate("r.json", to_json(run_of_two_passes()));
  EXPECT_EQ(run.totals.macs, 700u);
  EXPECT_DOUBLE_EQ(run.totals.joules(), 1e-9);
  EXPECT_EQ(run.rate, 500);
  const ModelReport model = small_model();
  const Candidate inspected = read_candidate("i.json", to_json(model));
  EXPECT_EQ(inspected.totals.macs, candidate_of(model).totals.macs);
  EXPECT_EQ(inspected.layers.size(), candidate_of(model).layers.size());
  EXPECT_EQ(inspected.estimate, candidate_of(model).estimate);
}

TEST(Comparison, ShowsChangesAndTheLayersThatDiffer) {
  Candidate a{.name = "a", .totals = {.macs = 100}, .estimate = "t, mac"}, b = a;
  a.layers = {{"same", "Conv", 40}, {"pruned", "Conv", 60}};
  b.layers = {{"same", "Conv", 40}, {"pruned", "Conv", 30}, {"new", "Gemm", 5}};
  b.totals.macs = 75;
  const json document = json::parse(to_json(a, b, {}));
  EXPECT_DOUBLE_EQ(document["change"]["macs"], -0.25);
  EXPECT_TRUE(document["change"]["parameters"].is_null()) << "no share of nothing";
  ASSERT_EQ(document["layers"].size(), 2u);
  EXPECT_EQ(document["layers"][0]["name"], "pruned");
  EXPECT_EQ(document["layers"][0]["macs_b"], 30);
  EXPECT_TRUE(document["layers"][1]["macs_a"].is_null());
  EXPECT_THAT(to_table(a, b), HasSubstr("-50.0 %"));
}

TEST(Comparison, SaysWhenTheEstimatesDiffer) {
  const Candidate a{.name = "a", .estimate = "t, mac"}, b{.name = "b", .estimate = "t, article"};
  EXPECT_THAT(to_table(a, b), HasSubstr("the energies are not comparable"));
}

TEST(Comparison, RefusesWhatIsNoReport) {
  for (const char* text : {"", "[]", "{}", "{\"totals\": {}}", "{\"totals_after\": 3}",
                           "{\"totals\": {\"macs\": -1}}", "{\"totals\": {\"macs\": \"many\"}}"}) {
    try {
      read_candidate("r.json", text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInput) << text;
      EXPECT_THAT(error.what(), HasSubstr("r.json: no report of this tool")) << text;
    }
  }
}

}  // namespace
}  // namespace pare
