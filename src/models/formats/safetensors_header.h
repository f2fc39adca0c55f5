#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/formats/stored_type.h"
#include "tensor/shape.h"

namespace fledge::models {

/// Free text that travels with a file's tensors.
using Metadata = std::map<std::string, std::string>;

/// Where a tensor lies in a safetensors file.
struct StoredTensor {
  std::string name;
  StoredType type = StoredType::f32;
  tensor::Shape shape;
  uint64_t begin = 0;  ///< First byte, counted from the end of the header.
  uint64_t end = 0;    ///< One past the last byte.
};

/// The format's own limit on the JSON text of a header.
inline constexpr uint64_t kMaximumHeaderBytes = 100'000'000;
/// Bytes before the header: its length.
inline constexpr uint64_t kHeaderLengthBytes = 8;

struct SafetensorsHeader {
  std::vector<StoredTensor> tensors;  ///< In the order of their bytes.
  Metadata metadata;
  uint64_t data_begin = 0;  ///< Byte of the file at which the tensors start.
};

/// Reads and checks the header of a whole safetensors file: an 8-byte little-endian length, that many bytes of JSON,
/// then the tensors without holes and without overlaps up to the end of the file. Everything that the format promises
/// is checked, so that a tensor's bytes may be trusted to be inside `file` and to be as many as its shape and type
/// need. Stricter than the format in three points: a name or field that is given twice, a field that the format does
/// not know, and a rank above 8 are refused. Throws base::Error naming `origin`, the tensor, what was found and what
/// was expected. Format: https://github.com/huggingface/safetensors#format
SafetensorsHeader parse_safetensors_header(std::span<const std::byte> file, std::string_view origin);

/// The header's bytes (length, JSON, spaces up to a multiple of eight) for tensors in the order given. The same input
/// gives the same bytes. Throws base::Error where a name is not UTF-8 or the header would be larger than the format's
/// limit.
std::string safetensors_header_text(std::span<const StoredTensor> tensors, const Metadata& metadata,
                                    std::string_view origin);

/// A name for a message: in quotes, with everything unusual escaped, and cut where it is long.
std::string quoted_name(std::string_view name);

}  // namespace fledge::models
