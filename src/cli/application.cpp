#include "cli/application.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <new>
#include <thread>

#include "base/error.h"
#include "base/terminal.h"
#include "cli/bench.h"
#include "cli/chat.h"
#include "cli/classify.h"
#include "cli/common.h"
#include "cli/compare.h"
#include "cli/data.h"
#include "cli/doctor.h"
#include "cli/embed.h"
#include "cli/evaluate.h"
#include "cli/export.h"
#include "cli/generate.h"
#include "cli/help.h"
#include "cli/inspect.h"
#include "cli/merge.h"
#include "cli/serve.h"
#include "cli/store.h"
#include "cli/tokenizer.h"
#include "cli/train.h"
#include "cli/usage.h"
#include "tensor/process_group.h"

namespace fledge::cli {
namespace {

/// Every verb, in the order of the help.
void add_commands(Verb app, Context& context) {
  add_pull_command(app, context);
  add_list_command(app, context);
  add_show_command(app, context);
  add_rm_command(app, context);
  add_data_command(app, context);
  add_tokenizer_command(app, context);
  add_train_command(app, context);
  add_generate_command(app, context);
  add_chat_command(app, context);
  add_serve_command(app, context);
  add_embed_command(app, context);
  add_classify_command(app, context);
  add_eval_command(app, context);
  add_compare_command(app, context);
  add_merge_command(app, context);
  add_import_command(app, context);
  add_export_command(app, context);
  add_quantize_command(app, context);
  add_logits_command(app, context);
  add_grads_command(app, context);
  add_bench_command(app, context);
  add_doctor_command(app, context);
}

/// Says why the program ends, and ends the other processes of the run.
int report(std::string_view sentence, int exit_code) {
  // Where all processes fail alike, the first one speaks and ends the others, soon enough on a busy machine too.
  if (tensor::launched_rank() > 0) std::this_thread::sleep_for(std::chrono::seconds(2));
  try {
    flush_standard_output();
  } catch (const base::Error&) {
    // The sentence below matters more.
  }
  const base::Terminal terminal = base::describe_terminal(2);
  fmt::print(stderr, "{} {}\n", base::styled("fledge:", base::Style::red, terminal), base::printable(sentence));
  tensor::abandon_processes(exit_code);
  return exit_code;
}

/// Parses and runs; help and version are results like any other.
void parse_and_run(CLI::App& app, Context& context, int argument_count, const char* const* arguments) {
  try {
    app.parse(argument_count, arguments);
  } catch (const CLI::CallForVersion& version) {
    print(fmt::format("{}\n", version.what()));
    return;
  } catch (const CLI::CallForHelp&) {
    print(app.help());
    return;
  } catch (const CLI::ParseError& error) {
    if (context.common.no_color) base::disable_color();
    throw base::UsageError("{}", usage_sentence(app, error));
  }
  if (!context.run) {
    // A name without a command: `fledge` or `fledge data`.
    const auto chosen = app.get_subcommands();
    print(chosen.empty() ? app.help() : chosen.back()->help());
    return;
  }
  apply_common_options(context.common);
  context.run();
}

}  // namespace

int run(int argument_count, const char* const* arguments) {
  try {
    Context context;
    CLI::App app("fledge raises a language model on your own machine, from raw text to conversation.", "fledge");
    app.formatter(std::make_shared<HelpFormatter>(std::min(base::describe_terminal(1).width, 100)));
    app.set_help_flag("-h,--help", "Show this help")->group("Common");
    app.set_version_flag("--version", fmt::format("fledge {}", FLEDGE_VERSION), "Show the version")->group("Common");
    app.require_subcommand(0, 1);
    app.footer("fledge data get austen\nfledge doctor");
    add_common_options(Verb(&app), context);
    add_commands(Verb(&app), context);
    parse_and_run(app, context, argument_count, arguments);
    flush_standard_output();
    return 0;
  } catch (const base::Error& error) {
    return report(error.what(), error.exit_code());
  } catch (const std::bad_alloc&) {
    return report("out of memory", 1);
  } catch (const std::exception& error) {
    return report(fmt::format("unexpected fault: {}", error.what()), 1);
  }
}

}  // namespace fledge::cli
