#pragma once

#include <cmath>
#include <limits>
#include <vector>

#include "base/parallel.h"
#include "tensor/cpu/attention.h"

namespace fledge::tensor::cpu::reference {

/// The factor of one normalised weight: 1, or 0 or 1 / (1 - p) under dropout.
inline double dropout_factor(const AttentionProblem& problem, int64_t b, int64_t h, int64_t query, int64_t key) {
  const AttentionDropout& dropout = problem.dropout;
  if (dropout.random == nullptr) return 1;
  const auto numbers = dropout.numbers(b, h, problem.position(query), key / 4);
  return numbers[static_cast<size_t>(key % 4)] < dropout.threshold ? 0 : dropout.kept;
}

inline double dot(const double* a, const double* b, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

/// Attention as its formula reads, in f64: one query at a time, all its scores in memory.
inline void attention_forward(const AttentionProblem& p, const AttentionForward& t) {
  base::parallel_for(p.batch * p.heads, 1, [&](int64_t first, int64_t last) {
    std::vector<double> weights(static_cast<size_t>(p.keys));
    for (int64_t item = first; item < last; ++item) {
      const int64_t b = item / p.heads, h = item % p.heads, kv_head = h / p.group();
      for (int64_t query = 0; query < p.queries; ++query) {
        const auto [begin, end] = p.range(b, query);
        double* out = t.out.row<double>(b, query, h);
        std::fill(out, out + p.value_size, 0.0);

        double maximum = -std::numeric_limits<double>::infinity(), sum = 0;
        for (int64_t key = begin; key < end; ++key) {
          double& score = weights[static_cast<size_t>(key)];
          score = p.scale * dot(t.q.row<double>(b, query, h), t.k.row<double>(b, key, kv_head), p.head_size);
          maximum = std::max(maximum, score);
        }
        for (int64_t key = begin; key < end; ++key) {
          double& weight = weights[static_cast<size_t>(key)];
          weight = std::exp(weight - maximum);
          sum += weight;
        }
        for (int64_t key = begin; key < end; ++key) {
          const double weight = weights[static_cast<size_t>(key)] / sum * dropout_factor(p, b, h, query, key);
          const double* value = t.v.row<double>(b, key, kv_head);
          for (int64_t d = 0; d < p.value_size; ++d) out[d] += weight * value[d];
        }
        if (t.logsumexp != nullptr) {
          static_cast<double*>(t.logsumexp)[item * p.queries + query] = maximum + std::log(sum);
        }
      }
    }
  });
}

/// Adds the gradients that come from one query of head h.
inline void attention_backward_query(const AttentionProblem& p, const AttentionBackward& t, int64_t b, int64_t h,
                                     int64_t query) {
  const auto [begin, end] = p.range(b, query);
  const int64_t kv_head = h / p.group();
  const double logsumexp = static_cast<const double*>(t.logsumexp)[(b * p.heads + h) * p.queries + query];
  const double *q = t.q.row<double>(b, query, h), *d_out = t.d_out.row<double>(b, query, h);
  const double delta = dot(d_out, t.out.row<double>(b, query, h), p.value_size);
  double* d_q = t.d_q.row<double>(b, query, h);
  for (int64_t key = begin; key < end; ++key) {
    const double *k = t.k.row<double>(b, key, kv_head), *v = t.v.row<double>(b, key, kv_head);
    double *d_k = t.d_k.row<double>(b, key, kv_head), *d_v = t.d_v.row<double>(b, key, kv_head);
    const double factor = dropout_factor(p, b, h, query, key);
    const double weight = std::exp(p.scale * dot(q, k, p.head_size) - logsumexp);
    const double d_weight = dot(d_out, v, p.value_size) * factor;
    const double d_score = weight * (d_weight - delta) * p.scale;
    for (int64_t d = 0; d < p.value_size; ++d) d_v[d] += weight * factor * d_out[d];
    for (int64_t d = 0; d < p.head_size; ++d) {
      d_q[d] += d_score * k[d];
      d_k[d] += d_score * q[d];
    }
  }
}

inline void attention_backward(const AttentionProblem& p, const AttentionBackward& t) {
  base::parallel_for(p.batch * p.kv_heads, 1, [&](int64_t first, int64_t last) {
    for (int64_t item = first; item < last; ++item) {
      const int64_t b = item / p.kv_heads, kv_head = item % p.kv_heads;
      for (int64_t key = 0; key < p.keys; ++key) {
        std::fill_n(t.d_k.row<double>(b, key, kv_head), p.head_size, 0.0);
        std::fill_n(t.d_v.row<double>(b, key, kv_head), p.value_size, 0.0);
      }
      for (int64_t h = kv_head * p.group(); h < (kv_head + 1) * p.group(); ++h) {
        for (int64_t query = 0; query < p.queries; ++query) {
          std::fill_n(t.d_q.row<double>(b, query, h), p.head_size, 0.0);
          attention_backward_query(p, t, b, h, query);
        }
      }
    }
  });
}

}  // namespace fledge::tensor::cpu::reference
