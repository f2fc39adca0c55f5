#include "nn/text/pre_tokenizer_json.h"

#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "nn/text/character_class.h"
#include "nn/text/json_section.h"
#include "nn/text/regex.h"
#include "nn/text/utf8.h"

namespace fledge::nn {
namespace {

using base::Error;
using base::Json;
using base::json_get;
using base::json_require;

// The regular expression \w of Hugging Face's engine (Unicode Technical Standard 18, annex C).
constexpr const char* kWordsAndOthers =
    R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]+|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}\s]+)";

SplitBehavior behavior_named(const std::string& name, std::string_view origin) {
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  throw Error("{}: a Split with the behavior \"{}\" is not known", origin, name);
}

/// The regular expression of a "pattern", which is written {"String": ...} or {"Regex": ...}.
std::string pattern_regex(const Json& step, std::string_view origin) {
  const Json& pattern = section_of(step, "pattern");
  if (pattern.is_object() && pattern.contains("String")) {
    return quoted_regex(json_require<std::string>(pattern, "String", origin));
  }
  return json_require<std::string>(pattern, "Regex", origin);
}

MetaspaceOptions metaspace_options(const Json& step, std::string_view origin) {
  MetaspaceOptions options;
  options.replacement = json_get(step, "replacement", options.replacement, origin);
  if (options.replacement.empty()) throw Error("{}: Metaspace has an empty \"replacement\"", origin);
  options.split = json_get(step, "split", true, origin);
  // Older files say add_prefix_space instead.
  const bool prefix = json_get(step, "add_prefix_space", true, origin);
  const auto scheme = json_get<std::string>(step, "prepend_scheme", prefix ? "always" : "never", origin);
  if (scheme == "always") {
    options.prepend = MetaspaceOptions::Prepend::kAlways;
  } else if (scheme == "first") {
    options.prepend = MetaspaceOptions::Prepend::kFirst;
  } else if (scheme == "never") {
    options.prepend = MetaspaceOptions::Prepend::kNever;
  } else {
    throw Error("{}: Metaspace has the prepend_scheme \"{}\"; always, first and never are known", origin, scheme);
  }
  return options;
}

class Parser {
 public:
  Parser(bool bytes_as_they_are, std::string_view origin) : bytes_as_they_are_(bytes_as_they_are), origin_(origin) {}

  void add(const Json& step) {
    const auto type = json_require<std::string>(step, "type", origin_);
    if (type == "Sequence" && section_of(step, "pretokenizers").is_array()) {
      for (const Json& part : step["pretokenizers"]) add(part);
    } else if (type == "ByteLevel") {
      add_byte_level(step);
    } else {
      steps_.push_back(make(type, step));
    }
  }

  ParsedPreTokenizer finish() {
    result_.splitter = make_sequence(std::move(steps_));
    return std::move(result_);
  }

 private:
  void add_byte_level(const Json& step) {
    const bool prefix = json_get(step, "add_prefix_space", true, origin_);
    result_.byte_level = true;
    result_.add_prefix_space = prefix && steps_.empty() && bytes_as_they_are_;
    if (prefix && !result_.add_prefix_space) steps_.push_back(make_space_prefixer());
    if (json_get(step, "use_regex", true, origin_)) steps_.push_back(make_scanner(SplitPattern::kGpt2));
    if (!bytes_as_they_are_) steps_.push_back(make_byte_alphabet_writer());
  }

  std::unique_ptr<PreTokenizer> make_split(const Json& step) const {
    const auto behavior = behavior_named(json_require<std::string>(step, "behavior", origin_), origin_);
    const bool invert = json_get(step, "invert", false, origin_);
    const std::string regex = pattern_regex(step, origin_);
    // Inverted and removed keeps the matches and drops the rest. Before ByteLevel the known patterns match everything,
    // so that isolating comes to the same; and where a pattern does not, nothing of the text is lost.
    if (bytes_as_they_are_ && behavior == SplitBehavior::kRemoved && invert) return make_regex_splitter(regex, origin_);
    return make_match_splitter(regex, behavior, invert, origin_);
  }

  std::unique_ptr<PreTokenizer> make(const std::string& type, const Json& step) const {
    if (type == "Split") return make_split(step);
    if (type == "Metaspace") return make_metaspace_splitter(metaspace_options(step, origin_));
    if (type == "BertPreTokenizer") return make_bert_splitter();
    if (type == "WhitespaceSplit") return make_property_splitter(kWhiteSpace, SplitBehavior::kRemoved);
    if (type == "Whitespace") return make_match_splitter(kWordsAndOthers, SplitBehavior::kRemoved, true, origin_);
    if (type == "Punctuation") {
      const auto behavior = json_get<std::string>(step, "behavior", "Isolated", origin_);
      return make_property_splitter(kPunctuation, behavior_named(behavior, origin_));
    }
    if (type == "Digits") {
      const bool single = json_get(step, "individual_digits", false, origin_);
      return make_regex_splitter(single ? "\\p{N}" : "\\p{N}+", origin_);
    }
    if (type == "CharDelimiterSplit") {
      const auto delimiter = json_require<std::string>(step, "delimiter", origin_);
      return make_match_splitter(quoted_regex(delimiter), SplitBehavior::kRemoved, false, origin_);
    }
    throw Error("{}: the pre-tokenizer \"{}\" is not supported", origin_, type);
  }

  bool bytes_as_they_are_;
  std::string_view origin_;
  std::vector<std::unique_ptr<PreTokenizer>> steps_;
  ParsedPreTokenizer result_;
};

}  // namespace

ParsedPreTokenizer parse_pre_tokenizer(const Json& section, bool bytes_as_they_are, std::string_view origin) {
  Parser parser(bytes_as_they_are, origin);
  if (!section.is_null()) parser.add(section);
  return parser.finish();
}

bool ends_with_byte_level(const Json& section) {
  const Json& type = section_of(section, "type");
  if (type == "ByteLevel") return true;
  const Json& steps = section_of(section, "pretokenizers");
  if (type != "Sequence" || !steps.is_array() || steps.empty()) return false;
  for (size_t i = 0; i + 1 < steps.size(); ++i) {
    const Json& step = section_of(steps[i], "type");
    if (step != "Split" && step != "Digits") return false;
  }
  return ends_with_byte_level(steps.back());
}

}  // namespace fledge::nn
