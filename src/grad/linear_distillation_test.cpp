// The loss of a student beside its teacher: against PyTorch's formula, finite differences and the plain cross-entropy.
#include "grad/linear_distillation.h"

#include <numeric>

#include "grad/label_distillation.h"
#include "grad/linear.h"
#include "grad/linear_cross_entropy.h"
#include "grad/losses.h"
#include "support/operation_check.h"
#include "support/reference_data.h"

namespace fledge::grad {
namespace {

using tensor::DistillationSettings;
using tensor::DType;
using tensor::Shape;
using tensor::Tensor;
using test::as_doubles;
using test::OperationBench;
using test::ReferenceData;
using test::relative_error;

/// The reference's student and teacher in one arithmetic.
struct Setting {
  OperationBench bench;
  ReferenceData data{"operations/distillation"};
  std::unique_ptr<Parameter> weight, bias, identity;
  Tensor hidden, targets, teacher, ids;

  explicit Setting(DType type) : bench(type) {
    weight = bench.parameter("weight", data.values<double>("weight"), data.shape("weight"));
    bias = bench.parameter("bias", data.values<double>("bias"), data.shape("bias"));
    hidden = bench.make(data.values<double>("hidden"), data.shape("hidden"), type);
    teacher = bench.make(data.values<double>("teacher_logits"), data.shape("teacher_logits"), type);
    targets = Tensor::from(data.integers<int32_t>("targets"), data.shape("targets"), bench.arena());
    ids = Tensor::from(data.integers<int32_t>("top_ids"), data.shape("top_ids"), bench.arena());
    // A head that hands the given logits on.
    const int64_t vocabulary = weight->shape()[0];
    std::vector<double> one(static_cast<size_t>(vocabulary * vocabulary));
    for (int64_t row = 0; row < vocabulary; ++row) one[static_cast<size_t>(row * (vocabulary + 1))] = 1.0;
    identity = std::make_unique<Parameter>("identity", Shape{vocabulary, vocabulary});
    identity->bind(bench.make(one, identity->shape(), bench.parameter_type()), {});
  }

  /// The teacher's log-probabilities of `ids` at a temperature.
  Tensor log_probabilities(double temperature) {
    const std::vector<double> logits = data.values<double>("teacher_logits");
    const std::vector<int32_t> chosen = data.integers<int32_t>("top_ids");
    const auto columns = static_cast<size_t>(data.shape("teacher_logits")[1]),
               count = static_cast<size_t>(data.shape("top_ids")[1]);
    std::vector<float> result;
    for (size_t place = 0; place < chosen.size(); ++place) {
      const double* row = logits.data() + place / count * columns;
      const double sum =
          std::accumulate(row, row + columns, 0.0, [&](double s, double v) { return s + std::exp(v / temperature); });
      result.push_back(static_cast<float>(row[chosen[place]] / temperature - std::log(sum)));
    }
    return Tensor::from(result, data.shape("top_ids"), bench.arena());
  }

  DistillationLoss run(Graph& graph, const Variable& x, const std::string& kind, const DistillationSettings& settings,
                       double scale) {
    if (kind == "whole") {
      return linear_distillation(graph, x, *weight, WeightLayout::output_input, bias.get(),
                                 TeacherRows{teacher, identity.get()}, targets, settings, scale);
    }
    return linear_distillation(graph, x, *weight, WeightLayout::output_input, bias.get(),
                               TeacherTop{ids, log_probabilities(settings.temperature)}, targets, settings, scale);
  }
};

constexpr double kCounted = 6.0;

class Distillation : public testing::TestWithParam<std::tuple<std::string, double, double, bool>> {
 protected:
  std::string kind() const { return std::get<0>(GetParam()); }
  DistillationSettings settings() const {
    return {std::get<1>(GetParam()), std::get<2>(GetParam()), std::get<3>(GetParam())};
  }
};
INSTANTIATE_TEST_SUITE_P(All, Distillation,
                         testing::Combine(testing::Values("whole", "top"), testing::Values(0.0, 0.5, 1.0),
                                          testing::Values(1.0, 4.0), testing::Bool()));

TEST_P(Distillation, AgreesWithPyTorch) {
  const auto [name, alpha, temperature, reverse] = GetParam();
  const std::string key = fmt::format("{}.{:g}.{:g}.{}.", name, alpha, temperature, reverse ? "reverse" : "forward");
  for (const DType type : {DType::f64, DType::f32}) {
    SCOPED_TRACE(std::string(tensor::name_of(type)));
    Setting setting(type);
    const Variable x(setting.hidden, true);
    Graph graph = setting.bench.graph();
    const DistillationLoss result = setting.run(graph, x, name, settings(), 1.0 / kCounted);
    graph.backward(result.loss);
    // What is known of the likeliest tokens is known in f32; beside a temperature of 4, tau^2 of it counts.
    const double tolerance = type == DType::f64 && name == "whole" ? 1e-12 : 2e-6;
    EXPECT_NEAR(as_doubles(result.loss.value())[0] / setting.data.value(key + "loss"), 1.0, tolerance);
    const auto expect = [&](const char* part, const Tensor& gradient) {
      const std::vector<double> expected = setting.data.values<double>(key + "gradient." + part);
      EXPECT_LT(relative_error(as_doubles(gradient), expected), tolerance) << part;
    };
    expect("hidden", x.take_gradient());
    expect("weight", setting.weight->gradient());
    expect("bias", setting.bias->gradient());
  }
}

TEST_P(Distillation, AgreesWithFiniteDifferences) {
  Setting setting(DType::f64);
  const Variable x(setting.hidden, true);
  Graph graph = setting.bench.graph();
  graph.backward(setting.run(graph, x, kind(), settings(), 0.25).loss);
  const auto loss = [&] {
    setting.weight->value_changed();
    Graph plain = setting.bench.graph(false);
    return as_doubles(setting.run(plain, Variable(setting.hidden), kind(), settings(), 0.25).loss.value())[0];
  };
  test::expect_finite_differences(setting.hidden, as_doubles(x.take_gradient()), loss, "hidden");
  test::expect_finite_differences(setting.weight->value(), as_doubles(setting.weight->gradient()), loss, "weight");
  test::expect_finite_differences(setting.bias->value(), as_doubles(setting.bias->gradient()), loss, "bias");
}

TEST(LinearDistillation, WithoutAlphaIsPlainCrossEntropyBitForBit) {
  for (const DType type : {DType::f32, DType::bf16}) {
    Setting with(type), without(type);
    const Variable x(with.hidden, true), plain_x(without.hidden, true);
    Graph graph = with.bench.graph(), plain_graph = without.bench.graph();
    const DistillationLoss result = with.run(graph, x, "whole", {0.0, 3.0, false}, 0.25);
    const HeadLoss plain = linear_cross_entropy(plain_graph, plain_x, *without.weight, WeightLayout::output_input,
                                                without.targets, 0.25, without.bias.get());
    graph.backward(result.loss);
    plain_graph.backward(plain.loss);
    EXPECT_EQ(as_doubles(result.token_losses), as_doubles(plain.token_losses));
    EXPECT_EQ(as_doubles(result.loss.value()), as_doubles(plain.loss.value()));
    EXPECT_EQ(as_doubles(x.take_gradient()), as_doubles(plain_x.take_gradient()));
    EXPECT_EQ(as_doubles(with.weight->gradient()), as_doubles(without.weight->gradient()));
  }
}

TEST(LinearDistillation, ATeacherThatIsTheStudentTeachesNothing) {
  Setting setting(DType::f32);
  const Variable x(setting.hidden, true);
  Graph graph = setting.bench.graph();
  for (const bool reverse : {false, true}) {
    const DistillationLoss result = linear_distillation(
        graph, x, *setting.weight, WeightLayout::output_input, setting.bias.get(),
        TeacherRows{setting.hidden, setting.weight.get(), WeightLayout::output_input, setting.bias.get()},
        setting.targets, {1.0, 2.0, reverse}, 1.0);
    for (const double divergence : as_doubles(result.divergences)) EXPECT_NEAR(divergence, 0.0, 1e-6);
    const std::vector<int32_t> targets = setting.data.integers<int32_t>("targets");
    const std::vector<double> agreements = as_doubles(result.agreements);
    for (size_t row = 0; row < targets.size(); ++row) EXPECT_EQ(agreements[row], targets[row] >= 0 ? 1.0 : 0.0);
  }
}

TEST(LinearDistillation, RefusesWhatDoesNotFit) {
  Setting setting(DType::f32);
  const Variable x(setting.hidden, true);
  Graph graph = setting.bench.graph();
  const auto message = [&](const TeacherRows& teacher) {
    try {
      linear_distillation(graph, x, *setting.weight, WeightLayout::output_input, setting.bias.get(), teacher,
                          setting.targets, {0.5, 1.0, false}, 1.0);
    } catch (const base::Error& error) {
      return std::string(error.what());
    }
    return std::string("nothing was thrown");
  };
  const auto narrow = setting.bench.parameter("narrow", test::normals(42 * 43, 1), {42, 43});
  EXPECT_THAT(message({setting.teacher, narrow.get()}),
              testing::HasSubstr("the teacher's head narrow is [42, 43], expected [43, 43]"));
  EXPECT_THAT(message({setting.teacher.slice(0, 0, 8), setting.identity.get()}),
              testing::HasSubstr("the teacher's hidden states"));
}

/// The reference's logits, taken as those of few labels.
struct LabelSetting : Setting {
  Tensor logits;
  explicit LabelSetting(DType type) : Setting(type) {
    Graph graph = bench.graph(false);
    LinearOptions options;
    options.bias = bias.get();
    options.wide = true;
    logits = linear(graph, Variable(hidden), *weight, WeightLayout::output_input, options).value();
  }
};

TEST(LabelDistillation, IsTheLossOfTheHead) {
  for (const bool reverse : {false, true}) {
    LabelSetting setting(DType::f64);
    const DistillationSettings settings{0.5, 4.0, reverse};
    const Variable logits(setting.logits, true);
    Graph graph = setting.bench.graph(), plain = setting.bench.graph(false);
    const DistillationLoss loss =
        label_distillation(graph, logits, setting.teacher, setting.targets, settings, 1.0 / kCounted);
    const std::string key = fmt::format("whole.0.5.4.{}.loss", reverse ? "reverse" : "forward");
    EXPECT_NEAR(as_doubles(loss.loss.value())[0] / setting.data.value(key), 1.0, 1e-12);
    graph.backward(loss.loss);
    test::expect_finite_differences(
        setting.logits, as_doubles(logits.take_gradient()),
        [&] {
          return as_doubles(label_distillation(plain, Variable(setting.logits), setting.teacher, setting.targets,
                                               settings, 1.0 / kCounted)
                                .loss.value())[0];
        },
        "logits");
  }
}

TEST(LabelDistillation, WithoutAlphaIsPlainCrossEntropyBitForBit) {
  LabelSetting setting(DType::f32);
  const Variable a(setting.logits, true), b(setting.logits, true);
  Graph graph = setting.bench.graph(), plain = setting.bench.graph();
  graph.backward(label_distillation(graph, a, setting.teacher, setting.targets, {0.0, 2.0, false}, 0.25).loss);
  plain.backward(cross_entropy(plain, b, setting.targets, 0.25).loss);
  EXPECT_EQ(as_doubles(a.take_gradient()), as_doubles(b.take_gradient()));
}

}  // namespace
}  // namespace fledge::grad
