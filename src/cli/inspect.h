#pragma once

#include <string>

namespace CLI {
class App;
}

namespace fledge::cli {

struct Context;
struct CommonOptions;

struct LogitsOptions {
  std::string model;  ///< folder
  std::string ids;    ///< rows of token ids: "1,2,3;4,5,6"
  std::string out;    ///< safetensors file
  std::string precision = "f32";
};

struct GradsOptions {
  std::string model;
  std::string ids, targets;  ///< rows of the same lengths; a target of -100 is ignored
  std::string out;
  std::string precision = "f32";
};

void add_logits_command(CLI::App& app, Context& context);
void add_grads_command(CLI::App& app, Context& context);

/// Writes the f32 logits [B, T, V] under the name `logits`.
void run_logits(const LogitsOptions& options, const CommonOptions& common);
/// Writes `loss` and the gradient of every parameter under its name.
void run_grads(const GradsOptions& options, const CommonOptions& common);

}  // namespace fledge::cli
