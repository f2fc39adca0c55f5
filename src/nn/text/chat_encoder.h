#pragma once

#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json_fwd.h"
#include "nn/text/added_tokens.h"
#include "nn/text/chat_template.h"
#include "nn/text/tokenizer.h"

namespace fledge::nn {

/// A chat as a model reads it.
struct EncodedChat {
  std::string text;  ///< what the template made
  std::vector<int32_t> ids;
  std::string key;  ///< `text` with what must not become special tokens marked; tells whether two chats begin alike
};

/// How a chat's text ends.
struct ChatEnding {
  bool continues_last = false;  ///< right behind the last message's content, so that the model goes on with it
  std::string answer_begin;     ///< goes behind it all; special tokens in it are tokens
};

/// The chat cannot end so: the template does not show the last message's content as it is.
class ChatEndingError : public base::Error {
 public:
  using Error::Error;
};

/// Renders chats and encodes them so that the template's special tokens are tokens, and the same characters in a
/// message are not: who types `<|im_end|>` does not end his turn.
///
/// Before rendering, each such place in a message is replaced by a mark: two characters that Unicode keeps for internal
/// use (U+FDD0, U+FDD1) around the place's bytes in hexadecimal. Afterwards it is encoded as ordinary characters, apart
/// from what stands around it. A chat without such places is encoded exactly as its rendered text.
///
/// Keeps references to both arguments; immutable.
class ChatEncoder {
 public:
  ChatEncoder(const ChatTemplate& chat_template, const Tokenizer& tokenizer);

  /// The arguments are those of ChatTemplate::render; all strings in messages but roles are guarded, `tools` are not.
  /// Where the chat begins as one of `known` does (the last fitting one is taken), its ids begin with the ids of that
  /// one, although a text may have several encodings: keys and values that were computed for them serve again.
  /// Throws base::Error where the template refuses the messages, and ChatEndingError.
  EncodedChat encode(const base::OrderedJson& messages, const base::OrderedJson& tools,
                     const ChatRenderOptions& options, std::span<const EncodedChat> known = {},
                     const ChatEnding& ending = {}) const;

  /// The beginning of later chats after the model answered `prompt` with the tokens `ids`, for `known`.
  EncodedChat with_answer(const EncodedChat& prompt, std::string_view answer, std::span<const int32_t> ids) const;

  /// `text` with marks.
  std::string guarded(std::string_view text) const;
  /// Messages with marks in all their strings but roles: what ChatTemplate::render makes of them is a key.
  base::OrderedJson guarded_messages(const base::OrderedJson& messages) const { return guarded_values(messages); }

  /// The ids of a key (a rendering of guarded messages), and for each of `borders`, rising places in the key, how many
  /// of the ids stand before it. Where a token would reach across a border, the text is encoded in two parts, as it is
  /// when a model reads the first and writes the second; only in tokenizers whose tokens are not the text's bytes (see
  /// TokenizerParts::decoding) does such a token stay whole and count as standing before.
  std::vector<int32_t> encode_with_borders(std::string_view key, std::span<const size_t> borders,
                                           std::vector<size_t>& places) const;

 private:
  void find_dangerous_ends(const std::string& template_source, const std::vector<std::string>& special);
  bool is_normal(std::string_view text) const;
  void append_guarded(std::string_view plain, std::string& result) const;
  base::OrderedJson guarded_values(const base::OrderedJson& value) const;
  std::string without_end_of_turn(std::string key, const base::OrderedJson& messages) const;
  void encode_key(std::string_view key, std::vector<int32_t>& ids) const;
  std::vector<size_t> places_by_prefix(std::string_view key, std::span<const size_t> borders,
                                       std::span<const int32_t> ids) const;

  const ChatTemplate& template_;
  const Tokenizer& tokenizer_;
  AddedTokenMatcher matcher_;
  /// Ends of a message that the template's own characters could make a special token of.
  std::set<std::string, std::less<>> dangerous_beginnings_, dangerous_ends_;
  size_t longest_special_ = 0;
};

}  // namespace fledge::nn
