#pragma once

#include <string>
#include <vector>

namespace fledge::cli {

class Verb;
struct Context;

struct ClassifyOptions {
  std::string model;
  std::vector<std::string> texts, pairs;  ///< pairs: none, or one for each text
  std::string file;                       ///< one text a line, or a table
  std::string text_column = "text", pair_column, label_column;
  std::string precision = "f32";
  bool json = false;
};

void add_classify_command(Verb app, Context& context);
/// Prints the label of each text with its probability; with a column of labels also how well they agree.
void run_classify(const ClassifyOptions& options);

}  // namespace fledge::cli
