#include "infer/constraint/constraint.h"

#include <algorithm>
#include <list>
#include <mutex>
#include <unordered_map>

#include "base/error.h"
#include "base/json.h"
#include "infer/constraint/byte_automaton.h"
#include "infer/constraint/lazy_automaton.h"

namespace fledge::infer {
namespace {

constexpr size_t kMostMasks = 512;
constexpr size_t kMostStates = 20000;   ///< more than these, and a new automaton is begun
constexpr size_t kMostStacks = 100000;  ///< the same

using State = LazyAutomaton::State;

/// A lazy automaton and the masks of its states, the most recently used in front.
struct Generation {
  explicit Generation(const ByteAutomaton& bytes) : automaton(bytes) {}
  LazyAutomaton automaton;
  std::list<std::pair<State, std::vector<uint64_t>>> masks;
  std::unordered_map<State, decltype(masks)::iterator> mask_of;
};

}  // namespace

/// Everything that grows, behind one lock.
class CompiledConstraint::Cache {
 public:
  Cache(const Grammar& grammar, const VocabularyTrie& vocabulary) : bytes_(grammar), vocabulary_(vocabulary) {
    renew();
  }

  std::mutex& mutex() { return mutex_; }

  /// The newest automaton; a full one is left to the requests that are in it.
  std::shared_ptr<Generation> generation() {
    if (is_full(*newest_)) renew();
    return newest_;
  }

  /// Carries a request out of a full automaton.
  void move_on(std::shared_ptr<Generation>& from, State& state) {
    if (!is_full(*from)) return;
    const std::shared_ptr<Generation> to = generation();
    if (to == from) return;
    state = to->automaton.read(from->automaton.write(state));
    from = to;
  }

  const std::vector<uint64_t>& mask(Generation& generation, State state) {
    const auto known = generation.mask_of.find(state);
    if (known != generation.mask_of.end()) {
      generation.masks.splice(generation.masks.begin(), generation.masks, known->second);
      return known->second->second;
    }
    std::vector<uint64_t> mask = find_mask(generation.automaton, state);
    if (generation.masks.size() >= kMostMasks) {
      generation.mask_of.erase(generation.masks.back().first);
      generation.masks.pop_back();
    }
    generation.masks.emplace_front(state, std::move(mask));
    generation.mask_of[state] = generation.masks.begin();
    return generation.masks.front().second;
  }

 private:
  static bool is_full(const Generation& generation) {
    return generation.automaton.state_count() > kMostStates || generation.automaton.stack_count() > kMostStacks;
  }
  void renew() { newest_ = std::make_shared<Generation>(bytes_); }

  /// Walks the vocabulary's tree with the automaton beside it.
  std::vector<uint64_t> find_mask(LazyAutomaton& automaton, State state) {
    std::vector<uint64_t> mask((vocabulary_.size() + 63) / 64);
    const auto nodes = vocabulary_.nodes();
    automaton.begin_work();
    path_.assign(1, state);
    for (size_t index = 0; index < nodes.size();) {
      const VocabularyTrie::Node& node = nodes[index];
      const State next = automaton.step(path_[node.depth], node.byte);
      if (next == LazyAutomaton::kNowhere) {
        index = node.after;
        continue;
      }
      if (path_.size() < size_t{node.depth} + 2) path_.resize(size_t{node.depth} + 2);
      path_[size_t{node.depth} + 1] = next;
      for (const int32_t id : vocabulary_.ids(node)) mask[static_cast<size_t>(id) / 64] |= uint64_t{1} << id % 64;
      ++index;
    }
    return mask;
  }

  std::mutex mutex_;
  ByteAutomaton bytes_;
  const VocabularyTrie& vocabulary_;
  std::shared_ptr<Generation> newest_;
  std::vector<State> path_;
};

/// Where one request's text stands.
class CompiledConstraint::Position : public TokenConstraint {
 public:
  explicit Position(std::shared_ptr<CompiledConstraint> owner) : owner_(std::move(owner)) {
    const std::lock_guard lock(cache().mutex());
    generation_ = cache().generation();
    state_ = generation_->automaton.start();
  }

  void allowed(std::span<uint64_t> mask) override {
    const std::lock_guard lock(cache().mutex());
    cache().move_on(generation_, state_);
    const std::vector<uint64_t>& known = cache().mask(*generation_, state_);
    const size_t words = std::min(mask.size(), known.size());
    std::ranges::copy(std::span(known).first(words), mask.begin());
    std::ranges::fill(mask.subspan(words), 0);
    if (!generation_->automaton.may_end(state_) && std::ranges::all_of(mask, [](uint64_t word) { return word == 0; })) {
      throw base::Error("the constraint cannot be met: the vocabulary has no token that may come next");
    }
  }

  bool may_end() const override {
    const std::lock_guard lock(cache().mutex());
    return generation_->automaton.may_end(state_);
  }

  void accept(int32_t token) override {
    const VocabularyTrie& vocabulary = *owner_->vocabulary_;
    if (token < 0 || static_cast<size_t>(token) >= vocabulary.size() || vocabulary.bytes(token).empty()) {
      throw base::Error("token {} is not one that the constraint allows", token);
    }
    const std::lock_guard lock(cache().mutex());
    cache().move_on(generation_, state_);
    generation_->automaton.begin_work();
    State state = state_;
    for (const char byte : vocabulary.bytes(token))
      state = generation_->automaton.step(state, static_cast<uint8_t>(byte));
    if (state == LazyAutomaton::kNowhere) throw base::Error("token {} is not one that the constraint allows", token);
    state_ = state;
  }

 private:
  Cache& cache() const { return *owner_->cache_; }

  std::shared_ptr<CompiledConstraint> owner_;
  std::shared_ptr<Generation> generation_;
  State state_;
};

CompiledConstraint::CompiledConstraint(const Grammar& grammar, std::shared_ptr<const VocabularyTrie> vocabulary)
    : vocabulary_(std::move(vocabulary)), cache_(std::make_unique<Cache>(grammar, *vocabulary_)) {}

CompiledConstraint::~CompiledConstraint() = default;

std::shared_ptr<CompiledConstraint> CompiledConstraint::make(const Grammar& grammar,
                                                             std::shared_ptr<const VocabularyTrie> vocabulary) {
  return std::shared_ptr<CompiledConstraint>(new CompiledConstraint(grammar, std::move(vocabulary)));
}

std::shared_ptr<TokenConstraint> CompiledConstraint::begin() {
  return std::make_shared<Position>(shared_from_this());
}

std::shared_ptr<TokenConstraint> make_regex_constraint(std::string_view pattern,
                                                       std::shared_ptr<const VocabularyTrie> vocabulary) {
  return CompiledConstraint::make(parse_regex(pattern), std::move(vocabulary))->begin();
}

std::shared_ptr<TokenConstraint> make_json_schema_constraint(const base::OrderedJson& schema,
                                                             std::shared_ptr<const VocabularyTrie> vocabulary) {
  return CompiledConstraint::make(compile_json_schema(schema), std::move(vocabulary))->begin();
}

std::shared_ptr<TokenConstraint> make_json_object_constraint(std::shared_ptr<const VocabularyTrie> vocabulary) {
  return CompiledConstraint::make(json_object_grammar(), std::move(vocabulary))->begin();
}

std::shared_ptr<TokenConstraint> make_choice_constraint(const std::vector<std::string>& texts,
                                                        std::shared_ptr<const VocabularyTrie> vocabulary) {
  return CompiledConstraint::make(choice_grammar(texts), std::move(vocabulary))->begin();
}

}  // namespace fledge::infer
