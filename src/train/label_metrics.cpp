#include "train/label_metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/terminal.h"

namespace fledge::train {

Confusion::Confusion(size_t labels, std::span<const double> counts)
    : labels_(labels), counts_(counts.begin(), counts.end()) {}

double Confusion::row_sum(size_t label) const {
  double sum = 0.0;
  for (size_t other = 0; other < labels_; ++other) sum += counts_[label * labels_ + other];
  return sum;
}

double Confusion::column_sum(size_t label) const {
  double sum = 0.0;
  for (size_t other = 0; other < labels_; ++other) sum += counts_[other * labels_ + label];
  return sum;
}

double Confusion::total() const {
  return std::accumulate(counts_.begin(), counts_.end(), 0.0);
}

double Confusion::accuracy() const {
  double right = 0.0;
  for (size_t label = 0; label < labels_; ++label) right += counts_[label * labels_ + label];
  const double all = total();
  return all > 0.0 ? right / all : 0.0;
}

double Confusion::f1(size_t label) const {
  const double both = row_sum(label) + column_sum(label);
  return both > 0.0 ? 2.0 * counts_[label * labels_ + label] / both : 0.0;
}

double Confusion::macro_f1() const {
  double sum = 0.0, seen = 0.0;
  for (size_t label = 0; label < labels_; ++label) {
    if (row_sum(label) + column_sum(label) == 0.0) continue;
    sum += f1(label);
    seen += 1.0;
  }
  return seen > 0.0 ? sum / seen : 0.0;
}

double Confusion::matthews() const {
  const double all = total();
  double right = 0.0, products = 0.0, rows = 0.0, columns = 0.0;
  for (size_t label = 0; label < labels_; ++label) {
    const double row = row_sum(label), column = column_sum(label);
    right += counts_[label * labels_ + label];
    products += row * column;
    rows += row * row;
    columns += column * column;
  }
  const double spread = std::sqrt(all * all - rows) * std::sqrt(all * all - columns);
  return spread > 0.0 ? (right * all - products) / spread : 0.0;
}

std::string Confusion::table(std::span<const std::string> names) const {
  size_t name_width = 0, width = 6;
  for (const std::string& name : names)
    name_width = std::max(name_width, std::min<size_t>(24, base::display_width(name)));
  const auto cell = [](std::string_view text, size_t cell_width, bool right) {
    const std::string cut(base::fit_width(text, cell_width));
    const std::string space(cell_width - base::display_width(cut), ' ');
    return right ? space + cut : cut + space;
  };
  for (size_t label = 0; label < labels_; ++label) {
    width = std::max(width, std::min<size_t>(12, base::display_width(names[label])));
  }
  std::string text = cell("", name_width, false);
  for (size_t label = 0; label < labels_; ++label) text += "  " + cell(names[label], width, true);
  text += "      F1\n";
  for (size_t label = 0; label < labels_; ++label) {
    text += cell(names[label], name_width, false);
    for (size_t found = 0; found < labels_; ++found) {
      text += "  " + cell(fmt::format("{:.0f}", counts_[label * labels_ + found]), width, true);
    }
    text += fmt::format("  {:.4f}\n", f1(label));
  }
  return text;
}

double pearson(std::span<const double> a, std::span<const double> b) {
  const auto count = static_cast<double>(a.size());
  const double mean_a = std::accumulate(a.begin(), a.end(), 0.0) / count;
  const double mean_b = std::accumulate(b.begin(), b.end(), 0.0) / count;
  double both = 0.0, square_a = 0.0, square_b = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    both += (a[i] - mean_a) * (b[i] - mean_b);
    square_a += (a[i] - mean_a) * (a[i] - mean_a);
    square_b += (b[i] - mean_b) * (b[i] - mean_b);
  }
  const double spread = std::sqrt(square_a) * std::sqrt(square_b);
  return spread > 0.0 ? both / spread : 0.0;
}

namespace {

std::vector<double> ranks(std::span<const double> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> result(values.size());
  for (size_t first = 0; first < order.size();) {
    size_t last = first + 1;
    while (last < order.size() && values[order[last]] == values[order[first]]) ++last;
    const double shared = 0.5 * static_cast<double>(first + last - 1);
    for (; first < last; ++first) result[order[first]] = shared;
  }
  return result;
}

}  // namespace

double spearman(std::span<const double> a, std::span<const double> b) {
  return pearson(ranks(a), ranks(b));
}

}  // namespace fledge::train
