#include "train/recipe.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/nearest.h"
#include "base/terminal.h"
#include "base/toml.h"
#include "train/new_model.h"

namespace fledge::train {
namespace {

using base::Json;
using base::printable;
using base::UsageError;

/// Where each key was given: "recipe.toml:3" or "--set steps=10".
using Origins = std::map<std::string, std::string, std::less<>>;

std::string shown(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > 60) text = std::string(base::fit_width(text, 57)) + "...";
  return printable(text);
}

/// A section's own name stands for the key that says most of it: model = "smollm2", data = "chats.jsonl".
std::string full_name(const std::string& name) {
  return name == "model" || name == "data" ? name + ".path" : name;
}

const RecipeKey& find_key(const std::string& given, const std::string& where) {
  const std::string name = full_name(given);
  std::vector<std::string> names;
  for (const RecipeKey& key : recipe_keys()) {
    if (key.name == name) return key;
    names.emplace_back(key.name);
  }
  // A table where a key was expected, or the other way round: say what is in that table.
  for (const std::string& known : names) {
    if (known.starts_with(name + "."))
      throw UsageError("{}: {} is a section and not a key; its keys are named {} and so on", where, printable(name),
                       known);
  }
  std::string hint = base::nearest(name, names);
  if (hint.empty()) {
    // Somebody who knows the last part of a name, but not the section: "learning_rate".
    for (const std::string& known : names) {
      if (known.ends_with("." + name)) hint = known;
    }
  }
  if (hint.empty()) throw UsageError("{}: unknown key {}; `fledge train --keys` lists all", where, printable(name));
  throw UsageError("{}: unknown key {}; did you mean {}?", where, printable(name), hint);
}

[[noreturn]] void wrong_type(const RecipeKey& key, const Json& value, const std::string& where) {
  throw UsageError("{}: {} is {}, but must be {} {}", where, key.name, shown(value),
                   key.type_name() == "integer" ? "an" : "a", key.type_name());
}

double number_of(const RecipeKey& key, const Json& value, const std::string& where) {
  if (!value.is_number()) wrong_type(key, value, where);
  const double number = value.get<double>();
  const bool below = key.minimum_excluded ? number <= key.minimum : number < key.minimum;
  if (!std::isfinite(number) || below || number > key.maximum)
    throw UsageError("{}: {} is {}, but must be {}", where, key.name, shown(value), key.range_text());
  return number;
}

std::string string_of(const RecipeKey& key, const Json& value, const std::string& where) {
  if (!value.is_string()) wrong_type(key, value, where);
  auto text = value.get<std::string>();
  if (!base::is_valid_utf8(text) || text.find('\0') != std::string::npos)
    throw UsageError("{}: {} holds text that is not valid UTF-8 without null characters", where, key.name);
  if (!key.choices.empty() && std::find(key.choices.begin(), key.choices.end(), text) == key.choices.end())
    throw UsageError("{}: {} is {}, but must be one of {}", where, key.name, shown(value), key.range_text());
  return text;
}

void assign(Recipe& recipe, const RecipeKey& key, const Json& value, const std::string& where) {
  std::visit(
      [&](auto access) {
        auto& target = access(recipe);
        using Value = std::remove_reference_t<decltype(target)>;
        if constexpr (std::is_same_v<Value, bool>) {
          if (!value.is_boolean()) wrong_type(key, value, where);
          target = value.get<bool>();
        } else if constexpr (std::is_same_v<Value, int64_t>) {
          // 1e5 is a floating-point number in TOML, and what people write.
          if (value.is_number_float() && std::floor(value.get<double>()) != value.get<double>())
            wrong_type(key, value, where);
          target = static_cast<int64_t>(number_of(key, value, where));
        } else if constexpr (std::is_same_v<Value, double>) {
          target = number_of(key, value, where);
        } else if constexpr (std::is_same_v<Value, std::string>) {
          target = string_of(key, value, where);
        } else {
          if (!value.is_array()) wrong_type(key, value, where);
          std::vector<std::string> items;
          for (const Json& item : value) items.push_back(string_of(key, item, where));
          target = std::move(items);
        }
      },
      key.access);
}

/// The value of an override: TOML, or plain text where the key holds strings.
Json override_value(const RecipeKey& key, const std::string& text, const std::string& where) {
  const bool is_string = key.access.index() == 3, is_list = key.access.index() == 4;
  const char first = text.empty() ? '\0' : text.front();
  if (is_string && first != '"' && first != '\'') return text;
  if (is_list && first != '[') return Json::array({first == '"' ? base::parse_toml_value(text, where) : Json(text)});
  try {
    return base::parse_toml_value(text, where);
  } catch (const base::Error&) {
    wrong_type(key, Json(text), where);
  }
}

void apply_override(Recipe& recipe, const std::string& text, Origins& origins) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0)
    throw UsageError("--set {}: expected KEY=VALUE, for example optimizer.learning_rate=3e-4", printable(text));
  const std::string name = text.substr(0, equals);
  const std::string where = "--set " + printable(name);
  const RecipeKey& key = find_key(name, where);
  assign(recipe, key, override_value(key, text.substr(equals + 1), where), where);
  origins[full_name(name)] = where;
}

bool same_value(const RecipeKey& key, Recipe& a, Recipe& b) {
  return std::visit([&](auto access) { return access(a) == access(b); }, key.access);
}

/// Keys that exclude each other by being given at all, whatever their value.
void check_given(const Recipe& recipe, const Origins& origins) {
  if (!recipe.model.is_given()) return;
  const bool is_path = !recipe.model.path.empty();
  for (const RecipeKey& key : recipe_keys()) {
    const auto found = origins.find(key.name);
    if (key.of_new_model && found != origins.end())
      throw UsageError(
          "{}: {} describes a new model, but model.{} = {} gives the shape of an old one; remove one of the two",
          found->second, key.name, is_path ? "path" : "layers_from",
          base::toml_quoted(is_path ? recipe.model.path : recipe.model.layers_from));
  }
}

/// Gives the keys of a preset their values; one that was given another value is a contradiction.
void apply_preset(Recipe& recipe, const Origins& origins) {
  if (recipe.model.preset.empty() || !recipe.model.path.empty()) return;
  Recipe given = recipe;
  recipe.model = preset_model(recipe.model);
  for (const RecipeKey& key : recipe_keys()) {
    const auto found = origins.find(key.name);
    if (found == origins.end() || same_value(key, given, recipe)) continue;
    throw UsageError("{}: {} contradicts model.preset = {}; remove one of the two", found->second, key.name,
                     base::toml_quoted(recipe.model.preset));
  }
}

void check_length(const Recipe& recipe, std::string_view origin) {
  const int given = (recipe.steps > 0) + (recipe.epochs > 0) + (recipe.minutes > 0);
  if (given == 0)
    throw UsageError("{}: the length of the run is missing; give one of steps, epochs or minutes", origin);
  if (given > 1)
    throw UsageError(
        "{}: steps = {}, epochs = {} and minutes = {} contradict each other; give one and leave the others 0", origin,
        recipe.steps, recipe.epochs, recipe.minutes);
}

void check_schedule(const Recipe& recipe, std::string_view origin) {
  const auto& schedule = recipe.schedule;
  if (schedule.warmup_steps > 0 && schedule.warmup_ratio > 0)
    throw UsageError("{}: schedule.warmup_steps = {} and schedule.warmup_ratio = {} say the same thing twice; give one",
                     origin, schedule.warmup_steps, schedule.warmup_ratio);
  if (schedule.kind == "constant" && schedule.decay_steps > 0)
    throw UsageError("{}: schedule.decay_steps = {} has no meaning with schedule.kind = \"constant\"", origin,
                     schedule.decay_steps);
  if (recipe.steps == 0) return;
  const int64_t warmup = recipe.warmup_steps(recipe.steps);
  if (warmup > recipe.steps)
    throw UsageError("{}: schedule.warmup_steps = {} is longer than the run of {} steps", origin, warmup, recipe.steps);
  if (schedule.decay_steps > recipe.steps - warmup)
    throw UsageError("{}: schedule.decay_steps = {} is longer than the {} steps after the warm-up", origin,
                     schedule.decay_steps, recipe.steps - warmup);
}

void check_model_and_batch(const Recipe& recipe, std::string_view origin) {
  const auto& model = recipe.model;
  const auto& batch = recipe.batch;
  if (!model.path.empty() && !model.layers_from.empty())
    throw UsageError("{}: model.path = {} and model.layers_from = {} contradict each other; give one of them", origin,
                     base::toml_quoted(model.path), base::toml_quoted(model.layers_from));
  if (model.layers_from.empty() && !model.layers.empty())
    throw UsageError("{}: model.layers needs model.layers_from, the model whose blocks they are", origin);
  if (!model.is_given()) {
    check_new_model(model, origin);
    if (batch.sequence_length > model.n_positions)
      throw UsageError("{}: batch.sequence_length = {} is longer than the context, model.n_positions = {}", origin,
                       batch.sequence_length, model.n_positions);
  }
  if (batch.micro_sequences > 0 && batch.sequences % batch.micro_sequences != 0)
    throw UsageError("{}: batch.sequences = {} cannot be divided into micro-batches of batch.micro_sequences = {}",
                     origin, batch.sequences, batch.micro_sequences);
}

void check_adapter(const Recipe& recipe, std::string_view origin) {
  const auto& adapter = recipe.adapter;
  if (adapter.kind == "none" && adapter.from.empty()) return;
  const std::string given = adapter.kind == "none" ? "from" : "kind";
  const std::string value = base::toml_quoted(adapter.kind == "none" ? adapter.from : adapter.kind);
  if (recipe.model.path.empty())
    throw UsageError("{}: adapter.{} = {} needs model.path, the model that the adapter changes", origin, given, value);
  if (!recipe.model.train_only.empty())
    throw UsageError("{}: model.train_only and adapter.{} = {} contradict each other: an adapter's base is frozen",
                     origin, given, value);
  if (!recipe.data.add_tokens.empty())
    throw UsageError(
        "{}: data.add_tokens makes rows of the embedding, which an adapter neither trains nor stores; leave "
        "one of the two out",
        origin);
}

void check_data(const Recipe& recipe, std::string_view origin) {
  const auto& data = recipe.data;
  if (!data.path.empty() && !data.text.empty())
    throw UsageError("{}: data.path = {} and data.text contradict each other; give one of them", origin,
                     base::toml_quoted(data.path));
  if (data.path.empty() && data.text.empty())
    throw UsageError("{}: the data is missing; give data.path (a folder made by `fledge data prepare`) or data.text",
                     origin);
  if (!data.text.empty() && data.tokenizer.empty())
    throw UsageError("{}: data.text needs data.tokenizer, the folder of a tokenizer", origin);
  const std::string& kind = recipe.objective.kind;
  const bool learns_chats = kind == "chat" || kind == "dpo" || kind == "orpo" || kind == "kto";
  if (learns_chats && (recipe.model.path.empty() || data.path.empty()))
    throw UsageError("{}: objective.kind = \"{}\" needs model.path, a model to start from, and data.path, a chat file",
                     origin, kind);
  if (!learns_chats && !data.add_tokens.empty())
    throw UsageError("{}: data.add_tokens has a meaning for chats alone, and objective.kind is \"{}\"", origin, kind);
  if (!learns_chats && kind != "classify" && !data.val_path.empty())
    throw UsageError("{}: data.val_path has a meaning for chats and labels alone, and objective.kind is \"{}\"", origin,
                     kind);
  if (recipe.samples.every > 0 && recipe.samples.prompts.empty())
    throw UsageError("{}: samples.every = {} needs samples.prompts, a list of beginnings", origin,
                     recipe.samples.every);
}

/// Weights of distillation that have no meaning without a teacher, or beside each other.
void check_distillation(const Recipe& recipe, std::string_view origin) {
  const Recipe::Distillation& settings = recipe.distillation;
  const bool compares_features =
      settings.hidden_weight > 0.0 || settings.attention_weight > 0.0 || settings.embedding_weight > 0.0;
  if (settings.teacher.empty()) {
    if (compares_features || settings.top_k > 0 || settings.on_policy > 0.0 || !settings.cache.empty())
      throw UsageError("{}: the section [distillation] needs distillation.teacher, the model to learn from", origin);
    return;
  }
  if (settings.top_k == 0 && !settings.cache.empty())
    throw UsageError("{}: distillation.cache = {} needs distillation.top_k, how much of the teacher is kept", origin,
                     base::toml_quoted(settings.cache));
  if (settings.on_policy > 0.0 && settings.alpha != 1.0)
    throw UsageError(
        "{}: distillation.on_policy = {} needs distillation.alpha = 1: what the student writes has no labels", origin,
        settings.on_policy);
  if (recipe.objective.kind == "masked_language" && recipe.objective.next_sentence)
    throw UsageError("{}: a teacher shows masked tokens alone; set objective.next_sentence = false", origin);
  const std::string& kind = recipe.objective.kind;
  if (kind == "dpo" || kind == "orpo" || kind == "kto")
    throw UsageError("{}: objective.kind = \"{}\" learns from preferences and not from distillation.teacher", origin,
                     kind);
  if ((settings.top_k > 0 || settings.on_policy > 0.0) && kind != "next_token" && kind != "chat")
    throw UsageError("{}: distillation.{} is for objective.kind = \"next_token\" or \"chat\", not \"{}\"", origin,
                     settings.top_k > 0 ? "top_k" : "on_policy", kind);
  if (settings.top_k == 0) return;
  if (compares_features)
    throw UsageError(
        "{}: distillation.top_k = {} keeps the teacher's predictions alone, but hidden states, attention or embeddings "
        "are compared too; set it to 0",
        origin, settings.top_k);
  if (settings.on_policy > 0.0)
    throw UsageError(
        "{}: distillation.on_policy and top_k exclude each other: the student's texts are not known before", origin);
  if (recipe.minutes > 0.0)
    throw UsageError(
        "{}: distillation.top_k needs steps or epochs; with minutes, the rows of the run are not known before", origin);
}

}  // namespace

int64_t Recipe::warmup_steps(int64_t total_steps) const {
  if (schedule.warmup_steps > 0) return schedule.warmup_steps;
  return std::llround(schedule.warmup_ratio * static_cast<double>(total_steps));
}

Recipe parse_recipe(std::string_view text, std::string_view origin, const std::vector<std::string>& overrides) {
  Recipe recipe;
  Origins origins;
  std::vector<base::TomlEntry> entries;
  try {
    entries = base::parse_toml(text, origin);
  } catch (const base::Error& error) {
    throw UsageError("{}", error.what());
  }
  for (const base::TomlEntry& entry : entries) {
    const std::string where = fmt::format("{}:{}", origin, entry.line);
    assign(recipe, find_key(entry.key, where), entry.value, where);
    origins[full_name(entry.key)] = where;
  }
  for (const std::string& text_of_override : overrides) apply_override(recipe, text_of_override, origins);
  apply_preset(recipe, origins);
  check_given(recipe, origins);
  check_recipe(recipe, origin);
  if (recipe.run.out.empty() && !recipe.run.name.empty()) recipe.run.out = "runs/" + recipe.run.name;
  return recipe;
}

Recipe read_recipe(const std::filesystem::path& path, const std::vector<std::string>& overrides) {
  const base::MappedFile file(path);
  Recipe recipe = parse_recipe(file.text(), path.string(), overrides);
  if (recipe.run.name.empty()) recipe.run.name = path.stem().string();
  if (recipe.run.out.empty()) recipe.run.out = "runs/" + recipe.run.name;
  return recipe;
}

void check_recipe(const Recipe& recipe, std::string_view origin) {
  check_data(recipe, origin);
  check_model_and_batch(recipe, origin);
  check_adapter(recipe, origin);
  check_length(recipe, origin);
  check_schedule(recipe, origin);
  check_distillation(recipe, origin);
}

Recipe with_steps(Recipe recipe, int64_t steps, std::string_view origin) {
  recipe.steps = steps;
  recipe.epochs = recipe.minutes = 0.0;
  check_recipe(recipe, origin);
  return recipe;
}

}  // namespace fledge::train
