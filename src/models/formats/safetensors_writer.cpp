#include <algorithm>
#include <cstring>
#include <tuple>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "models/formats/safetensors.h"

namespace fledge::models {
namespace {

using base::Error;
using tensor::bf16;
using tensor::DType;
using tensor::Tensor;

constexpr int64_t kBufferElements = 1 << 16;

/// Places the planned tensors one after another, after checking what the caller asked for.
std::vector<StoredTensor> lay_out(const std::vector<TensorPlan>& plans, std::string_view origin) {
  std::vector<StoredTensor> stored;
  std::unordered_set<std::string_view> names;
  uint64_t position = 0;
  for (const TensorPlan& plan : plans) {
    if (plan.name == "__metadata__") throw Error("{}: a tensor cannot have the name \"__metadata__\"", origin);
    if (!names.insert(plan.name).second) throw Error("{}: tensor {} is given twice", origin, quoted_name(plan.name));
    const uint64_t bytes = static_cast<uint64_t>(plan.shape.elements()) * tensor::size_of(plan.dtype);
    stored.push_back({plan.name, stored_type_of(plan.dtype), plan.shape, position, position + bytes});
    position += bytes;
  }
  return stored;
}

}  // namespace

void sort_for_alignment(std::vector<TensorPlan>& plans) {
  std::ranges::sort(plans, [](const TensorPlan& a, const TensorPlan& b) {
    // Among types of one size, the enumeration's order keeps each type together.
    const auto key = [](const TensorPlan& plan) {
      return std::tuple(-static_cast<int>(tensor::size_of(plan.dtype)), plan.dtype, std::string_view(plan.name));
    };
    return key(a) < key(b);
  });
}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, const std::vector<TensorPlan>& plans,
                                     const Metadata& metadata)
    : origin_(path.string()), plan_(lay_out(plans, origin_)), file_(path) {
  file_.write(std::string_view(safetensors_header_text(plan_, metadata, origin_)));
}

void SafetensorsWriter::write(std::string_view name, const Tensor& tensor) {
  if (next_ == plan_.size()) {
    throw Error("{}: tensor {} comes after all {} planned ones", origin_, quoted_name(name), plan_.size());
  }
  const StoredTensor& planned = plan_[next_];
  if (planned.name != name) {
    throw Error("{}: tensor {} comes where {} was planned", origin_, quoted_name(name), quoted_name(planned.name));
  }
  if (!tensor || !(tensor.shape() == planned.shape)) {
    throw Error("{}: tensor {} is {}, expected the shape {}", origin_, quoted_name(name), describe(tensor),
                planned.shape.text());
  }
  const DType dtype = *dtype_of(planned.type);
  if (tensor.dtype() != dtype && !(tensor.dtype() == DType::f32 && dtype == DType::bf16)) {
    throw Error("{}: tensor {} is {}, which is not stored as {}", origin_, quoted_name(name), describe(tensor),
                name_of(planned.type));
  }
  write_elements(tensor, dtype);
  ++next_;
}

void SafetensorsWriter::commit() {
  if (next_ != plan_.size()) {
    throw Error("{}: tensor {} was planned and is missing", origin_, quoted_name(plan_[next_].name));
  }
  file_.commit();
}

/// Row-major order, whatever the strides: as long runs as the tensor allows.
void SafetensorsWriter::write_elements(const Tensor& tensor, DType dtype) {
  if (tensor.elements() == 0) return;
  if (tensor.is_contiguous()) {
    write_run(tensor.raw(), tensor.elements(), 1, tensor.dtype(), dtype);
  } else if (tensor.rank() == 1) {
    write_run(tensor.raw(), tensor.dim(0), tensor.stride(0), tensor.dtype(), dtype);
  } else {
    for (int64_t row = 0; row < tensor.dim(0); ++row) write_elements(tensor.select(0, row), dtype);
  }
}

/// `count` elements, `stride` elements apart.
void SafetensorsWriter::write_run(const std::byte* first, int64_t count, int64_t stride, DType from, DType to) {
  const int64_t size = static_cast<int64_t>(tensor::size_of(from));
  if (stride == 1 && from == to) {
    file_.write(std::span(first, static_cast<size_t>(count * size)));
    return;
  }
  buffer_.resize(static_cast<size_t>(std::min(count, kBufferElements) * size));
  for (int64_t done = 0; done < count; done += kBufferElements) {
    const int64_t part = std::min(count - done, kBufferElements);
    const std::byte* source = first + done * stride * size;
    if (from == to) {
      for (int64_t i = 0; i < part; ++i) {
        std::memcpy(buffer_.data() + i * size, source + i * stride * size, static_cast<size_t>(size));
      }
      file_.write(std::span<const std::byte>(buffer_.data(), static_cast<size_t>(part * size)));
    } else {
      const auto* values = reinterpret_cast<const float*>(source);
      auto* rounded = reinterpret_cast<bf16*>(buffer_.data());
      for (int64_t i = 0; i < part; ++i) rounded[i] = bf16::from(values[i * stride]);
      file_.write(std::span<const std::byte>(buffer_.data(), static_cast<size_t>(part) * sizeof(bf16)));
    }
  }
}

void write_safetensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors,
                       const SafetensorsOptions& options) {
  std::vector<TensorPlan> plans;
  std::map<std::string_view, const Tensor*> by_name;
  for (const NamedTensor& named : tensors) {
    if (!named.tensor) throw Error("{}: tensor {} is undefined", path.string(), quoted_name(named.name));
    const bool round = options.f32_as_bf16 && named.tensor.dtype() == DType::f32;
    plans.push_back({named.name, round ? DType::bf16 : named.tensor.dtype(), named.tensor.shape()});
    by_name[named.name] = &named.tensor;
  }
  if (options.sort) sort_for_alignment(plans);
  SafetensorsWriter writer(path, plans, options.metadata);
  for (const TensorPlan& plan : plans) writer.write(plan.name, *by_name.at(plan.name));
  writer.commit();
}

}  // namespace fledge::models
