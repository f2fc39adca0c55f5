// Tables of examples: the first byte chooses the format. What is read must be whole rows of valid text.
#include <cstdlib>

#include "base/error.h"
#include "base/toml.h"
#include "train/data/table.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fledge;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    const train::Table table =
        train::parse_table(text, static_cast<train::TableFormat>(data[0] % 3), {"text", "label"}, "fuzz");
    for (const auto& row : table.rows) {
      if (row.cells.size() != 2 || row.line < 1) std::abort();
      for (const auto& cell : row.cells) {
        if (!base::is_valid_utf8(cell.text)) std::abort();
      }
    }
  } catch (const base::Error&) {
  }
  return 0;
}
