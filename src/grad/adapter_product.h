#pragma once

#include <memory>
#include <vector>

#include "grad/graph.h"

namespace fledge::grad {

/// What the adapters of a table add to the rows that were looked up in it: rows [n, C] += A^T[ids] (scale B)^T, where A
/// stands as [V, R]. Returns the parameters that learn.
std::vector<Parameter*> add_embedding_adapters(Graph& graph, Parameter& table, const tensor::Tensor& ids,
                                               tensor::Tensor& rows);
/// The gradients of those parameters from the gradient of the rows.
void embedding_adapters_backward(Graph& graph, Parameter& table, const tensor::Tensor& ids,
                                 const tensor::Tensor& d_rows);

/// The adapters of a weight at work in one product y = x W: what they add on the way forward, and their gradients.
///
/// Forward: u = dropout(x) A^T is a product of its own, narrow and small; u (scale B)^T joins the main product behind
/// its depth, before a tile leaves the cache, so that y is written once. Backward: dB and du read dy, dA reads x, and
/// du A joins the product that makes dx.
class AdapterProduct {
 public:
  /// Null where no adapter of the weight takes part. `x` [M, in]; `rows_per_sample` says how rows count into samples,
  /// for dropout's random numbers.
  static std::shared_ptr<AdapterProduct> start(Graph& graph, Parameter& weight, WeightLayout layout,
                                               const tensor::Tensor& x, int64_t rows_per_sample);

  /// What the main product does besides. The epilogue refers to this object. `out_type` is that of the product's
  /// result.
  void add_to(tensor::Epilogue& epilogue, tensor::DType out_type);

  /// The parameters that learn.
  std::vector<Parameter*> trainable_parameters() const;

  /// From dy [M, out], the gradient behind bias and activation, in the activation type: adds the gradients of the
  /// adapters' parameters. `x` is the product's input again. Returns the gradient of the sums, which the weight's own
  /// gradients begin with (dy itself, but for DoRA); it may take dy's memory where `may_overwrite`.
  tensor::Tensor backward(const tensor::Tensor& x, const tensor::Tensor& d_y, bool may_overwrite, bool needs_d_x);
  /// d_x = d_sums W^T and what flows back through the adapters.
  void add_input_gradient(const tensor::Tensor& d_sums, tensor::Tensor& d_x);

 private:
  struct Item {
    Adapter* adapter;
    base::Random random{0, 0};  ///< of dropout
    tensor::Tensor inner;       ///< u [M, R]; later its gradient
  };

  AdapterProduct(Graph& graph, Parameter& weight, WeightLayout layout, int64_t rows, int64_t rows_per_sample)
      : graph_(graph), weight_(weight), layout_(layout), rows_(rows), rows_per_sample_(rows_per_sample) {}
  void add_item(Adapter& adapter, const tensor::Tensor& x);
  void add_runs(const tensor::Tensor& x);
  void add_run_factors(Adapter& adapter, int64_t first, int64_t count);
  tensor::Tensor dropped(const Item& item, const tensor::Tensor& x);
  uint64_t version_of(const Adapter& adapter) const;
  void prepare(Adapter& adapter);
  void prepare_rows(Adapter& adapter);
  void make_rows(Adapter& adapter);
  void combine_factors();
  void add_up_gradients(const Item& item, const tensor::Tensor& d_sums);
  void add_magnitude_gradients(const tensor::Tensor& d_factors);
  int64_t outputs() const;

  Graph& graph_;
  Parameter& weight_;
  WeightLayout layout_;
  int64_t rows_, rows_per_sample_;
  std::vector<Item> items_;
  std::vector<tensor::PackedMatrix> own_up_;  ///< of each item, where several adapters' factors meet; or empty
  std::vector<tensor::ProductTerm> terms_;
  tensor::Tensor addend_;    ///< [M, out]: instead of terms
  tensor::Tensor factors_;   ///< DoRA: [out] or [M, out]
  tensor::Tensor unscaled_;  ///< DoRA, while recording: sums before the factors
};

}  // namespace fledge::grad
