#include <memory>
#include <string>

#include "nn/text/pre_tokenizer.h"
#include "nn/text/regex.h"

namespace fledge::nn {
namespace {

class RegexSplitter : public PreTokenizer {
 public:
  RegexSplitter(const std::string& regex, std::string_view origin) : regex_(regex, origin) {}

  void split(std::string_view text, PieceSink& sink) const override {
    PieceBatch batch(sink);
    const char* base = text.data();
    size_t piece = 0;  // where the piece that is not yet given away begins
    for (size_t begin, end; regex_.find(text, piece, begin, end); piece = end) {
      if (begin > piece) batch.add(base + piece, base + begin);
      batch.add(base + begin, base + end);
    }
    if (piece < text.size()) batch.add(base + piece, base + text.size());
    batch.flush();
  }

 private:
  Regex regex_;
};

}  // namespace

std::unique_ptr<PreTokenizer> make_pcre2_splitter(const std::string& regex, std::string_view origin) {
  return std::make_unique<RegexSplitter>(regex, origin);
}

}  // namespace fledge::nn
