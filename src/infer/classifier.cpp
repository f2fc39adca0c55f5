#include "infer/classifier.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/json.h"
#include "models/encoder_input.h"
#include "tensor/cross_entropy.h"

namespace fledge::infer {
namespace {

using tensor::DType;
using tensor::Tensor;

// Tokens that go through the model at once; see Embedder.
constexpr int64_t kTokensAtOnce = 1024;

std::vector<std::string> label_names(const base::Json& config) {
  const auto named = config.find("id2label");
  if (named == config.end() || !named->is_object() || named->empty()) {
    throw base::Error(
        "the model has no head of labels (BertForSequenceClassification or BertForTokenClassification); train one with "
        "objective.kind = \"classify\"");
  }
  std::vector<std::string> labels;
  for (size_t id = 0; id < named->size(); ++id) labels.push_back(named->at(std::to_string(id)).get<std::string>());
  return labels;
}

}  // namespace

Classifier::Classifier(models::LanguageModel& model, nn::Memory& memory, nn::Tokenizer tokenizer, DType activation_type)
    : model_(model), memory_(memory), tokenizer_(std::move(tokenizer)), activation_type_(activation_type) {
  const base::Json config = model.config();
  labels_ = label_names(config);
  labels_words_ = config.at("architectures").front() == "BertForTokenClassification";
  special_ = nn::encoder_tokens(tokenizer_, "the model's folder");
  if (tokenizer_.vocabulary_size() > model.vocabulary_size()) {
    throw base::Error("the tokenizer has {} tokens and the model {}", tokenizer_.vocabulary_size(),
                      model.vocabulary_size());
  }
}

nn::EncoderText Classifier::encode(std::string_view first, const std::string* second) const {
  return nn::encode_text(tokenizer_, special_, first, second, model_.context_length());
}

nn::EncoderText Classifier::encode(std::span<const std::string> words) const {
  return nn::encode_words(tokenizer_, special_, words, model_.context_length());
}

void Classifier::run(std::span<const nn::EncoderText> texts, std::span<const size_t> order,
                     std::vector<std::vector<std::vector<float>>>& results) {
  nn::EncoderRow row(special_);
  for (const size_t index : order) row.add_whole(texts[index].ids, texts[index].segments);
  tensor::Arena& arena = memory_.activations;
  grad::Graph graph(arena, memory_.encodings, activation_type_, false);
  const models::ForwardInput input = models::encoder_input(row, arena);
  const auto width = static_cast<int64_t>(labels_.size());
  Tensor logits = model_.forward(graph, input).named.at("logits").value().reshape({-1, width});
  if (!is_regression()) tensor::log_softmax(logits, logits);
  std::vector<float> scores = logits.to_vector<float>();
  if (!is_regression()) std::ranges::transform(scores, scores.begin(), [](float score) { return std::exp(score); });
  const auto row_of = [&](int64_t place) {
    return std::vector<float>(scores.begin() + place * width, scores.begin() + (place + 1) * width);
  };
  int64_t text_number = 0, begin = 0;
  for (const size_t index : order) {
    if (!labels_words_) {
      results[index] = {row_of(text_number++)};
      continue;
    }
    for (const int32_t place : texts[index].words) {
      results[index].push_back(place < 0 ? std::vector<float>{} : row_of(begin + place));
    }
    begin += static_cast<int64_t>(texts[index].ids.size());
  }
}

std::vector<std::vector<std::vector<float>>> Classifier::classify(std::span<const nn::EncoderText> texts) {
  // Texts of like length together: the passes are then equally full.
  std::vector<size_t> order(texts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return texts[a].ids.size() > texts[b].ids.size(); });
  std::vector<std::vector<std::vector<float>>> results(texts.size());
  for (size_t first = 0; first < order.size();) {
    size_t last = first;
    int64_t tokens = 0;
    do {
      tokens += static_cast<int64_t>(texts[order[last++]].ids.size());
    } while (last < order.size() && tokens + static_cast<int64_t>(texts[order[last]].ids.size()) <= kTokensAtOnce);
    run(texts, std::span(order).subspan(first, last - first), results);
    first = last;
  }
  return results;
}

}  // namespace fledge::infer
