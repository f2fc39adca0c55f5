#include "train/data/documents.h"

#include <algorithm>
#include <deque>

#include "base/error.h"
#include "base/json.h"
#include "train/data/input_file.h"

namespace fledge::train {
namespace {

namespace filesystem = std::filesystem;

constexpr size_t kMaximumLineBytes = size_t{1} << 30;

bool is_space(uint32_t character) {
  return (character >= 0x09 && character <= 0x0d) || character == 0x20 || character == 0x85 || character == 0xa0 ||
         character == 0x1680 || (character >= 0x2000 && character <= 0x200a) || character == 0x2028 ||
         character == 0x2029 || character == 0x202f || character == 0x205f || character == 0x3000;
}

/// The character of up to three bytes at the beginning of `text`; all white space is among those. Bytes that are not
/// UTF-8 are no white space.
uint32_t first_character(std::string_view text) {
  const auto byte = [&](size_t index) { return static_cast<uint32_t>(static_cast<unsigned char>(text[index])); };
  if (byte(0) >= 0xe0 && text.size() >= 3) return (byte(0) & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
  if (byte(0) >= 0xc0 && text.size() >= 2) return (byte(0) & 0x1f) << 6 | (byte(1) & 0x3f);
  return byte(0) < 0x80 ? byte(0) : 0xfffd;
}

/// Whether text[newline] stands between two characters that are not white space.
bool is_safe_newline(std::string_view text, size_t newline) {
  if (newline == 0 || newline + 1 >= text.size() || text[newline + 1] == '/') return false;
  const size_t before = character_start(text, newline - 1);
  return !is_space(first_character(text.substr(before))) && !is_space(first_character(text.substr(newline + 1)));
}

class TextDocuments : public DocumentReader {
 public:
  TextDocuments(const filesystem::path& path, const DocumentOptions& options) : input_(path), options_(options) {}

  bool next(DocumentPiece& piece) override {
    while (true) {
      fill();
      if (skip_newline_ && !rest().empty()) {
        if (rest().front() == '\n') ++position_;
        skip_newline_ = false;
      }
      if (rest().empty() && !in_document_) return false;
      const size_t limit = 2 * options_.piece_bytes;
      const size_t separator = options_.separator.empty() ? std::string_view::npos : rest().find(options_.separator);
      size_t length = std::min(separator, rest().size());
      const bool is_end_known = separator != std::string_view::npos || at_end_;
      const size_t behind = separator != std::string_view::npos ? options_.separator.size() : 0;
      size_t trimmed = 0;
      if (behind > 0 && length > 0 && rest()[length - 1] == '\n') trimmed = 1;
      if (is_end_known && length - trimmed <= limit) {
        skip_newline_ = behind > 0;
        if (length == trimmed && !in_document_) {  // an empty document
          position_ += length + behind;
          continue;
        }
        return take(piece, length - trimmed, trimmed + behind, true);
      }
      length = piece_end(rest().substr(0, length), options_.piece_bytes);
      return take(piece, length, 0, false);
    }
  }

  int64_t bytes_read() const override { return input_.offset(); }

 private:
  std::string_view rest() const { return std::string_view(buffer_).substr(position_); }

  /// Reads on until a whole piece, and a separator behind it, are in the buffer.
  void fill() {
    const size_t wanted = 2 * options_.piece_bytes + options_.separator.size() + 8;
    if (at_end_ || rest().size() >= wanted) return;
    buffer_.erase(0, position_);
    position_ = 0;
    const bool is_first = !started_;
    while (!at_end_ && buffer_.size() < wanted) at_end_ = !input_.append_to(buffer_);
    started_ = true;
    if (is_first && buffer_.starts_with(kByteOrderMark)) position_ = kByteOrderMark.size();
  }

  bool take(DocumentPiece& piece, size_t length, size_t skipped, bool ends) {
    piece.text = rest().substr(0, length);
    piece.begins_document = !in_document_;
    piece.ends_document = ends;
    in_document_ = !ends;
    position_ += length + skipped;
    return true;
  }

  InputFile input_;
  DocumentOptions options_;
  std::string buffer_;
  size_t position_ = 0;
  bool started_ = false, at_end_ = false, in_document_ = false, skip_newline_ = false;
};

class JsonLines : public DocumentReader {
 public:
  JsonLines(const filesystem::path& path, const DocumentOptions& options)
      : path_(path), input_(path), options_(options) {}

  bool next(DocumentPiece& piece) override {
    while (position_ == text_.size()) {
      std::string line;
      if (!next_line(line)) return false;
      if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
      const std::string origin = fmt::format("{}, line {}", path_.string(), line_number_);
      text_ = base::json_require<std::string>(base::parse_json(line, origin), options_.text_key.c_str(), origin);
      position_ = 0;
    }
    const auto rest = std::string_view(text_).substr(position_);
    const size_t length = rest.size() <= 2 * options_.piece_bytes ? rest.size() : piece_end(rest, options_.piece_bytes);
    piece.text = rest.substr(0, length);
    piece.begins_document = position_ == 0;
    piece.ends_document = length == rest.size();
    position_ += length;
    return true;
  }

  int64_t bytes_read() const override { return input_.offset(); }

 private:
  bool next_line(std::string& line) {
    size_t scanned = begin_;
    size_t newline;
    while ((newline = buffer_.find('\n', scanned)) == std::string::npos && !at_end_) {
      buffer_.erase(0, begin_);
      begin_ = 0;
      scanned = buffer_.size();
      if (scanned > kMaximumLineBytes)
        throw base::Error("{}, line {}: longer than {} bytes", path_.string(), line_number_ + 1, kMaximumLineBytes);
      at_end_ = !input_.append_to(buffer_);
    }
    if (newline == std::string::npos) newline = buffer_.size();
    if (begin_ >= buffer_.size()) return false;
    line.assign(buffer_, begin_, newline - begin_);
    begin_ = std::min(newline + 1, buffer_.size());
    if (++line_number_ == 1 && line.starts_with(kByteOrderMark)) line.erase(0, kByteOrderMark.size());
    return true;
  }

  filesystem::path path_;
  InputFile input_;
  DocumentOptions options_;
  std::string buffer_, text_;
  size_t begin_ = 0, position_ = 0;
  int64_t line_number_ = 0;
  bool at_end_ = false;
};

}  // namespace

size_t character_start(std::string_view text, size_t position) {
  if (position >= text.size()) return text.size();
  for (size_t back = 0; back <= 3 && back <= position; ++back)
    if ((static_cast<unsigned char>(text[position - back]) & 0xc0) != 0x80) return position - back;
  return position;  // not UTF-8
}

size_t piece_end(std::string_view text, size_t piece_bytes) {
  const size_t limit = 2 * piece_bytes;
  for (size_t at = text.find('\n', piece_bytes); at != std::string_view::npos && at + 1 <= limit;
       at = text.find('\n', at + 1))
    if (is_safe_newline(text, at)) return at + 1;
  const size_t last = text.substr(0, limit).rfind('\n');
  if (last != std::string_view::npos && last >= piece_bytes) return last + 1;
  return character_start(text, std::min(limit, text.size() - 1));
}

std::unique_ptr<DocumentReader> open_documents(const filesystem::path& path, const DocumentOptions& options) {
  filesystem::path name = path.filename();
  if (name.extension() == ".gz") name = name.stem();
  if (name.extension() == ".jsonl" || name.extension() == ".ndjson") return std::make_unique<JsonLines>(path, options);
  return std::make_unique<TextDocuments>(path, options);
}

}  // namespace fledge::train
