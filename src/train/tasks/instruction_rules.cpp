#include "train/tasks/instruction_rules.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/nearest.h"
#include "base/terminal.h"
#include "base/text.h"
#include "nn/text/regex.h"

namespace fledge::train {
namespace {

using base::Error;

enum class ValueKind : uint8_t { none, text, count };

struct RuleKind {
  std::string_view name;
  ValueKind value;
  std::string_view words;  ///< {} stands for the value
  bool (*check)(const InstructionRule& rule, const Answer& answer);
};

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

/// Lines that are not empty.
int64_t count_lines(std::string_view text) {
  int64_t lines = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines += !base::trimmed(text.substr(begin, end - begin)).empty();
    begin = end + 1;
  }
  return lines;
}

bool holds(const Answer& answer, const std::string& text) {
  return lower(answer.text).find(lower(text)) != std::string::npos;
}

bool is_json(std::string_view text) {
  const auto parsed = base::Json::parse(base::trimmed(text), nullptr, false);
  return parsed.is_object() || parsed.is_array();
}

bool matches(const std::string& expression, const std::string& text) {
  size_t begin = 0, end = 0;
  return nn::Regex(expression, "a rule").find(text, 0, begin, end);
}

bool has_letters_of(const std::string& text, int (*is_wanted)(int), int (*is_unwanted)(int)) {
  const auto any = [&](int (*is)(int)) {
    return std::ranges::any_of(text, [&](char c) { return is(static_cast<unsigned char>(c)) != 0; });
  };
  return any(is_wanted) && !any(is_unwanted);
}

constexpr std::array kKinds = {
    RuleKind{"ended", ValueKind::none, "ends by itself",
             [](const InstructionRule&, const Answer& a) { return a.ended && !base::trimmed(a.text).empty(); }},
    RuleKind{"max_words", ValueKind::count, "at most {} words",
             [](const InstructionRule& r, const Answer& a) {
               return base::count_words(a.text) > 0 && base::count_words(a.text) <= r.count;
             }},
    RuleKind{"min_words", ValueKind::count, "at least {} words",
             [](const InstructionRule& r, const Answer& a) { return base::count_words(a.text) >= r.count; }},
    RuleKind{"lines", ValueKind::count, "{} lines",
             [](const InstructionRule& r, const Answer& a) { return count_lines(a.text) == r.count; }},
    RuleKind{"contains", ValueKind::text, "holds \"{}\"",
             [](const InstructionRule& r, const Answer& a) { return holds(a, r.text); }},
    RuleKind{
        "excludes", ValueKind::text, "does not hold \"{}\"",
        [](const InstructionRule& r, const Answer& a) { return !base::trimmed(a.text).empty() && !holds(a, r.text); }},
    RuleKind{"starts_with", ValueKind::text, "begins with \"{}\"",
             [](const InstructionRule& r, const Answer& a) {
               return lower(base::trimmed(a.text)).starts_with(lower(r.text));
             }},
    RuleKind{"ends_with", ValueKind::text, "ends with \"{}\"",
             [](const InstructionRule& r, const Answer& a) {
               return lower(base::trimmed(a.text)).ends_with(lower(r.text));
             }},
    RuleKind{"matches", ValueKind::text, "matches {}",
             [](const InstructionRule& r, const Answer& a) { return matches(r.text, a.text); }},
    RuleKind{"json", ValueKind::none, "is JSON",
             [](const InstructionRule&, const Answer& a) { return is_json(a.text); }},
    RuleKind{
        "uppercase", ValueKind::none, "is in capitals",
        [](const InstructionRule&, const Answer& a) { return has_letters_of(a.text, std::isupper, std::islower); }},
    RuleKind{
        "lowercase", ValueKind::none, "has no capitals",
        [](const InstructionRule&, const Answer& a) { return has_letters_of(a.text, std::islower, std::isupper); }},
};

const RuleKind& kind_of(std::string_view name, const std::string& where) {
  std::vector<std::string> names;
  for (const RuleKind& kind : kKinds) {
    if (kind.name == name) return kind;
    names.emplace_back(kind.name);
  }
  const std::string near = base::nearest(name, names);
  throw Error("{}: there is no rule \"{}\"{}", where, base::printable(name),
              near.empty() ? "" : "; did you mean " + near + "?");
}

InstructionRule parse_rule(const base::Json& json, const std::string& where) {
  InstructionRule rule;
  rule.kind = base::json_require<std::string>(json, "rule", where);
  const RuleKind& kind = kind_of(rule.kind, where);
  if (kind.value == ValueKind::text) {
    rule.text = base::json_require<std::string>(json, "value", where);
    if (rule.text.empty()) throw Error("{}: the rule {} has an empty value", where, rule.kind);
    // A bad expression is refused here and not after the answer was made.
    if (rule.kind == "matches") nn::Regex(rule.text, where);
  }
  if (kind.value == ValueKind::count) {
    rule.count = base::json_require<int64_t>(json, "value", where);
    if (rule.count < 1)
      throw Error("{}: the rule {} has the value {}, expected 1 or more", where, rule.kind, rule.count);
  }
  return rule;
}

Instruction parse_instruction(const base::Json& line, const std::string& where) {
  if (!line.is_object()) throw Error("{}: holds no JSON object", where);
  Instruction instruction;
  instruction.prompt = base::json_require<std::string>(line, "prompt", where);
  instruction.system = base::json_get<std::string>(line, "system", "", where);
  if (base::trimmed(instruction.prompt).empty()) throw Error("{}: the prompt is empty", where);
  if (line.contains("rules")) {
    if (!line["rules"].is_array()) throw Error("{}: \"rules\" is no list", where);
    for (const base::Json& rule : line["rules"]) instruction.rules.push_back(parse_rule(rule, where));
  }
  return instruction;
}

constexpr const char* kStandard =
    R"({"prompt": "What is the capital of France? Answer in one short sentence.", "rules": [{"rule": "contains", "value": "Paris"}, {"rule": "max_words", "value": 20}, {"rule": "ended"}]}
{"prompt": "Name three colours, each on its own line, and nothing else.", "rules": [{"rule": "lines", "value": 3}, {"rule": "max_words", "value": 15}, {"rule": "ended"}]}
{"prompt": "Write a JSON object with the keys \"name\" and \"age\" for a person called Ada who is 36. Output only the JSON.", "rules": [{"rule": "json"}, {"rule": "contains", "value": "Ada"}, {"rule": "contains", "value": "36"}, {"rule": "ended"}]}
{"prompt": "Answer with yes or no: is the sun a star?", "rules": [{"rule": "starts_with", "value": "yes"}, {"rule": "ended"}]}
{"prompt": "Write one sentence about the sea without using the word water.", "rules": [{"rule": "excludes", "value": "water"}, {"rule": "contains", "value": "sea"}, {"rule": "max_words", "value": 40}, {"rule": "ended"}]}
{"prompt": "What is 7 plus 5? Answer with the number only.", "rules": [{"rule": "matches", "value": "\\b12\\b"}, {"rule": "max_words", "value": 3}, {"rule": "ended"}]}
{"prompt": "Explain in at least 40 words why people sleep.", "rules": [{"rule": "min_words", "value": 40}, {"rule": "contains", "value": "sleep"}, {"rule": "ended"}]}
{"prompt": "Write the word hello in capital letters and nothing else.", "rules": [{"rule": "uppercase"}, {"rule": "contains", "value": "HELLO"}, {"rule": "max_words", "value": 3}, {"rule": "ended"}]}
{"prompt": "List the days of the weekend in a JSON array of strings. Output only the array.", "rules": [{"rule": "json"}, {"rule": "contains", "value": "Saturday"}, {"rule": "contains", "value": "Sunday"}, {"rule": "ended"}]}
{"prompt": "Finish your answer with the words The end. Tell a story of two sentences about a cat.", "rules": [{"rule": "contains", "value": "cat"}, {"rule": "matches", "value": "The end\\.?\"?\\s*$"}, {"rule": "ended"}]}
{"prompt": "Reply in lower case letters only: how do you greet a friend?", "rules": [{"rule": "lowercase"}, {"rule": "ended"}]}
{"system": "You are terse. You answer in at most ten words.", "prompt": "What do bees make?", "rules": [{"rule": "contains", "value": "honey"}, {"rule": "max_words", "value": 10}, {"rule": "ended"}]}
{"prompt": "Give the opposite of the word hot. One word.", "rules": [{"rule": "contains", "value": "cold"}, {"rule": "max_words", "value": 2}, {"rule": "ended"}]}
{"prompt": "Which is larger, 9 or 4? Begin your answer with the larger number.", "rules": [{"rule": "starts_with", "value": "9"}, {"rule": "ended"}]}
{"prompt": "Translate into French: good morning.", "rules": [{"rule": "contains", "value": "bonjour"}, {"rule": "max_words", "value": 25}, {"rule": "ended"}]}
{"prompt": "How many legs does a spider have?", "rules": [{"rule": "matches", "value": "(?i)\\b(8|eight)\\b"}, {"rule": "ended"}]}
)";

}  // namespace

const std::vector<std::pair<std::string, std::string>>& instruction_rule_kinds() {
  static const std::vector<std::pair<std::string, std::string>> kinds = [] {
    std::vector<std::pair<std::string, std::string>> all;
    for (const RuleKind& kind : kKinds) all.emplace_back(kind.name, kind.words);
    return all;
  }();
  return kinds;
}

bool follows(const InstructionRule& rule, const Answer& answer) {
  return kind_of(rule.kind, "a rule").check(rule, answer);
}

std::string describe(const InstructionRule& rule) {
  const RuleKind& kind = kind_of(rule.kind, "a rule");
  std::string words(kind.words);
  const size_t place = words.find("{}");
  if (place != std::string::npos)
    words.replace(place, 2, kind.value == ValueKind::count ? std::to_string(rule.count) : rule.text);
  return words;
}

std::vector<Instruction> parse_instructions(std::string_view text, const std::string& origin) {
  std::vector<Instruction> instructions;
  const bool is_plain = origin.ends_with(".txt");
  int64_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = base::trimmed(text.substr(begin, end - begin));
    begin = end + 1;
    ++number;
    if (line.empty()) continue;
    const std::string where = fmt::format("{}:{}", origin, number);
    instructions.push_back(is_plain ? Instruction{{}, std::string(line), {}}
                                    : parse_instruction(base::parse_json(line, where), where));
  }
  if (instructions.empty()) throw Error("{}: holds no prompts", origin);
  return instructions;
}

std::vector<Instruction> read_instructions(const std::filesystem::path& path) {
  const base::MappedFile file(path);
  return parse_instructions(file.text(), path.string());
}

const std::vector<Instruction>& standard_instructions() {
  static const std::vector<Instruction> instructions = parse_instructions(kStandard, "the standard prompts");
  return instructions;
}

}  // namespace fledge::train
