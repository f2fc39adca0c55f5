#include "cli/chat_settings.h"

#include <charconv>
#include <functional>

#include "base/error.h"
#include "base/json.h"
#include "base/nearest.h"
#include "base/terminal.h"

namespace fledge::cli {
namespace {

template <typename T>
T number(std::string_view name, std::string_view value) {
  T result{};
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), result);
  if (error != std::errc() || end != value.data() + value.size()) {
    throw base::UsageError("{} is \"{}\", expected a {}number", name, value, std::is_integral_v<T> ? "whole " : "");
  }
  return result;
}

struct Setting {
  const char* name;
  std::function<void(ChatSettings&, std::string_view)> set;
  std::function<std::string(const ChatSettings&)> show;
};

template <typename T>
Setting sampling_setting(const char* name, T infer::SamplingOptions::*member) {
  return {name,
          [name, member](ChatSettings& settings, std::string_view value) {
            settings.sampling.*member = number<T>(name, value);
          },
          [member](const ChatSettings& settings) { return fmt::format("{}", settings.sampling.*member); }};
}

void set_max_tokens(ChatSettings& settings, std::string_view value) {
  const auto tokens = number<int64_t>("max-tokens", value);
  if (tokens < 1) throw base::UsageError("max-tokens is {}, expected at least 1", tokens);
  settings.max_tokens = tokens;
}

void set_seed(ChatSettings& settings, std::string_view value) {
  settings.seed.reset();
  if (!value.empty()) settings.seed = number<uint64_t>("seed", value);
}

void set_stop(ChatSettings& settings, std::string_view value) {
  settings.stop.clear();
  if (!value.empty()) settings.stop.emplace_back(value);
}

std::string show_stop(const ChatSettings& settings) {
  std::string text;
  for (const std::string& stop : settings.stop) text += (text.empty() ? "\"" : ", \"") + base::printable(stop) + "\"";
  return text.empty() ? "none" : text;
}

const std::vector<Setting>& all_settings() {
  using Options = infer::SamplingOptions;
  static const std::vector<Setting> settings = {
      sampling_setting("temperature", &Options::temperature),
      sampling_setting("top-k", &Options::top_k),
      sampling_setting("top-p", &Options::top_p),
      sampling_setting("min-p", &Options::min_p),
      sampling_setting("repetition-penalty", &Options::repetition_penalty),
      sampling_setting("frequency-penalty", &Options::frequency_penalty),
      sampling_setting("presence-penalty", &Options::presence_penalty),
      {"max-tokens", set_max_tokens, [](const ChatSettings& chat) { return std::to_string(chat.max_tokens); }},
      {"seed", set_seed,
       [](const ChatSettings& chat) { return chat.seed ? std::to_string(*chat.seed) : "another one each time"; }},
      {"stop", set_stop, show_stop},
  };
  return settings;
}

}  // namespace

void set_value(ChatSettings& settings, std::string_view name, std::string_view value) {
  std::string wanted(name);
  for (char& character : wanted) character = character == '_' ? '-' : character;
  std::vector<std::string> names;
  for (const Setting& setting : all_settings()) {
    names.emplace_back(setting.name);
    if (wanted != setting.name) continue;
    ChatSettings changed = settings;
    setting.set(changed, value);
    infer::check_sampling_options(changed.sampling);
    settings = std::move(changed);
    return;
  }
  const std::string near = base::nearest(wanted, names);
  throw base::UsageError("there is no setting \"{}\"; {}", wanted,
                         near.empty() ? "/set lists them" : fmt::format("did you mean {}?", near));
}

std::string describe(const ChatSettings& settings) {
  std::string text;
  for (const Setting& setting : all_settings())
    text += fmt::format("  {:<20}{}\n", setting.name, setting.show(settings));
  return text;
}

ChatSettings settings_of_model(const base::Json& config, const std::string& origin) {
  ChatSettings settings;
  const bool says = config.contains("do_sample") && !config["do_sample"].is_null();
  const bool samples = base::json_get<bool>(config, "do_sample", true, origin);
  infer::SamplingOptions& sampling = settings.sampling;
  sampling.temperature = base::json_get<double>(config, "temperature", says ? 1.0 : 0.8, origin);
  sampling.top_k = base::json_get<int64_t>(config, "top_k", says ? 50 : 0, origin);
  sampling.top_p = base::json_get<double>(config, "top_p", 1.0, origin);
  sampling.min_p = base::json_get<double>(config, "min_p", 0.0, origin);
  sampling.repetition_penalty = base::json_get<double>(config, "repetition_penalty", 1.0, origin);
  if (!samples) {
    sampling.temperature = 0;
    sampling.top_k = 0;
    sampling.top_p = 1;
  }
  settings.max_tokens = base::json_get<int64_t>(config, "max_new_tokens", settings.max_tokens, origin);
  try {
    infer::check_sampling_options(sampling);
    if (settings.max_tokens < 1) throw base::UsageError("max_new_tokens is {}", settings.max_tokens);
  } catch (const base::Error& error) {
    throw base::Error("{}: {}", origin, error.what());
  }
  return settings;
}

base::OrderedJson to_json(const ChatSettings& settings) {
  base::OrderedJson json = base::OrderedJson::object();
  for (const Setting& setting : all_settings()) {
    const std::string name = setting.name;
    if (name == "stop") {
      json[name] = settings.stop;
    } else if (name == "seed") {
      json[name] = settings.seed ? base::OrderedJson(*settings.seed) : base::OrderedJson(nullptr);
    } else {
      json[name] = base::OrderedJson::parse(setting.show(settings));
    }
  }
  return json;
}

ChatSettings settings_from_json(const base::OrderedJson& json, const std::string& origin) {
  if (!json.is_object()) throw base::Error("{}: \"settings\" is not an object", origin);
  ChatSettings settings;
  for (const auto& [name, value] : json.items()) {
    try {
      if (name == "stop" && value.is_array()) {
        for (const auto& text : value) {
          if (!text.is_string() || text.get_ref<const std::string&>().empty())
            throw base::Error("\"stop\" holds something else than texts");
          settings.stop.push_back(text.get<std::string>());
        }
      } else if (value.is_number()) {
        set_value(settings, name, value.dump());
      } else if (name != "seed" || !value.is_null()) {
        throw base::Error("the setting \"{}\" is not a number", name);
      }
    } catch (const base::Error& error) {
      throw base::Error("{}: {}", origin, error.what());
    }
  }
  return settings;
}

}  // namespace fledge::cli
