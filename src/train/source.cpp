#include "train/source.h"

#include "train/run_setup.h"
#include "train/token_source.h"

namespace fledge::train {

std::unique_ptr<BatchSource> make_source(const Recipe& recipe, const std::filesystem::path& run_folder,
                                         tensor::ProcessGroup& processes) {
  std::filesystem::path data_folder = recipe.data.path;
  if (!recipe.data.text.empty()) {
    data_folder = run_folder / "data";
    if (processes.rank() == 0) prepare_recipe_data(recipe, data_folder);
    processes.barrier();
  }
  return std::make_unique<TokenSource>(recipe, data_folder);
}

}  // namespace fledge::train
