#pragma once

#include <memory>
#include <string>
#include <vector>

#include "serve/chat_store.h"
#include "serve/event_thread.h"
#include "serve/http.h"
#include "serve/metrics.h"
#include "serve/requests.h"
#include "serve/served_model.h"
#include "serve/web_files.h"

namespace fledge::serve {

struct ApiOptions {
  std::string api_key;                     ///< empty: none is asked for
  std::vector<std::string> allowed_hosts;  ///< names of this machine, beside addresses and localhost
  std::vector<std::string> cors_origins;   ///< pages of other sites that may call; "*": any
  std::filesystem::path ui_folder;         ///< the web page's files; empty: those in the binary
  std::filesystem::path chats_file;        ///< SQLite; empty: chats are not kept
};

/// Everything that the server answers: OpenAI's API, fledge's own, the kept chats and the web page. handle() may be
/// called from several threads.
class Api {
 public:
  Api(ApiOptions options, std::vector<std::shared_ptr<const ServedModel>> models);
  ~Api();

  void handle(HttpRequest request, std::shared_ptr<HttpReply> reply);
  /// Where /metrics gets the connections' counters from.
  void set_http_counters(std::function<HttpCounters()> counters) { http_counters_ = std::move(counters); }

 private:
  using Method = void (Api::*)(const HttpRequest&, const std::shared_ptr<HttpReply>&);
  struct Route {
    const char* method;
    const char* path;
    Method handle;
    bool open;  ///< answers without a key
  };
  static const Route kRoutes[];

  void check_origin(const HttpRequest& request) const;
  void check_key(const HttpRequest& request) const;
  bool is_allowed_origin(std::string_view origin) const;
  void dispatch(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply);
  std::shared_ptr<const ServedModel> find_model(const std::string& id) const;
  std::shared_ptr<const ServedModel> text_model(const std::string& id) const;

  void models(const HttpRequest&, const std::shared_ptr<HttpReply>& reply);
  void model(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply);
  void chat_completions(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply);
  void completions(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply);
  void embeddings(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply);
  void tokenize(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply);
  void detokenize(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply);
  void apply_template(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply);
  void health(const HttpRequest&, const std::shared_ptr<HttpReply>& reply);
  void metrics(const HttpRequest&, const std::shared_ptr<HttpReply>& reply);
  void chats(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply);

  ApiOptions options_;
  std::vector<std::shared_ptr<const ServedModel>> models_;
  WebFiles web_;
  std::unique_ptr<ChatStore> store_;
  Metrics metrics_;
  std::function<HttpCounters()> http_counters_;
  EventThread events_;
};

}  // namespace fledge::serve
