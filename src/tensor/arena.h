#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace fledge::tensor {

/// Where a tensor lives. `meta` has shapes and addresses but no memory: the real model code runs on it to find out what
/// a run will need, and kernels return at once.
enum class Device : uint8_t { cpu, meta };

/// One block of an arena; gives itself back when the last tensor that views it is gone.
class Storage;
using StoragePointer = std::shared_ptr<Storage>;

/// Memory for one purpose (parameters, gradients, optimizer, activations).
///
/// An arena reserves address space once and touches it as it is needed; blocks that are given back are used again, but
/// memory never returns to the system while the arena lives, so a steady step meets no page fault. The placement of a
/// block depends on the sequence of calls alone: the same step on the `meta` device has the same peak, byte for byte.
/// Blocks start at multiples of 64 bytes. Not thread-safe: one thread allocates. Copies share the same memory.
class Arena {
 public:
  explicit Arena(std::string name, Device device = Device::cpu);

  /// A block of at least `bytes` bytes, not cleared. Throws Error where the machine's memory is exceeded.
  StoragePointer allocate(size_t bytes);
  /// Touches the first `bytes` bytes (a plan's peak) now, with huge pages where the system grants them.
  void prefault(size_t bytes);

  size_t bytes_in_use() const;
  /// Highest address used so far: what the arena costs.
  size_t peak_bytes() const;
  Device device() const;
  const std::string& name() const;

 private:
  friend class Storage;
  struct State;
  std::shared_ptr<State> state_;
};

class Storage {
 public:
  Storage(std::shared_ptr<Arena::State> arena, std::byte* data, size_t offset, size_t bytes)
      : arena_(std::move(arena)), data_(data), offset_(offset), bytes_(bytes) {}
  /// Memory that somebody else owns and `owner` keeps alive (a mapped file, for example).
  Storage(std::shared_ptr<const void> owner, std::byte* data, size_t bytes)
      : owner_(std::move(owner)), data_(data), bytes_(bytes) {}
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  Device device() const;

 private:
  std::shared_ptr<Arena::State> arena_;
  std::shared_ptr<const void> owner_;
  std::byte* data_;
  size_t offset_ = 0;
  size_t bytes_;
};

}  // namespace fledge::tensor
