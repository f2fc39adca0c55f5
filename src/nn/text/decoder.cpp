#include "nn/text/decoder.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "nn/text/byte_alphabet.h"
#include "nn/text/json_section.h"
#include "nn/text/regex.h"
#include "nn/text/utf8.h"

namespace fledge::nn {
namespace {

using base::Error;
using base::Json;
using base::json_get;
using base::json_require;

constexpr std::string_view kReplacementCharacter = "\uFFFD";

std::string replaced(std::string_view text, std::string_view pattern, std::string_view content) {
  std::string result;
  size_t done = 0;
  for (size_t at = text.find(pattern); at != std::string_view::npos && !pattern.empty();
       at = text.find(pattern, done)) {
    result += text.substr(done, at - done);
    result += content;
    done = at + pattern.size();
  }
  result += text.substr(done);
  return result;
}

class JoinWithSpaces : public DecoderStep {
 public:
  void push(std::string_view token, const TextSink& next) override {
    if (!is_first_) next(" ");
    next(token);
    is_first_ = false;
  }

 private:
  bool is_first_ = true;
};

/// A function of each token and of whether it is the first one.
class MapTokens : public DecoderStep {
 public:
  using Function = std::function<std::string(std::string_view token, bool is_first)>;
  explicit MapTokens(Function function) : function_(std::move(function)) {}
  void push(std::string_view token, const TextSink& next) override {
    next(function_(token, is_first_));
    is_first_ = false;
  }

 private:
  Function function_;
  bool is_first_ = true;
};

/// A function of the whole text, where a step needs to see all of it.
class MapWhole : public DecoderStep {
 public:
  explicit MapWhole(MapTokens::Function function) : function_(std::move(function)) {}
  void push(std::string_view token, const TextSink&) override { text_ += token; }
  void finish(const TextSink& next) override { next(function_(text_, true)); }

 private:
  MapTokens::Function function_;
  std::string text_;
};

class Fuse : public DecoderStep {
 public:
  void push(std::string_view token, const TextSink& next) override { next(token); }
};

/// Runs of tokens such as <0xE2> become the characters whose bytes they are; a run that is not UTF-8 becomes one
/// replacement character for each byte. So a run is known when it has ended, not sooner.
class ByteFallbackStep : public DecoderStep {
 public:
  void push(std::string_view token, const TextSink& next) override {
    uint8_t byte = 0;
    if (is_byte(token, byte)) {
      run_ += static_cast<char>(byte);
      return;
    }
    finish(next);
    next(token);
  }
  void finish(const TextSink& next) override {
    if (run_.empty()) return;
    if (valid_utf8_end(run_, 0) == run_.size()) {
      next(run_);
    } else {
      for (size_t i = 0; i < run_.size(); ++i) next(kReplacementCharacter);
    }
    run_.clear();
  }

 private:
  static bool is_byte(std::string_view token, uint8_t& byte) {
    if (token.size() != 6 || !token.starts_with("<0x") || !token.ends_with('>')) return false;
    std::string_view digits = token.substr(3, 2);
    if (digits[0] == '+') digits.remove_prefix(1);
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
    return parsed.ec == std::errc{} && parsed.ptr == digits.data() + digits.size();
  }
  std::string run_;
};

/// The bytes of the byte alphabet; bytes that are no UTF-8 become replacement characters.
class FromBytes : public DecoderStep {
 public:
  void push(std::string_view token, const TextSink& next) override {
    const auto bytes = from_byte_alphabet(token);
    bytes ? bytes_ += * bytes : bytes_ += token;
    give(bytes_.size() - unfinished_utf8_tail(bytes_), next);
  }
  void finish(const TextSink& next) override { give(bytes_.size(), next); }

 private:
  void give(size_t end, const TextSink& next) {
    if (end == 0) return;
    next(to_valid_utf8(std::string_view(bytes_).substr(0, end)));
    bytes_.erase(0, end);
  }
  std::string bytes_;
};

/// The end of a word is a suffix of its last token and becomes a space, except at the end of the text.
class WordEnds : public DecoderStep {
 public:
  explicit WordEnds(std::string suffix) : suffix_(std::move(suffix)) {}
  void push(std::string_view token, const TextSink& next) override {
    if (has_token_) next(replaced(token_, suffix_, " "));
    token_ = token;
    has_token_ = true;
  }
  void finish(const TextSink& next) override {
    if (has_token_) next(replaced(token_, suffix_, ""));
    has_token_ = false;
  }

 private:
  std::string suffix_, token_;
  bool has_token_ = false;
};

/// Takes up to `start` characters `content` from the beginning of a text that comes in pieces.
class StripBeginning : public DecoderStep {
 public:
  StripBeginning(std::string content, size_t start) : content_(std::move(content)), left_(start) {}
  void push(std::string_view piece, const TextSink& next) override {
    for (; left_ > 0 && !piece.empty(); --left_) {
      if (!piece.starts_with(content_)) {
        left_ = 0;
        break;
      }
      piece.remove_prefix(content_.size());
    }
    if (!piece.empty()) next(piece);
  }

 private:
  std::string content_;
  size_t left_;
};

std::string stripped(std::string_view token, std::string_view content, size_t start, size_t stop) {
  for (; start > 0 && token.starts_with(content); --start) token.remove_prefix(content.size());
  for (; stop > 0 && token.ends_with(content); --stop) token.remove_suffix(content.size());
  return std::string(token);
}

/// Undoes what BERT's tokenizer does to English, as Hugging Face's clean-up has it.
std::string cleaned_up(std::string text) {
  constexpr std::pair<std::string_view, std::string_view> kRules[] = {
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [pattern, content] : kRules) text = replaced(text, pattern, content);
  return text;
}

MapTokens::Function word_piece_function(const Json& section, std::string_view origin) {
  return [prefix = json_get<std::string>(section, "prefix", "##", origin),
          cleanup = json_get(section, "cleanup", true, origin)](std::string_view token, bool is_first) {
    std::string text(token);
    if (!is_first) {
      if (token.starts_with(prefix)) {
        text.erase(0, prefix.size());
      } else {
        text.insert(0, " ");
      }
    }
    return cleanup ? cleaned_up(std::move(text)) : text;
  };
}

MapTokens::Function metaspace_function(const Json& section, std::string_view origin) {
  const bool prefix = json_get(section, "add_prefix_space", true, origin);
  const auto scheme = json_get<std::string>(section, "prepend_scheme", prefix ? "always" : "never", origin);
  return
      [mark = json_get<std::string>(section, "replacement", "\u2581", origin), drops_first = scheme != "never"](
          std::string_view token, bool is_first) { return replaced(token, mark, is_first && drops_first ? "" : " "); };
}

MapTokens::Function replace_function(const Json& section, std::string_view origin) {
  const Json& pattern = section_of(section, "pattern");
  const auto content = json_require<std::string>(section, "content", origin);
  if (pattern.is_object() && pattern.contains("String")) {
    return [text = json_require<std::string>(pattern, "String", origin), content](std::string_view token, bool) {
      return replaced(token, text, content);
    };
  }
  const auto regex = std::make_shared<Regex>(json_require<std::string>(pattern, "Regex", origin), origin);
  return [regex, content](std::string_view token, bool) {
    std::string result;
    size_t done = 0;
    for (size_t begin, end; regex->find(token, done, begin, end); done = end) {
      result += token.substr(done, begin - done);
      result += content;
    }
    result += token.substr(done);
    return result;
  };
}

}  // namespace

Decoder::Decoder(const Json& section, std::string_view origin) {
  if (section.is_null()) {
    factories_.push_back([] { return std::make_unique<JoinWithSpaces>(); });
  } else {
    add(section, origin);
  }
}

void Decoder::add(const Json& section, std::string_view origin) {
  const auto type = json_require<std::string>(section, "type", origin);
  // Behind a step that joins, a function of a token is one of the whole text.
  const auto add_function = [&](MapTokens::Function function) {
    if (joined_) {
      factories_.push_back([function] { return std::make_unique<MapWhole>(function); });
    } else {
      factories_.push_back([function] { return std::make_unique<MapTokens>(function); });
    }
  };
  if (type == "Sequence") {
    const Json& steps = section_of(section, "decoders");
    if (!steps.is_array()) throw Error("{}: the decoder Sequence has no list \"decoders\"", origin);
    for (const Json& step : steps) add(step, origin);
  } else if (type == "ByteLevel") {
    factories_.push_back([] { return std::make_unique<FromBytes>(); });
    joined_ = true;
  } else if (type == "Fuse") {
    factories_.push_back([] { return std::make_unique<Fuse>(); });
    joined_ = true;
  } else if (type == "ByteFallback") {
    factories_.push_back([] { return std::make_unique<ByteFallbackStep>(); });
  } else if (type == "WordPiece") {
    add_function(word_piece_function(section, origin));
  } else if (type == "Metaspace") {
    add_function(metaspace_function(section, origin));
  } else if (type == "Replace") {
    add_function(replace_function(section, origin));
  } else if (type == "BPEDecoder") {
    factories_.push_back([suffix = json_get<std::string>(section, "suffix", "</w>", origin)] {
      return std::make_unique<WordEnds>(suffix);
    });
  } else if (type == "Strip") {
    const auto content = json_require<std::string>(section, "content", origin);
    const auto start = json_get<uint64_t>(section, "start", 0, origin),
               stop = json_get<uint64_t>(section, "stop", 0, origin);
    if (content.empty()) throw Error("{}: the decoder Strip has an empty \"content\"", origin);
    if (joined_ && stop == 0) {
      factories_.push_back([content, start] { return std::make_unique<StripBeginning>(content, start); });
    } else {
      add_function(
          [content, start, stop](std::string_view token, bool) { return stripped(token, content, start, stop); });
    }
  } else {
    throw Error("{}: the decoder \"{}\" is not supported", origin, type);
  }
}

Decoder::Stream::Stream(const Decoder& decoder) : decoder_(&decoder) {
  for (const Factory& factory : decoder.factories_) steps_.push_back(factory());
}

void Decoder::Stream::pass(size_t step, std::string_view token, std::string& text) {
  if (step == steps_.size()) {
    text += token;
  } else {
    steps_[step]->push(token, [&](std::string_view piece) { pass(step + 1, piece, text); });
  }
}

std::string Decoder::Stream::push(std::string_view token) {
  std::string text;
  pass(0, token, text);
  return text;
}

std::string Decoder::Stream::finish() {
  std::string text;
  for (size_t step = 0; step < steps_.size(); ++step) {
    steps_[step]->finish([&](std::string_view piece) { pass(step + 1, piece, text); });
  }
  *this = Stream(*decoder_);
  return text;
}

}  // namespace fledge::nn
