#include "train/data/labelled.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>
#include <unordered_map>

#include "base/error.h"
#include "base/json.h"
#include "base/terminal.h"
#include "train/data/batch.h"
#include "train/data/table.h"

namespace fledge::train {
namespace {

using base::Error;

std::vector<std::string> words_of(const Cell& cell) {
  if (cell.is_list) return cell.list;
  std::vector<std::string> words;
  for (size_t at = 0; at < cell.text.size();) {
    const size_t begin = cell.text.find_first_not_of(" \t\r\n", at);
    if (begin == std::string::npos) break;
    at = std::min(cell.text.find_first_of(" \t\r\n", begin), cell.text.size());
    words.push_back(cell.text.substr(begin, at - begin));
  }
  return words;
}

/// A cell that holds one text; a list is none.
const std::string& text_of(const Cell& cell, const std::string& column, const std::string& place) {
  if (cell.is_list) throw Error("{}: \"{}\" is a list, but one text was expected", place, column);
  return cell.text;
}

double number_of(const std::string& text, const std::string& column, const std::string& place) {
  double number = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(number))
    throw Error("{}: \"{}\" is \"{}\", but a number was expected", place, column, base::printable(text));
  return number;
}

Example whole_text(const Table::Row& row, const ExampleColumns& columns, LabelTask task, std::string place) {
  Example example;
  example.words = {text_of(row.cells[0], columns.text, place)};
  const std::string& label = text_of(row.cells[1], columns.label, place);
  if (label.empty()) throw Error("{}: \"{}\" is empty", place, columns.label);
  if (task == LabelTask::regression) {
    example.number = number_of(label, columns.label, place);
  } else {
    example.labels = {label};
  }
  if (!columns.pair.empty()) example.pair = {text_of(row.cells[2], columns.pair, place)};
  if (example.words[0].empty() && (example.pair.empty() || example.pair[0].empty()))
    throw Error("{}: \"{}\" is empty", place, columns.text);
  example.place = std::move(place);
  return example;
}

Example words_with_labels(const Table::Row& row, const ExampleColumns& columns, std::string place) {
  Example example;
  example.words = words_of(row.cells[0]);
  example.labels = words_of(row.cells[1]);
  if (example.words.empty()) throw Error("{}: \"{}\" is empty", place, columns.text);
  if (example.words.size() != example.labels.size())
    throw Error("{}: \"{}\" has {} words and \"{}\" {} labels", place, columns.text, example.words.size(),
                columns.label, example.labels.size());
  if (std::ranges::find(example.labels, "") != example.labels.end())
    throw Error("{}: a label in \"{}\" is empty", place, columns.label);
  example.place = std::move(place);
  return example;
}

using LabelIds = std::unordered_map<std::string, int32_t>;

int32_t id_of(const std::string& label, const LabelIds& ids, const std::vector<std::string>& labels,
              const std::string& place) {
  const auto found = ids.find(label);
  if (found != ids.end()) return found->second;
  constexpr size_t kShown = 20;
  const auto some = std::vector<std::string>(labels.begin(), labels.begin() + std::min(labels.size(), kShown));
  throw Error("{}: the label \"{}\" is not one of the {} labels ({}{})", place, base::printable(label), labels.size(),
              base::printable(fmt::format("{}", fmt::join(some, ", "))), labels.size() > kShown ? ", ..." : "");
}

}  // namespace

LabelTask label_task_by_name(const std::string& name) {
  if (name == "classification") return LabelTask::classification;
  if (name == "regression") return LabelTask::regression;
  if (name == "tokens") return LabelTask::tokens;
  throw base::UsageError("there is no task \"{}\"; it can be classification, regression or tokens", name);
}

std::vector<Example> read_examples(const std::filesystem::path& path, const ExampleColumns& columns, LabelTask task) {
  std::vector<std::string> wanted = {columns.text, columns.label};
  if (!columns.pair.empty()) wanted.push_back(columns.pair);
  const Table table = read_table(path, wanted);
  if (table.rows.empty()) throw Error("{}: the file holds no example", path.string());
  std::vector<Example> examples;
  examples.reserve(table.rows.size());
  for (const Table::Row& row : table.rows) {
    examples.push_back(task == LabelTask::tokens ? words_with_labels(row, columns, table.place(row))
                                                 : whole_text(row, columns, task, table.place(row)));
  }
  return examples;
}

std::vector<std::string> labels_of(const std::vector<Example>& examples) {
  std::set<std::string> names;
  for (const Example& example : examples) names.insert(example.labels.begin(), example.labels.end());
  std::vector<std::string> labels(names.begin(), names.end());
  std::vector<std::pair<int64_t, std::string>> numbers;
  for (const std::string& label : labels) {
    int64_t number = 0;
    const auto [end, error] = std::from_chars(label.data(), label.data() + label.size(), number);
    if (error != std::errc() || end != label.data() + label.size()) return labels;
    numbers.emplace_back(number, label);
  }
  std::ranges::sort(numbers);
  for (size_t index = 0; index < labels.size(); ++index) labels[index] = numbers[index].second;
  return labels;
}

std::vector<EncodedExample> encode_examples(const std::vector<Example>& examples, LabelTask task,
                                            const std::vector<std::string>& labels, const nn::Tokenizer& tokenizer,
                                            const nn::EncoderTokens& special, int64_t longest, int64_t& cut) {
  LabelIds ids;
  for (size_t id = 0; id < labels.size(); ++id) ids.emplace(labels[id], static_cast<int32_t>(id));
  std::vector<EncodedExample> result;
  result.reserve(examples.size());
  for (const Example& example : examples) {
    std::vector<int32_t> own;
    for (const std::string& label : example.labels) own.push_back(id_of(label, ids, labels, example.place));
    const std::string* pair = example.pair.empty() ? nullptr : &example.pair.front();
    nn::EncoderText text = task == LabelTask::tokens
                               ? nn::encode_words(tokenizer, special, example.words, longest)
                               : nn::encode_text(tokenizer, special, example.words.front(), pair, longest);
    cut += text.dropped > 0 ? 1 : 0;
    if (task == LabelTask::tokens) {
      std::vector<int32_t> places(text.ids.size(), kIgnoredTarget);
      for (size_t word = 0; word < own.size(); ++word) {
        if (text.words[word] >= 0) places[static_cast<size_t>(text.words[word])] = own[word];
      }
      own = std::move(places);
    }
    result.push_back({std::move(text.ids), std::move(text.segments), std::move(own), example.number});
  }
  return result;
}

}  // namespace fledge::train
