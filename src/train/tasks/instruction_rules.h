#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "train/tasks/batch_answers.h"

namespace fledge::train {

/// Something that an answer must be, which a program can check.
struct InstructionRule {
  std::string kind;   ///< one of instruction_rule_kinds()
  std::string text;   ///< of the rules that look for a text or an expression
  int64_t count = 0;  ///< of the rules that count
};

/// A prompt and what the answer to it must be.
struct Instruction {
  std::string system;  ///< may be empty
  std::string prompt;
  std::vector<InstructionRule> rules;
};

/// The kinds of rules with what they ask: {"max_words", "at most so many words"}, ...
const std::vector<std::pair<std::string, std::string>>& instruction_rule_kinds();

/// Whether an answer keeps a rule.
bool follows(const InstructionRule& rule, const Answer& answer);

/// The rule in words: "at most 20 words", "holds \"Paris\"".
std::string describe(const InstructionRule& rule);

/// Reads prompts from JSON lines: {"prompt": TEXT, "system": TEXT, "rules": [{"rule": KIND, "value": TEXT or NUMBER}]};
/// a line of plain text is a prompt without rules where the file's name ends in .txt. Throws Error with file and line.
std::vector<Instruction> read_instructions(const std::filesystem::path& path);
std::vector<Instruction> parse_instructions(std::string_view text, const std::string& origin);

/// Prompts that come with fledge: short questions with lengths, formats and words that an answer must keep to.
const std::vector<Instruction>& standard_instructions();

}  // namespace fledge::train
