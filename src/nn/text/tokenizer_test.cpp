#include "nn/text/tokenizer.h"
#include "base/json.h"
#include "nn/text/tokenizer_parts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "nn/text/bpe_model.h"
#include "nn/text/normalization.h"
#include "nn/text/utf8.h"

namespace fledge::nn {
namespace {

namespace filesystem = std::filesystem;
using base::Json;
using testing::TempDir;

const filesystem::path kData = filesystem::path(FLEDGE_REFERENCE_DIR) / "tokenizer";
const char* const kNames[] = {"gpt2", "llama3", "qwen2", "other", "prefix"};

const Json& cases() {
  static const Json json = base::read_json(kData / "cases.json");
  return json;
}

std::string random_bytes(const base::Random& random, uint64_t& position, size_t length) {
  std::string bytes;
  while (bytes.size() < length) {
    // Plain bytes, letters, spaces and pieces of multi-byte characters, mixed.
    switch (random.below(4, position++)) {
      case 0:
        bytes += static_cast<char>(random.below(256, position++));
        break;
      case 1:
        bytes += "the light on"[random.below(12, position++)];
        break;
      case 2:
        bytes += " \n\t\r'"[random.below(5, position++)];
        break;
      default:
        append_utf8(bytes, static_cast<char32_t>(0x80 + random.below(0x2000, position++)));
        if (random.below(3, position++) == 0) bytes.pop_back();
    }
  }
  return bytes;
}

/// Where the characters of `bytes` begin and end; a byte that is part of no character counts as one.
std::set<size_t> character_boundaries(const std::string& bytes) {
  std::set<size_t> boundaries = {0};
  for (size_t at = 0; at < bytes.size();) boundaries.insert(at += std::max<size_t>(1, utf8_length(bytes, at)));
  return boundaries;
}

TEST(Tokenizer, GivesTheIdsOfHuggingFace) {
  for (const char* name : kNames) {
    const Tokenizer tokenizer = Tokenizer::load(kData / name);
    const Json& texts = cases()["texts"];
    const Json& expected = cases()["results"][name];
    ASSERT_EQ(texts.size(), expected.size());
    ASSERT_GT(texts.size(), 100u);
    for (size_t i = 0; i < texts.size(); ++i) {
      const auto text = texts[i].get<std::string>();
      EXPECT_EQ(tokenizer.encode(text, {.add_special = true}), expected[i].get<std::vector<int32_t>>())
          << name << ": " << texts[i].dump();
    }
  }
}

TEST(Tokenizer, DecodesAnyBytesExactly) {
  const base::Random random(11, 4);
  for (const char* name : {"gpt2", "llama3", "other"}) {
    const Tokenizer tokenizer = Tokenizer::load(kData / name);
    uint64_t position = 0;
    for (int round = 0; round < 1500; ++round) {
      const std::string bytes = random_bytes(random, position, random.below(80, position));
      const auto ids = tokenizer.encode(bytes);
      ASSERT_EQ(tokenizer.decode(ids), bytes) << name;
      std::string streamed;
      const std::set<size_t> boundaries = character_boundaries(bytes);
      StreamDecoder stream(tokenizer, false);
      for (const int32_t id : ids) {
        streamed += stream.push(id);
        ASSERT_TRUE(boundaries.contains(streamed.size())) << "half a character was given out";
      }
      ASSERT_EQ(streamed + stream.finish(), bytes);
    }
    std::string all;
    for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(all)), all);
  }
}

TEST(Tokenizer, TreatsARunOfInvalidBytesAsAPieceOfItsOwn) {
  const Tokenizer tokenizer = Tokenizer::load(kData / "gpt2");
  const auto join = [&](std::initializer_list<std::string_view> parts) {
    std::vector<int32_t> ids;
    for (const std::string_view part : parts) tokenizer.encode_to(part, {}, ids);
    return ids;
  };
  // The space before the bad bytes ends a text, and the one behind begins one.
  EXPECT_EQ(tokenizer.encode("the  \xFF\xC3 light"), join({"the  ", "\xFF\xC3", " light"}));
  EXPECT_EQ(tokenizer.encode("a\xED\xA0\x80z"), join({"a", "\xED\xA0\x80", "z"})) << "a surrogate";
  EXPECT_EQ(tokenizer.encode("\xF0\x9F\x8C"), join({"\xF0\x9F\x8C"})) << "cut short";
}

TEST(Tokenizer, FindsSpecialTokensOnlyWhereAskedTo) {
  const Tokenizer tokenizer = Tokenizer::load(kData / "gpt2");
  const int32_t end = tokenizer.token_id("<|endoftext|>").value();
  EXPECT_TRUE(tokenizer.is_special(end));
  const auto ids = tokenizer.encode("a<|endoftext|>b");
  EXPECT_EQ(std::count(ids.begin(), ids.end(), end), 1);
  const auto plain = tokenizer.encode("a<|endoftext|>b", {.match_special = false});
  EXPECT_EQ(std::count(plain.begin(), plain.end(), end), 0);
  EXPECT_EQ(tokenizer.decode(plain), "a<|endoftext|>b");
  EXPECT_EQ(tokenizer.decode(ids, true), "ab");
}

TEST(Tokenizer, EncodesABatchAsOneByOne) {
  const Tokenizer tokenizer = Tokenizer::load(kData / "llama3");
  const base::Random random(12, 4);
  uint64_t position = 0;
  std::vector<std::string> texts;
  for (int i = 0; i < 500; ++i) texts.push_back(random_bytes(random, position, random.below(300, position)));
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  const auto batch = tokenizer.encode_batch(views, {.add_special = true});
  ASSERT_EQ(batch.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) ASSERT_EQ(batch[i], tokenizer.encode(texts[i], {.add_special = true}));
}

TEST(Tokenizer, IsTheSameAfterSavingAndLoading) {
  for (const char* name : kNames) {
    const Tokenizer tokenizer = Tokenizer::load(kData / name);
    const filesystem::path folder = filesystem::path(TempDir()) / "fledge_tokenizer_saved" / name;
    tokenizer.save(folder);
    const Tokenizer loaded = Tokenizer::load(folder);
    EXPECT_EQ(loaded.vocabulary_size(), tokenizer.vocabulary_size());
    for (int32_t id = 0; id < tokenizer.vocabulary_size(); ++id) {
      ASSERT_EQ(loaded.token_bytes(id), tokenizer.token_bytes(id));
      ASSERT_EQ(loaded.is_special(id), tokenizer.is_special(id));
    }
    for (const Json& text : cases()["texts"]) {
      const auto string = text.get<std::string>();
      ASSERT_EQ(loaded.encode(string, {.add_special = true}), tokenizer.encode(string, {.add_special = true}));
    }
    // The sections that are not read again are kept.
    const Json before = base::read_json(kData / name / "tokenizer.json");
    const Json after = base::read_json(folder / "tokenizer.json");
    for (const char* key : {"normalizer", "pre_tokenizer", "post_processor", "decoder", "added_tokens"}) {
      EXPECT_EQ(before[key], after[key]) << key;
    }
    EXPECT_EQ(before["model"]["vocab"], after["model"]["vocab"]);
    EXPECT_EQ(loaded.end_token(), tokenizer.token_id("<|endoftext|>"));
  }
}

TEST(Tokenizer, ReadsVocabularyAndMergesAsItsTokenizerJson) {
  const Json json = base::read_json(kData / "gpt2" / "tokenizer.json");
  const filesystem::path folder = filesystem::path(TempDir()) / "fledge_tokenizer_pair";
  base::create_folder(folder);
  std::string merges = "#version: 0.2\n";
  for (const Json& merge : json["model"]["merges"]) {
    merges += merge[0].get<std::string>() + " " + merge[1].get<std::string>() + "\n";
  }
  base::write_file(folder / "vocab.json", json["model"]["vocab"].dump());
  base::write_file(folder / "merges.txt", merges);
  const Tokenizer pair = Tokenizer::load(folder), whole = Tokenizer::load(kData / "gpt2");
  for (const char* text : {"The lighthouse keeper's daughter", "a<|endoftext|>b", " 🌊 12"}) {
    EXPECT_EQ(pair.encode(text), whole.encode(text));
  }
}

TEST(Tokenizer, ReadsARankFile) {
  const filesystem::path file = filesystem::path(TempDir()) / "fledge_ranks.tiktoken";
  std::string text;
  for (int byte = 0; byte < 256; ++byte) {
    const char* letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    text += {letters[byte >> 2], letters[(byte & 3) << 4], '=', '='};
    text += " " + std::to_string(byte) + "\n";
  }
  text += "YWI= 256\nYWJj 257\n";  // ab, abc
  base::write_file(file, text);
  const Tokenizer tokenizer = Tokenizer::load(file, SplitPattern::kLlama3);
  EXPECT_EQ(tokenizer.vocabulary_size(), 258);
  EXPECT_EQ(tokenizer.encode("abcab.ab"), (std::vector<int32_t>{257, 256, '.', 256}));
  base::write_file(file, text + "YWJk 259\n");
  EXPECT_THROW(Tokenizer::load(file), base::Error);
}

TEST(Tokenizer, NormalizesAsUnicodeSays) {
  for (const Json& pair : cases()["results"]["nfc"]) {
    const auto text = pair[0].get<std::string>(), expected = pair[1].get<std::string>();
    EXPECT_EQ(to_nfc(text), expected) << pair.dump();
    EXPECT_EQ(to_nfc(expected), expected) << pair.dump();
    EXPECT_TRUE(!is_surely_nfc(text) || text == expected) << pair.dump();
  }
  EXPECT_EQ(to_nfc("e\u0301\xFF\u0301e"), "\u00E9\xFF\u0301e") << "bytes that are not UTF-8 part the text";
}

TEST(StreamDecoder, HoldsACharacterBackUntilItIsWhole) {
  const Tokenizer tokenizer = Tokenizer::load(kData / "gpt2");
  const auto byte = [&](const char* bytes) { return tokenizer.parts().model->token_id(bytes).value(); };
  StreamDecoder stream(tokenizer);
  EXPECT_EQ(stream.push(byte("\xF0")), "");
  EXPECT_EQ(stream.push(byte("\x9F")), "");
  EXPECT_EQ(stream.push(byte("\x8C")), "");
  EXPECT_EQ(stream.push(byte("\x8A")), "\xF0\x9F\x8C\x8A");
  EXPECT_EQ(stream.push(byte("\xC3")), "");
  EXPECT_EQ(stream.push(tokenizer.token_id("<|endoftext|>").value()), "");
  EXPECT_EQ(stream.push(byte("a")),
            "\xC3"
            "a")
      << "no longer the beginning of a character";
  EXPECT_EQ(stream.push(byte("\xE2")), "");
  EXPECT_EQ(stream.finish(), "\xE2");
  EXPECT_EQ(stream.finish(), "");
}

/// The tokenizer.json of the small GPT-2 tokenizer after a change.
std::string message_after(const std::function<void(Json&)>& change) {
  Json json = base::read_json(kData / "gpt2" / "tokenizer.json");
  change(json);
  try {
    parse_tokenizer_json(json.dump(), "t.json");
  } catch (const base::Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(TokenizerErrors, NameTheFileAndTheFault) {
  const auto contains = [](const std::string& message, std::initializer_list<const char*> parts) {
    EXPECT_EQ(message.rfind("t.json", 0), 0u) << message;
    for (const char* part : parts) EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  contains(message_after([](Json& json) { json["model"]["vocab"].erase("he"); }), {"hole"});
  contains(message_after([](Json& json) { json["model"]["vocab"]["he"] = json["model"]["vocab"]["t"]; }),
           {"same id", "\"he\"", "\"t\""});
  contains(message_after([](Json& json) { json["model"]["merges"].push_back("he xyzzy"); }),
           {"\"he\"", "\"xyzzy\"", "not in the vocabulary"});
  contains(message_after([](Json& json) { json["model"]["merges"].push_back("z z"); }), {"\"zz\"", "not in the vocab"});
  contains(message_after([](Json& json) { json["model"]["merges"].push_back("one"); }), {"\"one\""});
  contains(message_after([](Json& json) { json["model"]["merges"].push_back(7); }), {"merges"});
  contains(message_after([](Json& json) { json["model"].erase("merges"); }), {"merges"});
  contains(message_after([](Json& json) { json["model"]["type"] = "Neural"; }), {"Neural", "Unigram"});
  contains(message_after([](Json& json) { json["model"]["type"] = "WordPiece"; }), {"unk_token \"[UNK]\""});
  contains(message_after([](Json& json) { json["model"]["type"] = "Unigram"; }), {"Unigram", "scores"});
  contains(message_after([](Json& json) { json["model"]["vocab"]["he"] = "x"; }), {"\"he\""});
  contains(message_after([](Json& json) { json["model"]["vocab"]["he"] = 4000000000; }), {"\"he\"", "4000000000"});
  const auto replaced = [](const char* key, const Json& value) {
    return message_after([&](Json& json) { json[key] = value; });
  };
  contains(replaced("normalizer", {{"type", "Uppercase"}}), {"normalizer \"Uppercase\""});
  contains(replaced("normalizer", {{"type", "Precompiled"}, {"precompiled_charsmap", "?"}}), {"base64"});
  contains(replaced("normalizer", {{"type", "Precompiled"}, {"precompiled_charsmap", "/////w=="}}), {"4294967295"});
  contains(replaced("normalizer", {{"type", "Replace"}, {"pattern", {{"Regex", "("}}}, {"content", ""}}), {"("});
  contains(replaced("pre_tokenizer", {{"type", "Syllables"}}), {"pre-tokenizer \"Syllables\""});
  contains(replaced("pre_tokenizer", {{"type", "Metaspace"}, {"prepend_scheme", "last"}}), {"\"last\""});
  contains(replaced("decoder", {{"type", "CTC"}}), {"decoder \"CTC\""});
  contains(replaced("post_processor", {{"type", "BertProcessing"}}), {"pair \"cls\""});
  contains(replaced("post_processor", {{"type", "Echo"}}), {"post-processor \"Echo\""});
  contains(message_after([](Json& json) {
             json["post_processor"]["processors"][1]["special_tokens"]["<|end|>"]["ids"][0] = 99999;
           }),
           {"99999", "no token"});
  contains(message_after([](Json& json) { json["added_tokens"][1]["id"] = 0; }), {"same id 0"});
  contains(message_after([](Json& json) { json["added_tokens"][1]["id"] = -3; }), {"-3"});
  contains(message_after([](Json& json) { json = Json::array(); }), {"object"});
}

TEST(TokenizerErrors, AreThrownForMissingFilesAndUnknownIds) {
  EXPECT_THROW(Tokenizer::load("/nowhere/tokenizer"), base::Error);
  const filesystem::path folder = filesystem::path(TempDir()) / "fledge_tokenizer_empty";
  base::create_folder(folder);
  EXPECT_THROW(Tokenizer::load(folder), base::Error);
  const Tokenizer tokenizer = Tokenizer::load(kData / "gpt2");
  const int32_t beyond[] = {tokenizer.vocabulary_size()}, negative[] = {-1};
  EXPECT_THROW(tokenizer.decode(beyond), base::Error);
  EXPECT_THROW(tokenizer.decode(negative), base::Error);
}

}  // namespace
}  // namespace fledge::nn
