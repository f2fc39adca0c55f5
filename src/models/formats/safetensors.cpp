#include "models/formats/safetensors.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "base/nearest.h"

namespace fledge::models {

using base::Error;
using base::Json;
using tensor::DType;
using tensor::Tensor;

namespace {

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";

/// Shard of every tensor, from the index. A shard must be a plain file name: an index from outside must not make fledge
/// read elsewhere.
std::map<std::string, std::string> read_index(const std::filesystem::path& path) {
  const Json index = base::read_json(path);
  const std::string origin = path.string();
  const auto map = index.is_object() ? index.find("weight_map") : index.end();
  if (!index.is_object() || map == index.end() || !map->is_object() || map->empty()) {
    throw Error("{}: has no \"weight_map\", expected an object that gives the file of every tensor", origin);
  }
  std::map<std::string, std::string> shards;
  for (const auto& [name, file] : map->items()) {
    if (!file.is_string()) throw Error("{}: the file of tensor {} is not a string", origin, quoted_name(name));
    const std::filesystem::path shard = file.get<std::string>();
    if (shard.empty() || shard != shard.filename() || shard == "." || shard == "..") {
      throw Error("{}: tensor {} is said to be in {}, expected the plain name of a file in the same folder", origin,
                  quoted_name(name), quoted_name(shard.string()));
    }
    shards[name] = shard.string();
  }
  return shards;
}

}  // namespace

SafetensorsReader SafetensorsReader::open(const std::filesystem::path& file) {
  SafetensorsReader reader;
  reader.origin_ = file.string();
  reader.add_file(file);
  return reader;
}

SafetensorsReader SafetensorsReader::open_model(const std::filesystem::path& folder) {
  if (std::filesystem::exists(folder / kSingleFile)) return open(folder / kSingleFile);
  const std::filesystem::path index = folder / kIndexFile;
  if (!std::filesystem::exists(index)) {
    throw Error("{}: holds neither {} nor {}{}", folder.string(), kSingleFile, kIndexFile,
                std::filesystem::exists(folder / "pytorch_model.bin")
                    ? "; it has pytorch_model.bin, which is a program and is not run: convert it to safetensors"
                    : "; expected the folder of a model");
  }
  SafetensorsReader reader;
  reader.origin_ = folder.string();
  const std::map<std::string, std::string> shard_of = read_index(index);
  std::set<std::string> shards;
  for (const auto& [name, shard] : shard_of) shards.insert(shard);
  for (const std::string& shard : shards) {
    if (!std::filesystem::exists(folder / shard)) {
      throw Error("{}: the file {} is missing, which {} lists", folder.string(), quoted_name(shard), kIndexFile);
    }
    reader.add_file(folder / shard);
  }
  for (const auto& [name, shard] : shard_of) {
    const std::string expected = (folder / shard).string();
    const auto found = reader.entries_.find(name);
    if (found == reader.entries_.end() || reader.files_[found->second.file].origin != expected) {
      throw Error("{}: has no tensor {}, which {} promises", expected, quoted_name(name), kIndexFile);
    }
  }
  return reader;
}

SafetensorsReader SafetensorsReader::from_memory(std::shared_ptr<const void> owner, std::span<const std::byte> file,
                                                 std::string origin) {
  SafetensorsReader reader;
  reader.origin_ = origin;
  reader.add(std::move(owner), file, std::move(origin));
  return reader;
}

void SafetensorsReader::add_file(const std::filesystem::path& path) {
  auto file = std::make_shared<const base::MappedFile>(path);
  const std::span<const std::byte> bytes = file->bytes();
  add(std::move(file), bytes, path.string());
}

void SafetensorsReader::add(std::shared_ptr<const void> owner, std::span<const std::byte> bytes, std::string origin) {
  SafetensorsHeader header = parse_safetensors_header(bytes, origin);
  for (StoredTensor& stored : header.tensors) {
    total_bytes_ += stored.end - stored.begin;
    names_.push_back(stored.name);
    const auto [place, fresh] = entries_.try_emplace(stored.name);
    if (!fresh) {
      throw Error("{}: has the tensor {}, which {} has too", origin, quoted_name(stored.name),
                  files_[place->second.file].origin);
    }
    place->second = {std::move(stored), files_.size()};
  }
  metadata_.merge(header.metadata);
  // The storage is writable by its type alone; see view().
  auto* data = const_cast<std::byte*>(bytes.data());
  files_.push_back(
      {std::move(origin), std::make_shared<tensor::Storage>(std::move(owner), data, bytes.size()), header.data_begin});
}

const SafetensorsReader::Entry& SafetensorsReader::entry(std::string_view name) const {
  const auto found = entries_.find(name);
  if (found != entries_.end()) return found->second;
  const std::string near = base::nearest(name, names_);
  throw Error("{}: has no tensor {}{}", origin_, quoted_name(name),
              near.empty() ? "" : fmt::format("; the nearest name is {}", quoted_name(near)));
}

const StoredTensor& SafetensorsReader::info(std::string_view name) const {
  return entry(name).stored;
}

const std::byte* SafetensorsReader::address(const Entry& entry) const {
  const File& file = files_[entry.file];
  return file.storage->data() + file.data_begin + entry.stored.begin;
}

std::optional<Tensor> SafetensorsReader::view(std::string_view name) const {
  const Entry& found = entry(name);
  const std::optional<DType> dtype = dtype_of(found.stored.type);
  if (!dtype) return std::nullopt;
  if (reinterpret_cast<uintptr_t>(address(found)) % tensor::size_of(*dtype) != 0) return std::nullopt;
  const File& file = files_[found.file];
  return Tensor::view_of(file.storage, file.data_begin + found.stored.begin, found.stored.shape, *dtype);
}

Tensor SafetensorsReader::tensor(std::string_view name, tensor::Arena& arena) const {
  if (std::optional<Tensor> mapped = view(name)) return *mapped;
  const StoredTensor& stored = info(name);
  const std::optional<DType> dtype = dtype_of(stored.type);
  if (!dtype) {
    throw Error("{}: tensor {} is stored as {}, for which fledge has no tensors", origin_, quoted_name(name),
                name_of(stored.type));
  }
  Tensor copy = Tensor::empty(stored.shape, *dtype, arena);
  read_into(name, copy);
  return copy;
}

void SafetensorsReader::read_into(std::string_view name, const Tensor& target) const {
  const Entry& found = entry(name);
  const StoredTensor& stored = found.stored;
  const std::string& origin = files_[found.file].origin;
  if (!target || !(target.shape() == stored.shape)) {
    throw Error("{}: tensor {} has the shape {}, expected {}", origin, quoted_name(name), stored.shape.text(),
                target ? target.shape().text() : "an undefined tensor's");
  }
  if (!target.is_contiguous()) {
    throw Error("{}: tensor {} cannot be read into {}, which is not contiguous", origin, quoted_name(name),
                describe(target));
  }
  if (target.device() == tensor::Device::meta) return;
  switch (convert_elements(stored.type, address(found), target.dtype(), target.raw(), target.elements())) {
    case Conversion::done:
      return;
    case Conversion::not_possible:
      throw Error("{}: tensor {} is stored as {}, which cannot be read as {}", origin, quoted_name(name),
                  name_of(stored.type), name_of(target.dtype()));
    case Conversion::out_of_range:
      throw Error("{}: tensor {} has values of {} that do not fit {}", origin, quoted_name(name), name_of(stored.type),
                  name_of(target.dtype()));
  }
}

}  // namespace fledge::models
