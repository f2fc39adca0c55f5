#include "models/language_model.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/json.h"
#include "grad/linear.h"
#include "grad/recompute.h"
#include "models/bert.h"
#include "models/gpt2.h"
#include "models/llama.h"

namespace fledge::models {
namespace {

using Maker = std::unique_ptr<LanguageModel> (*)(const base::Json&, const std::string&);

struct Family {
  std::string_view name;
  Maker make;
};

template <typename Model, typename Config>
std::unique_ptr<LanguageModel> make(const base::Json& config, const std::string& origin) {
  return std::make_unique<Model>(Config::from_json(config, origin));
}

constexpr std::array kFamilies = {
    Family{"gpt2", make<Gpt2, Gpt2Config>},    Family{"llama", make<Llama, LlamaConfig>},
    Family{"bert", make<Bert, BertConfig>},    Family{"mistral", make<Llama, LlamaConfig>},
    Family{"qwen2", make<Llama, LlamaConfig>}, Family{"qwen3", make<Llama, LlamaConfig>}};

}  // namespace

base::Json LanguageModel::generation_config() const {
  return base::Json::object();
}

grad::Variable logits(grad::Graph& graph, LanguageModel& model, const grad::Variable& hidden) {
  const Head head = model.head();
  grad::LinearOptions options;
  options.wide = true;
  options.bias = head.bias;
  return grad::linear(graph, hidden, *head.weight, head.layout, options);
}

void require_causal(const LanguageModel& model, std::string_view what) {
  if (model.is_causal()) return;
  const base::Json config = model.config();
  throw base::Error("a {} model reads a text in both directions and cannot {}",
                    base::json_get<std::string>(config, "model_type", "encoder", "the model"), what);
}

grad::Variable LanguageModel::through_block(grad::Graph& graph, const ForwardInput& input, const grad::Variable& x,
                                            const BlockFunction& block) {
  const bool recomputes = graph.recomputes_blocks() && !input.tap && input.state == nullptr;
  return recomputes ? grad::recomputed(graph, x, block) : block(graph, x);
}

void check_input(const LanguageModel& model, const ForwardInput& input) {
  if (input.head_rows && model.is_causal()) throw base::Error("head_rows are for models that predict masked tokens");
  const tensor::Shape& shape = input.ids ? input.ids.shape() : input.embeddings.shape();
  const auto check_length = [&](int64_t length) {
    if (length <= model.context_length()) return;
    throw base::Error("a sequence of {} tokens is longer than the model's context of {}", length,
                      model.context_length());
  };
  if (input.state == nullptr && input.positions) {
    // A row of packed documents may be longer than each of them.
    if (input.positions.device() == tensor::Device::meta) return;
    int64_t length = 0;
    for (const int32_t position : input.positions.to_vector<int32_t>())
      length = std::max<int64_t>(length, position + 1);
    return check_length(length);
  }
  if (input.state == nullptr) return check_length(shape[1]);
  int64_t announced = 0;
  for (const tensor::PagedSequence& sequence : input.state->sequences) {
    check_length(sequence.length + sequence.count);
    announced += sequence.count;
  }
  if (shape[0] != 1 || shape[1] != announced) {
    throw base::Error("the input is {} and the state's sequences have {} new tokens", shape.text(), announced);
  }
}

tensor::Tensor positions_of(const ForwardInput& input, int64_t batch, int64_t tokens, tensor::Arena& arena) {
  if (input.positions) return input.positions;
  std::vector<int32_t> positions;
  positions.reserve(static_cast<size_t>(batch * tokens));
  const auto count_up = [&](int64_t first, int64_t count) {
    for (int64_t index = 0; index < count; ++index) positions.push_back(static_cast<int32_t>(first + index));
  };
  if (input.state == nullptr) {
    for (int64_t row = 0; row < batch; ++row) count_up(0, tokens);
  } else {
    for (const tensor::PagedSequence& sequence : input.state->sequences) count_up(sequence.length, sequence.count);
  }
  return tensor::Tensor::from(positions, {batch, tokens}, arena);
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
