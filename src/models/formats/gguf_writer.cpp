#include <algorithm>
#include <cmath>
#include <cstring>
#include <unordered_set>

#include "base/error.h"
#include "models/formats/gguf.h"
#include "models/formats/safetensors_header.h"
#include "tensor/float16.h"

namespace fledge::models {
namespace {

using base::Error;
using tensor::DType;
using tensor::Tensor;

constexpr uint64_t kAlignment = 32;
// ggml keeps names in 64 bytes with a zero at the end.
constexpr size_t kMostNameBytes = 63;

uint64_t padded(uint64_t position) {
  return (position + kAlignment - 1) / kAlignment * kAlignment;
}

GgufHeader lay_out(const GgufMetadata& metadata, const std::vector<GgufPlan>& plans, std::string_view origin) {
  GgufHeader header;
  header.alignment = kAlignment;
  header.metadata = metadata;
  header.metadata.remove("general.alignment");
  std::unordered_set<std::string_view> names;
  uint64_t position = 0;
  for (const GgufPlan& plan : plans) {
    if (plan.name.size() > kMostNameBytes) {
      throw Error("{}: the name of tensor {} is longer than the format's {} bytes", origin, quoted_name(plan.name),
                  kMostNameBytes);
    }
    if (!names.insert(plan.name).second) throw Error("{}: tensor {} is given twice", origin, quoted_name(plan.name));
    const std::optional<uint64_t> bytes = gguf_byte_count(plan.shape, *plan.type);
    if (!bytes) {
      throw Error("{}: tensor {} has the shape {}, whose rows are no whole blocks of {} for {}", origin,
                  quoted_name(plan.name), plan.shape.text(), plan.type->block_elements, plan.type->name);
    }
    header.tensors.push_back({plan.name, plan.type, plan.shape, position, position + *bytes});
    position = padded(position + *bytes);
  }
  return header;
}

}  // namespace

std::vector<std::byte> encode_gguf(const Tensor& values, const GgufType& type, std::string_view what) {
  const std::optional<uint64_t> bytes = gguf_byte_count(values.shape(), type);
  if (!values || values.dtype() != DType::f32 || !values.is_contiguous() || !bytes) {
    throw Error("{}: {} cannot be stored as {}", what, describe(values), type.name);
  }
  std::vector<std::byte> out(*bytes);
  const auto count = static_cast<size_t>(values.elements());
  if (count == 0) return out;
  const auto* from = values.data<float>();
  if (type == kGgufF32) {
    std::memcpy(out.data(), from, out.size());
  } else if (type == kGgufBf16) {
    auto* to = reinterpret_cast<tensor::bf16*>(out.data());
    for (size_t i = 0; i < count; ++i) to[i] = tensor::bf16::from(from[i]);
  } else if (type == kGgufF16) {
    auto* to = reinterpret_cast<uint16_t*>(out.data());
    for (size_t i = 0; i < count; ++i) {
      to[i] = tensor::to_f16(from[i]);
      if ((to[i] & 0x7fffu) == 0x7c00u && std::isfinite(from[i])) {
        throw Error("{}: has the value {}, which is too large for F16; BF16 or F32 can hold it", what, from[i]);
      }
    }
  } else if (type.blocks) {
    const int64_t columns = values.dim(values.rank() - 1);
    const size_t row_bytes = tensor::row_bytes(*type.blocks, columns);
    tensor::Arena arena("encoded weights");
    const Tensor matrix = values.reshape({-1, columns});
    const tensor::BlockMatrix blocks = tensor::quantize(matrix, *type.blocks, arena);
    std::memcpy(out.data(), blocks.bytes.raw(), row_bytes * static_cast<size_t>(matrix.dim(0)));
  } else {
    throw Error("{}: {} is not written; F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q4_K and Q6_K are", what, type.name);
  }
  return out;
}

GgufWriter::GgufWriter(const std::filesystem::path& path, const GgufMetadata& metadata,
                       const std::vector<GgufPlan>& plans)
    : origin_(path.string()), header_(lay_out(metadata, plans, origin_)), file_(path) {
  file_.write(std::string_view(gguf_header_text(header_, origin_)));
}

const GgufTensor& GgufWriter::expected(std::string_view name) const {
  if (next_ == header_.tensors.size()) {
    throw Error("{}: tensor {} comes after all {} planned ones", origin_, quoted_name(name), header_.tensors.size());
  }
  const GgufTensor& planned = header_.tensors[next_];
  if (planned.name != name) {
    throw Error("{}: tensor {} comes where {} was planned", origin_, quoted_name(name), quoted_name(planned.name));
  }
  return planned;
}

void GgufWriter::write(std::string_view name, std::span<const std::byte> bytes) {
  const GgufTensor& planned = expected(name);
  if (bytes.size() != planned.end - planned.begin) {
    throw Error("{}: tensor {} has {} bytes, expected {}", origin_, quoted_name(name), bytes.size(),
                planned.end - planned.begin);
  }
  file_.write(bytes);
  position_ += bytes.size();
  file_.write(std::string_view(std::string(padded(position_) - position_, '\0')));
  position_ = padded(position_);
  ++next_;
}

void GgufWriter::write(std::string_view name, const Tensor& values) {
  const GgufTensor& planned = expected(name);
  if (!values || !(values.shape() == planned.shape)) {
    throw Error("{}: tensor {} is {}, expected the shape {}", origin_, quoted_name(name), describe(values),
                planned.shape.text());
  }
  write(name, encode_gguf(values, *planned.type, fmt::format("{}: tensor {}", origin_, quoted_name(name))));
}

void GgufWriter::commit() {
  if (next_ != header_.tensors.size()) {
    throw Error("{}: tensor {} was planned and is missing", origin_, quoted_name(header_.tensors[next_].name));
  }
  file_.commit();
}

}  // namespace fledge::models
