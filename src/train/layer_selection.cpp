#include "train/layer_selection.h"

#include <charconv>

#include "base/error.h"
#include "base/json.h"
#include "base/terminal.h"
#include "tensor/elementwise.h"

namespace fledge::train {
namespace {

using base::UsageError;

const char* block_count_key(const base::Json& config) {
  return config.contains("n_layer") ? "n_layer" : "num_hidden_layers";
}

/// A parameter's name with its block's number replaced: the one part between dots that is a number. Names of parameters
/// outside the blocks are returned as they are.
std::string in_source_block(const std::string& name, const std::vector<int64_t>& blocks) {
  for (size_t start = 0; start < name.size();) {
    const size_t end = std::min(name.find('.', start), name.size());
    size_t number = 0;
    const auto [stop, error] = std::from_chars(name.data() + start, name.data() + end, number);
    if (error == std::errc() && stop == name.data() + end && number < blocks.size()) {
      return name.substr(0, start) + std::to_string(blocks[number]) + name.substr(end);
    }
    start = end + 1;
  }
  return name;
}

/// The parameter of that name, with or without its family's prefix (an encoder alone has none).
const grad::Parameter* find_parameter(const models::LanguageModel& source, const std::string& name) {
  if (const grad::Parameter* found = source.parameters().find(name)) return found;
  for (const std::string& prefix : source.weight_names().prefixes) {
    const std::string other = name.starts_with(prefix) ? name.substr(prefix.size()) : prefix + name;
    if (const grad::Parameter* found = source.parameters().find(other)) return found;
  }
  return nullptr;
}

}  // namespace

int64_t block_count(const base::Json& config, const std::string& origin) {
  return base::json_require<int64_t>(config, block_count_key(config), origin);
}

std::vector<int64_t> parse_block_list(const std::vector<std::string>& entries, int64_t blocks) {
  std::vector<int64_t> list;
  if (entries.empty()) {
    for (int64_t block = 0; block < blocks; block += 2) list.push_back(block);
    return list;
  }
  for (const std::string& entry : entries) {
    int64_t block = -1;
    const char* end = entry.data() + entry.size();
    const auto [stop, error] = std::from_chars(entry.data(), end, block);
    if (error != std::errc() || stop != end || block < 0 || block >= blocks) {
      throw UsageError("model.layers has the entry \"{}\", but model.layers_from has the blocks 0 to {}",
                       base::printable(entry), blocks - 1);
    }
    if (!list.empty() && block <= list.back()) {
      throw UsageError("model.layers has {} behind {}; give the blocks in rising order, each once", block, list.back());
    }
    list.push_back(block);
  }
  return list;
}

base::Json config_with_blocks(base::Json config, const std::vector<int64_t>& blocks, const std::string& origin) {
  const auto count = static_cast<size_t>(block_count(config, origin));
  for (auto& [name, value] : config.items()) {
    if (!value.is_array() || value.size() != count) continue;
    base::Json chosen = base::Json::array();
    for (const int64_t block : blocks) chosen.push_back(value.at(static_cast<size_t>(block)));
    value = std::move(chosen);
  }
  config[block_count_key(config)] = blocks.size();
  return config;
}

void copy_blocks(const models::LanguageModel& source, const std::vector<int64_t>& blocks, models::LanguageModel& model,
                 const models::MayLack& may_lack) {
  tensor::Arena widened("widened weights");
  for (const auto& entry : model.parameters().entries()) {
    if (entry.options.auxiliary) continue;
    grad::Parameter& parameter = *entry.parameter;
    const std::string name = in_source_block(parameter.name(), blocks);
    const grad::Parameter* from = find_parameter(source, name);
    if (from == nullptr) {
      if (may_lack && may_lack(parameter.name())) continue;
      throw base::Error("model.layers_from: the model has no tensor {}, which the new one needs", name);
    }
    const tensor::Tensor values = from->wide_value(parameter.value().dtype(), widened);
    tensor::require_shape(values, parameter.shape(), fmt::format("model.layers_from: tensor {}", name));
    tensor::copy(values, parameter.value());
    parameter.value_changed();
  }
}

}  // namespace fledge::train
