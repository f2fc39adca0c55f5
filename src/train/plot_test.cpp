#include "train/plot.h"
#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>

#include "base/file.h"

namespace fledge::train {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

/// Whether the tags of an XML text close in the right order, its attributes are quoted and its text holds no stray
/// markup: enough of a reader to notice a wrong writer.
bool is_well_formed(const std::string& xml) {
  std::vector<std::string> open;
  size_t position = xml.find("?>") + 2;
  while (position < xml.size()) {
    if (xml[position] == '&') {
      const size_t end = xml.find(';', position);
      const std::string entity = xml.substr(position, end - position + 1);
      if (entity != "&amp;" && entity != "&lt;" && entity != "&gt;" && entity != "&quot;") return false;
    }
    if (xml[position] != '<') {
      ++position;
      continue;
    }
    const size_t end = xml.find('>', position);
    if (end == std::string::npos) return false;
    const std::string tag = xml.substr(position + 1, end - position - 1);
    if (tag.find('<') != std::string::npos || std::count(tag.begin(), tag.end(), '"') % 2 != 0) return false;
    const std::string name = tag.substr(0, tag.find(' '));
    if (tag[0] == '/') {
      if (open.empty() || "/" + open.back() != tag) return false;
      open.pop_back();
    } else if (tag.back() != '/') {
      open.push_back(name);
    }
    position = end + 1;
  }
  return open.empty();
}

std::vector<base::Json> run_records(int64_t steps) {
  std::vector<base::Json> records;
  for (int64_t step = 1; step <= steps; ++step) {
    const double progress = static_cast<double>(step) / static_cast<double>(steps);
    const double noise = 0.15 * std::sin(static_cast<double>(step * step));
    records.push_back(
        {{"step", step},
         {"loss", 3.4 + 5.0 * std::exp(-8.0 * progress) + noise},
         {"learning_rate", 1e-3 * std::min(1.0, progress * 20) * (0.55 + 0.45 * std::cos(M_PI * progress))},
         {"gradient_norm", 0.5 + 3.0 * std::exp(-20 * progress) + noise},
         {"tokens", step * 4096},
         {"tokens_per_second", 8400 + 900 * noise}});
    if (step % 50 == 0) records.push_back({{"step", step}, {"validation_loss", 3.6 + 4.0 * std::exp(-7.0 * progress)}});
    if (step % 100 == 0) records.push_back({{"step", step}, {"sample", "text"}});
  }
  return records;
}

TEST(Plot, TicksAreRoundNumbersInsideTheRange) {
  EXPECT_THAT(axis_ticks(0, 10, 5), ElementsAre(0, 2, 4, 6, 8, 10));
  EXPECT_THAT(axis_ticks(3.1, 7.9, 5), ElementsAre(4, 5, 6, 7));
  EXPECT_THAT(axis_ticks(-1, 1, 4), ElementsAre(-1, -0.5, 0, 0.5, 1));
  EXPECT_THAT(axis_ticks(0, 0.001, 2), ElementsAre(0, testing::DoubleEq(0.0005), testing::DoubleEq(0.001)));
  EXPECT_THAT(axis_ticks(1, 1, 4), ElementsAre());
  EXPECT_THAT(axis_ticks(0, INFINITY, 4), ElementsAre());
}

TEST(Plot, ShortNumbers) {
  EXPECT_EQ(short_number(0), "0");
  EXPECT_EQ(short_number(42), "42");
  EXPECT_EQ(short_number(3.41234), "3.412");
  EXPECT_EQ(short_number(1000), "1k");
  EXPECT_EQ(short_number(1234567), "1.235M");
  EXPECT_EQ(short_number(2.5e9), "2.5G");
  EXPECT_EQ(short_number(0.00031), "3.1e-4");
  EXPECT_EQ(short_number(1e-5), "1e-5");
  EXPECT_EQ(short_number(0.0015), "1.5e-3");
  EXPECT_EQ(short_number(0.015), "0.015");
  EXPECT_EQ(short_number(-2000), "-2k");
  EXPECT_EQ(short_number(999999), "1M");
}

TEST(Plot, CurvesOfARunStandOverTokens) {
  const auto charts = training_charts(run_records(200));
  ASSERT_EQ(charts.size(), 4u);
  EXPECT_EQ(charts[0].x_title, "tokens seen");
  EXPECT_EQ(charts[0].curves[0].x.size(), 200u);
  EXPECT_THAT(charts[0].curves[1].x, ElementsAre(50 * 4096, 100 * 4096, 150 * 4096, 200 * 4096));
  EXPECT_EQ(charts[3].curves[0].y.size(), 200u);
  EXPECT_EQ(training_charts({{{"step", 1}, {"loss", 2.0}}})[0].x_title, "steps");
}

TEST(Plot, IsWellFormedWhateverTheValuesAndLabels) {
  EXPECT_TRUE(is_well_formed(draw_charts("austen", training_charts(run_records(600)))));
  const std::string hostile = "<b>&\"' \x01 \xff </text>";
  const Chart chart{hostile, hostile, {{hostile, "#000\"", {0, 1, 2}, {1, NAN, INFINITY}, true, true}}, false};
  const std::string svg = draw_charts(hostile, {chart, chart});
  EXPECT_TRUE(is_well_formed(svg)) << svg;
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf,")));
  EXPECT_FALSE(is_well_formed("?><a><b></a></b>"));
}

TEST(Plot, EmptyAndShortRunsAreDrawnToo) {
  const std::string empty = draw_charts("nothing", training_charts({}));
  EXPECT_TRUE(is_well_formed(empty));
  EXPECT_THAT(empty, HasSubstr("no values yet"));
  const std::string single = draw_charts("one", training_charts({{{"step", 1}, {"loss", 3.0}}}));
  EXPECT_TRUE(is_well_formed(single));
  EXPECT_THAT(single, HasSubstr("<circle"));
  EXPECT_TRUE(is_well_formed(draw_charts("no charts", {})));
}

TEST(Plot, LongRunsStaySmallAndKeepTheirPeaks) {
  Chart chart{"t", "", {{"c", "#123456", {}, {}, false, false}}, true};
  for (int point = 0; point < 200000; ++point) {
    chart.curves[0].x.push_back(point);
    chart.curves[0].y.push_back(point == 77777 ? 100.0 : 1.0);
  }
  const std::string svg = draw_charts("long", {chart});
  EXPECT_LT(svg.size(), 40000u);
  // The peak stands 6 % below the upper edge of the chart.
  EXPECT_THAT(svg, HasSubstr(",93.2"));
}

TEST(Plot, WritesTheFileOfARun) {
  const auto folder = std::filesystem::temp_directory_path() / ("fledge_plot_" + std::to_string(getpid()));
  base::create_folder(folder);
  std::string lines;
  for (const base::Json& record : run_records(600)) lines += record.dump() + "\n";
  base::write_file(folder / "metrics.jsonl", lines);
  write_plot(folder / "metrics.jsonl", folder / "curves.svg", "gpt2-austen");
  const std::string svg = base::read_file(folder / "curves.svg");
  EXPECT_TRUE(is_well_formed(svg));
  EXPECT_THAT(svg, HasSubstr("validation 3.604"));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace fledge::train
