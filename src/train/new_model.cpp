#include "train/new_model.h"

#include "base/error.h"
#include "base/json.h"

namespace fledge::train {
namespace {

using base::UsageError;

/// SwiGLU has three matrices where an ordinary feed-forward layer has two: two thirds of its usual 4 C make the same
/// number of weights (Shazeer, "GLU variants improve transformer", 2020, section 3).
int64_t gated_size(int64_t width) {
  constexpr int64_t kMultiple = 64;
  return (width * 8 / 3 + kMultiple - 1) / kMultiple * kMultiple;
}

base::Json gpt2_config(const Recipe::Model& model) {
  base::Json config = {{"n_layer", model.n_layer},
                       {"n_head", model.n_head},
                       {"n_embd", model.n_embd},
                       {"n_positions", model.n_positions},
                       {"embd_pdrop", model.embd_pdrop},
                       {"attn_pdrop", model.attn_pdrop},
                       {"resid_pdrop", model.resid_pdrop},
                       {"layer_norm_epsilon", model.layer_norm_epsilon},
                       {"activation_function", model.activation},
                       {"initializer_range", model.initializer_range}};
  if (model.n_inner > 0) config["n_inner"] = model.n_inner;
  return config;
}

base::Json llama_config(const Recipe::Model& model) {
  return {{"num_hidden_layers", model.n_layer},
          {"num_attention_heads", model.n_head},
          {"num_key_value_heads", model.n_kv_head > 0 ? model.n_kv_head : model.n_head},
          {"head_dim", model.head_size > 0 ? model.head_size : model.n_embd / model.n_head},
          {"hidden_size", model.n_embd},
          {"intermediate_size", model.n_inner > 0 ? model.n_inner : gated_size(model.n_embd)},
          {"max_position_embeddings", model.n_positions},
          {"attention_dropout", model.attn_pdrop},
          {"rms_norm_eps", model.layer_norm_epsilon},
          {"initializer_range", model.initializer_range},
          {"rope_theta", model.rope_theta},
          {"sliding_window", nullptr},
          {"tie_word_embeddings", model.tie_embeddings}};
}

base::Json bert_config(const Recipe::Model& model) {
  return {{"architectures", {"BertForMaskedLM"}},
          {"num_hidden_layers", model.n_layer},
          {"num_attention_heads", model.n_head},
          {"hidden_size", model.n_embd},
          {"intermediate_size", model.n_inner > 0 ? model.n_inner : 4 * model.n_embd},
          {"max_position_embeddings", model.n_positions},
          {"hidden_dropout_prob", model.resid_pdrop},
          {"attention_probs_dropout_prob", model.attn_pdrop},
          {"layer_norm_eps", model.layer_norm_epsilon},
          {"hidden_act", model.activation},
          {"initializer_range", model.initializer_range}};
}

void check_shared_width(const Recipe::Model& model, const char* family, std::string_view origin) {
  if (model.n_kv_head > 0 && model.n_kv_head != model.n_head)
    throw UsageError("{}: model.n_kv_head = {}, but {} has as many heads of keys as of queries, {}", origin,
                     model.n_kv_head, family, model.n_head);
  if (model.head_size > 0 && model.head_size * model.n_head != model.n_embd)
    throw UsageError("{}: model.head_size = {}, but {}'s {} heads share model.n_embd = {}", origin, model.head_size,
                     family, model.n_head, model.n_embd);
  if (!model.tie_embeddings)
    throw UsageError("{}: model.tie_embeddings = false, but {}'s head is tied", origin, family);
}

void check_bert(const Recipe::Model& model, std::string_view origin) {
  check_shared_width(model, "BERT", origin);
  if (model.embd_pdrop != model.resid_pdrop)
    throw UsageError("{}: model.embd_pdrop = {} and model.resid_pdrop = {}, but BERT has one dropout for both", origin,
                     model.embd_pdrop, model.resid_pdrop);
}

void check_llama(const Recipe::Model& model, std::string_view origin) {
  if (model.embd_pdrop > 0.0 || model.resid_pdrop > 0.0)
    throw UsageError("{}: model.embd_pdrop and model.resid_pdrop are GPT-2's; {} has model.attn_pdrop alone", origin,
                     model.family);
  if (model.n_kv_head > 0 && model.n_head % model.n_kv_head != 0)
    throw UsageError("{}: model.n_head = {} heads cannot share model.n_kv_head = {} heads of keys", origin,
                     model.n_head, model.n_kv_head);
  const int64_t size = model.head_size > 0 ? model.head_size : model.n_embd / model.n_head;
  if (size % 2 != 0) throw UsageError("{}: heads of {} elements; rotary positions need an even number", origin, size);
}

}  // namespace

base::Json new_model_config(const Recipe::Model& model, int64_t tokens, int64_t end_of_text_id) {
  if (model.vocab_size != 0 && model.vocab_size < tokens)
    throw UsageError("model.vocab_size is {}, but the tokenizer has {} tokens", model.vocab_size, tokens);
  base::Json config = model.family == "gpt2"   ? gpt2_config(model)
                      : model.family == "bert" ? bert_config(model)
                                               : llama_config(model);
  config["model_type"] = model.family;
  config["vocab_size"] = model.vocab_size != 0 ? model.vocab_size : tokens;
  config["bos_token_id"] = config["eos_token_id"] = end_of_text_id;
  return config;
}

Recipe::Model preset_model(Recipe::Model model) {
  struct Preset {
    std::string_view name;
    int64_t layers, width, heads;
  };
  // google-research/bert: the README's table of smaller models; a head is 64 wide, the inner layer 4 times the width.
  constexpr Preset kPresets[] = {{"bert-tiny", 2, 128, 2},
                                 {"bert-mini", 4, 256, 4},
                                 {"bert-small", 4, 512, 8},
                                 {"bert-medium", 8, 512, 8},
                                 {"bert-base", 12, 768, 12}};
  for (const Preset& preset : kPresets) {
    if (preset.name != model.preset) continue;
    model.family = "bert";
    model.n_layer = preset.layers;
    model.n_embd = preset.width;
    model.n_head = preset.heads;
    model.n_positions = 512;
    model.activation = "gelu";
    model.layer_norm_epsilon = 1e-12;
    return model;
  }
  throw UsageError("model.preset is \"{}\", which is not known", model.preset);
}

void check_new_model(const Recipe::Model& model, std::string_view origin) {
  if (model.head_size == 0 && model.n_embd % model.n_head != 0)
    throw UsageError("{}: model.n_embd = {} cannot be divided among model.n_head = {} heads", origin, model.n_embd,
                     model.n_head);
  if (model.family == "gpt2") return check_shared_width(model, "GPT-2", origin);
  if (model.family == "bert") return check_bert(model, origin);
  check_llama(model, origin);
}

}  // namespace fledge::train
