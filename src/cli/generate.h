#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/sampling_options.h"

namespace fledge::cli {

class Verb;
struct Context;
struct CommonOptions;

struct GenerateOptions {
  std::string model;                  ///< folder
  std::optional<std::string> prompt;  ///< nothing: standard input
  std::string prompt_ids;             ///< "1,2,3": the beginning as tokens; empty: the text
  std::vector<std::string> adapters;  ///< "DIR" or "DIR=WEIGHT"
  bool ignore_end = false;            ///< tokens that end a text do not end it
  std::string draft;                  ///< see open_drafting(); empty: nothing guesses ahead
  std::string json_schema;            ///< a file or the schema itself; empty: none
  std::string regex;                  ///< what the answer must match; empty: anything
  int64_t alternatives = 0;           ///< likeliest tokens to show beside each, with --json
  SamplingOptions sampling;
  bool json = false;
};

void add_generate_command(Verb app, Context& context);

/// Continues a prompt, streamed to standard output.
void run_generate(const GenerateOptions& options, const CommonOptions& common);

}  // namespace fledge::cli
