#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "tensor/shape.h"

namespace fledge::test {

/// One file of tests/reference/data, for tests of any floor above base: the product's own reader of safetensors is a
/// higher floor than most of what is tested with it, and is tested itself.
class ReferenceData {
 public:
  /// `name` is the path below tests/reference/data without its suffix: "operations/layer_norm".
  explicit ReferenceData(const std::string& name)
      : bytes_(base::read_file(std::string(FLEDGE_REFERENCE_DIR) + "/" + name + ".safetensors")) {
    uint64_t header_size = 0;
    if (bytes_.size() < sizeof(header_size)) throw base::Error("{}: the file is cut short", name);
    std::memcpy(&header_size, bytes_.data(), sizeof(header_size));
    if (header_size > bytes_.size() - sizeof(header_size)) throw base::Error("{}: the header is cut short", name);
    header_ = base::parse_json(std::string_view(bytes_).substr(sizeof(header_size), header_size), name);
    begin_ = sizeof(header_size) + header_size;
  }

  bool has(const std::string& tensor) const { return header_.contains(tensor); }

  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& [name, entry] : header_.items()) {
      if (name != "__metadata__") names.push_back(name);
    }
    return names;
  }

  tensor::Shape shape(const std::string& tensor) const {
    return tensor::Shape(std::span<const int64_t>(entry(tensor).at("shape").get<std::vector<int64_t>>()));
  }

  /// The elements of a floating-point tensor (F64 or F32) in row-major order, as T (double or float).
  template <typename T>
  std::vector<T> values(const std::string& tensor) const {
    static_assert(std::is_floating_point_v<T>);
    if (entry(tensor).at("dtype") == "F64") return read<T, double>(tensor);
    return read<T, float>(tensor);
  }

  /// A tensor of one element, such as a setting or a loss.
  double value(const std::string& tensor) const { return values<double>(tensor).at(0); }

  /// The elements of an I64 tensor (ids, targets, offsets), as T.
  template <typename T>
  std::vector<T> integers(const std::string& tensor) const {
    static_assert(std::is_integral_v<T>);
    return read<T, int64_t>(tensor);
  }

 private:
  const base::Json& entry(const std::string& tensor) const {
    const auto found = header_.find(tensor);
    if (found == header_.end()) throw base::Error("the reference data has no tensor {}", tensor);
    return *found;
  }

  template <typename T, typename Stored>
  std::vector<T> read(const std::string& tensor) const {
    static_assert(std::endian::native == std::endian::little);
    const char* expected = std::is_integral_v<Stored> ? "I64" : sizeof(Stored) == 8 ? "F64" : "F32";
    if (entry(tensor).at("dtype") != expected) throw base::Error("{} is not {}", tensor, expected);
    const auto [first, last] = entry(tensor).at("data_offsets").get<std::pair<size_t, size_t>>();
    if (first > last || last > bytes_.size() - begin_) throw base::Error("{} lies outside its file", tensor);
    std::vector<Stored> stored((last - first) / sizeof(Stored));
    std::memcpy(stored.data(), bytes_.data() + begin_ + first, stored.size() * sizeof(Stored));
    return std::vector<T>(stored.begin(), stored.end());
  }

  std::string bytes_;
  base::Json header_;
  size_t begin_ = 0;
};

}  // namespace fledge::test
