#include "infer/page_pool.h"

#include <algorithm>
#include <cassert>

namespace fledge::infer {

/// A remembered page: the tokens in it, after those of its parent.
struct PagePool::Node {
  Node* parent = nullptr;
  int32_t page = -1;
  std::vector<int32_t> tokens;
  std::map<int32_t, std::vector<std::unique_ptr<Node>>> children;  ///< by their first token
  uint64_t last_use = 0;
};

PagePool::PagePool(int64_t pages, int64_t page_tokens) : page_tokens_(page_tokens), pages_(static_cast<size_t>(pages)) {
  for (int64_t page = pages - 1; page >= 0; --page) free_.push_back(static_cast<int32_t>(page));
}

PagePool::~PagePool() = default;

std::optional<int32_t> PagePool::take() {
  if (free_.empty() && forgettable_ > 0) forget_oldest();
  if (free_.empty()) return std::nullopt;
  const int32_t page = free_.back();
  free_.pop_back();
  pages_[static_cast<size_t>(page)].users = 1;
  return page;
}

void PagePool::release(int32_t page) {
  Page& entry = pages_[static_cast<size_t>(page)];
  assert(entry.users > 0);
  if (--entry.users > 0) return;
  if (entry.node == nullptr) {
    free_.push_back(page);
  } else {
    ++forgettable_;
  }
}

PagePool::Node* PagePool::best_child(Node& parent, std::span<const int32_t> tokens, int64_t& common) const {
  common = 0;
  if (tokens.empty()) return nullptr;
  const auto found = parent.children.find(tokens.front());
  if (found == parent.children.end()) return nullptr;
  Node* best = nullptr;
  for (const auto& child : found->second) {
    const auto [a, b] = std::ranges::mismatch(child->tokens, tokens);
    const int64_t length = a - child->tokens.begin();
    if (length > common) best = child.get(), common = length;
  }
  return best;
}

PagePool::Node& PagePool::root_of(const void* realm) {
  std::unique_ptr<Node>& root = roots_[realm];
  if (root == nullptr) root = std::make_unique<Node>();
  return *root;
}

PagePool::Match PagePool::find(std::span<const int32_t> tokens, int64_t limit, const void* realm) {
  tokens = tokens.first(std::min(tokens.size(), static_cast<size_t>(std::max<int64_t>(0, limit))));
  Match match;
  Node* node = &root_of(realm);
  ++clock_;
  while (true) {
    int64_t common = 0;
    Node* child = best_child(*node, tokens, common);
    if (child == nullptr) return match;
    child->last_use = clock_;
    if (common < page_tokens_) {
      match.partial_page = child->page;
      match.partial_tokens = common;
      return match;
    }
    Page& page = pages_[static_cast<size_t>(child->page)];
    if (page.users++ == 0) --forgettable_;
    match.pages.push_back(child->page);
    tokens = tokens.subspan(static_cast<size_t>(page_tokens_));
    node = child;
  }
}

void PagePool::remember(std::span<const int32_t> tokens, std::vector<int32_t>& pages, const void* realm) {
  Node* node = &root_of(realm);
  ++clock_;
  for (int32_t& page : pages) {
    if (tokens.empty()) return;
    const auto part = tokens.first(std::min(tokens.size(), static_cast<size_t>(page_tokens_)));
    tokens = tokens.subspan(part.size());
    int64_t common = 0;
    Node* child = best_child(*node, part, common);
    if (child == nullptr || common < static_cast<int64_t>(part.size())) {
      Page& entry = pages_[static_cast<size_t>(page)];
      assert(entry.users > 0 && entry.node == nullptr);
      auto fresh = std::make_unique<Node>();
      fresh->parent = node;
      fresh->page = page;
      fresh->tokens.assign(part.begin(), part.end());
      entry.node = child = fresh.get();
      node->children[part.front()].push_back(std::move(fresh));
    } else if (child->page != page) {
      if (pages_[static_cast<size_t>(child->page)].users++ == 0) --forgettable_;
      release(page);
      page = child->page;
    }
    child->last_use = clock_;
    if (static_cast<int64_t>(part.size()) < page_tokens_) return;
    node = child;
  }
}

/// Forgets the leaf without users that was used longest ago; there is one wherever a remembered page has no user,
/// because whoever uses a page uses those before it.
void PagePool::forget_oldest() {
  Node* oldest = nullptr;
  const auto visit = [&](const auto& self, Node& node) -> void {
    if (node.children.empty() && node.page >= 0 && pages_[static_cast<size_t>(node.page)].users == 0 &&
        (oldest == nullptr || node.last_use < oldest->last_use)) {
      oldest = &node;
    }
    for (const auto& [token, children] : node.children) {
      for (const auto& child : children) self(self, *child);
    }
  };
  for (const auto& [realm, root] : roots_) visit(visit, *root);
  if (oldest == nullptr) return;
  const int32_t page = oldest->page;
  auto& siblings = oldest->parent->children[oldest->tokens.front()];
  const int32_t first = oldest->tokens.front();
  Node* parent = oldest->parent;
  std::erase_if(siblings, [&](const auto& child) { return child.get() == oldest; });
  if (siblings.empty()) parent->children.erase(first);
  pages_[static_cast<size_t>(page)].node = nullptr;
  --forgettable_;
  free_.push_back(page);
}

}  // namespace fledge::infer
