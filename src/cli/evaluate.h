#pragma once

#include <cstdint>
#include <string>

namespace CLI {
class App;
}

namespace fledge::cli {

struct Context;
struct CommonOptions;

struct EvaluateOptions {
  std::string model;       ///< folder
  std::string perplexity;  ///< text file
  int64_t chunk = 0;       ///< tokens of a chunk whose second half is scored; 0: windows by stride
  int64_t stride = 0;      ///< tokens between windows; 0: the model's context
  std::string precision = "auto";
  bool json = false;
};

void add_eval_command(CLI::App& app, Context& context);

/// Loss per token, perplexity and bits per byte of a text.
void run_eval(const EvaluateOptions& options, const CommonOptions& common);

}  // namespace fledge::cli
