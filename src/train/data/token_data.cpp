#include "train/data/token_data.h"

#include <algorithm>

namespace fledge::train {
namespace {

constexpr size_t kIdsColumn = 0;
constexpr size_t kStartsColumn = 1;
constexpr int64_t kMaximumVocabulary = int64_t{1} << 31;

std::vector<ColumnSpec> token_columns(int64_t vocabulary_size) {
  const auto ids = vocabulary_size <= 65536 ? tensor::DType::u16 : tensor::DType::i32;
  return {{"ids", ids, false}, {"document_starts", tensor::DType::i64, false}};
}

}  // namespace

TokenDataWriter::TokenDataWriter(base::filesystem::path folder, TokenizerIdentity tokenizer, size_t shard_bytes)
    : folder_(std::move(folder)), shard_bytes_(shard_bytes) {
  if (tokenizer.vocabulary_size <= 0 || tokenizer.vocabulary_size > kMaximumVocabulary)
    throw base::Error("a data set needs a tokenizer with 1 to 2^31 tokens, not {}", tokenizer.vocabulary_size);
  index_.columns = token_columns(tokenizer.vocabulary_size);
  index_.tokenizer = std::move(tokenizer);
}

TokenDataWriter::OpenSplit& TokenDataWriter::open_split(const std::string& split) {
  return open_.try_emplace(split, index_.columns).first->second;
}

void TokenDataWriter::begin_document(const std::string& split) {
  OpenSplit& open = open_split(split);
  const int64_t start = open.shard.elements(kIdsColumn);
  open.shard.append(kStartsColumn, std::span<const int64_t>(&start, 1));
  ++open.documents;
}

void TokenDataWriter::append(const std::string& split, std::span<const int32_t> ids) {
  OpenSplit& open = open_split(split);
  const int64_t vocabulary = index_.tokenizer.vocabulary_size;
  for (const int32_t id : ids)
    if (id < 0 || id >= vocabulary)
      throw base::Error("the tokenizer gave the id {}, outside its vocabulary of {}", id, vocabulary);
  const bool narrow = index_.columns[kIdsColumn].dtype == tensor::DType::u16;
  const size_t step = std::max<size_t>(1, shard_bytes_ / sizeof(int32_t));
  std::vector<uint16_t> narrowed;
  for (size_t first = 0; first < ids.size(); first += step) {
    const auto part = ids.subspan(first, std::min(step, ids.size() - first));
    if (narrow) {
      narrowed.assign(part.begin(), part.end());
      open.shard.append(kIdsColumn, std::span<const uint16_t>(narrowed));
    } else {
      open.shard.append(kIdsColumn, part);
    }
    open.tokens += static_cast<int64_t>(part.size());
    if (open.shard.bytes() >= shard_bytes_) cut_shard(split, open);
  }
}

void TokenDataWriter::add_text_bytes(const std::string& split, int64_t bytes) {
  index_.splits[split].counts.text_bytes += bytes;
}

void TokenDataWriter::cut_shard(const std::string& split, OpenSplit& open) {
  DataIndex::Split& listed = index_.splits[split];
  DataIndex::ShardEntry entry;
  entry.file = fmt::format("{}-{:05}.shard", split, listed.shards.size());
  const ShardWriter::Written written = open.shard.write(folder_ / entry.file);
  entry.bytes = written.bytes;
  entry.checksum = written.checksum;
  entry.tokens = open.tokens;
  entry.documents = open.documents;
  listed.counts.tokens += open.tokens;
  listed.counts.documents += open.documents;
  listed.shards.push_back(std::move(entry));
  open.tokens = open.documents = 0;
}

DataIndex TokenDataWriter::finish() {
  for (auto& [split, open] : open_)
    if (open.tokens > 0) cut_shard(split, open);
  base::write_file(folder_ / kIndexFile, index_.text());
  return index_;
}

TokenSplit::TokenSplit(std::vector<Shard> shards, SplitCounts counts, int64_t vocabulary_size, std::string name)
    : counts_(counts), vocabulary_size_(vocabulary_size), name_(std::move(name)) {
  int64_t first = 0;
  for (Shard& shard : shards) {
    Part part{shard, first, 0, {}, {}, shard.elements<int64_t>("document_starts")};
    if (shard.column("ids").spec.dtype == tensor::DType::u16) {
      part.narrow_ids = shard.elements<uint16_t>("ids");
    } else {
      part.wide_ids = shard.elements<int32_t>("ids");
    }
    part.tokens = shard.column("ids").elements;
    const auto& starts = part.document_starts;
    if (!starts.empty() && (starts.front() < 0 || starts.back() >= part.tokens))
      throw base::Error("{}: a document starts outside its {} tokens", shard.origin(), part.tokens);
    if (std::adjacent_find(starts.begin(), starts.end(), std::greater_equal<>()) != starts.end())
      throw base::Error("{}: the document starts do not rise", shard.origin());
    first += part.tokens;
    parts_.push_back(std::move(part));
  }
  if (first != counts_.tokens)
    throw base::Error("{}: the shards have {} tokens and the index says {}", name_, first, counts_.tokens);
}

void TokenSplit::require_range(int64_t first, size_t count) const {
  if (first < 0 || first > counts_.tokens || static_cast<int64_t>(count) > counts_.tokens - first)
    throw base::Error("{}: tokens {} to {} were asked for, and it has {}", name_, first,
                      first + static_cast<int64_t>(count), counts_.tokens);
}

size_t TokenSplit::part_of(int64_t token) const {
  const auto after = std::upper_bound(parts_.begin(), parts_.end(), token,
                                      [](int64_t value, const Part& part) { return value < part.first; });
  return static_cast<size_t>(after - parts_.begin()) - 1;
}

void TokenSplit::read_part(const Part& part, int64_t first, std::span<int32_t> ids) const {
  const auto offset = static_cast<size_t>(first);
  if (part.wide_ids.empty()) {
    std::copy_n(part.narrow_ids.begin() + first, ids.size(), ids.begin());
  } else {
    std::copy_n(part.wide_ids.begin() + first, ids.size(), ids.begin());
  }
  // A negative id is a large unsigned one.
  uint32_t largest = 0;
  for (const int32_t id : ids) largest = std::max(largest, static_cast<uint32_t>(id));
  if (largest < static_cast<uint64_t>(vocabulary_size_)) return;
  const auto bad = std::find_if(ids.begin(), ids.end(), [&](int32_t id) { return id < 0 || id >= vocabulary_size_; });
  throw base::Error(
      "{}: token {} is the id {}, outside the vocabulary of {}: the file is damaged; prepare the data again",
      part.shard.origin(), offset + static_cast<size_t>(bad - ids.begin()), *bad, vocabulary_size_);
}

void TokenSplit::read(int64_t first, std::span<int32_t> ids) const {
  require_range(first, ids.size());
  if (ids.empty()) return;
  for (size_t index = part_of(first); !ids.empty(); ++index) {
    const Part& part = parts_[index];
    const int64_t inside = first - part.first;
    const auto count = std::min(ids.size(), static_cast<size_t>(part.tokens - inside));
    read_part(part, inside, ids.first(count));
    first += static_cast<int64_t>(count);
    ids = ids.subspan(count);
  }
}

void TokenSplit::read_document_starts(int64_t first, std::span<int32_t> starts) const {
  require_range(first, starts.size());
  std::fill(starts.begin(), starts.end(), 0);
  if (starts.empty()) return;
  const int64_t last = first + static_cast<int64_t>(starts.size());
  for (size_t index = part_of(first); index < parts_.size() && parts_[index].first < last; ++index) {
    const Part& part = parts_[index];
    auto next = std::lower_bound(part.document_starts.begin(), part.document_starts.end(), first - part.first);
    for (; next != part.document_starts.end() && part.first + *next < last; ++next) {
      const int64_t place = part.first + *next - first;
      starts[static_cast<size_t>(place)] = static_cast<int32_t>(place);
    }
  }
  for (size_t place = 1; place < starts.size(); ++place) starts[place] = std::max(starts[place], starts[place - 1]);
}

void TokenSplit::verify() const {
  std::vector<int32_t> ids;
  for (const Part& part : parts_) {
    part.shard.verify_checksums();
    constexpr int64_t kStep = 1 << 16;
    for (int64_t first = 0; first < part.tokens; first += kStep) {
      ids.resize(static_cast<size_t>(std::min(kStep, part.tokens - first)));
      read_part(part, first, ids);
    }
  }
}

TokenData TokenData::open(const base::filesystem::path& folder) {
  if (!base::filesystem::exists(folder / kIndexFile))
    throw base::Error("{}: not a data set: it has no {}; `fledge data prepare` makes one", folder.string(), kIndexFile);
  TokenData data;
  data.folder_ = folder;
  data.index_ = DataIndex::parse(base::read_file(folder / kIndexFile), (folder / kIndexFile).string());
  for (const auto& [name, split] : data.index_.splits) {
    std::vector<Shard> shards;
    for (const DataIndex::ShardEntry& entry : split.shards) {
      Shard shard = Shard::open(folder / entry.file);
      if (shard.checksum() != entry.checksum)
        throw base::Error("{}: not the shard that {} lists: files of two data sets are mixed, or one was changed",
                          shard.origin(), kIndexFile);
      if (shard.column("ids").elements != entry.tokens || shard.column("document_starts").elements != entry.documents)
        throw base::Error("{}: it has {} tokens in {} documents, and {} says {} in {}", shard.origin(),
                          shard.column("ids").elements, shard.column("document_starts").elements, kIndexFile,
                          entry.tokens, entry.documents);
      shards.push_back(std::move(shard));
    }
    data.splits_[name] =
        std::make_shared<const TokenSplit>(std::move(shards), split.counts, data.index_.tokenizer.vocabulary_size,
                                           fmt::format("{}, split {}", folder.string(), name));
  }
  return data;
}

const TokenSplit& TokenData::split(const std::string& name) const {
  const auto found = splits_.find(name);
  if (found == splits_.end()) throw base::Error("{}: the data set has no split \"{}\"", folder_.string(), name);
  return *found->second;
}

}  // namespace fledge::train
