// Hand-written scanners for the common split patterns. Each alternative of the regular expression is a step of
// next_piece(), tried in the expression's order; see split_regex() for the expressions.
#include <emmintrin.h>

#include <array>
#include <bit>
#include <cstring>

#include "nn/text/character_class.h"
#include "nn/text/pre_tokenizer.h"
#include "nn/text/utf8.h"

namespace fledge::nn {
namespace {

class Whole : public PreTokenizer {
 public:
  void split(std::string_view text, PieceSink& sink) const override {
    if (!text.empty()) sink.take({&text, 1});
  }
};

/// Marks the bytes of `block` that are ASCII letters, one bit each.
unsigned letter_mask(__m128i block) {
  const __m128i lower = _mm_or_si128(block, _mm_set1_epi8(0x20));
  // Signed comparison: bytes from 0x80 on are negative and therefore below 'a'.
  const __m128i inside =
      _mm_and_si128(_mm_cmpgt_epi8(lower, _mm_set1_epi8('a' - 1)), _mm_cmplt_epi8(lower, _mm_set1_epi8('z' + 1)));
  return static_cast<unsigned>(_mm_movemask_epi8(inside));
}

/// What the scanners share: a cursor on valid UTF-8.
class Cursor {
 public:
  explicit Cursor(std::string_view text)
      : classes_(character_classes()), begin_(text.data()), end_(text.data() + text.size()) {}

  const char* begin() const { return begin_; }
  const char* end() const { return end_; }

  /// Class and length of the character at `at`, which is before the end.
  CharacterClass class_at(const char* at, size_t& length) const { return classes_[decode_utf8(at, length)]; }
  CharacterClass class_at(const char* at) const {
    size_t length;
    return class_at(at, length);
  }

  /// End of the run of characters of one class from `at` on.
  const char* skip(const char* at, CharacterClass wanted) const {
    size_t length;
    while (at < end_ && class_at(at, length) == wanted) at += length;
    return at;
  }

  const char* skip_letters(const char* at) const {
    while (end_ - at >= 16) {
      const unsigned mask = letter_mask(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
      at += std::countr_one(mask);
      if (mask == 0xFFFF) continue;
      size_t length;
      if (static_cast<signed char>(*at) >= 0 || class_at(at, length) != CharacterClass::kLetter) return at;
      at += length;
    }
    return skip(at, CharacterClass::kLetter);
  }

  /// Up to `limit` numbers.
  const char* skip_numbers(const char* at, int limit) const {
    size_t length;
    while (limit-- > 0 && at < end_ && class_at(at, length) == CharacterClass::kNumber) at += length;
    return at;
  }

  /// `\s+(?!\S)|\s+` where `run_end` is the end of the white space that begins at `at`: before a character that is not
  /// white space the last one is left over, for it may begin the next piece.
  const char* end_of_space(const char* at, const char* run_end) const {
    if (run_end == end_) return run_end;
    const char* last = run_end - 1;
    while ((static_cast<uint8_t>(*last) & 0xC0) == 0x80) --last;
    return last > at ? last : run_end;
  }

 private:
  const CharacterClass* classes_;
  const char* begin_;
  const char* end_;
};

/// Length of the contraction ('s, 't, 're, 've, 'm, 'll, 'd) at `at`, which holds an apostrophe, or 0.
template <bool kAnyCase>
size_t contraction(const char* at, const char* end) {
  const auto letter = [&](int index) -> char {
    if (end - at <= index) return 0;
    const char c = at[index];
    return kAnyCase && c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  };
  switch (letter(1)) {
    case 's':
    case 't':
    case 'm':
    case 'd':
      return 2;
    case 'r':
    case 'v':
      return letter(2) == 'e' ? 3 : 0;
    case 'l':
      return letter(2) == 'l' ? 3 : 0;
    case '\xC5':  // The long s, U+017F, is an s in another case.
      return kAnyCase && letter(2) == '\xBF' ? 3 : 0;
    default:
      return 0;
  }
}

struct Gpt2Rules {
  static const char* next_piece(const Cursor& cursor, const char* at) {
    if (*at == '\'') {
      const size_t length = contraction<false>(at, cursor.end());
      if (length > 0) return at + length;
    }
    const char* body = at + (*at == ' ');
    if (body < cursor.end()) {
      switch (cursor.class_at(body)) {
        case CharacterClass::kLetter:
          return cursor.skip_letters(body);
        case CharacterClass::kNumber:
          return cursor.skip(body, CharacterClass::kNumber);
        case CharacterClass::kOther:
          return cursor.skip(body, CharacterClass::kOther);
        case CharacterClass::kSpace:
          break;
      }
    }
    return cursor.end_of_space(at, cursor.skip(at, CharacterClass::kSpace));
  }
};

template <int kDigits>
struct Llama3Rules {
  static const char* next_piece(const Cursor& cursor, const char* at) {
    if (*at == '\'') {
      const size_t length = contraction<true>(at, cursor.end());
      if (length > 0) return at + length;
    }
    size_t length;
    const CharacterClass first = cursor.class_at(at, length);
    if (first == CharacterClass::kLetter) return cursor.skip_letters(at);
    if (first == CharacterClass::kNumber) return cursor.skip_numbers(at, kDigits);
    const char* next = at + length;
    if (*at != '\r' && *at != '\n' && next < cursor.end() && cursor.class_at(next) == CharacterClass::kLetter) {
      return cursor.skip_letters(next);
    }
    const char* body = at + (*at == ' ');
    if (body < cursor.end() && cursor.class_at(body) == CharacterClass::kOther) {
      const char* end = cursor.skip(body, CharacterClass::kOther);
      while (end < cursor.end() && (*end == '\r' || *end == '\n')) ++end;
      return end;
    }
    return white_space(cursor, at);
  }

  /// `\s*[\r\n]+|\s+(?!\S)|\s+`
  static const char* white_space(const Cursor& cursor, const char* at) {
    const char* run_end = cursor.skip(at, CharacterClass::kSpace);
    for (const char* last = run_end; last > at; --last) {
      if (last[-1] == '\r' || last[-1] == '\n') return last;
    }
    return cursor.end_of_space(at, run_end);
  }
};

template <typename Rules>
class Scanner : public PreTokenizer {
 public:
  void split(std::string_view text, PieceSink& sink) const override {
    const Cursor cursor(text);
    PieceBatch batch(sink);
    for (const char* at = cursor.begin(); at < cursor.end();) {
      const char* end = Rules::next_piece(cursor, at);
      batch.add(at, end);
      at = end;
    }
    batch.flush();
  }

  bool breaks_after_lines() const override { return true; }
};

}  // namespace

std::unique_ptr<PreTokenizer> make_scanner(SplitPattern pattern) {
  switch (pattern) {
    case SplitPattern::kGpt2:
      return std::make_unique<Scanner<Gpt2Rules>>();
    case SplitPattern::kLlama3:
      return std::make_unique<Scanner<Llama3Rules<3>>>();
    case SplitPattern::kQwen2:
      return std::make_unique<Scanner<Llama3Rules<1>>>();
    case SplitPattern::kWhole:
      break;
  }
  return std::make_unique<Whole>();
}

}  // namespace fledge::nn
