#include "nn/text/tokenizer.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "nn/text/guarded_parallel.h"
#include "nn/text/normalization.h"
#include "nn/text/tokenizer_parts.h"
#include "nn/text/utf8.h"

namespace fledge::nn {
namespace {

constexpr size_t kBytesPerToken = 4;  // of English, to reserve memory

}  // namespace

/// Working memories that wait for the next call, so that their caches live on.
class Tokenizer::ScratchPool {
 public:
  explicit ScratchPool(const TokenModel& model) : model_(model) {}

  std::unique_ptr<TokenModel::Scratch> take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return model_.new_scratch();
    auto scratch = std::move(free_.back());
    free_.pop_back();
    return scratch;
  }

  void give_back(std::unique_ptr<TokenModel::Scratch> scratch) {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(scratch));
  }

 private:
  const TokenModel& model_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<TokenModel::Scratch>> free_;
};

/// Takes texts apart and gives the pieces to the model; holds a working memory from the pool for as long as it lives.
class Tokenizer::Encoder : PieceSink {
 public:
  explicit Encoder(const Tokenizer& tokenizer)
      : tokenizer_(tokenizer),
        parts_(*tokenizer.parts_),
        rewrites_(parts_.pre_tokenizer->rewrites()),
        scratch_(tokenizer.pool_->take()) {}
  ~Encoder() override { tokenizer_.pool_->give_back(std::move(scratch_)); }

  /// Appends the ids of a text to `ids`.
  void encode(std::string_view text, const EncodeOptions& options, std::vector<int32_t>& ids) {
    ids_ = &ids;
    std::string valid;
    if (parts_.decoding && valid_utf8_end(text, 0) < text.size()) {
      valid = to_valid_utf8(text);
      text = valid;
    }
    if (options.add_special) ids.insert(ids.end(), parts_.prefix.begin(), parts_.prefix.end());
    encode_between(text, options.match_special);
    if (options.add_special) ids.insert(ids.end(), parts_.suffix.begin(), parts_.suffix.end());
  }

 private:
  void encode_between(std::string_view text, bool match_special) {
    bool begins_text = true;
    const auto add_token = [&](const AddedToken& token) {
      begins_text = false;
      ids_->push_back(token.id);
    };
    const auto encode_normalized = [&](std::string_view part) {
      encode_plain(part, begins_text);
      begins_text = false;
    };
    const auto encode_raw = [&](std::string_view part) {
      std::string normalized;
      if (parts_.normalization) {
        normalized = part;
        parts_.normalization->apply(normalized);
        part = normalized;
      } else if (parts_.normalize_to_nfc && !is_surely_nfc(part)) {
        normalized = to_nfc(part);
        part = normalized;
      }
      tokenizer_.normalized_matcher_->split(part, match_special, encode_normalized, add_token);
      begins_text = false;
    };
    tokenizer_.raw_matcher_->split(text, match_special, encode_raw, add_token);
  }

  void take(std::span<const std::string_view> pieces) override {
    parts_.model->encode(pieces, readable_end_, *scratch_, *ids_);
  }

  void encode_plain(std::string_view text, bool begins_text) {
    std::string with_space;
    if (parts_.add_prefix_space && !text.starts_with(' ')) {
      with_space.reserve(text.size() + 1);
      with_space += ' ';
      with_space += text;
      text = with_space;
    }
    // Of pieces in memory of their own, nothing behind them may be read.
    readable_end_ = rewrites_ ? nullptr : text.data() + text.size();
    if (parts_.decoding) return parts_.pre_tokenizer->split_part(text, begins_text, *this);
    for (size_t position = 0; position < text.size();) {
      const size_t valid_end = valid_utf8_end(text, position);
      if (valid_end > position) {
        const std::string_view valid = text.substr(position, valid_end - position);
        parts_.pre_tokenizer->split_part(valid, begins_text && position == 0, *this);
      }
      position = invalid_utf8_end(text, valid_end);
      const std::string_view invalid = text.substr(valid_end, position - valid_end);
      if (!invalid.empty()) take({&invalid, 1});
    }
  }

  const Tokenizer& tokenizer_;
  const TokenizerParts& parts_;
  const bool rewrites_;
  std::unique_ptr<TokenModel::Scratch> scratch_;
  std::vector<int32_t>* ids_ = nullptr;
  const char* readable_end_ = nullptr;
};

Tokenizer::Tokenizer(TokenizerParts parts) {
  auto& sorted = parts.added_tokens;
  std::sort(sorted.begin(), sorted.end(), [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  parts_ = std::make_unique<const TokenizerParts>(std::move(parts));
  const auto& tokens = parts_->added_tokens;
  vocabulary_size_ = parts_->model->size();
  std::vector<AddedToken> raw, normalized;
  for (size_t i = 0; i < tokens.size(); ++i) {
    added_by_id_[tokens[i].id] = i;
    vocabulary_size_ = std::max(vocabulary_size_, tokens[i].id + 1);
    (tokens[i].normalized ? normalized : raw).push_back(tokens[i]);
  }
  for (AddedToken& token : normalized) {
    if (parts_->normalization) {
      parts_->normalization->apply(token.content);
      normalized_names_[token.id] = token.content;
    } else if (parts_->normalize_to_nfc) {
      token.content = to_nfc(token.content);
    }
  }
  raw_matcher_ = std::make_unique<AddedTokenMatcher>(std::move(raw));
  normalized_matcher_ = std::make_unique<AddedTokenMatcher>(std::move(normalized));
  pool_ = std::make_unique<ScratchPool>(*parts_->model);
}

Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

std::vector<int32_t> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  std::vector<int32_t> ids;
  ids.reserve(text.size() / kBytesPerToken + 16);
  encode_to(text, options, ids);
  return ids;
}

void Tokenizer::encode_to(std::string_view text, const EncodeOptions& options, std::vector<int32_t>& ids) const {
  Encoder(*this).encode(text, options, ids);
}

std::vector<std::vector<int32_t>> Tokenizer::encode_batch(std::span<const std::string_view> texts,
                                                          const EncodeOptions& options) const {
  std::vector<std::vector<int32_t>> results(texts.size());
  // Several texts at a time, so that handing out work costs little where texts are short.
  constexpr int64_t kGroup = 16;
  const auto count = static_cast<int64_t>(texts.size());
  guarded_parallel((count + kGroup - 1) / kGroup, [&](int64_t group) {
    Encoder encoder(*this);
    for (int64_t i = group * kGroup; i < std::min(count, (group + 1) * kGroup); ++i) {
      const std::string_view text = texts[static_cast<size_t>(i)];
      auto& ids = results[static_cast<size_t>(i)];
      ids.reserve(text.size() / kBytesPerToken + 16);
      encoder.encode(text, options, ids);
    }
  });
  return results;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string text;
  std::optional<Decoder::Stream> stream;
  if (parts_->decoding) stream.emplace(*parts_->decoding);
  for (const int32_t id : ids) {
    if (skip_special && is_special(id)) continue;
    const std::string_view token = decoder_input(id);
    stream ? text += stream->push(token) : text += token;
  }
  if (stream) text += stream->finish();
  return text;
}

const AddedToken* Tokenizer::added(int32_t id) const {
  const auto found = added_by_id_.find(id);
  return found == added_by_id_.end() ? nullptr : &parts_->added_tokens[found->second];
}

std::string_view Tokenizer::token_bytes(int32_t id) const {
  if (const AddedToken* token = added(id)) return token->content;
  if (id >= 0 && id < parts_->model->size()) return parts_->model->token_bytes(id);
  throw base::Error("the token id {} is not in the vocabulary, whose ids run from 0 to {}", id, vocabulary_size_ - 1);
}

/// The decoder is given added tokens as they are looked for, as Hugging Face does.
std::string_view Tokenizer::decoder_input(int32_t id) const {
  const auto normalized = normalized_names_.find(id);
  return normalized == normalized_names_.end() ? token_bytes(id) : std::string_view(normalized->second);
}

const std::vector<AddedToken>& Tokenizer::added_tokens() const {
  return parts_->added_tokens;
}

bool Tokenizer::is_special(int32_t id) const {
  const AddedToken* token = added(id);
  return token != nullptr && token->special;
}

std::optional<int32_t> Tokenizer::token_id(std::string_view bytes) const {
  for (const AddedToken& token : parts_->added_tokens) {
    if (token.content == bytes) return token.id;
  }
  return parts_->model->token_id(bytes);
}

std::optional<int32_t> Tokenizer::named_token(const char* key) const {
  if (!parts_->config.is_object() || !parts_->config.contains(key)) return std::nullopt;
  // Either the token itself or an object that describes it.
  const base::Json& value = parts_->config[key];
  const base::Json* name = value.is_object() && value.contains("content") ? &value["content"] : &value;
  return name->is_string() ? token_id(name->get<std::string>()) : std::nullopt;
}

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special)
    : tokenizer_(&tokenizer), skip_special_(skip_special) {
  if (tokenizer.parts().decoding) stream_.emplace(*tokenizer.parts().decoding);
}

std::string StreamDecoder::push(int32_t id) {
  if (stream_) {
    const std::string_view token = tokenizer_->decoder_input(id);
    return skip_special_ && tokenizer_->is_special(id) ? std::string() : stream_->push(token);
  }
  if (!(skip_special_ && tokenizer_->is_special(id))) waiting_ += tokenizer_->token_bytes(id);
  const size_t tail = unfinished_utf8_tail(waiting_);
  std::string ready = waiting_.substr(0, waiting_.size() - tail);
  waiting_.erase(0, ready.size());
  return ready;
}

std::string StreamDecoder::finish() {
  if (stream_) return stream_->finish();
  return std::exchange(waiting_, {});
}

}  // namespace fledge::nn
