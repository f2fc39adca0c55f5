// Reading and writing of index.json.
#include "base/error.h"
#include "base/json.h"
#include "train/data/token_data.h"

namespace fledge::train {
namespace {

using base::Json;
using base::OrderedJson;

constexpr const char* kFormat = "fledge-data";
constexpr int64_t kVersion = 1;
constexpr int64_t kMaximumCount = int64_t{1} << 48;  // far above any data set, far below an overflow of a sum
constexpr int64_t kMaximumVocabulary = int64_t{1} << 31;

int64_t bounded(const Json& object, const char* key, int64_t least, int64_t most, std::string_view origin) {
  const auto value = base::json_require<int64_t>(object, key, origin);
  if (value < least || value > most)
    throw base::Error("{}: the key \"{}\" holds {}, outside {} to {}", origin, key, value, least, most);
  return value;
}

int64_t count_of(const Json& object, const char* key, std::string_view origin) {
  return bounded(object, key, 0, kMaximumCount, origin);
}

const Json& require_member(const Json& object, const char* key, bool is_array, std::string_view origin) {
  if (!object.is_object() || !object.contains(key)) throw base::Error("{}: the key \"{}\" is missing", origin, key);
  const Json& member = object[key];
  if (is_array ? !member.is_array() : !member.is_object())
    throw base::Error("{}: the key \"{}\" must hold {}", origin, key, is_array ? "a list" : "an object");
  return member;
}

/// A name that stays inside the folder.
std::string plain_file_name(const Json& entry, std::string_view origin) {
  const auto name = base::json_require<std::string>(entry, "file", origin);
  if (name.empty() || name[0] == '.' || name.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos)
    throw base::Error("{}: a shard's \"file\" must be a plain file name", origin);
  return name;
}

DataIndex::Split parse_split(const Json& json, std::string_view origin) {
  DataIndex::Split split;
  split.counts = {count_of(json, "tokens", origin), count_of(json, "documents", origin),
                  count_of(json, "text_bytes", origin)};
  int64_t tokens = 0, documents = 0;
  for (const Json& entry : require_member(json, "shards", true, origin)) {
    DataIndex::ShardEntry shard;
    shard.file = plain_file_name(entry, origin);
    shard.bytes = count_of(entry, "bytes", origin);
    shard.tokens = count_of(entry, "tokens", origin);
    shard.documents = count_of(entry, "documents", origin);
    shard.checksum = static_cast<uint32_t>(bounded(entry, "crc32", 0, 0xffffffffLL, origin));
    // Each addend and the limit are below 2^48, so the sum cannot overflow before this stops it.
    tokens += shard.tokens;
    documents += shard.documents;
    if (tokens > split.counts.tokens || documents > split.counts.documents) break;
    split.shards.push_back(std::move(shard));
  }
  if (tokens != split.counts.tokens || documents != split.counts.documents)
    throw base::Error("{}: the counts of a split are not the sums over its shards", origin);
  return split;
}

OrderedJson split_json(const DataIndex::Split& split) {
  OrderedJson shards = OrderedJson::array();
  for (const auto& shard : split.shards) {
    shards.push_back({{"file", shard.file},
                      {"bytes", shard.bytes},
                      {"tokens", shard.tokens},
                      {"documents", shard.documents},
                      {"crc32", shard.checksum}});
  }
  return {{"tokens", split.counts.tokens},
          {"documents", split.counts.documents},
          {"text_bytes", split.counts.text_bytes},
          {"shards", shards}};
}

}  // namespace

DataIndex DataIndex::parse(std::string_view text, std::string_view origin) {
  const Json json = base::parse_json(text, origin);
  if (base::json_require<std::string>(json, "format", origin) != kFormat)
    throw base::Error("{}: not the index of a data set: its \"format\" is not \"{}\"", origin, kFormat);
  const auto version = base::json_require<int64_t>(json, "version", origin);
  if (version != kVersion)
    throw base::Error("{}: a data set of format version {}, and this program reads version {}: prepare the data again",
                      origin, version, kVersion);
  DataIndex index;
  const Json& tokenizer = require_member(json, "tokenizer", false, origin);
  index.tokenizer.hash = base::json_require<std::string>(tokenizer, "hash", origin);
  index.tokenizer.vocabulary_size = bounded(tokenizer, "vocabulary_size", 1, kMaximumVocabulary, origin);
  index.tokenizer.end_of_text_id =
      static_cast<int32_t>(bounded(tokenizer, "end_of_text_id", 0, index.tokenizer.vocabulary_size - 1, origin));
  for (const Json& column : require_member(json, "columns", true, origin)) {
    index.columns.push_back({base::json_require<std::string>(column, "name", origin),
                             dtype_named(base::json_require<std::string>(column, "dtype", origin), origin),
                             base::json_get<bool>(column, "ragged", false, origin)});
  }
  for (const auto& [name, split] : require_member(json, "splits", false, origin).items())
    index.splits[name] = parse_split(split, origin);
  return index;
}

std::string DataIndex::text() const {
  OrderedJson listed = OrderedJson::array();
  for (const ColumnSpec& column : columns)
    listed.push_back({{"name", column.name}, {"dtype", tensor::name_of(column.dtype)}, {"ragged", column.ragged}});
  OrderedJson by_name = OrderedJson::object();
  for (const auto& [name, split] : splits) by_name[name] = split_json(split);
  const OrderedJson json = {{"format", kFormat},
                            {"version", kVersion},
                            {"tokenizer",
                             {{"hash", tokenizer.hash},
                              {"vocabulary_size", tokenizer.vocabulary_size},
                              {"end_of_text_id", tokenizer.end_of_text_id}}},
                            {"columns", listed},
                            {"splits", by_name}};
  return json.dump(2) + "\n";
}

}  // namespace fledge::train
