#include "cli/inspect.h"

#include <memory>

#include "cli/adapter_options.h"
#include "cli/common.h"
#include "cli/sampling_options.h"

namespace fledge::cli {
namespace {

void add_ids(Verb verb, std::string& model, IdOptions& input, std::string& out, const std::string& content) {
  verb.add_option("DIR", model, "Folder of the model, or of a run").required();
  verb.add_option("--ids", input.ids, "Token ids; rows are separated by semicolons and have the same length")
      .type_name("IDS")
      .required()
      .group("Input");
  verb.add_option("--token-types", input.token_types, "Segment of every token, for BERT (default: 0)")
      .type_name("IDS")
      .group("Input");
  verb.add_option("--lengths", input.lengths, "Tokens that count in each row, for BERT; the rest is padding")
      .type_name("N,...")
      .group("Input");
  verb.add_option("--out", out, content).type_name("FILE").required().group("Output");
}

}  // namespace

void add_logits_command(Verb app, Context& context) {
  auto options = std::make_shared<LogitsOptions>();
  Verb verb = add_verb(app, context, "logits", "Writes a model's logits for given tokens, for comparison with others.",
                       "fledge logits runs/austen/model --ids 1,2,3 --out logits.safetensors");
  verb.group("Measure");
  add_ids(verb, options->model, options->input, options->out,
          "Receives the f32 tensor `logits` [B, T, V], or `hidden` [B, T, C] of an encoder");
  add_adapter_option(verb, options->adapters);
  add_precision_option(verb, options->precision, "f32");
  verb.callback([options, &context] { context.run = [options, &context] { run_logits(*options, context.common); }; });
}

void add_grads_command(Verb app, Context& context) {
  auto options = std::make_shared<GradsOptions>();
  Verb verb = add_verb(app, context, "grads",
                       "Writes the loss and the gradient of every parameter, for comparison with others.",
                       "fledge grads runs/austen/model --ids 1,2,3 --targets 2,3,4 --out grads.safetensors");
  verb.group("Measure");
  add_ids(verb, options->model, options->input, options->out,
          "Receives `loss` and each gradient under its parameter's name");
  verb.add_option("--targets", options->targets, "The token to predict at each place; -100 is left out of the loss")
      .type_name("IDS")
      .group("Input");
  verb.add_option("--labels", options->labels, "Instead, of a model that labels texts: each row's label, or its number")
      .type_name("N,...")
      .group("Input");
  add_precision_option(verb, options->precision, "f32");
  verb.callback([options, &context] { context.run = [options, &context] { run_grads(*options, context.common); }; });
}

}  // namespace fledge::cli
