#include "nn/text/normalizer.h"

#include <cstdint>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "nn/text/base64.h"
#include "nn/text/byte_alphabet.h"
#include "nn/text/character_class.h"
#include "nn/text/chars_map.h"
#include "nn/text/json_section.h"
#include "nn/text/normalization.h"
#include "nn/text/regex.h"
#include "nn/text/utf8.h"

namespace fledge::nn {
namespace {

using base::Error;
using base::Json;
using base::json_get;
using base::json_require;

bool is_ascii(std::string_view text) {
  for (const char c : text) {
    if (static_cast<signed char>(c) < 0) return false;
  }
  return true;
}

/// Calls visit(character, its bytes) for every character of a text.
template <typename Visit>
void for_each_character(std::string_view text, const Visit& visit) {
  for (size_t position = 0, length = 0; position < text.size(); position += length) {
    const char32_t c = decode_utf8(text.data() + position, length);
    visit(c, text.substr(position, length));
  }
}

class Sequence : public Normalizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<Normalizer>> steps) : steps_(std::move(steps)) {}
  void apply(std::string& text) const override {
    for (const auto& step : steps_) step->apply(text);
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> steps_;
};

class UnicodeForm : public Normalizer {
 public:
  explicit UnicodeForm(NormalForm form) : form_(form) {}
  void apply(std::string& text) const override {
    if (!is_ascii(text)) text = to_normal_form(text, form_);
  }

 private:
  NormalForm form_;
};

/// Replaces every character by what a function makes of it.
template <void (*append)(std::string& result, char32_t c, std::string_view bytes)>
class CharacterMap : public Normalizer {
 public:
  void apply(std::string& text) const override {
    std::string result;
    result.reserve(text.size());
    for_each_character(text, [&](char32_t c, std::string_view bytes) { append(result, c, bytes); });
    text = std::move(result);
  }
};

void append_in_lower_case(std::string& result, char32_t c, std::string_view) {
  append_lower_case(result, c);
}

void append_unless_mark(std::string& result, char32_t c, std::string_view bytes) {
  if ((character_properties()[c] & kMark) == 0) result += bytes;
}

/// SentencePiece's rules for machine translation: controls go, and odd spaces become plain ones.
void append_for_translation(std::string& result, char32_t c, std::string_view bytes) {
  const bool is_removed =
      (c >= 0x01 && c <= 0x08) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F;
  if (is_removed) return;
  const bool is_space = c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 ||
                        (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF ||
                        c == 0xFFFD;
  is_space ? result += ' ' : result += bytes;
}

class ToByteAlphabet : public Normalizer {
 public:
  void apply(std::string& text) const override { text = to_byte_alphabet(text); }
};

/// Devlin et al., "BERT", 2019, tokenization.py, BasicTokenizer without its splits.
class BertNormalizer : public Normalizer {
 public:
  BertNormalizer(bool clean, bool part_ideographs, bool strip_accents, bool lower_case)
      : clean_(clean), part_ideographs_(part_ideographs), strip_accents_(strip_accents), lower_case_(lower_case) {
    // What becomes of each ASCII character; 0xFF where it is left out.
    for (size_t c = 0; c < 128; ++c) {
      uint8_t result = static_cast<uint8_t>(c);
      if (clean_ && (c == 0 || (character_properties()[c] & kControl) != 0)) result = kLeftOut;
      // A form feed is a control in one list and white space in another: the controls go first.
      if (clean_ && result != kLeftOut && (character_properties()[c] & kWhiteSpace) != 0) result = ' ';
      if (lower_case_ && c >= 'A' && c <= 'Z') result = static_cast<uint8_t>(c + ('a' - 'A'));
      ascii_[c] = result;
    }
  }

  void apply(std::string& text) const override {
    if (!is_ascii(text)) return apply_to_any(text);
    size_t kept = 0;
    for (const char c : text) {
      const uint8_t result = ascii_[static_cast<uint8_t>(c)];
      text[kept] = static_cast<char>(result);
      kept += result != kLeftOut;
    }
    text.resize(kept);
  }

 private:
  static constexpr uint8_t kLeftOut = 0xFF;

  void apply_to_any(std::string& text) const {
    std::string result;
    result.reserve(text.size() + text.size() / 4);
    for_each_character(text, [&](char32_t c, std::string_view bytes) { append_cleaned(result, c, bytes); });
    if (strip_accents_) {
      text = to_normal_form(result, NormalForm::kD);
      result.clear();
      for_each_character(text, [&](char32_t c, std::string_view bytes) {
        if ((character_properties()[c] & kNonspacingMark) == 0) result += bytes;
      });
    }
    if (lower_case_) {
      text.clear();
      for_each_character(result, [&](char32_t c, std::string_view) { append_lower_case(text, c); });
    } else {
      text = std::move(result);
    }
  }

  void append_cleaned(std::string& result, char32_t c, std::string_view bytes) const {
    const uint8_t properties = character_properties()[c];
    if (clean_) {
      if (c == 0 || c == 0xFFFD || (properties & kControl) != 0) return;
      if ((properties & kWhiteSpace) != 0) {
        result += ' ';
        return;
      }
    }
    const bool parted = part_ideographs_ && (properties & kCjkIdeograph) != 0;
    if (parted) result += ' ';
    result += bytes;
    if (parted) result += ' ';
  }

  bool clean_, part_ideographs_, strip_accents_, lower_case_;
  uint8_t ascii_[128];
};

class Strip : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  void apply(std::string& text) const override {
    size_t begin = SIZE_MAX, end = 0, position = 0;
    for_each_character(text, [&](char32_t c, std::string_view bytes) {
      const bool is_space = (character_properties()[c] & kWhiteSpace) != 0;
      if (!is_space && begin == SIZE_MAX) begin = position;
      position += bytes.size();
      if (!is_space) end = position;
    });
    if (begin == SIZE_MAX) begin = end = left_ ? text.size() : 0;
    if (right_) text.resize(end);
    if (left_) text.erase(0, begin);
  }

 private:
  bool left_, right_;
};

class Around : public Normalizer {
 public:
  Around(std::string before, std::string after) : before_(std::move(before)), after_(std::move(after)) {}
  void apply(std::string& text) const override {
    if (text.empty()) return;
    text.insert(0, before_);
    text += after_;
  }

 private:
  std::string before_, after_;
};

class ReplaceText : public Normalizer {
 public:
  ReplaceText(std::string pattern, std::string content) : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void apply(std::string& text) const override {
    size_t found = text.find(pattern_);
    if (found == std::string::npos || pattern_.empty()) return;
    std::string result;
    result.reserve(text.size() + text.size() / 2);
    size_t done = 0;
    for (; found != std::string::npos; found = text.find(pattern_, done)) {
      result.append(text, done, found - done);
      result += content_;
      done = found + pattern_.size();
    }
    result.append(text, done);
    text = std::move(result);
  }

 private:
  std::string pattern_, content_;
};

class ReplaceMatches : public Normalizer {
 public:
  ReplaceMatches(const std::string& regex, std::string content, std::string_view origin)
      : regex_(regex, origin), content_(std::move(content)) {}
  void apply(std::string& text) const override {
    std::string result;
    size_t done = 0;
    for (size_t begin, end; regex_.find(text, done, begin, end); done = end) {
      result.append(text, done, begin - done);
      result += content_;
    }
    if (done == 0) return;
    result.append(text, done);
    text = std::move(result);
  }

 private:
  Regex regex_;
  std::string content_;
};

class CharsMapNormalizer : public Normalizer {
 public:
  explicit CharsMapNormalizer(CharsMap map) : map_(std::move(map)) {}
  void apply(std::string& text) const override {
    std::string result;
    result.reserve(text.size());
    map_.append_by_cluster(text, result);
    text = std::move(result);
  }

 private:
  CharsMap map_;
};

std::unique_ptr<Normalizer> parse_replace(const Json& step, std::string_view origin) {
  const Json& pattern = section_of(step, "pattern");
  auto content = json_require<std::string>(step, "content", origin);
  if (pattern.is_object() && pattern.contains("String")) {
    return std::make_unique<ReplaceText>(json_require<std::string>(pattern, "String", origin), std::move(content));
  }
  return std::make_unique<ReplaceMatches>(json_require<std::string>(pattern, "Regex", origin), std::move(content),
                                          origin);
}

std::unique_ptr<Normalizer> parse_precompiled(const Json& step, std::string_view origin) {
  std::string bytes;
  if (!append_base64(json_require<std::string>(step, "precompiled_charsmap", origin), bytes)) {
    throw Error("{}: the normalizer Precompiled has a \"precompiled_charsmap\" that is not base64", origin);
  }
  return std::make_unique<CharsMapNormalizer>(CharsMap(bytes, origin));
}

std::unique_ptr<Normalizer> parse_bert(const Json& step, std::string_view origin) {
  const bool lower_case = json_get(step, "lowercase", true, origin);
  return std::make_unique<BertNormalizer>(json_get(step, "clean_text", true, origin),
                                          json_get(step, "handle_chinese_chars", true, origin),
                                          json_get(step, "strip_accents", lower_case, origin), lower_case);
}

}  // namespace

std::unique_ptr<Normalizer> make_normalizer_sequence(std::vector<std::unique_ptr<Normalizer>> steps) {
  std::erase(steps, nullptr);
  if (steps.empty()) return nullptr;
  if (steps.size() == 1) return std::move(steps.front());
  return std::make_unique<Sequence>(std::move(steps));
}

std::unique_ptr<Normalizer> parse_normalizer(const Json& section, std::string_view origin) {
  if (section.is_null()) return nullptr;
  const auto type = json_require<std::string>(section, "type", origin);
  if (type == "Sequence") {
    const Json& list = section_of(section, "normalizers");
    if (!list.is_array()) throw Error("{}: the normalizer Sequence has no list \"normalizers\"", origin);
    std::vector<std::unique_ptr<Normalizer>> steps;
    for (const Json& step : list) steps.push_back(parse_normalizer(step, origin));
    return make_normalizer_sequence(std::move(steps));
  }
  if (type == "NFC") return std::make_unique<UnicodeForm>(NormalForm::kC);
  if (type == "NFD") return std::make_unique<UnicodeForm>(NormalForm::kD);
  if (type == "NFKC") return std::make_unique<UnicodeForm>(NormalForm::kKc);
  if (type == "NFKD") return std::make_unique<UnicodeForm>(NormalForm::kKd);
  if (type == "Lowercase") return std::make_unique<CharacterMap<append_in_lower_case>>();
  if (type == "StripAccents") return std::make_unique<CharacterMap<append_unless_mark>>();
  if (type == "Nmt") return std::make_unique<CharacterMap<append_for_translation>>();
  if (type == "ByteLevel") return std::make_unique<ToByteAlphabet>();
  if (type == "BertNormalizer") return parse_bert(section, origin);
  if (type == "Replace") return parse_replace(section, origin);
  if (type == "Precompiled") return parse_precompiled(section, origin);
  if (type == "Prepend") {
    return std::make_unique<Around>(json_require<std::string>(section, "prepend", origin), "");
  }
  if (type == "Strip") {
    return std::make_unique<Strip>(json_get(section, "strip_left", true, origin),
                                   json_get(section, "strip_right", true, origin));
  }
  throw Error("{}: the normalizer \"{}\" is not supported", origin, type);
}

}  // namespace fledge::nn
