#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_fwd.h"
#include "infer/sampler.h"

namespace fledge::cli {

/// How answers are drawn.
struct ChatSettings {
  infer::SamplingOptions sampling;  ///< its seed is not used
  int64_t max_tokens = 1024;
  std::optional<uint64_t> seed;  ///< nothing: another one each time
  std::vector<std::string> stop;
};

/// What a model's generation_config.json asks for, read as transformers reads it: without sampling (`do_sample` false)
/// the likeliest token, with it temperature 1 and the 50 likeliest tokens unless it says otherwise. Where it says
/// nothing, temperature 0.8. `origin` names the file in errors.
ChatSettings settings_of_model(const base::Json& generation_config, const std::string& origin);

/// Changes one setting by its name ("top-p" or "top_p"). Throws base::UsageError, and changes nothing, where there is
/// no such setting or the value is not one.
void set_value(ChatSettings& settings, std::string_view name, std::string_view value);

/// One line for each setting.
std::string describe(const ChatSettings& settings);

base::OrderedJson to_json(const ChatSettings& settings);
/// Throws base::Error naming `origin` and the setting that is wrong.
ChatSettings settings_from_json(const base::OrderedJson& json, const std::string& origin);

}  // namespace fledge::cli
