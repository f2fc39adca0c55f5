#include "models/formats/gguf_header.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <unordered_set>

#include "base/error.h"
#include "base/json.h"
#include "models/formats/safetensors_header.h"

namespace fledge::models {
namespace {

using base::Error;
using base::Json;
using tensor::Shape;

static_assert(std::endian::native == std::endian::little);

constexpr std::string_view kMagic = "GGUF";
constexpr uint64_t kMostKeyBytes = 65535, kMostNameBytes = 4096;
constexpr uint64_t kMostAlignment = uint64_t{1} << 20;
constexpr uint32_t kMostDimensions = 4;
constexpr int kDeepestArray = 4;
// So that a count cannot make us ask for memory that the file cannot fill.
constexpr uint64_t kLeastEntryBytes = 13, kLeastTensorBytes = 24;

/// Takes numbers and strings from the file, never past its end.
class Cursor {
 public:
  Cursor(std::span<const std::byte> file, std::string_view origin) : file_(file), origin_(origin) {}

  template <typename T>
  T take(std::string_view what) {
    need(sizeof(T), what);
    T value;
    std::memcpy(&value, file_.data() + position_, sizeof(T));
    position_ += sizeof(T);
    return value;
  }

  std::string take_string(uint64_t most, std::string_view what) {
    const auto length = take<uint64_t>(what);
    if (length > most) {
      throw Error("{}: {} has {} bytes, more than the limit of {}", origin_, what, length, most);
    }
    need(length, what);
    std::string text(reinterpret_cast<const char*>(file_.data()) + position_, length);
    position_ += length;
    return text;
  }

  uint64_t position() const { return position_; }
  uint64_t rest() const { return file_.size() - position_; }

 private:
  void need(uint64_t bytes, std::string_view what) const {
    if (bytes > rest()) {
      throw Error("{}: {} needs {} bytes at byte {}, but only {} follow; the file is cut short", origin_, what, bytes,
                  position_, rest());
    }
  }

  std::span<const std::byte> file_;
  std::string_view origin_;
  uint64_t position_ = 0;
};

class HeaderReader {
 public:
  HeaderReader(std::span<const std::byte> file, std::string_view origin)
      : file_(file), origin_(origin), cursor_(file, origin) {}

  GgufHeader read() {
    read_beginning();
    const auto tensors = cursor_.take<uint64_t>("the count of tensors");
    const auto entries = cursor_.take<uint64_t>("the count of metadata entries");
    require_count(tensors, kLeastTensorBytes, "tensors");
    require_count(entries, kLeastEntryBytes, "metadata entries");
    std::unordered_set<std::string> keys;
    for (uint64_t index = 0; index < entries; ++index) read_entry(keys);
    read_alignment();
    std::unordered_set<std::string> names;
    for (uint64_t index = 0; index < tensors; ++index) read_tensor(names);
    const uint64_t padding = (header_.alignment - cursor_.position() % header_.alignment) % header_.alignment;
    header_.data_begin = cursor_.position() + padding;
    check_layout();
    return std::move(header_);
  }

 private:
  void read_beginning() {
    if (file_.size() < kMagic.size() || std::memcmp(file_.data(), kMagic.data(), kMagic.size()) != 0) {
      throw Error("{}: does not begin with the letters GGUF; it is no GGUF file", origin_);
    }
    cursor_.take<uint32_t>("the file's first letters");
    header_.version = cursor_.take<uint32_t>("the version");
    if ((header_.version & 0xffffu) == 0) {
      throw Error("{}: is a big-endian GGUF file; only little-endian ones are read", origin_);
    }
    if (header_.version != 2 && header_.version != 3) {
      throw Error("{}: is of GGUF version {}; versions 2 and 3 are read", origin_, header_.version);
    }
  }

  void require_count(uint64_t count, uint64_t least_bytes, std::string_view what) const {
    if (count > cursor_.rest() / least_bytes) {
      throw Error("{}: says that it has {} {}, but only {} bytes follow", origin_, count, what, cursor_.rest());
    }
  }

  void read_entry(std::unordered_set<std::string>& keys) {
    std::string key = cursor_.take_string(kMostKeyBytes, "a metadata key");
    if (!keys.insert(key).second) throw Error("{}: the metadata key {} is given twice", origin_, quoted_name(key));
    const std::string what = "the metadata " + quoted_name(key);
    GgufValue value;
    value.type = take_type(what);
    if (value.type == GgufValueType::array) {
      value.content = take_array(value.element, 1, what);
    } else {
      value.content = take_value(value.type, 0, what);
    }
    header_.metadata.add(std::move(key), std::move(value));
  }

  GgufValueType take_type(const std::string& what) {
    const auto number = cursor_.take<uint32_t>(what);
    if (number > static_cast<uint32_t>(GgufValueType::f64)) {
      throw Error("{}: {} has the unknown type {}", origin_, what, number);
    }
    return static_cast<GgufValueType>(number);
  }

  Json take_value(GgufValueType type, int depth, const std::string& what) {
    switch (type) {
      case GgufValueType::u8:
        return cursor_.take<uint8_t>(what);
      case GgufValueType::i8:
        return cursor_.take<int8_t>(what);
      case GgufValueType::u16:
        return cursor_.take<uint16_t>(what);
      case GgufValueType::i16:
        return cursor_.take<int16_t>(what);
      case GgufValueType::u32:
        return cursor_.take<uint32_t>(what);
      case GgufValueType::i32:
        return cursor_.take<int32_t>(what);
      case GgufValueType::u64:
        return cursor_.take<uint64_t>(what);
      case GgufValueType::i64:
        return cursor_.take<int64_t>(what);
      case GgufValueType::f32:
        return static_cast<double>(cursor_.take<float>(what));
      case GgufValueType::f64:
        return cursor_.take<double>(what);
      case GgufValueType::boolean: {
        const auto value = cursor_.take<uint8_t>(what);
        if (value > 1) throw Error("{}: {} has the boolean {}, expected 0 or 1", origin_, what, value);
        return value == 1;
      }
      case GgufValueType::string:
        return cursor_.take_string(std::numeric_limits<uint64_t>::max(), what);
      case GgufValueType::array: {
        GgufValueType element{};
        return take_array(element, depth + 1, what);
      }
    }
    return {};
  }

  Json take_array(GgufValueType& element, int depth, const std::string& what) {
    if (depth > kDeepestArray) throw Error("{}: {} has arrays deeper than {}", origin_, what, kDeepestArray);
    element = take_type(what);
    const auto count = cursor_.take<uint64_t>(what);
    if (count > cursor_.rest()) {
      throw Error("{}: {} has {} values, but only {} bytes follow; the file is cut short", origin_, what, count,
                  cursor_.rest());
    }
    values_ += count;
    if (values_ > kMostGgufValues) {
      throw Error("{}: {} has {} values; more than {} in all arrays are not read", origin_, what, count,
                  kMostGgufValues);
    }
    Json::array_t list;
    list.reserve(count);
    for (uint64_t index = 0; index < count; ++index) list.push_back(take_value(element, depth, what));
    return list;
  }

  void read_alignment() {
    const auto alignment = header_.metadata.get<int64_t>("general.alignment", 32, origin_);
    if (alignment < 8 || alignment % 8 != 0 || static_cast<uint64_t>(alignment) > kMostAlignment) {
      throw Error("{}: general.alignment is {}, expected a multiple of 8 up to {}", origin_, alignment, kMostAlignment);
    }
    header_.alignment = static_cast<uint64_t>(alignment);
  }

  void read_tensor(std::unordered_set<std::string>& names) {
    GgufTensor tensor;
    tensor.name = cursor_.take_string(kMostNameBytes, "a tensor's name");
    if (!names.insert(tensor.name).second) {
      throw Error("{}: the tensor {} is given twice", origin_, quoted_name(tensor.name));
    }
    const std::string what = "tensor " + quoted_name(tensor.name);
    const auto dimensions = cursor_.take<uint32_t>(what);
    if (dimensions > kMostDimensions) {
      throw Error("{}: {} has {} dimensions, more than the format's {}", origin_, what, dimensions, kMostDimensions);
    }
    std::vector<int64_t> extents;
    for (uint32_t index = 0; index < dimensions; ++index) {
      const auto extent = cursor_.take<uint64_t>(what);
      if (extent > INT64_MAX) throw Error("{}: {} has the extent {}", origin_, what, extent);
      extents.push_back(static_cast<int64_t>(extent));
    }
    for (size_t index = extents.size(); index-- > 0;) tensor.shape.push_back(extents[index]);
    const auto number = cursor_.take<uint32_t>(what);
    tensor.type = gguf_type_numbered(number);
    if (tensor.type == nullptr) throw Error("{}: {} has the unknown type {}", origin_, what, number);
    const std::optional<uint64_t> bytes = gguf_byte_count(tensor.shape, *tensor.type);
    if (!bytes) {
      throw Error("{}: {} has the shape {} of {}, whose rows are no countable number of whole blocks of {}", origin_,
                  what, tensor.shape.text(), tensor.type->name, tensor.type->block_elements);
    }
    tensor.begin = cursor_.take<uint64_t>(what);
    if (tensor.begin % header_.alignment != 0) {
      throw Error("{}: {} begins at byte {} of the data, expected a multiple of {}", origin_, what, tensor.begin,
                  header_.alignment);
    }
    if (__builtin_add_overflow(tensor.begin, *bytes, &tensor.end)) {
      throw Error("{}: {} begins at byte {} of the data and has {} bytes, which is no place in a file", origin_, what,
                  tensor.begin, *bytes);
    }
    header_.tensors.push_back(std::move(tensor));
  }

  void check_layout() const {
    const uint64_t data_bytes = file_.size() > header_.data_begin ? file_.size() - header_.data_begin : 0;
    std::vector<const GgufTensor*> ordered;
    for (const GgufTensor& tensor : header_.tensors) {
      if (tensor.end > data_bytes) {
        throw Error("{}: tensor {} ends at byte {} of the data, but the file has only {}; the file is cut short",
                    origin_, quoted_name(tensor.name), tensor.end, data_bytes);
      }
      if (tensor.begin != tensor.end) ordered.push_back(&tensor);
    }
    std::ranges::sort(ordered, {}, &GgufTensor::begin);
    for (size_t index = 1; index < ordered.size(); ++index) {
      if (ordered[index]->begin < ordered[index - 1]->end) {
        throw Error("{}: the tensors {} and {} overlap", origin_, quoted_name(ordered[index - 1]->name),
                    quoted_name(ordered[index]->name));
      }
    }
  }

  std::span<const std::byte> file_;
  std::string_view origin_;
  Cursor cursor_;
  GgufHeader header_;
  uint64_t values_ = 0;
};

/// Appends numbers and strings as the format has them.
class HeaderText {
 public:
  explicit HeaderText(std::string_view origin) : origin_(origin) {}

  template <typename T>
  void put(T value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }
  void put_string(std::string_view value) {
    put<uint64_t>(value.size());
    text_ += value;
  }

  void put_value(GgufValueType type, const Json& content, const std::string& key) {
    switch (type) {
      case GgufValueType::u8:
        return put_integer<uint8_t>(content, key);
      case GgufValueType::i8:
        return put_integer<int8_t>(content, key);
      case GgufValueType::u16:
        return put_integer<uint16_t>(content, key);
      case GgufValueType::i16:
        return put_integer<int16_t>(content, key);
      case GgufValueType::u32:
        return put_integer<uint32_t>(content, key);
      case GgufValueType::i32:
        return put_integer<int32_t>(content, key);
      case GgufValueType::u64:
        return put_integer<uint64_t>(content, key);
      case GgufValueType::i64:
        return put_integer<int64_t>(content, key);
      case GgufValueType::f32:
        require(content.is_number(), key);
        return put(static_cast<float>(content.get<double>()));
      case GgufValueType::f64:
        require(content.is_number(), key);
        return put(content.get<double>());
      case GgufValueType::boolean:
        require(content.is_boolean(), key);
        return put<uint8_t>(content.get<bool>() ? 1 : 0);
      case GgufValueType::string:
        require(content.is_string(), key);
        return put_string(content.get_ref<const std::string&>());
      case GgufValueType::array:
        throw Error("{}: the metadata {} is an array of arrays, which is not written", origin_, quoted_name(key));
    }
  }

  void put_entry(const std::string& key, const GgufValue& value) {
    put_string(key);
    put(static_cast<uint32_t>(value.type));
    if (value.type != GgufValueType::array) return put_value(value.type, value.content, key);
    require(value.content.is_array(), key);
    put(static_cast<uint32_t>(value.element));
    put<uint64_t>(value.content.size());
    for (const Json& element : value.content) put_value(value.element, element, key);
  }

  std::string& text() { return text_; }

 private:
  void require(bool fits, const std::string& key) const {
    if (!fits) throw Error("{}: the metadata {} does not fit its type", origin_, quoted_name(key));
  }

  template <typename T>
  void put_integer(const Json& content, const std::string& key) {
    require(content.is_number_integer(), key);
    const bool fits = content.is_number_unsigned() ? std::in_range<T>(content.get<uint64_t>())
                                                   : std::in_range<T>(content.get<int64_t>());
    require(fits, key);
    put(content.get<T>());
  }

  std::string_view origin_;
  std::string text_;
};

}  // namespace

std::optional<uint64_t> gguf_byte_count(const Shape& shape, const GgufType& type) {
  const int64_t columns = shape.rank() == 0 ? 1 : shape[shape.rank() - 1];
  if (columns % type.block_elements != 0) return std::nullopt;
  int64_t bytes = static_cast<int64_t>(type.block_bytes);
  bool empty = false;
  for (int index = 0; index < shape.rank(); ++index) {
    const int64_t extent = index == shape.rank() - 1 ? shape[index] / type.block_elements : shape[index];
    if (extent == 0) {
      empty = true;
    } else if (__builtin_mul_overflow(bytes, extent, &bytes) || bytes > INT64_MAX / type.block_elements) {
      return std::nullopt;
    }
  }
  return empty ? 0 : static_cast<uint64_t>(bytes);
}

GgufHeader parse_gguf_header(std::span<const std::byte> file, std::string_view origin) {
  return HeaderReader(file, origin).read();
}

std::string gguf_header_text(const GgufHeader& header, std::string_view origin) {
  HeaderText writer(origin);
  writer.text() = kMagic;
  writer.put(header.version);
  writer.put<uint64_t>(header.tensors.size());
  writer.put<uint64_t>(header.metadata.entries().size());
  for (const auto& [key, value] : header.metadata.entries()) writer.put_entry(key, value);
  for (const GgufTensor& tensor : header.tensors) {
    if (tensor.shape.rank() > static_cast<int>(kMostDimensions)) {
      throw Error("{}: tensor {} has {} dimensions, more than the format's {}", origin, quoted_name(tensor.name),
                  tensor.shape.rank(), kMostDimensions);
    }
    writer.put_string(tensor.name);
    writer.put(static_cast<uint32_t>(tensor.shape.rank()));
    for (int index = tensor.shape.rank(); index-- > 0;) writer.put(static_cast<uint64_t>(tensor.shape[index]));
    writer.put(tensor.type->number);
    writer.put(tensor.begin);
  }
  while (writer.text().size() % header.alignment != 0) writer.text() += '\0';
  return std::move(writer.text());
}

}  // namespace fledge::models
