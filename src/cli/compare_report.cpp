#include "cli/compare_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/json.h"
#include "base/terminal.h"
#include "base/text.h"

namespace fledge::cli {
namespace {

using base::OrderedJson;

std::string number_text(const ComparedRow& row, double value) {
  if (std::isnan(value)) return "-";
  std::string text = fmt::format("{:.{}f}", value, row.digits);
  if (row.digits == 0) text = base::with_separators(std::llround(value));
  return row.unit.empty() ? text : text + " " + row.unit;
}

/// Whether the model's number is the best of its row, and some other one is not.
bool is_best(const ComparedRow& row, size_t index) {
  if (row.better == 0 || std::isnan(row.values[index])) return false;
  bool differs = false;
  for (const double other : row.values) {
    if (std::isnan(other) || other == row.values[index]) continue;
    differs = true;
    if ((other > row.values[index]) == (row.better > 0)) return false;
  }
  return differs;
}

constexpr const char* kStyle = R"(
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1a1a1a; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top; }
td.number { width: 22%; font-variant-numeric: tabular-nums; }
.best { font-weight: 600; }
.bar { height: .4rem; background: #4c78a8; border-radius: .2rem; }
.best .bar { background: #2a9d5c; }
.answer { white-space: pre-wrap; }
.kept { color: #1c7c45; } .broken { color: #b3261e; }
ul { margin: .4rem 0; padding-left: 1.2rem; font-size: .9rem; }
@media (prefers-color-scheme: dark) { body { background: #16181c; color: #e6e6e6; } th, td { border-color: #333; }
  .kept { color: #6fce97; } .broken { color: #ff8a80; } }
)";

std::string html_head_row(const Comparison& comparison, std::string_view first) {
  std::string row = fmt::format("<tr><th scope=\"col\">{}</th>", first);
  for (const std::string& model : comparison.models)
    row += fmt::format("<th scope=\"col\">{}</th>", base::escaped_markup(model));
  return row + "</tr>\n";
}

std::string html_number(const ComparedRow& row, size_t index) {
  double greatest = 0.0;
  for (const double value : row.values) greatest = std::max(greatest, std::isnan(value) ? 0.0 : std::abs(value));
  const double value = row.values[index];
  const double share = greatest > 0.0 && !std::isnan(value) ? std::abs(value) / greatest : 0.0;
  return fmt::format("<td class=\"number{}\">{}<div class=\"bar\" style=\"width:{:.1f}%\"></div></td>",
                     is_best(row, index) ? " best" : "", base::escaped_markup(number_text(row, value)), 100.0 * share);
}

std::string html_rows(const Comparison& comparison) {
  std::string html, section;
  for (const ComparedRow& row : comparison.rows) {
    if (row.section != section) {
      if (!section.empty()) html += "</table>\n";
      section = row.section;
      html += fmt::format("<h2>{}</h2>\n<table>\n{}", base::escaped_markup(section), html_head_row(comparison, ""));
    }
    html += fmt::format("<tr><th scope=\"row\">{}</th>", base::escaped_markup(row.name));
    for (size_t index = 0; index < comparison.models.size(); ++index) html += html_number(row, index);
    html += "</tr>\n";
  }
  return section.empty() ? html : html + "</table>\n";
}

std::string html_answers(const Comparison& comparison) {
  if (comparison.answers.empty()) return "";
  std::string html = "<h2>Answers</h2>\n<table>\n" + html_head_row(comparison, "Prompt");
  for (const ComparedAnswer& answer : comparison.answers) {
    html += "<tr><td class=\"answer\">";
    if (!answer.system.empty()) html += "<em>" + base::escaped_markup(answer.system) + "</em>\n";
    html += base::escaped_markup(answer.prompt) + "</td>";
    for (const ComparedAnswer::Said& said : answer.answers) {
      html += "<td><div class=\"answer\">" + base::escaped_markup(said.text) + "</div><ul>";
      for (const auto& [words, kept] : said.rules)
        html += fmt::format("<li class=\"{}\">{} {}</li>", kept ? "kept" : "broken", kept ? "\u2713" : "\u2717",
                            base::escaped_markup(words));
      html += "</ul></td>";
    }
    html += "</tr>\n";
  }
  return html + "</table>\n";
}

}  // namespace

void Comparison::add(size_t index, const ComparedRow& row_like, double value) {
  auto row = std::ranges::find_if(
      rows, [&](const ComparedRow& known) { return known.section == row_like.section && known.name == row_like.name; });
  if (row == rows.end()) {
    // Rows of one section stand together, whichever model brought them first.
    row = std::find_if(rows.rbegin(), rows.rend(), [&](const ComparedRow& known) {
            return known.section == row_like.section;
          }).base();
    if (row == rows.begin()) row = rows.end();
    row = rows.insert(row, row_like);
    row->values.assign(models.size(), std::numeric_limits<double>::quiet_NaN());
  }
  row->values[index] = value;
}

std::string comparison_text(const Comparison& comparison, bool color) {
  size_t name_width = 8;
  for (const ComparedRow& row : comparison.rows) name_width = std::max(name_width, base::display_width(row.name) + 2);
  std::vector<size_t> widths;
  for (size_t index = 0; index < comparison.models.size(); ++index) {
    size_t width = base::display_width(comparison.models[index]);
    for (const ComparedRow& row : comparison.rows)
      width = std::max(width, number_text(row, row.values[index]).size() + 1);
    widths.push_back(width);
  }
  const auto padded = [](std::string text, size_t width) {
    const size_t shown = base::display_width(text);
    return shown < width ? std::string(width - shown, ' ') + text : text;
  };
  base::Terminal terminal;
  terminal.color = color;
  std::string text = std::string(name_width, ' ');
  for (size_t index = 0; index < widths.size(); ++index)
    text += "  " + padded(base::printable(comparison.models[index]), widths[index]);
  text += "\n";
  std::string section;
  for (const ComparedRow& row : comparison.rows) {
    if (row.section != section) {
      section = row.section;
      text += base::styled(section, base::Style::bold, terminal) + "\n";
    }
    text += "  " + row.name + std::string(name_width - 2 - base::display_width(row.name), ' ');
    for (size_t index = 0; index < widths.size(); ++index) {
      const bool best = is_best(row, index);
      const std::string number = padded(number_text(row, row.values[index]) + (best ? "*" : " "), widths[index]);
      text += "  " + (best ? base::styled(number, base::Style::green, terminal) : number);
    }
    while (text.ends_with(' ')) text.pop_back();
    text += "\n";
  }
  return text;
}

OrderedJson comparison_json(const Comparison& comparison) {
  OrderedJson json = {{"models", comparison.models}};
  for (const ComparedRow& row : comparison.rows) {
    OrderedJson values = OrderedJson::array();
    for (const double value : row.values)
      values.push_back(std::isnan(value) ? OrderedJson(nullptr) : OrderedJson(value));
    json[row.section][row.name] = values;
  }
  for (const ComparedAnswer& answer : comparison.answers) {
    OrderedJson entry = {{"prompt", answer.prompt}};
    if (!answer.system.empty()) entry["system"] = answer.system;
    for (const ComparedAnswer::Said& said : answer.answers) {
      OrderedJson rules = OrderedJson::array();
      for (const auto& [words, kept] : said.rules) rules.push_back({{"rule", words}, {"kept", kept}});
      entry["answers"].push_back({{"text", said.text}, {"rules", rules}});
    }
    json["answers"].push_back(entry);
  }
  return json;
}

std::string comparison_html(const Comparison& comparison) {
  std::string title;
  for (const std::string& model : comparison.models)
    title += (title.empty() ? "" : " against ") + base::escaped_markup(model);
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
      "content=\"width=device-width\">\n<title>{0}</title>\n<style>{1}</style>\n</head>\n<body>\n<h1>{0}</h1>\n{2}{3}"
      "</body>\n</html>\n",
      title, kStyle, html_rows(comparison), html_answers(comparison));
}

}  // namespace fledge::cli
