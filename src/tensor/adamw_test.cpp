#include "tensor/adamw.h"

#include "tensor/kernel_testing.h"

namespace fledge::tensor {
namespace {

using namespace testing;

TEST(AdamW, FollowsPyTorchInF64) {
  struct Step {
    std::vector<double> gradient, parameter, m, v;
  };
  // torch.optim.AdamW([0.5, -1.25, 3.0], lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1) in torch.float64.
  const std::vector<Step> steps = {{{0.1, -0.2, 4.0},
                                    {0.489500099999, -1.2387500499997501, 2.9870000024999994},
                                    {0.019999999999999997, -0.039999999999999994, 0.7999999999999998},
                                    {0.0005000000000000004, 0.0020000000000000018, 0.8000000000000007}},
                                   {{0.3, 0.2, -1.0},
                                    {0.4796648332255515, -1.2386224055053336, 2.9797725732290394},
                                    {0.07599999999999998, 0.007999999999999993, 0.43999999999999995},
                                    {0.004975000000000005, 0.0039000000000000033, 0.8100000000000007}},
                                   {{-0.7, 1e-9, 0.5},
                                    {0.4827703873274414, -1.2381974772496036, 2.9728371959988302},
                                    {-0.07919999999999996, 0.006400000199999995, 0.45199999999999996},
                                    {0.029226250000000023, 0.003705000000000003, 0.7820000000000007}}};
  const Tensor parameter = make({0.5, -1.25, 3.0}, {3}, DType::f64);
  const Tensor m = Tensor::zeros({3}, DType::f64, arena()), v = Tensor::zeros({3}, DType::f64, arena());
  AdamWOptions options{.learning_rate = 0.01,
                       .beta1 = 0.8,
                       .beta2 = 0.95,
                       .epsilon = 1e-6,
                       .weight_decay = 0.1,
                       .step = 0,
                       .gradient_scale = 1};
  for (const Step& step : steps) {
    ++options.step;
    adamw(parameter, make(step.gradient, {3}, DType::f64), m, v, options);
    expect_close(parameter, step.parameter, 0, 1e-14);
    expect_close(m, step.m, 0, 1e-14);
    expect_close(v, step.v, 0, 1e-14);
  }
}

TEST(AdamW, AgreesWithF64OnSlices) {
  on_every_target([&] {
    for (const int64_t count : odd_lengths()) {
      // A shard in the middle of flat tensors; what lies around it stays as it is.
      const Shape shape{count + 7};
      const auto part = [&](const Tensor& t) { return t.slice(0, 3, count); };
      const Tensor parameter = make_normal(shape, DType::f32, 1), gradient = make_normal(shape, DType::f32, 2, 0, 10);
      const Tensor m = Tensor::zeros(shape, DType::f32, arena()), v = Tensor::zeros(shape, DType::f32, arena());
      const Tensor wide_parameter = widened(parameter), wide_m = widened(m), wide_v = widened(v);
      const auto before = values_of(parameter);
      for (int64_t step = 1; step <= 5; ++step) {
        const AdamWOptions options{.learning_rate = 1e-2, .weight_decay = 0.1, .step = step, .gradient_scale = 0.125};
        adamw(part(parameter), part(gradient), part(m), part(v), options);
        adamw(part(wide_parameter), widened(part(gradient)), part(wide_m), part(wide_v), options);
        scale(gradient, -0.5);
      }
      // 1 - beta2 and such are rounded to f32 once (6e-8 relative), and five steps have three roundings each.
      expect_close(part(m), values_of(part(wide_m)), 1e-7, 1e-6);
      expect_close(part(v), values_of(part(wide_v)), 0, 2e-6);
      // An update is at most about the learning rate; m's rounding errors enter it divided by sqrt(v).
      expect_close(part(parameter), values_of(part(wide_parameter)), 1e-7, 5e-7);
      for (const int64_t i : {int64_t{0}, int64_t{2}, count + 3, count + 6}) {
        ASSERT_EQ(values_of(parameter)[static_cast<size_t>(i)], before[static_cast<size_t>(i)]);
      }
    }
  });
}

TEST(AdamW, IsTheSameForAnyThreads) {
  const Tensor gradient = make_normal({100003}, DType::f32, 2), start = make_normal({100003}, DType::f32, 1);
  std::string expected;
  with_thread_counts([&] {
    const Tensor parameter = Tensor::empty({100003}, DType::f32, arena());
    const Tensor m = Tensor::zeros({100003}, DType::f32, arena()), v = Tensor::zeros({100003}, DType::f32, arena());
    copy(start, parameter);
    adamw(parameter, gradient, m, v, {});
    if (expected.empty()) expected = bits_of(parameter);
    EXPECT_EQ(bits_of(parameter), expected);
  });
}

TEST(AdamW, RefusesWrongOperands) {
  const Tensor a = make_normal({4}, DType::f32, 1), b = make_normal({5}, DType::f32, 1);
  EXPECT_ERROR(adamw(a, b, a, a, {}), "[adamw] gradient: got f32 [5], expected [4]");
  EXPECT_ERROR(adamw(a, a, widened(a), a, {}), "[adamw] m: got f64 [4], expected f32");
  EXPECT_ERROR(adamw(a, a, a, a, {.step = 0}), "[adamw] got step 0, expected 1 or more");
  Arena nowhere("shapes", Device::meta);
  const Tensor shape = Tensor::empty({4}, DType::f32, nowhere);
  adamw(shape, shape, shape, shape, {});
}

}  // namespace
}  // namespace fledge::tensor
