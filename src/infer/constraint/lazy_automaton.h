#pragma once

#include <cstdint>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "infer/constraint/byte_automaton.h"

namespace fledge::infer {

/// The deterministic automaton of a ByteAutomaton, made state by state where a text leads. A state is a set of
/// positions, each with the stack of calls it must return from; stacks share their lower parts. Not thread-safe.
class LazyAutomaton {
 public:
  using State = int32_t;
  static constexpr State kNowhere = 0;  ///< no text goes on from here

  /// A state written out, to carry it to another LazyAutomaton of the same ByteAutomaton.
  struct Portable {
    std::vector<std::pair<uint32_t, std::vector<uint32_t>>> positions;
    bool may_end = false;
  };

  /// Keeps a reference.
  explicit LazyAutomaton(const ByteAutomaton& automaton);

  State start() const { return 1; }
  /// Throws base::Error where a state has too many positions, or where begin_work()'s allowance is used up.
  State step(State state, uint8_t byte) {
    const State next = next_[static_cast<size_t>(state) * classes_ + automaton_.class_of(byte)];
    return next >= 0 ? next : find_next(state, byte);
  }
  bool may_end(State state) const { return configurations_[static_cast<size_t>(state)].may_end; }
  /// Allows a bounded number of new positions from now on.
  void begin_work() { work_ = 0; }
  size_t state_count() const { return configurations_.size(); }
  size_t stack_count() const { return stacks_.size(); }

  Portable write(State state) const;
  State read(const Portable& portable);

 private:
  struct Configuration {
    std::vector<uint64_t> positions;  ///< state in the upper half, stack in the lower; sorted
    bool may_end = false;
  };
  struct Stack {
    uint32_t return_to, below;
  };

  State find_next(State state, uint8_t byte);
  uint32_t push(uint32_t return_to, uint32_t below);
  void add(uint32_t state, uint32_t stack);
  State close_and_intern();
  State intern(Configuration configuration);

  const ByteAutomaton& automaton_;
  size_t classes_;
  std::vector<int32_t> next_;
  std::vector<Configuration> configurations_;
  std::unordered_multimap<uint64_t, State> by_hash_;
  std::vector<Stack> stacks_;
  std::unordered_map<uint64_t, uint32_t> stack_of_;
  std::vector<uint64_t> waiting_;
  std::unordered_set<uint64_t> seen_;
  size_t work_ = 0;
};

}  // namespace fledge::infer
