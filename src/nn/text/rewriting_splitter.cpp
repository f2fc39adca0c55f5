// Pre-tokenizers whose pieces differ from the text: they write a text of their own and give out views of it.
#include <string>
#include <utility>

#include "nn/text/byte_alphabet.h"
#include "nn/text/pre_tokenizer.h"

namespace fledge::nn {
namespace {

class Rewriter : public PreTokenizer {
 public:
  bool rewrites() const override { return true; }
};

class Metaspace : public Rewriter {
 public:
  explicit Metaspace(MetaspaceOptions options) : options_(std::move(options)) {}

  void split(std::string_view text, PieceSink& sink) const override { split_part(text, true, sink); }

  void split_part(std::string_view text, bool begins_text, PieceSink& sink) const override {
    if (text.empty()) return;
    const std::string& mark = options_.replacement;
    std::string written;
    written.reserve(text.size() + text.size() / 2 + mark.size());
    const bool may_prepend = options_.prepend == MetaspaceOptions::Prepend::kAlways ||
                             (options_.prepend == MetaspaceOptions::Prepend::kFirst && begins_text);
    if (may_prepend && !text.starts_with(' ') && !text.starts_with(mark)) written += mark;
    for (const char c : text) c == ' ' ? written += mark : written += c;
    PieceBatch batch(sink);
    const char* base = written.data();
    size_t piece = 0;
    if (options_.split) {
      for (size_t at = written.find(mark); at != std::string::npos; at = written.find(mark, at + mark.size())) {
        if (at > piece) batch.add(base + piece, base + at);
        piece = at;
      }
    }
    batch.add(base + piece, base + written.size());
    batch.flush();
  }

 private:
  MetaspaceOptions options_;
};

class SpacePrefixer : public Rewriter {
 public:
  void split(std::string_view text, PieceSink& sink) const override {
    std::string with_space;
    if (!text.starts_with(' ')) {
      with_space.reserve(text.size() + 1);
      with_space += ' ';
      with_space += text;
      text = with_space;
    }
    sink.take({&text, 1});
  }
};

class ByteAlphabetWriter : public Rewriter {
 public:
  void split(std::string_view text, PieceSink& sink) const override {
    const std::string written = to_byte_alphabet(text);
    const std::string_view piece = written;
    sink.take({&piece, 1});
  }
};

}  // namespace

std::unique_ptr<PreTokenizer> make_metaspace_splitter(MetaspaceOptions options) {
  return std::make_unique<Metaspace>(std::move(options));
}

std::unique_ptr<PreTokenizer> make_space_prefixer() {
  return std::make_unique<SpacePrefixer>();
}

std::unique_ptr<PreTokenizer> make_byte_alphabet_writer() {
  return std::make_unique<ByteAlphabetWriter>();
}

}  // namespace fledge::nn
