// fledge data prepare
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/json.h"
#include "base/terminal.h"
#include "cli/common.h"
#include "cli/data.h"
#include "cli/work_progress.h"
#include "train/data/tokenizer_adapter.h"
#include "train/tokenizer_source.h"

namespace fledge::cli {
namespace {

base::OrderedJson index_json(const train::DataIndex& index, const std::string& out) {
  base::OrderedJson splits;
  for (const auto& [name, split] : index.splits)
    splits[name] = {{"tokens", split.counts.tokens},
                    {"documents", split.counts.documents},
                    {"text_bytes", split.counts.text_bytes},
                    {"shards", split.shards.size()}};
  return {{"folder", out}, {"vocabulary_size", index.tokenizer.vocabulary_size}, {"splits", splits}};
}

}  // namespace

void run_data_prepare(const DataPrepareOptions& options, const CommonOptions& common) {
  train::PrepareOptions prepare;
  prepare.inputs.assign(options.inputs.begin(), options.inputs.end());
  prepare.out = options.out;
  prepare.validation_fraction = options.val_fraction;
  prepare.documents.text_key = options.text_key;
  prepare.documents.separator = options.separator;

  train::DataIndex index;
  {
    WorkProgress progress("prepare", common);
    prepare.progress = [&](const train::PrepareProgress& state) {
      const double seconds = std::max(progress.seconds(), 1e-3);
      progress.update({static_cast<double>(state.bytes_done),
                       static_cast<double>(state.bytes_total),
                       {{"", base::with_separators(state.tokens) + " tokens"},
                        {"", base::with_separators(state.documents) + " documents"},
                        {"", base::format_bytes(static_cast<double>(state.bytes_done) / seconds) + "/s"}},
                       -1.0});
    };
    const auto tokenizer = std::make_shared<const nn::Tokenizer>(train::open_tokenizer(options.tokenizer));
    index = train::prepare_data(prepare, train::document_tokenizer(tokenizer));
    // The tokenizer goes with the data, so that a model trained on it finds it.
    tokenizer->save(options.out);
    progress.finish("");
  }
  if (options.json) return print(index_json(index, options.out).dump(2) + "\n");
  for (const auto& [name, split] : index.splits)
    print(fmt::format(
        "{:<11} {:>15} tokens {:>12} documents {:>12} of text, {:.2f} bytes per token\n", name,
        base::with_separators(split.counts.tokens), base::with_separators(split.counts.documents),
        base::format_bytes(static_cast<double>(split.counts.text_bytes)),
        static_cast<double>(split.counts.text_bytes) / static_cast<double>(std::max<int64_t>(1, split.counts.tokens))));
  print(fmt::format("written to {}\n", options.out));
}

void add_data_prepare_command(Verb parent, Context& context) {
  auto options = std::make_shared<DataPrepareOptions>();
  Verb verb = add_verb(parent, context, "prepare",
                       "Turns text or JSONL files into tokens to train on. Files may be larger than memory and may be "
                       "compressed (.gz).",
                       "fledge data prepare --input austen.txt --tokenizer tokenizer --out prepared");
  verb.add_option("--input", options->inputs, "Text files, or JSONL files with {\"text\": ...} on each line")
      .type_name("FILE...")
      .required()
      .group("Input");
  verb.add_option("--tokenizer", options->tokenizer, "Folder of the tokenizer")
      .type_name("DIR")
      .required()
      .group("Input");
  verb.add_option("--text-key", options->text_key, "Key of the text in JSONL (default: text)")
      .type_name("KEY")
      .group("Input");
  verb.add_option("--separator", options->separator,
                  "Ends a document in a text file, on a line of its own (default: <|endoftext|>)")
      .type_name("TEXT")
      .group("Input");
  verb.add_option("--out", options->out, "Folder that receives the data set")
      .type_name("DIR")
      .required()
      .group("Output");
  verb.add_option("--val-fraction", options->val_fraction, "Share kept for validation (default: 0.05)")
      .type_name("SHARE")
      .in_range(0.0, 0.5)
      .group("Output");
  add_json_option(verb, options->json, "What was written, as one JSON object");
  verb.callback(
      [options, &context] { context.run = [options, &context] { run_data_prepare(*options, context.common); }; });
}

}  // namespace fledge::cli
