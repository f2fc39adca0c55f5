#include "models/gguf_convert.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/json.h"
#include "models/gguf_model.h"
#include "models/gguf_tokenizer.h"

namespace fledge::models {
namespace {

using base::Error;
using base::Json;
using tensor::DType;
using tensor::Tensor;

constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kHead = "lm_head.weight";
constexpr const char* kTokenizerConfigFile = "tokenizer_config.json";

/// A model on its way into a GGUF file: metadata, and tensors in GGUF's names and order of rows.
struct Source {
  struct Item {
    std::string name;
    const GgufType* type;  ///< as stored
    tensor::Shape shape;
    std::function<Tensor(tensor::Arena&)> values;  ///< f32
    std::function<Tensor()> bytes;                 ///< as stored, where that may be copied; may be empty
  };
  GgufMetadata metadata;
  std::vector<Item> items;
  int64_t layers = 0;
  std::vector<std::string> left_out;
};

Source source_of_gguf(const std::filesystem::path& path) {
  const GgufReader file = GgufReader::open(path);
  Source source;
  source.metadata = file.metadata();
  const auto architecture = file.metadata().require<std::string>("general.architecture", file.origin());
  source.layers = file.metadata().get<int64_t>(architecture + ".block_count", 0, file.origin());
  for (const GgufTensor& tensor : file.tensors()) {
    const std::string& name = tensor.name;
    source.items.push_back({name, tensor.type, tensor.shape,
                            [file, name](tensor::Arena& arena) {
                              Tensor values = Tensor::empty(file.info(name).shape, DType::f32, arena);
                              file.read_into(name, values);
                              return values;
                            },
                            [file, name] { return file.bytes(name); }});
  }
  return source;
}

/// Stored tensors of a Hugging Face folder that follow from others.
bool is_computed(std::string_view name, bool tied) {
  constexpr std::string_view kEndings[] = {".attn.bias", ".attn.masked_bias", "rotary_emb.inv_freq", "position_ids"};
  for (const std::string_view ending : kEndings) {
    if (name.ends_with(ending)) return true;
  }
  return tied && name == "lm_head.weight";
}

/// The pooler and the heads of BERT; llama.cpp leaves them out too.
bool has_no_place(std::string_view name) {
  return name.find("pooler.") != std::string_view::npos || name.starts_with("cls.") || name.starts_with("classifier.");
}

const GgufType& stored_gguf_type(StoredType type) {
  return type == StoredType::bf16 ? kGgufBf16 : type == StoredType::f16 ? kGgufF16 : kGgufF32;
}

Json read_optional(const std::filesystem::path& file) {
  return std::filesystem::exists(file) ? base::read_json(file) : Json();
}

void add_folder_tokenizer(const ModelFolder& folder, int64_t vocabulary_size, GgufMetadata& metadata) {
  const std::filesystem::path file = folder.path() / kTokenizerFile;
  if (!std::filesystem::exists(file)) return;
  Json config = read_optional(folder.path() / kTokenizerConfigFile);
  const std::filesystem::path chat = folder.path() / "chat_template.jinja";
  if (std::filesystem::exists(chat)) {
    if (!config.is_object()) config = Json::object();
    config["chat_template"] = base::read_file(chat);
  }
  add_tokenizer(base::read_json(file), config, vocabulary_size, file.string(), metadata);
}

Source source_of_folder(const std::filesystem::path& path) {
  const ModelFolder folder = ModelFolder::open(path);
  const SafetensorsReader weights = folder.weights();
  const Json& config = folder.config();
  const std::string origin = folder.config_origin();
  const GgufNames names = GgufNames::of_model_type(folder.model_type(), origin);
  const GgufHeads heads = heads_of(config, origin);
  const bool tied = base::json_get(config, "tie_word_embeddings", names.architecture() == "gpt2", origin);
  Source source;
  source.metadata =
      gguf_of_config(config, std::filesystem::absolute(path).lexically_normal().filename().string(), origin);
  source.layers = source.metadata.require<int64_t>(names.architecture() + ".block_count", origin);
  int64_t vocabulary = 0;
  for (const std::string& name : weights.names()) {
    if (is_computed(name, tied)) continue;
    if (has_no_place(name)) {
      source.left_out.push_back(name);
      continue;
    }
    const std::optional<GgufMapping> mapping = names.to_gguf(name);
    if (!mapping) throw Error("{}: the tensor {} has no name in GGUF files", weights.origin(), quoted_name(name));
    const StoredTensor& stored = weights.info(name);
    tensor::Shape shape = stored.shape;
    if (mapping->change == GgufChange::transpose && shape.rank() == 2) shape = {shape[1], shape[0]};
    if (mapping->name == "token_embd.weight" && shape.rank() == 2) vocabulary = shape[0];
    source.items.push_back({mapping->name,
                            &stored_gguf_type(stored.type),
                            shape,
                            [weights, name, change = mapping->change, heads](tensor::Arena& arena) {
                              Tensor values = Tensor::empty(weights.info(name).shape, DType::f32, arena);
                              weights.read_into(name, values);
                              return as_gguf(values, name, change, heads, arena);
                            },
                            {}});
  }
  if (const std::vector<float> factors = rope_factors(config, origin); !factors.empty()) {
    const tensor::Shape shape{static_cast<int64_t>(factors.size())};
    source.items.push_back({"rope_freqs.weight",
                            &kGgufF32,
                            shape,
                            [factors, shape](tensor::Arena& arena) { return Tensor::from(factors, shape, arena); },
                            {}});
  }
  add_folder_tokenizer(folder, vocabulary, source.metadata);
  return source;
}

/// llama.cpp's number for "mostly of this type".
int64_t file_type_of(const GgufType& type) {
  if (type == kGgufF16) return 1;
  if (type == kGgufBf16) return 32;
  if (!type.blocks) return 0;
  switch (*type.blocks) {
    case tensor::BlockType::q4_0:
      return 2;
    case tensor::BlockType::q4_1:
      return 3;
    case tensor::BlockType::q8_0:
      return 7;
    case tensor::BlockType::q5_0:
      return 8;
    case tensor::BlockType::q4_k:
      return 15;
    case tensor::BlockType::q6_k:
      return 18;
  }
  return 0;
}

int64_t layer_of(const std::string& name) {
  int64_t layer = -1;
  if (name.starts_with("blk.")) std::from_chars(name.data() + 4, name.data() + name.size(), layer);
  return layer;
}

/// Layers that llama.cpp gives more bits.
bool has_more_bits(int64_t layer, int64_t layers) {
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

/// The type itself, or the next one whose blocks the rows fill, as llama.cpp chooses it.
const GgufType& fitting(const GgufType& type, const tensor::Shape& shape) {
  using tensor::BlockType;
  const int64_t columns = shape[shape.rank() - 1];
  if (columns % type.block_elements == 0) return type;
  if (columns % 32 != 0) return kGgufF16;
  return gguf_type_of(type.blocks == BlockType::q4_k ? BlockType::q5_0 : BlockType::q8_0);
}

/// Says in a config.json that the head is no longer the embedding; false where it was not.
bool untie(Json& config, const std::string& origin) {
  const auto family = make_model(config, origin);
  if (!family->predicts_tokens() || family->parameters().find(kEmbedding) == nullptr)
    throw Error("{}: a model of the type {} has no head apart from its embedding", origin,
                base::json_get<std::string>(config, "model_type", "", origin));
  if (family->parameters().find(kHead) != nullptr) return false;
  config["tie_word_embeddings"] = false;
  return true;
}

void write_folder_of_gguf(const std::filesystem::path& path, const std::filesystem::path& folder,
                          const ConvertProgress& on_progress, bool own_head) {
  const GgufReader file = GgufReader::open(path);
  Json config = config_of_gguf(file);
  const GgufNames names = GgufNames::of_model_type(config["model_type"].get<std::string>(), file.origin());
  const GgufHeads heads = heads_of(config, file.origin());
  std::vector<TensorPlan> plans;
  std::map<std::string, std::pair<std::string, GgufChange>> source;
  bool narrow = false;
  for (const GgufTensor& tensor : file.tensors()) {
    if (tensor.name == "rope_freqs.weight") continue;
    const std::optional<GgufMapping> mapping = names.to_hugging_face(tensor.name);
    if (!mapping) {
      throw Error("{}: the tensor {} is not expected in a model of the architecture {}", file.origin(),
                  quoted_name(tensor.name), names.architecture());
    }
    tensor::Shape shape = tensor.shape;
    if (mapping->change == GgufChange::transpose && shape.rank() == 2) shape = {shape[1], shape[0]};
    const bool is_bf16 = *tensor.type == kGgufBf16;
    narrow = narrow || is_bf16;
    plans.push_back({mapping->name, is_bf16 ? DType::bf16 : DType::f32, shape});
    source[mapping->name] = {tensor.name, mapping->change};
    if (mapping->name != kEmbedding || !own_head || !untie(config, file.origin())) continue;
    TensorPlan head = plans.back();
    head.name = kHead;
    plans.push_back(head);
    source[kHead] = source[kEmbedding];
  }
  if (names.architecture() == "bert") {
    // The file does not have the pooler, and a folder of BertModel must.
    const auto width = config["hidden_size"].get<int64_t>();
    plans.push_back({"bert.pooler.dense.weight", DType::f32, {width, width}});
    plans.push_back({"bert.pooler.dense.bias", DType::f32, {width}});
  }
  sort_for_alignment(plans);
  config["dtype"] = narrow ? "bfloat16" : "float32";
  write_pretty_json(folder / kConfigFile, config);
  write_pretty_json(folder / kGenerationConfigFile, generation_config_of_gguf(file));
  if (file.metadata().contains("tokenizer.ggml.model")) {
    write_pretty_json(folder / kTokenizerFile, tokenizer_json_of_gguf(file));
    write_pretty_json(folder / kTokenizerConfigFile, tokenizer_config_of_gguf(file));
  }
  // transformers refuses a file without "format".
  SafetensorsWriter writer(folder / kWeightsFile, plans, {{"format", "pt"}});
  int64_t done = 0;
  for (const TensorPlan& plan : plans) {
    tensor::Arena arena("a tensor on its way");
    const auto found = source.find(plan.name);
    if (found == source.end()) {
      writer.write(plan.name, Tensor::zeros(plan.shape, DType::f32, arena));
    } else {
      const auto& [name, change] = found->second;
      writer.write(plan.name, read_as_hugging_face(file, name, change, heads, DType::f32, arena));
    }
    if (on_progress) on_progress(++done, static_cast<int64_t>(plans.size()));
  }
  writer.commit();
}

void write_folder_of_folder(const std::filesystem::path& path, const std::filesystem::path& folder,
                            const ConvertProgress& on_progress, bool own_head) {
  const ModelFolder source = ModelFolder::open(path);
  const SafetensorsReader weights = source.weights();
  for (const char* name :
       {kConfigFile, kGenerationConfigFile, kTokenizerFile, kTokenizerConfigFile, "vocab.json", "merges.txt",
        "vocab.txt", "tokenizer.model", "special_tokens_map.json", "chat_template.jinja", "modules.json",
        "sentence_bert_config.json", "config_sentence_transformers.json"}) {
    copy_if_there(path, folder, name);
  }
  constexpr const char* kPooling = "1_Pooling/config.json";  // of sentence-transformers
  if (std::filesystem::exists(path / kPooling)) base::create_folder((folder / kPooling).parent_path());
  copy_if_there(path, folder, kPooling);
  tensor::Arena arena("weights on their way");
  std::vector<TensorPlan> plans;
  for (const std::string& name : weights.names()) {
    const StoredTensor& stored = weights.info(name);
    const std::optional<DType> dtype = dtype_of(stored.type);
    if (!dtype) {
      throw Error("{}: tensor {} is stored as {}, which is not written", weights.origin(), quoted_name(name),
                  name_of(stored.type));
    }
    if (name != kHead || !own_head) plans.push_back({name, *dtype, stored.shape});
  }
  Json config = source.config();
  const bool copies_head = own_head && untie(config, source.config_origin());
  if (own_head) {
    // Some files hold a tied head all the same.
    const char* const stored = copies_head ? kEmbedding : kHead;
    plans.push_back({kHead, *dtype_of(weights.info(stored).type), weights.info(stored).shape});
    write_pretty_json(folder / kConfigFile, config);
  }
  sort_for_alignment(plans);
  SafetensorsWriter writer(folder / kWeightsFile, plans, {{"format", "pt"}});
  int64_t done = 0;
  for (const TensorPlan& plan : plans) {
    const bool is_copy = copies_head && plan.name == kHead;
    writer.write(plan.name, weights.tensor(is_copy ? kEmbedding : plan.name, arena));
    if (on_progress) on_progress(++done, static_cast<int64_t>(plans.size()));
  }
  writer.commit();
}

}  // namespace

GgufChoice gguf_type_for(const std::string& name, const tensor::Shape& shape, const GgufType& type, int64_t layers,
                         bool tied_head) {
  const bool is_matrix = shape.rank() == 2 && name.ends_with(".weight") && name.find("_norm.") == std::string::npos &&
                         name != "position_embd.weight" && name != "token_types.weight";
  if (!is_matrix) return {&kGgufF32, &kGgufF32};
  if (!type.blocks) return {&type, &type};
  using tensor::BlockType;
  BlockType blocks = *type.blocks;
  if (name == "output.weight" || (tied_head && name == "token_embd.weight")) {
    if (blocks != BlockType::q8_0) blocks = BlockType::q6_k;
  } else if (blocks == BlockType::q4_k) {
    const bool sensitive = name.ends_with(".attn_v.weight") || name.ends_with(".ffn_down.weight");
    if (sensitive && has_more_bits(layer_of(name), layers)) blocks = BlockType::q6_k;
  }
  const GgufType& wanted = gguf_type_of(blocks);
  return {&wanted, &fitting(wanted, shape)};
}

GgufReport write_gguf(const std::filesystem::path& model, const std::filesystem::path& path, const GgufType* type,
                      const ConvertProgress& on_progress) {
  const std::filesystem::path place = resolve_model_folder(model), file = find_gguf(place);
  Source source = file.empty() ? source_of_folder(place) : source_of_gguf(file);
  const bool tied = std::ranges::find(source.items, "output.weight", &Source::Item::name) == source.items.end();
  std::vector<GgufPlan> plans;
  GgufReport report{{}, std::move(source.left_out)};
  bool quantized = false;
  for (const Source::Item& item : source.items) {
    const GgufType* chosen = item.type;
    if (type != nullptr) {
      const GgufChoice choice = gguf_type_for(item.name, item.shape, *type, source.layers, tied);
      if (choice.fell_back()) report.fallbacks.push_back({item.name, item.shape[item.shape.rank() - 1], choice});
      chosen = choice.used;
    }
    // llama.cpp wants vectors in f32.
    if (type == nullptr && item.shape.rank() == 1) chosen = &kGgufF32;
    quantized = quantized || chosen->blocks;
    plans.push_back({item.name, chosen, item.shape});
  }
  if (type != nullptr) source.metadata.set_u32("general.file_type", file_type_of(*type));
  if (quantized) source.metadata.set_u32("general.quantization_version", 2);
  GgufWriter writer(path, source.metadata, plans);
  for (size_t index = 0; index < plans.size(); ++index) {
    const Source::Item& item = source.items[index];
    if (item.bytes && *item.type == *plans[index].type) {
      const Tensor bytes = item.bytes();
      writer.write(item.name, std::span<const std::byte>(bytes.raw(), bytes.bytes()));
    } else {
      tensor::Arena arena("a tensor on its way");
      writer.write(item.name, item.values(arena));
    }
    if (on_progress) on_progress(static_cast<int64_t>(index + 1), static_cast<int64_t>(plans.size()));
  }
  writer.commit();
  return report;
}

void write_hugging_face(const std::filesystem::path& model, const std::filesystem::path& folder,
                        const ConvertProgress& on_progress, bool own_head) {
  const std::filesystem::path place = resolve_model_folder(model), file = find_gguf(place);
  base::write_folder(folder, [&](const std::filesystem::path& fresh) {
    if (file.empty()) {
      write_folder_of_folder(place, fresh, on_progress, own_head);
    } else {
      write_folder_of_gguf(file, fresh, on_progress, own_head);
    }
  });
}

}  // namespace fledge::models
