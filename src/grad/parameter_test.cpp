// Parameters that are kept as they are stored give the results of wide ones with the same values.
#include "grad/parameter.h"

#include "base/error.h"
#include "grad/embedding.h"
#include "grad/linear.h"
#include "grad/linear_cross_entropy.h"
#include "support/operation_check.h"
#include "tensor/elementwise.h"

namespace fledge::grad {
namespace {

using tensor::BlockType;
using tensor::DType;
using tensor::Tensor;
using test::as_doubles;
using test::normals;
using test::OperationBench;
using test::relative_error;

constexpr int64_t kIn = 64, kOut = 48;

/// The same matrix [kOut, kIn]: as it is stored, and wide.
struct Pair {
  std::unique_ptr<Parameter> stored = std::make_unique<Parameter>("w", tensor::Shape{kOut, kIn});
  std::unique_ptr<Parameter> wide = std::make_unique<Parameter>("w", tensor::Shape{kOut, kIn});
};

Pair make_bf16(OperationBench& bench) {
  Pair pair;
  pair.stored->bind_stored(bench.make(normals(kOut * kIn, 1), {kOut, kIn}, DType::bf16));
  pair.wide->bind(pair.stored->wide_value(DType::f32, bench.arena()), {});
  return pair;
}

Pair make_blocks(OperationBench& bench, BlockType type) {
  Pair pair;
  const Tensor values = bench.make(normals(kOut * kIn, 1), {kOut, kIn}, DType::f32);
  pair.stored->bind_stored(tensor::quantize(values, type, bench.arena()));
  pair.wide->bind(pair.stored->wide_value(DType::f32, bench.arena()), {});
  return pair;
}

std::vector<double> run_linear(OperationBench& bench, Parameter& weight, std::vector<double>* d_x) {
  Graph graph = bench.graph();
  const Variable x(bench.make(normals(5 * kIn, 2), {5, kIn}, bench.activation_type()), true);
  const Variable y = linear(graph, x, weight, WeightLayout::output_input);
  const std::vector<double> result = as_doubles(y.value());
  graph.backward(y, bench.make(normals(5 * kOut, 3), {5, kOut}, bench.activation_type()));
  *d_x = as_doubles(x.take_gradient());
  return result;
}

TEST(StoredParameter, Bf16IsMultipliedAsItsWideValues) {
  for (const DType type : {DType::f32, DType::bf16}) {
    OperationBench bench(type);
    const Pair pair = make_bf16(bench);
    std::vector<double> stored_gradient, wide_gradient;
    EXPECT_EQ(run_linear(bench, *pair.stored, &stored_gradient), run_linear(bench, *pair.wide, &wide_gradient));
    EXPECT_EQ(stored_gradient, wide_gradient);
    EXPECT_FALSE(pair.stored->trainable());
  }
}

// The activations are rounded to 8 bits in blocks of 32: at most 1 / 254 of a block's greatest, 1 / 440 of it on
// average, against a norm of about 1 / 2.5 of the greatest.
TEST(StoredParameter, BlocksAreMultipliedNearlyAsTheirWideValues) {
  for (const DType type : {DType::f32, DType::bf16}) {
    for (const BlockType blocks : {BlockType::q8_0, BlockType::q4_0, BlockType::q4_1}) {
      OperationBench bench(type);
      const Pair pair = make_blocks(bench, blocks);
      std::vector<double> stored_gradient, wide_gradient;
      const std::vector<double> stored = run_linear(bench, *pair.stored, &stored_gradient);
      EXPECT_LT(relative_error(stored, run_linear(bench, *pair.wide, &wide_gradient)), 1.0 / 127.0);
      EXPECT_EQ(stored_gradient, wide_gradient);
    }
  }
}

// Query, key and value as one product: of one block type, and of two (llama.cpp keeps the value finer).
TEST(StoredParameter, JoinedBlocksAreMultipliedAsSeparateOnes) {
  for (const BlockType last : {BlockType::q4_0, BlockType::q8_0}) {
    OperationBench bench(DType::f32);
    std::vector<std::unique_ptr<Parameter>> parts;
    for (const auto& [rows, type] : {std::pair{int64_t{32}, BlockType::q4_0}, {5, BlockType::q4_0}, {7, last}}) {
      parts.push_back(std::make_unique<Parameter>("part", tensor::Shape{rows, kIn}));
      const Tensor values = bench.make(normals(static_cast<size_t>(rows * kIn), parts.size()), {rows, kIn}, DType::f32);
      parts.back()->bind_stored(tensor::quantize(values, type, bench.arena()));
    }
    Parameter joined("joined", {parts[0].get(), parts[1].get(), parts[2].get()});
    const auto bias = bench.parameter("bias", normals(44, 9), {44});
    Graph graph = bench.graph(false);
    const Variable x(bench.make(normals(3 * kIn, 2), {3, kIn}, DType::f32));
    const Variable residual(bench.make(normals(3 * 44, 5), {3, 44}, DType::f32));
    const std::vector<double> whole = as_doubles(
        linear(graph, x, joined, WeightLayout::output_input, {.bias = bias.get(), .residual = residual}).value());
    int64_t first = 0;
    for (const auto& part : parts) {
      const std::vector<double> alone = as_doubles(linear(graph, x, *part, WeightLayout::output_input).value());
      const int64_t count = part->shape()[0];
      for (int64_t row = 0; row < 3; ++row) {
        for (int64_t column = 0; column < count; ++column) {
          const auto at = static_cast<size_t>(row * 44 + first + column);
          const double rest =
              as_doubles(residual.value())[at] + as_doubles(bias->value())[static_cast<size_t>(first + column)];
          EXPECT_NEAR(whole[at], alone[static_cast<size_t>(row * count + column)] + rest, 1e-5);
        }
      }
      first += count;
    }
  }
}

TEST(StoredParameter, RowsAreLookedUp) {
  OperationBench bench(DType::f32);
  for (const Pair& pair : {make_bf16(bench), make_blocks(bench, BlockType::q8_0)}) {
    Graph graph = bench.graph();
    const Tensor ids = Tensor::from(std::vector<int32_t>{3, 0, 47}, {1, 3}, bench.arena());
    EXPECT_EQ(as_doubles(embedding(graph, ids, *pair.stored).value()),
              as_doubles(embedding(graph, ids, *pair.wide).value()));
    const Tensor outside = Tensor::from(std::vector<int32_t>{48}, {1, 1}, bench.arena());
    EXPECT_THROW(embedding(graph, outside, *pair.stored), base::Error);
  }
}

TEST(StoredParameter, TheHeadsLossFlowsBack) {
  OperationBench bench(DType::f32);
  const Pair pair = make_blocks(bench, BlockType::q8_0);
  const Tensor targets = Tensor::from(std::vector<int32_t>{3, -100, 47, 8}, {4}, bench.arena());
  const auto run = [&](Parameter& weight) {
    Graph graph = bench.graph();
    const Variable x(bench.make(normals(4 * kIn, 2), {4, kIn}, DType::f32), true);
    const HeadLoss loss = linear_cross_entropy(graph, x, weight, WeightLayout::output_input, targets, 0.5);
    graph.backward(loss.loss);
    std::vector<double> result = as_doubles(x.take_gradient());
    result.push_back(as_doubles(loss.loss.value())[0]);
    return result;
  };
  // The loss's own rounding of activations changes the probabilities, and with them the gradient, by about a percent.
  EXPECT_LT(relative_error(run(*pair.stored), run(*pair.wide)), 2e-2);
}

TEST(StoredParameter, RefusesWhatDoesNotFit) {
  OperationBench bench(DType::f32);
  Parameter parameter("w", {kOut, kIn});
  const Tensor values = bench.make(normals(kOut * kIn, 1), {kIn, kOut}, DType::f32);
  EXPECT_THROW(parameter.bind_stored(values), base::Error);
  EXPECT_THROW(parameter.bind_stored(bench.make(normals(kOut * kIn, 1), {kIn, kOut}, DType::bf16)), base::Error);
  tensor::BlockMatrix blocks =
      tensor::quantize(bench.make(normals(kOut * kIn, 1), {kOut, kIn}, DType::f32), BlockType::q8_0, bench.arena());
  blocks.rows -= 1;
  EXPECT_THROW(parameter.bind_stored(blocks), base::Error);
  EXPECT_FALSE(parameter.is_stored());
}

}  // namespace
}  // namespace fledge::grad
