// fledge data augment
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/terminal.h"
#include "cli/data.h"
#include "cli/loaded_model.h"
#include "cli/sampling_options.h"
#include "cli/verb.h"
#include "cli/work_progress.h"
#include "train/data/table_line.h"
#include "train/data/word_candidates.h"

namespace fledge::cli {
namespace {

constexpr size_t kTextsAtOnce = 64;

/// The texts of one column; a list of words is a text with spaces between.
std::vector<std::string> texts_of(const train::Table& table, size_t column, size_t first, size_t last) {
  std::vector<std::string> texts;
  for (size_t row = first; row < last; ++row) {
    const train::Cell& cell = table.rows[row].cells[column];
    if (cell.is_list)
      throw base::Error("{}: \"{}\" is a list, but words are replaced in texts", table.place(table.rows[row]),
                        table.columns[column]);
    texts.push_back(cell.text);
  }
  return texts;
}

/// Writes each row of the table and behind it its variants, as far as they differ. Returns how many rows that made.
int64_t write_variants(const train::Table& table, size_t text_columns, train::WordCandidates& candidates,
                       const DataAugmentOptions& options, WorkProgress& progress) {
  const train::TableFormat format = train::table_format(options.out);
  const train::AugmentationOptions augmentation{options.variants, options.probability, options.seed};
  base::AtomicFile file(options.out);
  file.write(train::table_header(format, table.columns));
  int64_t written = 0;
  for (size_t first = 0; first < table.rows.size(); first += kTextsAtOnce) {
    const size_t last = std::min(first + kTextsAtOnce, table.rows.size());
    std::vector<std::vector<train::ReplaceableText>> texts;
    for (size_t column = 0; column < text_columns; ++column)
      texts.push_back(candidates.find(texts_of(table, column, first, last)));
    for (size_t row = first; row < last; ++row) {
      std::vector<std::string> values;
      for (const train::Cell& cell : table.rows[row].cells) values.push_back(cell.text);
      std::set<std::vector<std::string>> seen = {values};
      file.write(train::table_line(format, table.columns, values));
      ++written;
      std::vector<std::vector<std::string>> variants;
      for (size_t column = 0; column < text_columns; ++column)
        variants.push_back(train::variants_of(texts[column][row - first], augmentation, row * text_columns + column));
      for (size_t variant = 0; variant < static_cast<size_t>(options.variants); ++variant) {
        for (size_t column = 0; column < text_columns; ++column) values[column] = variants[column][variant];
        if (!seen.insert(values).second) continue;
        file.write(train::table_line(format, table.columns, values));
        ++written;
      }
    }
    progress.update({static_cast<double>(last), static_cast<double>(table.rows.size()), {}, -1.0});
  }
  file.commit();
  return written;
}

}  // namespace

void run_data_augment(const DataAugmentOptions& options, const CommonOptions& common) {
  train::table_format(options.out);
  std::vector<std::string> columns = {options.text_column};
  if (!options.pair_column.empty()) columns.push_back(options.pair_column);
  const size_t text_columns = columns.size();
  columns.push_back(options.label_column);
  const train::Table table = train::read_table(options.file, columns);
  OpenedModel opened = open_model(options.model, options.precision, false);
  train::WordCandidates candidates(opened.model(), opened.memory(), open_tokenizer(opened), opened.activation_type,
                                   options.candidates);
  if (!candidates.predicts())
    base::log_warning(
        "{} has no head for masked tokens, so every word is replaced by neighbours of its embedding, whatever its "
        "surroundings",
        options.model);
  int64_t written = 0;
  {
    WorkProgress progress("augment", common);
    written = write_variants(table, text_columns, candidates, options, progress);
    progress.finish("");
  }
  if (options.json)
    return print(
        base::OrderedJson{{"file", options.out}, {"examples", table.rows.size()}, {"written", written}}.dump() + "\n");
  print(fmt::format("{} examples became {}, written to {}\n",
                    base::with_separators(static_cast<int64_t>(table.rows.size())), base::with_separators(written),
                    options.out));
}

void add_data_augment_command(Verb parent, Context& context) {
  auto options = std::make_shared<DataAugmentOptions>();
  Verb verb = add_verb(parent, context, "augment",
                       "Makes more labelled texts of a table: each with some of its words replaced by what an "
                       "encoder finds likely there.",
                       "fledge data augment train.tsv --model runs/bert/mlm --out augmented.tsv");
  verb.add_option("FILE", options->file, "A .csv, .tsv or .jsonl table of labelled texts").required();
  verb.add_option("--model", options->model, "A BERT that predicts masked tokens, or another encoder with WordPiece")
      .type_name("MODEL")
      .required()
      .group("Input");
  verb.add_option("--text-column", options->text_column, "The table's column of texts (default: text)")
      .type_name("NAME")
      .group("Input");
  verb.add_option("--pair-column", options->pair_column, "Its column of second texts, whose words are replaced too")
      .type_name("NAME")
      .group("Input");
  verb.add_option("--label-column", options->label_column, "Its column of labels, which stay (default: label)")
      .type_name("NAME")
      .group("Input");
  verb.add_option("--variants", options->variants, "Variants of each text (default: 20)")
      .type_name("N")
      .in_range(int64_t{1}, int64_t{1000})
      .group("Replacing");
  verb.add_option("--probability", options->probability, "Share of the words that are replaced (default: 0.4)")
      .type_name("P")
      .in_range(0.0, 1.0)
      .group("Replacing");
  verb.add_option("--candidates", options->candidates, "Words that may stand in for one (default: 15)")
      .type_name("N")
      .in_range(int64_t{1}, int64_t{1000})
      .group("Replacing");
  verb.add_option("--seed", options->seed, "Decides what is drawn (default: 1)").type_name("S").group("Replacing");
  add_precision_option(verb, options->precision, "auto");
  verb.add_option("--out", options->out, "The table that is written; its ending says its kind")
      .type_name("FILE")
      .required()
      .group("Output");
  add_json_option(verb, options->json, "What was written, as one JSON object");
  verb.callback(
      [options, &context] { context.run = [options, &context] { run_data_augment(*options, context.common); }; });
}

}  // namespace fledge::cli
