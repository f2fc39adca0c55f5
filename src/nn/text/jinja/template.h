#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_fwd.h"

namespace fledge::nn::jinja {

/// What one rendering may cost; a template that wants more ends in an error.
struct Limits {
  size_t steps = 20'000'000;        ///< nodes evaluated, items visited, 64 bytes of text made
  size_t text_bytes = 256u << 20;   ///< all texts made on the way together
  size_t output_bytes = 64u << 20;  ///< the result
  size_t items = 1u << 20;          ///< of one list, everything inside it counted
  size_t depth = 500;               ///< expressions, blocks and macros inside each other
  size_t source_bytes = 4u << 20;   ///< of the template itself
};

/// A range of bytes of the rendered text: [begin, end).
struct Span {
  size_t begin = 0, end = 0;
  bool operator==(const Span&) const = default;
};

struct Rendered {
  std::string text;
  /// What stood between {% generation %} and {% endgeneration %}: the assistant's own words, for a training mask.
  /// Only blocks that write straight into the result are found, not those inside a macro or a block that is kept.
  std::vector<Span> generation;
};

struct Syntax;

/// A template in the Jinja language, as chat templates use it: Jinja 3.1 with the settings of Hugging Face's
/// transformers (trim_blocks, lstrip_blocks, the extensions loopcontrols and do, the tag generation, its own tojson,
/// raise_exception, strftime_now), in a sandbox where values cannot be changed. Not there, and refused in a sentence:
/// include, import, extends, block, recursive loops, integers beyond 64 bits.
///
/// Immutable; may be rendered from several threads at once.
class Template {
 public:
  /// Parses `source` (UTF-8). `origin` names it in errors. Throws base::Error with the line of the fault.
  Template(std::string_view source, std::string origin, const Limits& limits = {});
  ~Template();
  Template(Template&&) noexcept;
  Template& operator=(Template&&) noexcept;

  /// Renders with the keys of the JSON object `variables` as variables. Throws base::Error with the line of the fault,
  /// or with the template's own words where it calls raise_exception.
  Rendered render(const base::OrderedJson& variables) const;

  const std::string& source() const { return source_; }
  const std::string& origin() const { return origin_; }

 private:
  std::string source_, origin_;
  Limits limits_;
  std::unique_ptr<const Syntax> syntax_;
};

}  // namespace fledge::nn::jinja
