// Any bytes as a file that /load of `fledge chat` reads: refused in a sentence, or messages and settings that are
// written and read again to the same.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "cli/chat_session.h"
#include "cli/chat_settings.h"

using namespace fledge;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto saved = base::parse_ordered_json({reinterpret_cast<const char*>(data), size}, "fuzz.json");
    const base::OrderedJson messages = cli::saved_messages(saved, "fuzz.json");
    if (cli::saved_messages({{"messages", messages}}, "again.json") != messages) std::abort();
    if (!saved.contains("settings")) return 0;
    const base::OrderedJson settings = cli::to_json(cli::settings_from_json(saved["settings"], "fuzz.json"));
    if (cli::to_json(cli::settings_from_json(settings, "again.json")) != settings) std::abort();
  } catch (const base::Error&) {
    // Refused; fine.
  }
  return 0;
}
