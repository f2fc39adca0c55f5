#include "train/objectives/distillation/teacher_cache.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/hash.h"
#include "base/signals.h"
#include "models/formats/model_folder.h"
#include "models/gguf_model.h"
#include "tensor/elementwise.h"
#include "tensor/top_k.h"
#include "train/data/sha256.h"
#include "train/objective.h"

namespace fledge::train {
namespace {

using base::Error;
using tensor::DType;
using tensor::Shape;
using tensor::Tensor;

constexpr int64_t kPartRows = 64;
constexpr int64_t kLogitBytes = int64_t{24} << 20;
constexpr const char* kKeys = "keys";

std::string part_name(const char* what, int64_t part) {
  return fmt::format("{}.{}", what, part);
}

/// u16 where every id fits.
DType id_type(int64_t vocabulary) {
  return vocabulary <= 65536 ? DType::u16 : DType::i32;
}

/// A hash of all that a teacher reads of a row.
uint64_t key_of(const Batch& batch, int64_t row) {
  uint64_t key = base::stable_hash("row");
  for (const char* name : {"ids", "positions", "document_starts", "document_ends", "token_types"}) {
    if (!batch.has(name)) continue;
    const Tensor line = batch.at(name).select(0, row);
    key = base::stable_hash({reinterpret_cast<const char*>(line.raw()), line.bytes()}, base::stable_hash(name, key));
  }
  return key;
}

models::Metadata metadata_of(const CacheIdentity& identity) {
  return {{"format", "pt"},
          {"fledge.kind", "teacher's likeliest tokens"},
          {"fledge.teacher", identity.teacher},
          {"fledge.tokenizer", identity.tokenizer},
          {"fledge.data", identity.data},
          {"fledge.sequence_length", std::to_string(identity.sequence_length)},
          {"fledge.top_k", std::to_string(identity.top_k)},
          {"fledge.temperature", fmt::format("{}", identity.temperature)}};
}

/// Throws where a file says something else of itself.
void require_same(const std::filesystem::path& file, const models::Metadata& found, const CacheIdentity& identity) {
  const std::map<std::string, std::string> meanings = {{"fledge.kind", "kind of file"},
                                                       {"fledge.teacher", "teacher (hash of its weights)"},
                                                       {"fledge.tokenizer", "tokenizer (hash)"},
                                                       {"fledge.data", "data (hash)"},
                                                       {"fledge.sequence_length", "batch.sequence_length"},
                                                       {"fledge.top_k", "distillation.top_k"},
                                                       {"fledge.temperature", "distillation.temperature"}};
  for (const auto& [key, expected] : metadata_of(identity)) {
    const auto meaning = meanings.find(key);
    if (meaning == meanings.end()) continue;
    const auto entry = found.find(key);
    if (entry != found.end() && entry->second == expected) continue;
    throw Error(
        "{}: the stored logits were made with another {}: {}, expected {}; remove the file, or name another one as "
        "distillation.cache",
        file.string(), meaning->second, entry == found.end() ? "none is given" : entry->second, expected);
  }
}

/// Writes rows in the order in which they come, a part at a time.
class PartWriter {
 public:
  PartWriter(const std::filesystem::path& file, const CacheIdentity& identity, const std::vector<int64_t>& keys,
             DType ids)
      : identity_(identity),
        rows_(static_cast<int64_t>(keys.size())),
        id_type_(ids),
        writer_(file, plans(), metadata_of(identity)) {
    writer_.write(kKeys, Tensor::from(keys, {rows_}, arena_));
    begin_part();
  }

  /// tails [T], ids [T, K] and log_probabilities [T, K] of one row.
  void add(const Tensor& tails, const Tensor& ids, const Tensor& log_probabilities) {
    const int64_t row = done_ % kPartRows;
    tensor::copy(tails, tails_.select(0, row));
    tensor::copy(log_probabilities, log_probabilities_.select(0, row));
    const Tensor place = ids_.select(0, row);
    if (id_type_ == DType::i32) {
      tensor::copy(ids, place);
    } else {
      const int32_t* from = ids.data<int32_t>();
      auto* to = place.data<uint16_t>();
      for (int64_t index = 0; index < ids.elements(); ++index) to[index] = static_cast<uint16_t>(from[index]);
    }
    ++done_;
    if (done_ % kPartRows != 0 && done_ != rows_) return;
    const int64_t part = (done_ - 1) / kPartRows;
    writer_.write(part_name("tails", part), tails_);
    writer_.write(part_name("ids", part), ids_);
    writer_.write(part_name("log_probabilities", part), log_probabilities_);
    if (done_ != rows_) begin_part();
  }

  void commit() { writer_.commit(); }

 private:
  Shape shape(int64_t rows) const { return {rows, identity_.sequence_length, identity_.top_k}; }

  std::vector<models::TensorPlan> plans() const {
    std::vector<models::TensorPlan> plans{{kKeys, DType::i64, {rows_}}};
    for (int64_t first = 0; first < rows_; first += kPartRows) {
      const int64_t part = first / kPartRows, count = std::min(kPartRows, rows_ - first);
      plans.push_back({part_name("tails", part), DType::f32, {count, identity_.sequence_length}});
      plans.push_back({part_name("ids", part), id_type_, shape(count)});
      plans.push_back({part_name("log_probabilities", part), DType::f16, shape(count)});
    }
    return plans;
  }

  void begin_part() {
    const int64_t count = std::min(kPartRows, rows_ - done_);
    tails_ = Tensor::empty({count, identity_.sequence_length}, DType::f32, arena_);
    ids_ = Tensor::empty(shape(count), id_type_, arena_);
    log_probabilities_ = Tensor::empty(shape(count), DType::f16, arena_);
  }

  CacheIdentity identity_;
  int64_t rows_, done_ = 0;
  DType id_type_;
  tensor::Arena arena_{"stored logits"};
  models::SafetensorsWriter writer_;
  Tensor tails_, ids_, log_probabilities_;
};

void require_length(const Batch& batch, int64_t tokens) {
  if (batch.at("ids").dim(1) == tokens) return;
  throw Error(
      "the rows of this run have {} tokens and the stored logits {}; rows of different lengths cannot be stored",
      batch.at("ids").dim(1), tokens);
}

struct Answers {
  Tensor tails, ids, log_probabilities;  ///< [B T], [B T, K], [B T, K]
};

/// What the teacher says at every place of a batch.
Answers ask(Teacher& teacher, const Batch& batch, const CacheIdentity& identity, grad::Graph& graph) {
  require_length(batch, identity.sequence_length);
  const models::ForwardOutput output = teacher.forward(graph, forward_input(batch));
  const models::Head head = teacher.model(graph.arena()).head();
  const Tensor hidden = output.hidden.value().reshape({-1, output.hidden.shape()[-1]});
  const int64_t places = hidden.dim(0), vocabulary = teacher.vocabulary_size();
  Answers answers{graph.empty({places}, DType::f32), graph.empty({places, identity.top_k}, DType::i32),
                  graph.empty({places, identity.top_k}, DType::f32)};
  const int64_t block = std::min(places, std::max<int64_t>(64, kLogitBytes / (4 * vocabulary)));
  const Tensor room = graph.empty({block, vocabulary}, DType::f32);
  for (int64_t first = 0; first < places; first += block) {
    const int64_t count = std::min(block, places - first);
    Tensor logits = room.slice(0, 0, count);
    tensor::Epilogue epilogue;
    if (head.bias != nullptr) epilogue.bias = head.bias->value();
    graph.multiply(hidden.slice(0, first, count), *head.weight, head.layout, logits, epilogue);
    tensor::top_k(logits, identity.temperature, answers.ids.slice(0, first, count),
                  answers.log_probabilities.slice(0, first, count), answers.tails.slice(0, first, count));
  }
  return answers;
}

/// Each row's key, once, in the order of their first coming.
std::vector<int64_t> distinct_keys(const TeacherCache::EachBatch& each_batch) {
  std::vector<int64_t> keys;
  std::set<uint64_t> seen;
  each_batch([&](const Batch& batch) {
    for (int64_t row = 0; row < batch.at("ids").dim(0); ++row) {
      const uint64_t key = key_of(batch, row);
      if (seen.insert(key).second) keys.push_back(static_cast<int64_t>(key));
    }
  });
  return keys;
}

}  // namespace

std::string teacher_hash(const std::filesystem::path& path) {
  if (const std::filesystem::path file = models::find_gguf(path); !file.empty()) return sha256_of_file(file);
  std::set<std::filesystem::path> files{path / models::kConfigFile};
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    const std::string name = entry.path().filename();
    if (name.ends_with(".safetensors") && name.starts_with("model")) files.insert(entry.path());
  }
  std::string hashes;
  for (const std::filesystem::path& file : files) hashes += sha256_of_file(file);
  return sha256(hashes);
}

void TeacherCache::make(const std::filesystem::path& file, const CacheIdentity& identity, Teacher& teacher,
                        DType activation_type, const EachBatch& each_batch) {
  const std::vector<int64_t> keys = distinct_keys(each_batch);
  PartWriter writer(file, identity, keys, id_type(teacher.vocabulary_size()));
  teacher.load();
  nn::Memory& memory = teacher.memory();
  size_t next = 0;
  each_batch([&](const Batch& batch) {
    if (base::interrupted()) throw base::Interrupted("stopped while the teacher's logits were being stored");
    const int64_t rows = batch.at("ids").dim(0), tokens = batch.at("ids").dim(1);
    const auto is_next = [&](int64_t row) {
      return next < keys.size() && static_cast<int64_t>(key_of(batch, row)) == keys[next];
    };
    Answers answers;
    grad::Graph graph(memory.activations, memory.encodings, activation_type, false);
    for (int64_t row = 0; row < rows; ++row) {
      if (!is_next(row)) continue;
      if (!answers.ids) answers = ask(teacher, batch, identity, graph);
      const auto part = [&](const Tensor& all) { return all.slice(0, row * tokens, tokens); };
      writer.add(part(answers.tails), part(answers.ids), part(answers.log_probabilities));
      ++next;
    }
  });
  writer.commit();
}

TeacherCache TeacherCache::open(const std::filesystem::path& file, const CacheIdentity& identity) {
  TeacherCache cache(models::SafetensorsReader::open(file));
  require_same(file, cache.reader_.metadata(), identity);
  const std::vector<int64_t> keys = cache.reader_.tensor(kKeys, cache.arena_).to_vector<int64_t>();
  for (size_t row = 0; row < keys.size(); ++row) {
    cache.row_of_key_[static_cast<uint64_t>(keys[row])] = static_cast<int64_t>(row);
  }
  const auto rows = static_cast<int64_t>(keys.size());
  for (int64_t first = 0; first < rows; first += kPartRows) {
    const int64_t number = first / kPartRows, count = std::min(kPartRows, rows - first);
    const Shape shape{count, identity.sequence_length, identity.top_k};
    const auto get = [&](const char* what, const Shape& expected) {
      const std::string name = part_name(what, number);
      const Tensor found = cache.reader_.tensor(name, cache.arena_);
      tensor::require_shape(found, expected, fmt::format("{}: tensor {}", file.string(), name));
      return found;
    };
    const Part part{get("tails", {count, identity.sequence_length}), get("ids", shape),
                    get("log_probabilities", shape)};
    if ((part.ids.dtype() != DType::u16 && part.ids.dtype() != DType::i32) || part.tails.dtype() != DType::f32 ||
        part.log_probabilities.dtype() != DType::f16) {
      throw Error("{}: the stored logits have other element types than u16 or i32, f32 and f16", file.string());
    }
    cache.parts_.push_back(part);
  }
  return cache;
}

grad::TeacherTop shape_of_top(const Batch& batch, int64_t top_k, tensor::Arena& arena) {
  const int64_t places = batch.at("ids").elements();
  return {Tensor::empty({places, top_k}, DType::i32, arena), Tensor::empty({places, top_k}, DType::f32, arena)};
}

grad::TeacherTop TeacherCache::read(const Batch& batch, tensor::Arena& arena) const {
  const int64_t rows = batch.at("ids").dim(0), tokens = batch.at("ids").dim(1);
  if (parts_.empty()) throw Error("{}: the stored logits have no row", reader_.origin());
  const int64_t top_k = parts_[0].ids.dim(2);
  require_length(batch, parts_[0].ids.dim(1));
  grad::TeacherTop top = shape_of_top(batch, top_k, arena);
  for (int64_t row = 0; row < rows; ++row) {
    const auto found = row_of_key_.find(key_of(batch, row));
    if (found == row_of_key_.end()) {
      throw Error(
          "{}: the stored logits have no row like one of this run: they were made for fewer steps, or with another "
          "run.seed; remove the file, or name another one as distillation.cache",
          reader_.origin());
    }
    const Part& part = parts_[static_cast<size_t>(found->second / kPartRows)];
    const int64_t in_part = found->second % kPartRows;
    const Tensor ids = part.ids.select(0, in_part), tails = part.tails.select(0, in_part);
    int32_t* to = top.ids.data<int32_t>() + row * tokens * top_k;
    const auto copy_ids = [&](const auto* from) { std::copy(from, from + tokens * top_k, to); };
    ids.dtype() == DType::u16 ? copy_ids(ids.data<uint16_t>()) : copy_ids(ids.data<int32_t>());
    const Tensor logs = top.log_probabilities.slice(0, row * tokens, tokens);
    tensor::copy(part.log_probabilities.select(0, in_part), logs);
    // Rounding moved the probabilities a little; the tail, which was kept exactly, says what they must sum to.
    for (int64_t token = 0; token < tokens; ++token) {
      float* line = logs.data<float>() + token * top_k;
      double sum = 0.0;
      for (int64_t k = 0; k < top_k; ++k) sum += std::exp(static_cast<double>(line[k]));
      const double mass = 1.0 - static_cast<double>(tails.data<float>()[token]);
      const auto shift = static_cast<float>(std::log(mass / sum));
      for (int64_t k = 0; k < top_k; ++k) line[k] += shift;
    }
  }
  return top;
}

}  // namespace fledge::train
