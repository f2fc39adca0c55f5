#pragma once

#include <memory>
#include <span>
#include <string>

#include "nn/text/chars_map.h"
#include "nn/text/normalizer.h"

namespace fledge::nn {

/// What SentencePiece does to spaces (NormalizerSpec).
struct SentencePieceSpaces {
  bool add_prefix = true;    ///< one goes before the text
  bool remove_extra = true;  ///< of several one stays, and none at the ends
  bool escape = true;        ///< they are written as U+2581
};

/// The normalizer of a SentencePiece model: at each place a user-defined symbol stays as it is, else the longest key of
/// the map is replaced; then spaces.
std::unique_ptr<Normalizer> make_sentence_piece_normalizer(CharsMap map, SentencePieceSpaces spaces,
                                                           std::span<const std::string> user_defined);

}  // namespace fledge::nn
