#pragma once

#include <string>
#include <vector>

namespace fledge::cli {

class Verb;
struct Context;
struct CommonOptions;

struct TrainOptions {
  std::string recipe;
  std::vector<std::string> overrides;  ///< KEY=VALUE
  bool strict = false;                 ///< data.strict=true
  bool resume = false;                 ///< go on from the newest checkpoint in the run's folder
  bool dry_run = false;                ///< say what the run needs, and stop
  bool json = false;                   ///< one JSON object for each metrics record, or for the plan
  bool keys = false;                   ///< list the recipe keys, and stop
  bool markdown = false;               ///< ... as Markdown
};

void add_train_command(Verb app, Context& context);

/// Trains as a recipe says.
void run_train(const TrainOptions& options, const CommonOptions& common);

/// `fledge train --keys`: every key of a recipe with its default, range and meaning.
void show_recipe_keys(bool markdown);

}  // namespace fledge::cli
