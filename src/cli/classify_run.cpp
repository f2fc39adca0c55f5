// fledge classify
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/terminal.h"
#include "cli/classify.h"
#include "cli/common.h"
#include "cli/loaded_model.h"
#include "infer/classifier.h"
#include "train/data/labelled.h"
#include "train/data/table.h"
#include "train/label_metrics.h"

namespace fledge::cli {
namespace {

using base::OrderedJson;

/// What is to be labelled: texts, pairs, or texts as words.
struct Input {
  std::vector<std::string> texts, pairs;
  std::vector<std::vector<std::string>> words;
  std::vector<train::Example> examples;  ///< with their labels, where there is a column of them
};

std::vector<std::string> lines_of(const std::string& path) {
  std::vector<std::string> lines;
  const std::string content = base::read_file(path);
  for (size_t begin = 0; begin < content.size();) {
    const size_t end = std::min(content.find('\n', begin), content.size());
    std::string line = content.substr(begin, end - begin);
    if (line.ends_with('\r')) line.pop_back();
    if (!line.empty()) lines.push_back(std::move(line));
    begin = end + 1;
  }
  return lines;
}

bool is_table(const std::string& path) {
  const std::string ending = std::filesystem::path(path).extension().string();
  return ending == ".csv" || ending == ".tsv" || ending == ".tab" || ending == ".jsonl" || ending == ".ndjson";
}

void read_labelled(const ClassifyOptions& options, train::LabelTask task, Input& input) {
  const train::ExampleColumns columns{options.text_column, options.pair_column, options.label_column};
  input.examples = train::read_examples(options.file, columns, task);
  for (const train::Example& example : input.examples) {
    input.words.push_back(example.words);
    input.texts.push_back(example.words.front());
    if (!example.pair.empty()) input.pairs.push_back(example.pair.front());
  }
}

void read_unlabelled(const ClassifyOptions& options, Input& input) {
  if (!is_table(options.file)) {
    for (std::string& line : lines_of(options.file)) input.texts.push_back(std::move(line));
    return;
  }
  std::vector<std::string> columns = {options.text_column};
  if (!options.pair_column.empty()) columns.push_back(options.pair_column);
  const train::Table table = train::read_table(options.file, columns);
  for (const train::Table::Row& row : table.rows) {
    const train::Cell& cell = row.cells.front();
    input.texts.push_back(cell.is_list ? fmt::format("{}", fmt::join(cell.list, " ")) : cell.text);
    if (row.cells.size() > 1) input.pairs.push_back(row.cells[1].text);
  }
}

std::vector<std::string> split_words(const std::string& text) {
  std::vector<std::string> words;
  for (size_t at = 0; (at = text.find_first_not_of(" \t\r\n", at)) != std::string::npos;) {
    const size_t end = std::min(text.find_first_of(" \t\r\n", at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end;
  }
  return words;
}

Input read_input(const ClassifyOptions& options, const infer::Classifier& classifier) {
  Input input;
  input.texts = options.texts;
  input.pairs = options.pairs;
  const bool labelled = !options.label_column.empty();
  if (labelled && (options.file.empty() || !options.texts.empty()))
    throw base::UsageError("--label-column needs --file with a table, and no --text");
  if (labelled) {
    read_labelled(options,
                  classifier.labels_words()    ? train::LabelTask::tokens
                  : classifier.is_regression() ? train::LabelTask::regression
                                               : train::LabelTask::classification,
                  input);
  } else if (!options.file.empty()) {
    read_unlabelled(options, input);
  }
  if (input.texts.empty()) throw base::UsageError("`fledge classify` needs a text: --text TEXT or --file FILE");
  if (!input.pairs.empty() && input.pairs.size() != input.texts.size())
    throw base::UsageError("there are {} texts and {} second texts; give one --pair for each --text",
                           input.texts.size(), input.pairs.size());
  if (!classifier.labels_words()) return input;
  if (!input.pairs.empty()) throw base::UsageError("this model labels words, and pairs have no meaning for it");
  if (!labelled) {
    for (const std::string& text : input.texts) input.words.push_back(split_words(text));
  }
  return input;
}

std::vector<nn::EncoderText> encode(const Input& input, const infer::Classifier& classifier) {
  std::vector<nn::EncoderText> texts;
  size_t cut = 0;
  for (size_t index = 0; index < input.texts.size(); ++index) {
    const std::string* pair = input.pairs.empty() ? nullptr : &input.pairs[index];
    texts.push_back(classifier.labels_words() ? classifier.encode(input.words[index])
                                              : classifier.encode(input.texts[index], pair));
    cut += texts.back().dropped > 0 ? 1 : 0;
  }
  if (cut > 0) base::log_warning("{} of {} texts are longer than the model's context and were cut", cut, texts.size());
  return texts;
}

size_t best_of(const std::vector<float>& scores) {
  return static_cast<size_t>(std::ranges::max_element(scores) - scores.begin());
}

/// The shortest decimal number that reads as this one.
double shortest(float value) {
  return std::strtod(fmt::format("{}", value).c_str(), nullptr);
}

OrderedJson scores_json(const infer::Classifier& classifier, const std::vector<float>& scores) {
  if (classifier.is_regression()) return {{"score", shortest(scores.front())}};
  OrderedJson all = OrderedJson::object();
  for (size_t label = 0; label < scores.size(); ++label) all[classifier.labels()[label]] = shortest(scores[label]);
  const size_t best = best_of(scores);
  return {{"label", classifier.labels()[best]}, {"probability", shortest(scores[best])}, {"probabilities", all}};
}

using Results = std::vector<std::vector<std::vector<float>>>;

void print_results_json(const infer::Classifier& classifier, const Input& input, const Results& results) {
  auto list = OrderedJson::array();
  for (size_t index = 0; index < results.size(); ++index) {
    OrderedJson entry{{"text", input.texts[index]}};
    if (!classifier.labels_words()) {
      entry.update(scores_json(classifier, results[index].front()));
    } else {
      auto words = OrderedJson::array();
      for (size_t word = 0; word < results[index].size(); ++word) {
        OrderedJson one{{"word", input.words[index][word]}};
        if (!results[index][word].empty()) one.update(scores_json(classifier, results[index][word]));
        words.push_back(std::move(one));
      }
      entry["words"] = std::move(words);
    }
    list.push_back(std::move(entry));
  }
  print(OrderedJson{{"results", list}}.dump(-1, ' ', false, OrderedJson::error_handler_t::replace) + "\n");
}

void print_results(const infer::Classifier& classifier, const Input& input, const Results& results) {
  for (size_t index = 0; index < results.size(); ++index) {
    if (classifier.labels_words()) {
      for (size_t word = 0; word < results[index].size(); ++word) {
        const std::vector<float>& scores = results[index][word];
        print(fmt::format("{}\t{}\n", base::printable(input.words[index][word]),
                          scores.empty() ? "-" : classifier.labels()[best_of(scores)]));
      }
      print("\n");
      continue;
    }
    const std::vector<float>& scores = results[index].front();
    const std::string text = base::printable(input.texts[index]);
    if (classifier.is_regression()) {
      print(fmt::format("{:.4f}\t{}\n", scores.front(), text));
    } else {
      print(fmt::format("{}\t{:.4f}\t{}\n", classifier.labels()[best_of(scores)], scores[best_of(scores)], text));
    }
  }
}

/// How well results and labels agree.
void print_agreement(const ClassifyOptions& options, const infer::Classifier& classifier, const Input& input,
                     const Results& results) {
  OrderedJson numbers{{"examples", results.size()}};
  std::string table;
  if (classifier.is_regression()) {
    std::vector<double> wanted, found;
    for (size_t index = 0; index < results.size(); ++index) {
      wanted.push_back(input.examples[index].number);
      found.push_back(static_cast<double>(results[index].front().front()));
    }
    numbers["pearson"] = train::pearson(wanted, found);
    numbers["spearman"] = train::spearman(wanted, found);
  } else {
    const std::vector<std::string>& labels = classifier.labels();
    train::Confusion confusion(labels.size());
    for (size_t index = 0; index < results.size(); ++index) {
      for (size_t word = 0; word < input.examples[index].labels.size(); ++word) {
        const auto label = std::ranges::find(labels, input.examples[index].labels[word]);
        if (label == labels.end())
          throw base::Error("{}: the label \"{}\" is none of the model's ({})", input.examples[index].place,
                            base::printable(input.examples[index].labels[word]), fmt::join(labels, ", "));
        if (results[index][word].empty()) continue;
        confusion.add(static_cast<int32_t>(label - labels.begin()),
                      static_cast<int32_t>(best_of(results[index][word])));
      }
    }
    numbers["accuracy"] = confusion.accuracy();
    numbers["f1_macro"] = confusion.macro_f1();
    if (labels.size() == 2) numbers["f1"] = confusion.f1(1);
    numbers["matthews"] = confusion.matthews();
    numbers["labels"] = labels;
    auto rows = OrderedJson::array();
    for (size_t label = 0; label < labels.size(); ++label) {
      const auto begin = confusion.counts().begin() + static_cast<std::ptrdiff_t>(label * labels.size());
      rows.push_back(std::vector<double>(begin, begin + static_cast<std::ptrdiff_t>(labels.size())));
    }
    numbers["confusion"] = std::move(rows);
    table = "Rows are the labels, columns what the model says:\n" + confusion.table(labels);
  }
  if (options.json) return print(numbers.dump() + "\n");
  for (const auto& [name, value] : numbers.items()) {
    if (value.is_number_float()) print(fmt::format("{:<10}{:.4f}\n", name, value.get<double>()));
    if (value.is_number_integer()) print(fmt::format("{:<10}{}\n", name, value.get<int64_t>()));
  }
  print(table);
}

}  // namespace

void run_classify(const ClassifyOptions& options) {
  OpenedModel opened = open_model(options.model, options.precision, false);
  infer::Classifier classifier(opened.model(), opened.memory(), open_tokenizer(opened), opened.activation_type);
  const Input input = read_input(options, classifier);
  const Results results = classifier.classify(encode(input, classifier));
  if (!input.examples.empty()) return print_agreement(options, classifier, input, results);
  options.json ? print_results_json(classifier, input, results) : print_results(classifier, input, results);
}

}  // namespace fledge::cli
