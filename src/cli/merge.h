#pragma once

#include <string>
#include <vector>

namespace fledge::cli {

class Verb;
struct Context;
struct CommonOptions;

struct MergeOptions {
  std::string model;
  std::vector<std::string> adapters;
  std::string out;
  std::string weights = "as stored";
  bool json = false;
};

void add_merge_command(Verb app, Context& context);

/// Writes a model with the changes of adapters added to its weights.
void run_merge(const MergeOptions& options, const CommonOptions& common);

}  // namespace fledge::cli
