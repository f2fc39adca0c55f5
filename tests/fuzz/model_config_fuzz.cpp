// Any bytes as a model's config.json: refused in a sentence, or a model whose own config.json makes the same model and
// fits a GGUF file's metadata or is refused there.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "models/gguf_config.h"
#include "models/language_model.h"

using namespace fledge;

namespace {

/// Making objects for that many layers is slow and finds nothing.
bool is_small(const base::Json& config) {
  for (const char* key : {"num_hidden_layers", "n_layer"}) {
    const auto found = config.find(key);
    if (found != config.end() && found->is_number() && found->get<double>() > 200) return false;
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const base::Json config = base::parse_json({reinterpret_cast<const char*>(data), size}, "config.json");
    if (!config.is_object() || !is_small(config)) return 0;
    const auto model = models::make_model(config, "config.json");
    const base::Json own = model->config();
    const auto again = models::make_model(own, "again.json");
    if (again->config() != own) std::abort();
    if (again->parameters().entries().size() != model->parameters().entries().size()) std::abort();
    models::gguf_of_config(own, "name", "again.json");
  } catch (const base::Error&) {
    // Refused; fine.
  }
  return 0;
}
