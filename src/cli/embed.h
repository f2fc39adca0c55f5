#pragma once

#include <string>
#include <vector>

namespace fledge::cli {

class Verb;
struct Context;

struct EmbedOptions {
  std::string model;
  std::vector<std::string> texts;
  std::string file;  ///< one text a line
  std::string precision = "f32";
  bool json = false;
};

void add_embed_command(Verb app, Context& context);
void run_embed(const EmbedOptions& options);

}  // namespace fledge::cli
