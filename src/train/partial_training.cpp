#include "train/partial_training.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/nearest.h"
#include "base/terminal.h"

namespace fledge::train {
namespace {

bool is_meant(const std::string& parameter, const std::string& name) {
  return ("." + parameter + ".").find("." + name + ".") != std::string::npos;
}

/// Names and their last parts but "weight" and "bias": what a user would have written.
std::set<std::string> known_names(const models::LanguageModel& model) {
  std::set<std::string> known;
  for (const auto& entry : model.parameters().entries()) {
    const std::string& name = entry.parameter->name();
    const std::string module = name.substr(0, name.rfind('.'));
    known.insert(name);
    known.insert(module);
    known.insert(module.substr(module.rfind('.') + 1));
  }
  return known;
}

}  // namespace

void freeze_all_but(const std::vector<std::string>& names, models::LanguageModel& model) {
  for (const std::string& name : names) {
    const bool is_there = std::ranges::any_of(
        model.parameters().entries(), [&](const auto& entry) { return is_meant(entry.parameter->name(), name); });
    if (is_there) continue;
    const std::string hint = base::nearest(name, known_names(model));
    throw base::UsageError("model.train_only names {}, which is no part of the model{}", base::printable(name),
                           hint.empty() ? "" : fmt::format("; did you mean {}?", hint));
  }
  try {
    model.parameters().freeze([&](const std::string& parameter) {
      return std::ranges::none_of(names, [&](const std::string& name) { return is_meant(parameter, name); });
    });
  } catch (const base::Error& error) {
    throw base::UsageError("model.train_only: {}", error.what());
  }
}

}  // namespace fledge::train
