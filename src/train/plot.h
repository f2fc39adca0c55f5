#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/json_fwd.h"

namespace fledge::train {

/// One curve: points in the order of x. Points that are not finite are left out.
struct Curve {
  std::string label;
  std::string color;  ///< "#rrggbb"
  std::vector<double> x, y;
  bool noisy = false;   ///< drawn faintly, with a smoothed line over it
  bool marked = false;  ///< few points, each drawn as a dot
};

/// One chart.
struct Chart {
  std::string title;
  std::string x_title;  ///< empty: none
  std::vector<Curve> curves;
  bool from_zero = false;  ///< the y axis begins at 0
};

/// Charts as one SVG picture: the first one over the whole width, the others in rows of three below it. Colours are of
/// middle lightness on no background, so that the picture can be read on white and on black. Valid XML whatever the
/// labels hold.
std::string draw_charts(const std::string& title, const std::vector<Chart>& charts);

/// The curves of a run from the records of its log: training and validation loss, learning rate, gradient norm and
/// speed over the tokens seen (over steps where records do not say tokens).
std::vector<Chart> training_charts(const std::vector<base::Json>& records);

/// Reads a run's metrics.jsonl and draws its curves into `svg`, atomically.
void write_plot(const std::filesystem::path& metrics, const std::filesystem::path& svg, const std::string& title);

/// 1234567 -> "1.23M", 0.00031 -> "3.1e-4", 42 -> "42".
std::string short_number(double value);

/// Round numbers that cover [low, high] from inside, about `count` of them.
std::vector<double> axis_ticks(double low, double high, int count);

}  // namespace fledge::train
