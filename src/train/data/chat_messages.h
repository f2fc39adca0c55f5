#pragma once

#include <cstddef>
#include <string_view>

#include "base/json_fwd.h"

namespace fledge::train {

/// The messages of a chat file in the form that templates expect: the usual names of roles ("human", "gpt", ... become
/// "user", "assistant"), content as one text, null left out. `role_key` and `content_key` are the names in the file.
/// Throws Error naming the message where it is not one.
base::OrderedJson normalized_messages(const base::OrderedJson& list, std::string_view role_key,
                                      std::string_view content_key);

/// A message of plain text.
base::OrderedJson text_message(std::string_view role, const std::string& text);

/// Throws Error where the roles do not follow each other as they should, or a message is empty.
void check_message_order(const base::OrderedJson& messages);

/// How many messages remain when those behind the last assistant's are left out.
size_t answered_length(const base::OrderedJson& messages);

/// Whether the message is the assistant's and not marked with "weight": 0.
bool is_learned(const base::OrderedJson& message);

}  // namespace fledge::train
