#include "train/objectives/distillation/layer_map.h"

#include <charconv>

#include "base/error.h"
#include "base/json.h"
#include "base/terminal.h"

namespace fledge::train {
namespace {

using base::UsageError;

/// A block's number, or -1 where the text is none.
int64_t block_number(std::string_view text) {
  int64_t number = -1;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && stop == text.data() + text.size() && !text.empty() ? number : -1;
}

LayerPair parse_pair(const std::string& entry) {
  const size_t colon = entry.find(':');
  const LayerPair pair = colon == std::string::npos
                             ? LayerPair{-1, -1}
                             : LayerPair{block_number(std::string_view(entry).substr(0, colon)),
                                         block_number(std::string_view(entry).substr(colon + 1))};
  if (pair.student < 0 || pair.teacher < 0) {
    throw UsageError(
        "distillation.layers has the entry \"{}\", but must hold pairs of a student's and a teacher's block such as "
        "\"0:2\", or one of the words \"uniform\" and \"last\"",
        base::printable(entry));
  }
  return pair;
}

void require_block(const std::string& entry, int64_t block, int64_t blocks, const char* whose) {
  if (block < blocks) return;
  throw UsageError("distillation.layers has the entry \"{}\", but the {} has {} blocks, 0 to {}",
                   base::printable(entry), whose, blocks, blocks - 1);
}

}  // namespace

ModelShape shape_of(const base::Json& config, const std::string& origin) {
  const bool is_gpt2 = config.contains("n_layer");
  const auto number = [&](const char* of_gpt2, const char* other) {
    return base::json_require<int64_t>(config, is_gpt2 ? of_gpt2 : other, origin);
  };
  ModelShape shape{number("n_layer", "num_hidden_layers"), number("n_embd", "hidden_size"),
                   number("n_head", "num_attention_heads"), 0};
  shape.key_heads = base::json_get(config, "num_key_value_heads", shape.heads, origin);
  return shape;
}

std::vector<LayerPair> parse_layer_map(const std::vector<std::string>& entries, int64_t student_layers,
                                       int64_t teacher_layers) {
  if (entries.empty()) throw UsageError("distillation.layers is empty; give pairs such as \"0:2\", or \"uniform\"");
  std::vector<LayerPair> pairs;
  if (entries.size() == 1 && entries[0] == "last") return {{student_layers - 1, teacher_layers - 1}};
  if (entries.size() == 1 && entries[0] == "uniform") {
    if (teacher_layers < student_layers) {
      throw UsageError(
          "distillation.layers = [\"uniform\"] needs a teacher with at least as many blocks as the student; they have "
          "{} and {}",
          teacher_layers, student_layers);
    }
    for (int64_t block = 0; block < student_layers; ++block) {
      pairs.push_back({block, (block + 1) * teacher_layers / student_layers - 1});
    }
    return pairs;
  }
  for (const std::string& entry : entries) {
    pairs.push_back(parse_pair(entry));
    require_block(entry, pairs.back().student, student_layers, "student");
    require_block(entry, pairs.back().teacher, teacher_layers, "teacher");
  }
  return pairs;
}

}  // namespace fledge::train
