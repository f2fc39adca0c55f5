#include "models/formats/gguf.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/nearest.h"
#include "base/parallel.h"
#include "models/formats/safetensors_header.h"
#include "models/formats/stored_type.h"

namespace fledge::models {
namespace {

using base::Error;
using tensor::DType;
using tensor::Tensor;

/// The element type of an unquantized GGUF type, or nothing.
std::optional<StoredType> stored_type_of(const GgufType& type) {
  constexpr std::array<std::pair<std::string_view, StoredType>, 6> kPlain = {{{"F32", StoredType::f32},
                                                                              {"F16", StoredType::f16},
                                                                              {"BF16", StoredType::bf16},
                                                                              {"F64", StoredType::f64},
                                                                              {"I32", StoredType::i32},
                                                                              {"I64", StoredType::i64}}};
  for (const auto& [name, stored] : kPlain) {
    if (type.name == name) return stored;
  }
  return std::nullopt;
}

void dequantize_row(const GgufType& type, const std::byte* source, float* out, int64_t columns) {
  if (type.blocks) return tensor::dequantize_row(*type.blocks, source, out, columns);
  for (int64_t i = 0; i < columns; i += type.block_elements, source += type.block_bytes)
    type.dequantize(source, out + i);
}

}  // namespace

GgufReader GgufReader::open(const std::filesystem::path& file) {
  auto mapped = std::make_shared<const base::MappedFile>(file);
  const std::span<const std::byte> bytes = mapped->bytes();
  return from_memory(std::move(mapped), bytes, file.string());
}

GgufReader GgufReader::from_memory(std::shared_ptr<const void> owner, std::span<const std::byte> file,
                                   std::string origin) {
  GgufReader reader;
  reader.header_ = std::make_shared<const GgufHeader>(parse_gguf_header(file, origin));
  reader.origin_ = std::move(origin);
  std::map<std::string, size_t, std::less<>> index;
  for (size_t place = 0; place < reader.tensors().size(); ++place) index.emplace(reader.tensors()[place].name, place);
  reader.index_ = std::make_shared<const std::map<std::string, size_t, std::less<>>>(std::move(index));
  // The storage is writable by its type alone; see view().
  auto* data = const_cast<std::byte*>(file.data());
  reader.storage_ = std::make_shared<tensor::Storage>(std::move(owner), data, file.size());
  return reader;
}

const GgufTensor& GgufReader::info(std::string_view name) const {
  const auto found = index_->find(name);
  if (found != index_->end()) return tensors()[found->second];
  std::vector<std::string> names;
  for (const GgufTensor& tensor : tensors()) names.push_back(tensor.name);
  const std::string near = base::nearest(name, names);
  throw Error("{}: has no tensor {}{}", origin_, quoted_name(name),
              near.empty() ? "" : fmt::format("; the nearest name is {}", quoted_name(near)));
}

const std::byte* GgufReader::address(const GgufTensor& tensor) const {
  return storage_->data() + header_->data_begin + tensor.begin;
}

Tensor GgufReader::bytes(std::string_view name) const {
  const GgufTensor& found = info(name);
  const auto count = static_cast<int64_t>(found.end - found.begin);
  // An empty tensor at the end may begin behind the file's last byte.
  return Tensor::view_of(storage_, count == 0 ? 0 : header_->data_begin + found.begin, {count}, DType::u8);
}

std::optional<Tensor> GgufReader::view(std::string_view name) const {
  const GgufTensor& found = info(name);
  const std::optional<StoredType> stored = stored_type_of(*found.type);
  const std::optional<DType> dtype = stored ? dtype_of(*stored) : std::nullopt;
  if (!dtype || reinterpret_cast<uintptr_t>(address(found)) % tensor::size_of(*dtype) != 0) return std::nullopt;
  return Tensor::view_of(storage_, found.begin == found.end ? 0 : header_->data_begin + found.begin, found.shape,
                         *dtype);
}

std::optional<tensor::BlockMatrix> GgufReader::blocks(std::string_view name) const {
  const GgufTensor& found = info(name);
  if (!found.type->blocks || found.shape.rank() != 2) return std::nullopt;
  return tensor::BlockMatrix{*found.type->blocks, found.shape[0], found.shape[1], bytes(name)};
}

void GgufReader::read_into(std::string_view name, const Tensor& target) const {
  const GgufTensor& found = info(name);
  if (!target || !(target.shape() == found.shape) || !target.is_contiguous()) {
    throw Error("{}: tensor {} has the shape {} and cannot be read into {}", origin_, quoted_name(name),
                found.shape.text(), target ? describe(target) : "an undefined tensor");
  }
  if (target.device() == tensor::Device::meta || target.elements() == 0) return;
  const auto refuse = [&] {
    throw Error("{}: tensor {} is stored as {}, which cannot be read as {}", origin_, quoted_name(name),
                found.type->name, name_of(target.dtype()));
  };
  if (const std::optional<StoredType> stored = stored_type_of(*found.type)) {
    if (convert_elements(*stored, address(found), target.dtype(), target.raw(), target.elements()) !=
        Conversion::done) {
      refuse();
    }
    return;
  }
  if (!found.type->blocks && found.type->dequantize == nullptr) {
    throw Error(
        "{}: tensor {} is stored as {}, which fledge does not read; it reads F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, "
        "Q5_1, Q2_K, Q3_K, Q4_K, Q5_K and Q6_K",
        origin_, quoted_name(name), found.type->name);
  }
  if (target.dtype() != DType::f32 && target.dtype() != DType::f64 && target.dtype() != DType::bf16) refuse();
  const int64_t columns = found.shape[found.shape.rank() - 1], rows = target.elements() / columns;
  const size_t row_bytes = static_cast<size_t>(columns / found.type->block_elements) * found.type->block_bytes,
               out_bytes = static_cast<size_t>(columns) * tensor::size_of(target.dtype());
  base::parallel_for(rows, std::max<int64_t>(1, (int64_t{1} << 14) / columns), [&](int64_t first, int64_t last) {
    std::vector<float> wide(target.dtype() == DType::f32 ? 0 : static_cast<size_t>(columns));
    for (int64_t row = first; row < last; ++row) {
      const std::byte* source = address(found) + static_cast<size_t>(row) * row_bytes;
      std::byte* out = target.raw() + static_cast<size_t>(row) * out_bytes;
      if (wide.empty()) {
        dequantize_row(*found.type, source, reinterpret_cast<float*>(out), columns);
      } else {
        dequantize_row(*found.type, source, wide.data(), columns);
        const auto* values = reinterpret_cast<const std::byte*>(wide.data());
        convert_elements(StoredType::f32, values, target.dtype(), out, columns);
      }
    }
  });
}

}  // namespace fledge::models
