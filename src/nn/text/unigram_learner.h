#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "nn/text/unigram_seed.h"

namespace fledge::nn {

/// Learns which pieces a Unigram model keeps, and their probabilities (Kudo, "Subword Regularization", 2018, section
/// 3.2): expectation and maximization over all ways to cut the words, and pruning by how much likelihood would be lost.
/// All places where pieces stand in words are found once and thinned out as pieces go. Sums are kept in fixed point, so
/// that the result does not depend on the number of threads.
class UnigramLearner {
 public:
  static constexpr size_t kLongestWord = 128;             ///< bytes
  static constexpr size_t kMostPieces = size_t{1} << 24;  ///< at the beginning

  /// The words' texts must live on; every character in them is one of `seeds`. At most kMostPieces seeds, of at most
  /// 255 bytes each.
  UnigramLearner(const std::vector<CountedWord>& words, const std::vector<SeedPiece>& seeds);

  /// Makes the probabilities those that explain the words best, given the present ones: the expected number of each
  /// piece, discounted as a Bayesian with a sparse prior does it (exp(digamma)), which pulls rare pieces down. With
  /// `drops`, pieces that are expected less than half a time go, except single characters.
  void improve(bool drops);

  /// Keeps the `size` pieces whose loss would cost the most likelihood, single characters in any case.
  void prune(size_t size);

  size_t size() const { return pieces_.size(); }

  struct Piece {
    std::string text;
    double score;  ///< log-probability
    bool is_character;
  };
  const std::vector<Piece>& pieces() const { return pieces_; }

 private:
  /// A piece in a word: its number in the upper 24 bits, its length in bytes in the lower 8.
  using Edge = uint32_t;
  static uint32_t piece_of(Edge edge) { return edge >> 8; }
  static uint32_t length_of(Edge edge) { return edge & 0xFF; }

  /// Some words, their bytes one after the other, and the pieces that begin at each byte, by rising length.
  struct Part {
    struct Word {
      uint32_t begin, end;
      int64_t count;
    };
    std::vector<Word> words;
    std::vector<uint32_t> edge_begin;  // of each byte, and one more
    std::vector<Edge> edges;
  };
  struct Place {
    uint32_t part, byte;
  };
  struct Scratch;
  template <typename Visit>
  std::vector<int64_t> gather(const Visit& visit) const;

  void expect(const Part& part, const std::vector<double>& factors, Scratch& scratch) const;
  template <typename MayUse>
  void find_best(const Part& part, const uint32_t* begins, uint32_t size, const MayUse& may_use,
                 Scratch& scratch) const;
  void count_best(const Part& part, Scratch& scratch) const;
  double best_without(uint32_t piece, std::vector<uint32_t>& path, Scratch& scratch) const;
  std::vector<double> losses(const std::vector<int64_t>& counts) const;
  void keep(const std::vector<bool>& kept);

  std::vector<Piece> pieces_;
  std::vector<Place> places_;  // one place where each piece stands
  std::vector<Part> parts_;
  double nats_per_byte_ = 3.0;  // about; keeps sums of probabilities in range
};

}  // namespace fledge::nn
