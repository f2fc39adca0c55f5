// Times the tokenizer on a text; bench/peers/tokenizer.py runs it in turn with other tokenizers.
//   bench_tokenizer encode TOKENIZER TEXT [--pattern NAME] [--repeat N] [--documents BYTES] [--ids FILE]
//   bench_tokenizer train TEXT OUT [--pattern NAME] [--vocab-size N] [--min-frequency N] [--lines]
//   bench_tokenizer texts TOKENIZER    (tests/reference/compare_tokenizers.py runs this)
// Prints one line of JSON. With --documents the text is cut at line ends into documents of about that size, which are
// encoded as a batch by all threads (OMP_NUM_THREADS); otherwise it is one text for one thread. "texts" reads lines
// {"text": ...} from standard input and prints for each the ids without and with the special tokens around the text,
// and what they decode to.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "nn/text/bpe_trainer.h"
#include "nn/text/tokenizer.h"

using namespace fledge;

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Positional words and `--key value` pairs; "--lines" has no value.
struct Arguments {
  std::vector<std::string> words;
  std::map<std::string, std::string> options;

  Arguments(int count, char** values) {
    for (int i = 1; i < count; ++i) {
      const std::string word = values[i];
      if (!word.starts_with("--")) {
        words.push_back(word);
      } else if (word == "--lines" || i + 1 == count) {
        options[word] = "yes";
      } else {
        options[word] = values[++i];
      }
    }
  }
  std::string text(const std::string& key, const std::string& fallback) const {
    const auto found = options.find(key);
    return found == options.end() ? fallback : found->second;
  }
  int number(const std::string& key, int fallback) const { return std::stoi(text(key, std::to_string(fallback))); }
};

std::vector<std::string_view> documents(std::string_view text, size_t size) {
  std::vector<std::string_view> result;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n', std::min(size, text.size() - 1)), text.size() - 1) + 1;
    result.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return result;
}

void encode(const Arguments& arguments) {
  const base::MappedFile file(arguments.words.at(2));
  const auto tokenizer =
      nn::Tokenizer::load(arguments.words.at(1), nn::split_pattern_by_name(arguments.text("--pattern", "gpt2")));
  const auto parts = documents(file.text(), static_cast<size_t>(arguments.number("--documents", 1 << 30)));
  std::vector<double> seconds;
  std::vector<int32_t> ids;
  for (int round = 0; round < arguments.number("--repeat", 3); ++round) {
    ids.clear();
    const auto start = std::chrono::steady_clock::now();
    if (parts.size() == 1) {
      ids = tokenizer.encode(parts[0]);
      seconds.push_back(seconds_since(start));
    } else {
      const auto batch = tokenizer.encode_batch(parts);
      seconds.push_back(seconds_since(start));
      for (const auto& document : batch) ids.insert(ids.end(), document.begin(), document.end());
    }
  }
  const std::string out = arguments.text("--ids", "");
  if (!out.empty()) base::write_file(out, {reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(int32_t)});
  const double best = *std::min_element(seconds.begin(), seconds.end());
  fmt::print("{{\"first_seconds\": {:.4f}, \"seconds\": {:.4f}, \"mb_per_second\": {:.2f}, \"tokens\": {}}}\n",
             seconds.front(), best, static_cast<double>(file.text().size()) / best / 1e6, ids.size());
}

void train(const Arguments& arguments) {
  nn::BpeTrainingOptions options;
  options.vocabulary_size = arguments.number("--vocab-size", 32000);
  options.min_frequency = arguments.number("--min-frequency", 2);
  options.pattern = nn::split_pattern_by_name(arguments.text("--pattern", "gpt2"));
  const auto unit = arguments.text("--lines", "").empty() ? nn::BpeTrainer::Unit::kText : nn::BpeTrainer::Unit::kLine;
  const auto start = std::chrono::steady_clock::now();
  nn::BpeTrainer trainer(options);
  trainer.add_file(arguments.words.at(1), unit);
  const double counted = seconds_since(start);
  const auto tokenizer = trainer.train();
  const double seconds = seconds_since(start);
  tokenizer.save(arguments.words.at(2));
  fmt::print("{{\"seconds\": {:.4f}, \"counting_seconds\": {:.4f}, \"tokens\": {}}}\n", seconds, counted,
             tokenizer.vocabulary_size());
}

void print_texts(const Arguments& arguments) {
  const auto tokenizer = nn::Tokenizer::load(arguments.words.at(1));
  for (std::string line; std::getline(std::cin, line);) {
    const auto text = base::json_require<std::string>(base::parse_json(line, "standard input"), "text", "a line");
    const auto ids = tokenizer.encode(text), special_ids = tokenizer.encode(text, {.add_special = true});
    nn::StreamDecoder stream(tokenizer, false);
    std::string streamed;
    for (const int32_t id : special_ids) streamed += stream.push(id);
    streamed += stream.finish();
    const base::Json result = {{"ids", ids},
                               {"special_ids", special_ids},
                               {"plain_ids", tokenizer.encode(text, {.match_special = false})},
                               {"text", tokenizer.decode(ids)},
                               {"special_text", tokenizer.decode(special_ids)},
                               {"streamed", streamed}};
    fmt::print("{}\n", result.dump(-1, ' ', true, base::Json::error_handler_t::replace));
  }
}

}  // namespace

int main(int count, char** values) {
  const Arguments arguments(count, values);
  try {
    const std::string verb = arguments.words.empty() ? "" : arguments.words[0];
    if (arguments.words.size() == 3 && verb == "encode") return encode(arguments), 0;
    if (arguments.words.size() == 3 && verb == "train") return train(arguments), 0;
    if (arguments.words.size() == 2 && verb == "texts") return print_texts(arguments), 0;
    std::fprintf(stderr,
                 "usage: bench_tokenizer encode TOKENIZER TEXT | train TEXT OUT | texts TOKENIZER (see the source)\n");
    return 2;
  } catch (const base::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return error.exit_code();
  }
}
