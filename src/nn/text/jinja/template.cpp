#include "nn/text/jinja/template.h"

#include "base/error.h"
#include "base/json.h"
#include "nn/text/jinja/interpreter.h"
#include "nn/text/jinja/parser.h"
#include "nn/text/utf8.h"

namespace fledge::nn::jinja {

Template::Template(std::string_view source, std::string origin, const Limits& limits)
    : source_(source), origin_(std::move(origin)), limits_(limits) {
  if (source.size() > limits.source_bytes)
    throw base::Error("{}: the chat template has {} bytes, more than {}", origin_, source.size(), limits.source_bytes);
  if (valid_utf8_end(source, 0) != source.size())
    throw base::Error("{}: the chat template is not UTF-8 at byte {}", origin_, valid_utf8_end(source, 0));
  try {
    syntax_ = std::make_unique<const Syntax>(Parser(tokenize(source)).parse());
  } catch (const SyntaxFault& fault) {
    throw base::Error("{}: line {} of the chat template: {}", origin_, fault.line(), fault.what());
  }
}

Template::~Template() = default;
Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;

Rendered Template::render(const base::OrderedJson& variables) const {
  size_t line = 1;
  try {
    Interpreter interpreter(limits_, variables);
    try {
      return interpreter.run(*syntax_);
    } catch (const Fault&) {
      line = interpreter.line();
      throw;
    }
  } catch (const Refusal& refusal) {
    throw base::Error("{}: the chat template refuses these messages: {}", origin_, refusal.what());
  } catch (const Fault& fault) {
    throw base::Error("{}: line {} of the chat template: {}", origin_, line, fault.what());
  }
}

}  // namespace fledge::nn::jinja
