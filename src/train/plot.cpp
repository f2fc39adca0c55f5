#include "train/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "base/toml.h"
#include "train/metrics.h"

namespace fledge::train {
namespace {

constexpr double kWidth = 960, kMargin = 24, kTitleHeight = 46;
constexpr double kLargeHeight = 360, kSmallHeight = 210;
constexpr size_t kMaximumPoints = 800;    // of one curve: more cannot be told apart
constexpr const char* kInk = "#7b8594";   // text and axes: contrast of 3.7 or more on white and on black
constexpr const char* kGrid = "#8b95a5";  // with little opacity

struct Point {
  double x, y;
};
using Points = std::vector<Point>;

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  void include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return !(low <= high); }
  double share(double value) const { return (value - low) / (high - low); }
};

/// Text for XML: markup escaped, and what XML cannot hold (control characters, bytes that are not UTF-8) replaced.
std::string escaped(const std::string& text) {
  const bool keeps_bytes = base::is_valid_utf8(text);
  std::string result = text;
  for (char& c : result) {
    const auto byte = static_cast<unsigned char>(c);
    if (!keeps_bytes && byte >= 0x80) {
      c = '?';
    } else if (byte < 0x20 || byte == 0x7f) {
      c = ' ';
    }
  }
  return base::escaped_markup(result);
}

Points finite_points(const Curve& curve) {
  Points points;
  for (size_t index = 0; index < std::min(curve.x.size(), curve.y.size()); ++index) {
    if (std::isfinite(curve.x[index]) && std::isfinite(curve.y[index]))
      points.push_back({curve.x[index], curve.y[index]});
  }
  return points;
}

/// At most kMaximumPoints points: the lowest and the highest of each stretch, so that no peak is lost.
Points thinned(const Points& points) {
  if (points.size() <= kMaximumPoints) return points;
  const size_t stretches = kMaximumPoints / 2;
  Points result;
  for (size_t stretch = 0; stretch < stretches; ++stretch) {
    const auto begin = points.begin() + static_cast<ptrdiff_t>(points.size() * stretch / stretches);
    const auto end = points.begin() + static_cast<ptrdiff_t>(points.size() * (stretch + 1) / stretches);
    auto [lowest, highest] = std::minmax_element(begin, end, [](Point a, Point b) { return a.y < b.y; });
    if (lowest > highest) std::swap(lowest, highest);
    result.push_back(*lowest);
    if (lowest != highest) result.push_back(*highest);
  }
  return result;
}

/// Average over about a fortieth of the curve around each point, so that the line does not lag behind.
Points smoothed(const Points& points) {
  const size_t half = points.size() / 80;
  std::vector<double> sums{0.0};
  for (const Point& point : points) sums.push_back(sums.back() + point.y);
  Points result;
  for (size_t index = 0; index < points.size(); ++index) {
    const size_t first = index - std::min(index, half), end = std::min(index + half + 1, points.size());
    result.push_back({points[index].x, (sums[end] - sums[first]) / static_cast<double>(end - first)});
  }
  return result;
}

/// A place for a label in a column, moved so that labels do not cover each other.
struct EndLabel {
  double y;
  std::string text, color;
};

void separate(std::vector<EndLabel>& labels, double distance) {
  std::sort(labels.begin(), labels.end(), [](const EndLabel& a, const EndLabel& b) { return a.y < b.y; });
  for (size_t index = 1; index < labels.size(); ++index)
    labels[index].y = std::max(labels[index].y, labels[index - 1].y + distance);
}

class ChartPainter {
 public:
  ChartPainter(const Chart& chart, double left, double top, double width, double height, bool large)
      : chart_(chart),
        left_(left + 56),
        top_(top + 30),
        right_(left + width - (large ? 130 : 12)),
        bottom_(top + height - (chart.x_title.empty() ? 26 : 44)),
        large_(large) {}

  std::string paint() {
    svg_ = fmt::format("<text class=\"title\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", left_, top_ - 12,
                       escaped(chart_.title));
    find_ranges();
    if (x_.empty()) {
      text((left_ + right_) / 2, (top_ + bottom_) / 2, "middle", "no values yet");
      return svg_;
    }
    paint_axes();
    for (size_t index = 0; index < points_.size(); ++index) paint_curve(chart_.curves[index], points_[index]);
    paint_labels();
    return svg_;
  }

 private:
  double across(double x) const { return left_ + x_.share(x) * (right_ - left_); }
  double down(double y) const { return bottom_ - y_.share(y) * (bottom_ - top_); }

  void text(double x, double y, const char* anchor, const std::string& content) {
    svg_ +=
        fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", x, y, anchor, escaped(content));
  }

  void find_ranges() {
    for (const Curve& curve : chart_.curves) {
      points_.push_back(finite_points(curve));
      for (const Point& point : points_.back()) {
        x_.include(point.x);
        y_.include(point.y);
      }
    }
    if (x_.empty()) return;
    if (chart_.from_zero) y_.include(0.0);
    if (x_.high == x_.low) x_ = {x_.low - 1.0, x_.high + 1.0};
    const double room = y_.high > y_.low ? 0.06 * (y_.high - y_.low) : std::max(1e-12, 0.1 * std::abs(y_.high));
    y_.high += room;
    if (!chart_.from_zero || y_.low < 0.0) y_.low -= room;
  }

  void paint_axes() {
    for (const double tick : axis_ticks(y_.low, y_.high, large_ ? 7 : 4)) {
      svg_ += fmt::format("<line class=\"grid\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>\n", left_,
                          right_, down(tick), down(tick));
      text(left_ - 8, down(tick) + 4, "end", short_number(tick));
    }
    svg_ += fmt::format("<line class=\"axis\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>\n", left_,
                        right_, bottom_, bottom_);
    for (const double tick : axis_ticks(x_.low, x_.high, large_ ? 8 : 4))
      text(across(tick), bottom_ + 17, "middle", short_number(tick));
    if (!chart_.x_title.empty()) text((left_ + right_) / 2, bottom_ + 35, "middle", chart_.x_title);
  }

  void line(const Points& points, const std::string& color, double width, double opacity) {
    std::string path;
    for (const Point& point : thinned(points))
      path += fmt::format("{}{:.1f},{:.1f}", path.empty() ? "M" : "L", across(point.x), down(point.y));
    svg_ += fmt::format(
        "<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\" stroke-opacity=\"{}\" "
        "stroke-linejoin=\"round\" "
        "stroke-linecap=\"round\"/>\n",
        path, color, width, opacity);
  }

  void paint_curve(const Curve& curve, const Points& points) {
    if (points.empty()) return;
    const std::string color = escaped(curve.color);
    const Points main_line = curve.noisy ? smoothed(points) : points;
    if (curve.noisy) line(points, color, 1.0, 0.3);
    line(main_line, color, 2.0, 1.0);
    if (curve.marked || points.size() == 1) {
      for (const Point& point : thinned(points))
        svg_ += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" fill=\"{}\"/>\n", across(point.x),
                            down(point.y), color);
    }
    labels_.push_back(
        {down(main_line.back().y), fmt::format("{} {}", curve.label, short_number(main_line.back().y)), curve.color});
  }

  /// The curves' names with their last values: beside their ends in the large chart, else at the top right.
  void paint_labels() {
    if (!large_) {
      if (labels_.size() == 1)
        text(right_, top_ - 12, "end", "last" + labels_[0].text.substr(labels_[0].text.rfind(' ')));
      return;
    }
    separate(labels_, 17.0);
    for (const EndLabel& label : labels_)
      svg_ += fmt::format("<text class=\"label\" x=\"{:.1f}\" y=\"{:.1f}\" style=\"fill: {}\">{}</text>\n", right_ + 10,
                          label.y + 4, escaped(label.color), escaped(label.text));
  }

  const Chart& chart_;
  double left_, top_, right_, bottom_;
  bool large_;
  Range x_, y_;
  std::vector<Points> points_;
  std::vector<EndLabel> labels_;
  std::string svg_;
};

}  // namespace

std::string short_number(double value) {
  const double size = std::abs(value);
  // Four significant digits at most; what {:g} writes as 1e-05 becomes 1e-5.
  const auto digits = [](double number) {
    std::string text = fmt::format("{:.4g}", number);
    const size_t exponent = text.find('e');
    if (exponent == std::string::npos) return text;
    size_t zeros = exponent + 1;
    if (text[zeros] == '-') ++zeros;
    if (text[zeros] == '+') text.erase(zeros, 1);
    while (zeros + 1 < text.size() && text[zeros] == '0') text.erase(zeros, 1);
    return text;
  };
  if (size > 0.0 && size < 1e-2) {
    // {:g} keeps the plain form down to 1e-4; the short one is easier to read.
    std::string text = fmt::format("{:.3e}", value);
    const size_t exponent = text.find('e');
    std::string mantissa = text.substr(0, exponent);
    while (mantissa.back() == '0') mantissa.pop_back();
    if (mantissa.back() == '.') mantissa.pop_back();
    return fmt::format("{}e{}", mantissa, std::stoi(text.substr(exponent + 1)));
  }
  constexpr std::pair<double, const char*> kUnits[] = {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}};
  for (const auto& [unit, name] : kUnits) {
    if (size >= unit * 0.99995) return digits(value / unit) + name;
  }
  return digits(value);
}

std::vector<double> axis_ticks(double low, double high, int count) {
  if (!(high > low) || !std::isfinite(high - low) || count < 1) return {};
  const double rough = (high - low) / count;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  double step = 10.0 * power;
  for (const double factor : {1.0, 2.0, 2.5, 5.0}) {
    if (factor * power >= rough) {
      step = factor * power;
      break;
    }
  }
  std::vector<double> ticks;
  for (double number = std::ceil(low / step); number * step <= high && ticks.size() < 64; number += 1.0)
    ticks.push_back(number == 0.0 ? 0.0 : number * step);
  return ticks;
}

std::string draw_charts(const std::string& title, const std::vector<Chart>& charts) {
  const size_t rows = charts.size() > 1 ? (charts.size() + 1) / 3 : 0;
  const double height =
      kTitleHeight + (charts.empty() ? 0 : kLargeHeight) + static_cast<double>(rows) * kSmallHeight + kMargin;
  std::string svg = fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" viewBox=\"0 0 {0:.0f} {1:.0f}\" "
      "role=\"img\">\n<title>{2}</title>\n<style>\n"
      "text {{ font: 12px system-ui, 'DejaVu Sans', sans-serif; fill: {3}; }}\n"
      "text.heading {{ font-size: 17px; font-weight: 600; }}\n"
      "text.title {{ font-size: 13px; font-weight: 600; }}\n"
      "text.label {{ font-size: 12px; font-weight: 600; }}\n"
      ".grid {{ stroke: {4}; stroke-opacity: 0.25; }}\n"
      ".axis {{ stroke: {4}; stroke-opacity: 0.8; }}\n</style>\n"
      "<text class=\"heading\" x=\"{5:.0f}\" y=\"32\">{2}</text>\n",
      kWidth, height, escaped(title), kInk, kGrid, kMargin);
  for (size_t index = 0; index < charts.size(); ++index) {
    if (index == 0) {
      svg += ChartPainter(charts[0], kMargin, kTitleHeight, kWidth - 2 * kMargin, kLargeHeight, true).paint();
      continue;
    }
    const double width = (kWidth - 2 * kMargin) / 3;
    const double left = kMargin + static_cast<double>((index - 1) % 3) * width;
    const double top = kTitleHeight + kLargeHeight + static_cast<double>((index - 1) / 3) * kSmallHeight;
    svg += ChartPainter(charts[index], left, top, width, kSmallHeight, false).paint();
  }
  return svg + "</svg>\n";
}

std::vector<Chart> training_charts(const std::vector<base::Json>& records) {
  Curve loss{"training", "#3b82d6", {}, {}, true, false}, validation{"validation", "#e0731d", {}, {}, false, true};
  Curve rate{"learning rate", "#2f9e77", {}, {}, false, false}, norm{"norm", "#a367c9", {}, {}, true, false};
  Curve speed{"speed", "#c2568a", {}, {}, true, false};

  const auto number = [](const base::Json& record, const char* key) {
    const auto found = record.find(key);
    return found != record.end() && found->is_number() ? found->get<double>() : std::nan("");
  };
  bool has_tokens = false;
  for (const base::Json& record : records) has_tokens = has_tokens || std::isfinite(number(record, "tokens"));

  // A validation comes after the record of its step, which says how many tokens that is.
  double position = 0.0;
  for (const base::Json& record : records) {
    const double here = number(record, has_tokens ? "tokens" : "step");
    if (std::isfinite(here)) position = here;
    const auto add = [&](Curve& curve, const char* key) {
      const double value = number(record, key);
      if (!std::isfinite(value)) return;
      curve.x.push_back(position);
      curve.y.push_back(value);
    };
    add(loss, "loss");
    add(validation, "validation_loss");
    add(rate, "learning_rate");
    add(norm, "gradient_norm");
    add(speed, "tokens_per_second");
  }
  return {{"Loss (nats per token)", has_tokens ? "tokens seen" : "steps", {loss, validation}, false},
          {"Learning rate", "", {rate}, true},
          {"Gradient norm", "", {norm}, true},
          {"Tokens per second", "", {speed}, true}};
}

void write_plot(const std::filesystem::path& metrics, const std::filesystem::path& svg, const std::string& title) {
  base::write_file(svg, draw_charts(title, training_charts(read_metrics(metrics))));
}

}  // namespace fledge::train
