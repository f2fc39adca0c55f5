#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace fledge::infer {

/// Hands out the pages of a cache of keys and values and remembers what finished and running sequences left in them, so
/// that a prompt that begins like an earlier one need not be computed again.
///
/// A page has users: the sequences that hold it. A page that is full, or whose sequence has ended, can be remembered
/// with the tokens that led to it; it then never changes. Remembered pages without users are given away, least recently
/// used first, when no other page is free. One thread.
class PagePool {
 public:
  PagePool(int64_t pages, int64_t page_tokens);
  ~PagePool();
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  int64_t page_tokens() const { return page_tokens_; }
  int64_t page_count() const { return static_cast<int64_t>(pages_.size()); }
  /// Pages that take() could give out now, one after another.
  int64_t available() const { return static_cast<int64_t>(free_.size()) + forgettable_; }

  /// A page for one user, its content undefined; nothing where all pages have users.
  std::optional<int32_t> take();
  /// One user less.
  void release(int32_t page);

  /// What the pool remembers of the beginning of `tokens`.
  struct Match {
    std::vector<int32_t> pages;  ///< whole pages, which now have one more user
    int32_t partial_page = -1;   ///< a page whose first `partial_tokens` tokens also fit: to be copied; -1: none
    int64_t partial_tokens = 0;
  };
  /// The longest match of at most `limit` tokens. The partial page stays valid until the next call. Keys and values of
  /// one `realm` (an adapter) are of no use in another.
  Match find(std::span<const int32_t> tokens, int64_t limit, const void* realm = nullptr);

  /// Remembers a sequence's pages: tokens[0, n) stand in `pages`, the last of which may be part full (only where the
  /// sequence has ended). Where a page with the same tokens is remembered already, the sequence uses that one from now
  /// on and its own is given back: equal tokens of one realm have equal keys and values.
  void remember(std::span<const int32_t> tokens, std::vector<int32_t>& pages, const void* realm = nullptr);

 private:
  struct Node;
  struct Page {
    int32_t users = 0;
    Node* node = nullptr;  ///< remembers it; null: nobody
  };

  Node& root_of(const void* realm);
  Node* best_child(Node& parent, std::span<const int32_t> tokens, int64_t& common) const;
  void forget_oldest();

  int64_t page_tokens_;
  std::vector<Page> pages_;
  std::vector<int32_t> free_;
  std::map<const void*, std::unique_ptr<Node>> roots_;  ///< of each realm
  int64_t forgettable_ = 0;                             ///< remembered pages without users
  uint64_t clock_ = 0;
};

}  // namespace fledge::infer
