#pragma once

#include <string>

namespace fledge::cli {

class Verb;
struct Context;
struct CommonOptions;

struct PullCommandOptions {
  std::string model;  ///< a name of the catalogue, or hf:OWNER/NAME[@REVISION]
  std::string file;
  bool again = false;
  bool json = false;
};

struct StoreOptions {
  std::string model;
  bool json = false;
};

void add_pull_command(Verb app, Context& context);
void add_list_command(Verb app, Context& context);
void add_show_command(Verb app, Context& context);
void add_rm_command(Verb app, Context& context);

void run_pull(const PullCommandOptions& options, const CommonOptions& common);
void run_list(const StoreOptions& options);
void run_show(const StoreOptions& options);
void run_rm(const StoreOptions& options);

}  // namespace fledge::cli
