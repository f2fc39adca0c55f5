#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace fledge::train {

/// The novels of an unpacked r-cran-janeaustenr, in the order in which they were published: austen.txt, with three
/// empty lines between them, and austen.jsonl, {"title": ..., "text": ...} a line.
void convert_austen(const std::filesystem::path& root, const std::filesystem::path& out);

/// The conversations of an unpacked chitchat-dataset: chitchat.jsonl, {"id", "messages"} a line. Who speaks first is
/// the user; what one says before the other answers is one message, with a line for each part.
void convert_chitchat(const std::filesystem::path& root, const std::filesystem::path& out);

/// The dictionary of an unpacked dict-gcide in UTF-8: gcide.txt, as it is, and gcide.jsonl, {"text": ...} an entry.
void convert_gcide(const std::filesystem::path& root, const std::filesystem::path& out);

/// The entries of a dictionary in the format of dictd's text: an entry begins at an unindented line with a headword
/// (which holds a backslash) behind an empty line. What comes before the first one, such as a licence, is left out.
std::vector<std::string_view> dictionary_entries(std::string_view text);

}  // namespace fledge::train
