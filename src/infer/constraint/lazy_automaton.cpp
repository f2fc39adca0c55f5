#include "infer/constraint/lazy_automaton.h"

#include <algorithm>

#include "base/error.h"

namespace fledge::infer {
namespace {

constexpr size_t kMostPositions = 20000;  ///< of one state
constexpr size_t kMostWork = 4000000;     ///< positions looked at for one mask: about a second
constexpr size_t kMostStates = 200000;    ///< the owner starts anew long before

uint64_t joined(uint32_t upper, uint32_t lower) {
  return uint64_t{upper} << 32 | lower;
}

}  // namespace

LazyAutomaton::LazyAutomaton(const ByteAutomaton& automaton)
    : automaton_(automaton), classes_(automaton.class_count()), stacks_{{0, 0}} {
  intern({});
  add(automaton.start(), 0);
  close_and_intern();
}

uint32_t LazyAutomaton::push(uint32_t return_to, uint32_t below) {
  const auto [position, added] = stack_of_.try_emplace(joined(return_to, below), static_cast<uint32_t>(stacks_.size()));
  if (added) stacks_.push_back({return_to, below});
  return position->second;
}

void LazyAutomaton::add(uint32_t state, uint32_t stack) {
  const uint64_t position = joined(state, stack);
  if (!seen_.insert(position).second) return;
  if (seen_.size() > kMostPositions)
    throw base::Error("the constraint is too ambiguous: simplify the pattern or schema");
  if (++work_ > kMostWork) throw base::Error("the constraint takes too long to follow: simplify the pattern or schema");
  waiting_.push_back(position);
}

/// Follows what reads nothing from the waiting positions, and keeps those that can read a byte.
LazyAutomaton::State LazyAutomaton::close_and_intern() {
  Configuration result;
  while (!waiting_.empty()) {
    const auto state = static_cast<uint32_t>(waiting_.back() >> 32), stack = static_cast<uint32_t>(waiting_.back());
    waiting_.pop_back();
    if (automaton_.is_final(state)) {
      if (stack == 0) {
        result.may_end = true;
      } else {
        add(stacks_[stack].return_to, stacks_[stack].below);
      }
    }
    bool reads = false;
    for (const ByteAutomaton::Edge& edge : automaton_.edges(state)) {
      switch (edge.kind) {
        case ByteAutomaton::EdgeKind::bytes:
          reads = true;
          break;
        case ByteAutomaton::EdgeKind::empty:
          add(edge.target, stack);
          break;
        case ByteAutomaton::EdgeKind::call:
          add(edge.start, automaton_.only_returns(edge.target) ? stack : push(edge.target, stack));
          break;
      }
    }
    if (reads) result.positions.push_back(joined(state, stack));
  }
  seen_.clear();
  std::ranges::sort(result.positions);
  return intern(std::move(result));
}

LazyAutomaton::State LazyAutomaton::intern(Configuration configuration) {
  uint64_t hash = configuration.may_end ? 1 : 0;
  for (const uint64_t position : configuration.positions) hash = (hash ^ position) * 0x9E3779B97F4A7C15U + (hash >> 29);
  // By iterators, here and in read(): clang 14 cannot compile the views of GCC's library.
  const auto [first, last] = by_hash_.equal_range(hash);
  for (auto found = first; found != last; ++found) {
    const State state = found->second;
    const Configuration& known = configurations_[static_cast<size_t>(state)];
    if (known.may_end == configuration.may_end && known.positions == configuration.positions) return state;
  }
  if (configurations_.size() >= kMostStates) throw base::Error("the constraint has too many states: simplify it");
  const auto state = static_cast<State>(configurations_.size());
  configurations_.push_back(std::move(configuration));
  next_.resize(next_.size() + classes_, -1);
  by_hash_.emplace(hash, state);
  return state;
}

LazyAutomaton::State LazyAutomaton::find_next(State state, uint8_t byte) {
  waiting_.clear();
  seen_.clear();
  for (const uint64_t position : configurations_[static_cast<size_t>(state)].positions) {
    for (const ByteAutomaton::Edge& edge : automaton_.edges(static_cast<uint32_t>(position >> 32))) {
      if (edge.kind != ByteAutomaton::EdgeKind::bytes || byte < edge.low || byte > edge.high) continue;
      add(edge.target, static_cast<uint32_t>(position));
    }
  }
  const State next = waiting_.empty() ? kNowhere : close_and_intern();
  next_[static_cast<size_t>(state) * classes_ + automaton_.class_of(byte)] = next;
  return next;
}

LazyAutomaton::Portable LazyAutomaton::write(State state) const {
  const Configuration& configuration = configurations_[static_cast<size_t>(state)];
  Portable result;
  result.may_end = configuration.may_end;
  for (const uint64_t position : configuration.positions) {
    auto& [place, returns] = result.positions.emplace_back();
    place = static_cast<uint32_t>(position >> 32);
    for (auto stack = static_cast<uint32_t>(position); stack != 0; stack = stacks_[stack].below) {
      returns.push_back(stacks_[stack].return_to);
    }
  }
  return result;
}

LazyAutomaton::State LazyAutomaton::read(const Portable& portable) {
  Configuration configuration;
  configuration.may_end = portable.may_end;
  for (const auto& [place, returns] : portable.positions) {
    uint32_t stack = 0;
    for (auto return_to = returns.rbegin(); return_to != returns.rend(); ++return_to) stack = push(*return_to, stack);
    configuration.positions.push_back(joined(place, stack));
  }
  std::ranges::sort(configuration.positions);
  return intern(std::move(configuration));
}

}  // namespace fledge::infer
