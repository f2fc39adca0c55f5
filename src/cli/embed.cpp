#include "cli/embed.h"

#include <fmt/format.h>

#include <cstdlib>
#include <memory>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/common.h"
#include "cli/loaded_model.h"
#include "cli/sampling_options.h"
#include "infer/embedder.h"

namespace fledge::cli {
namespace {

std::vector<std::string> all_texts(const EmbedOptions& options) {
  std::vector<std::string> texts = options.texts;
  if (!options.file.empty()) {
    const std::string content = base::read_file(options.file);
    for (size_t begin = 0; begin < content.size();) {
      const size_t end = std::min(content.find('\n', begin), content.size());
      texts.push_back(content.substr(begin, end - begin));
      begin = end + 1;
    }
  }
  if (texts.empty()) throw base::UsageError("`fledge embed` needs a text: --text TEXT or --file FILE");
  return texts;
}

/// The shortest decimal number that reads as this one.
double shortest(float value) {
  return std::strtod(fmt::format("{}", value).c_str(), nullptr);
}

}  // namespace

void run_embed(const EmbedOptions& options) {
  const std::vector<std::string> texts = all_texts(options);
  OpenedModel opened = open_model(options.model, options.precision, false);
  const auto settings = infer::EmbeddingSettings::read(opened.folder, opened.model());
  infer::Embedder embedder(opened.model(), opened.memory(), open_tokenizer(opened), settings, opened.activation_type);
  std::vector<std::vector<int32_t>> ids;
  std::vector<int64_t> dropped;
  for (const std::string& text : texts) {
    infer::TokenizedText tokens = embedder.tokenize(text);
    if (tokens.dropped > 0) {
      base::log_warning("text {} has {} tokens more than the {} that this model reads; they are left out",
                        ids.size() + 1, tokens.dropped, settings.max_tokens);
    }
    ids.push_back(std::move(tokens.ids));
    dropped.push_back(tokens.dropped);
  }
  const std::vector<std::vector<float>> vectors = embedder.embed_ids(ids);
  if (!options.json) {
    for (const auto& vector : vectors) print(fmt::format("{}\n", fmt::join(vector, " ")));
    return;
  }
  auto list = base::OrderedJson::array();
  for (size_t index = 0; index < texts.size(); ++index) {
    auto numbers = base::OrderedJson::array();
    for (const float value : vectors[index]) numbers.push_back(shortest(value));
    list.push_back({{"tokens", ids[index].size()}, {"dropped_tokens", dropped[index]}, {"embedding", numbers}});
  }
  const base::OrderedJson result{{"model", opened.folder.string()},
                                 {"dimension", embedder.dimension()},
                                 {"pooling", infer::name_of(settings.pooling)},
                                 {"normalized", settings.normalizes},
                                 {"embeddings", list}};
  print(result.dump() + "\n");
}

void add_embed_command(Verb app, Context& context) {
  auto options = std::make_shared<EmbedOptions>();
  Verb verb = add_verb(app, context, "embed", "Turns texts into vectors whose products say how alike they are.",
                       "fledge embed minilm --text \"a cat\" --text \"a kitten\" --json");
  verb.group("Use");
  verb.add_option("MODEL", options->model,
                  "An encoder such as BERT; pools as its modules.json says, or else by the mean, at length one")
      .required();
  verb.add_option("--text", options->texts, "A text; may be given several times")
      .type_name("TEXT")
      .allow_extra_args(false)
      .group("Input");
  verb.add_option("--file", options->file, "A file with one text a line").type_name("FILE").group("Input");
  add_precision_option(verb, options->precision, "f32");
  add_json_option(verb, options->json, "Vectors and token counts as one JSON object");
  verb.callback([options, &context] { context.run = [options] { run_embed(*options); }; });
}

}  // namespace fledge::cli
