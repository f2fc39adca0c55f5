#include "models/language_model.h"

#include <array>

#include "base/error.h"
#include "grad/linear.h"
#include "models/gpt2.h"

namespace fledge::models {
namespace {

using Maker = std::unique_ptr<LanguageModel> (*)(const base::Json&, const std::string&);

struct Family {
  std::string_view name;
  Maker make;
};

constexpr std::array kFamilies = {
    Family{"gpt2", [](const base::Json& config, const std::string& origin) -> std::unique_ptr<LanguageModel> {
             return std::make_unique<Gpt2>(Gpt2Config::from_json(config, origin));
           }}};

}  // namespace

grad::Variable logits(grad::Graph& graph, LanguageModel& model, const grad::Variable& hidden) {
  const Head head = model.head();
  grad::LinearOptions options;
  options.wide = true;
  return grad::linear(graph, hidden, *head.weight, head.layout, options);
}

void check_input(const LanguageModel& model, const tensor::Tensor& ids, int64_t seen) {
  if (ids.dim(1) + seen > model.context_length()) {
    throw base::Error("a sequence of {} tokens is longer than the model's context of {}", ids.dim(1) + seen,
                      model.context_length());
  }
}

std::unique_ptr<LanguageModel> make_model(const base::Json& config, const std::string& origin) {
  const auto type = base::json_require<std::string>(config, "model_type", origin);
  std::string known;
  for (const Family& family : kFamilies) {
    if (family.name == type) return family.make(config, origin);
    known += fmt::format("{}{}", known.empty() ? "" : ", ", family.name);
  }
  throw base::Error("{}: the model type \"{}\" is not known; fledge knows {}", origin, type, known);
}

}  // namespace fledge::models
