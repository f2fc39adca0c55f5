// Any text as an adapter_config.json: refused with an Error, or its adapter can be declared on a model and written
// again.
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "models/adapters/model_adapter.h"
#include "models/gpt2.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fledge;
  try {
    const base::Json json = base::parse_json({reinterpret_cast<const char*>(data), size}, "fuzz");
    if (!json.is_object()) return 0;
    const models::AdapterConfig config = models::AdapterConfig::from_json(json, "fuzz");
    models::Gpt2Config small;
    small.n_layer = 2;
    small.n_embd = 8;
    small.n_head = 2;
    small.vocab_size = 11;
    small.n_positions = 6;
    models::Gpt2 model(small);
    const models::ModelAdapter adapter(model, config, "fuzz", "fuzz");
    // What is written reads as the same.
    const base::Json again = adapter.config().to_json();
    if (models::AdapterConfig::from_json(again, "fuzz again").to_json() != again) __builtin_trap();
  } catch (const base::Error&) {
    // Refused; fine.
  }
  return 0;
}
