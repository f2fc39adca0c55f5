#include "nn/text/character_class.h"

#include <algorithm>
#include <memory>

#include "nn/text/unicode_data.h"

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

}  // namespace

const CharacterClass* character_classes() {
  static const std::unique_ptr<CharacterClass[]> classes = make_classes();
  return classes.get();
}

}  // namespace fledge::nn
