#include "train/store/hub.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "models/store.h"
#include "train/data/http_fetch.h"
#include "train/data/sha256.h"

namespace fledge::train {
namespace {

namespace filesystem = std::filesystem;
using base::Json;

constexpr int64_t kLargestListing = int64_t{64} << 20, kLargestFile = int64_t{1} << 42;

bool is_hex(std::string_view text, size_t digits) {
  const auto fits = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  return text.size() == digits && std::ranges::all_of(text, fits);
}

std::string server() {
  const char* endpoint = std::getenv("HF_ENDPOINT");
  std::string url = endpoint != nullptr && *endpoint != '\0' ? endpoint : "https://huggingface.co";
  while (url.ends_with('/')) url.pop_back();
  return url;
}

FetchOptions request_options() {
  FetchOptions options;
  options.refusal_hint = "check the repository's name and revision; a private or gated one needs HF_TOKEN";
  const char* token = std::getenv("HF_TOKEN");
  if (token == nullptr || *token == '\0') return options;
  const std::string_view text = token;
  if (text.find_first_of("\r\n") != std::string_view::npos) {
    throw base::UsageError("HF_TOKEN holds a line break; expected the token alone");
  }
  options.headers.push_back(fmt::format("Authorization: Bearer {}", text));
  return options;
}

/// A path in a URL: everything but letters, digits and a few marks as %XX.
std::string escaped(std::string_view path) {
  std::string result;
  for (const char c : path) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-._~/").find(c) != std::string_view::npos;
    result += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return result;
}

/// Git's name of a file's content: the SHA-1 of "blob SIZE\0" and the content.
std::string git_blob_of(const filesystem::path& path) {
  const std::string content = base::read_file(path);
  const std::string head = fmt::format("blob {}", content.size());
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  if (!context || EVP_DigestInit_ex(context.get(), EVP_sha1(), nullptr) != 1 ||
      EVP_DigestUpdate(context.get(), head.c_str(), head.size() + 1) != 1 ||
      EVP_DigestUpdate(context.get(), content.data(), content.size()) != 1 ||
      EVP_DigestFinal_ex(context.get(), digest.data(), &size) != 1) {
    throw base::Error("OpenSSL cannot compute a SHA-1");
  }
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

/// A path of a repository that stays inside the folder.
void require_safe(const std::string& path, const std::string& origin) {
  const filesystem::path parts(path);
  bool safe = !path.empty() && path.size() < 512 && !parts.is_absolute() && path.find('\\') == std::string::npos;
  for (const char c : path) safe = safe && static_cast<unsigned char>(c) >= 0x20;
  for (const auto& part : parts) safe = safe && part != ".." && part != "." && !part.empty();
  if (!safe) throw base::Error("{}: the file name {} would leave the model's folder", origin, Json(path).dump());
}

/// What the headers of an answer say about a file.
struct Promised {
  std::string commit, linked_etag, etag;
  void note(const std::string& name, std::string value) {
    if (value.starts_with("W/")) value.erase(0, 2);
    std::erase(value, '"');
    // The first answer is the hub's own; those of a store that it points to have other tags.
    if (name == "x-repo-commit" && commit.empty()) commit = value;
    if (name == "x-linked-etag" && linked_etag.empty()) linked_etag = value;
    if (name == "etag" && etag.empty()) etag = value;
  }
};

bool is_right(const filesystem::path& path, const HubFile& file) {
  std::error_code ignored;
  if (!filesystem::is_regular_file(path, ignored)) return false;
  if (file.bytes >= 0 && static_cast<int64_t>(filesystem::file_size(path, ignored)) != file.bytes) return false;
  if (!file.sha256.empty()) return sha256_of_file(path) == file.sha256;
  return !file.git_blob.empty() && git_blob_of(path) == file.git_blob;
}

void check(const filesystem::path& path, HubFile file, const Promised& promised, const std::string& url) {
  if (file.sha256.empty() && is_hex(promised.linked_etag, 64)) file.sha256 = promised.linked_etag;
  if (file.sha256.empty() && file.git_blob.empty() && is_hex(promised.etag, 40)) file.git_blob = promised.etag;
  std::error_code ignored;
  const auto bytes = static_cast<int64_t>(filesystem::file_size(path, ignored));
  const bool is_checked = !file.sha256.empty() || !file.git_blob.empty();
  if ((file.bytes >= 0 && bytes != file.bytes) || (is_checked && !is_right(path, file))) {
    filesystem::remove(path, ignored);
    throw base::Error("{}: got {} bytes whose checksum or size is not what the server announced; nothing is kept of it",
                      url, bytes);
  }
}

void fetch_file(const HubId& id, const HubRevision& revision, const HubFile& file, const filesystem::path& folder,
                const PullObserver& observer) {
  const filesystem::path path = folder / file.path;
  if (is_right(path, file)) return;
  base::create_folder(path.parent_path());
  const std::string url = fmt::format("{}/{}/resolve/{}/{}", server(), id.name, revision.commit, escaped(file.path));
  FetchOptions options = request_options();
  options.largest_bytes = file.bytes >= 0 ? file.bytes : kLargestFile;
  options.progress = [&](int64_t done, int64_t total) {
    observer({"downloading " + file.path, done, file.bytes > 0 ? file.bytes : total});
  };
  Promised promised;
  options.on_header = [&](const std::string& name, const std::string& value) { promised.note(name, value); };
  observer({"downloading " + file.path, 0, std::max<int64_t>(0, file.bytes)});
  std::error_code ignored;
  // Without a SHA-256 a resumed file could be of two versions.
  if (file.sha256.empty()) filesystem::remove(path.string() + ".part", ignored);
  fetch_url(url, path, file.sha256, options);
  if (!promised.commit.empty() && promised.commit != revision.commit) {
    filesystem::remove(path, ignored);
    throw base::Error("{}: the server sent commit {}, and {} was asked for", url, promised.commit, revision.commit);
  }
  check(path, file, promised, url);
}

bool is_small_file(const std::string& path) {
  static const std::set<std::string> kNames{"config.json",
                                            "generation_config.json",
                                            "tokenizer.json",
                                            "tokenizer_config.json",
                                            "special_tokens_map.json",
                                            "added_tokens.json",
                                            "vocab.json",
                                            "merges.txt",
                                            "vocab.txt",
                                            "tokenizer.model",
                                            "chat_template.jinja",
                                            "chat_template.json",
                                            "modules.json",
                                            "sentence_bert_config.json",
                                            "config_sentence_transformers.json"};
  return kNames.contains(path) || path.ends_with("_Pooling/config.json") || path.ends_with(".tiktoken");
}

bool is_shard(const std::string& path) {
  return path.starts_with("model-") && path.find("-of-") != std::string::npos && path.ends_with(".safetensors");
}

}  // namespace

HubId HubId::parse(std::string_view text) {
  HubId id;
  const size_t at = text.find('@');
  id.name = text.substr(0, at);
  if (at != std::string_view::npos) id.revision = text.substr(at + 1);
  const bool revision_fits = !id.revision.empty() && id.revision.find("..") == std::string::npos &&
                             id.revision.find_first_of(" \t\r\n?#%") == std::string::npos;
  if (!models::is_model_name(id.name) || id.name.find('/') == std::string::npos || !revision_fits) {
    throw base::UsageError("\"hf:{}\" is no repository; expected hf:OWNER/NAME or hf:OWNER/NAME@REVISION", text);
  }
  return id;
}

HubRevision HubRevision::parse(const Json& json, const std::string& origin) {
  if (!json.is_object()) throw base::Error("{}: the answer is no JSON object", origin);
  HubRevision revision;
  revision.commit = base::json_require<std::string>(json, "sha", origin);
  if (!is_hex(revision.commit, 40)) {
    throw base::Error("{}: the answer's commit is {}, expected 40 hexadecimal digits", origin,
                      Json(revision.commit).dump());
  }
  if (const auto card = json.find("cardData"); card != json.end() && card->is_object()) {
    if (const auto licence = card->find("license"); licence != card->end() && licence->is_string()) {
      revision.licence = licence->get<std::string>();
    }
  }
  const auto siblings = json.find("siblings");
  if (siblings == json.end() || !siblings->is_array()) throw base::Error("{}: the answer lists no files", origin);
  for (const Json& sibling : *siblings) {
    if (!sibling.is_object()) throw base::Error("{}: the list of files is damaged", origin);
    HubFile file;
    file.path = base::json_require<std::string>(sibling, "rfilename", origin);
    require_safe(file.path, origin);
    file.bytes = base::json_get<int64_t>(sibling, "size", -1, origin);
    const auto blob = base::json_get<std::string>(sibling, "blobId", "", origin);
    const auto lfs = sibling.find("lfs");
    if (lfs != sibling.end() && lfs->is_object()) {
      file.sha256 = base::json_get<std::string>(*lfs, "sha256", "", origin);
      file.bytes = base::json_get<int64_t>(*lfs, "size", file.bytes, origin);
      if (!is_hex(file.sha256, 64)) throw base::Error("{}: {} has no SHA-256", origin, file.path);
    } else if (is_hex(blob, 40)) {
      file.git_blob = blob;
    }
    revision.files.push_back(std::move(file));
  }
  return revision;
}

std::vector<HubFile> needed_files(const HubRevision& revision, const std::string& wanted, const std::string& origin) {
  const auto has = [&](std::string_view path) {
    return std::ranges::find(revision.files, path, &HubFile::path) != revision.files.end();
  };
  std::vector<HubFile> small, weights, gguf;
  for (const HubFile& file : revision.files) {
    const std::string& path = file.path;
    const bool is_whole = path == "model.safetensors";
    const bool is_sharded = !has("model.safetensors") && (path == "model.safetensors.index.json" || is_shard(path));
    if (is_small_file(path)) small.push_back(file);
    if (wanted.empty() && (is_whole || is_sharded)) weights.push_back(file);
    if (path.ends_with(".gguf")) gguf.push_back(file);
  }
  if (!weights.empty()) {
    small.insert(small.end(), weights.begin(), weights.end());
    return small;
  }
  std::string names;
  for (const HubFile& file : gguf) {
    if (file.path == wanted || (wanted.empty() && gguf.size() == 1)) return {file};
    names += (names.empty() ? "" : ", ") + file.path;
  }
  if (gguf.empty()) throw base::Error("{}: the repository has neither safetensors nor a GGUF file", origin);
  throw base::UsageError("{}: choose one of its GGUF files with --file: {}", origin, names);
}

HubRevision fetch_repository(const HubId& id, const std::string& wanted, const filesystem::path& folder,
                             const PullObserver& observer) {
  base::create_folder(folder);
  const std::string url =
      fmt::format("{}/api/models/{}/revision/{}?blobs=true", server(), id.name, escaped(id.revision));
  const filesystem::path listing = folder / "listing.json";
  std::error_code ignored;
  for (const char* ending : {"", ".part"}) filesystem::remove(listing.string() + ending, ignored);
  observer({"asking for the list of files", 0, 0});
  FetchOptions options = request_options();
  options.largest_bytes = kLargestListing;
  fetch_url(url, listing, "", options);
  const std::string answer = base::read_file(listing);
  filesystem::remove(listing, ignored);
  HubRevision revision = HubRevision::parse(base::parse_json(answer, url), url);
  for (const HubFile& file : needed_files(revision, wanted, "hf:" + id.name)) {
    fetch_file(id, revision, file, folder, observer);
  }
  return revision;
}

}  // namespace fledge::train
