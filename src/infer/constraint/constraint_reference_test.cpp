// Texts and the verdicts of Python's `re` and `jsonschema` on them: tests/reference/make_constraint_data.py.
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/json.h"
#include "infer/constraint/constraint.h"

namespace fledge::infer {
namespace {

const base::OrderedJson& cases() {
  static const base::OrderedJson kCases = [] {
    const std::string path = std::string(FLEDGE_REFERENCE_DIR) + "/constraint/cases.json";
    return base::parse_ordered_json(base::read_file(path), path);
  }();
  return kCases;
}

std::shared_ptr<const VocabularyTrie> bytes() {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  return std::make_shared<const VocabularyTrie>(tokens);
}

bool accepts(TokenConstraint& constraint, const std::string& text) {
  std::vector<uint64_t> mask(4);
  for (const char character : text) {
    const auto byte = static_cast<uint8_t>(character);
    constraint.allowed(mask);
    if ((mask[byte / 64] >> byte % 64 & 1) == 0) return false;
    constraint.accept(byte);
  }
  return constraint.may_end();
}

void check(const std::shared_ptr<CompiledConstraint>& compiled, const base::OrderedJson& texts, const std::string& what,
           bool exactly) {
  for (const auto& entry : texts) {
    const std::string text = entry[0];
    const bool wanted = entry[1], made = entry[2];
    const bool found = accepts(*compiled->begin(), text);
    if (made || exactly) {
      EXPECT_EQ(found, wanted) << what << "\n" << text;
    } else if (found) {
      EXPECT_TRUE(wanted) << what << "\n" << text;
    }
  }
}

TEST(ConstraintReference, RegularExpressionsMatchAsPython) {
  const auto vocabulary = bytes();
  for (const auto& entry : cases()["regex"]) {
    check(CompiledConstraint::make(parse_regex(entry[0].get<std::string>()), vocabulary), entry[1], entry[0], true);
  }
}

TEST(ConstraintReference, SchemasAcceptWhatIsMadeAndNothingInvalid) {
  const auto vocabulary = bytes();
  for (const auto& entry : cases()["schema"]) {
    check(CompiledConstraint::make(compile_json_schema(entry[0]), vocabulary), entry[1], entry[0].dump(), false);
  }
}

}  // namespace
}  // namespace fledge::infer
