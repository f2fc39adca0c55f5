#include "nn/parameter_set.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "grad/linear.h"
#include "tensor/elementwise.h"

namespace fledge::nn {
namespace {

using grad::WeightLayout;
using tensor::DType;
using tensor::Tensor;

struct Joined {
  Memory memory;
  ParameterSet parameters;
  grad::Parameter* whole;

  Joined() {
    parameters.add("before", {3}, {});
    whole = &parameters.add_joined({{"a", {3, 5}}, {"b", {2, 5}}}, {.standard_deviation = 1.0});
    parameters.add("after", {7}, {});
    parameters.allocate(memory, DType::f64, true);
    parameters.initialize(3);
  }

  grad::Graph graph() { return {memory.activations, memory.encodings, DType::f64, true}; }
  Tensor input() { return Tensor::from(std::vector<double>{1, -2, 3, 0.5, 7}, {1, 5}, memory.activations); }
};

TEST(ParameterSet, JoinedParametersLieNextToEachOther) {
  const Joined joined;
  EXPECT_EQ(joined.whole->shape().text(), "[5, 5]");
  ASSERT_EQ(joined.parameters.entries().size(), 4U);
  std::vector<double> both = joined.parameters.find("a")->value().to_vector<double>();
  const std::vector<double> second = joined.parameters.find("b")->value().to_vector<double>();
  both.insert(both.end(), second.begin(), second.end());
  EXPECT_EQ(joined.whole->value().to_vector<double>(), both);
  EXPECT_EQ(joined.parameters.entries()[3].offset % 16, 0);
  EXPECT_EQ(joined.parameters.element_count(), 3 + 25 + 7);
}

TEST(ParameterSet, FreezesWhatIsChosen) {
  Memory memory;
  ParameterSet parameters;
  parameters.add("first", {3}, {});
  parameters.add_joined({{"a", {3, 5}}, {"b", {2, 5}}}, {.standard_deviation = 1.0});
  parameters.add("last", {7}, {});
  EXPECT_THROW(parameters.freeze([](const std::string& name) { return name == "b"; }), base::Error);
  parameters.freeze([](const std::string& name) { return name != "last"; });
  parameters.allocate(memory, DType::f32, true);
  parameters.initialize(3);
  EXPECT_EQ(parameters.trainable_count(), 7);
  EXPECT_FALSE(parameters.find("a")->trainable());
  EXPECT_TRUE(parameters.find("last")->trainable());
  EXPECT_EQ(parameters.flat_size(), 16);
}

TEST(ParameterSet, OneProductOfJoinedParametersIsThatOfEach) {
  Joined joined;
  grad::Graph graph = joined.graph();
  std::vector<std::string> ready;
  graph.on_parameter_ready([&](const grad::Parameter& parameter) { ready.push_back(parameter.name()); });
  const grad::Variable y =
      grad::linear(graph, grad::Variable(joined.input(), true), *joined.whole, WeightLayout::output_input);
  const std::vector<double> values = y.value().to_vector<double>();
  graph.backward(y);
  EXPECT_EQ(ready, (std::vector<std::string>{"a", "b"}));
  for (const auto& [name, rows] : {std::pair{"a", 3}, {"b", 2}}) {
    grad::Parameter& part = *joined.parameters.find(name);
    EXPECT_TRUE(part.has_gradient());
    const std::vector<double> gradient = part.gradient().to_vector<double>();
    for (int row = 0; row < rows; ++row) EXPECT_EQ(gradient[static_cast<size_t>(5 * row + 3)], 0.5);
  }
  grad::Graph alone = joined.graph();
  const Tensor of_b = grad::linear(alone, grad::Variable(joined.input(), true), *joined.parameters.find("b"),
                                   WeightLayout::output_input)
                          .value();
  EXPECT_EQ(of_b.to_vector<double>(), std::vector<double>(values.begin() + 3, values.end()));
}

TEST(ParameterSet, AJoinedParameterFollowsItsParts) {
  Joined joined;
  const auto product = [&] {
    grad::Graph graph = joined.graph();
    return grad::linear(graph, grad::Variable(joined.input()), *joined.whole, WeightLayout::output_input)
        .value()
        .to_vector<double>();
  };
  product();
  tensor::fill(joined.parameters.find("b")->value(), 0.0);
  joined.parameters.find("b")->value_changed();
  EXPECT_EQ(product()[4], 0.0);

  // Where only one part has a gradient, the other's counts as zero, whatever its memory holds.
  grad::Parameter &a = *joined.parameters.find("a"), &b = *joined.parameters.find("b");
  tensor::fill(a.gradient(), 9.0);
  tensor::fill(b.gradient(), 4.0);
  b.begin_gradient();
  EXPECT_TRUE(joined.whole->begin_gradient());
  EXPECT_EQ(a.gradient().to_vector<double>()[0], 0.0);
  EXPECT_EQ(b.gradient().to_vector<double>()[0], 4.0);
  joined.parameters.forget_gradients();
  EXPECT_FALSE(joined.whole->has_gradient());
}

TEST(ParameterSet, JoinsAPartThatIsKeptAsItIsStored) {
  Memory memory;
  ParameterSet parameters;
  grad::Parameter& whole = parameters.add_joined({{"a", {3, 5}}, {"b", {2, 5}}}, {.standard_deviation = 1.0});
  std::vector<tensor::bf16> stored;
  for (int index = 0; index < 15; ++index) stored.push_back(tensor::bf16::from(static_cast<float>(index)));
  parameters.find("a")->bind_stored(Tensor::from(stored, {3, 5}, memory.parameters));
  parameters.allocate(memory, DType::f32, true);
  parameters.initialize(3);
  EXPECT_EQ(parameters.flat_size(), 16);
  EXPECT_FALSE(whole.trainable());
  std::vector<float> expected(15);
  for (int index = 0; index < 15; ++index) expected[static_cast<size_t>(index)] = static_cast<float>(index);
  const std::vector<float> second = parameters.find("b")->value().to_vector<float>();
  expected.insert(expected.end(), second.begin(), second.end());
  EXPECT_EQ(whole.wide_value(DType::f32, memory.activations).to_vector<float>(), expected);

  grad::Graph graph(memory.activations, memory.encodings, DType::f32, false);
  const Tensor x = Tensor::from(std::vector<float>{0, 0, 1, 0, 0}, {1, 5}, memory.activations);
  const std::vector<float> y =
      grad::linear(graph, grad::Variable(x), whole, WeightLayout::output_input).value().to_vector<float>();
  for (size_t row = 0; row < 5; ++row) EXPECT_EQ(y[row], expected[5 * row + 2]);
}

TEST(ParameterSet, RefusesToJoinWhatDoesNotFit) {
  ParameterSet parameters;
  EXPECT_THROW(parameters.add_joined({{"a", {3, 5}}, {"b", {3, 4}}}, {}), base::Error);
  EXPECT_THROW(parameters.add_joined({}, {}), base::Error);
}

}  // namespace
}  // namespace fledge::nn
