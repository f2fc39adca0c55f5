#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_fwd.h"

namespace fledge::nn {

/// Changes a text before it is split: the section "normalizer" of tokenizer.json. Immutable, so that threads may share
/// it.
class Normalizer {
 public:
  virtual ~Normalizer() = default;

  /// Changes `text`, which is valid UTF-8 and stays so. Throws base::Error where a regular expression cannot be run.
  virtual void apply(std::string& text) const = 0;
};

/// Each after the one before it. Null where there is none.
std::unique_ptr<Normalizer> make_normalizer_sequence(std::vector<std::unique_ptr<Normalizer>> steps);

/// The normalizer of a section of tokenizer.json; null for a null section. Throws base::Error naming `origin` and what
/// is not supported.
std::unique_ptr<Normalizer> parse_normalizer(const base::Json& section, std::string_view origin);

}  // namespace fledge::nn
