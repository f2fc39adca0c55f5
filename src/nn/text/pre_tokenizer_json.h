#pragma once

#include <memory>
#include <string_view>

#include "base/json_fwd.h"
#include "nn/text/pre_tokenizer.h"

namespace fledge::nn {

/// The section "pre_tokenizer" of tokenizer.json.
struct ParsedPreTokenizer {
  std::unique_ptr<PreTokenizer> splitter;
  /// The last step is ByteLevel: tokens stand for bytes. Where that was asked to stay out (`bytes_as_they_are`), the
  /// pieces are bytes of the text; otherwise they are written in the byte alphabet.
  bool byte_level = false;
  /// A space goes before a text that does not begin with one; left to the caller where bytes stay as they are.
  bool add_prefix_space = false;
};

/// Throws base::Error naming `origin` and what is not supported. A null section splits nothing.
ParsedPreTokenizer parse_pre_tokenizer(const base::Json& section, bool bytes_as_they_are, std::string_view origin);

/// Whether the section's last step is ByteLevel, and all others only cut.
bool ends_with_byte_level(const base::Json& section);

}  // namespace fledge::nn
