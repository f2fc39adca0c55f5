#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fledge::cli {

class Verb;
struct Context;
struct CommonOptions;

struct EvaluateOptions {
  std::string model;                  ///< folder
  std::vector<std::string> adapters;  ///< "DIR" or "DIR=WEIGHT"
  std::string perplexity;             ///< text file; empty: none
  std::vector<std::string> tasks;     ///< files of JSON lines
  int64_t limit = 0;                  ///< examples of each task; 0: all
  int64_t shots = 0;                  ///< solved examples before each question
  bool chat = false;                  ///< questions go through the chat template
  std::string answers;                ///< file that gets what the model said; empty: none
  int64_t chunk = 0;                  ///< tokens of a chunk whose second half is scored; 0: windows by stride
  int64_t stride = 0;                 ///< tokens between windows; 0: the model's context
  std::string precision = "auto";
  bool json = false;
};

void add_eval_command(Verb app, Context& context);

/// Loss per token, perplexity and bits per byte of a text; scores of tasks.
void run_eval(const EvaluateOptions& options, const CommonOptions& common);

}  // namespace fledge::cli
