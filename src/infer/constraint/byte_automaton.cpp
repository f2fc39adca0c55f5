#include "infer/constraint/byte_automaton.h"

#include <algorithm>
#include <unordered_map>

#include "base/error.h"

namespace fledge::infer {
namespace {

constexpr size_t kMostStates = 400000;
constexpr size_t kMostEdges = 2000000;
constexpr int kMostDepth = 2000;

}  // namespace

/// Thompson's construction ("Regular expression search algorithm", 1968), one fragment per rule.
class ByteAutomaton::Builder {
 public:
  explicit Builder(ByteAutomaton& automaton) : automaton_(automaton) {}

  void build(const Grammar& grammar) {
    automaton_.rule_starts_.push_back(new_state());
    automaton_.final_[add(*grammar.root, 0, 0)] = 1;
    for (size_t index = 0; index < called_.size(); ++index) {
      const uint32_t start = start_of_.at(called_[index]);
      automaton_.final_[add(*called_[index]->body, start, 0)] = 1;
    }
  }

 private:
  uint32_t new_state() {
    if (automaton_.final_.size() >= kMostStates) {
      throw base::UsageError("the constraint needs more than {} states: use smaller bounds or a simpler pattern",
                             kMostStates);
    }
    automaton_.final_.push_back(0);
    return static_cast<uint32_t>(automaton_.final_.size() - 1);
  }

  void connect(const Edge& edge) {
    if (automaton_.edges_.size() >= kMostEdges) throw base::UsageError("the constraint is too large");
    automaton_.edges_.push_back(edge);
  }
  void connect(uint32_t from, uint32_t target) { connect({from, target, EdgeKind::empty, 0, 0, 0}); }
  uint32_t add_bytes(uint8_t low, uint8_t high, uint32_t from) {
    const uint32_t target = new_state();
    connect({from, target, EdgeKind::bytes, low, high, 0});
    return target;
  }

  uint32_t start_of(const GrammarRule* rule) {
    const auto [position, added] = start_of_.try_emplace(rule, 0);
    if (added) {
      position->second = new_state();
      automaton_.rule_starts_.push_back(position->second);
      called_.push_back(rule);
    }
    return position->second;
  }

  uint32_t add_choice(const GrammarNode& node, uint32_t from, int depth) {
    const uint32_t end = new_state();
    for (const GrammarPointer& child : node.children) {
      // A state of its own for each: a loop that begins a part must not be open to the others.
      const uint32_t begin = new_state();
      connect(from, begin);
      connect(add(*child, begin, depth), end);
    }
    return end;
  }

  uint32_t add_repeat(const GrammarNode& node, uint32_t from, int depth) {
    const GrammarNode& child = *node.children[0];
    for (int64_t count = 0; count < node.least; ++count) from = add(child, from, depth);
    const uint32_t end = new_state();
    if (node.most < 0) {
      const uint32_t loop = new_state();
      connect(from, loop);
      connect(add(child, loop, depth), loop);
      connect(loop, end);
      return end;
    }
    for (int64_t count = node.least; count < node.most; ++count) {
      connect(from, end);
      const uint32_t begin = new_state();
      connect(from, begin);
      from = add(child, begin, depth);
    }
    connect(from, end);
    return end;
  }

  /// Adds what matches `node` behind `from`; returns the state behind it.
  uint32_t add(const GrammarNode& node, uint32_t from, int depth) {
    if (depth > kMostDepth) throw base::UsageError("the constraint is nested deeper than {} levels", kMostDepth);
    switch (node.kind) {
      case GrammarNode::Kind::literal:
        for (const char byte : node.bytes)
          from = add_bytes(static_cast<uint8_t>(byte), static_cast<uint8_t>(byte), from);
        return from;
      case GrammarNode::Kind::range:
        return add_bytes(node.low, node.high, from);
      case GrammarNode::Kind::sequence:
        for (const GrammarPointer& child : node.children) from = add(*child, from, depth + 1);
        return from;
      case GrammarNode::Kind::choice:
        return add_choice(node, from, depth + 1);
      case GrammarNode::Kind::repeat:
        return add_repeat(node, from, depth + 1);
      case GrammarNode::Kind::call:
        break;
    }
    const uint32_t start = start_of(node.rule), target = new_state();
    connect({from, target, EdgeKind::call, 0, 0, start});
    return target;
  }

  ByteAutomaton& automaton_;
  std::unordered_map<const GrammarRule*, uint32_t> start_of_;
  std::vector<const GrammarRule*> called_;
};

ByteAutomaton::ByteAutomaton(const Grammar& grammar) {
  Builder(*this).build(grammar);
  remove_dead_ends();
  index_edges();
  refuse_left_recursion();
  find_returns();
  find_classes();
}

/// The states from which the end of their rule can be reached; without bytes: while reading nothing.
std::vector<uint8_t> ByteAutomaton::reaches_end(bool with_bytes) const {
  const size_t states = final_.size();
  std::vector<std::vector<uint32_t>> into(states), calls(states);
  for (uint32_t index = 0; index < edges_.size(); ++index) {
    if (edges_[index].kind == EdgeKind::bytes && !with_bytes) continue;
    into[edges_[index].target].push_back(index);
    if (edges_[index].kind == EdgeKind::call) calls[edges_[index].start].push_back(index);
  }
  std::vector<uint8_t> reaches(states, 0);
  std::vector<uint32_t> waiting;
  const auto mark = [&](uint32_t state) {
    if (reaches[state] != 0) return;
    reaches[state] = 1;
    waiting.push_back(state);
  };
  for (uint32_t state = 0; state < states; ++state) {
    if (final_[state] != 0) mark(state);
  }
  while (!waiting.empty()) {
    const uint32_t state = waiting.back();
    waiting.pop_back();
    for (const uint32_t index : into[state]) {
      if (edges_[index].kind != EdgeKind::call || reaches[edges_[index].start] != 0) mark(edges_[index].from);
    }
    for (const uint32_t index : calls[state]) {
      if (reaches[edges_[index].target] != 0) mark(edges_[index].from);
    }
  }
  return reaches;
}

void ByteAutomaton::remove_dead_ends() {
  const std::vector<uint8_t> alive = reaches_end(true);
  if (alive[start()] == 0) throw base::UsageError("no text can satisfy the constraint");
  std::erase_if(edges_, [&](const Edge& edge) {
    return alive[edge.from] == 0 || alive[edge.target] == 0 || (edge.kind == EdgeKind::call && alive[edge.start] == 0);
  });
}

void ByteAutomaton::index_edges() {
  std::ranges::stable_sort(edges_, {}, &Edge::from);
  first_edge_.assign(final_.size() + 1, 0);
  for (const Edge& edge : edges_) ++first_edge_[edge.from + 1];
  for (size_t state = 0; state < final_.size(); ++state) first_edge_[state + 1] += first_edge_[state];
}

/// A rule that calls itself before it reads a byte would be followed for ever.
void ByteAutomaton::refuse_left_recursion() const {
  const std::vector<uint8_t> empty = reaches_end(false);
  std::unordered_map<uint32_t, std::vector<uint32_t>> calls;
  std::unordered_map<uint32_t, size_t> callers;
  for (const uint32_t rule : rule_starts_) {
    std::vector<uint32_t> waiting = {rule};
    std::unordered_map<uint32_t, bool> seen = {{rule, true}};
    while (!waiting.empty()) {
      const uint32_t state = waiting.back();
      waiting.pop_back();
      for (const Edge& edge : edges(state)) {
        if (edge.kind == EdgeKind::bytes) continue;
        if (edge.kind == EdgeKind::call) {
          calls[rule].push_back(edge.start);
          ++callers[edge.start];
          if (empty[edge.start] == 0) continue;
        }
        if (seen.try_emplace(edge.target, true).second) waiting.push_back(edge.target);
      }
    }
  }
  // Kahn's algorithm: what cannot be put in order lies on a cycle or behind one.
  std::vector<uint32_t> ready;
  for (const uint32_t rule : rule_starts_) {
    if (callers[rule] == 0) ready.push_back(rule);
  }
  size_t ordered = 0;
  while (!ready.empty()) {
    const uint32_t rule = ready.back();
    ready.pop_back();
    ++ordered;
    for (const uint32_t callee : calls[rule]) {
      if (--callers[callee] == 0) ready.push_back(callee);
    }
  }
  if (ordered != rule_starts_.size())
    throw base::UsageError("the constraint refers to itself without reading anything");
}

void ByteAutomaton::find_returns() {
  only_returns_.assign(final_.size(), 0);
  // Later states are mostly behind earlier ones, so one pass from the back finds nearly all; missing one costs a little
  // memory and nothing else.
  for (size_t state = final_.size(); state-- > 0;) {
    const auto out = edges(static_cast<uint32_t>(state));
    only_returns_[state] = static_cast<uint8_t>(
        (final_[state] != 0 && out.empty()) || (!out.empty() && std::ranges::all_of(out, [&](const Edge& edge) {
          return edge.kind == EdgeKind::empty && only_returns_[edge.target] != 0;
        })));
  }
}

void ByteAutomaton::find_classes() {
  std::array<bool, 257> begins{};
  begins[0] = true;
  for (const Edge& edge : edges_) {
    if (edge.kind != EdgeKind::bytes) continue;
    begins[edge.low] = true;
    begins[size_t{edge.high} + 1] = true;
  }
  for (size_t byte = 0; byte < 256; ++byte) {
    if (begins[byte]) ++class_count_;
    class_of_byte_[byte] = static_cast<uint8_t>(class_count_ - 1);
  }
}

}  // namespace fledge::infer
