#include "cli/tokenizer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/terminal.h"
#include "cli/common.h"
#include "cli/ids.h"
#include "models/gguf_model.h"
#include "models/store.h"
#include "nn/text/tokenizer.h"

namespace fledge::cli {
namespace {

/// The tokenizer of a path, or of a model by its name.
nn::Tokenizer open_tokenizer(const std::string& name) {
  return models::load_tokenizer(std::filesystem::exists(name) ? std::filesystem::path(name)
                                                              : models::resolve_model(name));
}

std::string read_standard_input() {
  std::string text;
  char buffer[1 << 16];
  for (;;) {
    const ssize_t count = ::read(STDIN_FILENO, buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw base::Error("standard input cannot be read: {}", std::strerror(errno));
    if (count == 0) return text;
    text.append(buffer, static_cast<size_t>(count));
  }
}

void add_train(Verb parent, Context& context) {
  auto options = std::make_shared<TokenizerTrainOptions>();
  Verb verb = add_verb(parent, context, "train", "Learns a vocabulary from texts.",
                       "fledge tokenizer train --kind bpe --vocab-size 8192 --input austen.txt --out tokenizer\n"
                       "fledge tokenizer train --kind wordpiece --vocab-size 8192 --input austen.txt --out words");
  verb.add_option("--input", options->inputs,
                  "Text files, or JSONL files with {\"text\": ...} on each line; may be .gz")
      .type_name("FILE...")
      .required()
      .group("Input");
  verb.add_option("--kind", options->kind,
                  "bpe: byte-level byte-pair encoding (default); wordpiece: BERT's; unigram: SentencePiece's")
      .type_name("KIND")
      .one_of({"bpe", "wordpiece", "unigram"})
      .group("Vocabulary");
  verb.add_option("--vocab-size", options->vocab_size,
                  "Tokens, with special ones and the 256 bytes or the letters (default: 8192)")
      .type_name("N")
      .in_range(2, 1 << 23)
      .group("Vocabulary");
  verb.add_option("--special", options->special,
                  "Special tokens beside those of the kind: <|endoftext|>; [PAD] [UNK] [CLS] [SEP] [MASK]; "
                  "<unk> <s> </s> <pad> <mask>")
      .type_name("TOKEN...")
      .group("Vocabulary");
  verb.add_option("--pattern", options->pattern, "How bpe splits text before: gpt2, llama3 or qwen2 (default: gpt2)")
      .type_name("NAME")
      .one_of({"gpt2", "llama3", "qwen2"})
      .group("Vocabulary");
  verb.add_option("--min-frequency", options->min_frequency, "Pairs seen fewer times are not merged (default: 2)")
      .type_name("N")
      .in_range(int64_t{1}, int64_t{1} << 40)
      .group("Vocabulary");
  Option lowercase =
      verb.add_flag("--lowercase", options->lowercase, "Turn text into lower case (default of wordpiece)")
          .group("Vocabulary");
  verb.add_flag("--cased", options->cased, "Keep upper and lower case (default of unigram)")
      .excludes(lowercase)
      .group("Vocabulary");
  verb.add_option("--alphabet", options->alphabet,
                  "Characters that get tokens of wordpiece and unigram, the most frequent ones (default: 1000)")
      .type_name("N")
      .in_range(1, 1 << 20)
      .group("Vocabulary");
  verb.add_option("--out", options->out, "Folder that receives tokenizer.json")
      .type_name("DIR")
      .required()
      .group("Output");
  add_json_option(verb, options->json, "What was learned, as one JSON object");
  verb.callback(
      [options, &context] { context.run = [options, &context] { run_tokenizer_train(*options, context.common); }; });
}

void add_encode(Verb parent, Context& context) {
  auto options = std::make_shared<TokenizerEncodeOptions>();
  Verb verb = add_verb(parent, context, "encode", "Prints the token ids of a text.",
                       "fledge tokenizer encode tokenizer --text \"She was\"\n"
                       "fledge tokenizer encode tokenizer --file emma.txt --json");
  verb.add_option("DIR", options->tokenizer,
                  "Folder of the tokenizer or of a model, a GGUF file, a tokenizer.json, a .model or a .tiktoken file")
      .required();
  Option text = verb.add_option("--text", options->text, "The text").type_name("T").group("Input");
  verb.add_option("--file", options->file, "A file with the text (default: standard input)")
      .type_name("F")
      .excludes(text)
      .group("Input");
  verb.add_flag("--add-special", options->add_special, "Put the tokenizer's special tokens around the text")
      .group("Input");
  verb.add_flag("--no-match-special", options->no_match_special, "Special tokens in the text are ordinary characters")
      .group("Input");
  add_json_option(verb, options->json, "Ids, and the text of each token, as one JSON object");
  verb.callback([options, &context] { context.run = [options] { run_tokenizer_encode(*options); }; });
}

void add_decode(Verb parent, Context& context) {
  auto options = std::make_shared<TokenizerDecodeOptions>();
  Verb verb = add_verb(parent, context, "decode", "Prints the text of token ids: exactly the bytes that were encoded.",
                       "fledge tokenizer decode tokenizer --ids 1,2,3");
  verb.add_option("DIR", options->tokenizer,
                  "Folder of the tokenizer or of a model, a GGUF file, a tokenizer.json, a .model or a .tiktoken file")
      .required();
  verb.add_option("--ids", options->ids, "Token ids; - reads them from standard input")
      .type_name("1,2,3")
      .required()
      .group("Input");
  verb.add_flag("--skip-special", options->skip_special, "Leave out special tokens").group("Output");
  verb.callback([options, &context] { context.run = [options] { run_tokenizer_decode(*options); }; });
}

}  // namespace

void run_tokenizer_encode(const TokenizerEncodeOptions& options) {
  const nn::Tokenizer tokenizer = open_tokenizer(options.tokenizer);
  const std::string text = options.text   ? *options.text
                           : options.file ? base::read_file(*options.file)
                                          : read_standard_input();
  nn::EncodeOptions encode;
  encode.add_special = options.add_special;
  encode.match_special = !options.no_match_special;
  const std::vector<int32_t> ids = tokenizer.encode(text, encode);
  if (!options.json) return print(fmt::format("{}\n", fmt::join(ids, ",")));
  auto tokens = base::OrderedJson::array();
  for (const int32_t id : ids) tokens.push_back(std::string(tokenizer.token_bytes(id)));
  const base::OrderedJson result{{"bytes", text.size()}, {"count", ids.size()}, {"ids", ids}, {"tokens", tokens}};
  // A token may be a part of a character: what JSON cannot hold is replaced in "tokens".
  print(result.dump(-1, ' ', false, base::OrderedJson::error_handler_t::replace) + "\n");
}

void run_tokenizer_decode(const TokenizerDecodeOptions& options) {
  const nn::Tokenizer tokenizer = open_tokenizer(options.tokenizer);
  const std::vector<int32_t> ids = parse_ids(options.ids == "-" ? read_standard_input() : options.ids, "--ids");
  print(tokenizer.decode(ids, options.skip_special));
  if (base::describe_terminal(1).interactive) print("\n");
}

void add_tokenizer_command(Verb app, Context& context) {
  Verb tokenizer =
      add_verb_family(app, "Make", "tokenizer", "Learns tokenizers and uses them.",
                      "fledge tokenizer train --kind bpe --vocab-size 8192 --input austen.txt --out tokenizer");
  add_train(tokenizer, context);
  add_encode(tokenizer, context);
  add_decode(tokenizer, context);
}

}  // namespace fledge::cli
