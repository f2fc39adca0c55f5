#include "grad/linear_distillation.h"

#include "base/error.h"
#include "grad/head_sweep.h"
#include "grad/linear_cross_entropy.h"
#include "tensor/sum.h"

namespace fledge::grad {
namespace {

using tensor::DistillationRows;
using tensor::DistillationSettings;
using tensor::Tensor;

constexpr std::string_view kOperation = "linear_distillation";

struct Student {
  const Variable& x;
  Parameter& weight;
  WeightLayout layout;
  Parameter* bias;

  int64_t vocabulary() const { return weight.shape()[layout == WeightLayout::input_output ? 1 : 0]; }
};

DistillationRows make_rows(Graph& graph, int64_t count) {
  const auto make = [&] { return graph.empty({count}, graph.parameter_type()); };
  return {make(), make(), make(), make()};
}

DistillationRows slice(const DistillationRows& rows, int64_t first, int64_t count) {
  const auto part = [&](const Tensor& all) { return all.slice(0, first, count); };
  return {part(rows.losses), part(rows.cross_entropies), part(rows.divergences), part(rows.agreements)};
}

/// Compares a block of the student's logits with the teacher's.
using BlockComparison = std::function<void(int64_t first, int64_t count, const Tensor& logits,
                                           const DistillationRows& results, const Tensor& d_logits)>;

DistillationLoss sweep(Graph& graph, const Student& student, const HeadRows& rows, double scale,
                       const BlockComparison& compare) {
  const DistillationRows results = make_rows(graph, rows.x.dim(0));
  const bool needs_d_x = graph.recording() && student.x.requires_gradient();
  const Tensor d_rows = sweep_head(graph, rows, student.weight, student.layout, student.bias, needs_d_x,
                                   [&](int64_t first, int64_t count, const Tensor& logits, const Tensor& d_logits) {
                                     compare(first, count, logits, slice(results, first, count), d_logits);
                                   });
  const double loss = scale * tensor::sum(results.losses);
  const auto all = [&](const Tensor& values) { return for_all_rows(graph, values, rows); };
  return {record_head_loss(graph, kOperation, loss, student.x, rows, d_rows, student.weight, student.bias),
          all(results.losses), all(results.cross_entropies), all(results.divergences), all(results.agreements)};
}

DistillationLoss without_teacher(Graph& graph, const Student& student, const Tensor& targets, double scale) {
  const HeadLoss plain =
      linear_cross_entropy(graph, student.x, student.weight, student.layout, targets, scale, student.bias);
  return {plain.loss, plain.token_losses, plain.token_losses, {}, {}};
}

}  // namespace

DistillationLoss linear_distillation(Graph& graph, const Variable& x, Parameter& weight, WeightLayout layout,
                                     Parameter* bias, const TeacherRows& teacher, const Tensor& targets,
                                     const DistillationSettings& settings, double scale) {
  const Student student{x, weight, layout, bias};
  if (settings.alpha == 0.0) return without_teacher(graph, student, targets, scale);
  const int64_t width = teacher.hidden.shape()[-1], vocabulary = student.vocabulary();
  const bool input_first = teacher.layout == WeightLayout::input_output;
  const tensor::Shape expected = input_first ? tensor::Shape{width, vocabulary} : tensor::Shape{vocabulary, width};
  if (!(teacher.weight->shape() == expected)) {
    throw base::Error("[{}] the teacher's head {} is {}, expected {} beside the student's {} {}", kOperation,
                      teacher.weight->name(), teacher.weight->shape().text(), expected.text(), weight.name(),
                      weight.shape().text());
  }
  const HeadRows rows = rows_with_targets(graph, x.value(), targets, weight, layout, kOperation);
  const Tensor all_hidden = teacher.hidden.reshape({-1, width});
  tensor::require_shape(all_hidden, {rows.all, width}, "[linear_distillation] the teacher's hidden states");
  const Tensor hidden = same_rows(graph, all_hidden, rows);
  Tensor room;
  return sweep(
      graph, student, rows, scale,
      [&](int64_t first, int64_t count, const Tensor& logits, const DistillationRows& results, const Tensor& d_logits) {
        if (!room) room = graph.empty(logits.shape(), logits.dtype());
        Tensor teacher_logits = room.slice(0, 0, count);
        tensor::Epilogue epilogue;
        if (teacher.bias != nullptr) epilogue.bias = teacher.bias->value();
        graph.multiply(hidden.slice(0, first, count), *teacher.weight, teacher.layout, teacher_logits, epilogue);
        tensor::distillation_loss(logits, teacher_logits, rows.targets.slice(0, first, count), settings, scale, results,
                                  d_logits);
      });
}

DistillationLoss linear_distillation(Graph& graph, const Variable& x, Parameter& weight, WeightLayout layout,
                                     Parameter* bias, const TeacherTop& teacher, const Tensor& targets,
                                     const DistillationSettings& settings, double scale) {
  const Student student{x, weight, layout, bias};
  if (settings.alpha == 0.0) return without_teacher(graph, student, targets, scale);
  const HeadRows rows = rows_with_targets(graph, x.value(), targets, weight, layout, kOperation);
  tensor::require_shape(teacher.log_probabilities, teacher.ids.shape(), "[linear_distillation] log-probabilities");
  if (teacher.ids.rank() != 2 || teacher.ids.dim(0) != rows.all) {
    throw base::Error("[{}] the teacher's likeliest tokens are {}, expected [{}, K]", kOperation,
                      teacher.ids.shape().text(), rows.all);
  }
  const Tensor ids = same_rows(graph, teacher.ids, rows),
               log_probabilities = same_rows(graph, teacher.log_probabilities, rows);
  return sweep(
      graph, student, rows, scale,
      [&](int64_t first, int64_t count, const Tensor& logits, const DistillationRows& results, const Tensor& d_logits) {
        tensor::distillation_loss(logits, ids.slice(0, first, count), log_probabilities.slice(0, first, count),
                                  rows.targets.slice(0, first, count), settings, scale, results, d_logits);
      });
}

}  // namespace fledge::grad
