#pragma once

#include <string>
#include <vector>

#include "base/json_fwd.h"

namespace fledge::cli {

/// One number of every model.
struct ComparedRow {
  std::string section, name;
  std::vector<double> values;  ///< of each model; NaN where it has none
  int better = 0;              ///< 1: a greater number is better, -1: a smaller one, 0: neither
  std::string unit;            ///< "nats", "MB", ...
  int digits = 3;              ///< behind the point
};

/// One prompt with the answers of every model.
struct ComparedAnswer {
  std::string system, prompt;
  struct Said {
    std::string text;
    std::vector<std::pair<std::string, bool>> rules;  ///< in words, and whether kept
  };
  std::vector<Said> answers;
};

/// What `fledge compare` found.
struct Comparison {
  std::vector<std::string> models;
  std::vector<ComparedRow> rows;
  std::vector<ComparedAnswer> answers;

  /// Adds the number of model `index` to the row of that name, which is made where it is new.
  void add(size_t index, const ComparedRow& row_like, double value);
};

/// The table for a terminal of `width` columns, with the best number of a row marked.
std::string comparison_text(const Comparison& comparison, bool color);
base::OrderedJson comparison_json(const Comparison& comparison);
/// A page of its own: no script, no other file.
std::string comparison_html(const Comparison& comparison);

}  // namespace fledge::cli
