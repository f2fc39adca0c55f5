#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace fledge::tensor::cpu {

/// Memory that a later operation will read, in pieces, so that products which keep the arithmetic busy and memory idle
/// can ask for it meanwhile. With many sequences at once attention waits for memory and products do not. What is
/// planned here changes no result; plans of several callers may overwrite each other.
class ReadAhead {
 public:
  static constexpr int64_t kPieceBytes = 4096;
  /// With fewer rows a product waits for memory itself and asks for nothing else.
  static constexpr int64_t kBusyRows = 8;

  static ReadAhead& instance() {
    static ReadAhead plan;
    return plan;
  }

  void clear() {
    count_.store(0, std::memory_order_relaxed);
    next_.store(0, std::memory_order_relaxed);
  }
  /// What does not fit is left out.
  void add(const std::byte* first, int64_t bytes) {
    size_t count = count_.load(std::memory_order_relaxed);
    for (; bytes > 0 && count < pieces_.size(); first += kPieceBytes, bytes -= kPieceBytes) {
      pieces_[count++].store(first, std::memory_order_relaxed);
    }
    count_.store(count, std::memory_order_relaxed);
  }
  /// A piece that nobody has asked for yet, or null.
  const std::byte* next() {
    if (next_.load(std::memory_order_relaxed) >= count_.load(std::memory_order_relaxed)) return nullptr;
    const size_t index = next_.fetch_add(1, std::memory_order_relaxed);
    if (index >= count_.load(std::memory_order_relaxed)) return nullptr;
    return pieces_[index].load(std::memory_order_relaxed);
  }

 private:
  std::array<std::atomic<const std::byte*>, 4096> pieces_{};
  alignas(64) std::atomic<size_t> count_ = 0;
  alignas(64) std::atomic<size_t> next_ = 0;
};

}  // namespace fledge::tensor::cpu
