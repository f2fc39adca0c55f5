#include "cli/data.h"

#include <fmt/format.h>

#include <memory>

#include "base/json.h"
#include "base/terminal.h"
#include "cli/common.h"
#include "cli/work_progress.h"
#include "train/data/catalogue.h"

namespace fledge::cli {
namespace {

using base::format_bytes;

base::OrderedJson corpus_json(const train::Corpus& corpus) {
  auto files = base::OrderedJson::array();
  for (const train::CorpusFile& file : corpus.files)
    files.push_back({{"name", file.name}, {"bytes", file.bytes}, {"sha256", file.sha256}});
  return {{"name", corpus.name},       {"description", corpus.description},       {"licence", corpus.licence},
          {"source", corpus.source()}, {"download_bytes", corpus.download_bytes}, {"files", files}};
}

std::string corpus_text(const train::Corpus& corpus, const base::Terminal& terminal) {
  const size_t width = static_cast<size_t>(std::min(terminal.width, 100));
  std::string text = base::styled(fmt::format("{:<13}", corpus.name), base::Style::bold, terminal) +
                     base::wrapped(corpus.description, width, 13) + "\n";
  const auto row = [&](std::string_view name, const std::string& value) {
    text += fmt::format("             {:<9}", name) + base::wrapped(value, width, 22) + "\n";
  };
  row("source", fmt::format("{}, {}", corpus.source(), format_bytes(static_cast<double>(corpus.download_bytes))));
  row("licence", corpus.licence);
  for (const train::CorpusFile& file : corpus.files)
    row("file",
        fmt::format("{}, {}, SHA-256 {}", file.name, format_bytes(static_cast<double>(file.bytes)), file.sha256));
  return text;
}

}  // namespace

void run_data_list(const DataListOptions& options) {
  if (options.json) {
    auto list = base::OrderedJson::array();
    for (const train::Corpus& corpus : train::catalogue()) list.push_back(corpus_json(corpus));
    return print(list.dump(2) + "\n");
  }
  const base::Terminal terminal = base::describe_terminal(1);
  for (const train::Corpus& corpus : train::catalogue()) print(corpus_text(corpus, terminal));
}

void run_data_get(const DataGetOptions& options, const CommonOptions& common) {
  const train::Corpus& corpus = train::find_corpus(options.name);
  const std::filesystem::path out =
      options.out.empty() ? std::filesystem::path("data") / corpus.name : std::filesystem::path(options.out);
  std::vector<std::filesystem::path> files;
  {
    WorkProgress progress("get " + corpus.name, common);
    files = train::get_corpus(corpus, out, [&](const train::GetProgress& state) {
      base::ProgressState shown{
          static_cast<double>(state.done), static_cast<double>(state.total), {{"", state.stage}}, -1.0};
      if (state.total > 0)
        shown.fields.push_back({"", fmt::format("{} of {}", format_bytes(shown.done), format_bytes(shown.total))});
      progress.update(std::move(shown));
    });
    progress.finish("");
  }
  auto names = base::OrderedJson::array();
  for (const std::filesystem::path& file : files) names.push_back(file.string());
  if (options.json) return print(base::OrderedJson{{"name", corpus.name}, {"files", names}}.dump(2) + "\n");
  for (const std::filesystem::path& file : files) print(file.string() + "\n");
}

void add_data_command(Verb app, Context& context) {
  Verb data = add_verb_family(app, "Make", "data", "Gets texts and prepares them for training.",
                              "fledge data list\nfledge data get austen");

  auto list_options = std::make_shared<DataListOptions>();
  Verb list = add_verb(data, context, "list", "Lists the texts that fledge can get by name.", "fledge data list");
  add_json_option(list, list_options->json, "The catalogue as a JSON array");
  list.callback([list_options, &context] { context.run = [list_options] { run_data_list(*list_options); }; });

  auto get_options = std::make_shared<DataGetOptions>();
  Verb get = add_verb(data, context, "get", "Gets a text by its name, checked against its SHA-256.",
                      "fledge data get austen --out data/austen");
  get.add_option("NAME", get_options->name, "Name in the list of `fledge data list`").required();
  get.add_option("--out", get_options->out, "Folder that receives the files (default: data/NAME)")
      .type_name("DIR")
      .group("Output");
  add_json_option(get, get_options->json, "The paths as one JSON object");
  get.callback([get_options, &context] {
    context.run = [get_options, &context] { run_data_get(*get_options, context.common); };
  });

  add_data_inspect_command(data, context);
  add_data_prepare_command(data, context);
  add_data_augment_command(data, context);
}

}  // namespace fledge::cli
