// Feeds any bytes to the readers of a data set: the first byte picks the index or a shard. A shard's table checksum is
// made right first, so that the checks behind it are reached.
#include <zlib.h>

#include <cstring>
#include <vector>

#include "train/data/token_data.h"

namespace {

using fledge::train::Shard;
using fledge::train::TokenSplit;

void repair_checksum(std::span<std::byte> bytes) {
  uint32_t columns = 0;
  if (bytes.size() < 32) return;
  std::memcpy(&columns, bytes.data() + 12, sizeof(columns));
  const uint64_t table_end = 32 + uint64_t{columns} * 80;
  if (table_end > bytes.size()) return;
  std::memset(bytes.data() + 24, 0, 4);
  const auto checksum = static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), table_end));
  std::memcpy(bytes.data() + 24, &checksum, 4);
}

/// Reads everything that a trainer would read. Every id that comes out must be in the vocabulary.
void read_tokens(const Shard& shard, int64_t tokens) {
  constexpr int64_t kVocabulary = 300;
  const TokenSplit split({shard}, {tokens, 0, 0}, kVocabulary, "fuzz");
  std::vector<int32_t> values(static_cast<size_t>(tokens));
  split.read_document_starts(0, values);
  for (int64_t place = 0; place < tokens; ++place)
    if (values[static_cast<size_t>(place)] > place) __builtin_trap();
  split.read(0, values);
  for (const int32_t id : values)
    if (id < 0 || id >= kVocabulary) __builtin_trap();
  split.verify();
}

void read_shard(std::span<const std::byte> bytes) {
  const Shard shard(bytes, "fuzz");
  for (const auto& column : shard.columns()) {
    if (!column.spec.ragged || column.spec.dtype != fledge::tensor::DType::u8) continue;
    size_t total = 0;
    for (int64_t row = 0; row + 1 < static_cast<int64_t>(column.row_offsets.size()); ++row)
      for (const uint8_t value : shard.row<uint8_t>(column.spec.name, row)) total += value;
    if (total > column.bytes.size() * 255) __builtin_trap();
  }
  read_tokens(shard, shard.column("ids").elements);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const auto rest = std::as_bytes(std::span(data + 1, size - 1));
  try {
    if (data[0] % 2 == 0) {
      const std::string_view text(reinterpret_cast<const char*>(rest.data()), rest.size());
      fledge::train::DataIndex::parse(text, "fuzz").text();
    } else {
      std::vector<uint64_t> memory(rest.size() / 8 + 1);
      std::memcpy(memory.data(), rest.data(), rest.size());
      const auto bytes = std::as_writable_bytes(std::span(memory)).first(rest.size());
      repair_checksum(bytes);
      read_shard(bytes);
    }
  } catch (const fledge::base::Error&) {
    // A sentence for the user is the right answer to bad bytes.
  }
  return 0;
}
