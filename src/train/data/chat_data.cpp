#include "train/data/chat_data.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "train/data/token_data.h"

namespace fledge::train {
namespace {

constexpr size_t kIds = 0, kTrained = 1, kLabels = 2;
constexpr const char* kFormat = "fledge-chat";
constexpr const char* kPurposes[] = {"conversations", "preferences", "judgements"};

ChatIndex::Split parse_split(const base::Json& json, const std::string& name, const std::string& origin) {
  ChatIndex::Split split;
  split.examples = base::json_require<int64_t>(json, "examples", origin);
  split.tokens = base::json_require<int64_t>(json, "tokens", origin);
  split.trained_tokens = base::json_require<int64_t>(json, "trained_tokens", origin);
  int64_t total = 0;
  for (const base::Json& item : base::json_require<base::Json>(json, "shards", origin)) {
    ChatIndex::ShardEntry entry;
    entry.file = base::json_require<std::string>(item, "file", origin);
    entry.bytes = base::json_require<int64_t>(item, "bytes", origin);
    entry.examples = base::json_require<int64_t>(item, "examples", origin);
    entry.checksum = base::json_require<uint32_t>(item, "crc32", origin);
    if (entry.file.find('/') != std::string::npos || entry.file.empty() || entry.examples < 1)
      throw base::Error("{}: a shard of the split {} is not described rightly", origin, name);
    total += entry.examples;
    split.shards.push_back(std::move(entry));
  }
  if (total != split.examples)
    throw base::Error("{}: the shards of the split {} have {} examples, and {} are announced", origin, name, total,
                      split.examples);
  return split;
}

base::Error damaged(const Shard& shard, int64_t row, std::string_view what) {
  return base::Error("{}: row {} {}: the file is damaged; prepare the data again", shard.origin(), row, what);
}

}  // namespace

std::string ChatIndex::text() const {
  base::OrderedJson list = base::OrderedJson::object();
  for (const auto& [name, split] : splits) {
    base::OrderedJson shards = base::OrderedJson::array();
    for (const ShardEntry& entry : split.shards)
      shards.push_back(
          {{"file", entry.file}, {"bytes", entry.bytes}, {"examples", entry.examples}, {"crc32", entry.checksum}});
    list[name] = {{"examples", split.examples},
                  {"tokens", split.tokens},
                  {"trained_tokens", split.trained_tokens},
                  {"shards", shards}};
  }
  const base::OrderedJson json = {{"format", kFormat},
                                  {"version", 1},
                                  {"purpose", kPurposes[static_cast<size_t>(purpose)]},
                                  {"tokenizer", {{"hash", tokenizer_hash}, {"vocabulary_size", vocabulary_size}}},
                                  {"end_of_turn", end_of_turn},
                                  {"splits", list},
                                  {"notes", notes}};
  return json.dump(2) + "\n";
}

ChatIndex ChatIndex::parse(std::string_view text, const std::string& origin) {
  const base::Json json = base::parse_json(text, origin);
  if (!json.is_object() || base::json_get<std::string>(json, "format", "", origin) != kFormat)
    throw base::Error("{}: not the index of prepared chats", origin);
  if (base::json_require<int64_t>(json, "version", origin) != 1)
    throw base::Error("{}: a version of the format that this program does not know", origin);
  ChatIndex index;
  const auto purpose = base::json_require<std::string>(json, "purpose", origin);
  const auto* found = std::ranges::find(kPurposes, purpose);
  if (found == std::end(kPurposes)) throw base::Error("{}: \"purpose\" is \"{}\"", origin, purpose);
  index.purpose = static_cast<ChatPurpose>(found - std::begin(kPurposes));
  const auto tokenizer = base::json_require<base::Json>(json, "tokenizer", origin);
  index.tokenizer_hash = base::json_require<std::string>(tokenizer, "hash", origin);
  index.vocabulary_size = base::json_require<int64_t>(tokenizer, "vocabulary_size", origin);
  index.end_of_turn = base::json_require<std::vector<int32_t>>(json, "end_of_turn", origin);
  index.notes = base::json_require<std::vector<std::string>>(json, "notes", origin);
  const auto splits = base::json_require<base::Json>(json, "splits", origin);
  for (const auto& [name, split] : splits.items()) index.splits[name] = parse_split(split, name, origin);
  return index;
}

ChatDataWriter::ChatDataWriter(std::filesystem::path folder, ChatIndex index, size_t shard_bytes)
    : folder_(std::move(folder)), index_(std::move(index)), shard_bytes_(shard_bytes) {}

std::vector<ColumnSpec> ChatDataWriter::columns() const {
  const auto ids = index_.vocabulary_size <= 65536 ? tensor::DType::u16 : tensor::DType::i32;
  return {{"ids", ids, true}, {"trained", tensor::DType::i32, true}, {"labels", tensor::DType::i32, false}};
}

void ChatDataWriter::append(const std::string& split, std::span<const ChatTokens> sequences, int32_t label) {
  OpenSplit& open = open_.try_emplace(split, OpenSplit{ShardWriter(columns()), 0}).first->second;
  ChatIndex::Split& counts = index_.splits[split];
  for (const ChatTokens& tokens : sequences) {
    if (index_.vocabulary_size <= 65536) {
      const std::vector<uint16_t> narrow(tokens.ids.begin(), tokens.ids.end());
      open.shard.append(kIds, std::span<const uint16_t>(narrow));
    } else {
      open.shard.append(kIds, std::span<const int32_t>(tokens.ids));
    }
    open.shard.end_row(kIds);
    std::vector<int32_t> bounds;
    for (const TokenSpan& span : tokens.trained) {
      bounds.push_back(span.begin);
      bounds.push_back(span.end);
    }
    open.shard.append(kTrained, std::span<const int32_t>(bounds));
    open.shard.end_row(kTrained);
    counts.tokens += static_cast<int64_t>(tokens.ids.size());
    counts.trained_tokens += tokens.trained_count();
  }
  open.shard.append(kLabels, std::span<const int32_t>(&label, 1));
  ++open.examples;
  ++counts.examples;
  if (open.shard.bytes() >= shard_bytes_) cut_shard(split, open);
}

void ChatDataWriter::cut_shard(const std::string& split, OpenSplit& open) {
  ChatIndex::Split& listed = index_.splits[split];
  ChatIndex::ShardEntry entry;
  entry.file = fmt::format("{}-{:05}.shard", split, listed.shards.size());
  const ShardWriter::Written written = open.shard.write(folder_ / entry.file);
  entry.bytes = written.bytes;
  entry.checksum = written.checksum;
  entry.examples = open.examples;
  listed.shards.push_back(std::move(entry));
  open.examples = 0;
}

ChatIndex ChatDataWriter::finish(std::vector<std::string> notes, std::vector<int32_t> end_of_turn) {
  for (auto& [split, open] : open_) {
    if (open.examples > 0) cut_shard(split, open);
  }
  index_.notes = std::move(notes);
  index_.end_of_turn = std::move(end_of_turn);
  base::write_file(folder_ / kIndexFile, index_.text());
  return index_;
}

ChatSplit::ChatSplit(std::vector<Shard> shards, int64_t sequences_per_example, int64_t vocabulary_size)
    : sequences_(sequences_per_example), vocabulary_size_(vocabulary_size) {
  for (Shard& shard : shards) {
    Part part{shard, examples_, static_cast<int64_t>(shard.elements<int32_t>("labels").size()), false};
    part.is_narrow = shard.column("ids").spec.dtype == tensor::DType::u16;
    for (const char* name : {"ids", "trained"}) {
      const auto rows = static_cast<int64_t>(shard.column(name).row_offsets.size()) - 1;
      if (rows != part.examples * sequences_)
        throw base::Error("{}: {} rows of {} for {} examples", shard.origin(), rows, name, part.examples);
    }
    examples_ += part.examples;
    parts_.push_back(std::move(part));
  }
}

const ChatSplit::Part& ChatSplit::part_of(int64_t example) const {
  if (example < 0 || example >= examples_) throw base::Error("there is no example {} of {}", example, examples_);
  const auto after = std::ranges::upper_bound(parts_, example, {}, &Part::first);
  return *(after - 1);
}

ChatTokens ChatSplit::read(int64_t example, int64_t sequence) const {
  const Part& part = part_of(example);
  const int64_t row = (example - part.first) * sequences_ + sequence;
  ChatTokens tokens;
  if (part.is_narrow) {
    const auto ids = part.shard.row<uint16_t>("ids", row);
    tokens.ids.assign(ids.begin(), ids.end());
  } else {
    const auto ids = part.shard.row<int32_t>("ids", row);
    tokens.ids.assign(ids.begin(), ids.end());
  }
  for (const int32_t id : tokens.ids) {
    if (id < 0 || id >= vocabulary_size_) throw damaged(part.shard, row, fmt::format("has the id {}", id));
  }
  tokens.trained = spans_of(part, row, static_cast<int64_t>(tokens.ids.size()));
  return tokens;
}

std::vector<TokenSpan> ChatSplit::spans_of(const Part& part, int64_t row, int64_t length) {
  const auto bounds = part.shard.row<int32_t>("trained", row);
  if (bounds.size() % 2 != 0) throw damaged(part.shard, row, "has half a span");
  std::vector<TokenSpan> spans;
  int32_t last = 0;
  for (size_t index = 0; index < bounds.size(); index += 2) {
    const TokenSpan span{bounds[index], bounds[index + 1]};
    if (span.begin < last || span.end <= span.begin || span.end > length)
      throw damaged(part.shard, row, "has spans that are not within its tokens");
    last = span.end;
    spans.push_back(span);
  }
  return spans;
}

std::vector<TokenSpan> ChatSplit::read_spans(int64_t example, int64_t sequence, int64_t& length) const {
  const Part& part = part_of(example);
  const int64_t row = (example - part.first) * sequences_ + sequence;
  const auto& offsets = part.shard.column("ids").row_offsets;
  length = offsets[static_cast<size_t>(row) + 1] - offsets[static_cast<size_t>(row)];
  return spans_of(part, row, length);
}

int32_t ChatSplit::label(int64_t example) const {
  const Part& part = part_of(example);
  return part.shard.elements<int32_t>("labels")[static_cast<size_t>(example - part.first)];
}

ChatData ChatData::open(const std::filesystem::path& folder) {
  const std::filesystem::path index_path = folder / kIndexFile;
  if (!std::filesystem::exists(index_path))
    throw base::Error("{}: it holds no prepared chats (there is no {})", folder.string(), kIndexFile);
  ChatData data;
  data.index_ = ChatIndex::parse(base::read_file(index_path), index_path.string());
  for (const auto& [name, split] : data.index_.splits) {
    std::vector<Shard> shards;
    for (const ChatIndex::ShardEntry& entry : split.shards) {
      Shard shard = Shard::open(folder / entry.file);
      if (shard.checksum() != entry.checksum)
        throw base::Error("{}: not the shard that {} lists: files of two data sets are mixed, or one was changed",
                          shard.origin(), kIndexFile);
      shards.push_back(std::move(shard));
    }
    data.splits_[name] =
        std::make_shared<const ChatSplit>(std::move(shards), data.index_.sequences(), data.index_.vocabulary_size);
  }
  return data;
}

const ChatSplit* ChatData::split(const std::string& name) const {
  const auto found = splits_.find(name);
  return found == splits_.end() || found->second->examples() == 0 ? nullptr : found->second.get();
}

}  // namespace fledge::train
