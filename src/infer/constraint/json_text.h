#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "infer/constraint/grammar.h"

namespace fledge::infer {

/// The parts that JSON texts are made of, as rules of one grammar.
///
/// White space is optional and bounded, so that a model cannot go on with it for ever: after a colon one space; after a
/// comma and inside brackets one space, or a newline and up to 32 spaces; nothing elsewhere.
class JsonText {
 public:
  /// Adds its rules to `grammar`, which must outlive this object.
  explicit JsonText(Grammar& grammar);

  GrammarPointer space() const { return space_; }
  /// One character of a string, as it is or escaped.
  GrammarPointer character() const { return character_; }
  /// A string of so many code points, with its quotes; `most` -1: any number.
  GrammarPointer string(int64_t least, int64_t most) const;
  GrammarPointer value() const { return value_; }
  GrammarPointer object() const { return object_; }
  GrammarPointer array() const { return array_; }
  /// Up to 19 digits before the point, 17 behind it and two in the exponent.
  GrammarPointer number() const { return number_; }
  GrammarPointer comma() const;
  GrammarPointer enclosed(char open, GrammarPointer inside, char close, bool may_be_empty) const;
  /// A name and its colon.
  GrammarPointer name(const std::string& name) const;

  GrammarPointer rule(GrammarPointer body) const;

 private:
  Grammar& grammar_;
  GrammarPointer space_, character_, value_, object_, array_, number_;
};

/// Bounds of a number; absent: none. Numbers with bounds have no exponent.
struct NumberBounds {
  std::optional<int64_t> lower, upper;
  bool lower_included = true, upper_included = true;
};

/// Exactly the integers within the bounds (both included), of at most 19 digits.
GrammarPointer integer_node(const NumberBounds& bounds);
/// The numbers within the bounds, with up to 17 digits behind the point.
GrammarPointer bounded_number_node(const NumberBounds& bounds);

}  // namespace fledge::infer
