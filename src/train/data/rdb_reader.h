#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace fledge::train {

/// A value of R that was read from its serialised form: text, whole numbers, lists and their names. Other kinds are
/// refused.
struct RValue {
  enum class Kind { null, integers, strings, list };
  Kind kind = Kind::null;
  std::vector<int32_t> integers;
  std::vector<std::string> strings;  ///< UTF-8
  std::vector<RValue> elements;      ///< of a list
  std::vector<std::string> names;    ///< of a list's elements; empty where it has none
};

/// Reads R's XDR serialisation, versions 2 and 3 ("R Internals", section 1.8; text in UTF-8, Latin-1 or ASCII).
/// Every length is checked against the bytes that are there. Throws Error naming `origin`.
RValue read_r_value(std::string_view bytes, std::string_view origin);

/// Unpacks a zlib or gzip stream that must give exactly `size` bytes, or any number up to `most` where size is
/// negative. Throws Error naming `origin`.
std::string inflate_bytes(std::string_view packed, int64_t size, size_t most, std::string_view origin);

/// The character vectors of an R package's lazy-load database, by name: BASE.rdx (gzip: names, offsets and lengths) and
/// BASE.rdb (chunks: unpacked length as 4 bytes, big-endian, and a zlib stream of a serialised value).
std::map<std::string, std::vector<std::string>> read_r_database(const std::filesystem::path& base);

}  // namespace fledge::train
