#include "cli/merge.h"

#include <filesystem>
#include <memory>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/adapter_options.h"
#include "cli/common.h"
#include "cli/loaded_model.h"
#include "cli/work_progress.h"
#include "models/adapters/adapter_merge.h"
#include "models/gguf_convert.h"
#include "models/gguf_model.h"

namespace fledge::cli {
namespace {

constexpr const char* kAsStored = "as stored";

bool is_block_type(const std::string& weights) {
  return tensor::block_type_named(weights).has_value();
}

/// The type of a GGUF file's matrices in blocks; f32 where it has none.
std::string type_of_gguf(const std::filesystem::path& file) {
  const auto reader = models::GgufReader::open(file);
  for (const models::GgufTensor& tensor : reader.tensors()) {
    if (tensor.shape.rank() != 2 || tensor.name.find("blk.") == std::string::npos) continue;
    if (tensor.type->blocks) return std::string(tensor::name_of(*tensor.type->blocks));
  }
  return "f32";
}

/// A merged folder keeps bf16 where the base has it.
models::StoredTypeOf stored_types(const std::filesystem::path& base, const std::string& weights,
                                  const models::LanguageModel& model) {
  if (weights == "f32") return {};
  if (weights == "bf16") {
    return [&model](const std::string& name) {
      return model.parameters().find(name)->shape().rank() == 2 ? tensor::DType::bf16 : tensor::DType::f32;
    };
  }
  const auto reader = models::SafetensorsReader::open_model(base);
  const bool is_bf16 = !reader.names().empty() && reader.info(reader.names().front()).type == models::StoredType::bf16;
  return [is_bf16](const std::string&) { return is_bf16 ? tensor::DType::bf16 : tensor::DType::f32; };
}

void copy_companions(const std::filesystem::path& from, const std::filesystem::path& to) {
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja",
                           "tokenizer.model", "vocab.txt", "generation_config.json"}) {
    models::copy_if_there(from, to, name);
  }
}

/// Writes the merged model as a folder of Hugging Face's kind.
void write_folder(const models::LoadedModel& merged, const std::filesystem::path& base,
                  const std::filesystem::path& folder, const models::StoredTypeOf& types) {
  base::write_folder(folder, [&](const std::filesystem::path& fresh) {
    models::save_model(*merged.model, fresh, types);
    if (std::filesystem::is_directory(base) && models::find_gguf(base).empty()) copy_companions(base, fresh);
  });
}

/// Through a folder beside the file, which goes away again.
void write_gguf(const models::LoadedModel& merged, const std::filesystem::path& base, const std::filesystem::path& file,
                const std::string& type) {
  const std::filesystem::path scratch = file.string() + ".merging";
  struct Removed {
    std::filesystem::path folder;
    ~Removed() {
      std::error_code ignored;
      std::filesystem::remove_all(folder, ignored);
    }
  } removed{scratch};
  const std::filesystem::path gguf = models::find_gguf(base);
  if (gguf.empty()) {
    write_folder(merged, base, scratch, {});
  } else {
    // The tokenizer of the base comes along.
    models::write_hugging_face(gguf, scratch);
    models::save_model(*merged.model, scratch);
  }
  models::write_gguf(scratch, file, models::gguf_type_named(type));
}

}  // namespace

void add_merge_command(Verb app, Context& context) {
  auto options = std::make_shared<MergeOptions>();
  Verb verb = add_verb(app, context, "merge", "Adds adapters to a model's weights and writes it whole.",
                       "fledge merge smollm2 runs/lora --out smollm2-tuned\n"
                       "fledge merge smollm2 style=0.7 facts=0.3 --out both");
  verb.group("Files");
  verb.add_option("MODEL", options->model, "Folder of the model or of a run, a GGUF file, or a name in the store")
      .required();
  verb.add_option("ADAPTER", options->adapters,
                  "Folders of adapters in PEFT's format, or of runs that trained them; DIR=0.5 adds half of one")
      .type_name("DIR[=WEIGHT]")
      .required();
  verb.add_option("--out", options->out, "Folder to write, or a file that ends in .gguf")
      .type_name("PATH")
      .required()
      .group("Output");
  verb.add_option("--weights", options->weights,
                  "Type of the matrices: f32, bf16, or of a GGUF file q8_0, q4_0, q4_1, q4_k, q6_k (default: as the "
                  "model is stored)")
      .type_name("TYPE")
      .one_of({"as stored", "f32", "bf16", "q8_0", "q4_0", "q4_1", "q4_k", "q6_k"})
      .group("Output");
  add_json_option(verb, options->json, "The numbers as one JSON object");
  verb.callback([options, &context] { context.run = [options, &context] { run_merge(*options, context.common); }; });
}

void run_merge(const MergeOptions& options, const CommonOptions& common) {
  const std::filesystem::path base = models::resolve_model_folder(options.model);
  const std::filesystem::path gguf = models::find_gguf(base);
  std::error_code error;
  if (std::filesystem::equivalent(base, options.out, error))
    throw base::UsageError("--out: {} is the model itself", options.out);
  std::string weights = options.weights;
  const bool to_gguf = std::filesystem::path(options.out).extension() == ".gguf";
  if (weights == kAsStored && !gguf.empty()) weights = to_gguf ? type_of_gguf(gguf) : "f32";
  if (is_block_type(weights) && !to_gguf) {
    throw base::UsageError("--weights {}: blocks are stored in GGUF files; give --out a name that ends in .gguf",
                           weights);
  }

  WorkProgress progress("merge", common);
  models::LoadedModel loaded = models::load_model(base, {.widen = true, .adapters = parse_adapters(options.adapters)});
  const models::MergeReport report = models::merge_adapters(loaded);
  if (to_gguf) {
    write_gguf(loaded, base, options.out, weights == kAsStored ? "f32" : weights);
  } else {
    write_folder(loaded, base, options.out,
                 stored_types(gguf.empty() ? base : gguf, gguf.empty() ? weights : "f32", *loaded.model));
  }
  progress.finish("");
  base::OrderedJson json = {
      {"out", options.out}, {"layers", report.layers}, {"relative_change", report.relative_change}};
  std::string text = fmt::format("{}: {} layers changed, by {:.3g} of their size\n", options.out, report.layers,
                                 report.relative_change);
  if (to_gguf && is_block_type(weights)) {
    const models::QuantizationLoss loss = models::measure_loss(loaded, options.out, base);
    json["quantization_error"] = loss.relative_error;
    json["error_over_change"] = loss.share_of_change;
    text += fmt::format("rounding to {} moves them by {:.3g} of their size, {:.2f} times the change\n", weights,
                        loss.relative_error, loss.share_of_change);
    base::log_warning("merging into {} rounds the changed weights again: the error is {:.2f} times the change itself{}",
                      weights, loss.share_of_change,
                      loss.share_of_change > 0.25
                          ? "; keep the adapter beside the model (--adapter), or merge with --weights f32"
                          : "");
  }
  print(options.json ? json.dump() + "\n" : text);
}

}  // namespace fledge::cli
