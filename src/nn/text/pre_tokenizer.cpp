#include "nn/text/pre_tokenizer.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"

namespace fledge::nn {
namespace {

constexpr std::string_view kGpt2Regex = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// Other spellings of the same patterns, as tiktoken and some files have them.
constexpr std::array<std::pair<std::string_view, SplitPattern>, 3> kOtherSpellings = {{
    {R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", SplitPattern::kGpt2},
    {R"('(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s)", SplitPattern::kGpt2},
    {R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)",
     SplitPattern::kLlama3},
}};

class Sequence : public PreTokenizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<PreTokenizer>> steps) : steps_(std::move(steps)) {}

  void split(std::string_view text, PieceSink& sink) const override { split_part(text, true, sink); }

  void split_part(std::string_view text, bool begins_text, PieceSink& sink) const override {
    split_with(0, text, begins_text, sink);
  }

  bool rewrites() const override {
    return std::any_of(steps_.begin(), steps_.end(), [](const auto& step) { return step->rewrites(); });
  }

 private:
  /// Passes the pieces of step `index` on to the next step.
  class Step : public PieceSink {
   public:
    Step(const Sequence& sequence, size_t index, std::string_view text, bool begins_text, PieceSink& last)
        : sequence_(sequence), index_(index), begin_(text.data()), begins_text_(begins_text), last_(last) {}

    void take(std::span<const std::string_view> pieces) override {
      for (const std::string_view piece : pieces) {
        // A rewritten text lies elsewhere; what comes first of it is its beginning.
        const bool is_first = sequence_.steps_[index_]->rewrites() || piece.data() == begin_;
        sequence_.split_with(index_ + 1, piece, begins_text_ && is_first, last_);
        begins_text_ = false;
      }
    }

   private:
    const Sequence& sequence_;
    size_t index_;
    const char* begin_;
    bool begins_text_;
    PieceSink& last_;
  };

  void split_with(size_t index, std::string_view text, bool begins_text, PieceSink& last) const {
    if (index + 1 == steps_.size()) return steps_[index]->split_part(text, begins_text, last);
    Step next(*this, index, text, begins_text, last);
    steps_[index]->split_part(text, begins_text, next);
  }

  std::vector<std::unique_ptr<PreTokenizer>> steps_;
};

class PieceList : public PieceSink {
 public:
  void take(std::span<const std::string_view> pieces) override {
    list.insert(list.end(), pieces.begin(), pieces.end());
  }
  std::vector<std::string> list;
};

}  // namespace

std::string_view split_regex(SplitPattern pattern) {
  switch (pattern) {
    case SplitPattern::kGpt2:
      return kGpt2Regex;
    case SplitPattern::kLlama3:
      return kLlama3Regex;
    case SplitPattern::kQwen2:
      return kQwen2Regex;
    case SplitPattern::kWhole:
      break;
  }
  return {};
}

SplitPattern split_pattern_by_name(std::string_view name) {
  if (name == "gpt2") return SplitPattern::kGpt2;
  if (name == "llama3" || name == "cl100k") return SplitPattern::kLlama3;
  if (name == "qwen2") return SplitPattern::kQwen2;
  throw base::UsageError("the split pattern \"{}\" is not known; the names are gpt2, llama3, cl100k and qwen2", name);
}

std::unique_ptr<PreTokenizer> make_regex_splitter(const std::string& regex, std::string_view origin) {
  for (const SplitPattern pattern : {SplitPattern::kGpt2, SplitPattern::kLlama3, SplitPattern::kQwen2}) {
    if (regex == split_regex(pattern)) return make_scanner(pattern);
  }
  for (const auto& [spelling, pattern] : kOtherSpellings) {
    if (regex == spelling) return make_scanner(pattern);
  }
  return make_pcre2_splitter(regex, origin);
}

std::unique_ptr<PreTokenizer> make_sequence(std::vector<std::unique_ptr<PreTokenizer>> steps) {
  if (steps.empty()) return make_scanner(SplitPattern::kWhole);
  if (steps.size() == 1) return std::move(steps.front());
  return std::make_unique<Sequence>(std::move(steps));
}

std::vector<std::string> split_to_list(const PreTokenizer& pre_tokenizer, std::string_view text) {
  PieceList pieces;
  pre_tokenizer.split(text, pieces);
  return std::move(pieces.list);
}

}  // namespace fledge::nn
