#include "serve/api.h"

#include <algorithm>

#include "base/log.h"
#include "serve/api_error.h"

namespace fledge::serve {
namespace {

/// Adds the headers that every answer has, and counts it.
class GuardedReply : public HttpReply {
 public:
  GuardedReply(std::shared_ptr<HttpReply> inner, std::string route, std::vector<HttpHeader> headers, Metrics& metrics)
      : inner_(std::move(inner)), route_(std::move(route)), headers_(std::move(headers)), metrics_(metrics) {}

  void send(HttpResponse response) override { inner_->send(dressed(std::move(response))); }
  void begin(HttpResponse head) override { inner_->begin(dressed(std::move(head))); }
  void write(std::string piece) override { inner_->write(std::move(piece)); }
  void end() override { inner_->end(); }
  bool client_left() const override { return inner_->client_left(); }
  void on_client_left(std::function<void()> callback) override { inner_->on_client_left(std::move(callback)); }

 private:
  HttpResponse dressed(HttpResponse response) {
    metrics_.count_response(route_, response.status);
    response.headers.insert(response.headers.end(), headers_.begin(), headers_.end());
    return response;
  }
  std::shared_ptr<HttpReply> inner_;
  std::string route_;
  std::vector<HttpHeader> headers_;
  Metrics& metrics_;
};

/// Compares without telling by its time how much was right.
bool same_secret(std::string_view a, std::string_view b) {
  unsigned difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < a.size(); ++i) {
    difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b.empty() ? 0 : b[i % b.size()]);
  }
  return difference == 0;
}

std::string_view without_scheme(std::string_view origin) {
  const size_t scheme = origin.find("://");
  return scheme == std::string_view::npos ? origin : origin.substr(scheme + 3);
}

}  // namespace

const Api::Route Api::kRoutes[] = {
    {"GET", "/v1/models", &Api::models, false},
    {"GET", "/v1/models/*", &Api::model, false},
    {"POST", "/v1/chat/completions", &Api::chat_completions, false},
    {"POST", "/v1/completions", &Api::completions, false},
    {"POST", "/v1/embeddings", &Api::embeddings, false},
    {"POST", "/tokenize", &Api::tokenize, false},
    {"POST", "/detokenize", &Api::detokenize, false},
    {"POST", "/apply-template", &Api::apply_template, false},
    {"GET", "/health", &Api::health, true},
    {"GET", "/metrics", &Api::metrics, false},
    {"*", "/api/chats", &Api::chats, false},
    {"*", "/api/chats/*", &Api::chats, false},
};

Api::Api(ApiOptions options, std::vector<std::shared_ptr<const ServedModel>> models)
    : options_(std::move(options)), models_(std::move(models)), web_(options_.ui_folder) {
  if (!options_.chats_file.empty()) store_ = std::make_unique<ChatStore>(options_.chats_file);
}

Api::~Api() {
  // Runs that are still in an engine go away with it, and what they post goes nowhere.
  events_.stop();
}

bool Api::is_allowed_origin(std::string_view origin) const {
  return std::ranges::any_of(options_.cors_origins,
                             [&](const std::string& allowed) { return allowed == "*" || allowed == origin; });
}

/// A page of another site must not use the server through its visitor's browser: not under a name that it made point
/// here (Host), and not by a plain cross-site request (Origin).
void Api::check_origin(const HttpRequest& request) const {
  const std::string_view host = request.header("host");
  if (!is_trusted_host(host, options_.allowed_hosts)) {
    throw ApiError(403,
                   fmt::format("the name \"{}\" is not one of this server's; start it with --allow-host NAME to use it",
                               host.substr(0, 100)),
                   {}, "host_not_allowed");
  }
  const std::string_view origin = request.header("origin");
  if (origin.empty() || without_scheme(origin) == host || is_allowed_origin(origin)) return;
  throw ApiError(403,
                 fmt::format("pages of {} may not use this server; start it with --cors ORIGIN to let them",
                             origin.substr(0, 100)),
                 {}, "origin_not_allowed");
}

void Api::check_key(const HttpRequest& request) const {
  if (options_.api_key.empty()) return;
  std::string_view given = request.header("authorization");
  if (given.starts_with("Bearer ") || given.starts_with("bearer ")) given.remove_prefix(7);
  if (given.empty()) given = request.header("x-api-key");
  if (given.empty()) {
    throw ApiError(401, "this server asks for its key: send it as \"Authorization: Bearer KEY\"", {},
                   "missing_api_key");
  }
  if (!same_secret(given, options_.api_key)) throw ApiError(401, "the API key is wrong", {}, "invalid_api_key");
}

void Api::handle(HttpRequest request, std::shared_ptr<HttpReply> reply) {
  std::string route = "other";
  for (const Route& known : kRoutes) {
    std::string_view path = known.path;
    const bool open_end = path.ends_with('*');
    if (open_end) path.remove_suffix(1);
    if (open_end ? request.path.starts_with(path) && request.path.size() > path.size() : request.path == path) {
      route = known.path;
    }
  }
  std::vector<HttpHeader> headers{{"X-Content-Type-Options", "nosniff"}, {"Referrer-Policy", "no-referrer"}};
  const std::string origin(request.header("origin"));
  if (!origin.empty() && is_allowed_origin(origin)) {
    headers.push_back({"Access-Control-Allow-Origin", origin});
    headers.push_back({"Access-Control-Expose-Headers", "x-fledge-ignored, Retry-After"});
    headers.push_back({"Vary", "Origin"});
  }
  const auto guarded = std::make_shared<GuardedReply>(std::move(reply), route, std::move(headers), metrics_);
  try {
    check_origin(request);
    dispatch(request, guarded);
  } catch (const ApiError& error) {
    guarded->send(error_response(error));
  } catch (const base::UsageError& error) {
    guarded->send(error_response(ApiError(400, error.what())));
  } catch (const std::exception& error) {
    base::log_warning("{} {}: {}", request.method, route, error.what());
    guarded->send(error_response(ApiError(500, error.what())));
  }
}

void Api::dispatch(const HttpRequest& request, const std::shared_ptr<HttpReply>& reply) {
  if (request.method == "OPTIONS") {
    HttpResponse answer{204, {{"Access-Control-Allow-Methods", "GET, POST, PATCH, DELETE"}}, {}};
    answer.headers.push_back({"Access-Control-Allow-Headers", "Authorization, Content-Type"});
    answer.headers.push_back({"Access-Control-Max-Age", "600"});
    return reply->send(std::move(answer));
  }
  bool known_path = false;
  const std::string_view method = request.method == "HEAD" ? "GET" : std::string_view(request.method);
  for (const Route& route : kRoutes) {
    std::string_view path = route.path;
    const bool open_end = path.ends_with('*');
    if (open_end) path.remove_suffix(1);
    const bool fits =
        open_end ? request.path.starts_with(path) && request.path.size() > path.size() : request.path == path;
    if (!fits) continue;
    known_path = true;
    if (route.method != std::string_view("*") && route.method != method) continue;
    if (!route.open) check_key(request);
    return (this->*route.handle)(request, reply);
  }
  if (known_path) throw ApiError(405, fmt::format("{} does not take {}", request.path, request.method));
  if (method == "GET") {
    if (auto file = web_.find(request)) return reply->send(std::move(*file));
  }
  throw ApiError(404, fmt::format("there is nothing at {} {}", request.method, request.path.substr(0, 200)));
}

std::shared_ptr<const ServedModel> Api::find_model(const std::string& id) const {
  // Saying which model answered matters more than pleasing clients with a name built in: only no name means the first.
  if (id.empty()) return models_.front();
  const auto found = std::ranges::find_if(models_, [&](const auto& model) { return model->id == id; });
  if (found != models_.end()) return *found;
  std::string names;
  for (const auto& model : models_) names += (names.empty() ? "" : ", ") + model->id;
  throw ApiError(404, fmt::format("the model \"{}\" is not served here; these are: {}", id.substr(0, 100), names),
                 "model", "model_not_found");
}

std::shared_ptr<const ServedModel> Api::text_model(const std::string& id) const {
  auto model = find_model(id);
  if (!model->engine) throw ApiError(400, fmt::format("the model \"{}\" does not write text", model->id), "model");
  return model;
}

}  // namespace fledge::serve
