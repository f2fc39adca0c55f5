// Distances between a student's and a teacher's values, and the scores of attention: finite differences, PyTorch's
// formulas by hand, and the fused attention that the scores must explain.
#include "grad/feature_loss.h"

#include <algorithm>

#include "grad/attention_scores.h"
#include "support/operation_check.h"
#include "tensor/attention_mask.h"

namespace fledge::grad {
namespace {

using tensor::DType;
using tensor::Shape;
using tensor::Tensor;
using test::as_doubles;
using test::normals;
using test::OperationBench;
using test::relative_error;

using Distance = FeatureLoss (*)(Graph&, const Variable&, const Tensor&, double, const Tensor&);

TEST(FeatureLoss, IsWhatItSays) {
  OperationBench bench(DType::f32);
  const Tensor x = bench.make({1, 2, 3, 4, 0, 0}, {3, 2}, DType::f32),
               target = bench.make({2, 2, -3, -4, 1, 0}, {3, 2}, DType::f32);
  const Tensor counted = Tensor::from(std::vector<int32_t>{1, 0, 1}, {3}, bench.arena());
  Graph graph = bench.graph(false);
  EXPECT_DOUBLE_EQ(squared_distance(graph, Variable(x), target, 0.5).sum, 1 + 36 + 64 + 1);
  EXPECT_DOUBLE_EQ(squared_distance(graph, Variable(x), target, 0.5, counted).sum, 2);
  EXPECT_EQ(as_doubles(squared_distance(graph, Variable(x), target, 0.5, counted).loss.value())[0], 1);
  const double first = 1 - 6 / std::sqrt(40.0);
  EXPECT_NEAR(cosine_distance(graph, Variable(x), target, 1, {}).sum, first + 2 + 1, 1e-15);
  EXPECT_NEAR(cosine_distance(graph, Variable(x), target, 1, counted).sum, first + 1, 1e-15);
}

TEST(FeatureLoss, AgreesWithFiniteDifferences) {
  for (const Distance distance : {Distance(squared_distance), Distance(cosine_distance)}) {
    OperationBench bench(DType::f64);
    const Tensor x = bench.make(normals(2 * 3 * 11, 1), {2, 3, 11}, DType::f64),
                 target = bench.make(normals(2 * 3 * 11, 2), {2, 3, 11}, DType::f64);
    const Tensor counted = Tensor::from(std::vector<int32_t>{1, 0, 1, 1, 1, 0}, {6}, bench.arena());
    const Variable variable(x, true);
    Graph graph = bench.graph();
    graph.backward(distance(graph, variable, target, 0.3, counted).loss);
    test::expect_finite_differences(
        x, as_doubles(variable.take_gradient()),
        [&] {
          Graph plain = bench.graph(false);
          return 0.3 * distance(plain, Variable(x), target, 0.3, counted).sum;
        },
        "x");
  }
}

TEST(FeatureLoss, MixesTypes) {
  for (const Distance distance : {Distance(squared_distance), Distance(cosine_distance)}) {
    OperationBench bench(DType::bf16);
    const std::vector<double> a = normals(4 * 33, 1), b = normals(4 * 33, 2);
    std::vector<double> sums;
    std::vector<std::vector<double>> gradients;
    for (const DType x_type : {DType::f32, DType::bf16}) {
      for (const DType target_type : {DType::f32, DType::bf16}) {
        const Variable x(bench.make(a, {4, 33}, x_type), true);
        Graph graph = bench.graph();
        const FeatureLoss result = distance(graph, x, bench.make(b, {4, 33}, target_type), 1.0, {});
        graph.backward(result.loss);
        sums.push_back(result.sum);
        gradients.push_back(as_doubles(x.take_gradient()));
      }
    }
    // bf16 keeps 8 bits: a relative 2^-9 for each number.
    for (size_t index = 1; index < sums.size(); ++index) {
      EXPECT_NEAR(sums[index] / sums[0], 1.0, 4e-3);
      EXPECT_LT(relative_error(gradients[index], gradients[0]), 8e-3);
    }
  }
}

struct Scores {
  OperationBench bench;
  int64_t batch = 2, tokens = 7, heads, key_heads, size = 6;
  Tensor qkv;
  AttentionOptions options;

  Scores(DType type, int64_t query_heads, int64_t shared, bool causal)
      : bench(type), heads(query_heads), key_heads(shared) {
    const Shape shape{batch, tokens, (heads + 2 * key_heads) * size};
    qkv = bench.make(normals(static_cast<size_t>(shape.elements()), 3), shape, type);
    options.causal = causal;
    std::vector<int32_t> starts, ends;
    for (int64_t row = 0; row < batch; ++row) {
      for (int32_t token = 0; token < 7; ++token) {
        const bool second = row == 1 && token >= 3;
        starts.push_back(second ? 3 : 0);
        ends.push_back(row == 1 && !second ? 3 : 7);
      }
    }
    options.document_starts = Tensor::from(starts, {batch, tokens}, bench.arena());
    options.document_ends = Tensor::from(ends, {batch, tokens}, bench.arena());
  }
};

TEST(AttentionScores, ExplainTheFusedAttention) {
  for (const bool causal : {false, true}) {
    Scores setting(DType::f64, 4, 2, causal);
    Graph graph = setting.bench.graph(false);
    const std::vector<double> scores =
        as_doubles(attention_scores(graph, Variable(setting.qkv), 4, setting.options, 2).value());
    const std::vector<double> fused =
        as_doubles(packed_attention(graph, Variable(setting.qkv), 4, setting.options, 2).value());
    const std::vector<int32_t> starts = setting.options.document_starts.to_vector<int32_t>(),
                               ends = setting.options.document_ends.to_vector<int32_t>();
    const std::vector<double> all = as_doubles(setting.qkv);
    std::vector<double> expected;
    int64_t pairs = 0;
    for (int64_t row = 0; row < 2; ++row) {
      for (int64_t query = 0; query < 7; ++query) {
        const auto place = static_cast<size_t>(row * 7 + query);
        const int64_t end = causal ? std::min<int64_t>(ends[place], query + 1) : ends[place];
        pairs += end - starts[place];
        for (int64_t head = 0; head < 4; ++head) {
          const double* line = scores.data() + ((row * 4 + head) * 7 + query) * 7;
          double sum = 0.0;
          std::vector<double> mixed(6);
          for (int64_t key = 0; key < 7; ++key) {
            const bool seen = key >= starts[place] && key < end;
            if (!seen) {
              EXPECT_EQ(line[key], 0.0);
              continue;
            }
            sum += std::exp(line[key]);
            for (int64_t d = 0; d < 6; ++d) {
              const auto value = static_cast<size_t>(((row * 7 + key) * 8 + 6 + head / 2) * 6 + d);
              mixed[static_cast<size_t>(d)] += std::exp(line[key]) * all[value];
            }
          }
          for (const double value : mixed) expected.push_back(value / sum);
        }
      }
    }
    EXPECT_LT(relative_error(fused, expected), 1e-12);
    tensor::AttentionOptions mask;
    mask.causal = causal;
    mask.document_starts = setting.options.document_starts;
    mask.document_ends = setting.options.document_ends;
    EXPECT_EQ(tensor::visible_pairs(2, 7, mask), pairs);
  }
}

TEST(AttentionScores, AgreeWithFiniteDifferences) {
  for (const bool causal : {false, true}) {
    Scores setting(DType::f64, 4, 2, causal);
    const Tensor target = setting.bench.make(normals(2 * 4 * 49, 5), {2, 4, 7, 7}, DType::f64);
    const Variable x(setting.qkv, true);
    Graph graph = setting.bench.graph();
    graph.backward(squared_distance(graph, attention_scores(graph, x, 4, setting.options, 2), target, 0.1).loss);
    test::expect_finite_differences(
        setting.qkv, as_doubles(x.take_gradient()),
        [&] {
          Graph plain = setting.bench.graph(false);
          const Variable scores = attention_scores(plain, Variable(setting.qkv), 4, setting.options, 2);
          return 0.1 * squared_distance(plain, scores, target, 0.1).sum;
        },
        "qkv");
  }
}

TEST(AttentionScores, OfAllArithmeticsAgree) {
  std::vector<std::vector<double>> values, gradients;
  for (const DType type : {DType::f64, DType::f32, DType::bf16}) {
    Scores setting(type, 4, 2, false);
    const Tensor target = setting.bench.make(normals(2 * 4 * 49, 5), {2, 4, 7, 7}, setting.bench.parameter_type());
    const Variable x(setting.qkv, true);
    Graph graph = setting.bench.graph();
    const Variable scores = attention_scores(graph, x, 4, setting.options, 2);
    values.push_back(as_doubles(scores.value()));
    graph.backward(squared_distance(graph, scores, target, 0.1).loss);
    gradients.push_back(as_doubles(x.take_gradient()));
  }
  EXPECT_LT(relative_error(values[1], values[0]), 1e-6);
  EXPECT_LT(relative_error(gradients[1], gradients[0]), 1e-6);
  EXPECT_LT(relative_error(values[2], values[0]), 1e-2);
  EXPECT_LT(relative_error(gradients[2], gradients[0]), 1e-2);
}

/// Another model's projection: as many heads of queries, others of keys, and another head size.
OtherProjection other_projection(Scores& setting) {
  const Shape shape{2, 7, (4 + 2 * 4) * 5};
  const DType type = setting.bench.activation_type();
  return {setting.bench.make(normals(static_cast<size_t>(shape.elements()), 8), shape, type), 4};
}

TEST(AttentionScoreDistance, IsThatOfTheExposedScores) {
  for (const bool causal : {false, true}) {
    for (const int64_t window : {0, 2}) {
      if (window > 0 && !causal) continue;
      Scores setting(DType::f64, 4, 2, causal);
      setting.options.window = window;
      const OtherProjection other = other_projection(setting);
      const Variable x(setting.qkv, true), y(setting.qkv, true);
      Graph graph = setting.bench.graph(), plain = setting.bench.graph();
      const FeatureLoss fused = attention_score_distance(graph, x, 4, 2, other, setting.options, 0.1);
      const Tensor wanted = attention_scores(plain, Variable(other.qkv), 4, setting.options, 4).value();
      const FeatureLoss exposed =
          squared_distance(plain, attention_scores(plain, y, 4, setting.options, 2), wanted, 0.1);
      EXPECT_NEAR(fused.sum / exposed.sum, 1.0, 1e-12);
      graph.backward(fused.loss);
      plain.backward(exposed.loss);
      EXPECT_LT(relative_error(as_doubles(x.take_gradient()), as_doubles(y.take_gradient())), 1e-12);
    }
  }
}

TEST(AttentionScoreDistance, OfAllArithmeticsAgree) {
  std::vector<double> sums;
  std::vector<std::vector<double>> gradients;
  for (const DType type : {DType::f64, DType::f32, DType::bf16}) {
    Scores setting(type, 4, 2, true);
    const OtherProjection other = other_projection(setting);
    const Variable x(setting.qkv, true);
    Graph graph = setting.bench.graph();
    const FeatureLoss loss = attention_score_distance(graph, x, 4, 2, other, setting.options, 0.1);
    graph.backward(loss.loss);
    sums.push_back(loss.sum);
    gradients.push_back(as_doubles(x.take_gradient()));
  }
  EXPECT_NEAR(sums[1] / sums[0], 1.0, 1e-6);
  EXPECT_LT(relative_error(gradients[1], gradients[0]), 1e-6);
  EXPECT_NEAR(sums[2] / sums[0], 1.0, 1e-2);
  EXPECT_LT(relative_error(gradients[2], gradients[0]), 1e-2);
}

}  // namespace
}  // namespace fledge::grad
