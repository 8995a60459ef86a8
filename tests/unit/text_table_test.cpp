#include "support/text_table.h"

#include <gtest/gtest.h>

#include <limits>

namespace pare {
namespace {

using Align = TextTable::Align;

TEST(TextTable, LinesUpColumnsOnBothSides) {
  TextTable table({{"layer", Align::kLeft}, {"MACs"}});
  table.add_row({"stem", "12"});
  table.add_rule();
  table.add_row({"total", "12345"});
  EXPECT_EQ(table.str(),
            "layer   MACs\n"
            "stem      12\n"
            "-----  -----\n"
            "total  12345\n");
}

TEST(TextTable, CountsCharactersNotBytes) {
  TextTable table({{"n", Align::kLeft}, {"x"}});
  table.add_row({"größe", "1"});
  EXPECT_EQ(table.str(), "n      x\ngröße  1\n");
}

TEST(TextTable, CutsLongCellsInTheMiddle) {
  TextTable table({{"n", Align::kLeft, 9}});
  table.add_row({"layer1/conv/weight"});
  EXPECT_EQ(table.str(), "n\nlay...ght\n");
  EXPECT_EQ(TextTable({{"a/long/path", Align::kLeft, 7}}).str(), "a/...th\n");
}

TEST(TextTable, NeverPrintsControlCharactersOfAModel) {
  TextTable table({{"n", Align::kLeft}});
  table.add_row({"a\033[2J\nb"});
  EXPECT_EQ(table.str(), "n\na?[2J?b\n");
}

TEST(TextTable, FillsMissingCells) {
  TextTable table({{"a"}, {"b"}});
  table.add_row({"1"});
  EXPECT_EQ(table.str(), "a  b\n1\n");
}

TEST(TextTable, FitsAWidthByCuttingWordsThenByGoingOnBelow) {
  TextTable table({{"layer", Align::kLeft}, {"MACs"}, {"energy"}});
  table.add_row({"encoder.layer1.conv1", "123456", "1.5 uJ"});
  EXPECT_EQ(table.str(30),
            "layer             MACs  energy\n"
            "encod....conv1  123456  1.5 uJ\n");
  EXPECT_EQ(table.str(22),
            "layer           MACs\n"
            "enco...conv1  123456\n\n"
            "layer         energy\n"
            "enco...conv1  1.5 uJ\n");
  EXPECT_EQ(table.str(5), table.str(13)) << "a block holds a column, however wide";
  EXPECT_EQ(table.str(), table.str(1000));
}

TEST(Numbers, KeepAFewDigitsAndAUnit) {
  EXPECT_EQ(with_commas(0), "0");
  EXPECT_EQ(with_commas(999), "999");
  EXPECT_EQ(with_commas(3857973248), "3,857,973,248");
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(3 << 20), "3.00 MiB");
  EXPECT_EQ(human_bytes(1047552), "0.999 MiB") << "1023 KiB would not fit three digits";
  EXPECT_EQ(si(0.00123, "J"), "1.230 mJ");
  EXPECT_EQ(si(33.88, "W"), "33.88 W");
  EXPECT_EQ(si(0.99999, "W"), "1.000 W");
  EXPECT_EQ(si(0, "W"), "0 W");
  EXPECT_EQ(digits(33.8801, 4), "33.88");
  EXPECT_EQ(digits(std::numeric_limits<double>::infinity(), 3), "inf");
  EXPECT_EQ(human_seconds(0.0001), "< 0.01 s");
  EXPECT_EQ(human_seconds(0.4242), "0.42 s");
  EXPECT_EQ(human_seconds(185), "3 min 05 s");
  EXPECT_EQ(human_seconds(7620), "2 h 07 min");
}

TEST(Numbers, ChangeIsRelativeToBefore) {
  EXPECT_EQ(change(10, 7), "-30.0 %");
  EXPECT_EQ(change(4, 4), "+0.0 %");
  EXPECT_EQ(change(0, 4), "-");
}

}  // namespace
}  // namespace pare
