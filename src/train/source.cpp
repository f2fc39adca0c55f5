#include "train/source.h"

#include "base/error.h"
#include "base/toml.h"
#include "train/chat_source.h"
#include "train/labelled_source.h"
#include "train/masked_source.h"
#include "train/run_setup.h"
#include "train/token_source.h"

namespace fledge::train {

std::unique_ptr<BatchSource> make_source(const Recipe& recipe, const std::filesystem::path& run_folder,
                                         tensor::ProcessGroup& processes) {
  if (const auto purpose = chat_purpose_of(recipe.objective.kind)) {
    const ChatModel model = open_chat_model(recipe.model.path, recipe.chat.template_name, recipe.data.add_tokens);
    std::filesystem::path folder = recipe.data.path;
    if (std::filesystem::is_directory(folder)) {
      if (!recipe.data.val_path.empty())
        throw base::UsageError("data.val_path = {} has no meaning beside {}, which holds prepared chats with its own",
                               base::toml_quoted(recipe.data.val_path), folder.string());
    } else {
      folder = run_folder / "data";
      if (processes.rank() == 0) prepare_recipe_chats(recipe, *purpose, model, folder);
      processes.barrier();
    }
    return std::make_unique<ChatSource>(recipe, folder, model.context_length);
  }
  if (recipe.objective.kind == "classify") return std::make_unique<LabelledSource>(recipe);
  std::filesystem::path data_folder = recipe.data.path;
  if (!recipe.data.text.empty()) {
    data_folder = run_folder / "data";
    if (processes.rank() == 0) prepare_recipe_data(recipe, data_folder);
    processes.barrier();
  }
  if (recipe.objective.kind == "masked_language") return std::make_unique<MaskedSource>(recipe, data_folder);
  return std::make_unique<TokenSource>(recipe, data_folder);
}

}  // namespace fledge::train
