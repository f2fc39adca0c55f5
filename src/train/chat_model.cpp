#include "train/chat_model.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "models/formats/model_folder.h"
#include "models/gguf_model.h"
#include "models/language_model.h"
#include "models/model_io.h"
#include "models/store.h"
#include "nn/text/tokenizer_parts.h"

namespace fledge::train {
namespace {

constexpr const char* kTemplateFile = "chat_template.jinja";

struct KnownTemplate {
  std::string_view name, source;
  std::vector<std::string_view> tokens;  ///< special tokens that it writes
};

const std::vector<KnownTemplate>& known_templates() {
  static const std::vector<KnownTemplate> templates{
      {"chatml",
       "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
       "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
       {"<|im_start|>", "<|im_end|>"}},
      {"zephyr",
       "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}{{ eos_token }}\n"
       "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
       {}},
  };
  return templates;
}

std::shared_ptr<const nn::Tokenizer> with_tokens(nn::Tokenizer tokenizer, const std::vector<std::string>& added) {
  std::vector<std::string> missing;
  for (const std::string& token : added) {
    if (token.empty()) throw base::UsageError("data.add_tokens holds an empty text");
    const auto id = tokenizer.token_id(token);
    const bool is_there = id && tokenizer.is_special(*id);
    if (!is_there && std::ranges::find(missing, token) == missing.end()) missing.push_back(token);
  }
  if (missing.empty()) return std::make_shared<const nn::Tokenizer>(std::move(tokenizer));
  // Parts cannot be copied: they are written and read again.
  nn::TokenizerParts parts = nn::parse_tokenizer_json(nn::tokenizer_json(tokenizer.parts()), "the model's tokenizer");
  parts.config = tokenizer.parts().config;
  int32_t id = tokenizer.vocabulary_size();
  for (const std::string& token : missing) {
    nn::AddedToken entry;
    entry.id = id++;
    entry.content = token;
    entry.special = true;
    parts.added_tokens.push_back(std::move(entry));
  }
  return std::make_shared<const nn::Tokenizer>(std::move(parts));
}

std::shared_ptr<const nn::ChatTemplate> own_template(const ChatModel& model) {
  if (std::filesystem::is_directory(model.path)) {
    if (auto loaded = nn::ChatTemplate::load(model.path)) {
      return std::make_shared<const nn::ChatTemplate>(std::move(*loaded));
    }
  }
  const base::Json& config = model.tokenizer->parts().config;
  if (!config.is_object() || !config.contains("chat_template") || !config["chat_template"].is_string()) return nullptr;
  return std::make_shared<const nn::ChatTemplate>(config["chat_template"].get<std::string>(), model.path.string(),
                                                  nn::special_token_texts(config));
}

/// eos_token and the others. A model whose configuration names none may still have the usual one.
std::map<std::string, std::string> special_texts(const nn::Tokenizer& tokenizer) {
  std::map<std::string, std::string> texts = nn::special_token_texts(tokenizer.parts().config);
  if (!texts.contains("eos_token") && tokenizer.token_id("<|endoftext|>")) texts["eos_token"] = "<|endoftext|>";
  return texts;
}

std::shared_ptr<const nn::ChatTemplate> given_template(const ChatModel& model, const std::string& name) {
  const std::map<std::string, std::string> texts = special_texts(*model.tokenizer);
  const auto known = std::ranges::find(known_templates(), std::string_view(name), &KnownTemplate::name);
  if (known == known_templates().end()) {
    if (!std::filesystem::exists(name)) {
      throw base::UsageError("chat.template is \"{}\", which is neither chatml, nor zephyr, nor a file with a template",
                             name);
    }
    return std::make_shared<const nn::ChatTemplate>(base::read_file(name), name, texts);
  }
  std::vector<std::string> missing;
  for (const std::string_view token : known->tokens) {
    const auto id = model.tokenizer->token_id(token);
    if (!id || !model.tokenizer->is_special(*id)) missing.push_back(fmt::format("\"{}\"", token));
  }
  if (!missing.empty()) {
    throw base::Error(
        "{}: the template {} needs the special tokens {}, which the tokenizer has not; data.add_tokens = [{}] adds "
        "them, "
        "each with a new row of the embedding",
        model.path.string(), name, fmt::join(missing, " and "), fmt::join(missing, ", "));
  }
  if (!texts.contains("eos_token"))
    throw base::Error("{}: the template {} ends turns with the tokenizer's eos_token, and it has none",
                      model.path.string(), name);
  return std::make_shared<const nn::ChatTemplate>(known->source, "the template " + name, texts);
}

base::Json generation_config_of(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return base::Json::object();
  const std::filesystem::path file = path / models::kGenerationConfigFile;
  base::Json config = std::filesystem::exists(file) ? base::read_json(file) : base::Json::object();
  return config.is_object() ? config : base::Json::object();
}

void add_end_tokens(const base::Json& config, std::vector<int32_t>& tokens) {
  const auto found = config.find("eos_token_id");
  if (found == config.end()) return;
  if (found->is_number_integer()) tokens.push_back(found->get<int32_t>());
  if (!found->is_array()) return;
  for (const base::Json& token : *found) {
    if (token.is_number_integer()) tokens.push_back(token.get<int32_t>());
  }
}

}  // namespace

ChatModel open_chat_model(const std::string& name, const std::string& chat_template,
                          const std::vector<std::string>& add_tokens) {
  ChatModel model;
  model.path = models::resolve_model(name);
  model.tokenizer = with_tokens(models::load_tokenizer(model.path), add_tokens);
  const base::Json config = models::read_config(model.path);
  model.context_length = models::make_model(config, model.path.string())->context_length();
  model.generation_config = generation_config_of(model.path);
  if (!model.generation_config.contains("eos_token_id") && config.contains("eos_token_id"))
    model.generation_config["eos_token_id"] = config["eos_token_id"];
  if (chat_template.empty()) {
    model.chat_template = own_template(model);
    model.has_own_template = true;
    if (!model.chat_template) {
      throw base::Error(
          "{}: the model has no chat template (it is a base model); choose one with chat.template = \"chatml\", "
          "\"zephyr\" or a file",
          model.path.string());
    }
  } else {
    model.chat_template = given_template(model, chat_template);
  }
  return model;
}

void write_chat_files(const ChatModel& model, const std::vector<int32_t>& end_of_turn,
                      const std::filesystem::path& folder) {
  model.tokenizer->save(folder);
  const bool has_file =
      std::filesystem::is_directory(model.path) && std::filesystem::exists(model.path / kTemplateFile);
  if (!model.has_own_template || has_file) base::write_file(folder / kTemplateFile, model.chat_template->source());
  const std::filesystem::path config_file = folder / "tokenizer_config.json";
  base::Json config = std::filesystem::exists(config_file) ? base::read_json(config_file) : base::Json::object();
  if (!model.has_own_template) config["chat_template"] = model.chat_template->source();
  for (const auto& [name, text] : special_texts(*model.tokenizer)) {
    if (!config.contains(name) || config[name].is_null()) config[name] = text;
  }
  models::write_pretty_json(config_file, config);

  std::vector<int32_t> ends = end_of_turn;
  add_end_tokens(model.generation_config, ends);
  if (const auto end = model.tokenizer->end_token()) ends.push_back(*end);
  std::ranges::sort(ends);
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
  base::Json generation = model.generation_config;
  if (ends.size() == 1) generation["eos_token_id"] = ends.front();
  if (ends.size() > 1) generation["eos_token_id"] = ends;
  models::write_pretty_json(folder / models::kGenerationConfigFile, generation);
}

}  // namespace fledge::train
