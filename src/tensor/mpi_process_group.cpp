#include "tensor/mpi_process_group.h"

#include <cstdlib>

#if FLEDGE_HAVE_MPI
#include <mpi.h>

#include <algorithm>
#include <exception>

#include "base/error.h"
#endif

namespace fledge::tensor {

bool started_by_launcher() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}) {
    const char* size = std::getenv(name);
    if (size != nullptr && std::atoi(size) > 1) return true;
  }
  return false;
}

int launched_rank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMI_RANK"}) {
    if (const char* rank = std::getenv(name)) return std::atoi(rank);
  }
  return 0;
}

#if FLEDGE_HAVE_MPI
namespace {

// MPI counts elements in an int.
constexpr int64_t kElementsPerCall = int64_t{1} << 28;

MPI_Datatype mpi_type(const Tensor& t) {
  if (!t.is_contiguous() || (t.dtype() != DType::f32 && t.dtype() != DType::f64)) {
    throw base::Error("[process group] got {}, expected contiguous f32 or f64", describe(t));
  }
  return t.dtype() == DType::f32 ? MPI_FLOAT : MPI_DOUBLE;
}

/// Calls call(address, count) for parts of elements [first, last) that fit an int.
template <typename Call>
void for_each_part(const Tensor& t, int64_t first, int64_t last, const Call& call) {
  while (first < last) {
    const int64_t count = std::min(kElementsPerCall, last - first);
    call(t.raw() + static_cast<size_t>(first) * size_of(t.dtype()), static_cast<int>(count));
    first += count;
  }
}

class MpiProcessGroup : public ProcessGroup {
 public:
  MpiProcessGroup() {
    int level = 0;
    if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &level) != MPI_SUCCESS ||
        level < MPI_THREAD_SERIALIZED) {
      throw base::Error("MPI cannot be started with one thread of communication beside the arithmetic");
    }
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
  }
  ~MpiProcessGroup() override {
    // The end of MPI waits for all processes; after an error here the others may never come. See abandon_processes().
    if (std::uncaught_exceptions() == 0) MPI_Finalize();
  }
  MpiProcessGroup(const MpiProcessGroup&) = delete;
  MpiProcessGroup& operator=(const MpiProcessGroup&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void all_reduce_sum(Tensor t) override {
    if (t.device() == Device::meta) return;
    const MPI_Datatype type = mpi_type(t);
    for_each_part(t, 0, t.elements(), [&](void* part, int count) {
      MPI_Allreduce(MPI_IN_PLACE, part, count, type, MPI_SUM, MPI_COMM_WORLD);
    });
  }

  double all_reduce_sum(double value) override {
    // Summed in one place and sent to all: the same bits everywhere, so that all take the same decisions.
    double sum = value;
    MPI_Reduce(&value, &sum, 1, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
    MPI_Bcast(&sum, 1, MPI_DOUBLE, 0, MPI_COMM_WORLD);
    return sum;
  }

  void all_gather(Tensor t, const std::vector<int64_t>& bounds) override {
    if (t.device() == Device::meta) return;
    const MPI_Datatype type = mpi_type(t);
    for (int root = 0; root < size_; ++root) {
      const auto index = static_cast<size_t>(root);
      for_each_part(t, bounds[index], bounds[index + 1],
                    [&](void* part, int count) { MPI_Bcast(part, count, type, root, MPI_COMM_WORLD); });
    }
  }

  void broadcast(Tensor t) override {
    if (t.device() == Device::meta) return;
    const MPI_Datatype type = mpi_type(t);
    for_each_part(t, 0, t.elements(), [&](void* part, int count) { MPI_Bcast(part, count, type, 0, MPI_COMM_WORLD); });
  }

  void barrier() override { MPI_Barrier(MPI_COMM_WORLD); }

 private:
  int rank_ = 0, size_ = 1;
};

}  // namespace

std::unique_ptr<ProcessGroup> make_mpi_process_group() {
  return std::make_unique<MpiProcessGroup>();
}

void abandon_processes(int exit_code) {
  int initialized = 0, finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (initialized != 0 && finalized == 0) MPI_Abort(MPI_COMM_WORLD, exit_code);
}

#else

void abandon_processes(int) {}

#endif

}  // namespace fledge::tensor
