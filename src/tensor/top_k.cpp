#include "tensor/top_k.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/parallel.h"
#include "tensor/check.h"
#include "tensor/cpu/distillation.h"
#include "tensor/cpu_features.h"

namespace fledge::tensor {
namespace {

struct Candidate {
  float logit;
  int32_t id;
};

/// The order of likelihood. As the order of a heap it puts the least likely candidate on top.
bool likelier(const Candidate& a, const Candidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

/// Keeps the `count` likeliest in `heap`, sorted. Most elements fail the comparison with the least likely one kept.
void select(const float* row, int64_t columns, int64_t count, std::vector<Candidate>& heap) {
  heap.clear();
  for (int64_t c = 0; c < count; ++c) heap.push_back({row[c], static_cast<int32_t>(c)});
  std::make_heap(heap.begin(), heap.end(), likelier);
  for (int64_t c = count; c < columns; ++c) {
    if (!(row[c] > heap.front().logit)) continue;
    std::pop_heap(heap.begin(), heap.end(), likelier);
    heap.back() = {row[c], static_cast<int32_t>(c)};
    std::push_heap(heap.begin(), heap.end(), likelier);
  }
  std::sort_heap(heap.begin(), heap.end(), likelier);
}

}  // namespace

void top_k(const Tensor& logits, double temperature, Tensor ids, Tensor log_probabilities, Tensor tails) {
  require_matrix(logits, "[top_k] logits");
  require_matrix(ids, "[top_k] ids");
  const int64_t rows = logits.dim(0), columns = logits.dim(1), count = ids.dim(1);
  require(logits, logits.shape(), {DType::f32}, "[top_k] logits");
  require(ids, {rows, count}, {DType::i32}, "[top_k] ids");
  require(log_probabilities, {rows, count}, {DType::f32}, "[top_k] log-probabilities");
  require(tails, {rows}, {DType::f32}, "[top_k] tails");
  if (count < 1 || count > columns) throw base::Error("[top_k] got {} of {} logits", count, columns);
  if (is_meta(logits) || is_meta(ids)) return;
  instruction_set();
  const double factor = 1.0 / temperature;
  base::parallel_for(rows, 1, [&](int64_t first, int64_t last) {
    std::vector<Candidate> heap;
    heap.reserve(static_cast<size_t>(count));
    for (int64_t r = first; r < last; ++r) {
      const float* row = logits.data<float>() + r * columns;
      const cpu::Softmax softmax = cpu::tempered_statistics(row, columns, static_cast<float>(factor));
      select(row, columns, count, heap);
      double listed = 0.0;
      for (int64_t k = 0; k < count; ++k) {
        const Candidate& candidate = heap[static_cast<size_t>(k)];
        const double log_probability =
            (static_cast<double>(candidate.logit) - static_cast<double>(softmax.greatest)) * factor -
            std::log(softmax.sum);
        ids.data<int32_t>()[r * count + k] = candidate.id;
        log_probabilities.data<float>()[r * count + k] = static_cast<float>(log_probability);
        listed += std::exp(log_probability);
      }
      tails.data<float>()[r] = static_cast<float>(std::max(0.0, 1.0 - listed));
    }
  });
}

}  // namespace fledge::tensor
