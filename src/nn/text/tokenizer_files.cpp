// Folders and files of a tokenizer: finding them, writing them, and OpenAI's rank files.
#include <array>
#include <charconv>
#include <filesystem>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "nn/text/bpe_model.h"
#include "nn/text/byte_alphabet.h"
#include "nn/text/tokenizer.h"

namespace fledge::nn {
namespace {

namespace filesystem = std::filesystem;
using base::Error;
using base::Json;

constexpr size_t kLongestRankToken = 4096;

/// Appends the bytes of a base64 text (RFC 4648); false where it is malformed. Whisper's ranks have a token of no
/// bytes, written as a lone padding character, so the padding is not counted.
bool append_base64(std::string_view text, std::string& bytes) {
  static const auto values = [] {
    std::array<int8_t, 256> table{};
    table.fill(-1);
    const std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < letters.size(); ++i) table[static_cast<uint8_t>(letters[i])] = static_cast<int8_t>(i);
    return table;
  }();
  while (text.ends_with('=')) text.remove_suffix(1);
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const int value = values[static_cast<uint8_t>(c)];
    if (value < 0) return false;
    bits = bits << 6 | static_cast<uint32_t>(value);
    count += 6;
    if (count >= 8) bytes += static_cast<char>(bits >> (count -= 8) & 0xFF);
  }
  return count < 6;
}

/// The one rank file of a folder, or nothing.
filesystem::path find_rank_file(const filesystem::path& folder) {
  filesystem::path found;
  std::error_code error;
  for (const auto& entry : filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() != ".tiktoken") continue;
    if (!found.empty()) {
      throw Error("{}: there is more than one *.tiktoken file; name the file itself", folder.string());
    }
    found = entry.path();
  }
  return found;
}

TokenizerParts load_parts(const filesystem::path& path, SplitPattern pattern) {
  if (!filesystem::exists(path)) throw Error("{}: there is no such tokenizer file or folder", path.string());
  if (path.extension() == ".tiktoken") return parse_tiktoken(base::MappedFile(path).text(), path.string(), pattern);
  if (!filesystem::is_directory(path)) return parse_tokenizer_json(base::MappedFile(path).text(), path.string());
  const filesystem::path file = path / "tokenizer.json", config_file = path / "tokenizer_config.json";
  Json config;
  if (filesystem::exists(config_file)) config = base::read_json(config_file);
  if (filesystem::exists(file)) {
    TokenizerParts parts = parse_tokenizer_json(base::MappedFile(file).text(), file.string());
    parts.config = std::move(config);
    return parts;
  }
  const filesystem::path vocabulary = path / "vocab.json", merges = path / "merges.txt";
  if (filesystem::exists(vocabulary) && filesystem::exists(merges)) {
    return parse_vocabulary_and_merges(base::MappedFile(vocabulary).text(), vocabulary.string(),
                                       base::MappedFile(merges).text(), merges.string(), std::move(config));
  }
  const filesystem::path ranks = find_rank_file(path);
  if (!ranks.empty()) return parse_tiktoken(base::MappedFile(ranks).text(), ranks.string(), pattern);
  throw Error("{}: the folder holds no tokenizer (tokenizer.json, vocab.json with merges.txt, or *.tiktoken)",
              path.string());
}

Json added_token_json(const AddedToken& token) {
  return {{"content", token.content}, {"lstrip", token.lstrip},           {"normalized", token.normalized},
          {"rstrip", token.rstrip},   {"single_word", token.single_word}, {"special", token.special}};
}

/// What `transformers` needs to open the folder, where no configuration was read.
Json default_config(const TokenizerParts& parts) {
  Json decoder = Json::object();
  for (const AddedToken& token : parts.added_tokens) decoder[std::to_string(token.id)] = added_token_json(token);
  Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                 {"clean_up_tokenization_spaces", false},
                 {"added_tokens_decoder", std::move(decoder)}};
  for (const AddedToken& token : parts.added_tokens) {
    if (token.content != "<|endoftext|>") continue;
    config["bos_token"] = config["eos_token"] = config["unk_token"] = token.content;
  }
  return config;
}

std::string quoted(const std::string& text) {
  // A token that is not UTF-8 cannot be named in JSON; it is not reachable either.
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

void append_model(const TokenizerParts& parts, const BpeModel& model, std::string& text) {
  const auto name = [&](int32_t id) {
    const std::string bytes(model.token_bytes(id));
    return parts.literal_tokens.contains(id) ? bytes : to_byte_alphabet(bytes);
  };
  text += R"("model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, )"
          R"("end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": )";
  text += model.whole_piece_first() ? "true" : "false";
  text += ",\n\"vocab\": {";
  for (int32_t id = 0; id < model.size(); ++id) {
    text += id == 0 ? "\n" : ",\n";
    text += quoted(name(id));
    text += ": " + std::to_string(id);
  }
  text += "},\n\"merges\": [";
  bool first = true;
  for (const BpeMerge& merge : model.merges()) {
    text += first ? "\n" : ",\n";
    text += quoted(name(merge.left) + " " + name(merge.right));
    first = false;
  }
  text += "]}";
}

}  // namespace

std::string tokenizer_json(const TokenizerParts& parts) {
  const auto* model = dynamic_cast<const BpeModel*>(parts.model.get());
  if (model == nullptr) throw Error("tokenizer.json: only byte-pair encoding can be written");
  std::string text = "{\n\"version\": \"1.0\",\n\"truncation\": null,\n\"padding\": null,\n\"added_tokens\": [";
  for (size_t i = 0; i < parts.added_tokens.size(); ++i) {
    Json entry = added_token_json(parts.added_tokens[i]);
    entry["id"] = parts.added_tokens[i].id;
    text += (i == 0 ? "\n" : ",\n") + entry.dump();
  }
  text += "],\n\"normalizer\": " + parts.normalizer.dump();
  text += ",\n\"pre_tokenizer\": " + parts.pre_tokenizer_section.dump();
  text += ",\n\"post_processor\": " + parts.post_processor.dump();
  text += ",\n\"decoder\": " + parts.decoder.dump() + ",\n";
  append_model(parts, *model, text);
  text += "\n}\n";
  return text;
}

TokenizerParts parse_tiktoken(std::string_view text, std::string_view origin, SplitPattern pattern) {
  std::vector<std::string> tokens;
  size_t line_number = 0;
  while (!text.empty()) {
    ++line_number;
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    const size_t space = line.find(' ');
    std::string token;
    uint64_t rank = 0;
    const std::string_view number = space == std::string_view::npos ? std::string_view{} : line.substr(space + 1);
    const auto parsed = std::from_chars(number.data(), number.data() + number.size(), rank);
    if (number.empty() || parsed.ec != std::errc{} || parsed.ptr != number.data() + number.size() || space == 0 ||
        !append_base64(line.substr(0, space), token)) {
      throw Error("{}: line {} is not a token in base64 and its rank", origin, line_number);
    }
    if (token.size() > kLongestRankToken) {
      throw Error("{}: the token on line {} has {} bytes; at most {} are read", origin, line_number, token.size(),
                  kLongestRankToken);
    }
    if (rank != tokens.size()) {
      throw Error("{}: line {} has the rank {} where {} was expected: ranks rise one by one without a hole", origin,
                  line_number, rank, tokens.size());
    }
    tokens.push_back(std::move(token));
  }
  if (tokens.empty()) throw Error("{}: there is no token in the file", origin);
  TokenizerParts parts;
  parts.model = std::make_unique<BpeModel>(tokens, merges_from_ranks(tokens), true);
  parts.pre_tokenizer = make_scanner(pattern);
  parts.pre_tokenizer_section = pre_tokenizer_section(pattern);
  parts.decoder = {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
  return parts;
}

Tokenizer Tokenizer::load(const filesystem::path& path, SplitPattern rank_file_pattern) {
  return Tokenizer(load_parts(path, rank_file_pattern));
}

void Tokenizer::save(const filesystem::path& folder) const {
  base::create_folder(folder);
  base::write_file(folder / "tokenizer.json", tokenizer_json(parts_));
  const Json& config = parts_.config;
  base::write_file(folder / "tokenizer_config.json", (config.is_object() ? config : default_config(parts_)).dump(2));
}

}  // namespace fledge::nn
