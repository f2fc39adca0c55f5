#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/random.h"
#include "grad/parameter.h"
#include "grad/variable.h"
#include "tensor/arena.h"
#include "tensor/matmul.h"

namespace fledge::grad {

/// Where the random numbers of a forward pass come from: a function of the run's seed, the step and the number of the
/// first sample within the step, so that recomputation, resume and another number of processes draw the same.
struct RandomState {
  uint64_t seed = 0;
  uint64_t step = 0;
  uint64_t first_sample = 0;
};

/// One forward pass and, while recording, the tape for its backward pass: plain records, run in reverse.
///
/// The activation type decides the arithmetic: bf16 (products of bf16 with f32 sums, f32 residual stream), f32, or f64
/// (plain reference kernels, for finite differences). A graph is made per micro-batch and is used by one thread.
class Graph {
 public:
  /// `activations` gives the memory of values and gradients, `encodings` that of packed weights.
  Graph(tensor::Arena& activations, tensor::Arena& encodings, tensor::DType activation_type, bool recording);

  /// An empty graph with the same arenas, arithmetic and random numbers.
  Graph sibling(bool recording = true) const;

  bool recording() const { return recording_; }
  /// Whether models keep only the input of each of their blocks and compute the rest again in the backward pass
  /// (recomputed() in grad/recompute.h).
  bool recomputes_blocks() const { return recomputes_blocks_; }
  void set_recomputes_blocks(bool recomputes) { recomputes_blocks_ = recomputes; }
  tensor::DType activation_type() const { return activation_type_; }
  /// Type of parameters, of the residual stream and of statistics.
  tensor::DType parameter_type() const {
    return activation_type_ == tensor::DType::f64 ? tensor::DType::f64 : tensor::DType::f32;
  }
  tensor::Precision precision() const {
    return activation_type_ == tensor::DType::bf16 ? tensor::Precision::bf16 : tensor::Precision::f32;
  }
  tensor::Arena& arena() { return activations_; }
  tensor::Arena& encodings() { return encodings_; }
  tensor::Tensor empty(const tensor::Shape& shape, tensor::DType dtype) {
    return tensor::Tensor::empty(shape, dtype, activations_);
  }
  tensor::Tensor empty_activation(const tensor::Shape& shape) { return empty(shape, activation_type_); }

  /// y = x W with an epilogue, for matrices x [M, in] and y [M, out].
  void multiply(const tensor::Tensor& x, Parameter& weight, WeightLayout layout, tensor::Tensor& y,
                const tensor::Epilogue& epilogue = {}) {
    weight.multiply(x, layout, precision(), y, epilogue, encodings_);
  }
  /// y = x W^T + terms + addend, for x [M, out] and y [M, in].
  void multiply_transposed(const tensor::Tensor& x, Parameter& weight, WeightLayout layout, tensor::Tensor& y,
                           std::span<const Parameter::TransposedTerm> terms = {}, const tensor::Tensor& addend = {}) {
    weight.multiply_transposed(x, layout, precision(), y, terms, addend, encodings_, activations_);
  }

  /// Says which adapter each row of the next products goes through, run by run; together the runs are all rows. Not
  /// while recording. Without runs (the usual case) every row goes through all adapters that are switched on.
  struct AdapterRun {
    const AdapterIdentity* adapter = nullptr;  ///< null: the base alone
    int64_t rows = 0;
  };
  void set_adapter_runs(std::vector<AdapterRun> runs) { adapter_runs_ = std::move(runs); }
  const std::vector<AdapterRun>& adapter_runs() const { return adapter_runs_; }
  /// The base alone, for all rows: a reference model without a copy of the weights.
  void switch_adapters_off() { adapters_off_ = true; }
  bool adapters_off() const { return adapters_off_; }

  void set_random_state(const RandomState& state) { random_state_ = state; }
  const RandomState& random_state() const { return random_state_; }
  /// A generator for one operation's random numbers in this step; every call names the next operation.
  base::Random next_random();
  /// How many operations have drawn random numbers so far.
  uint64_t random_operations() const { return random_operations_; }
  void set_random_operations(uint64_t count) { random_operations_ = count; }

  /// Records how to go backward over an operation. `parameters` are those whose gradient the closure adds to.
  void record(std::string_view name, std::vector<Parameter*> parameters, std::function<void()> backward);
  /// Those of all records so far, each once, in the order of their first use.
  std::vector<Parameter*> recorded_parameters() const;

  /// Called during backward() as soon as a parameter's gradient is complete for this graph.
  void on_parameter_ready(std::function<void(Parameter&)> callback) { parameter_ready_ = std::move(callback); }

  /// Runs the tape from `loss`, whose gradient is 1. Each record, and what only it keeps alive, is freed as
  /// soon as it has run. May be called once.
  void backward(const Variable& loss);
  /// The same from any variable, whose gradient is `seed`; `rounded` may carry it in the activation type.
  void backward(const Variable& from, tensor::Tensor seed, tensor::Tensor rounded = {});

 private:
  struct Record {
    std::string_view name;
    std::vector<Parameter*> parameters;
    std::function<void()> backward;
  };
  tensor::Arena& activations_;
  tensor::Arena& encodings_;
  tensor::DType activation_type_;
  bool recording_, recomputes_blocks_ = false;
  RandomState random_state_;
  uint64_t random_operations_ = 0;
  std::vector<Record> tape_;
  std::unordered_map<Parameter*, size_t> first_use_;
  std::function<void(Parameter&)> parameter_ready_;
  std::vector<AdapterRun> adapter_runs_;
  bool adapters_off_ = false;
};

}  // namespace fledge::grad
