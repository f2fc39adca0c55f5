#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/common.h"
#include "cli/export.h"
#include "cli/loaded_model.h"
#include "cli/work_progress.h"
#include "models/gguf_convert.h"
#include "models/gguf_model.h"
#include "train/perplexity.h"

namespace fledge::cli {
namespace {

/// llama.cpp's perplexity tool scores the second half of chunks of so many tokens.
constexpr int64_t kChunk = 512;

models::ConvertProgress shown_in(WorkProgress& progress) {
  return [&progress](int64_t done, int64_t total) {
    progress.update({static_cast<double>(done), static_cast<double>(total), {}});
  };
}

uint64_t bytes_of(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return std::filesystem::file_size(path);
  uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    const auto extension = entry.path().extension();
    if (extension == ".safetensors" || extension == ".gguf") bytes += entry.file_size();
  }
  return bytes;
}

double perplexity_of(const std::string& model, const std::string& text, const char* title,
                     const CommonOptions& common) {
  WorkProgress progress(title, common);
  OpenedModel opened = open_model(model, "f32", false);
  const nn::Tokenizer tokenizer = open_tokenizer(opened);
  const base::MappedFile file(text);
  const std::vector<int32_t> ids = tokenizer.encode(file.text(), {.match_special = false});
  const int64_t chunk = std::min(kChunk, opened.model().context_length());
  const train::Perplexity result =
      train::measure_perplexity(opened.model(), opened.memory(), ids, static_cast<int64_t>(file.text().size()),
                                {.chunk = chunk}, opened.activation_type, shown_in(progress));
  progress.finish("");
  return result.perplexity();
}

/// Tensors of one kind that did not get their type, together.
struct FallbackGroup {
  models::GgufChoice choice;
  int64_t columns;
  std::vector<std::string> tensors;
};

std::vector<FallbackGroup> grouped(const models::GgufReport& report) {
  std::vector<FallbackGroup> groups;
  for (const auto& fallback : report.fallbacks) {
    const auto same = std::ranges::find_if(groups, [&](const FallbackGroup& group) {
      return *group.choice.wanted == *fallback.choice.wanted && *group.choice.used == *fallback.choice.used &&
             group.columns == fallback.columns;
    });
    if (same == groups.end()) {
      groups.push_back({fallback.choice, fallback.columns, {fallback.name}});
    } else {
      same->tensors.push_back(fallback.name);
    }
  }
  return groups;
}

std::string described(const models::GgufReport& report) {
  std::string text;
  for (const FallbackGroup& group : grouped(report)) {
    text += fmt::format("{}{}: {} instead of {}, whose blocks of {} do not divide rows of {}\n", group.tensors.front(),
                        group.tensors.size() == 1 ? "" : fmt::format(" and {} more", group.tensors.size() - 1),
                        group.choice.used->name, group.choice.wanted->name, group.choice.wanted->block_elements,
                        group.columns);
  }
  if (!report.left_out.empty()) {
    text += fmt::format("left out, as GGUF files have no place for them: {}\n", fmt::join(report.left_out, ", "));
  }
  return text;
}

void add_report(const models::GgufReport& report, base::OrderedJson& json) {
  json["fallbacks"] = base::OrderedJson::array();
  for (const FallbackGroup& group : grouped(report)) {
    json["fallbacks"].push_back({{"wanted", group.choice.wanted->name},
                                 {"used", group.choice.used->name},
                                 {"row_elements", group.columns},
                                 {"block_elements", group.choice.wanted->block_elements},
                                 {"tensors", group.tensors}});
  }
  json["left_out"] = report.left_out;
}

std::string default_name(const std::filesystem::path& model, const std::string& type) {
  std::filesystem::path name = std::filesystem::absolute(model).lexically_normal();
  if (!name.has_filename()) name = name.parent_path();
  if (name.extension() == ".gguf") name.replace_extension();
  return name.string() + "." + type + ".gguf";
}

}  // namespace

void run_export(const ExportOptions& options, const CommonOptions& common) {
  if (options.to == "hf" && !options.type.empty()) {
    throw base::UsageError("--type: says how a GGUF file is stored; give --to gguf with it");
  }
  if (options.to == "gguf" && options.own_head) {
    throw base::UsageError("--own-head: writes a Hugging Face folder; give --to hf with it");
  }
  std::error_code error;
  if (std::filesystem::equivalent(options.model, options.out, error)) {
    throw base::UsageError("--out: {} is the model itself", options.out);
  }
  WorkProgress progress("write", common);
  models::GgufReport written;
  if (options.to == "hf") {
    models::write_hugging_face(options.model, options.out, shown_in(progress), options.own_head);
  } else {
    const models::GgufType* type = options.type.empty() ? nullptr : models::gguf_type_named(options.type);
    written = models::write_gguf(options.model, options.out, type, shown_in(progress));
  }
  progress.finish(fmt::format("wrote {}", options.out));
  print(described(written));
}

void run_quantize(const QuantizeOptions& options, const CommonOptions& common) {
  const std::string out = options.out.empty() ? default_name(options.model, options.type) : options.out;
  std::error_code error;
  if (std::filesystem::equivalent(options.model, out, error)) {
    throw base::UsageError("--out: {} is the model itself", out);
  }
  WorkProgress progress("quantize", common);
  const models::GgufReport written =
      models::write_gguf(options.model, out, models::gguf_type_named(options.type), shown_in(progress));
  progress.finish("");
  const std::filesystem::path source = models::resolve_model_folder(options.model);
  const uint64_t before = bytes_of(source), after = bytes_of(out);
  base::OrderedJson json = {{"file", out}, {"type", options.type}, {"bytes_before", before}, {"bytes_after", after}};
  std::string report = fmt::format("{}: {:.1f} MB, was {:.1f} MB\n", out, static_cast<double>(after) / 1e6,
                                   static_cast<double>(before) / 1e6) +
                       described(written);
  add_report(written, json);
  if (!options.text.empty()) {
    const double old_value = perplexity_of(source.string(), options.text, "perplexity before", common);
    const double new_value = perplexity_of(out, options.text, "perplexity after", common);
    json["perplexity_before"] = old_value;
    json["perplexity_after"] = new_value;
    report += fmt::format("perplexity      {:.4f} before, {:.4f} after ({:+.2f} %)\n", old_value, new_value,
                          100.0 * (new_value / old_value - 1.0));
  }
  print(options.json ? json.dump() + "\n" : report);
}

}  // namespace fledge::cli
