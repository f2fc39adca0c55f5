#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_fwd.h"
#include "train/store/pull_progress.h"

namespace fledge::train {

/// A repository on a server that speaks Hugging Face's protocol: OWNER/NAME[@REVISION].
struct HubId {
  std::string name;
  std::string revision = "main";

  /// Throws UsageError where the text is none.
  static HubId parse(std::string_view text);
};

/// A file of a repository.
struct HubFile {
  std::string path;
  int64_t bytes = -1;    ///< -1: the server did not say
  std::string sha256;    ///< of large files
  std::string git_blob;  ///< git's SHA-1 of other files
};

/// A repository at one commit.
struct HubRevision {
  std::string commit;
  std::string licence;
  std::vector<HubFile> files;

  /// From the answer of /api/models/OWNER/NAME/revision/REVISION. Throws Error where it is not as expected, or where a
  /// file's path would leave the folder.
  static HubRevision parse(const base::Json& json, const std::string& origin);
};

/// The files that a model needs: configuration, tokenizer, chat template, pooling, and the weights as safetensors or
/// else one GGUF file (`wanted` names it where there are several). Throws Error where there are no weights to use.
std::vector<HubFile> needed_files(const HubRevision& revision, const std::string& wanted, const std::string& origin);

/// Downloads a repository's needed files into `folder`. Files that are there and right are kept, and a download that
/// broke off goes on. The server is $HF_ENDPOINT (https://huggingface.co), $HF_TOKEN is sent to it where set.
HubRevision fetch_repository(const HubId& id, const std::string& wanted, const std::filesystem::path& folder,
                             const PullObserver& observer);

}  // namespace fledge::train
