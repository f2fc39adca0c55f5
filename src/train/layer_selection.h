#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/model_io.h"

namespace fledge::train {

/// The number of blocks that a config.json names. Throws Error naming `origin` where it names none.
int64_t block_count(const base::Json& config, const std::string& origin);

/// The blocks of a model of `blocks` blocks that a smaller one takes over: numbers from 0 in rising order, or, where
/// the list is empty, every second one from the first on (DistilBERT's and DistilGPT2's start). Throws UsageError for
/// what is no number, out of range or out of order.
std::vector<int64_t> parse_block_list(const std::vector<std::string>& entries, int64_t blocks);

/// The config.json of a model with these blocks of another's alone: the number of blocks, and every list that says
/// something of each block. Throws Error naming `origin` where the configuration says no number of blocks.
base::Json config_with_blocks(base::Json config, const std::vector<int64_t>& blocks, const std::string& origin);

/// Copies the values of a larger model into one made of some of its blocks: block n of `model` from block blocks[n],
/// everything else by name. Parameters that `source` has not and may lack keep their values. Throws Error naming the
/// parameter that is missing or of another shape.
void copy_blocks(const models::LanguageModel& source, const std::vector<int64_t>& blocks, models::LanguageModel& model,
                 const models::MayLack& may_lack);

}  // namespace fledge::train
