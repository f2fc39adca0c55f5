// fledge data inspect
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/json.h"
#include "base/terminal.h"
#include "cli/common.h"
#include "cli/data.h"
#include "cli/work_progress.h"
#include "train/data/chat_inspection.h"

namespace fledge::cli {
namespace {

constexpr size_t kBins = 10;

train::ChatPurpose purpose_named(const std::string& objective) {
  if (objective == "kto") return train::ChatPurpose::judgements;
  return objective == "chat" ? train::ChatPurpose::conversations : train::ChatPurpose::preferences;
}

int64_t quantile(const std::vector<int64_t>& lengths, double share) {
  if (lengths.empty()) return 0;
  return lengths[static_cast<size_t>(share * static_cast<double>(lengths.size() - 1))];
}

std::string form_of(const train::ChatInspection& result) {
  return result.report.format ? std::string(train::name_of(*result.report.format)) : "none";
}

base::OrderedJson as_json(const train::ChatInspection& result, const train::ChatModel& model) {
  auto shown = base::OrderedJson::array();
  for (const train::ShownChat& chat : result.shown) {
    auto parts = base::OrderedJson::array();
    for (const train::ShownText& part : chat.parts)
      parts.push_back({{"text", part.text}, {"trained", part.is_trained}});
    shown.push_back(
        {{"record", chat.title}, {"tokens", chat.tokens}, {"trained_tokens", chat.trained_tokens}, {"parts", parts}});
  }
  auto ends = base::OrderedJson::array();
  for (const int32_t id : result.end_of_turn) ends.push_back(model.tokenizer->token_bytes(id));
  return {{"form", form_of(result)},
          {"records", result.report.records},
          {"skipped", result.report.broken + result.report.equal_answers},
          {"faults", result.report.first_faults},
          {"sequences", result.sequences},
          {"turns", result.turns},
          {"tokens", result.tokens},
          {"trained_tokens", result.trained_tokens},
          {"lengths",
           {{"median", quantile(result.lengths, 0.5)},
            {"p90", quantile(result.lengths, 0.9)},
            {"longest", quantile(result.lengths, 1.0)},
            {"histogram", train::histogram(result.lengths, kBins)}}},
          {"cut", result.cut},
          {"left_out", result.left_out},
          {"duplicates", result.duplicates},
          {"end_of_turn", ends},
          {"template_marks_answers", result.has_marks},
          {"warnings", result.warnings},
          {"examples", shown}};
}

/// The text with the trained parts in colour, or between marks where there is none.
std::string shown_text(const train::ShownChat& chat, const base::Terminal& terminal) {
  std::string text;
  for (const train::ShownText& part : chat.parts) {
    const std::string safe = base::printable(part.text);
    if (!part.is_trained) {
      text += base::styled(safe, base::Style::dim, terminal);
    } else {
      text += terminal.color ? base::styled(safe, base::Style::green, terminal) : "[[" + safe + "]]";
    }
  }
  return text;
}

std::string histogram_text(const train::ChatInspection& result, const base::Terminal& terminal) {
  constexpr size_t kWidth = 40;
  const std::vector<int64_t> counts = train::histogram(result.lengths, kBins);
  const int64_t most = std::max<int64_t>(1, *std::ranges::max_element(counts));
  const int64_t longest = result.lengths.empty() ? 0 : result.lengths.back();
  std::string text;
  for (size_t bin = 0; bin < kBins; ++bin) {
    const auto filled = static_cast<size_t>(counts[bin] * static_cast<int64_t>(kWidth) / most);
    const int64_t end = (longest + 1) * static_cast<int64_t>(bin + 1) / static_cast<int64_t>(kBins);
    std::string bar;
    for (size_t index = 0; index < filled; ++index) bar += terminal.unicode ? "█" : "#";
    text += fmt::format("  up to {:>7} tokens {:>10} {}\n", base::with_separators(end),
                        base::with_separators(counts[bin]), bar);
  }
  return text;
}

void print_inspection(const train::ChatInspection& result, const train::ChatModel& model) {
  const base::Terminal terminal = base::describe_terminal(1);
  for (const train::ShownChat& chat : result.shown) {
    print(base::styled(fmt::format("{}: {} tokens, {} trained", chat.title, chat.tokens, chat.trained_tokens),
                       base::Style::bold, terminal) +
          "\n" + shown_text(chat, terminal) + "\n\n");
  }
  const double share =
      100.0 * static_cast<double>(result.trained_tokens) / static_cast<double>(std::max<int64_t>(1, result.tokens));
  print(fmt::format("{} records of the form {}: {} sequences with {} trained turns\n",
                    base::with_separators(result.report.records), form_of(result),
                    base::with_separators(result.sequences), base::with_separators(result.turns)));
  print(fmt::format("{} tokens, {} of them trained ({:.1f} %), told by {}\n", base::with_separators(result.tokens),
                    base::with_separators(result.trained_tokens), share,
                    result.has_marks ? "the template's marks" : "comparing renderings of the template"));
  std::string ends;
  for (const int32_t id : result.end_of_turn)
    ends += (ends.empty() ? "" : ", ") + base::printable(model.tokenizer->token_bytes(id));
  print(fmt::format("answers end with {}\n", ends.empty() ? "nothing that a model could learn" : ends));
  print(fmt::format(
      "lengths: median {}, nine of ten at most {}, longest {}\n", base::with_separators(quantile(result.lengths, 0.5)),
      base::with_separators(quantile(result.lengths, 0.9)), base::with_separators(quantile(result.lengths, 1.0))));
  print(histogram_text(result, terminal));
  for (const std::string& warning : result.warnings)
    print(base::styled("warning: ", base::Style::yellow, terminal) + base::printable(warning) + "\n");
  for (const std::string& fault : result.report.first_faults) print("  " + base::printable(fault) + "\n");
}

}  // namespace

void run_data_inspect(const DataInspectOptions& options, const CommonOptions& common) {
  const train::ChatModel model = train::open_chat_model(options.model, options.chat_template, options.add_tokens);
  train::ChatInspectionOptions settings;
  settings.purpose = purpose_named(options.objective);
  settings.turns = options.train_on == "last" ? train::TrainedTurns::last : train::TrainedTurns::all;
  settings.examples = options.examples;
  settings.strict = options.strict;
  settings.sequence_length = options.sequence_length;
  train::ChatInspection result;
  {
    WorkProgress progress("inspect", common);
    settings.progress = [&](int64_t done, int64_t total) {
      progress.update({static_cast<double>(done), static_cast<double>(total), {}, -1.0});
    };
    result = train::inspect_chats(options.file, model, settings);
    progress.finish("");
  }
  if (options.json)
    return print(as_json(result, model).dump(2, ' ', false, base::OrderedJson::error_handler_t::replace) + "\n");
  print_inspection(result, model);
}

void add_data_inspect_command(Verb parent, Context& context) {
  auto options = std::make_shared<DataInspectOptions>();
  Verb verb = add_verb(parent, context, "inspect",
                       "Shows what a chat file would teach a model: its conversations through the model's template, "
                       "the trained tokens marked, with counts, lengths and warnings.",
                       "fledge data inspect chats.jsonl --model smollm2");
  verb.add_option("FILE", options->file, "JSON lines or a JSON array, perhaps compressed (.gz)").required();
  verb.add_option("--model", options->model, "Model whose tokenizer and chat template are used")
      .type_name("MODEL")
      .required()
      .group("Input");
  verb.add_option("--template", options->chat_template, "chatml, zephyr or a file, instead of the model's own template")
      .type_name("NAME")
      .group("Input");
  verb.add_option("--add-tokens", options->add_tokens, "Special tokens that the vocabulary lacks")
      .type_name("TOKEN...")
      .group("Input");
  verb.add_option("--objective", options->objective, "What would be learned: chat, dpo, orpo or kto (default: chat)")
      .type_name("NAME")
      .one_of({"chat", "dpo", "orpo", "kto"})
      .group("Input");
  verb.add_option("--train-on", options->train_on, "The assistant's turns: all or last (default: all)")
      .type_name("TURNS")
      .one_of({"all", "last"})
      .group("Input");
  verb.add_option("--sequence-length", options->sequence_length,
                  "Tokens of a training sequence (default: the model's context)")
      .type_name("N")
      .in_range(int64_t{1}, int64_t{1} << 30)
      .group("Input");
  verb.add_option("--examples", options->examples, "How many are shown (default: 3)")
      .type_name("N")
      .in_range(int64_t{0}, int64_t{1000000})
      .group("Output");
  verb.add_flag("--strict", options->strict,
                "Stop at the first record that cannot be used, as `fledge train --strict` does")
      .group("Input");
  add_json_option(verb, options->json, "Everything as one JSON object");
  verb.callback(
      [options, &context] { context.run = [options, &context] { run_data_inspect(*options, context.common); }; });
}

}  // namespace fledge::cli
