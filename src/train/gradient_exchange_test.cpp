#include "train/gradient_exchange.h"

#include <gtest/gtest.h>

#include "models/gpt2.h"

namespace fledge::train {
namespace {

nn::ParameterSet parameters_of(const std::vector<int64_t>& sizes) {
  nn::ParameterSet parameters;
  for (size_t index = 0; index < sizes.size(); ++index) {
    parameters.add("parameter " + std::to_string(index), {sizes[index]}, {});
  }
  return parameters;
}

TEST(GradientBuckets, CoverEveryElementOnceFromTheLastToTheFirst) {
  for (const size_t bytes : {size_t{1}, size_t{200}, size_t{1000}, size_t{1} << 30}) {
    const nn::ParameterSet parameters = parameters_of({100, 7, 16, 300, 1, 1, 64});
    const auto buckets = plan_gradient_buckets(parameters, bytes);
    int64_t end = parameters.flat_size();
    size_t last = parameters.entries().size();
    for (const GradientBucket& bucket : buckets) {
      EXPECT_EQ(bucket.end, end);
      EXPECT_EQ(bucket.last, last);
      EXPECT_LT(bucket.first, bucket.last);
      EXPECT_EQ(bucket.begin, parameters.entries()[bucket.first].offset);
      end = bucket.begin;
      last = bucket.first;
    }
    EXPECT_EQ(end, 0);
    EXPECT_EQ(last, 0U);
  }
  EXPECT_EQ(plan_gradient_buckets(parameters_of({100, 7, 16}), 1).size(), 3U);
  EXPECT_EQ(plan_gradient_buckets(parameters_of({100, 7, 16}), 1 << 20).size(), 1U);
}

/// Two processes with equal gradients: a sum doubles them.
class Doubling : public tensor::ProcessGroup {
 public:
  int rank() const override { return 0; }
  int size() const override { return 2; }
  void all_reduce_sum(tensor::Tensor t) override {
    auto* values = t.data<float>();
    for (int64_t index = 0; index < t.elements(); ++index) values[index] *= 2.0F;
    ++calls;
  }
  double all_reduce_sum(double value) override { return 2.0 * value; }
  void all_gather(tensor::Tensor, const std::vector<int64_t>&) override {}
  void broadcast(tensor::Tensor) override {}
  void barrier() override {}
  int calls = 0;
};

TEST(GradientExchange, SumsEveryGradientOnceAStep) {
  nn::Memory memory;
  nn::ParameterSet parameters = parameters_of({33, 5, 80});
  parameters.allocate(memory, tensor::DType::f32, true);
  Doubling processes;
  GradientExchange exchange(parameters, processes);
  for (int step = 0; step < 3; ++step) {
    parameters.forget_gradients();
    grad::Graph graph(memory.activations, memory.encodings, tensor::DType::f32, true);
    exchange.watch(graph);
    grad::Parameter& used = *parameters.entries()[1].parameter;
    used.begin_gradient();
    for (int index = 0; index < 5; ++index) used.gradient().data<float>()[index] = 3.0F;
    exchange.finish();
    EXPECT_EQ(used.gradient().to_vector<float>(), std::vector<float>(5, 6.0F));
    EXPECT_EQ(parameters.entries()[0].parameter->gradient().to_vector<float>(), std::vector<float>(33, 0.0F));
    EXPECT_EQ(processes.calls, step + 1);
  }
}

}  // namespace
}  // namespace fledge::train
