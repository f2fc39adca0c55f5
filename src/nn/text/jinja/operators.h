#pragma once

#include <string_view>

#include "nn/text/jinja/value.h"

namespace fledge::nn::jinja {

/// +, -, *, /, //, % and ** as Python has them, on integers of 64 bits: more is a Fault. (% on strings is formatting
/// and not done here.)
Value arithmetic(std::string_view name, const Value& a, const Value& b, Budget& budget);
Value negated(const Value& value);

/// ==, !=, <, <=, >, >=.
bool compare(std::string_view name, const Value& a, const Value& b, Budget& budget);

/// sequence[start:stop:step]; each bound an integer or None.
Value slice(const Value& sequence, const Value& start, const Value& stop, const Value& step, Budget& budget);

}  // namespace fledge::nn::jinja
