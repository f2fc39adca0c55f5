#pragma once

#include <string>

#include "nn/text/jinja/interpreter.h"

namespace fledge::nn::jinja {

/// value is name(arguments). Throws Fault where there is no such test.
bool run_test(Interpreter& interpreter, const std::string& name, const Value& value, const Arguments& arguments);

/// `item in container`.
bool contains(Interpreter& interpreter, const Value& container, const Value& item);

}  // namespace fledge::nn::jinja
