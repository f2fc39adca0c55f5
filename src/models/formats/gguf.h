#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "models/formats/gguf_header.h"
#include "tensor/block_format.h"
#include "tensor/tensor.h"

namespace fledge::models {

/// A GGUF file: metadata and tensors. The file is mapped into memory: opening reads the header alone, and a tensor's
/// bytes come from the disk when they are read. Everything about the layout is checked on opening (parse_gguf_header);
/// all errors are base::Error and name the file and the tensor. Copies are cheap and share the mapping. Reading is
/// thread-safe. The file must not be changed while it is mapped.
class GgufReader {
 public:
  static GgufReader open(const std::filesystem::path& file);
  /// A whole file's bytes that lie in memory already; `owner` keeps them alive and `origin` names them in errors.
  static GgufReader from_memory(std::shared_ptr<const void> owner, std::span<const std::byte> file, std::string origin);

  const GgufMetadata& metadata() const { return header_->metadata; }
  /// In the order of the file.
  const std::vector<GgufTensor>& tensors() const { return header_->tensors; }
  bool contains(std::string_view name) const { return index_->find(name) != index_->end(); }
  /// Type, shape and place of a tensor. Throws where there is none of that name.
  const GgufTensor& info(std::string_view name) const;
  const std::string& origin() const { return origin_; }

  // The views below are READ-ONLY memory: writing to it ends the program. The mapping lives as long as they do.

  /// A tensor's bytes as they are stored, u8 [bytes].
  tensor::Tensor bytes(std::string_view name) const;
  /// A tensor of F32, F64, BF16, F16, I32 or I64 as it is; empty for other types, and where the bytes are not aligned.
  std::optional<tensor::Tensor> view(std::string_view name) const;
  /// A matrix in one of fledge's block formats as it is; empty for anything else.
  std::optional<tensor::BlockMatrix> blocks(std::string_view name) const;
  /// Copies a tensor's values into `target` (f32, bf16 or f64, contiguous, same shape); blocks are dequantized. Throws
  /// where the type is one that fledge cannot read.
  void read_into(std::string_view name, const tensor::Tensor& target) const;

 private:
  const std::byte* address(const GgufTensor& tensor) const;

  std::string origin_;
  std::shared_ptr<const GgufHeader> header_;
  std::shared_ptr<const std::map<std::string, size_t, std::less<>>> index_;
  tensor::StoragePointer storage_;
};

/// What a GgufWriter will be given.
struct GgufPlan {
  std::string name;
  const GgufType* type = nullptr;
  tensor::Shape shape;
};

/// The bytes of a contiguous f32 tensor in a type (F32, F16, BF16 or a block format), rounded to nearest. Throws Error,
/// naming `what`, where the type cannot hold the shape or a value.
std::vector<std::byte> encode_gguf(const tensor::Tensor& values, const GgufType& type, std::string_view what);

/// Writes a GGUF file of version 3 in one pass: the header, then the tensors one after another, each given when it is
/// at hand and not kept. The file appears whole with commit() or not at all (base::AtomicFile). The same calls give the
/// same bytes. Throws base::Error naming file and tensor.
class GgufWriter {
 public:
  GgufWriter(const std::filesystem::path& path, const GgufMetadata& metadata, const std::vector<GgufPlan>& plans);

  /// The next tensor of the plan, as it is stored.
  void write(std::string_view name, std::span<const std::byte> bytes);
  /// The next tensor of the plan from f32 values (contiguous, the planned shape).
  void write(std::string_view name, const tensor::Tensor& values);
  /// All tensors have been given: the file takes its name.
  void commit();

 private:
  const GgufTensor& expected(std::string_view name) const;

  std::string origin_;
  GgufHeader header_;
  size_t next_ = 0;
  uint64_t position_ = 0;
  base::AtomicFile file_;
};

}  // namespace fledge::models
