#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "models/model_io.h"

namespace fledge::cli {

class Verb;

/// Adds --adapter DIR[=WEIGHT] to a verb that uses a model; may be given several times.
void add_adapter_option(Verb verb, std::vector<std::string>& adapters);

/// "DIR" or "DIR=0.5": the adapter's folder (or a run's newest checkpoint) and how much of it counts. Its name is the
/// folder's, made different from those in `others`. Throws base::UsageError where there is no such folder.
models::AdapterSource parse_adapter(const std::string& text, const std::vector<models::AdapterSource>& others);
std::vector<models::AdapterSource> parse_adapters(const std::vector<std::string>& texts);

}  // namespace fledge::cli
