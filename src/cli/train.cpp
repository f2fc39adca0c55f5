#include "cli/train.h"

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "base/terminal.h"
#include "cli/common.h"
#include "train/recipe.h"

namespace fledge::cli {

void show_recipe_keys(bool markdown) {
  const int width = std::min(base::describe_terminal(1).width, 100);
  print(markdown ? train::recipe_reference_markdown() : train::recipe_reference_text(width));
}

void add_train_command(Verb app, Context& context) {
  auto options = std::make_shared<TrainOptions>();
  Verb verb = add_verb(app, context, "train", "Trains a model as a recipe says.",
                       "fledge train recipes/gpt2-austen.toml\n"
                       "fledge train recipes/gpt2-austen.toml --set minutes=1 --set run.out=runs/trial\n"
                       "fledge train recipes/gpt2-austen.toml --resume");
  verb.group("Make");
  verb.add_option("RECIPE.toml", options->recipe, "The recipe; docs/recipes.md and --keys explain it");
  verb.add_option("--set", options->overrides, "Change a key of the recipe for this run; may be given several times")
      .type_name("KEY=VALUE")
      .allow_extra_args(false)
      .group("Recipe");
  verb.add_flag("--strict", options->strict,
                "Stop at the first record of a chat file that cannot be used: --set data.strict=true")
      .group("Recipe");
  verb.add_flag("--keys", options->keys, "List every key with its default, range and meaning, and stop")
      .group("Recipe");
  verb.add_flag("--markdown", options->markdown, "With --keys: as a Markdown table").group("Recipe");
  verb.add_flag("--resume", options->resume,
                "Go on from the newest checkpoint in the run's folder, to the same bytes as an unbroken run")
      .group("Run");
  verb.add_flag("--dry-run", options->dry_run, "Say what the run needs (parameters, tokens, memory, time), and stop")
      .group("Run");
  add_json_option(verb, options->json, "Each record of the metrics, or the plan of --dry-run, as a line of JSON");
  verb.callback([options, &context] {
    context.run = [options, &context] {
      if (options->markdown && !options->keys) throw base::UsageError("--markdown is for --keys; add --keys");
      if (options->keys) return show_recipe_keys(options->markdown);
      if (options->recipe.empty())
        throw base::UsageError("`fledge train` needs RECIPE.toml, for example recipes/gpt2-austen.toml");
      if (options->strict) options->overrides.emplace_back("data.strict=true");
      run_train(*options, context.common);
    };
  });
}

}  // namespace fledge::cli
