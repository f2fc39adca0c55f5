#include "models/gguf_names.h"

#include <array>
#include <span>

#include "base/error.h"

namespace fledge::models {
namespace {

/// "{}" stands for the number of the layer.
struct Names {
  std::string_view gguf, hugging_face;
  GgufChange change = GgufChange::none;
};

constexpr std::array kLlama = {
    Names{"token_embd.weight", "model.embed_tokens.weight"},
    Names{"output_norm.weight", "model.norm.weight"},
    Names{"output.weight", "lm_head.weight"},
    Names{"blk.{}.attn_norm.weight", "model.layers.{}.input_layernorm.weight"},
    Names{"blk.{}.attn_q.weight", "model.layers.{}.self_attn.q_proj.weight", GgufChange::pair_query_rows},
    Names{"blk.{}.attn_k.weight", "model.layers.{}.self_attn.k_proj.weight", GgufChange::pair_key_rows},
    Names{"blk.{}.attn_v.weight", "model.layers.{}.self_attn.v_proj.weight"},
    Names{"blk.{}.attn_output.weight", "model.layers.{}.self_attn.o_proj.weight"},
    Names{"blk.{}.attn_q.bias", "model.layers.{}.self_attn.q_proj.bias", GgufChange::pair_query_rows},
    Names{"blk.{}.attn_k.bias", "model.layers.{}.self_attn.k_proj.bias", GgufChange::pair_key_rows},
    Names{"blk.{}.attn_v.bias", "model.layers.{}.self_attn.v_proj.bias"},
    Names{"blk.{}.attn_output.bias", "model.layers.{}.self_attn.o_proj.bias"},
    Names{"blk.{}.attn_q_norm.weight", "model.layers.{}.self_attn.q_norm.weight"},
    Names{"blk.{}.attn_k_norm.weight", "model.layers.{}.self_attn.k_norm.weight"},
    Names{"blk.{}.ffn_norm.weight", "model.layers.{}.post_attention_layernorm.weight"},
    Names{"blk.{}.ffn_gate.weight", "model.layers.{}.mlp.gate_proj.weight"},
    Names{"blk.{}.ffn_up.weight", "model.layers.{}.mlp.up_proj.weight"},
    Names{"blk.{}.ffn_down.weight", "model.layers.{}.mlp.down_proj.weight"},
    Names{"blk.{}.ffn_gate.bias", "model.layers.{}.mlp.gate_proj.bias"},
    Names{"blk.{}.ffn_up.bias", "model.layers.{}.mlp.up_proj.bias"},
    Names{"blk.{}.ffn_down.bias", "model.layers.{}.mlp.down_proj.bias"},
};

constexpr std::array kGpt2 = {
    Names{"token_embd.weight", "transformer.wte.weight"},
    Names{"position_embd.weight", "transformer.wpe.weight"},
    Names{"output_norm.weight", "transformer.ln_f.weight"},
    Names{"output_norm.bias", "transformer.ln_f.bias"},
    Names{"output.weight", "lm_head.weight"},
    Names{"blk.{}.attn_norm.weight", "transformer.h.{}.ln_1.weight"},
    Names{"blk.{}.attn_norm.bias", "transformer.h.{}.ln_1.bias"},
    Names{"blk.{}.attn_qkv.weight", "transformer.h.{}.attn.c_attn.weight", GgufChange::transpose},
    Names{"blk.{}.attn_qkv.bias", "transformer.h.{}.attn.c_attn.bias"},
    Names{"blk.{}.attn_output.weight", "transformer.h.{}.attn.c_proj.weight", GgufChange::transpose},
    Names{"blk.{}.attn_output.bias", "transformer.h.{}.attn.c_proj.bias"},
    Names{"blk.{}.ffn_norm.weight", "transformer.h.{}.ln_2.weight"},
    Names{"blk.{}.ffn_norm.bias", "transformer.h.{}.ln_2.bias"},
    Names{"blk.{}.ffn_up.weight", "transformer.h.{}.mlp.c_fc.weight", GgufChange::transpose},
    Names{"blk.{}.ffn_up.bias", "transformer.h.{}.mlp.c_fc.bias"},
    Names{"blk.{}.ffn_down.weight", "transformer.h.{}.mlp.c_proj.weight", GgufChange::transpose},
    Names{"blk.{}.ffn_down.bias", "transformer.h.{}.mlp.c_proj.bias"},
};

constexpr std::array kBert = {
    Names{"token_embd.weight", "bert.embeddings.word_embeddings.weight"},
    Names{"position_embd.weight", "bert.embeddings.position_embeddings.weight"},
    Names{"token_types.weight", "bert.embeddings.token_type_embeddings.weight"},
    Names{"token_embd_norm.weight", "bert.embeddings.LayerNorm.weight"},
    Names{"token_embd_norm.bias", "bert.embeddings.LayerNorm.bias"},
    Names{"blk.{}.attn_q.weight", "bert.encoder.layer.{}.attention.self.query.weight"},
    Names{"blk.{}.attn_q.bias", "bert.encoder.layer.{}.attention.self.query.bias"},
    Names{"blk.{}.attn_k.weight", "bert.encoder.layer.{}.attention.self.key.weight"},
    Names{"blk.{}.attn_k.bias", "bert.encoder.layer.{}.attention.self.key.bias"},
    Names{"blk.{}.attn_v.weight", "bert.encoder.layer.{}.attention.self.value.weight"},
    Names{"blk.{}.attn_v.bias", "bert.encoder.layer.{}.attention.self.value.bias"},
    Names{"blk.{}.attn_output.weight", "bert.encoder.layer.{}.attention.output.dense.weight"},
    Names{"blk.{}.attn_output.bias", "bert.encoder.layer.{}.attention.output.dense.bias"},
    Names{"blk.{}.attn_output_norm.weight", "bert.encoder.layer.{}.attention.output.LayerNorm.weight"},
    Names{"blk.{}.attn_output_norm.bias", "bert.encoder.layer.{}.attention.output.LayerNorm.bias"},
    Names{"blk.{}.ffn_up.weight", "bert.encoder.layer.{}.intermediate.dense.weight"},
    Names{"blk.{}.ffn_up.bias", "bert.encoder.layer.{}.intermediate.dense.bias"},
    Names{"blk.{}.ffn_down.weight", "bert.encoder.layer.{}.output.dense.weight"},
    Names{"blk.{}.ffn_down.bias", "bert.encoder.layer.{}.output.dense.bias"},
    Names{"blk.{}.layer_output_norm.weight", "bert.encoder.layer.{}.output.LayerNorm.weight"},
    Names{"blk.{}.layer_output_norm.bias", "bert.encoder.layer.{}.output.LayerNorm.bias"},
};

struct Architecture {
  std::string_view name, prefix;
  std::span<const Names> names;
};
constexpr std::array kArchitectures = {Architecture{"llama", "model.", kLlama}, Architecture{"qwen2", "model.", kLlama},
                                       Architecture{"qwen3", "model.", kLlama},
                                       Architecture{"gpt2", "transformer.", kGpt2},
                                       Architecture{"bert", "bert.", kBert}};

const Architecture* find_architecture(std::string_view name) {
  for (const Architecture& entry : kArchitectures) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

/// The digits that stand for "{}" of the pattern in `name`; empty for a pattern without "{}"; nothing where they
/// differ.
std::optional<std::string_view> match(std::string_view pattern, std::string_view name) {
  const size_t place = pattern.find("{}");
  if (place == std::string_view::npos) return name == pattern ? std::optional(std::string_view{}) : std::nullopt;
  const std::string_view ending = pattern.substr(place + 2);
  if (!name.starts_with(pattern.substr(0, place)) || !name.ends_with(ending)) return std::nullopt;
  if (name.size() <= place + ending.size()) return std::nullopt;
  const std::string_view digits = name.substr(place, name.size() - place - ending.size());
  if (digits.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
  return digits;
}

std::string filled(std::string_view pattern, std::string_view digits) {
  std::string text(pattern);
  const size_t place = text.find("{}");
  if (place != std::string::npos) text.replace(place, 2, digits);
  return text;
}

}  // namespace

GgufNames GgufNames::of_architecture(std::string_view architecture, const std::string& origin) {
  if (find_architecture(architecture) == nullptr) {
    std::string known;
    for (const Architecture& entry : kArchitectures)
      known += fmt::format("{}{}", known.empty() ? "" : ", ", entry.name);
    throw base::Error("{}: the architecture \"{}\" of the GGUF file is not known; fledge knows {}", origin,
                      architecture, known);
  }
  GgufNames names;
  names.architecture_ = architecture;
  return names;
}

GgufNames GgufNames::of_model_type(std::string_view model_type, const std::string& origin) {
  return of_architecture(model_type == "mistral" ? "llama" : model_type, origin);
}

std::optional<GgufMapping> GgufNames::to_hugging_face(std::string_view name) const {
  for (const Names& names : find_architecture(architecture_)->names) {
    const auto digits = match(names.gguf, name);
    if (!digits) continue;
    const bool paired = names.change == GgufChange::pair_query_rows || names.change == GgufChange::pair_key_rows;
    // Qwen's converter leaves the rows as they are.
    return GgufMapping{filled(names.hugging_face, *digits),
                       paired && architecture_ != "llama" ? GgufChange::none : names.change};
  }
  return std::nullopt;
}

std::optional<GgufMapping> GgufNames::to_gguf(std::string_view name) const {
  const Architecture& architecture = *find_architecture(architecture_);
  for (const Names& names : architecture.names) {
    auto digits = match(names.hugging_face, name);
    if (!digits && names.hugging_face.starts_with(architecture.prefix)) {
      digits = match(names.hugging_face.substr(architecture.prefix.size()), name);
    }
    if (!digits) continue;
    std::string gguf = filled(names.gguf, *digits);
    const GgufChange change = to_hugging_face(gguf)->change;
    return GgufMapping{std::move(gguf), change};
  }
  return std::nullopt;
}

int64_t hugging_face_row(int64_t row, int64_t rows, int64_t heads) {
  const int64_t size = rows / heads, head = row / size, place = row % size;
  return head * size + place % 2 * (size / 2) + place / 2;
}

}  // namespace fledge::models
