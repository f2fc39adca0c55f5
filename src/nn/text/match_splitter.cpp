// Pre-tokenizers that treat what they find, and what lies between, as Hugging Face's "behavior" says.
#include <string>
#include <utility>
#include <vector>

#include "nn/text/character_class.h"
#include "nn/text/pre_tokenizer.h"
#include "nn/text/regex.h"
#include "nn/text/utf8.h"

namespace fledge::nn {
namespace {

/// Receives the parts of a text, matches and what lies between, in order, and gives the pieces to a batch.
class BehaviorFilter {
 public:
  BehaviorFilter(SplitBehavior behavior, PieceBatch& batch) : behavior_(behavior), batch_(batch) {}

  void add(const char* begin, const char* end, bool is_match) {
    if (begin == end) return;
    bool joins = false;
    switch (behavior_) {
      case SplitBehavior::kRemoved:
        if (is_match) return;
        break;
      case SplitBehavior::kIsolated:
        break;
      case SplitBehavior::kContiguous:
        joins = is_match == was_match_;
        break;
      case SplitBehavior::kMergedWithPrevious:
        joins = is_match && !was_match_;
        break;
      case SplitBehavior::kMergedWithNext:
        // Of several matches in a row only the last joins what follows.
        joins = was_match_ && !is_match;
        break;
    }
    if (!joins || waiting_begin_ == nullptr) {
      flush();
      waiting_begin_ = begin;
    }
    waiting_end_ = end;
    was_match_ = is_match;
  }

  void flush() {
    if (waiting_begin_ != nullptr) batch_.add(waiting_begin_, waiting_end_);
    waiting_begin_ = nullptr;
  }

 private:
  SplitBehavior behavior_;
  PieceBatch& batch_;
  const char* waiting_begin_ = nullptr;
  const char* waiting_end_ = nullptr;
  bool was_match_ = false;
};

class MatchSplitter : public PreTokenizer {
 public:
  MatchSplitter(const std::string& regex, SplitBehavior behavior, bool invert, std::string_view origin)
      : regex_(regex, origin), behavior_(behavior), invert_(invert) {}

  void split(std::string_view text, PieceSink& sink) const override {
    PieceBatch batch(sink);
    BehaviorFilter filter(behavior_, batch);
    const char* base = text.data();
    size_t done = 0;
    for (size_t begin, end; regex_.find(text, done, begin, end); done = end) {
      filter.add(base + done, base + begin, invert_);
      filter.add(base + begin, base + end, !invert_);
    }
    filter.add(base + done, base + text.size(), invert_);
    filter.flush();
    batch.flush();
  }

 private:
  Regex regex_;
  SplitBehavior behavior_;
  bool invert_;
};

class PropertySplitter : public PreTokenizer {
 public:
  PropertySplitter(uint8_t properties, SplitBehavior behavior) : properties_(properties), behavior_(behavior) {}

  void split(std::string_view text, PieceSink& sink) const override {
    PieceBatch batch(sink);
    BehaviorFilter filter(behavior_, batch);
    const uint8_t* properties = character_properties();
    const char* const end = text.data() + text.size();
    const char* piece = text.data();
    size_t length = 0;
    for (const char* at = piece; at < end; at += length) {
      if ((properties[decode_utf8(at, length)] & properties_) == 0) continue;
      filter.add(piece, at, false);
      filter.add(at, at + length, true);
      piece = at + length;
    }
    filter.add(piece, end, false);
    filter.flush();
    batch.flush();
  }

 private:
  uint8_t properties_;
  SplitBehavior behavior_;
};

class BertSplitter : public PreTokenizer {
 public:
  void split(std::string_view text, PieceSink& sink) const override {
    PieceBatch batch(sink);
    const uint8_t* properties = character_properties();
    const char* const end = text.data() + text.size();
    const char* word = text.data();
    size_t length = 0;
    for (const char* at = word; at < end; at += length) {
      const uint8_t found = properties[decode_utf8(at, length)] & (kWhiteSpace | kPunctuation);
      if (found == 0) continue;
      if (word < at) batch.add(word, at);
      if ((found & kWhiteSpace) == 0) batch.add(at, at + length);
      word = at + length;
    }
    if (word < end) batch.add(word, end);
    batch.flush();
  }
};

}  // namespace

std::unique_ptr<PreTokenizer> make_match_splitter(const std::string& regex, SplitBehavior behavior, bool invert,
                                                  std::string_view origin) {
  if (behavior == SplitBehavior::kIsolated) return make_regex_splitter(regex, origin);
  return std::make_unique<MatchSplitter>(regex, behavior, invert, origin);
}

std::unique_ptr<PreTokenizer> make_property_splitter(uint8_t properties, SplitBehavior behavior) {
  return std::make_unique<PropertySplitter>(properties, behavior);
}

std::unique_ptr<PreTokenizer> make_bert_splitter() {
  return std::make_unique<BertSplitter>();
}

}  // namespace fledge::nn
