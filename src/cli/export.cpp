#include "cli/export.h"

#include <memory>

#include "cli/common.h"

namespace fledge::cli {
namespace {

constexpr const char* kModelHelp = "Folder of the model or of a run, a GGUF file, or a name in the store";

void add_own_head_option(Verb verb, ExportOptions& options) {
  verb.add_flag("--own-head", options.own_head,
                "Where the head is the embedding, write it as a tensor of its own, so that it can be trained alone")
      .group("Output");
}

}  // namespace

void add_import_command(Verb app, Context& context) {
  auto options = std::make_shared<ExportOptions>();
  Verb verb = add_verb(app, context, "import", "Writes a GGUF file as a Hugging Face folder, to train it further.",
                       "fledge import SmolLM2-135M-Instruct.Q4_1.gguf --out smollm2");
  verb.group("Files");
  verb.add_option("MODEL", options->model, kModelHelp).required();
  verb.add_option("--out", options->out, "Folder to write; an older one is replaced")
      .type_name("DIR")
      .required()
      .group("Output");
  add_own_head_option(verb, *options);
  verb.callback([options, &context] { context.run = [options, &context] { run_export(*options, context.common); }; });
}

void add_export_command(Verb app, Context& context) {
  auto options = std::make_shared<ExportOptions>();
  Verb verb = add_verb(app, context, "export", "Writes a model for other programs.",
                       "fledge export runs/austen/model --to gguf --type f16 --out austen.gguf\nfledge export "
                       "runs/austen/model --to hf --out austen");
  verb.group("Files");
  verb.add_option("MODEL", options->model, kModelHelp).required();
  verb.add_option("--to", options->to, "hf: a Hugging Face folder; gguf: a file for llama.cpp and its kin")
      .type_name("KIND")
      .one_of({"hf", "gguf"})
      .required()
      .group("Output");
  verb.add_option("--out", options->out, "Folder or file to write").type_name("PATH").required().group("Output");
  verb.add_option("--type", options->type,
                  "Type of a GGUF file's matrices: f32, f16, bf16, q8_0, q4_0, q4_1, q4_k, q6_k (default: as they are)")
      .type_name("TYPE")
      .one_of({"f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q4_k", "q6_k"})
      .group("Output");
  add_own_head_option(verb, *options);
  verb.callback([options, &context] { context.run = [options, &context] { run_export(*options, context.common); }; });
}

void add_quantize_command(Verb app, Context& context) {
  auto options = std::make_shared<QuantizeOptions>();
  Verb verb = add_verb(app, context, "quantize", "Makes a model smaller: fewer bits for each weight.",
                       "fledge quantize smollm2 --type q4_0 --text emma.txt");
  verb.group("Files");
  verb.add_option("MODEL", options->model, kModelHelp).required();
  verb.add_option("--type", options->type, "q8_0, q4_0, q4_1, q4_k or q6_k")
      .type_name("TYPE")
      .one_of({"q8_0", "q4_0", "q4_1", "q4_k", "q6_k"})
      .required()
      .group("Output");
  verb.add_option("--out", options->out, "GGUF file to write (default: MODEL.TYPE.gguf)")
      .type_name("FILE")
      .group("Output");
  verb.add_option("--text", options->text, "Text file on which perplexity is measured before and after")
      .type_name("FILE")
      .group("Measure");
  add_json_option(verb, options->json, "The numbers as one JSON object");
  verb.callback([options, &context] { context.run = [options, &context] { run_quantize(*options, context.common); }; });
}

}  // namespace fledge::cli
