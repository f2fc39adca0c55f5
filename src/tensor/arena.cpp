#include "tensor/arena.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <set>

#include "base/error.h"

namespace fledge::tensor {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;

size_t round_up(size_t value, size_t unit) {
  return (value + unit - 1) / unit * unit;
}

size_t physical_memory() {
  return static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace

/// Free blocks are kept by offset, to join neighbours, and by (size, offset), to find the best fit.
struct Arena::State {
  std::string name;
  Device device = Device::cpu;
  std::byte* reservation = nullptr;
  size_t reserved_bytes = 0;
  std::byte* base = nullptr;
  size_t capacity = 0;
  size_t end = 0;  // everything from here on has never been used
  size_t in_use = 0;
  std::map<size_t, size_t> free_by_offset;
  std::set<std::pair<size_t, size_t>> free_by_size;

  ~State() {
    if (reservation != nullptr) ::munmap(reservation, reserved_bytes);
  }

  void reserve() {
    if (device == Device::meta) {
      // Any address that is not null and never read.
      base = reinterpret_cast<std::byte*>(kHugePage);
      capacity = SIZE_MAX / 4;
      return;
    }
    capacity = round_up(physical_memory(), kHugePage);
    reserved_bytes = capacity + kHugePage;
    void* address =
        ::mmap(nullptr, reserved_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (address == MAP_FAILED) {
      throw base::Error("the arena \"{}\" cannot reserve {} bytes of address space ({})", name, reserved_bytes,
                        std::strerror(errno));
    }
    reservation = static_cast<std::byte*>(address);
    base = reservation + (kHugePage - reinterpret_cast<uintptr_t>(reservation) % kHugePage) % kHugePage;
    ::madvise(base, capacity, MADV_HUGEPAGE);
  }

  void insert_free(size_t offset, size_t bytes) {
    free_by_offset.emplace(offset, bytes);
    free_by_size.emplace(bytes, offset);
  }

  void erase_free(std::map<size_t, size_t>::iterator block) {
    free_by_size.erase({block->second, block->first});
    free_by_offset.erase(block);
  }

  size_t take(size_t bytes) {
    in_use += bytes;
    const auto fit = free_by_size.lower_bound({bytes, 0});
    if (fit != free_by_size.end()) {
      const auto [size, offset] = *fit;
      erase_free(free_by_offset.find(offset));
      if (size > bytes) insert_free(offset + bytes, size - bytes);
      return offset;
    }
    size_t offset = end;
    // A free block at the very end grows instead of being left behind.
    if (!free_by_offset.empty()) {
      const auto last = std::prev(free_by_offset.end());
      if (last->first + last->second == end) {
        offset = last->first;
        erase_free(last);
      }
    }
    if (bytes > capacity - offset) {
      in_use -= bytes;
      throw base::Error("the arena \"{}\" needs {} MB where the machine has {} MB in all", name, (offset + bytes) >> 20,
                        capacity >> 20);
    }
    end = offset + bytes;
    return offset;
  }

  void give_back(size_t offset, size_t bytes) {
    in_use -= bytes;
    auto next = free_by_offset.upper_bound(offset);
    if (next != free_by_offset.begin()) {
      const auto previous = std::prev(next);
      if (previous->first + previous->second == offset) {
        offset = previous->first;
        bytes += previous->second;
        erase_free(previous);
      }
    }
    if (next != free_by_offset.end() && offset + bytes == next->first) {
      bytes += next->second;
      erase_free(next);
    }
    insert_free(offset, bytes);
  }
};

Arena::Arena(std::string name, Device device) : state_(std::make_shared<State>()) {
  state_->name = std::move(name);
  state_->device = device;
  state_->reserve();
}

StoragePointer Arena::allocate(size_t bytes) {
  if (bytes > state_->capacity - kAlignment) {
    throw base::Error("the arena \"{}\" was asked for {} bytes, more than the machine has", state_->name, bytes);
  }
  const size_t rounded = std::max(kAlignment, round_up(bytes, kAlignment));
  const size_t offset = state_->take(rounded);
  return std::make_shared<Storage>(state_, state_->base + offset, offset, rounded);
}

void Arena::prefault(size_t bytes) {
  if (state_->device == Device::meta) return;
  const size_t touched = std::min(bytes, state_->capacity);
#ifdef MADV_POPULATE_WRITE
  if (::madvise(state_->base, round_up(touched, kHugePage), MADV_POPULATE_WRITE) == 0) return;
#endif
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  for (size_t offset = 0; offset < touched; offset += page) {
    auto* byte = reinterpret_cast<volatile char*>(state_->base + offset);
    *byte = *byte;  // touches without changing what is there
  }
}

size_t Arena::bytes_in_use() const {
  return state_->in_use;
}
size_t Arena::peak_bytes() const {
  return state_->end;
}
Device Arena::device() const {
  return state_->device;
}
const std::string& Arena::name() const {
  return state_->name;
}

Storage::~Storage() {
  if (arena_) arena_->give_back(offset_, bytes_);
}

Device Storage::device() const {
  return arena_ ? arena_->device : Device::cpu;
}

}  // namespace fledge::tensor
