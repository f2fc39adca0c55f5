#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "nn/text/jinja/template.h"

namespace fledge::nn::jinja {

/// What went wrong inside a template, without the place: Template adds its name and the line.
class Fault : public std::runtime_error {
 public:
  template <typename... Values>
  explicit Fault(fmt::format_string<Values...> format, Values&&... values)
      : std::runtime_error(fmt::format(format, std::forward<Values>(values)...)) {}
};

/// A template's own raise_exception(message).
class Refusal : public Fault {
 public:
  using Fault::Fault;
};

/// Counts what one rendering costs, so that a hostile template ends in a sentence.
class Budget {
 public:
  explicit Budget(const Limits& limits) : limits_(limits) {}

  /// Work of `count` steps: one step is one node, one item of a list or 64 bytes of text.
  void spend(size_t count = 1) {
    if (count > steps_left()) throw Fault("the template takes more than {} steps", limits_.steps);
    steps_ += count;
  }

  /// A text of `bytes` bytes is about to be made.
  void make_text(size_t bytes) {
    if (bytes > limits_.text_bytes || text_bytes_ > limits_.text_bytes - bytes)
      throw Fault("the template makes more than {} bytes of text", limits_.text_bytes);
    text_bytes_ += bytes;
    spend(bytes / 64);
  }

  /// A list of `items` items is about to be made.
  void make_items(size_t items) {
    if (items > limits_.items) throw Fault("a list of more than {} items", limits_.items);
    spend(items);
  }

  const Limits& limits() const { return limits_; }

 private:
  size_t steps_left() const { return limits_.steps - steps_; }

  Limits limits_;
  size_t steps_ = 0, text_bytes_ = 0;
};

}  // namespace fledge::nn::jinja
