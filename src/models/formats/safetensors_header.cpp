#include "models/formats/safetensors_header.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <tuple>
#include <unordered_set>

#include "base/error.h"
#include "base/json.h"

namespace fledge::models {
namespace {

using base::Error;
using base::Json;
using base::OrderedJson;
using tensor::Shape;

constexpr std::string_view kMetadataName = "__metadata__";

/// Bytes that a tensor of that shape and type takes, or nothing where they cannot be counted in 63 bits. Extents of
/// zero are left out of the overflow check's product, because a tensor's strides leave them out too.
std::optional<uint64_t> byte_count(const Shape& shape, StoredType type) {
  int64_t bits = static_cast<int64_t>(bits_of(type));
  bool empty = false;
  for (const int64_t extent : shape.extents()) {
    if (extent == 0) {
      empty = true;
    } else if (__builtin_mul_overflow(bits, extent, &bits)) {
      return std::nullopt;
    }
  }
  if (empty) return 0;
  if (bits % 8 != 0) return std::nullopt;
  return static_cast<uint64_t>(bits) / 8;
}

/// Builds the list of tensors while the JSON is read, token by token: no tree of a header of 100 MB is made, an
/// unexpected value is refused where it stands, and a key that comes twice is seen.
class HeaderParser : public nlohmann::json_sax<Json> {
 public:
  HeaderParser(SafetensorsHeader& header, std::string_view origin) : header_(header), origin_(origin) {}

  bool null() override { return refuse("null"); }
  bool boolean(bool) override { return refuse("a boolean"); }
  bool number_integer(number_integer_t value) override { return refuse(fmt::format("the number {}", value)); }
  bool number_float(number_float_t, const string_t& text) override {
    return refuse(fmt::format("the number {}", text.substr(0, 40)));
  }
  bool binary(binary_t&) override { return refuse("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::offsets) {
      if (offsets_++ >= 2) return refuse("a third number");
      (offsets_ == 1 ? tensor_.begin : tensor_.end) = value;
      return true;
    }
    if (place_ != Place::shape) return refuse(fmt::format("the number {}", value));
    if (value > INT64_MAX) return refuse(fmt::format("the extent {}", value));
    if (tensor_.shape.rank() == Shape::kMaximumRank) {
      throw Error("{}: tensor {} has more than {} dimensions", origin_, quoted_name(tensor_.name), Shape::kMaximumRank);
    }
    tensor_.shape.push_back(static_cast<int64_t>(value));
    return true;
  }

  bool string(string_t& value) override {
    if (place_ == Place::metadata) {
      if (!header_.metadata.emplace(key_, std::move(value)).second) {
        throw Error("{}: the metadata key {} is given twice", origin_, quoted_name(key_));
      }
      return true;
    }
    if (place_ != Place::tensor || key_ != "dtype") return refuse("a string");
    const std::optional<StoredType> type = stored_type_named(value);
    if (!type)
      throw Error("{}: tensor {} has the unknown dtype {}", origin_, quoted_name(tensor_.name), quoted_name(value));
    tensor_.type = *type;
    return true;
  }

  bool start_object(std::size_t) override {
    if (place_ == Place::start) {
      place_ = Place::top;
    } else if (place_ == Place::top && key_ == kMetadataName) {
      place_ = Place::metadata;
    } else if (place_ == Place::top) {
      place_ = Place::tensor;
      tensor_ = StoredTensor{};
      tensor_.name = key_;
      fields_.clear();
      offsets_ = 0;
    } else {
      return refuse("an object");
    }
    return true;
  }

  bool key(string_t& value) override {
    key_ = std::move(value);
    if (place_ == Place::top && !names_.insert(key_).second) {
      throw Error("{}: the name {} is given twice", origin_, quoted_name(key_));
    }
    if (place_ == Place::tensor) {
      if (key_ != "dtype" && key_ != "shape" && key_ != "data_offsets") {
        throw Error("{}: tensor {} has the field {}; expected dtype, shape and data_offsets", origin_,
                    quoted_name(tensor_.name), quoted_name(key_));
      }
      if (std::ranges::find(fields_, key_) != fields_.end()) {
        throw Error("{}: tensor {} has the field {} twice", origin_, quoted_name(tensor_.name), quoted_name(key_));
      }
      fields_.push_back(key_);
    }
    return true;
  }

  bool end_object() override {
    if (place_ == Place::tensor) finish_tensor();
    place_ = place_ == Place::top ? Place::start : Place::top;
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ == Place::tensor && key_ == "shape") {
      place_ = Place::shape;
    } else if (place_ == Place::tensor && key_ == "data_offsets") {
      place_ = Place::offsets;
    } else {
      return refuse("an array");
    }
    return true;
  }

  bool end_array() override {
    if (place_ == Place::offsets && offsets_ != 2) return refuse("the end of the array");
    place_ = Place::tensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) override {
    throw Error("{}: the header is not valid JSON at byte {}", origin_, position);
  }

 private:
  enum class Place { start, top, metadata, tensor, shape, offsets };

  [[noreturn]] bool refuse(std::string_view found) const {
    const auto say = [&](std::string_view where, std::string_view expected) {
      throw Error("{}: {} has {} where {} was expected", origin_, where, found, expected);
    };
    const std::string here = fmt::format("tensor {}", quoted_name(tensor_.name));
    if (place_ == Place::metadata) say(fmt::format("metadata {}", quoted_name(key_)), "a string");
    if (place_ == Place::shape) say(here, "an extent of its shape (a whole number, not negative)");
    if (place_ == Place::offsets) say(here, "its two data_offsets (whole numbers, not negative)");
    if (place_ == Place::tensor) say(here, key_ == "dtype" ? "the name of its dtype" : "a list of numbers");
    if (place_ == Place::top) say(fmt::format("the header's entry {}", quoted_name(key_)), "an object");
    say("the header", "an object");
    __builtin_unreachable();
  }

  void finish_tensor() {
    const std::string name = quoted_name(tensor_.name);
    for (const char* field : {"dtype", "shape", "data_offsets"}) {
      if (std::ranges::find(fields_, field) == fields_.end()) {
        throw Error("{}: tensor {} has no {}", origin_, name, field);
      }
    }
    if (tensor_.begin > tensor_.end) {
      throw Error("{}: tensor {} begins at byte {} and ends before it, at byte {}", origin_, name, tensor_.begin,
                  tensor_.end);
    }
    const std::optional<uint64_t> expected = byte_count(tensor_.shape, tensor_.type);
    if (!expected) {
      throw Error("{}: tensor {} has the shape {} of {}, which is no countable number of bytes", origin_, name,
                  tensor_.shape.text(), name_of(tensor_.type));
    }
    if (tensor_.end - tensor_.begin != *expected) {
      throw Error("{}: tensor {} has {} bytes, but {} {} needs {}", origin_, name, tensor_.end - tensor_.begin,
                  name_of(tensor_.type), tensor_.shape.text(), *expected);
    }
    header_.tensors.push_back(std::move(tensor_));
  }

  SafetensorsHeader& header_;
  std::string_view origin_;
  Place place_ = Place::start;
  std::string key_;
  StoredTensor tensor_;
  std::vector<std::string> fields_;
  int offsets_ = 0;
  std::unordered_set<std::string> names_;
};

/// The tensors must fill the file from the header to its end: each begins where the one before it ends.
void check_layout(const SafetensorsHeader& header, uint64_t file_bytes, std::string_view origin) {
  const uint64_t data_bytes = file_bytes - header.data_begin;
  uint64_t position = 0;
  for (const StoredTensor& tensor : header.tensors) {
    if (tensor.begin != position) {
      throw Error("{}: tensor {} begins at byte {} of the data, expected byte {}, where the tensor before it ends ({})",
                  origin, quoted_name(tensor.name), tensor.begin, position,
                  tensor.begin < position ? "they overlap" : "there is a hole between them");
    }
    if (tensor.end > data_bytes) {
      throw Error("{}: tensor {} ends at byte {} of the data, but the file has only {}; the file is cut short", origin,
                  quoted_name(tensor.name), tensor.end, data_bytes);
    }
    position = tensor.end;
  }
  if (position != data_bytes) {
    throw Error("{}: the last {} bytes belong to no tensor; expected the file to end with its last tensor, at byte {}",
                origin, data_bytes - position, header.data_begin + position);
  }
}

uint64_t header_length(std::span<const std::byte> file, std::string_view origin) {
  constexpr std::string_view kPointer = "version https://git-lfs";
  if (file.size() >= kPointer.size() && std::memcmp(file.data(), kPointer.data(), kPointer.size()) == 0) {
    throw Error("{}: is a Git LFS pointer and not the weights themselves; fetch them with 'git lfs pull'", origin);
  }
  if (file.size() < kHeaderLengthBytes) {
    throw Error("{}: has {} bytes, expected a safetensors file, whose first {} bytes are the length of its header",
                origin, file.size(), kHeaderLengthBytes);
  }
  uint64_t length = 0;
  for (size_t i = 0; i < kHeaderLengthBytes; ++i) length |= std::to_integer<uint64_t>(file[i]) << (8 * i);
  if (length > kMaximumHeaderBytes) {
    throw Error("{}: says that its header has {} bytes, more than the format's limit of {}; it is no safetensors file",
                origin, length, kMaximumHeaderBytes);
  }
  if (length > file.size() - kHeaderLengthBytes) {
    throw Error("{}: says that its header has {} bytes, but only {} follow; the file is cut short", origin, length,
                file.size() - kHeaderLengthBytes);
  }
  return length;
}

std::string json_string(std::string_view text, std::string_view origin) {
  try {
    return Json(text).dump();
  } catch (const nlohmann::json::exception&) {
    throw Error("{}: {} cannot be written, because it is not UTF-8", origin, quoted_name(text));
  }
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::span<const std::byte> file, std::string_view origin) {
  const uint64_t length = header_length(file, origin);
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + kHeaderLengthBytes, length);
  if (text.empty() || text[0] != '{') throw Error("{}: the header does not begin with '{{'", origin);
  SafetensorsHeader header;
  header.data_begin = kHeaderLengthBytes + length;
  HeaderParser parser(header, origin);
  Json::sax_parse(text.begin(), text.end(), &parser);
  std::ranges::sort(header.tensors, [](const StoredTensor& a, const StoredTensor& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  check_layout(header, file.size(), origin);
  return header;
}

std::string safetensors_header_text(std::span<const StoredTensor> tensors, const Metadata& metadata,
                                    std::string_view origin) {
  std::string text(kHeaderLengthBytes, '\0');
  text += '{';
  const char* separator = "";
  if (!metadata.empty()) {
    text += fmt::format("\"{}\":{{", kMetadataName);
    for (const auto& [key, value] : metadata) {
      text += separator + json_string(key, origin) + ":" + json_string(value, origin);
      separator = ",";
    }
    text += '}';
  }
  for (const StoredTensor& tensor : tensors) {
    text += fmt::format("{}{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}", separator,
                        json_string(tensor.name, origin), name_of(tensor.type), fmt::join(tensor.shape.extents(), ","),
                        tensor.begin, tensor.end);
    separator = ",";
  }
  text += '}';
  while (text.size() % 8 != 0) text += ' ';
  const uint64_t length = text.size() - kHeaderLengthBytes;
  if (length > kMaximumHeaderBytes) {
    throw Error("{}: the header would have {} bytes, more than the format's limit of {}", origin, length,
                kMaximumHeaderBytes);
  }
  for (size_t i = 0; i < kHeaderLengthBytes; ++i) text[i] = static_cast<char>((length >> (8 * i)) & 0xff);
  return text;
}

std::string quoted_name(std::string_view name) {
  constexpr size_t kLongest = 120;
  std::string text = Json(name.substr(0, kLongest)).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (name.size() > kLongest) text.insert(text.size() - 1, "...");
  return text;
}

}  // namespace fledge::models
