#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace fledge::train {

/// How often each label (row) was found to be each label (column): L x L counts.
class Confusion {
 public:
  explicit Confusion(size_t labels) : labels_(labels), counts_(labels * labels) {}
  /// From its counts, row by row.
  Confusion(size_t labels, std::span<const double> counts);

  void add(int32_t label, int32_t found) {
    counts_[static_cast<size_t>(label) * labels_ + static_cast<size_t>(found)] += 1.0;
  }
  const std::vector<double>& counts() const { return counts_; }
  size_t labels() const { return labels_; }

  double total() const;
  /// Share of the examples whose label was found.
  double accuracy() const;
  /// Of one label: 2 TP / (2 TP + FP + FN); 0 where it neither occurs nor is found.
  double f1(size_t label) const;
  /// Mean of f1 over the labels that occur or are found.
  double macro_f1() const;
  /// Matthews' correlation coefficient, for any number of labels (Gorodkin, "Comparing two K-category assignments by a
  /// K-category correlation coefficient", 2004); 0 where one side is all of one label.
  double matthews() const;

  /// The matrix as a table for people, with the names of the labels: rows are the labels, columns what was found.
  std::string table(std::span<const std::string> names) const;

 private:
  double row_sum(size_t label) const;
  double column_sum(size_t label) const;

  size_t labels_;
  std::vector<double> counts_;
};

/// Pearson's correlation of two lists of one length; 0 where one of them does not vary.
double pearson(std::span<const double> a, std::span<const double> b);

/// Spearman's: Pearson's of the ranks, equal numbers sharing the mean of theirs.
double spearman(std::span<const double> a, std::span<const double> b);

}  // namespace fledge::train
