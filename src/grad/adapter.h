#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tensor/low_rank.h"
#include "tensor/matmul.h"
#include "tensor/tensor.h"

namespace fledge::grad {

class Parameter;

/// What the changes that one adapter makes to many weights have in common.
struct AdapterIdentity {
  std::string name;
  double weight = 1.0;  ///< how much of the changes counts; 0: the adapter is switched off
};

/// The change that an adapter makes to one weight (Hu et al., "LoRA: low-rank adaptation of large language models",
/// 2022): W x + scale B A dropout(x). Where the weight joins several parameters, each of these may have a part, for its
/// own outputs; all parts read the same input, so their A stand below each other and are multiplied as one.
///
/// A part with a magnitude m is one of DoRA (Liu et al., "DoRA: weight-decomposed low-rank adaptation", 2024): each
/// output j of W + scale B A is multiplied by m[j] / ||W[j] + scale B[j] A||, where the norm counts as a constant in
/// the backward pass (section 4.3).
///
/// Dropout draws one mask for all parts. DoRA's factor also multiplies what dropout left out, so that W x need not be
/// computed twice.
struct Adapter {
  struct Part {
    Parameter* up = nullptr;         ///< B [outputs, rank]
    Parameter* magnitude = nullptr;  ///< m [outputs], or null
    int64_t first_output = 0, outputs = 0;
    int64_t first_rank = 0, rank = 0;  ///< rows of A
    double scale = 1.0;
  };

  std::shared_ptr<AdapterIdentity> identity;
  /// A of all parts [R, in]; of an embedding [V, R], as rows are looked up.
  Parameter* down = nullptr;
  std::vector<Part> parts;
  double dropout = 0.0;

  bool has_magnitude() const;
  /// Whether any of its parameters gets a gradient.
  bool trainable() const;
  /// Its parameters: A, then each part's B and magnitude.
  std::vector<Parameter*> parameters() const;
  std::vector<Parameter*> trainable_parameters() const;

  /// What the kernels read, remade when a parameter has changed.
  struct Encoding {
    uint64_t version = 0, back_version = 0, rows_version = 0;
    tensor::Tensor up;                 ///< [R, out]: scale B^T of every part, 0 elsewhere
    tensor::PackedMatrix packed_up;    ///< of up
    tensor::PackedMatrix packed_back;  ///< of its transpose [out, R], while recording
    tensor::LowRankMatrix rows;        ///< for runs of rows through adapters of their own
    uint64_t rows_changes = 0;         ///< Parameter::changes() when `rows` were last known to be right
    tensor::Precision rows_precision = tensor::Precision::f32;
    double rows_weight = 0;
    tensor::Tensor norms;    ///< DoRA: [out], ||W + scale B A||
    tensor::Tensor factors;  ///< DoRA: [out], m / norms; 1 outside of the parts
    uint64_t base_version = 0;
    tensor::Tensor base_squares;  ///< DoRA: [out], ||W||^2
  };
  Encoding encoding;
};

}  // namespace fledge::grad
