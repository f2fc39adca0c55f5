#pragma once

#include <filesystem>
#include <functional>
#include <vector>

#include "train/chat_model.h"
#include "train/data/chat_data.h"
#include "train/data/prepare.h"

namespace fledge::train {

struct PrepareChatOptions {
  std::vector<std::filesystem::path> inputs;
  std::vector<std::filesystem::path> validation_inputs;  ///< held out whole, instead of a share of the inputs
  std::filesystem::path out;
  ChatReadOptions reading;
  TrainedTurns turns = TrainedTurns::all;
  double validation_fraction = 0.05;  ///< one example of every 1 / fraction in a row is held out
  size_t shard_bytes = size_t{64} << 20;
  /// Called now and then from the calling thread; may throw to stop, which leaves nothing behind.
  std::function<void(const PrepareProgress&)> progress;
};

/// Tokenizes chat files through a model's template into a folder of prepared chats, which also holds what
/// write_chat_files() writes. Memory is bounded whatever the size of the files; the result does not depend on the
/// number of threads. The folder appears when it is whole. A conversation that the template refuses counts as broken;
/// one whose trained tokens cannot be told stops the work (AmbiguousTurns), because a template does that to all alike.
ChatIndex prepare_chat(const PrepareChatOptions& options, const ChatModel& model);

}  // namespace fledge::train
