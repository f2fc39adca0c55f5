#include "nn/rotary.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "base/json.h"

namespace fledge::nn {
namespace {

using Kind = RotarySettings::Kind;

struct KindName {
  std::string_view name;
  Kind kind;
};
constexpr std::array kKinds = {KindName{"default", Kind::plain}, KindName{"linear", Kind::linear},
                               KindName{"dynamic", Kind::dynamic}, KindName{"llama3", Kind::llama3},
                               KindName{"yarn", Kind::yarn}};

Kind parse_kind(const std::string& name, const std::string& origin) {
  std::string known;
  for (const KindName& entry : kKinds) {
    if (entry.name == name) return entry.kind;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", entry.name);
  }
  throw base::Error("{}: rotary positions of the type \"{}\" are not supported; fledge knows {}", origin, name, known);
}

std::string_view name_of(Kind kind) {
  return std::ranges::find(kKinds, kind, &KindName::kind)->name;
}

void require_range(double value, double lowest, double highest, const char* key, const std::string& origin) {
  if (value >= lowest && value <= highest) return;  // false for a NaN
  throw base::Error("{}: {} of the rotary positions is {}, expected {} to {}", origin, key, value, lowest, highest);
}

/// Where the number of turns over the original context is `turns`: an index of a pair, as a fraction (YaRN, appendix
/// A.2, and the code of its authors).
double correction_index(const RotarySettings& settings, double turns, double head_size) {
  const auto context = static_cast<double>(settings.original_context);
  return head_size * std::log(context / (turns * 2 * std::numbers::pi)) / (2 * std::log(settings.theta));
}

double yarn_scale(double factor, double weight) {
  return factor <= 1.0 ? 1.0 : 0.1 * weight * std::log(factor) + 1.0;
}

void apply_yarn(const RotarySettings& settings, int64_t head_size, RotaryFrequencies& frequencies) {
  const auto size = static_cast<double>(head_size);
  double low = correction_index(settings, settings.beta_fast, size);
  double high = correction_index(settings, settings.beta_slow, size);
  if (settings.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, size - 1);
  if (low == high) high += 0.001;
  for (size_t index = 0; index < frequencies.inverse.size(); ++index) {
    const double ramp = std::clamp((static_cast<double>(index) - low) / (high - low), 0.0, 1.0);
    const double kept = frequencies.inverse[index];
    frequencies.inverse[index] = static_cast<float>(kept / settings.factor * ramp + kept * (1 - ramp));
  }
  if (settings.attention_factor) {
    frequencies.attention_factor = *settings.attention_factor;
  } else if (settings.mscale != 0.0 && settings.mscale_all_dim != 0.0) {
    frequencies.attention_factor =
        yarn_scale(settings.factor, settings.mscale) / yarn_scale(settings.factor, settings.mscale_all_dim);
  } else {
    frequencies.attention_factor = yarn_scale(settings.factor, 1.0);
  }
}

void apply_llama3(const RotarySettings& settings, RotaryFrequencies& frequencies) {
  const auto context = static_cast<double>(settings.original_context);
  const double low = settings.low_frequency_factor, high = settings.high_frequency_factor;
  for (float& inverse : frequencies.inverse) {
    const double frequency = inverse, turns = context * frequency / (2 * std::numbers::pi);  // over the old context
    if (turns < low) {
      inverse = static_cast<float>(frequency / settings.factor);
    } else if (turns <= high) {
      const double smooth = (turns - low) / (high - low);
      inverse = static_cast<float>((1 - smooth) * frequency / settings.factor + smooth * frequency);
    }
  }
}

}  // namespace

RotarySettings RotarySettings::from_json(const base::Json& config, int64_t context, const std::string& origin) {
  RotarySettings settings;
  const auto object_at = [&](const char* key) {
    const auto found = config.find(key);
    if (found == config.end() || found->is_null()) return base::Json::object();
    if (!found->is_object()) throw base::Error("{}: the key \"{}\" holds no JSON object", origin, key);
    return *found;
  };
  base::Json given = object_at("rope_parameters");
  if (given.empty()) given = object_at("rope_scaling");
  const auto real = [&](const char* key, double fallback) { return base::json_get(given, key, fallback, origin); };

  const std::string old_name = base::json_get<std::string>(given, "type", "default", origin);
  settings.kind = parse_kind(base::json_get(given, "rope_type", old_name, origin), origin);
  settings.theta = real("rope_theta", base::json_get(config, "rope_theta", settings.theta, origin));
  require_range(settings.theta, 1.0 + 1e-6, 1e15, "rope_theta", origin);
  const double part = real("partial_rotary_factor", base::json_get(config, "partial_rotary_factor", 1.0, origin));
  if (part != 1.0) {
    throw base::Error("{}: partial_rotary_factor is {}; only positions that turn whole heads (1) are supported", origin,
                      part);
  }
  if (settings.kind == Kind::plain) return settings;

  const bool bends = settings.kind == Kind::llama3 || settings.kind == Kind::yarn;
  settings.original_context = base::json_get(given, "original_max_position_embeddings", context, origin);
  require_range(static_cast<double>(settings.original_context), 1, 1e9, "original_max_position_embeddings", origin);
  const double ratio = static_cast<double>(context) / static_cast<double>(settings.original_context);
  settings.factor = real("factor", settings.kind == Kind::yarn ? ratio : 0.0);
  require_range(settings.factor, bends ? 1e-3 : 1.0, 1e6, "factor", origin);
  settings.low_frequency_factor = real("low_freq_factor", settings.low_frequency_factor);
  settings.high_frequency_factor = real("high_freq_factor", settings.high_frequency_factor);
  require_range(settings.low_frequency_factor, 1e-3, 1e6, "low_freq_factor", origin);
  require_range(settings.high_frequency_factor, settings.low_frequency_factor * (1 + 1e-9), 1e6, "high_freq_factor",
                origin);
  if (given.contains("attention_factor") && !given["attention_factor"].is_null()) {
    settings.attention_factor = base::json_require<double>(given, "attention_factor", origin);
    require_range(*settings.attention_factor, 1e-6, 1e6, "attention_factor", origin);
  }
  settings.beta_fast = real("beta_fast", settings.beta_fast);
  settings.beta_slow = real("beta_slow", settings.beta_slow);
  require_range(settings.beta_fast, 1e-6, 1e9, "beta_fast", origin);
  require_range(settings.beta_slow, 1e-6, 1e9, "beta_slow", origin);
  settings.mscale = real("mscale", 0.0);
  settings.mscale_all_dim = real("mscale_all_dim", 0.0);
  require_range(settings.mscale, 0.0, 1e6, "mscale", origin);
  require_range(settings.mscale_all_dim, 0.0, 1e6, "mscale_all_dim", origin);
  settings.truncate = base::json_get(given, "truncate", true, origin);
  return settings;
}

void RotarySettings::to_json(base::Json& config) const {
  base::Json parameters = {{"rope_type", std::string(name_of(kind))}, {"rope_theta", theta}};
  if (kind != Kind::plain) parameters["factor"] = factor;
  if (kind == Kind::llama3) {
    parameters["low_freq_factor"] = low_frequency_factor;
    parameters["high_freq_factor"] = high_frequency_factor;
    parameters["original_max_position_embeddings"] = original_context;
  }
  if (kind == Kind::yarn) {
    parameters["original_max_position_embeddings"] = original_context;
    parameters["beta_fast"] = beta_fast;
    parameters["beta_slow"] = beta_slow;
    parameters["truncate"] = truncate;
    if (attention_factor) parameters["attention_factor"] = *attention_factor;
    if (mscale != 0.0) parameters["mscale"] = mscale;
    if (mscale_all_dim != 0.0) parameters["mscale_all_dim"] = mscale_all_dim;
  }
  config["rope_parameters"] = parameters;
  config["rope_theta"] = theta;
  if (kind != Kind::plain) config["rope_scaling"] = parameters;
}

RotaryFrequencies rotary_frequencies(const RotarySettings& settings, int64_t head_size) {
  RotaryFrequencies frequencies;
  const auto theta = static_cast<float>(settings.theta), size = static_cast<float>(head_size);
  for (int64_t index = 0; index < head_size / 2; ++index) {
    // In f32 throughout, as transformers computes them.
    const float power = std::pow(theta, static_cast<float>(2 * index) / size);
    frequencies.inverse.push_back(1.0f / power);
  }
  switch (settings.kind) {
    case Kind::plain:
    case Kind::dynamic:
      break;
    case Kind::linear:
      for (float& inverse : frequencies.inverse) inverse /= static_cast<float>(settings.factor);
      break;
    case Kind::llama3:
      apply_llama3(settings, frequencies);
      break;
    case Kind::yarn:
      apply_yarn(settings, head_size, frequencies);
  }
  return frequencies;
}

}  // namespace fledge::nn
