// Every differentiable operation: its f64 gradients against finite differences, and all three arithmetics against what
// PyTorch computed in f64 (tests/reference).
#include "support/operation_check.h"

#include <map>

#include "grad/attention.h"
#include "grad/dropout.h"
#include "grad/embedding.h"
#include "grad/layer_norm.h"
#include "grad/linear.h"
#include "grad/linear_cross_entropy.h"
#include "grad/losses.h"
#include "grad/rms_norm.h"
#include "grad/rotary.h"
#include "grad/swiglu.h"
#include "support/reference_data.h"
#include "tensor/rotary.h"

namespace fledge::grad {
namespace {

using tensor::Activation;
using tensor::DType;
using tensor::Shape;
using tensor::Tensor;
using test::as_doubles;
using test::normals;
using test::OperationBench;
using test::ReferenceData;
using test::relative_error;

using Parameters = std::map<std::string, std::unique_ptr<Parameter>>;
using Build = std::function<Variable(Graph&, std::map<std::string, Variable>&, Parameters&)>;

/// An operation on named inputs (with gradients) and named parameters.
struct Operation {
  std::map<std::string, Shape> inputs, parameters;
  Build build;
};

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0.0;
  for (size_t index = 0; index < a.size(); ++index) sum += a[index] * b[index];
  return sum;
}

/// Gradients of sum(y * weights) against central differences, for every input and parameter.
void check_finite_differences(const Operation& operation) {
  OperationBench bench(DType::f64);
  std::map<std::string, Tensor> inputs;
  Parameters parameters;
  uint64_t seed = 1;
  for (const auto& [name, shape] : operation.inputs) {
    inputs[name] = bench.make(normals(static_cast<size_t>(shape.elements()), seed++), shape, DType::f64);
  }
  for (const auto& [name, shape] : operation.parameters) {
    parameters[name] = bench.parameter(name, normals(static_cast<size_t>(shape.elements()), seed++), shape);
  }
  const auto forward = [&](Graph& graph, std::map<std::string, Variable>& variables) {
    for (const auto& [name, value] : inputs) variables[name] = Variable(value, true);
    for (const auto& [name, parameter] : parameters) parameter->value_changed();
    return operation.build(graph, variables, parameters);
  };
  std::map<std::string, Variable> variables;
  Graph graph = bench.graph();
  const Variable y = forward(graph, variables);
  const std::vector<double> weights = normals(static_cast<size_t>(y.shape().elements()), 99);
  graph.backward(y, bench.make(weights, y.shape(), DType::f64));

  const auto loss = [&] {
    std::map<std::string, Variable> again;
    Graph plain = bench.graph(false);
    return dot(as_doubles(forward(plain, again).value()), weights);
  };
  for (const auto& [name, value] : inputs) {
    test::expect_finite_differences(value, as_doubles(variables[name].take_gradient()), loss, name);
  }
  for (const auto& [name, parameter] : parameters) {
    test::expect_finite_differences(parameter->value(), as_doubles(parameter->gradient()), loss, name);
  }
}

TEST(FiniteDifferences, Linear) {
  for (const auto layout : {WeightLayout::input_output, WeightLayout::output_input}) {
    const Shape weight = layout == WeightLayout::input_output ? Shape{7, 5} : Shape{5, 7};
    check_finite_differences(
        {{{"x", {3, 2, 7}}}, {{"weight", weight}, {"bias", {5}}}, [layout](Graph& graph, auto& in, auto& parameters) {
           return linear(graph, in["x"], *parameters["weight"], layout, {.bias = parameters["bias"].get()});
         }});
  }
}

TEST(FiniteDifferences, LinearWithActivation) {
  for (const auto form : {Activation::gelu_exact, Activation::gelu_tanh}) {
    check_finite_differences(
        {{{"x", {4, 3}}}, {{"weight", {3, 6}}, {"bias", {6}}}, [form](Graph& graph, auto& in, auto& parameters) {
           const Variable y = linear(graph, in["x"], *parameters["weight"], WeightLayout::input_output,
                                     {.bias = parameters["bias"].get(), .activation = form});
           y.drop_value();
           return linear(graph, y, *parameters["weight"], WeightLayout::output_input);
         }});
  }
}

TEST(FiniteDifferences, LinearWithResidual) {
  check_finite_differences(
      {{{"x", {4, 3}}, {"residual", {4, 3}}},
       {{"weight", {3, 3}}, {"bias", {3}}, {"norm", {3}}},
       [](Graph& graph, auto& in, auto& parameters) {
         const Variable sum = linear(graph, in["x"], *parameters["weight"], WeightLayout::input_output,
                                     {.bias = parameters["bias"].get(), .residual = in["residual"]});
         // The sum is used twice, as a residual stream is: the gradients must add up.
         const Variable normed = layer_norm(graph, sum, *parameters["norm"], nullptr, 1e-5);
         return linear(graph, normed, *parameters["weight"], WeightLayout::input_output, {.residual = sum});
       }});
}

TEST(FiniteDifferences, LayerNorm) {
  check_finite_differences(
      {{{"x", {3, 11}}}, {{"weight", {11}}, {"bias", {11}}}, [](Graph& graph, auto& in, auto& parameters) {
         return layer_norm(graph, in["x"], *parameters["weight"], parameters["bias"].get(), 1e-5);
       }});
}

TEST(FiniteDifferences, Embedding) {
  check_finite_differences(
      {{}, {{"table", {5, 4}}, {"positions", {3, 4}}}, [](Graph& graph, auto&, auto& parameters) {
         const Tensor ids = Tensor::from(std::vector<int32_t>{4, 0, 4, 1, 1, 1}, {2, 3}, graph.arena());
         const Tensor places = Tensor::from(std::vector<int32_t>{0, 1, 2, 0, 1, 0}, {2, 3}, graph.arena());
         return embedding(graph, ids, *parameters["table"], places, parameters["positions"].get());
       }});
}

TEST(FiniteDifferences, PackedAttention) {
  for (const bool documents : {false, true}) {
    check_finite_differences({{{"qkv", {2, 5, 18}}}, {}, [documents](Graph& graph, auto& in, auto&) {
                                AttentionOptions options;
                                if (documents) {
                                  options.document_starts = Tensor::from(
                                      std::vector<int32_t>{0, 0, 2, 2, 2, 0, 1, 1, 1, 4}, {2, 5}, graph.arena());
                                }
                                return packed_attention(graph, in["qkv"], 2, options);
                              }});
  }
}

TEST(FiniteDifferences, GroupedAttention) {
  for (const int64_t window : {0, 2}) {
    check_finite_differences(
        {{{"q", {2, 5, 4, 3}}, {"k", {2, 5, 2, 3}}, {"v", {2, 5, 2, 4}}}, {}, [window](Graph& graph, auto& in, auto&) {
           AttentionOptions options;
           options.window = window;
           return attention(graph, in["q"], in["k"], in["v"], options);
         }});
    check_finite_differences({{{"qkv", {2, 5, 24}}}, {}, [window](Graph& graph, auto& in, auto&) {
                                AttentionOptions options;
                                options.window = window;
                                return packed_attention(graph, in["qkv"], 4, options, 2);
                              }});
  }
}

TEST(FiniteDifferences, RmsNorm) {
  check_finite_differences(
      {{{"x", {4, 3}}}, {{"weight", {3, 3}}, {"norm", {3}}}, [](Graph& graph, auto& in, auto& parameters) {
         // x is used twice, as a residual stream is: the gradients must add up.
         const Variable normed = rms_norm(graph, in["x"], *parameters["norm"], 1e-5);
         normed.drop_value();
         return linear(graph, normed, *parameters["weight"], WeightLayout::output_input, {.residual = in["x"]});
       }});
}

TEST(FiniteDifferences, HeadRmsNorm) {
  check_finite_differences(
      {{{"qkv", {2, 3, 20}}}, {{"query", {4}}, {"key", {4}}}, [](Graph& graph, auto& in, auto& parameters) {
         return head_rms_norm(graph, in["qkv"], {3, 1, 4}, *parameters["query"], *parameters["key"], 1e-5);
       }});
}

/// Angles that are not those of any position, so that cosine and sine do not fit each other.
Variable turned(Graph& graph, const Variable& x, int64_t heads) {
  const Tensor angles = Tensor::from(normals(24, 8), {6, 4}, graph.arena());
  return rotary(graph, add(graph, x, x), heads, angles);
}

TEST(FiniteDifferences, Rotary) {
  check_finite_differences({{{"x", {2, 3, 12}}}, {}, [](Graph& graph, auto& in, auto&) {
                              const Variable y = turned(graph, in["x"], 2);
                              // Used twice: the gradient that arrives belongs to nobody alone.
                              return add(graph, y, add(graph, y, in["x"]));
                            }});
}

TEST(FiniteDifferences, SwiGlu) {
  check_finite_differences({{{"x", {2, 3, 10}}}, {{"weight", {5, 4}}}, [](Graph& graph, auto& in, auto& parameters) {
                              const Variable y = swiglu(graph, in["x"]);
                              y.drop_value();
                              return linear(graph, y, *parameters["weight"], WeightLayout::input_output);
                            }});
}

TEST(FiniteDifferences, DropoutAndAdd) {
  check_finite_differences({{{"a", {4, 6}}, {"b", {4, 6}}}, {}, [](Graph& graph, auto& in, auto&) {
                              // Without recording dropout does nothing, so only the sum's gradient is compared.
                              return add(graph, add(graph, in["a"], in["b"]), in["a"]);
                            }});
}

TEST(FiniteDifferences, LossesOfFewLabelsAndOfNumbers) {
  check_finite_differences(
      {{{"logits", {2, 3, 5}}}, {}, [](Graph& graph, auto& inputs, auto&) {
         const Tensor targets = Tensor::from(std::vector<int32_t>{3, -100, 0, 4, 4, -1}, {6}, graph.arena());
         return cross_entropy(graph, inputs.at("logits"), targets, 0.25).loss;
       }});
  check_finite_differences(
      {{{"scores", {4, 1}}}, {}, [](Graph& graph, auto& inputs, auto&) {
         const Tensor targets = Tensor::from(std::vector<float>{0.5F, -1.0F, 2.0F, 0.0F}, {4}, graph.arena());
         return squared_error(graph, inputs.at("scores"), targets, 0.25).loss;
       }});
}

TEST(FiniteDifferences, LinearCrossEntropy) {
  for (const auto layout : {WeightLayout::input_output, WeightLayout::output_input}) {
    const Shape weight = layout == WeightLayout::input_output ? Shape{4, 9} : Shape{9, 4};
    Operation operation{
        {{"x", {6, 4}}}, {{"weight", weight}}, [layout](Graph& graph, auto& in, auto& parameters) {
          const Tensor targets = Tensor::from(std::vector<int32_t>{3, -100, 8, 0, -1, 3}, {6}, graph.arena());
          return linear_cross_entropy(graph, in["x"], *parameters["weight"], layout, targets, 0.25).loss;
        }};
    // The gradient that arrives must be 1 here, so the check is written out.
    OperationBench bench(DType::f64);
    Parameters parameters;
    parameters["weight"] = bench.parameter("weight", normals(36, 5), weight);
    const Tensor x = bench.make(normals(24, 6), {6, 4}, DType::f64);
    std::map<std::string, Variable> in{{"x", Variable(x, true)}};
    Graph graph = bench.graph();
    const Variable loss = operation.build(graph, in, parameters);
    graph.backward(loss);
    const auto value = [&] {
      std::map<std::string, Variable> again{{"x", Variable(x)}};
      parameters["weight"]->value_changed();
      Graph plain = bench.graph(false);
      return as_doubles(operation.build(plain, again, parameters).value())[0];
    };
    test::expect_finite_differences(x, as_doubles(in["x"].take_gradient()), value, "x");
    test::expect_finite_differences(parameters["weight"]->value(), as_doubles(parameters["weight"]->gradient()), value,
                                    "weight");
  }
}

/// Largest relative error of a tensor's norm in each arithmetic. f64 is PyTorch's own arithmetic; f32 rounds to 6e-8
/// and the sums have a few dozen terms; bf16 rounds inputs, weights and results to 2^-9 each.
double tolerance(DType type) {
  switch (type) {
    case DType::f64:
      return 1e-12;
    case DType::f32:
      return 1e-6;
    default:
      return 1e-2;
  }
}

/// Runs an operation on PyTorch's inputs in all arithmetics and compares the output and every gradient.
void check_reference(const std::string& file, const std::vector<std::string>& inputs,
                     const std::vector<std::string>& parameters, bool wide_input, const Build& build) {
  const ReferenceData data("operations/" + file);
  for (const DType type : {DType::f64, DType::f32, DType::bf16}) {
    SCOPED_TRACE(file + " in " + std::string(tensor::name_of(type)));
    OperationBench bench(type);
    std::map<std::string, Variable> variables;
    Parameters made;
    for (const std::string& name : inputs) {
      const DType input_type = wide_input ? bench.parameter_type() : type;
      variables[name] = Variable(bench.make(data.values<double>(name), data.shape(name), input_type), true);
    }
    for (const std::string& name : parameters) {
      made[name] = bench.parameter(name, data.values<double>(name), data.shape(name));
    }
    Graph graph = bench.graph();
    const Variable y = build(graph, variables, made);
    EXPECT_LT(relative_error(as_doubles(y.value()), data.values<double>("output")), tolerance(type));
    if (data.has("gradient.output")) {
      graph.backward(y, bench.make(data.values<double>("gradient.output"), y.shape(), y.dtype()));
    } else {
      graph.backward(y);
    }
    for (const auto& [name, variable] : variables) {
      const std::vector<double> expected = data.values<double>("gradient." + name);
      EXPECT_LT(relative_error(as_doubles(variable.take_gradient()), expected), tolerance(type)) << name;
    }
    for (const auto& [name, parameter] : made) {
      const std::vector<double> expected = data.values<double>("gradient." + name);
      EXPECT_LT(relative_error(as_doubles(parameter->gradient()), expected), tolerance(type)) << name;
    }
  }
}

TEST(PyTorch, LayerNorm) {
  const double epsilon = ReferenceData("operations/layer_norm").value("epsilon");
  check_reference("layer_norm", {"input"}, {"weight", "bias"}, true, [&](Graph& graph, auto& in, auto& parameters) {
    return layer_norm(graph, in["input"], *parameters["weight"], parameters["bias"].get(), epsilon);
  });
}

TEST(PyTorch, RmsNorm) {
  const double epsilon = ReferenceData("operations/rms_norm").value("epsilon");
  check_reference("rms_norm", {"input"}, {"weight"}, true, [&](Graph& graph, auto& in, auto& parameters) {
    return rms_norm(graph, in["input"], *parameters["weight"], epsilon);
  });
  const double head_epsilon = ReferenceData("operations/head_rms_norm").value("epsilon");
  check_reference("head_rms_norm", {"input"}, {"query_weight", "key_weight"}, false,
                  [&](Graph& graph, auto& in, auto& parameters) {
                    return head_rms_norm(graph, in["input"], {3, 1, 6}, *parameters["query_weight"],
                                         *parameters["key_weight"], head_epsilon);
                  });
}

TEST(PyTorch, Rotary) {
  const ReferenceData data("operations/rotary");
  check_reference("rotary", {"input"}, {}, false, [&](Graph& graph, auto& in, auto&) {
    const Tensor positions = Tensor::from(data.integers<int32_t>("positions"), {10}, graph.arena());
    Tensor angles = graph.empty({10, 10}, graph.parameter_type());
    tensor::rotary_angles(positions, data.values<float>("inverse_frequencies"), 1.0, angles);
    return rotary(graph, in["input"], 2, angles);
  });
}

TEST(PyTorch, SwiGlu) {
  check_reference("swiglu", {"input"}, {}, false,
                  [](Graph& graph, auto& in, auto&) { return swiglu(graph, in["input"]); });
}

TEST(PyTorch, GroupedAttention) {
  for (const int64_t window : {0, 4}) {
    check_reference(window > 0 ? "window_attention" : "grouped_attention", {"query", "key", "value"}, {}, false,
                    [window](Graph& graph, auto& in, auto&) {
                      AttentionOptions options;
                      options.window = window;
                      return attention(graph, in["query"], in["key"], in["value"], options);
                    });
  }
}

TEST(PyTorch, Linear) {
  check_reference("linear", {"input"}, {"weight", "bias"}, false, [](Graph& graph, auto& in, auto& parameters) {
    return linear(graph, in["input"], *parameters["weight"], WeightLayout::input_output,
                  {.bias = parameters["bias"].get()});
  });
  check_reference("linear_gelu_tanh", {"input"}, {"weight", "bias"}, false,
                  [](Graph& graph, auto& in, auto& parameters) {
                    return linear(graph, in["input"], *parameters["weight"], WeightLayout::input_output,
                                  {.bias = parameters["bias"].get(), .activation = Activation::gelu_tanh});
                  });
}

TEST(PyTorch, Embedding) {
  const ReferenceData data("operations/embedding");
  check_reference("embedding", {}, {"weight"}, false, [&](Graph& graph, auto&, auto& parameters) {
    const Tensor ids = Tensor::from(data.integers<int32_t>("ids"), data.shape("ids"), graph.arena());
    return embedding(graph, ids, *parameters["weight"]);
  });
}

TEST(FiniteDifferences, LinearCrossEntropyWithTokenWeights) {
  for (const bool keeps_all : {false, true}) {
    OperationBench bench(DType::f64);
    auto weight = bench.parameter("weight", normals(36, 5), {9, 4});
    auto bias = bench.parameter("bias", normals(9, 7), {9});
    const Tensor x = bench.make(normals(24, 6), {6, 4}, DType::f64);
    const std::vector<int32_t> labels =
        keeps_all ? std::vector<int32_t>{3, 1, 8, 0, 2, 3} : std::vector<int32_t>{3, -100, 8, 0, -1, 3};
    const std::vector<double> factors{0.5, 7.0, -2.0, 0.0, 3.0, 1.25};
    const auto build = [&](Graph& graph, const Variable& in) {
      const Tensor targets = Tensor::from(labels, {6}, graph.arena());
      const Tensor weights = bench.make(factors, {6}, DType::f64);
      return linear_cross_entropy(graph, in, *weight, WeightLayout::output_input, targets, 0.25, bias.get(), weights);
    };
    const Variable in(x, true);
    Graph graph = bench.graph();
    const HeadLoss head = build(graph, in);
    // The token losses have no factor, and are those of the operation without gradients.
    const Tensor targets = Tensor::from(labels, {6}, bench.arena());
    const std::vector<double> losses = as_doubles(head.token_losses);
    EXPECT_EQ(losses,
              as_doubles(linear_token_losses(graph, x, *weight, WeightLayout::output_input, targets, bias.get())));
    EXPECT_NEAR(as_doubles(head.loss.value())[0], 0.25 * dot(losses, factors), 1e-14);
    EXPECT_GT(losses[0], 0.0);
    graph.backward(head.loss);
    const auto value = [&] {
      weight->value_changed();
      Graph plain = bench.graph(false);
      return as_doubles(build(plain, Variable(x)).loss.value())[0];
    };
    test::expect_finite_differences(x, as_doubles(in.take_gradient()), value, "x");
    test::expect_finite_differences(weight->value(), as_doubles(weight->gradient()), value, "weight");
    test::expect_finite_differences(bias->value(), as_doubles(bias->gradient()), value, "bias");
  }
}

TEST(PyTorch, LinearCrossEntropy) {
  const ReferenceData data("operations/linear_cross_entropy");
  const std::vector<int32_t> labels = data.integers<int32_t>("targets");
  const auto counted = static_cast<double>(std::ranges::count_if(labels, [](int32_t label) { return label >= 0; }));
  check_reference("linear_cross_entropy", {"hidden"}, {"weight"}, false, [&](Graph& graph, auto& in, auto& parameters) {
    const Tensor targets = Tensor::from(labels, {static_cast<int64_t>(labels.size())}, graph.arena());
    return linear_cross_entropy(graph, in["hidden"], *parameters["weight"], WeightLayout::output_input, targets,
                                1.0 / counted)
        .loss;
  });
}

/// The reference keeps heads before tokens and queries, keys and values apart; the operation takes them fused.
void check_packed_attention(const std::string& file, const std::vector<int32_t>& document_starts) {
  const ReferenceData data("operations/" + file);
  const Shape shape = data.shape("query");
  const int64_t batch = shape[0], heads = shape[1], tokens = shape[2], size = shape[3];
  const auto fuse = [&](const std::string& prefix) {
    std::vector<double> fused(static_cast<size_t>(3 * shape.elements()));
    const char* names[] = {"query", "key", "value"};
    for (int64_t part = 0; part < 3; ++part) {
      const std::vector<double> values = data.values<double>(prefix + names[part]);
      for (int64_t b = 0; b < batch; ++b) {
        for (int64_t h = 0; h < heads; ++h) {
          for (int64_t t = 0; t < tokens; ++t) {
            for (int64_t d = 0; d < size; ++d) {
              fused[static_cast<size_t>((((b * tokens + t) * 3 + part) * heads + h) * size + d)] =
                  values[static_cast<size_t>(((b * heads + h) * tokens + t) * size + d)];
            }
          }
        }
      }
    }
    return fused;
  };
  const auto merge = [&](const std::string& name) {
    std::vector<double> merged(static_cast<size_t>(shape.elements()));
    const std::vector<double> values = data.values<double>(name);
    for (int64_t b = 0; b < batch; ++b) {
      for (int64_t h = 0; h < heads; ++h) {
        for (int64_t t = 0; t < tokens; ++t) {
          for (int64_t d = 0; d < size; ++d) {
            merged[static_cast<size_t>(((b * tokens + t) * heads + h) * size + d)] =
                values[static_cast<size_t>(((b * heads + h) * tokens + t) * size + d)];
          }
        }
      }
    }
    return merged;
  };
  for (const DType type : {DType::f64, DType::f32, DType::bf16}) {
    SCOPED_TRACE(file + " in " + std::string(tensor::name_of(type)));
    OperationBench bench(type);
    const Variable qkv(bench.make(fuse(""), {batch, tokens, 3 * heads * size}, type), true);
    AttentionOptions options;
    if (!document_starts.empty()) {
      options.document_starts = Tensor::from(document_starts, {batch, tokens}, bench.arena());
    }
    Graph graph = bench.graph();
    const Variable y = packed_attention(graph, qkv, heads, options);
    EXPECT_LT(relative_error(as_doubles(y.value()), merge("output")), tolerance(type));
    graph.backward(y, bench.make(merge("gradient.output"), y.shape(), type));
    EXPECT_LT(relative_error(as_doubles(qkv.take_gradient()), fuse("gradient.")), tolerance(type) * 2);
  }
}

TEST(PyTorch, PackedAttention) {
  check_packed_attention("causal_attention", {});
  check_packed_attention("long_causal_attention", {});
  const ReferenceData data("operations/packed_attention");
  const std::vector<int32_t> bounds = data.integers<int32_t>("document_starts");
  std::vector<int32_t> starts;
  for (size_t document = 0; document + 1 < bounds.size(); ++document) {
    for (int32_t token = bounds[document]; token < bounds[document + 1]; ++token) starts.push_back(bounds[document]);
  }
  check_packed_attention("packed_attention", starts);
}

TEST(Dropout, DrawsTheSameMaskForwardAndBackward) {
  OperationBench bench(DType::f32);
  const Variable x(bench.make(std::vector<double>(4000, 1.0), {40, 100}, DType::f32), true);
  Graph graph = bench.graph();
  graph.set_random_state({3, 5, 0});
  const Variable y = dropout(graph, x, 0.25);
  const std::vector<double> kept = as_doubles(y.value());
  graph.backward(y, bench.make(std::vector<double>(4000, 1.0), {40, 100}, DType::f32));
  EXPECT_EQ(as_doubles(x.take_gradient()), kept);
  const auto zeros = static_cast<double>(std::ranges::count(kept, 0.0));
  EXPECT_NEAR(zeros / 4000.0, 0.25, 5 * std::sqrt(0.25 * 0.75 / 4000.0));
}

TEST(Dropout, DoesNotDependOnTheSplitIntoMicroBatches) {
  OperationBench bench(DType::f32);
  const auto run = [&](uint64_t first_sample, int64_t samples) {
    const Variable x(bench.make(std::vector<double>(static_cast<size_t>(samples * 10), 1.0), {samples, 10}, DType::f32),
                     true);
    Graph graph = bench.graph();
    graph.set_random_state({3, 5, first_sample});
    return as_doubles(dropout(graph, x, 0.5).value());
  };
  std::vector<double> parts = run(0, 3);
  const std::vector<double> rest = run(3, 5);
  parts.insert(parts.end(), rest.begin(), rest.end());
  EXPECT_EQ(parts, run(0, 8));
}

}  // namespace
}  // namespace fledge::grad
