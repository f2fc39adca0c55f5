#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fledge::models {

/// What llama.cpp's converter does to a tensor of a Hugging Face folder on its way into a GGUF file.
enum class GgufChange : uint8_t {
  none,
  /// The rows of every head (queries and keys) stand in pairs: row i of a head's lower half, then row i of its upper.
  pair_query_rows,
  pair_key_rows,
  transpose  ///< GPT-2's linear weights, [in, out] in Hugging Face's files
};

struct GgufMapping {
  std::string name;
  GgufChange change = GgufChange::none;
};

/// The tensor names of one architecture in GGUF and in Hugging Face's files.
class GgufNames {
 public:
  /// For a "general.architecture" (llama, qwen2, qwen3, gpt2, bert). Throws Error naming `origin` for another.
  static GgufNames of_architecture(std::string_view architecture, const std::string& origin);
  /// For the "model_type" of a config.json. Throws Error naming `origin` for one that GGUF files are not made of.
  static GgufNames of_model_type(std::string_view model_type, const std::string& origin);

  const std::string& architecture() const { return architecture_; }
  /// Hugging Face's name of a tensor with a GGUF name, and nothing for one that is no weight of the model.
  std::optional<GgufMapping> to_hugging_face(std::string_view name) const;
  /// GGUF's name of a tensor; Hugging Face's names may lack the family's prefix ("transformer.", "model.", "bert.").
  std::optional<GgufMapping> to_gguf(std::string_view name) const;

 private:
  std::string architecture_;
};

/// Row of the Hugging Face matrix at row `row` of the GGUF one, for a matrix of `rows` rows and `heads` heads.
int64_t hugging_face_row(int64_t row, int64_t rows, int64_t heads);

}  // namespace fledge::models
