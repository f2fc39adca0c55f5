#include "models/gguf_model.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/json.h"
#include "models/gguf_tokenizer.h"
#include "tensor/elementwise.h"

namespace fledge::models {
namespace {

using base::Error;
using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

constexpr const char* kExtension = ".gguf";

int64_t heads_for(GgufChange change, const GgufHeads& heads) {
  return change == GgufChange::pair_query_rows ? heads.query : heads.key;
}

bool moves_rows(GgufChange change) {
  return change == GgufChange::pair_query_rows || change == GgufChange::pair_key_rows;
}

void require_heads(const std::string& name, int64_t rows, int64_t heads) {
  if (rows % heads == 0 && rows / heads % 2 == 0) return;
  throw Error("tensor {} has {} rows, which are not an even number for each of {} heads", name, rows, heads);
}

/// Moves whole rows of `bytes` bytes, from GGUF's order to Hugging Face's or back.
void move_rows(const std::byte* from, std::byte* to, size_t bytes, int64_t rows, int64_t heads, bool to_gguf) {
  for (int64_t row = 0; row < rows; ++row) {
    const auto gguf = static_cast<size_t>(row), other = static_cast<size_t>(hugging_face_row(row, rows, heads));
    std::memcpy(to + (to_gguf ? gguf : other) * bytes, from + (to_gguf ? other : gguf) * bytes, bytes);
  }
}

Tensor with_moved_rows(const Tensor& values, const std::string& name, int64_t heads, bool to_gguf,
                       tensor::Arena& arena) {
  require_heads(name, values.dim(0), heads);
  Tensor moved = Tensor::empty(values.shape(), values.dtype(), arena);
  if (arena.device() == tensor::Device::meta) return moved;
  const size_t bytes = values.bytes() / static_cast<size_t>(values.dim(0));
  move_rows(values.raw(), moved.raw(), bytes, values.dim(0), heads, to_gguf);
  return moved;
}

/// Keeps the matrix as it is stored where fledge can compute with it so; returns whether it did.
bool keep_stored(const GgufReader& file, const GgufMapping& mapping, const GgufHeads& heads, tensor::Arena& arena,
                 grad::Parameter& parameter) {
  const GgufTensor& stored = file.info(mapping.name);
  if (mapping.change == GgufChange::transpose || stored.shape.rank() != 2) return false;
  if (std::optional<tensor::BlockMatrix> blocks = file.blocks(mapping.name)) {
    if (moves_rows(mapping.change)) {
      const int64_t count = heads_for(mapping.change, heads);
      require_heads(mapping.name, blocks->rows, count);
      const Tensor moved = Tensor::empty(blocks->bytes.shape(), DType::u8, arena);
      if (arena.device() != tensor::Device::meta) {
        move_rows(blocks->bytes.raw(), moved.raw(), tensor::row_bytes(blocks->type, blocks->columns), blocks->rows,
                  count, false);
      }
      blocks->bytes = moved;
    }
    parameter.bind_stored(*blocks);
    return true;
  }
  if (!(*stored.type == kGgufBf16)) return false;
  const std::optional<Tensor> view = file.view(mapping.name);
  if (!view) return false;
  parameter.bind_stored(moves_rows(mapping.change)
                            ? with_moved_rows(*view, mapping.name, heads_for(mapping.change, heads), false, arena)
                            : *view);
  return true;
}

void check_names(const GgufReader& file, const GgufNames& names, const LanguageModel& model) {
  std::vector<std::string> wanted{"rope_freqs.weight"};
  for (const auto& entry : model.parameters().entries()) {
    if (const auto mapping = names.to_gguf(entry.parameter->name())) wanted.push_back(mapping->name);
  }
  for (const GgufTensor& tensor : file.tensors()) {
    // A head that is tied to the embedding is in some files all the same.
    if (tensor.name == "output.weight" || std::ranges::find(wanted, tensor.name) != wanted.end()) continue;
    throw Error("{}: the tensor {} is not expected in a model of the architecture {}", file.origin(),
                quoted_name(tensor.name), names.architecture());
  }
}

}  // namespace

std::filesystem::path find_gguf(const std::filesystem::path& path) {
  if (std::filesystem::is_regular_file(path)) return path.extension() == kExtension ? path : std::filesystem::path{};
  if (!std::filesystem::is_directory(path) || std::filesystem::exists(path / kConfigFile)) return {};
  std::filesystem::path found;
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    if (entry.path().extension() != kExtension) continue;
    if (!found.empty()) throw Error("{}: holds several GGUF files; name one of them", path.string());
    found = entry.path();
  }
  return found;
}

Tensor read_as_hugging_face(const GgufReader& file, const std::string& name, GgufChange change, const GgufHeads& heads,
                            DType type, tensor::Arena& arena) {
  const GgufTensor& stored = file.info(name);
  const Tensor values = Tensor::empty(stored.shape, type, arena);
  file.read_into(name, values);
  if (moves_rows(change)) return with_moved_rows(values, name, heads_for(change, heads), false, arena);
  if (change != GgufChange::transpose) return values;
  if (values.rank() != 2) throw Error("{}: tensor {} is no matrix", file.origin(), quoted_name(name));
  Tensor turned = Tensor::empty({values.dim(1), values.dim(0)}, type, arena);
  tensor::copy(values.transpose(0, 1), turned);
  return turned;
}

Tensor as_gguf(const Tensor& values, const std::string& name, GgufChange change, const GgufHeads& heads,
               tensor::Arena& arena) {
  if (moves_rows(change)) return with_moved_rows(values, name, heads_for(change, heads), true, arena);
  if (change != GgufChange::transpose) return values;
  if (values.rank() != 2) throw Error("tensor {} is no matrix", quoted_name(name));
  Tensor turned = Tensor::empty({values.dim(1), values.dim(0)}, values.dtype(), arena);
  tensor::copy(values.transpose(0, 1), turned);
  return turned;
}

/// One tensor of the file into a parameter that has its memory.
void read_parameter(const GgufReader& file, const GgufMapping& mapping, const GgufHeads& heads,
                    grad::Parameter& parameter) {
  tensor::Arena arena("weights on their way");
  const Tensor values =
      read_as_hugging_face(file, mapping.name, mapping.change, heads, parameter.value().dtype(), arena);
  tensor::require_shape(values, parameter.shape(), fmt::format("{}: tensor {}", file.origin(), mapping.name));
  tensor::copy(values, parameter.value());
}

void read_gguf_values(LanguageModel& model, const GgufReader& file, const MayLack& may_lack) {
  const base::Json config = config_of_gguf(file);
  const GgufNames names = GgufNames::of_model_type(config["model_type"].get<std::string>(), file.origin());
  const GgufHeads heads = heads_of(config, file.origin());
  check_names(file, names, model);
  for (const auto& entry : model.parameters().entries()) {
    if (entry.options.auxiliary || entry.parameter->is_stored()) continue;
    const std::optional<GgufMapping> mapping = names.to_gguf(entry.parameter->name());
    if (mapping && (file.contains(mapping->name) || !may_lack || !may_lack(entry.parameter->name()))) {
      read_parameter(file, *mapping, heads, *entry.parameter);
    } else if (!may_lack || !may_lack(entry.parameter->name())) {
      tensor::fill(entry.parameter->value(), 0.0);
    }
  }
  model.parameters().values_changed();
}

void keep_gguf_matrices(LanguageModel& model, const GgufReader& file, const KeepOptions& options,
                        tensor::Arena& arena) {
  const base::Json config = config_of_gguf(file);
  const GgufNames names = GgufNames::of_model_type(config["model_type"].get<std::string>(), file.origin());
  const GgufHeads heads = heads_of(config, file.origin());
  for (const auto& entry : model.parameters().entries()) {
    if (!may_be_kept(entry)) continue;
    grad::Parameter& parameter = *entry.parameter;
    const std::optional<GgufMapping> mapping = names.to_gguf(parameter.name());
    if (!mapping || !file.contains(mapping->name)) continue;
    const bool in_blocks = file.info(mapping->name).type->blocks.has_value();
    if (options.quantize && !in_blocks && may_be_quantized(entry)) {
      keep_quantized(parameter, *options.quantize, arena, [&](const Tensor& values) {
        tensor::Arena temporary("weights on their way");
        const Tensor read = read_as_hugging_face(file, mapping->name, mapping->change, heads, DType::f32, temporary);
        tensor::require_shape(read, parameter.shape(), fmt::format("{}: tensor {}", file.origin(), mapping->name));
        tensor::copy(read, values);
      });
      continue;
    }
    if (keep_stored(file, *mapping, heads, arena, parameter)) continue;
    if (!options.round_to_bf16 || !may_be_rounded(model, entry)) continue;
    Tensor rounded = Tensor::empty(parameter.shape(), DType::bf16, arena);
    if (arena.device() != tensor::Device::meta) {
      tensor::Arena temporary("weights on their way");
      const Tensor values = read_as_hugging_face(file, mapping->name, mapping->change, heads, DType::f32, temporary);
      tensor::require_shape(values, parameter.shape(), fmt::format("{}: tensor {}", file.origin(), mapping->name));
      tensor::copy(values, rounded);
    }
    parameter.bind_stored(rounded);
  }
}

nn::Tokenizer load_tokenizer(const std::filesystem::path& path) {
  const std::filesystem::path file = find_gguf(path);
  return file.empty() ? nn::Tokenizer::load(path) : tokenizer_of_gguf(GgufReader::open(file));
}

}  // namespace fledge::models
