#include "train/new_model.h"

#include "base/error.h"

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

void check_gpt2(const Recipe::Model& model, std::string_view origin) {
  if (model.n_kv_head > 0 && model.n_kv_head != model.n_head)
    throw UsageError("{}: model.n_kv_head = {}, but GPT-2 has as many heads of keys as of queries, {}", origin,
                     model.n_kv_head, model.n_head);
  if (model.head_size > 0 && model.head_size * model.n_head != model.n_embd)
    throw UsageError("{}: model.head_size = {}, but GPT-2's {} heads share model.n_embd = {}", origin, model.head_size,
                     model.n_head, model.n_embd);
  if (!model.tie_embeddings) throw UsageError("{}: model.tie_embeddings = false, but GPT-2's head is tied", origin);
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
  base::Json config = model.family == "gpt2" ? gpt2_config(model) : llama_config(model);
  config["model_type"] = model.family;
  config["vocab_size"] = model.vocab_size != 0 ? model.vocab_size : tokens;
  config["bos_token_id"] = config["eos_token_id"] = end_of_text_id;
  return config;
}

void check_new_model(const Recipe::Model& model, std::string_view origin) {
  if (model.head_size == 0 && model.n_embd % model.n_head != 0)
    throw UsageError("{}: model.n_embd = {} cannot be divided among model.n_head = {} heads", origin, model.n_embd,
                     model.n_head);
  if (model.family == "gpt2") return check_gpt2(model, origin);
  check_llama(model, origin);
}

}  // namespace fledge::train
