#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace fledge::train {

/// How a file of text is taken apart into documents.
struct DocumentOptions {
  /// Ends a document inside a text file, with one newline on either side of it. Empty: one document per file.
  std::string separator = "<|endoftext|>";
  /// Key of the text in a line of JSONL.
  std::string text_key = "text";
  /// Longer documents come in pieces of this size up to twice it.
  size_t piece_bytes = size_t{1} << 20;
};

/// A part of a document, or all of it.
struct DocumentPiece {
  std::string text;
  bool begins_document = false;
  bool ends_document = false;
};

/// Reads documents piece by piece, so that neither a file nor a document has to fit in memory. A piece depends on the
/// content alone. Empty documents are left out.
class DocumentReader {
 public:
  virtual ~DocumentReader() = default;
  /// The next piece, or false at the end of the file. Throws Error naming the file (and the line, in JSONL).
  virtual bool next(DocumentPiece& piece) = 0;
  /// Bytes of the file on disk consumed so far, for progress.
  virtual int64_t bytes_read() const = 0;
};

/// Opens a text file or, where the name ends in .jsonl or .ndjson, JSON lines. Either may be compressed by gzip (.gz).
/// Throws Error where it cannot be read or is not a plain file.
std::unique_ptr<DocumentReader> open_documents(const std::filesystem::path& path, const DocumentOptions& options);

/// Where the first piece of a text ends that is known to be longer than 2 * piece_bytes, or whose first
/// 2 * piece_bytes are given: after a newline with characters on both sides that are no white space (and, behind it, no
/// slash, which o200k's pattern binds to a newline). There the split patterns of byte-level BPE (GPT-2, Llama 3, Qwen)
/// always split too, so that the tokens of the pieces are the tokens of the whole. Where a text has no such place in
/// that range: after its last newline there, or else before a UTF-8 character.
size_t piece_end(std::string_view text, size_t piece_bytes);

/// The largest position of at most `position` that is not inside a UTF-8 character.
size_t character_start(std::string_view text, size_t position);

}  // namespace fledge::train
