#pragma once

#include <nlohmann/json_fwd.hpp>

// The names of base/json.h without what stands behind them, for headers that only pass JSON on: the library's own
// header takes over a second to compile.

namespace fledge::base {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

}  // namespace fledge::base
