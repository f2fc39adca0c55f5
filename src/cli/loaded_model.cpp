#include "cli/loaded_model.h"

#include <set>

#include "base/error.h"
#include "base/json.h"
#include "cli/adapter_options.h"
#include "cli/chat_session.h"
#include "models/gguf_model.h"
#include "nn/text/tokenizer_parts.h"
#include "tensor/cpu_features.h"
#include "tensor/matmul.h"

namespace fledge::cli {

tensor::DType activation_type_of(const std::string& precision) {
  if (precision == "bf16") return tensor::DType::bf16;
  if (precision == "f32") return tensor::DType::f32;
  return tensor::native_bf16() ? tensor::DType::bf16 : tensor::DType::f32;
}

std::string precision_for_text(const std::string& precision) {
  return precision == "auto" && tensor::packs_bf16() ? "bf16" : precision;
}

OpenedModel open_model(const std::string& path, const std::string& precision, bool trainable,
                       const std::vector<std::string>& adapters) {
  return open_model(path, precision, trainable, parse_adapters(adapters));
}

OpenedModel open_model(const std::string& path, const std::string& precision, bool trainable,
                       std::vector<models::AdapterSource> adapters) {
  OpenedModel opened;
  std::string base = path;
  if (const std::filesystem::path folder = models::find_adapter(path); !folder.empty()) {
    base = models::AdapterConfig::read(folder).base_model;
    if (base.empty()) {
      throw base::Error("{}: {} does not name the base model; give the model itself and --adapter {}", folder.string(),
                        models::kAdapterConfigFile, path);
    }
    adapters.insert(adapters.begin(), parse_adapter(path, adapters));
  }
  opened.folder = models::resolve_model_folder(base);
  opened.loaded = models::load_model(opened.folder, {.trainable = trainable, .adapters = std::move(adapters)});
  opened.activation_type = activation_type_of(precision);
  return opened;
}

nn::Tokenizer open_tokenizer(OpenedModel& opened) {
  nn::Tokenizer tokenizer = models::load_tokenizer(opened.folder);
  if (tokenizer.vocabulary_size() > opened.model().vocabulary_size()) {
    throw base::Error("{}: the tokenizer has {} tokens and the model {}", opened.folder.string(),
                      tokenizer.vocabulary_size(), opened.model().vocabulary_size());
  }
  return tokenizer;
}

int32_t end_token_of(OpenedModel& opened, const nn::Tokenizer& tokenizer) {
  if (const auto end = tokenizer.end_token()) return *end;
  const base::Json config = opened.model().generation_config();
  return base::json_get<int32_t>(config, "eos_token_id", -1, opened.folder.string());
}

std::vector<int32_t> end_tokens_of(OpenedModel& opened, const nn::Tokenizer& tokenizer) {
  std::set<int32_t> tokens;
  if (const auto end = tokenizer.end_token()) tokens.insert(*end);
  const base::Json config = generation_config_of(opened);
  const auto found = config.find("eos_token_id");
  if (found != config.end()) {
    for (const base::Json& token : found->is_array() ? *found : base::Json::array({*found})) {
      if (token.is_number_integer()) tokens.insert(token.get<int32_t>());
    }
  }
  std::erase_if(tokens, [&](int32_t token) { return token < 0 || token >= tokenizer.vocabulary_size(); });
  return {tokens.begin(), tokens.end()};
}

std::optional<nn::ChatTemplate> chat_template_of(const OpenedModel& opened, const nn::Tokenizer& tokenizer) {
  if (std::filesystem::is_directory(opened.folder)) {
    if (auto loaded = nn::ChatTemplate::load(opened.folder)) return loaded;
  }
  const base::Json& config = tokenizer.parts().config;
  if (!config.is_object() || !config.contains("chat_template") || !config["chat_template"].is_string())
    return std::nullopt;
  return nn::ChatTemplate(config["chat_template"].get<std::string>(), opened.folder.string(),
                          nn::special_token_texts(config));
}

}  // namespace fledge::cli
