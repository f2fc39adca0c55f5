#include "train/data/rdb_reader.h"

#include <zlib.h>

#include "base/error.h"
#include "base/file.h"
#include "train/data/text_encoding.h"

namespace fledge::train {
namespace {

// Type codes of serialised values (R's SEXPTYPE and the codes that only the serialisation uses).
constexpr uint32_t kSymbol = 1, kPairList = 2, kCharacters = 9, kLogicals = 10, kIntegers = 13, kStrings = 16;
constexpr uint32_t kList = 19, kNull = 254, kReference = 255;
constexpr uint32_t kTypeMask = 0xff, kHasAttributes = 0x200, kHasTag = 0x400;
constexpr uint32_t kLatin1 = 1u << (12 + 2);  // the encoding is kept in bits 12 to 27
constexpr int kMaximumDepth = 64;
constexpr size_t kMaximumUnpacked = size_t{1} << 30;

class Reader {
 public:
  Reader(std::string_view bytes, std::string_view origin) : bytes_(bytes), origin_(origin) {}

  RValue read_all() {
    if (take(2) != "X\n") fail("is not in R's XDR serialisation");
    const uint32_t version = word();
    if (version != 2 && version != 3) fail("has an unknown serialisation version");
    take(8);                            // the versions of R that wrote it and that can read it
    if (version == 3) take(length(1));  // the encoding of the session that wrote it
    RValue value = read(0);
    if (position_ != bytes_.size()) fail("goes on behind the value");
    return value;
  }

 private:
  [[noreturn]] void fail(std::string_view what) const {
    throw base::Error("{}: the R data {} (near byte {})", origin_, what, position_);
  }
  std::string_view take(size_t count) {
    if (count > bytes_.size() - position_) fail("is cut short");
    position_ += count;
    return bytes_.substr(position_ - count, count);
  }
  uint32_t word() {
    uint32_t value = 0;
    for (const char c : take(4)) value = value << 8 | static_cast<unsigned char>(c);
    return value;
  }
  /// A count of items that take at least `item_bytes` each.
  size_t length(size_t item_bytes) {
    const uint32_t count = word();
    if (count > (bytes_.size() - position_) / item_bytes) fail("names more items than it holds");
    return count;
  }

  RValue read(int depth) {
    if (depth > kMaximumDepth) fail("is nested too deeply");
    const uint32_t flags = word();
    RValue value;
    switch (flags & kTypeMask) {
      case kNull:
        return value;
      case kPairList:
        return read_pair_list(flags, depth);
      case kLogicals:
      case kIntegers:
        value.kind = RValue::Kind::integers;
        for (size_t left = length(4); left > 0; --left) value.integers.push_back(static_cast<int32_t>(word()));
        break;
      case kStrings:
        value.kind = RValue::Kind::strings;
        for (size_t left = length(8); left > 0; --left) value.strings.push_back(read_characters());
        break;
      case kList:
        value.kind = RValue::Kind::list;
        for (size_t left = length(4); left > 0; --left) value.elements.push_back(read(depth + 1));
        break;
      default:
        fail("holds a kind of value that is not text, numbers or a list");
    }
    if (flags & kHasAttributes) read_names(value, depth);
    return value;
  }

  void read_names(RValue& value, int depth) {
    const RValue attributes = read(depth + 1);
    for (size_t index = 0; index < attributes.names.size(); ++index)
      if (attributes.names[index] == "names") value.names = attributes.elements[index].strings;
    if (value.kind == RValue::Kind::list && !value.names.empty() && value.names.size() != value.elements.size())
      fail("has a list with another number of names than elements");
  }

  /// A linked list of tagged values; its end is a null.
  RValue read_pair_list(uint32_t flags, int depth) {
    RValue list;
    list.kind = RValue::Kind::list;
    while ((flags & kTypeMask) == kPairList) {
      if (flags & kHasAttributes) read(depth + 1);
      list.names.push_back(flags & kHasTag ? read_symbol() : "");
      list.elements.push_back(read(depth + 1));
      flags = word();
    }
    if ((flags & kTypeMask) != kNull) fail("has a list without an end");
    return list;
  }

  std::string read_symbol() {
    const uint32_t flags = word();
    if ((flags & kTypeMask) == kReference) {
      // The index sits in the upper bits, or behind the flags where they are zero.
      const uint32_t index = flags >> 8 != 0 ? flags >> 8 : word();
      if (index == 0 || index > symbols_.size()) fail("refers to a name that it does not have");
      return symbols_[index - 1];
    }
    if ((flags & kTypeMask) != kSymbol) fail("has a list with a tag that is no name");
    symbols_.push_back(read_characters());
    return symbols_.back();
  }

  std::string read_characters() {
    const uint32_t flags = word();
    if ((flags & kTypeMask) != kCharacters) fail("has something else where text was expected");
    if (position_ + 4 <= bytes_.size() && bytes_.substr(position_, 4) == "\xff\xff\xff\xff") fail("has a missing text");
    const std::string_view text = take(length(1));
    return flags & kLatin1 ? utf8_from_windows_1252(text) : repair_utf8(text);
  }

  std::string_view bytes_, origin_;
  size_t position_ = 0;
  std::vector<std::string> symbols_;
};

const RValue& element(const RValue& list, std::string_view name, std::string_view origin) {
  for (size_t index = 0; index < list.names.size() && index < list.elements.size(); ++index)
    if (list.names[index] == name) return list.elements[index];
  throw base::Error("{}: \"{}\" is missing", origin, name);
}

}  // namespace

RValue read_r_value(std::string_view bytes, std::string_view origin) {
  return Reader(bytes, origin).read_all();
}

std::string inflate_bytes(std::string_view packed, int64_t size, size_t most, std::string_view origin) {
  z_stream stream{};
  constexpr int kZlibOrGzip = 15 + 32;
  if (inflateInit2(&stream, kZlibOrGzip) != Z_OK) throw base::Error("{}: zlib cannot be used", origin);
  struct End {
    z_stream* stream;
    ~End() { inflateEnd(stream); }
  } const end{&stream};
  std::string result;
  std::string buffer(size_t{1} << 18, '\0');
  const size_t limit = size >= 0 ? static_cast<size_t>(size) : most;
  int code = Z_OK;
  size_t consumed = 0;
  while (code == Z_OK) {
    if (stream.avail_in == 0) {
      const auto part = packed.substr(consumed, size_t{1} << 30);
      consumed += part.size();
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(part.data()));
      stream.avail_in = static_cast<uInt>(part.size());
    }
    stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
    stream.avail_out = static_cast<uInt>(buffer.size());
    code = inflate(&stream, Z_NO_FLUSH);
    result.append(buffer, 0, buffer.size() - stream.avail_out);
    if (result.size() > limit) throw base::Error("{}: it unpacks to more than the expected {} bytes", origin, limit);
  }
  if (code != Z_STREAM_END || (size >= 0 && result.size() != limit))
    throw base::Error("{}: the compressed data is damaged or cut short", origin);
  return result;
}

std::map<std::string, std::vector<std::string>> read_r_database(const std::filesystem::path& base_path) {
  std::filesystem::path index_path = base_path, data_path = base_path;
  index_path += ".rdx";
  data_path += ".rdb";
  const std::string origin = index_path.string();
  const RValue index = read_r_value(inflate_bytes(base::read_file(index_path), -1, size_t{1} << 26, origin), origin);
  const base::MappedFile data(data_path);
  const RValue& variables = element(index, "variables", origin);
  std::map<std::string, std::vector<std::string>> vectors;
  for (size_t item = 0; item < variables.names.size(); ++item) {
    const std::string place_origin = fmt::format("{}, {}", data_path.string(), variables.names[item]);
    const auto& place = variables.elements[item].integers;  // offset, length
    if (place.size() != 2 || place[0] < 0 || place[1] < 4 || static_cast<size_t>(place[0]) > data.text().size() ||
        static_cast<size_t>(place[1]) > data.text().size() - static_cast<size_t>(place[0]))
      throw base::Error("{}: the index points outside the file", place_origin);
    const auto chunk = data.text().substr(static_cast<size_t>(place[0]), static_cast<size_t>(place[1]));
    uint32_t unpacked = 0;
    for (const char c : chunk.substr(0, 4)) unpacked = unpacked << 8 | static_cast<unsigned char>(c);
    if (unpacked > kMaximumUnpacked) throw base::Error("{}: larger than {} bytes", place_origin, kMaximumUnpacked);
    RValue value = read_r_value(inflate_bytes(chunk.substr(4), unpacked, unpacked, place_origin), place_origin);
    if (value.kind == RValue::Kind::strings) vectors[variables.names[item]] = std::move(value.strings);
  }
  return vectors;
}

}  // namespace fledge::train
