#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fledge::cli {

class Verb;
struct Context;
struct CommonOptions;

struct CompareOptions {
  std::vector<std::string> models;
  std::string prompts;             ///< file; empty: the standard ones
  std::string text, chats;         ///< files; empty: none
  std::vector<std::string> tasks;  ///< files of JSON lines
  int64_t limit = 0;               ///< examples of each task and chats; 0: all
  int64_t max_tokens = 128;        ///< of an answer
  bool skip_answers = false, skip_speed = false;
  std::string html;  ///< file; empty: none
  std::string precision = "auto";
  bool json = false;
};

void add_compare_command(Verb app, Context& context);

/// Measures models alike and shows them side by side.
void run_compare(const CompareOptions& options, const CommonOptions& common);

}  // namespace fledge::cli
