#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "serve/served_model.h"

namespace fledge::cli {

class Verb;
struct Context;
struct CommonOptions;

struct ServeOptions {
  std::vector<std::string> models;    ///< MODEL or NAME=MODEL
  std::vector<std::string> adapters;  ///< "NAME=DIR", over the first model
  std::string draft;                  ///< what guesses ahead for the first model; empty: nothing
  std::string host = "127.0.0.1";
  uint16_t port = 8080;
  std::string api_key;
  std::vector<std::string> allowed_hosts, cors_origins;
  std::string state;      ///< folder of the kept chats; empty: the user's state folder
  std::string ui_folder;  ///< the page's files from a folder
  bool keep_chats = true;
  bool open = false;
  std::string precision = "auto";
  int64_t most_running = 64, most_waiting = 512, cache_tokens = 0;
  int64_t most_connections = 512;
};

void add_serve_command(Verb app, Context& context);

/// Answers requests until the user stops it.
void run_serve(const ServeOptions& options, const CommonOptions& common);

/// Opens MODEL or NAME=MODEL with its tokenizer, template and engine; with the adapters, each of which is a model of
/// its own to clients and shares all of that with the base. `draft`: see open_drafting(); empty: none.
std::vector<std::shared_ptr<const serve::ServedModel>> open_served_models(const std::string& model,
                                                                          const std::vector<std::string>& adapters,
                                                                          const std::string& draft,
                                                                          const ServeOptions& options);

}  // namespace fledge::cli
