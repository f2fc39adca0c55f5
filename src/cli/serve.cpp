#include "cli/serve.h"

#include "cli/common.h"
#include "cli/drafting.h"
#include "cli/sampling_options.h"

namespace fledge::cli {

void add_serve_command(Verb app, Context& context) {
  auto options = std::make_shared<ServeOptions>();
  Verb verb = add_verb(app, context, "serve", "Answers over HTTP with OpenAI's API, and shows a page to chat at /.",
                       "fledge serve runs/chat/model --open\n"
                       "fledge serve writer=runs/writer encoder/ --port 8000 --api-key secret\n"
                       "fledge serve smollm2 --adapter poet=runs/poet --adapter clerk=runs/clerk\n"
                       "fledge serve large/ --draft small/");
  verb.group("Use");
  verb.add_option(
          "MODEL", options->models,
          "Folder of a model or of a run, a GGUF file, or a name in the store; NAME=MODEL gives it the name that "
          "clients ask for")
      .required();
  verb.add_option("--adapter", options->adapters,
                  "An adapter in PEFT's format over the first model, under a name of its own that clients ask for; may "
                  "be given several times. Requests for different adapters are worked on in one batch")
      .type_name("NAME=DIR")
      .allow_extra_args(false)
      .group("Adapters");
  const auto add = [&](const char* names, auto& value, const char* type_name, const char* help, const char* group) {
    return verb.add_option(names, value, help).type_name(type_name).group(group);
  };
  add("--port", options->port, "N", "Port; 0 takes a free one and says which (default: 8080)", "Network");
  add("--host", options->host, "ADDRESS", "Address to listen on; 0.0.0.0: all of them (default: 127.0.0.1)", "Network");
  add("--api-key", options->api_key, "KEY", "Answer only those who send this key", "Network").envname("FLEDGE_API_KEY");
  add("--allow-host", options->allowed_hosts, "NAME",
      "A name under which clients may call, beside addresses and localhost; may be given several times", "Network")
      .allow_extra_args(false);
  add("--cors", options->cors_origins, "ORIGIN",
      "A site whose pages may call, such as https://example.org, or *; may be given several times", "Network")
      .allow_extra_args(false);
  add("--connections", options->most_connections, "N", "Connections at once (default: 512)", "Network")
      .in_range(int64_t{1}, int64_t{1} << 16);
  verb.add_flag("--open", options->open, "Open the page in a browser").group("Page");
  add("--state", options->state, "DIR", "Folder of the kept chats (default: $XDG_STATE_HOME/fledge)", "Page");
  verb.add_flag("!--no-chats", options->keep_chats, "Keep no chats").group("Page");
  add("--ui-dir", options->ui_folder, "DIR", "Take the page's files from a folder, for working on them", "Page")
      .existing_directory();
  add("--parallel", options->most_running, "N", "Answers worked on at once, of each model (default: 64)", "Model")
      .in_range(int64_t{1}, int64_t{4096});
  add("--queue", options->most_waiting, "N", "Requests that may wait; more are refused with 429 (default: 512)",
      "Model")
      .in_range(int64_t{1}, int64_t{1} << 20);
  add("--cache-tokens", options->cache_tokens, "N",
      "Tokens whose keys and values are kept, of each model (default: from the memory)", "Model")
      .in_range(int64_t{0}, int64_t{1} << 40);
  add_draft_option(verb, options->draft);
  add_precision_option(verb, options->precision, "auto");
  verb.callback([options, &context] { context.run = [options, &context] { run_serve(*options, context.common); }; });
}

}  // namespace fledge::cli
