#include <algorithm>
#include <deque>
#include <mutex>

#include "base/error.h"
#include "base/json.h"
#include "cli/adapter_options.h"
#include "cli/drafting.h"
#include "cli/loaded_model.h"
#include "cli/serve.h"
#include "infer/batch_engine.h"
#include "infer/constraint/constraint.h"
#include "infer/embedder.h"
#include "nn/text/chat_encoder.h"
#include "nn/text/chat_template.h"
#include "serve/api_error.h"
#include "serve/text_run.h"

namespace fledge::cli {
namespace {

/// "NAME=MODEL" as a name and a model; where there is no name, or all of it is a path, the name is empty.
std::pair<std::string, std::string> split_name(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || std::filesystem::exists(text)) return {"", text};
  return {text.substr(0, equals), text.substr(equals + 1)};
}

/// "models/smollm2/" and "models/smollm2": the folder's name; of a run's checkpoint the run's; of a GGUF file its own
/// without the ending.
std::string name_of_model(const std::string& path) {
  const std::filesystem::path whole = std::filesystem::absolute(path).lexically_normal();
  std::string name = (whole.extension() == ".gguf" ? whole.stem() : whole.filename()).string();
  if (name.empty()) name = whole.parent_path().filename().string();
  return name.empty() ? "model" : name;
}

/// An engine with the models that it works on.
class OwningEngine : public infer::TextEngine {
 public:
  OwningEngine(std::shared_ptr<OpenedModel> opened, const infer::BatchOptions& options, Drafting drafting)
      : opened_(std::move(opened)),
        draft_model_(std::move(drafting.model)),
        engine_(opened_->model(), opened_->memory(), options, std::move(drafting.drafter)) {}
  RequestId submit(infer::Request request, std::shared_ptr<infer::RequestListener> listener) override {
    return engine_.submit(std::move(request), std::move(listener));
  }
  void cancel(RequestId id) override { engine_.cancel(id); }
  infer::EngineStatistics statistics() const override { return engine_.statistics(); }
  int64_t context_length() const override { return engine_.context_length(); }
  int64_t vocabulary_size() const override { return engine_.vocabulary_size(); }

 private:
  std::shared_ptr<OpenedModel> opened_, draft_model_;
  infer::BatchEngine engine_;
};

/// The engine of the base, with an adapter chosen for every request.
class AdapterEngine : public infer::TextEngine {
 public:
  AdapterEngine(std::shared_ptr<infer::TextEngine> base, const grad::AdapterIdentity& adapter)
      : base_(std::move(base)), adapter_(adapter) {}
  RequestId submit(infer::Request request, std::shared_ptr<infer::RequestListener> listener) override {
    request.adapter = &adapter_;
    return base_->submit(std::move(request), std::move(listener));
  }
  void cancel(RequestId id) override { base_->cancel(id); }
  infer::EngineStatistics statistics() const override { return base_->statistics(); }
  int64_t context_length() const override { return base_->context_length(); }
  int64_t vocabulary_size() const override { return base_->vocabulary_size(); }

 private:
  std::shared_ptr<infer::TextEngine> base_;
  const grad::AdapterIdentity& adapter_;  ///< lives with the model, which the engine of the base owns
};

/// "NAME=DIR".
models::AdapterSource parse_served_adapter(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size()) {
    throw base::UsageError("--adapter {}: expected NAME=DIR, the name that clients ask for and the adapter's folder",
                           text);
  }
  models::AdapterSource source = parse_adapter(text.substr(equals + 1), {});
  source.name = text.substr(0, equals);
  return source;
}

/// The encoder of sentences as the server wants it.
class OwningEmbedder : public serve::Embedder {
 public:
  OwningEmbedder(std::shared_ptr<OpenedModel> opened, nn::Tokenizer tokenizer)
      : opened_(std::move(opened)),
        embedder_(opened_->model(), opened_->memory(), std::move(tokenizer),
                  infer::EmbeddingSettings::read(opened_->folder, opened_->model()), opened_->activation_type) {}

  std::vector<std::vector<float>> embed(const std::vector<std::vector<int32_t>>& texts) override {
    const int64_t most = embedder_.settings().max_tokens;
    for (size_t i = 0; i < texts.size(); ++i) {
      if (static_cast<int64_t>(texts[i].size()) <= most) continue;
      throw base::UsageError("text {} has {} tokens and this model reads {}: nothing is cut silently, so shorten it", i,
                             texts[i].size(), most);
    }
    return embedder_.embed_ids(texts);
  }
  int64_t dimensions() const override { return embedder_.dimension(); }

 private:
  std::shared_ptr<OpenedModel> opened_;
  infer::Embedder embedder_;
};

/// Compiles JSON Schemas; those of the last requests are kept, as clients send the same one again and again.
class ConstraintMaker {
 public:
  explicit ConstraintMaker(const nn::Tokenizer& tokenizer)
      : vocabulary_(std::make_shared<const infer::VocabularyTrie>(infer::VocabularyTrie::from(tokenizer))) {}

  std::shared_ptr<infer::TokenConstraint> begin(const base::OrderedJson& schema) {
    const std::string text = serve::to_text(schema);
    {
      const std::lock_guard lock(mutex_);
      for (const auto& [known, compiled] : kept_) {
        if (known == text) return compiled->begin();
      }
    }
    auto compiled = infer::CompiledConstraint::make(infer::compile_json_schema(schema), vocabulary_);
    const std::lock_guard lock(mutex_);
    kept_.emplace_front(text, compiled);
    if (kept_.size() > kMostKept) kept_.pop_back();
    return compiled->begin();
  }

 private:
  static constexpr size_t kMostKept = 16;
  std::shared_ptr<const infer::VocabularyTrie> vocabulary_;
  std::mutex mutex_;
  std::deque<std::pair<std::string, std::shared_ptr<infer::CompiledConstraint>>> kept_;
};

/// A model's template with its tokenizer.
struct ChatFormat {
  ChatFormat(nn::ChatTemplate loaded, std::shared_ptr<const nn::Tokenizer> its_tokenizer)
      : chat_template(std::move(loaded)), tokenizer(std::move(its_tokenizer)), encoder(chat_template, *tokenizer) {}
  nn::ChatTemplate chat_template;
  std::shared_ptr<const nn::Tokenizer> tokenizer;
  nn::ChatEncoder encoder;
};

void add_template(serve::ServedModel& served, const OpenedModel& opened) {
  auto loaded = chat_template_of(opened, *served.tokenizer);
  if (!loaded) return;
  const auto format = std::make_shared<const ChatFormat>(std::move(*loaded), served.tokenizer);
  served.template_source = format->chat_template.source();
  served.encode_chat = [format](const serve::ChatInput& input) {
    nn::ChatRenderOptions options;
    options.add_generation_prompt = input.add_generation_prompt;
    options.variables = input.arguments;
    return format->encoder.encode(input.messages, input.tools, options, {}, input.ending);
  };
}

}  // namespace

std::vector<std::shared_ptr<const serve::ServedModel>> open_served_models(const std::string& model,
                                                                          const std::vector<std::string>& adapters,
                                                                          const std::string& draft,
                                                                          const ServeOptions& options) {
  const auto [name, path] = split_name(model);
  std::vector<models::AdapterSource> sources;
  for (const std::string& text : adapters) sources.push_back(parse_served_adapter(text));
  const std::string precision = precision_for_text(options.precision);
  auto opened = std::make_shared<OpenedModel>(open_model(path, precision, false, sources));
  auto served = std::make_shared<serve::ServedModel>();
  served->id = name.empty() ? name_of_model(path) : name;
  served->created = serve::seconds_now();
  served->tokenizer = std::make_shared<const nn::Tokenizer>(open_tokenizer(*opened));
  served->end_tokens = end_tokens_of(*opened, *served->tokenizer);
  if (!opened->model().is_causal()) {
    if (!adapters.empty()) throw base::UsageError("--adapter: {} is an encoder and writes no text", path);
    if (!draft.empty()) throw base::UsageError("--draft: {} is an encoder and writes no text", path);
    opened->activation_type = activation_type_of(options.precision);
    served->embedder = std::make_shared<OwningEmbedder>(opened, open_tokenizer(*opened));
    return {served};
  }
  add_template(*served, *opened);
  const auto constraints = std::make_shared<ConstraintMaker>(*served->tokenizer);
  served->constrain = [constraints](const base::OrderedJson& schema) { return constraints->begin(schema); };
  infer::BatchOptions batch;
  batch.activation_type = opened->activation_type;
  batch.most_running = options.most_running;
  batch.most_waiting = options.most_waiting;
  batch.cache_tokens = options.cache_tokens;
  Drafting drafting = open_drafting(draft, *opened, *served->tokenizer, precision, options.cache_tokens);
  const auto base_engine = std::make_shared<OwningEngine>(opened, batch, std::move(drafting));
  served->engine = base_engine;
  std::vector<std::shared_ptr<const serve::ServedModel>> all{served};
  // A path that means an adapter has opened its base with it: the adapter answers under the path's name.
  const size_t own = opened->loaded.adapters.size() - adapters.size();
  for (size_t index = 0; index < opened->loaded.adapters.size(); ++index) {
    const auto engine = std::make_shared<AdapterEngine>(base_engine, opened->loaded.adapters[index]->identity());
    if (index < own) {
      served->engine = engine;
      continue;
    }
    auto adapted = std::make_shared<serve::ServedModel>(*served);
    adapted->id = sources[index - own].name;
    adapted->engine = engine;
    all.push_back(std::move(adapted));
  }
  return all;
}

}  // namespace fledge::cli
