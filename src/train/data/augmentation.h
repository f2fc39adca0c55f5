#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fledge::train {

/// A word within a text: the bytes [begin, end).
struct TextWord {
  size_t begin, end;
};

/// The words of a text that others could stand in for: runs of letters. A run with a digit or an inner apostrophe
/// ("don't") is none. Bytes that are not UTF-8 belong to no word.
std::vector<TextWord> words_of(std::string_view text);

struct AugmentationOptions {
  int64_t variants = 20;     ///< drawn for each text
  double probability = 0.4;  ///< of a word to be replaced
  uint64_t seed = 1;
};

/// A text with the candidates of each of its words, which may be none.
struct ReplaceableText {
  std::string text;
  std::vector<TextWord> words;
  std::vector<std::vector<std::string>> candidates;
};

/// Variants of a text: each word becomes, with the given probability, one of its candidates, all of them alike (Jiao et
/// al., "TinyBERT", 2020, algorithm 1). Entry m of the result is the m-th draw; one where no word was replaced is the
/// text itself. What is drawn is a function of the seed, the text's number, the variant and the word alone.
std::vector<std::string> variants_of(const ReplaceableText& text, const AugmentationOptions& options,
                                     uint64_t text_number);

}  // namespace fledge::train
