#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "train/chat_model.h"
#include "train/data/chat_reader.h"
#include "train/data/chat_tokens.h"

namespace fledge::train {

struct ChatInspectionOptions {
  ChatPurpose purpose = ChatPurpose::conversations;
  TrainedTurns turns = TrainedTurns::all;
  int64_t examples = 3;         ///< that are shown
  int64_t sequence_length = 0;  ///< of training; 0: the model's context
  bool strict = false;          ///< the first record that cannot be used is an error
  std::function<void(int64_t bytes_done, int64_t bytes_total)> progress;
};

/// A run of text that is trained or not.
struct ShownText {
  std::string text;
  bool is_trained = false;
};

/// One sequence of tokens as training would see it.
struct ShownChat {
  std::string title;  ///< "line 3", "line 3, rejected"
  int64_t tokens = 0, trained_tokens = 0;
  std::vector<ShownText> parts;
};

/// What a chat file would teach a model.
struct ChatInspection {
  ChatReadReport report;
  int64_t sequences = 0, tokens = 0, trained_tokens = 0, turns = 0;
  std::vector<int64_t> lengths;  ///< of every sequence, rising
  int64_t row_length = 0;        ///< that sequences were compared with
  int64_t cut = 0, left_out = 0;
  int64_t refused = 0;     ///< by the template
  int64_t ambiguous = 0;   ///< the trained tokens cannot be told
  int64_t open_ends = 0;   ///< no special token ends a trained turn
  int64_t duplicates = 0;  ///< the same tokens as an earlier one
  bool has_marks = false;  ///< the template says what is trained
  std::vector<int32_t> end_of_turn;
  std::vector<std::string> warnings;  ///< sentences
  std::vector<ShownChat> shown;
};

/// Reads a whole file, one example at a time, and renders it as training would.
ChatInspection inspect_chats(const std::filesystem::path& file, const ChatModel& model,
                             const ChatInspectionOptions& options);

/// How many of the lengths (rising) lie in each of `bins` equal ranges from 0 to the longest.
std::vector<int64_t> histogram(const std::vector<int64_t>& lengths, size_t bins);

}  // namespace fledge::train
