#include "grad/adapter_product.h"

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "grad/weight_norms.h"
#include "tensor/column_scale.h"
#include "tensor/dropout.h"
#include "tensor/elementwise.h"

namespace fledge::grad {
namespace {

using tensor::Tensor;

uint64_t mixed(uint64_t hash, uint64_t value) {
  return (hash ^ value) * 0x9E3779B97F4A7C15U + 1;
}

/// scale B^T of every part [R, out], times `weight`; 0 between them.
void fill_up(const Adapter& adapter, double weight, Tensor& up) {
  tensor::fill(up, 0.0);
  for (const Adapter::Part& part : adapter.parts) {
    const Tensor place = up.slice(0, part.first_rank, part.rank).slice(1, part.first_output, part.outputs);
    tensor::copy(part.up->value().transpose(0, 1), place);
    if (part.scale * weight != 1.0) tensor::scale(place, part.scale * weight);
  }
}

}  // namespace

int64_t AdapterProduct::outputs() const {
  return weight_.shape()[layout_ == WeightLayout::input_output ? 1 : 0];
}

std::shared_ptr<AdapterProduct> AdapterProduct::start(Graph& graph, Parameter& weight, WeightLayout layout,
                                                      const Tensor& x, int64_t rows_per_sample) {
  if (weight.adapters().empty() || graph.adapters_off()) return nullptr;
  std::shared_ptr<AdapterProduct> product(new AdapterProduct(graph, weight, layout, x.dim(0), rows_per_sample));
  if (!graph.adapter_runs().empty()) {
    product->add_runs(x);
    return product->addend_ ? product : nullptr;
  }
  for (const auto& adapter : weight.adapters()) {
    if (adapter->identity->weight != 0.0) product->add_item(*adapter, x);
  }
  if (product->items_.empty()) return nullptr;
  product->combine_factors();
  return product;
}

/// Another one where a parameter has changed, or how it is multiplied.
uint64_t AdapterProduct::version_of(const Adapter& adapter) const {
  uint64_t version =
      mixed(static_cast<uint64_t>(graph_.precision()), std::bit_cast<uint64_t>(adapter.identity->weight));
  for (const Parameter* parameter : adapter.parameters()) version = mixed(version, parameter->version());
  if (adapter.has_magnitude()) version = mixed(version, weight_.version());
  return version;
}

/// Makes what the kernels read.
void AdapterProduct::prepare(Adapter& adapter) {
  Adapter::Encoding& encoding = adapter.encoding;
  const uint64_t version = version_of(adapter);
  if (encoding.version != version) {
    const int64_t rank = adapter.down->shape()[0];
    if (!encoding.up) encoding.up = Tensor::empty({rank, outputs()}, graph_.parameter_type(), graph_.encodings());
    fill_up(adapter, adapter.identity->weight, encoding.up);
    tensor::pack(encoding.up, graph_.precision(), encoding.packed_up, graph_.encodings());
    if (adapter.has_magnitude()) update_factors(graph_, weight_, layout_, adapter);
    encoding.version = version;
  }
  if (graph_.recording() && encoding.back_version != version) {
    tensor::pack(encoding.up.transpose(0, 1), graph_.precision(), encoding.packed_back, graph_.encodings());
    encoding.back_version = version;
  }
}

/// Makes what runs of rows read.
void AdapterProduct::prepare_rows(Adapter& adapter) {
  Adapter::Encoding& encoding = adapter.encoding;
  // Many adapters' parameters are far apart in memory, and while text is made none of them changes.
  const uint64_t changes = Parameter::changes();
  if (encoding.rows_changes == changes && encoding.rows_precision == graph_.precision() &&
      encoding.rows_weight == adapter.identity->weight) {
    return;
  }
  if (adapter.has_magnitude()) prepare(adapter);
  const uint64_t version = version_of(adapter);
  if (encoding.rows_version != version) make_rows(adapter);
  encoding.rows_version = version, encoding.rows_changes = changes;
  encoding.rows_precision = graph_.precision(), encoding.rows_weight = adapter.identity->weight;
}

void AdapterProduct::make_rows(Adapter& adapter) {
  tensor::LowRankMatrix& rows = adapter.encoding.rows;
  const tensor::DType exact = graph_.parameter_type();
  const bool narrow = graph_.precision() == tensor::Precision::bf16 && exact == tensor::DType::f32;
  const tensor::DType type = narrow ? tensor::DType::bf16 : exact;
  rows = {};
  rows.down = Tensor::empty(adapter.down->shape(), type, graph_.encodings());
  tensor::copy(adapter.down->value(), rows.down);
  for (const Adapter::Part& part : adapter.parts) {
    rows.parts.push_back(tensor::make_low_rank_part(part.up->value(), part.scale * adapter.identity->weight,
                                                    part.first_rank, part.first_output, type, graph_.encodings()));
  }
}

Tensor AdapterProduct::dropped(const Item& item, const Tensor& x) {
  const double probability = item.adapter->dropout;
  if (probability == 0.0 || !graph_.recording()) return x;
  Tensor kept = graph_.empty(x.shape(), x.dtype());
  const auto per_sample = static_cast<uint64_t>(rows_per_sample_ * x.dim(1));
  tensor::dropout(x, probability, item.random, graph_.random_state().first_sample * per_sample, kept);
  return kept;
}

void AdapterProduct::add_item(Adapter& adapter, const Tensor& x) {
  prepare(adapter);
  Item item{.adapter = &adapter, .inner = {}};
  if (adapter.dropout > 0.0 && graph_.recording()) item.random = graph_.next_random();
  item.inner = graph_.empty_activation({rows_, adapter.down->shape()[0]});
  graph_.multiply(dropped(item, x), *adapter.down, WeightLayout::output_input, item.inner);
  items_.push_back(std::move(item));
}

/// The factors of all DoRA adapters together: 1 + sum of weight * (factor - 1). Where that is more than one adapter's
/// own factor, the adapters' products are multiplied by what is missing.
void AdapterProduct::combine_factors() {
  const auto has_magnitude = [](const Item& item) { return item.adapter->has_magnitude(); };
  if (std::ranges::none_of(items_, has_magnitude)) return;
  if (items_.size() == 1 && items_.front().adapter->identity->weight == 1.0) {
    factors_ = items_.front().adapter->encoding.factors;
    return;
  }
  if (std::ranges::any_of(items_, [](const Item& item) { return item.adapter->trainable(); }) && graph_.recording()) {
    throw base::Error("{}: a DoRA adapter cannot be trained together with other adapters", weight_.name());
  }
  factors_ = graph_.empty({outputs()}, graph_.parameter_type());
  tensor::fill(factors_, 1.0);
  for (const Item& item : items_) {
    if (has_magnitude(item)) {
      tensor::add_above_one(item.adapter->encoding.factors, item.adapter->identity->weight, factors_);
    }
  }
  for (const Item& item : items_) {
    Tensor ratio = graph_.empty({outputs()}, graph_.parameter_type());
    tensor::fill(ratio, 1.0);
    if (has_magnitude(item)) tensor::copy(item.adapter->encoding.factors, ratio);
    tensor::divide(ratio, factors_, ratio);
    Tensor up = graph_.empty(item.adapter->encoding.up.shape(), graph_.parameter_type());
    tensor::scale_columns(item.adapter->encoding.up, ratio, up);
    own_up_.emplace_back();
    tensor::pack(up, graph_.precision(), own_up_.back(), graph_.arena());
  }
}

/// Every run of rows through its own adapter; the results wait in the addend, so that the main product is made once for
/// all rows and a row's result does not depend on the others.
void AdapterProduct::add_runs(const Tensor& x) {
  std::vector<tensor::LowRankRun> runs;
  int64_t first = 0;
  for (const Graph::AdapterRun& run : graph_.adapter_runs()) {
    for (const auto& adapter : weight_.adapters()) {
      if (adapter->identity.get() != run.adapter || run.adapter->weight == 0.0 || run.rows == 0) continue;
      if (!addend_) {
        addend_ = graph_.empty({rows_, outputs()}, graph_.parameter_type());
        tensor::fill(addend_, 0.0);
      }
      runs.push_back({&adapter->encoding.rows, x.slice(0, first, run.rows), addend_.slice(0, first, run.rows)});
      prepare_rows(*adapter);
      add_run_factors(*adapter, first, run.rows);
    }
    first += run.rows;
  }
  if (first != rows_) throw base::Error("{}: adapters are named for {} of {} rows", weight_.name(), first, rows_);
  tensor::multiply_low_rank(runs);
}

/// DoRA's factors of a run; its adapter's weight has been counted into scale B already.
void AdapterProduct::add_run_factors(Adapter& adapter, int64_t first, int64_t count) {
  if (!adapter.has_magnitude()) return;
  if (!factors_) {
    factors_ = graph_.empty({rows_, outputs()}, graph_.parameter_type());
    tensor::fill(factors_, 1.0);
  }
  if (adapter.identity->weight != 1.0) {
    throw base::Error("a DoRA adapter in a batch of several has the weight {}, expected 1", adapter.identity->weight);
  }
  for (int64_t row = first; row < first + count; ++row) {
    tensor::copy(adapter.encoding.factors, factors_.select(0, row));
  }
}

void AdapterProduct::add_to(tensor::Epilogue& epilogue, tensor::DType out_type) {
  if (factors_) {
    epilogue.scale = factors_;
    if (graph_.recording() && !trainable_parameters().empty()) {
      unscaled_ = graph_.empty({rows_, outputs()}, out_type);
      epilogue.unscaled = unscaled_;
    }
  }
  if (!addend_) {
    for (size_t index = 0; index < items_.size(); ++index) {
      const Item& item = items_[index];
      terms_.push_back({item.inner, own_up_.empty() ? &item.adapter->encoding.packed_up : &own_up_[index]});
    }
    if (!weight_.multiplies_blocks(layout_)) {
      epilogue.terms = terms_;
      return;
    }
    // Products of blocks have sums of their own kind, which take the finished numbers.
    addend_ = graph_.empty({rows_, outputs()}, graph_.parameter_type());
    for (size_t index = 0; index < terms_.size(); ++index) {
      tensor::matmul(terms_[index].a, *terms_[index].b, addend_, {.accumulate = index > 0});
    }
  }
  epilogue.addend = addend_;
}

std::vector<Parameter*> AdapterProduct::trainable_parameters() const {
  std::vector<Parameter*> all;
  for (const Item& item : items_) {
    const std::vector<Parameter*> own = item.adapter->trainable_parameters();
    all.insert(all.end(), own.begin(), own.end());
  }
  return all;
}

/// dB = scale u^T dy, transposed.
void AdapterProduct::add_up_gradients(const Item& item, const Tensor& d_sums) {
  for (const Adapter::Part& part : item.adapter->parts) {
    if (!part.up->trainable()) continue;
    Tensor transposed = graph_.empty({part.rank, part.outputs}, graph_.parameter_type());
    tensor::matmul(item.inner.slice(1, part.first_rank, part.rank).transpose(0, 1),
                   d_sums.slice(1, part.first_output, part.outputs), graph_.precision(), transposed);
    tensor::scale(transposed, part.scale * item.adapter->identity->weight);
    const Tensor gradient = part.up->gradient().transpose(0, 1);
    if (part.up->begin_gradient()) {
      tensor::add(gradient, transposed, gradient);
    } else {
      tensor::copy(transposed, gradient);
    }
  }
}

/// dm = d_factor / norm.
void AdapterProduct::add_magnitude_gradients(const Tensor& d_factors) {
  const Adapter& adapter = *items_.front().adapter;
  tensor::divide(d_factors, adapter.encoding.norms, d_factors);
  for (const Adapter::Part& part : adapter.parts) {
    if (part.magnitude == nullptr || !part.magnitude->trainable()) continue;
    const Tensor own = d_factors.slice(0, part.first_output, part.outputs);
    if (part.magnitude->begin_gradient()) {
      tensor::add(part.magnitude->gradient(), own, part.magnitude->gradient());
    } else {
      tensor::copy(own, part.magnitude->gradient());
    }
  }
}

Tensor AdapterProduct::backward(const Tensor& x, const Tensor& d_y, bool may_overwrite, bool needs_d_x) {
  Tensor d_sums = d_y;
  if (unscaled_) {
    if (!may_overwrite) d_sums = graph_.empty(d_y.shape(), d_y.dtype());
    Tensor d_factors = graph_.empty({outputs()}, graph_.parameter_type());
    tensor::column_scale_backward(d_y, unscaled_, factors_, d_sums, d_factors);
    unscaled_ = Tensor();
    add_magnitude_gradients(d_factors);
  } else if (factors_) {
    d_sums = graph_.empty(d_y.shape(), d_y.dtype());
    tensor::scale_columns(d_y, factors_, d_sums);
  }
  terms_.clear();
  for (size_t index = 0; index < items_.size(); ++index) {
    Item& item = items_[index];
    const bool learns = item.adapter->down->trainable();
    add_up_gradients(item, d_sums);
    item.inner = Tensor();
    if (!learns && !needs_d_x) continue;
    Tensor d_inner = graph_.empty_activation({rows_, item.adapter->down->shape()[0]});
    if (own_up_.empty()) {
      tensor::matmul(d_sums, item.adapter->encoding.packed_back, d_inner);
    } else {
      throw base::Error("{}: gradients through several DoRA adapters are not supported", weight_.name());
    }
    if (learns) {
      const tensor::Epilogue epilogue{.accumulate = item.adapter->down->begin_gradient()};
      tensor::matmul(d_inner.transpose(0, 1), dropped(item, x), graph_.precision(), item.adapter->down->gradient(),
                     epilogue);
    }
    item.inner = std::move(d_inner);
  }
  return d_sums;
}

void AdapterProduct::add_input_gradient(const Tensor& d_sums, Tensor& d_x) {
  std::vector<Parameter::TransposedTerm> terms;
  Tensor addend;
  for (const Item& item : items_) {
    if (item.adapter->dropout == 0.0) {
      terms.push_back({item.inner, item.adapter->down, WeightLayout::output_input});
      continue;
    }
    Tensor flowing = graph_.empty(d_x.shape(), graph_.parameter_type());
    graph_.multiply_transposed(item.inner, *item.adapter->down, WeightLayout::output_input, flowing);
    flowing = dropped(item, flowing);
    if (addend) tensor::add_into(addend, flowing);
    if (!addend) addend = std::move(flowing);
  }
  graph_.multiply_transposed(d_sums, weight_, layout_, d_x, terms, addend);
}

}  // namespace fledge::grad
