// Any bytes as a zip archive: refused with an Error, or every file can be unpacked.
#include <cstring>
#include <memory>

#include "base/error.h"
#include "train/store/zip_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fledge;
  // A block of exactly that size: one byte too far is seen by the address sanitizer.
  const std::unique_ptr<std::byte[]> owner(new std::byte[size]);
  if (size > 0) std::memcpy(owner.get(), data, size);
  try {
    const train::ZipReader reader({owner.get(), size}, "fuzz");
    for (const train::ZipEntry& entry : reader.entries()) {
      int64_t bytes = 0;
      try {
        reader.extract(entry, [&](std::string_view piece) { bytes += static_cast<int64_t>(piece.size()); });
      } catch (const base::Error&) {
        // A damaged file; fine.
      }
      if (bytes > entry.bytes && entry.method == 8) __builtin_trap();
    }
  } catch (const base::Error&) {
    // Refused; fine.
  }
  return 0;
}
