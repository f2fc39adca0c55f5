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
#include "models/formats/safetensors_header.h"
#include "tensor/tensor.h"

namespace fledge::models {

/// The tensors of one safetensors file, or of a model that is split over several. The files are mapped into memory:
/// opening reads the headers alone, and a tensor's bytes come from the disk when they are read.
/// Everything about a file's layout is checked on opening (see parse_safetensors_header); all errors are base::Error
/// and name the file, the tensor, what was found and what was expected. Copies are cheap and share the mapping.
/// Reading is thread-safe. The files must not be changed while they are mapped.
class SafetensorsReader {
 public:
  /// One file.
  static SafetensorsReader open(const std::filesystem::path& file);
  /// The weights of a Hugging Face folder: `model.safetensors`, or the shards that `model.safetensors.index.json`
  /// lists. Throws where a shard is missing, where the index names a tensor that its shard has not, or where two shards
  /// have the same tensor.
  static SafetensorsReader open_model(const std::filesystem::path& folder);
  /// A whole file's bytes that lie in memory already; `owner` keeps them alive and `origin` names them in errors.
  static SafetensorsReader from_memory(std::shared_ptr<const void> owner, std::span<const std::byte> file,
                                       std::string origin);

  /// Names in the order of the bytes, file after file.
  const std::vector<std::string>& names() const { return names_; }
  bool contains(std::string_view name) const { return entries_.find(name) != entries_.end(); }
  /// Type, shape and place of a tensor. Throws where there is none of that name.
  const StoredTensor& info(std::string_view name) const;
  /// `__metadata__` of the file; of several files, joined (the first one that has a key wins).
  const Metadata& metadata() const { return metadata_; }
  /// Bytes of all tensors together.
  uint64_t total_bytes() const { return total_bytes_; }
  /// What was opened, for messages: the file, or the folder.
  const std::string& origin() const { return origin_; }

  /// The tensor as it is stored, viewing the mapped bytes; nothing is copied. The mapping lives as long as the tensor.
  /// It is READ-ONLY memory: writing to it ends the program. Empty where no view is possible: the bytes are not aligned
  /// for the type, or fledge has no tensor type for it.
  std::optional<tensor::Tensor> view(std::string_view name) const;
  /// The view, or where it is not possible because of alignment, a copy in `arena`.
  tensor::Tensor tensor(std::string_view name, tensor::Arena& arena) const;
  /// Copies a tensor's elements into `target` (contiguous, same shape), converting to its type: floating point and
  /// integers to floating point (rounded to nearest), integers to integers that can hold every value.
  void read_into(std::string_view name, const tensor::Tensor& target) const;

 private:
  struct File {
    std::string origin;
    tensor::StoragePointer storage;
    uint64_t data_begin = 0;
  };
  struct Entry {
    StoredTensor stored;
    size_t file = 0;
  };
  void add(std::shared_ptr<const void> owner, std::span<const std::byte> bytes, std::string origin);
  void add_file(const std::filesystem::path& path);
  const Entry& entry(std::string_view name) const;
  const std::byte* address(const Entry& entry) const;

  std::string origin_;
  std::vector<File> files_;
  std::vector<std::string> names_;
  std::map<std::string, Entry, std::less<>> entries_;
  Metadata metadata_;
  uint64_t total_bytes_ = 0;
};

/// What a SafetensorsWriter will be given.
struct TensorPlan {
  std::string name;
  tensor::DType dtype = tensor::DType::f32;  ///< As stored.
  tensor::Shape shape;
};

/// Puts the plans in the order of the format's own writer: larger element types first, so that every tensor is aligned
/// for its type, and by name among equals.
void sort_for_alignment(std::vector<TensorPlan>& plans);

/// Writes a safetensors file in one pass: the header from the plans, then the tensors one after another, each given
/// when it is at hand and not kept. The file appears whole with commit() or not at all (base::AtomicFile). The same
/// calls give the same bytes. Throws base::Error naming file and tensor.
class SafetensorsWriter {
 public:
  SafetensorsWriter(const std::filesystem::path& path, const std::vector<TensorPlan>& plans, const Metadata& metadata);

  /// The next tensor of the plan: same name and shape, any strides. f32 may be given where bf16 is planned; it is
  /// rounded to nearest, ties to even.
  void write(std::string_view name, const tensor::Tensor& tensor);
  /// All tensors have been given: the file takes its name.
  void commit();

 private:
  void write_elements(const tensor::Tensor& tensor, tensor::DType dtype);
  void write_run(const std::byte* first, int64_t count, int64_t stride, tensor::DType from, tensor::DType to);

  std::string origin_;
  std::vector<StoredTensor> plan_;
  size_t next_ = 0;
  std::vector<std::byte> buffer_;
  base::AtomicFile file_;
};

struct NamedTensor {
  std::string name;
  tensor::Tensor tensor;
};

struct SafetensorsOptions {
  Metadata metadata = {};
  bool sort = false;         ///< sort_for_alignment; otherwise in the order given.
  bool f32_as_bf16 = false;  ///< Rounds every f32 tensor to bf16.
};

/// Writes all tensors to one file (see SafetensorsWriter), without a second copy of any of them.
void write_safetensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors,
                       const SafetensorsOptions& options = {});

}  // namespace fledge::models
