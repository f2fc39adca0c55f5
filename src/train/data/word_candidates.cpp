#include "train/data/word_candidates.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/parallel.h"
#include "models/encoder_input.h"
#include "nn/text/character_class.h"
#include "nn/text/tokenizer_parts.h"
#include "nn/text/utf8.h"
#include "nn/text/word_piece_model.h"

namespace fledge::train {
namespace {

using tensor::Tensor;

// Tokens that go through the model at once; see infer::Embedder.
constexpr int64_t kTokensAtOnce = 1024;

bool is_of_letters(std::string_view bytes) {
  for (size_t at = 0; at < bytes.size();) {
    size_t length = nn::utf8_length(bytes, at);
    if (length == 0) return false;
    if (nn::character_classes()[nn::decode_utf8(bytes.data() + at, length)] != nn::CharacterClass::kLetter)
      return false;
    at += length;
  }
  return !bytes.empty();
}

void make_unit_length(std::span<float> vector) {
  const float square = std::inner_product(vector.begin(), vector.end(), vector.begin(), 0.0F);
  if (square <= 0.0F) return;
  for (float& element : vector) element /= std::sqrt(square);
}

}  // namespace

/// A text with one word masked.
struct WordCandidates::MaskedWord {
  size_t text, word;
  std::vector<int32_t> ids;  ///< [CLS] ... [MASK] ... [SEP]
  int64_t place;             ///< of the mask
  int32_t hidden;            ///< what stood there
};

WordCandidates::WordCandidates(models::LanguageModel& model, nn::Memory& memory, nn::Tokenizer tokenizer,
                               tensor::DType activation_type, int64_t count)
    : model_(model),
      memory_(memory),
      tokenizer_(std::move(tokenizer)),
      activation_type_(activation_type),
      count_(count),
      predicts_(model.predicts_tokens() && !model.is_causal()) {
  const auto* word_piece = dynamic_cast<const nn::WordPieceModel*>(tokenizer_.parts().model.get());
  if (word_piece == nullptr) {
    throw base::Error(
        "the model's tokenizer is not WordPiece: words are replaced by an encoder such as BERT or MiniLM");
  }
  special_ = nn::encoder_tokens(tokenizer_, "the model's folder");
  const auto mask = tokenizer_.mask_token();
  if (predicts_ && !mask) throw base::Error("the model's tokenizer_config.json names no mask_token");
  mask_ = mask.value_or(0);
  for (int32_t id = 0; id < tokenizer_.vocabulary_size(); ++id) {
    const bool may_be = !tokenizer_.is_special(id) && id != word_piece->options().unknown;
    if (may_be && is_of_letters(tokenizer_.token_bytes(id))) allowed_.push_back(id);
  }
  if (allowed_.empty()) throw base::Error("the model's vocabulary has no token that is a word of letters");
}

void WordCandidates::read_embeddings() {
  constexpr const char* kName = "embeddings.word_embeddings.weight";
  grad::Parameter* parameter = model_.parameters().find(kName);
  if (parameter == nullptr) parameter = model_.parameters().find(std::string("bert.") + kName);
  if (parameter == nullptr) throw base::Error("the model has no {}: words are replaced by BERT and its kin", kName);
  embeddings_ = parameter->wide_value(tensor::DType::f32, memory_.activations).to_vector<float>();
  width_ = parameter->shape()[1];
  for (size_t row = 0; row < embeddings_.size(); row += static_cast<size_t>(width_)) {
    make_unit_length(std::span(embeddings_).subspan(row, static_cast<size_t>(width_)));
  }
}

/// The tokens with the highest scores [V] among those that may be candidates, as words.
std::vector<std::string> WordCandidates::best(std::span<const float> scores, std::span<const int32_t> without) const {
  const size_t wanted = std::min(allowed_.size(), static_cast<size_t>(count_) + without.size());
  std::vector<int32_t> order(wanted);
  std::ranges::partial_sort_copy(allowed_, order, [&](int32_t a, int32_t b) {
    const float left = scores[static_cast<size_t>(a)], right = scores[static_cast<size_t>(b)];
    return left != right ? left > right : a < b;
  });
  std::vector<std::string> words;
  for (const int32_t id : order) {
    if (std::ranges::find(without, id) != without.end() || words.size() == static_cast<size_t>(count_)) continue;
    words.emplace_back(tokenizer_.token_bytes(id));
  }
  return words;
}

const std::vector<std::string>& WordCandidates::neighbours(const std::vector<int32_t>& tokens) {
  const std::string key(reinterpret_cast<const char*>(tokens.data()), tokens.size() * sizeof(int32_t));
  const auto [entry, is_new] = known_neighbours_.try_emplace(key);
  if (!is_new) return entry->second;
  if (embeddings_.empty()) read_embeddings();
  const auto width = static_cast<size_t>(width_);
  std::vector<float> mean(width);
  for (const int32_t token : tokens) {
    const float* row = embeddings_.data() + static_cast<size_t>(token) * width;
    for (size_t element = 0; element < width; ++element) mean[element] += row[element];
  }
  std::vector<float> scores(embeddings_.size() / width);
  base::parallel_for(static_cast<int64_t>(scores.size()), 1024, [&](int64_t first, int64_t last) {
    for (auto row = static_cast<size_t>(first); row < static_cast<size_t>(last); ++row) {
      const float* vector = embeddings_.data() + row * width;
      float sum = 0.0F;
#pragma omp simd reduction(+ : sum)
      for (size_t element = 0; element < width; ++element) sum += vector[element] * mean[element];
      scores[row] = sum;
    }
  });
  return entry->second = best(scores, tokens);
}

/// Some texts, each with one masked word, side by side in one row.
void WordCandidates::predict(std::span<const MaskedWord> words, std::vector<ReplaceableText>& results) {
  nn::EncoderRow row(special_);
  std::vector<int32_t> places;
  for (const MaskedWord& word : words) {
    places.push_back(static_cast<int32_t>(row.size() + word.place));
    row.add_whole(word.ids);
  }
  tensor::Arena& arena = memory_.activations;
  grad::Graph graph(arena, memory_.encodings, activation_type_, false);
  models::ForwardInput input = models::encoder_input(row, arena);
  input.head_rows = Tensor::from(places, {static_cast<int64_t>(places.size())}, arena);
  const Tensor logits = models::logits(graph, model_, model_.forward(graph, input).hidden).value();
  const std::vector<float> scores = logits.to_vector<float>();
  const size_t vocabulary = scores.size() / words.size();
  base::parallel_dynamic(static_cast<int64_t>(words.size()), [&](int64_t number) {
    const auto index = static_cast<size_t>(number);
    const MaskedWord& word = words[index];
    results[word.text].candidates[word.word] =
        best(std::span(scores).subspan(index * vocabulary, vocabulary), std::span(&word.hidden, 1));
  });
}

std::vector<ReplaceableText> WordCandidates::find(std::span<const std::string> texts) {
  const nn::EncodeOptions plain{.add_special = false, .match_special = false};
  const auto longest = static_cast<size_t>(model_.context_length()) - 1;  // without [SEP]
  std::vector<ReplaceableText> results;
  std::vector<MaskedWord> masked;
  for (const std::string& text : texts) {
    ReplaceableText& result = results.emplace_back(ReplaceableText{text, words_of(text), {}});
    result.candidates.resize(result.words.size());
    std::vector<int32_t> ids = {special_.begin};
    const size_t first = masked.size();
    size_t copied = 0;
    for (size_t number = 0; number < result.words.size(); ++number) {
      const auto [begin, end] = result.words[number];
      tokenizer_.encode_to(std::string_view(text).substr(copied, begin - copied), plain, ids);
      copied = end;
      const std::vector<int32_t> tokens = tokenizer_.encode(std::string_view(text).substr(begin, end - begin), plain);
      const bool fits = ids.size() < longest;
      if (tokens.size() == 1 && predicts_ && fits) {
        masked.push_back({results.size() - 1, number, {}, static_cast<int64_t>(ids.size()), tokens.front()});
      } else if (!tokens.empty()) {
        result.candidates[number] = neighbours(tokens);
      }
      ids.insert(ids.end(), tokens.begin(), tokens.end());
    }
    tokenizer_.encode_to(std::string_view(text).substr(copied), plain, ids);
    ids.resize(std::min(ids.size(), longest));
    ids.push_back(special_.separator);
    for (MaskedWord& word : std::span(masked).subspan(first)) {
      word.ids = ids;
      word.ids[static_cast<size_t>(word.place)] = mask_;
    }
  }
  for (size_t first = 0; first < masked.size();) {
    size_t last = first, tokens = 0;
    do {
      tokens += masked[last++].ids.size();
    } while (last < masked.size() && tokens + masked[last].ids.size() <= static_cast<size_t>(kTokensAtOnce));
    predict(std::span(masked).subspan(first, last - first), results);
    first = last;
  }
  return results;
}

}  // namespace fledge::train
