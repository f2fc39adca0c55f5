#include "cli/adapter_options.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "cli/verb.h"

namespace fledge::cli {
namespace {

/// The number behind the last "=", where all of it is one.
bool split_weight(const std::string& text, std::string& path, double& weight) {
  const size_t equals = text.rfind('=');
  if (equals == std::string::npos || equals == 0) return false;
  const char *first = text.data() + equals + 1, *last = text.data() + text.size();
  const auto [end, error] = std::from_chars(first, last, weight);
  if (error != std::errc() || end != last || !std::isfinite(weight)) return false;
  path = text.substr(0, equals);
  return true;
}

}  // namespace

void add_adapter_option(Verb verb, std::vector<std::string>& adapters) {
  verb.add_option(
          "--adapter", adapters,
          "Folder of an adapter in PEFT's format, or of a run that trained one; DIR=0.5 counts half of it. May be "
          "given several times: their changes add up")
      .type_name("DIR[=WEIGHT]")
      .allow_extra_args(false)
      .group("Adapters");
}

models::AdapterSource parse_adapter(const std::string& text, const std::vector<models::AdapterSource>& others) {
  models::AdapterSource source;
  std::string path = text;
  std::error_code ignored;
  // A folder whose name happens to end like a weight is the folder.
  if (!std::filesystem::exists(text, ignored)) split_weight(text, path, source.weight);
  source.folder = models::find_adapter(path);
  if (source.folder.empty()) {
    throw base::UsageError("--adapter: {} holds no adapter ({})", path,
                           std::filesystem::is_directory(path, ignored)
                               ? fmt::format("there is no {}", models::kAdapterConfigFile)
                               : "there is no such folder");
  }
  const std::filesystem::path whole = std::filesystem::absolute(path).lexically_normal();
  const std::string name = whole.has_filename() ? whole.filename().string() : whole.parent_path().filename().string();
  source.name = name;
  const auto taken = [&](const models::AdapterSource& other) { return other.name == source.name; };
  for (int number = 2; std::ranges::any_of(others, taken); ++number) source.name = fmt::format("{}-{}", name, number);
  return source;
}

std::vector<models::AdapterSource> parse_adapters(const std::vector<std::string>& texts) {
  std::vector<models::AdapterSource> sources;
  for (const std::string& text : texts) sources.push_back(parse_adapter(text, sources));
  return sources;
}

}  // namespace fledge::cli
