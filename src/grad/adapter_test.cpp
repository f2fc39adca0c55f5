// Adapters: exact gradients, no effect at the start, the same result as the merged weight, rows on their own.
#include "grad/adapter.h"

#include <map>

#include "base/error.h"
#include "grad/embedding.h"
#include "grad/linear.h"
#include "grad/linear_cross_entropy.h"
#include "grad/weight_norms.h"
#include "support/operation_check.h"
#include "tensor/elementwise.h"

namespace fledge::grad {
namespace {

using tensor::BlockType;
using tensor::DType;
using tensor::Shape;
using tensor::Tensor;
using test::as_doubles;
using test::normals;
using test::OperationBench;
using test::relative_error;

/// A frozen weight of several parts (or one) with an adapter on some of them.
class AdaptedWeight {
 public:
  struct PartShape {
    int64_t outputs;
    int64_t rank;  ///< 0: no adapter
  };

  AdaptedWeight(OperationBench& bench, int64_t in, const std::vector<PartShape>& shapes, WeightLayout layout,
                bool dora = false)
      : bench_(bench), in_(in), shapes_(shapes), layout_(layout) {
    for (const PartShape& shape : shapes) out_ += shape.outputs;
    const bool output_input = layout == WeightLayout::output_input;
    const Shape shape = output_input ? Shape{out_, in} : Shape{in, out_};
    std::vector<double> values = normals(static_cast<size_t>(out_ * in), 5);
    if (bench.activation_type() == DType::bf16) round_to_bf16(values);
    if (output_input && shapes.size() > 1) {
      std::vector<Parameter*> members;
      const Tensor all = bench.make(values, shape, bench.parameter_type());
      int64_t first = 0;
      for (const PartShape& part : shapes) {
        parts_.push_back(std::make_unique<Parameter>("part", Shape{part.outputs, in}));
        parts_.back()->bind(all.slice(0, first, part.outputs), {});
        members.push_back(parts_.back().get());
        first += part.outputs;
      }
      weight_ = std::make_unique<Parameter>("whole", members);
      weight_->bind(all, {});
    } else {
      weight_ = std::make_unique<Parameter>("weight", shape);
      weight_->bind(bench.make(values, shape, bench.parameter_type()), {});
    }
    add_adapter(0.75, dora, 11);
  }

  /// Another adapter of the same shape.
  Adapter& add_adapter(double scale, bool dora, uint64_t seed) {
    Adapter adapter;
    adapter.identity = std::make_shared<AdapterIdentity>();
    int64_t rank = 0, first = 0;
    for (const PartShape& part : shapes_) {
      if (part.rank > 0) {
        Adapter::Part own;
        own.up = keep(bench_.parameter("up", normals(static_cast<size_t>(part.outputs * part.rank), seed++),
                                       {part.outputs, part.rank}));
        if (dora)
          own.magnitude = keep(bench_.parameter("magnitude", std::vector<double>(part.outputs, 1.0), {part.outputs}));
        own.first_output = first;
        own.outputs = part.outputs;
        own.first_rank = rank;
        own.rank = part.rank;
        own.scale = scale;
        adapter.parts.push_back(own);
        rank += part.rank;
      }
      first += part.outputs;
    }
    adapter.down = keep(bench_.parameter("down", normals(static_cast<size_t>(rank * in_), seed), {rank, in_}));
    Adapter& added = weight_->add_adapter(std::move(adapter));
    if (dora) set_magnitudes(added);
    return added;
  }

  /// ||W + s B A||, so that the factors are 1.
  void set_magnitudes(Adapter& adapter) {
    Graph graph = bench_.graph(false);
    initialize_magnitudes(graph, *weight_, layout_, adapter);
  }

  /// Without effect.
  void clear_up() {
    for (const auto& adapter : weight_->adapters()) {
      for (const Adapter::Part& part : adapter->parts) {
        tensor::fill(part.up->value(), 0.0);
        part.up->value_changed();
      }
    }
  }

  /// W + sum of scale B A times the factors, [out, in].
  Tensor merged() {
    Tensor wide = bench_.make(as_doubles(weight_->wide_value(bench_.parameter_type(), bench_.arena())),
                              weight_->shape(), bench_.parameter_type());
    const Tensor rows = as_input_output(wide, layout_).transpose(0, 1);
    for (const auto& adapter : weight_->adapters()) {
      for (const Adapter::Part& part : adapter->parts) {
        Tensor change = Tensor::empty({part.outputs, in_}, bench_.parameter_type(), bench_.arena());
        tensor::matmul(part.up->value(), adapter->down->value().slice(0, part.first_rank, part.rank),
                       tensor::Precision::f32, change);
        tensor::scale(change, part.scale * adapter->identity->weight);
        const Tensor own = rows.slice(0, part.first_output, part.outputs);
        tensor::add(own, change, own);
      }
    }
    return wide;
  }

  Parameter& weight() { return *weight_; }
  Adapter& adapter(size_t index = 0) { return *weight_->adapters()[index]; }
  WeightLayout layout() const { return layout_; }
  int64_t in() const { return in_; }
  int64_t out() const { return out_; }
  const std::vector<std::unique_ptr<Parameter>>& parts() const { return parts_; }

  static void round_to_bf16(std::vector<double>& values) {
    for (double& value : values) value = static_cast<float>(tensor::bf16::from(static_cast<float>(value)));
  }

 private:
  Parameter* keep(std::unique_ptr<Parameter> parameter) {
    owned_.push_back(std::move(parameter));
    return owned_.back().get();
  }

  OperationBench& bench_;
  int64_t in_, out_ = 0;
  std::vector<PartShape> shapes_;
  WeightLayout layout_;
  std::vector<std::unique_ptr<Parameter>> parts_, owned_;
  std::unique_ptr<Parameter> weight_;
};

using Build = std::function<Variable(Graph&, const Variable&, AdaptedWeight&)>;

/// The gradients of x and of every parameter of the adapters against central differences. DoRA's norm counts as a
/// constant, so there each evaluation sets the magnitudes to keep the factors as they were.
void check_gradients(AdaptedWeight& adapted, OperationBench& bench, const Build& build, bool dora = false) {
  const Tensor x = bench.make(normals(static_cast<size_t>(6 * adapted.in()), 2), {3, 2, adapted.in()}, DType::f64);
  const Variable input(x, true);
  Graph graph = bench.graph();
  const Variable y = build(graph, input, adapted);
  const auto count = static_cast<size_t>(y.shape().elements());
  const std::vector<double> weights = count == 1 ? std::vector<double>{1.0} : normals(count, 99);
  graph.backward(y, bench.make(weights, y.shape(), DType::f64));
  // The head's gradients are added to with every evaluation that records.
  std::map<Parameter*, std::vector<double>> gradients;
  for (const auto& adapter : adapted.weight().adapters()) {
    for (Parameter* parameter : adapter->parameters()) {
      ASSERT_TRUE(parameter->has_gradient());
      gradients[parameter] = as_doubles(parameter->gradient());
    }
  }
  bool hold_factors = false;
  const auto loss = [&] {
    for (const auto& adapter : adapted.weight().adapters()) {
      for (Parameter* parameter : adapter->parameters()) parameter->value_changed();
      if (hold_factors) adapted.set_magnitudes(*adapter);
    }
    Graph plain = bench.graph();
    const std::vector<double> values = as_doubles(build(plain, Variable(x, true), adapted).value());
    double sum = 0.0;
    for (size_t index = 0; index < values.size(); ++index) sum += values[index] * weights[index];
    return sum;
  };
  test::expect_finite_differences(x, as_doubles(input.take_gradient()), loss, "x");
  for (const auto& [parameter, gradient] : gradients) {
    hold_factors = dora && parameter->name() != "magnitude";
    test::expect_finite_differences(parameter->value(), gradient, loss, parameter->name());
  }
}

Variable plain_linear(Graph& graph, const Variable& x, AdaptedWeight& adapted) {
  return linear(graph, x, adapted.weight(), adapted.layout());
}

TEST(Adapter, GradientsAreExactInBothLayouts) {
  for (const auto layout : {WeightLayout::input_output, WeightLayout::output_input}) {
    OperationBench bench(DType::f64);
    AdaptedWeight adapted(bench, 7, {{5, 2}}, layout);
    check_gradients(adapted, bench, plain_linear);
  }
}

TEST(Adapter, GradientsAreExactOnPartsOfAJoinedWeight) {
  OperationBench bench(DType::f64);
  AdaptedWeight adapted(bench, 7, {{4, 2}, {3, 0}, {5, 3}}, WeightLayout::output_input);
  adapted.add_adapter(1.5, false, 31);
  check_gradients(adapted, bench, plain_linear);
}

TEST(Adapter, GradientsAreExactUnderActivationAndResidual) {
  OperationBench bench(DType::f64);
  AdaptedWeight adapted(bench, 6, {{6, 2}}, WeightLayout::output_input);
  check_gradients(adapted, bench, [](Graph& graph, const Variable& x, AdaptedWeight& own) {
    const Variable inner =
        linear(graph, x, own.weight(), own.layout(), {.activation = tensor::Activation::gelu_tanh, .residual = {}});
    inner.drop_value();
    return linear(graph, inner, own.weight(), own.layout(), {.residual = x});
  });
}

TEST(Adapter, GradientsAreExactThroughDropout) {
  OperationBench bench(DType::f64);
  AdaptedWeight adapted(bench, 7, {{5, 2}}, WeightLayout::output_input);
  adapted.adapter().dropout = 0.4;
  check_gradients(adapted, bench, [](Graph& graph, const Variable& x, AdaptedWeight& own) {
    graph.set_random_state({3, 4, 5});
    return linear(graph, x, own.weight(), own.layout());
  });
}

TEST(Adapter, GradientsOfDoraAreExact) {
  for (const auto layout : {WeightLayout::input_output, WeightLayout::output_input}) {
    OperationBench bench(DType::f64);
    const bool joins = layout == WeightLayout::output_input;
    AdaptedWeight adapted(bench, 7,
                          joins ? std::vector<AdaptedWeight::PartShape>{{4, 2}, {3, 0}, {5, 3}}
                                : std::vector<AdaptedWeight::PartShape>{{5, 2}},
                          layout, true);
    check_gradients(adapted, bench, plain_linear, true);
  }
}

TEST(Adapter, GradientsAreExactUnderTheHead) {
  OperationBench bench(DType::f64);
  AdaptedWeight adapted(bench, 7, {{11, 2}}, WeightLayout::output_input);
  const Tensor targets = Tensor::from(std::vector<int32_t>{3, 0, -100, 10, 4, 4}, {6}, bench.arena());
  check_gradients(adapted, bench, [&](Graph& graph, const Variable& x, AdaptedWeight& own) {
    return linear_cross_entropy(graph, x, own.weight(), own.layout(), targets, 1.0).loss;
  });
}

TEST(Adapter, GradientsOfAnEmbeddingAreExact) {
  OperationBench bench(DType::f64);
  Parameter table("table", {6, 4});
  table.bind(bench.make(normals(24, 1), {6, 4}, DType::f64), {});
  auto down = bench.parameter("down", normals(12, 2), {6, 2});
  auto up = bench.parameter("up", normals(8, 3), {4, 2});
  Adapter adapter{std::make_shared<AdapterIdentity>(), down.get(), {{up.get(), nullptr, 0, 4, 0, 2, 0.5}}};
  table.add_adapter(std::move(adapter));
  const Tensor ids = Tensor::from(std::vector<int32_t>{5, 0, 5, 1, 1, 1}, {2, 3}, bench.arena());
  Graph graph = bench.graph();
  const Variable y = embedding(graph, ids, table);
  const std::vector<double> weights = normals(24, 99);
  graph.backward(y, bench.make(weights, y.shape(), DType::f64));
  const auto loss = [&] {
    Graph plain = bench.graph(false);
    const std::vector<double> values = as_doubles(embedding(plain, ids, table).value());
    double sum = 0.0;
    for (size_t index = 0; index < values.size(); ++index) sum += values[index] * weights[index];
    return sum;
  };
  test::expect_finite_differences(down->value(), as_doubles(down->gradient()), loss, "down");
  test::expect_finite_differences(up->value(), as_doubles(up->gradient()), loss, "up");
}

std::vector<double> run(AdaptedWeight& adapted, OperationBench& bench, int64_t rows, bool recording, bool off = false) {
  std::vector<double> values = normals(static_cast<size_t>(rows * adapted.in()), 2);
  AdaptedWeight::round_to_bf16(values);
  Graph graph = bench.graph(recording);
  if (off) graph.switch_adapters_off();
  const Variable x(bench.make(values, {1, rows, adapted.in()}, bench.activation_type()), true);
  return as_doubles(linear(graph, x, adapted.weight(), adapted.layout()).value());
}

TEST(Adapter, ChangesNoBitAtTheStart) {
  for (const DType type : {DType::f64, DType::f32, DType::bf16}) {
    for (const bool dora : {false, true}) {
      OperationBench bench(type);
      AdaptedWeight adapted(bench, 96, {{64, 16}, {48, 0}, {80, 8}}, WeightLayout::output_input, dora);
      adapted.clear_up();
      if (dora) adapted.set_magnitudes(adapted.adapter());
      for (const int64_t rows : {1, 3, 70}) {
        EXPECT_EQ(run(adapted, bench, rows, true), run(adapted, bench, rows, true, true)) << dora;
        EXPECT_EQ(run(adapted, bench, rows, false), run(adapted, bench, rows, false, true)) << dora;
      }
    }
  }
}

TEST(Adapter, EqualsTheMergedWeight) {
  // f32: sums of 96 + 16 products of order one, each rounded: 112 2^-24 of the sum of magnitudes is the bound, and the
  // merged weight itself is rounded once. bf16: u and scale B are rounded to 2^-9, as is the result; and so is the
  // merged weight.
  for (const auto& [type, tolerance] : {std::pair{DType::f32, 2e-6}, {DType::bf16, 8e-3}}) {
    OperationBench bench(type);
    AdaptedWeight adapted(bench, 96, {{64, 16}, {48, 0}, {80, 8}}, WeightLayout::output_input);
    adapted.add_adapter(0.5, false, 41).identity->weight = 0.25;
    Parameter merged("merged", adapted.weight().shape());
    merged.bind(adapted.merged(), {});
    for (const int64_t rows : {1, 70}) {
      std::vector<double> values = normals(static_cast<size_t>(rows * 96), 2);
      AdaptedWeight::round_to_bf16(values);
      Graph graph = bench.graph(false);
      const Variable x(bench.make(values, {1, rows, 96}, type));
      const auto expected = as_doubles(linear(graph, x, merged, adapted.layout()).value());
      EXPECT_LT(relative_error(run(adapted, bench, rows, false), expected), tolerance);
    }
  }
}

TEST(Adapter, RowsGoThroughTheirOwnAdapterWhateverTheOthersDo) {
  for (const DType type : {DType::f32, DType::bf16}) {
    OperationBench bench(type);
    AdaptedWeight adapted(bench, 64, {{64, 8}, {32, 0}}, WeightLayout::output_input);
    Adapter& second = adapted.add_adapter(2.0, true, 51);
    const AdapterIdentity* first = adapted.adapter().identity.get();
    const auto values = normals(40 * 64, 2);
    const auto run_rows = [&](int64_t begin, const std::vector<Graph::AdapterRun>& runs) {
      int64_t rows = 0;
      for (const auto& own : runs) rows += own.rows;
      Graph graph = bench.graph(false);
      graph.set_adapter_runs(runs);
      const std::vector<double> part(values.begin() + begin * 64, values.begin() + (begin + rows) * 64);
      return as_doubles(
          linear(graph, Variable(bench.make(part, {1, rows, 64}, type)), adapted.weight(), adapted.layout()).value());
    };
    const auto all = run_rows(0, {{first, 2}, {nullptr, 3}, {second.identity.get(), 30}, {first, 5}});
    const auto expect_rows = [&](int64_t begin, const Graph::AdapterRun& own) {
      const auto alone = run_rows(begin, {own});
      EXPECT_EQ(alone, std::vector<double>(all.begin() + begin * 96, all.begin() + (begin + own.rows) * 96));
    };
    expect_rows(0, {first, 1});
    expect_rows(1, {first, 1});
    expect_rows(2, {nullptr, 3});
    expect_rows(5, {second.identity.get(), 30});
    expect_rows(20, {second.identity.get(), 1});
    expect_rows(36, {first, 4});
    Graph graph = bench.graph(false);
    graph.set_adapter_runs({{first, 2}});
    const Variable x(bench.make(normals(3 * 64, 2), {1, 3, 64}, type));
    EXPECT_THROW(linear(graph, x, adapted.weight(), adapted.layout()), base::Error);
  }
}

TEST(Adapter, WorksOnQuantizedWeights) {
  for (const BlockType block : {BlockType::q8_0, BlockType::q4_0, BlockType::q6_k}) {
    const int64_t in = 512;
    OperationBench bench(DType::f32);
    AdaptedWeight adapted(bench, in, {{48, 8}, {32, 0}, {16, 4}}, WeightLayout::output_input);
    // The same weight in f32 holds what the blocks say.
    for (const auto& part : adapted.parts()) {
      part->bind_stored(tensor::quantize(part->value(), block, bench.arena()));
    }
    Tensor wide = adapted.weight().wide_value(DType::f32, bench.arena());
    int64_t first = 0;
    for (const auto& part : adapted.parts()) {
      tensor::copy(part->wide_value(DType::f32, bench.arena()), wide.slice(0, first, part->shape()[0]));
      first += part->shape()[0];
    }
    Parameter stored("stored", {adapted.parts()[0].get(), adapted.parts()[1].get(), adapted.parts()[2].get()});
    stored.add_adapter(Adapter{adapted.adapter().identity, adapted.adapter().down, adapted.adapter().parts});
    const auto go = [&](Parameter& weight, std::map<std::string, std::vector<double>>& gradients) {
      Graph graph = bench.graph();
      for (Parameter* parameter : adapted.adapter().parameters()) parameter->forget_gradient();
      const Variable x(bench.make(normals(static_cast<size_t>(9 * in), 2), {9, in}, DType::f32), true);
      const Variable y = linear(graph, x, weight, WeightLayout::output_input);
      const auto result = as_doubles(y.value());
      graph.backward(y, bench.make(normals(9 * 96, 3), {9, 96}, DType::f32));
      gradients["x"] = as_doubles(x.take_gradient());
      gradients["down"] = as_doubles(adapted.adapter().down->gradient());
      gradients["up"] = as_doubles(adapted.adapter().parts[1].up->gradient());
      return result;
    };
    std::map<std::string, std::vector<double>> own, expected;
    const auto y = go(stored, own), wide_y = go(adapted.weight(), expected);
    // Activations are rounded to 8 bits in the forward product alone: 2^-8 of each block's largest, about 0.7 % in all.
    EXPECT_LT(relative_error(y, wide_y), 1.2e-2);
    for (const auto& [name, gradient] : own) EXPECT_LT(relative_error(gradient, expected[name]), 2e-6) << name;
    adapted.clear_up();
    std::map<std::string, std::vector<double>> ignored;
    const auto at_start = go(stored, ignored);
    Graph off = bench.graph(false);
    off.switch_adapters_off();
    const Variable x(bench.make(normals(static_cast<size_t>(9 * in), 2), {9, in}, DType::f32));
    EXPECT_EQ(at_start, as_doubles(linear(off, x, stored, WeightLayout::output_input).value()));
  }
}

}  // namespace
}  // namespace fledge::grad
