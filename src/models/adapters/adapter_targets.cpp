#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/nearest.h"
#include "models/adapters/model_adapter.h"

namespace fledge::models {
namespace {

using base::Error;

constexpr std::string_view kWeight = ".weight";
constexpr std::string_view kAllLinear = "all-linear";

std::string last_part(const std::string& name) {
  return name.substr(name.rfind('.') + 1);
}

bool is_named(const std::string& module, const std::vector<std::string>& names) {
  return std::ranges::any_of(names,
                             [&](const std::string& name) { return module == name || module.ends_with("." + name); });
}

bool is_digits(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

/// The number of the layer that a module belongs to, the first part of its name that is a number; -1: none.
int64_t layer_of(const std::string& module) {
  for (size_t begin = 0; begin < module.size();) {
    const size_t end = std::min(module.find('.', begin), module.size());
    const std::string_view part = std::string_view(module).substr(begin, end - begin);
    if (begin > 0 && is_digits(part) && part.size() < 10) return std::stoll(std::string(part));
    begin = end + 1;
  }
  return -1;
}

/// Whether layers_to_transform and layers_pattern let the module be.
bool is_in_layers(const std::string& module, const AdapterConfig& config, const std::string& origin) {
  if (config.layers.empty()) return true;
  const int64_t layer = layer_of(module);
  if (layer < 0 || std::ranges::find(config.layers, layer) == config.layers.end()) return false;
  if (config.layers_patterns.empty()) return true;
  return std::ranges::any_of(config.layers_patterns, [&](const std::string& pattern) {
    return is_whole_name(fmt::format("(?:.*?\\.)?(?:{})\\.{}\\..*", pattern, layer), module, origin);
  });
}

bool matches(const AdaptableModule& module, const AdapterConfig& config, const std::string& origin) {
  if (!config.exclude_pattern.empty() && is_whole_name(config.exclude_pattern, module.name, origin)) return false;
  if (is_named(module.name, config.exclude_modules)) return false;
  if (config.target_pattern == kAllLinear) return module.kind != nn::ModuleKind::embedding && module.in_block;
  if (!config.target_pattern.empty()) return is_whole_name(config.target_pattern, module.name, origin);
  return is_named(module.name, config.target_modules) && is_in_layers(module.name, config, origin);
}

/// The names under which Hugging Face's models know a head that is the embedding.
std::string tied_head_name(const LanguageModel& model) {
  return model.is_causal() ? "lm_head" : "cls.predictions.decoder";
}

[[noreturn]] void refuse_tied(const std::string& module, const std::string& origin) {
  throw Error(
      "{}: the target {} shares its weight between the embedding and the head, and merging an adapter of one of them "
      "would alter the other; leave it out of target_modules",
      origin, module);
}

void require_every_name_used(const std::vector<AdaptableModule>& modules, const AdapterConfig& config,
                             const std::string& origin) {
  for (const std::string& name : config.target_modules) {
    const auto fits = [&](const AdaptableModule& module) { return is_named(module.name, {name}); };
    if (std::ranges::any_of(modules, fits)) continue;
    std::set<std::string> known;
    for (const AdaptableModule& module : modules) {
      known.insert(name.find('.') == std::string::npos ? last_part(module.name) : module.name);
    }
    const std::string hint = base::nearest(name, known);
    std::string names;
    for (const AdaptableModule& module : modules) {
      const std::string last = last_part(module.name);
      if (names.find(last) == std::string::npos) names += (names.empty() ? "" : ", ") + last;
    }
    throw Error("{}: the target {} matches no layer of the model{}; it has {}", origin, quoted_name(name),
                hint.empty() ? "" : fmt::format("; did you mean {}?", hint), names);
  }
}

template <typename T>
void require_patterns_used(const std::vector<AdaptableModule>& targets,
                           const std::vector<std::pair<std::string, T>>& pattern, const char* key,
                           const std::string& origin) {
  for (const auto& [regex, value] : pattern) {
    const auto fits = [&, &own = regex](const AdaptableModule& module) {
      return is_end_of_name(own, module.name, origin);
    };
    if (std::ranges::any_of(targets, fits)) continue;
    std::vector<std::string> known;
    for (const AdaptableModule& module : targets) known.push_back(last_part(module.name));
    const std::string hint = base::nearest(regex, known);
    throw Error("{}: {} names {}, which is none of the layers that the adapter changes{}", origin, key,
                quoted_name(regex), hint.empty() ? "" : fmt::format("; did you mean {}?", hint));
  }
}

void require_rank_fits(const AdaptableModule& module, const AdapterConfig& config, const std::string& origin) {
  const int64_t rank = config.rank_of(module.name), most = std::min(module.inputs(), module.outputs());
  if (rank <= most) return;
  throw Error("{}: the rank {} is larger than the layer {}, which is {} x {}; choose at most {}", origin, rank,
              module.name, module.outputs(), module.inputs(), most);
}

}  // namespace

std::vector<AdaptableModule> adaptable_modules(LanguageModel& model) {
  std::vector<AdaptableModule> modules;
  const grad::Parameter* head = model.predicts_tokens() ? model.head().weight : nullptr;
  for (const auto& entry : model.parameters().entries()) {
    const std::string& name = entry.parameter->name();
    if (entry.options.module == nn::ModuleKind::other || entry.options.auxiliary || !name.ends_with(kWeight)) continue;
    AdaptableModule module{name.substr(0, name.size() - kWeight.size()), entry.parameter.get(), entry.options.module,
                           false, false};
    module.is_tied = head == module.weight && module.kind == nn::ModuleKind::embedding;
    module.in_block = layer_of(module.name) >= 0;
    modules.push_back(std::move(module));
  }
  return modules;
}

std::vector<AdaptableModule> targets_of(LanguageModel& model, const AdapterConfig& config, const std::string& origin) {
  const std::vector<AdaptableModule> modules = adaptable_modules(model);
  std::vector<AdaptableModule> targets;
  for (const AdaptableModule& module : modules) {
    if (!matches(module, config, origin)) continue;
    if (module.is_tied) refuse_tied(module.name, origin);
    if (module.kind == nn::ModuleKind::embedding && config.use_dora) {
      throw Error("{}: use_dora is true and {} is an embedding; fledge has DoRA for linear layers alone", origin,
                  module.name);
    }
    require_rank_fits(module, config, origin);
    targets.push_back(module);
  }
  const bool has_tied = std::ranges::any_of(modules, &AdaptableModule::is_tied);
  if (has_tied && matches({tied_head_name(model), nullptr, nn::ModuleKind::linear, true, false}, config, origin)) {
    refuse_tied(tied_head_name(model), origin);
  }
  require_every_name_used(modules, config, origin);
  if (targets.empty()) {
    throw Error("{}: the target pattern {} matches no layer of the model, whose first layers are called {} and {}",
                origin, quoted_name(config.target_pattern), modules.front().name,
                modules[std::min<size_t>(modules.size() - 1, 2)].name);
  }
  require_patterns_used(targets, config.rank_pattern, "rank_pattern", origin);
  require_patterns_used(targets, config.alpha_pattern, "alpha_pattern", origin);
  return targets;
}

std::vector<std::string> shortest_targets(LanguageModel& model, const std::vector<AdaptableModule>& targets) {
  std::set<std::string> last, whole;
  for (const AdaptableModule& target : targets) {
    last.insert(last_part(target.name));
    whole.insert(target.name);
  }
  const std::vector<std::string> short_names(last.begin(), last.end());
  std::vector<std::string> others{"lm_head", "cls.predictions.decoder"};
  for (const AdaptableModule& module : adaptable_modules(model)) others.push_back(module.name);
  const bool hits_more = std::ranges::any_of(
      others, [&](const std::string& name) { return !whole.contains(name) && is_named(name, short_names); });
  return hits_more ? std::vector<std::string>(whole.begin(), whole.end()) : short_names;
}

}  // namespace fledge::models
