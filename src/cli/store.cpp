#include "cli/store.h"

#include <fmt/format.h>

#include <memory>

#include "base/error.h"
#include "base/json.h"
#include "base/terminal.h"
#include "cli/common.h"
#include "cli/work_progress.h"
#include "models/formats/model_folder.h"
#include "models/gguf_config.h"
#include "models/store.h"
#include "train/store/pull.h"

namespace fledge::cli {
namespace {

using base::format_bytes;
using base::OrderedJson;
namespace filesystem = std::filesystem;

OrderedJson as_json(const models::StoredModel& model) {
  return {{"name", model.name},
          {"path", model.path.string()},
          {"kind", model.kind},
          {"source", model.source},
          {"bytes", model.bytes}};
}

/// The numbers of a GGUF file, how its tensors are stored, and the config.json that it stands for.
void add_gguf(const models::GgufReader& file, OrderedJson& result) {
  int64_t parameters = 0;
  OrderedJson types = OrderedJson::object();
  for (const models::GgufTensor& tensor : file.tensors()) {
    parameters += tensor.shape.elements();
    const std::string type(tensor.type->name);
    types[type] = types.value(type, 0) + 1;
  }
  result["architecture"] = file.metadata().get<std::string>("general.architecture", "", file.origin());
  result["numbers"] = parameters;
  result["tensors"] = types;
  try {
    result["config"] = models::config_of_gguf(file);
  } catch (const base::Error& error) {
    result["config_error"] = error.what();  // of a family that fledge cannot run
  }
}

/// What can be said of a model without loading it.
OrderedJson details(const std::string& name_or_path) {
  const filesystem::path path = models::resolve_model(name_or_path);
  OrderedJson result{{"model", name_or_path}, {"path", path.string()}};
  for (const models::StoredModel& stored : models::list_store()) {
    if (stored.path == path || stored.path == path.parent_path()) {
      result["name"] = stored.name;
      result["source"] = stored.source;
    }
  }
  if (filesystem::is_regular_file(path)) {
    result["kind"] = "gguf";
    add_gguf(models::GgufReader::open(path), result);
    result["bytes"] = filesystem::file_size(path);
    return result;
  }
  const auto folder = models::ModelFolder::open(path);
  result["kind"] = folder.model_type();
  const models::SafetensorsReader weights = folder.weights();
  int64_t parameters = 0, bytes = 0;
  for (const std::string& name : weights.names()) {
    parameters += weights.info(name).shape.elements();
  }
  for (const auto& entry : filesystem::recursive_directory_iterator(path)) {
    if (entry.is_regular_file()) bytes += static_cast<int64_t>(entry.file_size());
  }
  result["numbers"] = parameters;
  result["bytes"] = bytes;
  result["config"] = folder.config();
  return result;
}

void print_row(std::string_view name, const std::string& value) {
  print(fmt::format("{:<12}{}\n", name, base::printable(value)));
}

}  // namespace

void run_pull(const PullCommandOptions& options, const CommonOptions& common) {
  filesystem::path folder;
  {
    WorkProgress progress("pull " + options.model, common);
    folder = train::pull_model(options.model, {options.file, options.again}, [&](const train::PullProgress& state) {
      base::ProgressState shown{
          static_cast<double>(state.done), static_cast<double>(state.total), {{"", state.stage}}, -1.0};
      if (state.total > 0)
        shown.fields.push_back({"", fmt::format("{} of {}", format_bytes(shown.done), format_bytes(shown.total))});
      progress.update(std::move(shown));
    });
    progress.finish("");
  }
  const std::string name = filesystem::relative(folder, models::store_folder()).string();
  if (options.json) return print(OrderedJson{{"name", name}, {"path", folder.string()}}.dump() + "\n");
  print(fmt::format("{} is in {}\n", name, folder.string()));
}

void run_list(const StoreOptions& options) {
  const std::vector<models::StoredModel> stored = models::list_store();
  if (options.json) {
    auto list = OrderedJson::array();
    for (const models::StoredModel& model : stored) list.push_back(as_json(model));
    return print(list.dump(2) + "\n");
  }
  for (const models::StoredModel& model : stored) {
    print(fmt::format("{:<32} {:<10} {:>10}  {}\n", model.name, base::printable(model.kind),
                      format_bytes(static_cast<double>(model.bytes)), base::printable(model.source)));
  }
  if (!stored.empty()) return;
  print(fmt::format("The store ({}) is empty. fledge pull brings:\n", models::store_folder().string()));
  for (const train::CatalogueModel& model : train::model_catalogue()) {
    print(fmt::format("  {:<10} {}, {}\n", model.name, model.description,
                      format_bytes(static_cast<double>(model.download_bytes))));
  }
}

void run_show(const StoreOptions& options) {
  const OrderedJson result = details(options.model);
  if (options.json) return print(result.dump(2) + "\n");
  for (const auto& [key, value] : result.items()) {
    if (key == "config") continue;
    print_row(key, key == "bytes" ? format_bytes(value.get<double>())
                                  : (value.is_string() ? value.get<std::string>() : value.dump()));
  }
  if (!result.contains("config")) return;
  for (const auto& [key, value] : result["config"].items()) {
    if (value.is_primitive() && !value.is_null())
      print(fmt::format("  {} {}\n", base::printable(key), base::printable(value.dump())));
  }
}

void run_rm(const StoreOptions& options) {
  const models::StoredModel model = models::find_stored(options.model);
  models::remove_stored(options.model);
  if (options.json) return print(as_json(model).dump() + "\n");
  print(fmt::format("{} is deleted: {} freed\n", model.name, format_bytes(static_cast<double>(model.bytes))));
}

void add_pull_command(Verb app, Context& context) {
  auto options = std::make_shared<PullCommandOptions>();
  Verb verb = add_verb(app, context, "pull", "Brings a model into the store, from the network.",
                       "fledge pull minilm\nfledge pull hf:HuggingFaceTB/SmolLM2-135M@main");
  verb.group("Models");
  verb.add_option("MODEL", options->model,
                  "smollm2, minilm, or hf:OWNER/NAME[@REVISION]; its server is HF_ENDPOINT, its token HF_TOKEN")
      .required();
  verb.add_option("--file", options->file, "The GGUF file to take, where a repository has several")
      .type_name("FILE")
      .group("Input");
  verb.add_flag("--again", options->again, "Fetch it again where the store has it already").group("Input");
  add_json_option(verb, options->json, "Name and path as one JSON object");
  verb.callback([options, &context] { context.run = [options, &context] { run_pull(*options, context.common); }; });
}

void add_list_command(Verb app, Context& context) {
  auto options = std::make_shared<StoreOptions>();
  Verb verb = add_verb(app, context, "list", "Lists the models in the store.", "fledge list");
  verb.group("Models");
  add_json_option(verb, options->json, "The models as a JSON array");
  verb.callback([options, &context] { context.run = [options] { run_list(*options); }; });
}

void add_show_command(Verb app, Context& context) {
  auto options = std::make_shared<StoreOptions>();
  Verb verb = add_verb(app, context, "show", "Shows what is known of a model.", "fledge show minilm");
  verb.group("Models");
  verb.add_option("MODEL", options->model, "Name in the store, folder, run, or id in Hugging Face's cache").required();
  add_json_option(verb, options->json, "Everything as one JSON object");
  verb.callback([options, &context] { context.run = [options] { run_show(*options); }; });
}

void add_rm_command(Verb app, Context& context) {
  auto options = std::make_shared<StoreOptions>();
  Verb verb = add_verb(app, context, "rm", "Deletes a model from the store.", "fledge rm minilm");
  verb.group("Models");
  verb.add_option("MODEL", options->model, "Name in the list of `fledge list`").required();
  add_json_option(verb, options->json, "What was deleted as one JSON object");
  verb.callback([options, &context] { context.run = [options] { run_rm(*options); }; });
}

}  // namespace fledge::cli
