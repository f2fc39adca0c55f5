#include "tensor/attention_mask.h"

#include <algorithm>

#include "base/parallel.h"
#include "tensor/check.h"

namespace fledge::tensor {
namespace {

/// The keys [first, last) that a query sees.
struct Range {
  int64_t first, last;
};

class Mask {
 public:
  Mask(int64_t batch, int64_t tokens, const AttentionOptions& options) : options_(options), tokens_(tokens) {
    for (const Tensor* bounds : {&options.document_starts, &options.document_ends}) {
      require_if_defined(*bounds, {batch, tokens}, {DType::i32}, "[attention_mask] borders of documents");
    }
  }

  Range seen_by(int64_t row, int64_t query) const {
    const auto bound = [&](const Tensor& bounds, int64_t usual) {
      return bounds ? int64_t{bounds.data<int32_t>()[row * tokens_ + query]} : usual;
    };
    Range range{bound(options_.document_starts, 0), bound(options_.document_ends, tokens_)};
    if (options_.causal) range.last = std::min(range.last, query + 1);
    if (options_.window > 0) range.first = std::max(range.first, query + 1 - options_.window);
    range.first = std::clamp<int64_t>(range.first, 0, tokens_);
    range.last = std::clamp(range.last, range.first, tokens_);
    return range;
  }

 private:
  const AttentionOptions& options_;
  int64_t tokens_;
};

bool is_on_meta(const AttentionOptions& options) {
  return (options.document_starts && is_meta(options.document_starts)) ||
         (options.document_ends && is_meta(options.document_ends));
}

template <typename T>
void clear(T* scores, int64_t batch, int64_t heads, int64_t tokens, const Mask& mask) {
  base::parallel_for(batch * heads * tokens, std::max<int64_t>(1, 8192 / std::max<int64_t>(1, tokens)),
                     [&](int64_t first, int64_t last) {
                       for (int64_t line = first; line < last; ++line) {
                         const Range seen = mask.seen_by(line / (heads * tokens), line % tokens);
                         T* row = scores + line * tokens;
                         std::fill(row, row + seen.first, T{0});
                         std::fill(row + seen.last, row + tokens, T{0});
                       }
                     });
}

}  // namespace

void clear_unseen(Tensor scores, const AttentionOptions& options) {
  if (!scores || scores.rank() != 4 || scores.dim(2) != scores.dim(3)) {
    throw base::Error("[clear_unseen] scores: got {}, expected [B, H, T, T]", describe(scores));
  }
  require(scores, scores.shape(), {DType::f32, DType::f64}, "[clear_unseen] scores");
  const Mask mask(scores.dim(0), scores.dim(2), options);
  if (is_meta(scores) || is_on_meta(options)) return;
  const auto run = [&](auto* values) { clear(values, scores.dim(0), scores.dim(1), scores.dim(2), mask); };
  scores.dtype() == DType::f64 ? run(scores.data<double>()) : run(scores.data<float>());
}

void clear_unseen_block(Tensor scores, int64_t first_query, int64_t first_key, const AttentionOptions& options) {
  require_matrix(scores, "[clear_unseen_block] scores");
  require_dtype(scores, {DType::f32, DType::f64}, "[clear_unseen_block] scores");
  if (is_meta(scores) || !options.causal) return;
  const auto clear_rows = [&]<typename T>(T* values) {
    const int64_t keys = scores.dim(1);
    for (int64_t line = 0; line < scores.dim(0); ++line) {
      const int64_t end = first_query + line + 1 - first_key;
      const int64_t begin = options.window > 0 ? end - options.window : 0;
      T* row = values + line * scores.stride(0);
      std::fill(row, row + std::clamp<int64_t>(begin, 0, keys), T{0});
      std::fill(row + std::clamp<int64_t>(end, 0, keys), row + keys, T{0});
    }
  };
  scores.dtype() == DType::f64 ? clear_rows(scores.data<double>()) : clear_rows(scores.data<float>());
}

std::vector<AttentionBlock> attention_blocks(int64_t row, int64_t batch, int64_t tokens,
                                             const AttentionOptions& options) {
  AttentionOptions documents;
  documents.causal = false;
  documents.document_starts = options.document_starts;
  documents.document_ends = options.document_ends;
  const Mask mask(batch, tokens, documents);
  if (is_on_meta(options)) return {{0, tokens, 0, tokens}};
  std::vector<AttentionBlock> blocks;
  for (int64_t first = 0; first < tokens;) {
    const Range seen = mask.seen_by(row, first);
    int64_t last = first + 1;
    for (; last < tokens; ++last) {
      const Range next = mask.seen_by(row, last);
      if (next.first != seen.first || next.last != seen.last) break;
    }
    // Causal queries see nothing behind themselves.
    const int64_t end = options.causal ? std::min(seen.last, last) : seen.last;
    if (seen.first < end) blocks.push_back({first, last, seen.first, end});
    first = last;
  }
  return blocks;
}

int64_t visible_pairs(int64_t batch, int64_t tokens, const AttentionOptions& options) {
  const Mask mask(batch, tokens, options);
  if (is_on_meta(options)) return batch * tokens * tokens;
  int64_t pairs = 0;
  for (int64_t row = 0; row < batch; ++row) {
    for (int64_t query = 0; query < tokens; ++query) {
      const Range seen = mask.seen_by(row, query);
      pairs += seen.last - seen.first;
    }
  }
  return pairs;
}

}  // namespace fledge::tensor
