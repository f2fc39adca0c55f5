#include "cli/classify.h"

#include <memory>

#include "cli/common.h"
#include "cli/sampling_options.h"

namespace fledge::cli {

void add_classify_command(Verb app, Context& context) {
  auto options = std::make_shared<ClassifyOptions>();
  Verb verb = add_verb(app, context, "classify", "Says which label a text has, by a model trained for that.",
                       "fledge classify runs/bert-classify --text \"a dull film\" --json\n"
                       "fledge classify runs/bert-classify --file test.tsv --label-column label");
  verb.group("Use");
  verb.add_option("MODEL", options->model, "An encoder with a head of labels (`objective.kind = \"classify\"`)")
      .required();
  verb.add_option("--text", options->texts, "A text; may be given several times")
      .type_name("TEXT")
      .allow_extra_args(false)
      .group("Input");
  verb.add_option("--pair", options->pairs, "The second text of a pair, one for each --text")
      .type_name("TEXT")
      .allow_extra_args(false)
      .group("Input");
  verb.add_option("--file", options->file, "A file with one text a line, or a .csv, .tsv or .jsonl table")
      .type_name("FILE")
      .group("Input");
  verb.add_option("--text-column", options->text_column, "The table's column of texts (default: text)")
      .type_name("NAME")
      .group("Input");
  verb.add_option("--pair-column", options->pair_column, "Its column of second texts").type_name("NAME").group("Input");
  verb.add_option("--label-column", options->label_column,
                  "Its column of labels: says how often the model agrees, with the confusion matrix")
      .type_name("NAME")
      .group("Input");
  add_precision_option(verb, options->precision, "f32");
  add_json_option(verb, options->json, "Labels and probabilities, or the metrics, as one JSON object");
  verb.callback([options, &context] { context.run = [options] { run_classify(*options); }; });
}

}  // namespace fledge::cli
