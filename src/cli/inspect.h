#pragma once

#include <string>
#include <vector>

namespace fledge::cli {

class Verb;
struct Context;
struct CommonOptions;

/// What a model reads, as text.
struct IdOptions {
  std::string ids;          ///< rows of token ids: "1,2,3;4,5,6"
  std::string token_types;  ///< segments of an encoder, rows of the same lengths; empty: 0
  std::string lengths;      ///< tokens that count in every row of an encoder, the others are padding; empty: all
};

struct LogitsOptions {
  std::string model;                  ///< folder
  std::vector<std::string> adapters;  ///< "DIR" or "DIR=WEIGHT"
  IdOptions input;
  std::string out;  ///< safetensors file
  std::string precision = "f32";
};

struct GradsOptions {
  std::string model;
  IdOptions input;
  std::string targets;  ///< rows of the same lengths; a target of -100 is ignored
  std::string labels;   ///< of a model that labels texts, instead of targets: one for each row, or its number
  std::string out;
  std::string precision = "f32";
};

void add_logits_command(Verb app, Context& context);
void add_grads_command(Verb app, Context& context);

/// Writes the f32 logits [B, T, V] under the name `logits`; of an encoder alone its last hidden states [B, T, C] as
/// `hidden`; and whatever else the model gives by name (`pooled`).
void run_logits(const LogitsOptions& options, const CommonOptions& common);
/// Writes `loss` and the gradient of every parameter under its name.
void run_grads(const GradsOptions& options, const CommonOptions& common);

}  // namespace fledge::cli
