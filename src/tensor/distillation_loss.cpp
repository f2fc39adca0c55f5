#include "tensor/distillation_loss.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/parallel.h"
#include "tensor/check.h"
#include "tensor/cpu/distillation.h"
#include "tensor/cpu/reference/distillation.h"
#include "tensor/cpu_features.h"

namespace fledge::tensor {
namespace {

/// What a row is worth.
struct RowLoss {
  double cross_entropy = 0.0, divergence = 0.0;
  bool agrees = false;
};

/// One row of the student, in the type T of the logits.
template <typename T>
struct StudentRow {
  T* logits;
  int64_t columns;
  int32_t target;
  void* gradient;  ///< null: not wanted
  DType gradient_type;
};

struct Weights {
  double plain;     ///< of the cross-entropy's gradient
  double tempered;  ///< of the divergence's: alpha tau^2 / tau
};

Weights weights_of(const DistillationSettings& settings, double gradient_scale) {
  return {(1.0 - settings.alpha) * gradient_scale, settings.alpha * settings.temperature * gradient_scale};
}

void set_gradient(void* gradient, DType type, int64_t place, double value) {
  if (type == DType::bf16) {
    static_cast<bf16*>(gradient)[place] = convert<bf16>(value);
  } else if (type == DType::f32) {
    static_cast<float*>(gradient)[place] = static_cast<float>(value);
  } else {
    static_cast<double*>(gradient)[place] = value;
  }
}

/// Statistics of a student's row without and with temperature.
struct Statistics {
  cpu::Softmax plain, tempered;
};

Statistics statistics_of(const float* row, int64_t columns, double temperature) {
  Statistics result;
  result.plain = cpu::softmax_statistics(row, columns);
  result.tempered =
      temperature == 1.0 ? result.plain : cpu::tempered_statistics(row, columns, static_cast<float>(1.0 / temperature));
  return result;
}

double cross_entropy_of(const cpu::Softmax& softmax, float target_logit) {
  return static_cast<double>(softmax.greatest) - static_cast<double>(target_logit) + std::log(softmax.sum);
}

/// e^((logit - greatest) * factor) / sum, in f64.
double probability(double logit, const cpu::Softmax& softmax, double factor) {
  return std::exp((logit - static_cast<double>(softmax.greatest)) * factor) / softmax.sum;
}

// ---- Against a whole row of the teacher ----

RowLoss dense_row(const StudentRow<float>& row, const float* teacher, const DistillationSettings& settings,
                  const Weights& weights) {
  const double factor = 1.0 / settings.temperature;
  const auto narrow_factor = static_cast<float>(factor);
  const Statistics own = statistics_of(row.logits, row.columns, settings.temperature);
  const cpu::TemperedRow student{row.logits, own.tempered};
  const cpu::TemperedRow other{teacher, cpu::tempered_statistics(teacher, row.columns, narrow_factor)};
  const float target_logit = row.logits[row.target];
  RowLoss result{cross_entropy_of(own.plain, target_logit),
                 settings.reverse ? cpu::divergence(student, other, row.columns, narrow_factor)
                                  : cpu::divergence(other, student, row.columns, narrow_factor),
                 cpu::same_greatest(student, other, row.columns)};
  if (row.gradient == nullptr) return result;

  // At the target, in f64: where the student is sure, the differences are all that there is.
  const double q = probability(target_logit, own.tempered, factor),
               p = probability(teacher[row.target], other.softmax, factor);
  const double plain = weights.plain * (probability(target_logit, own.plain, 1.0) - 1.0);
  const auto plain_weight = static_cast<float>(weights.plain / own.plain.sum),
             student_weight = static_cast<float>(weights.tempered / own.tempered.sum);
  if (settings.reverse) {
    cpu::reverse_gradient(student, other, row.columns, narrow_factor,
                          {plain_weight, student_weight, static_cast<float>(result.divergence)}, row.gradient,
                          row.gradient_type);
    const double slope = q > 0.0 ? q * (std::log(q) - std::log(p) - result.divergence) : 0.0;
    set_gradient(row.gradient, row.gradient_type, row.target, plain + weights.tempered * slope);
  } else {
    cpu::forward_gradient(student, other, row.columns, narrow_factor,
                          {plain_weight, student_weight, static_cast<float>(weights.tempered / other.softmax.sum)},
                          row.gradient, row.gradient_type);
    set_gradient(row.gradient, row.gradient_type, row.target, plain + weights.tempered * (q - p));
  }
  return result;
}

RowLoss dense_row(const StudentRow<double>& row, const double* teacher, const DistillationSettings& settings,
                  const Weights& weights) {
  using namespace cpu::reference;
  const double temperature = settings.temperature;
  const double normalizer = log_sum_exp(row.logits, row.columns);
  const double student_normalizer = tempered_log_sum_exp(row.logits, row.columns, temperature),
               teacher_normalizer = tempered_log_sum_exp(teacher, row.columns, temperature);
  RowLoss result{normalizer - row.logits[row.target],
                 settings.reverse ? divergence(row.logits, teacher, row.columns, temperature)
                                  : divergence(teacher, row.logits, row.columns, temperature),
                 std::max_element(row.logits, row.logits + row.columns) - row.logits ==
                     std::max_element(teacher, teacher + row.columns) - teacher};
  if (row.gradient == nullptr) return result;
  for (int64_t c = 0; c < row.columns; ++c) {
    const double log_q = row.logits[c] / temperature - student_normalizer,
                 log_p = teacher[c] / temperature - teacher_normalizer;
    const double q = std::exp(log_q);
    const double slope =
        settings.reverse ? (q > 0.0 ? q * (log_q - log_p - result.divergence) : 0.0) : q - std::exp(log_p);
    const double plain = std::exp(row.logits[c] - normalizer) - (c == row.target ? 1.0 : 0.0);
    static_cast<double*>(row.gradient)[c] = weights.plain * plain + weights.tempered * slope;
  }
  return result;
}

// ---- Against the teacher's likeliest tokens ----

struct TopRow {
  const int32_t* ids;
  const float* log_probabilities;
  int64_t count;
};

/// The softmax with temperature of the logits outside the listed ones, and the listed logits.
template <typename T>
struct TailSplit {
  T tail_greatest;             ///< logit
  double tail_log_sum;         ///< log of the sum of e^(logit / temperature); -infinity where nothing is left
  double log_sum;              ///< of the whole row
  std::vector<double> listed;  ///< logits / temperature
};

/// Leaves -infinity in the listed places.
template <typename T>
TailSplit<T> split_tail(const StudentRow<T>& row, const TopRow& top, double temperature) {
  TailSplit<T> split;
  split.listed.resize(static_cast<size_t>(top.count));
  double greatest = -std::numeric_limits<double>::infinity();
  for (int64_t k = 0; k < top.count; ++k) {
    double& logit = split.listed[static_cast<size_t>(k)];
    logit = static_cast<double>(row.logits[top.ids[k]]) / temperature;
    greatest = std::max(greatest, logit);
    row.logits[top.ids[k]] = -std::numeric_limits<T>::infinity();
  }
  split.tail_greatest = -std::numeric_limits<T>::infinity();
  split.tail_log_sum = -std::numeric_limits<double>::infinity();
  if constexpr (std::is_same_v<T, float>) {
    const cpu::Softmax rest = cpu::tempered_statistics(row.logits, row.columns, static_cast<float>(1.0 / temperature));
    split.tail_greatest = rest.greatest;
    if (!std::isinf(rest.greatest)) {
      split.tail_log_sum = static_cast<double>(rest.greatest) / temperature + std::log(rest.sum);
    }
  } else if (top.count < row.columns) {
    split.tail_log_sum = cpu::reference::tempered_log_sum_exp(row.logits, row.columns, temperature);
  }
  const double shift = std::max(greatest, split.tail_log_sum);
  double sum = std::exp(split.tail_log_sum - shift);
  for (const double logit : split.listed) sum += std::exp(logit - shift);
  split.log_sum = shift + std::log(sum);
  return split;
}

/// Slopes of the divergence at the logits: one for each listed token, and what the others' probability is multiplied
/// by.
struct TopDivergence {
  double value = 0.0, tail_factor = 0.0;
  std::vector<double> slopes;
};

template <typename T>
TopDivergence compare(const TailSplit<T>& split, const TopRow& top, bool reverse) {
  TopDivergence result;
  result.slopes.resize(static_cast<size_t>(top.count));
  double listed_mass = 0.0;
  for (int64_t k = 0; k < top.count; ++k) listed_mass += std::exp(static_cast<double>(top.log_probabilities[k]));
  // Log-probabilities that were rounded may sum to a hair more than 1; a teacher is never quite sure.
  constexpr double kLeastTail = 1e-12;
  const double p_tail = std::max(1.0 - listed_mass, kLeastTail), log_p_tail = std::log(p_tail);
  const double log_q_tail = split.tail_log_sum - split.log_sum, q_tail = std::exp(log_q_tail);
  const bool has_tail = q_tail > 0.0;
  const auto log_q = [&](int64_t k) { return split.listed[static_cast<size_t>(k)] - split.log_sum; };
  if (has_tail) result.value = reverse ? q_tail * (log_q_tail - log_p_tail) : p_tail * (log_p_tail - log_q_tail);
  for (int64_t k = 0; k < top.count; ++k) {
    const double log_p = top.log_probabilities[k], difference = log_p - log_q(k);
    result.value += reverse ? -std::exp(log_q(k)) * difference : std::exp(log_p) * difference;
  }
  // Sums over the outcomes: d KL / d logit is q - p, where a token of the tail has its share q / q_tail of p_tail.
  const double forward_mass = has_tail ? listed_mass + p_tail : listed_mass;
  for (int64_t k = 0; k < top.count; ++k) {
    const double log_p = top.log_probabilities[k], q = std::exp(log_q(k));
    result.slopes[static_cast<size_t>(k)] =
        reverse ? q * (log_q(k) - log_p - result.value) : q * forward_mass - std::exp(log_p);
  }
  if (has_tail) {
    result.tail_factor = reverse ? log_q_tail - log_p_tail - result.value : forward_mass - p_tail / q_tail;
  }
  return result;
}

template <typename T>
RowLoss top_row(const StudentRow<T>& row, const TopRow& top, const DistillationSettings& settings,
                const Weights& weights) {
  const double temperature = settings.temperature;
  double plain_log_sum = 0.0;
  int64_t likeliest = 0;
  if constexpr (std::is_same_v<T, float>) {
    const cpu::Softmax plain = cpu::softmax_statistics(row.logits, row.columns);
    plain_log_sum = static_cast<double>(plain.greatest) + std::log(plain.sum);
    likeliest = row.logits[top.ids[0]] == plain.greatest ? top.ids[0] : -1;
  } else {
    plain_log_sum = cpu::reference::log_sum_exp(row.logits, row.columns);
    likeliest = std::max_element(row.logits, row.logits + row.columns) - row.logits;
  }
  RowLoss result;
  result.cross_entropy = plain_log_sum - static_cast<double>(row.logits[row.target]);
  result.agrees = likeliest == top.ids[0];
  const double target_logit = row.logits[row.target];
  const TailSplit<T> split = split_tail(row, top, temperature);
  const TopDivergence divergence = compare(split, top, settings.reverse);
  result.divergence = divergence.value;
  if (row.gradient == nullptr) return result;

  const double tail_weight = weights.tempered * divergence.tail_factor;
  if constexpr (std::is_same_v<T, float>) {
    // The listed places hold -infinity, so the sweep leaves 0 there.
    const auto factor = static_cast<float>(1.0 / temperature);
    // Where no other token is possible, every exponent is -infinity, whatever is taken from it.
    const float greatest = std::isinf(split.tail_greatest) ? 0.0F : split.tail_greatest;
    const auto at_greatest = static_cast<double>(greatest);
    const cpu::TemperedRow student{row.logits, {greatest, 1.0}};
    const cpu::ForwardGradient sweep{
        static_cast<float>(weights.plain * std::exp(at_greatest - plain_log_sum)),
        static_cast<float>(tail_weight * std::exp(at_greatest / temperature - split.log_sum)), 0.0F};
    cpu::forward_gradient(student, student, row.columns, factor, sweep, row.gradient, row.gradient_type);
  } else {
    for (int64_t c = 0; c < row.columns; ++c) {
      static_cast<double*>(row.gradient)[c] = weights.plain * std::exp(row.logits[c] - plain_log_sum) +
                                              tail_weight * std::exp(row.logits[c] / temperature - split.log_sum);
    }
  }
  for (int64_t k = 0; k < top.count; ++k) {
    const double logit = split.listed[static_cast<size_t>(k)] * temperature;
    const double plain = std::exp(logit - plain_log_sum) - (top.ids[k] == row.target ? 1.0 : 0.0);
    set_gradient(row.gradient, row.gradient_type, top.ids[k],
                 weights.plain * plain + weights.tempered * divergence.slopes[static_cast<size_t>(k)]);
  }
  if (std::find(top.ids, top.ids + top.count, row.target) == top.ids + top.count) {
    const double tail = tail_weight * std::exp(target_logit / temperature - split.log_sum);
    set_gradient(row.gradient, row.gradient_type, row.target,
                 weights.plain * (std::exp(target_logit - plain_log_sum) - 1.0) + tail);
  }
  return result;
}

// ---- What both share ----

void check_student(const Tensor& student, const Tensor& targets, const DistillationRows& rows,
                   const Tensor& d_student) {
  require_matrix(student, "[distillation_loss] student");
  require(student, student.shape(), {DType::f32, DType::f64}, "[distillation_loss] student");
  require(targets, {student.dim(0)}, {DType::i32}, "[distillation_loss] targets");
  for (const Tensor* out : {&rows.losses, &rows.cross_entropies, &rows.divergences, &rows.agreements}) {
    require(*out, {student.dim(0)}, {student.dtype()}, "[distillation_loss] a result");
  }
  if (student.dtype() == DType::f64) {
    require_if_defined(d_student, student.shape(), {DType::f64}, "[distillation_loss] d_student of logits in f64");
  } else {
    require_if_defined(d_student, student.shape(), {DType::f32, DType::bf16}, "[distillation_loss] d_student");
  }
}

void check_ids(const Tensor& ids, int64_t least, int64_t columns, std::string_view what) {
  const int32_t* id = ids.data<int32_t>();
  for (int64_t place = 0; place < ids.elements(); ++place) {
    if (id[place] < least || id[place] >= columns) {
      throw base::Error("[distillation_loss] {}: got {} at place {}, expected less than {}, the number of logits", what,
                        id[place], place, columns);
    }
  }
}

/// Calls loss(StudentRow<T>, r) for every row that counts, and stores what it returns.
template <typename T, typename Loss>
void for_each_row(const Tensor& student, const Tensor& targets, const DistillationSettings& settings,
                  const DistillationRows& rows, const Tensor& d_student, const Loss& loss) {
  const int64_t columns = student.dim(1);
  const DType gradient_type = d_student ? d_student.dtype() : DType::f32;
  const int64_t gradient_bytes = columns * static_cast<int64_t>(size_of(gradient_type));
  const double weight = settings.alpha * settings.temperature * settings.temperature;
  const auto store = [](const Tensor& out, int64_t row, double value) { out.data<T>()[row] = static_cast<T>(value); };
  base::parallel_for(
      student.dim(0), std::max<int64_t>(1, 8192 / std::max<int64_t>(1, columns)), [&](int64_t first, int64_t last) {
        for (int64_t r = first; r < last; ++r) {
          std::byte* gradient = d_student ? d_student.raw() + r * gradient_bytes : nullptr;
          const int32_t target = targets.data<int32_t>()[r];
          RowLoss result;
          if (target >= 0) {
            T* logits = student.data<T>() + r * columns;
            result = loss(StudentRow<T>{logits, columns, target, gradient, gradient_type}, r);
          } else if (gradient != nullptr) {
            std::memset(gradient, 0, static_cast<size_t>(gradient_bytes));
          }
          store(rows.losses, r, (1.0 - settings.alpha) * result.cross_entropy + weight * result.divergence);
          store(rows.cross_entropies, r, result.cross_entropy);
          store(rows.divergences, r, result.divergence);
          store(rows.agreements, r, result.agrees ? 1.0 : 0.0);
        }
      });
}

}  // namespace

void distillation_loss(const Tensor& student, const Tensor& teacher, const Tensor& targets,
                       const DistillationSettings& settings, double gradient_scale, const DistillationRows& rows,
                       Tensor d_student) {
  check_student(student, targets, rows, d_student);
  require(teacher, student.shape(), {student.dtype()}, "[distillation_loss] teacher");
  if (is_meta(student) || is_meta(targets)) return;
  check_ids(targets, std::numeric_limits<int32_t>::min(), student.dim(1), "a target");
  instruction_set();
  const Weights weights = weights_of(settings, gradient_scale);
  const auto run = [&]<typename T>(T) {
    for_each_row<T>(student, targets, settings, rows, d_student, [&](const StudentRow<T>& row, int64_t r) {
      return dense_row(row, teacher.data<T>() + r * row.columns, settings, weights);
    });
  };
  student.dtype() == DType::f64 ? run(double{}) : run(float{});
}

void distillation_loss(const Tensor& student, const Tensor& teacher_ids, const Tensor& teacher_log_probabilities,
                       const Tensor& targets, const DistillationSettings& settings, double gradient_scale,
                       const DistillationRows& rows, Tensor d_student) {
  check_student(student, targets, rows, d_student);
  require_matrix(teacher_ids, "[distillation_loss] ids");
  const int64_t count = teacher_ids.dim(1);
  require(teacher_ids, {student.dim(0), count}, {DType::i32}, "[distillation_loss] ids");
  require(teacher_log_probabilities, teacher_ids.shape(), {DType::f32}, "[distillation_loss] log-probabilities");
  if (count < 1) throw base::Error("[distillation_loss] ids: got none, expected at least one for each row");
  if (is_meta(student) || is_meta(targets)) return;
  check_ids(targets, std::numeric_limits<int32_t>::min(), student.dim(1), "a target");
  check_ids(teacher_ids, 0, student.dim(1), "an id");
  instruction_set();
  const Weights weights = weights_of(settings, gradient_scale);
  const auto run = [&]<typename T>(T) {
    for_each_row<T>(student, targets, settings, rows, d_student, [&](const StudentRow<T>& row, int64_t r) {
      const TopRow top{teacher_ids.data<int32_t>() + r * count, teacher_log_probabilities.data<float>() + r * count,
                       count};
      return top_row(row, top, settings, weights);
    });
  };
  student.dtype() == DType::f64 ? run(double{}) : run(float{});
}

}  // namespace fledge::tensor
