#include "nn/text/character_class.h"

#include <utf8proc.h>

#include <algorithm>
#include <memory>

#include "nn/text/unicode_data.h"
#include "nn/text/utf8.h"

namespace fledge::nn {
namespace {

constexpr CodePointRange kSpaceRanges[] = {{0x09, 0x0D},     {0x20, 0x20},     {0x85, 0x85},     {0xA0, 0xA0},
                                           {0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F},
                                           {0x205F, 0x205F}, {0x3000, 0x3000}};

std::unique_ptr<CharacterClass[]> make_classes() {
  auto classes = std::make_unique<CharacterClass[]>(0x110000);
  const auto mark = [&](const CodePointRange& range, CharacterClass value) {
    std::fill(&classes[range.first], &classes[range.last] + 1, value);
  };
  for (size_t i = 0; i < kLetterRanges_count; ++i) mark(kLetterRanges[i], CharacterClass::kLetter);
  for (size_t i = 0; i < kNumberRanges_count; ++i) mark(kNumberRanges[i], CharacterClass::kNumber);
  for (const CodePointRange& range : kSpaceRanges) mark(range, CharacterClass::kSpace);
  return classes;
}

// Devlin et al., "BERT", 2019, tokenization.py: Chinese, not Hangul or kana. Its fifth block begins at U+2B820 there
// and at U+2B920 in Hugging Face's code, whose tokens everybody uses.
constexpr CodePointRange kCjkRanges[] = {{0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFAFF},
                                         {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F},
                                         {0x2B920, 0x2CEAF}, {0x2F800, 0x2FA1F}};

uint8_t properties_of_category(utf8proc_category_t category) {
  switch (category) {
    case UTF8PROC_CATEGORY_MN:
      return kMark | kNonspacingMark;
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
      return kMark;
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
      return kPunctuation;
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CO:
      return kControl;
    default:
      return 0;
  }
}

std::unique_ptr<uint8_t[]> make_properties() {
  auto properties = std::make_unique<uint8_t[]>(0x110000);
  for (char32_t c = 0; c < 0x110000; ++c) {
    properties[c] = properties_of_category(utf8proc_category(static_cast<utf8proc_int32_t>(c)));
  }
  const auto mark = [&](const CodePointRange& range, CharacterProperty property) {
    for (uint32_t c = range.first; c <= range.last; ++c) properties[c] |= property;
  };
  for (const CodePointRange& range : kSpaceRanges) mark(range, kWhiteSpace);
  for (const CodePointRange& range : kCjkRanges) mark(range, kCjkIdeograph);
  for (const CodePointRange range : {CodePointRange{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}}) {
    mark(range, kPunctuation);
  }
  for (const char c : {'\t', '\n', '\r'}) properties[static_cast<size_t>(c)] &= static_cast<uint8_t>(~kControl);
  return properties;
}

}  // namespace

const CharacterClass* character_classes() {
  static const std::unique_ptr<CharacterClass[]> classes = make_classes();
  return classes.get();
}

const uint8_t* character_properties() {
  static const std::unique_ptr<uint8_t[]> properties = make_properties();
  return properties.get();
}

void append_lower_case(std::string& text, char32_t c) {
  append_utf8(text, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
  // The one character whose lower case is two (SpecialCasing.txt): the dot above stays.
  constexpr char32_t kDottedCapitalI = 0x130, kDotAbove = 0x307;
  if (c == kDottedCapitalI) append_utf8(text, kDotAbove);
}

}  // namespace fledge::nn
