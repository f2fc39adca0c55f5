#pragma once

#include <vector>

#include "base/json_fwd.h"
#include "models/formats/gguf.h"

namespace fledge::models {

/// The content of Hugging Face's config.json for a GGUF file: sizes, norms, rotary positions and their scaling, the
/// head (tied where the file has no output.weight) and the ids of the special tokens. Throws Error naming the file and
/// the key where something is missing or not supported.
base::Json config_of_gguf(const GgufReader& file);

/// generation_config.json of a GGUF file.
base::Json generation_config_of_gguf(const GgufReader& file);

/// The model's part of a GGUF file's metadata ("general.architecture", "llama.block_count", ...) for a config.json.
/// `name` is the model's name for people.
GgufMetadata gguf_of_config(const base::Json& config, const std::string& name, const std::string& origin);

/// The values of rope_freqs.weight, by which llama.cpp divides the rotary frequencies: of the scaling "llama3" of a
/// config.json (Llama 3.1); empty for other scalings.
std::vector<float> rope_factors(const base::Json& config, const std::string& origin);

/// How many heads the rows of queries and of keys belong to.
struct GgufHeads {
  int64_t query = 1, key = 1;
};
GgufHeads heads_of(const base::Json& config, const std::string& origin);

}  // namespace fledge::models
