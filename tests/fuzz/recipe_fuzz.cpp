// Recipes from outside: a TOML file and, behind a null character, overrides a line each. Whatever comes in, the reader
// gives a recipe or an Error; a recipe that it gives reads back from what to_toml() writes to the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "train/recipe.h"
#include "train/schedule.h"

using namespace fledge;

namespace {

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t null = input.find('\0');
  const std::vector<std::string> overrides =
      null == std::string_view::npos ? std::vector<std::string>{} : lines_of(input.substr(null + 1));
  train::Recipe recipe;
  try {
    recipe = train::parse_recipe(input.substr(0, null), "fuzz.toml", overrides);
  } catch (const base::Error&) {
    return 0;
  }
  const std::string text = train::to_toml(recipe);
  if (train::to_toml(train::parse_recipe(text, "resolved.toml")) != text) std::abort();
  if (recipe.steps > 0) {
    const train::Schedule schedule = train::Schedule::of(recipe, recipe.steps);
    for (const int64_t step : {int64_t{0}, recipe.steps / 2, recipe.steps - 1}) {
      const double multiplier = schedule.multiplier(step);
      if (!(multiplier >= 0.0 && multiplier <= 1.0)) std::abort();
    }
  }
  return 0;
}
