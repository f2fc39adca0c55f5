#include "tensor/process_group.h"

#include "tensor/mpi_process_group.h"

namespace fledge::tensor {
namespace {

class SingleProcess : public ProcessGroup {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void all_reduce_sum(Tensor) override {}
  double all_reduce_sum(double value) override { return value; }
  void all_gather(Tensor, const std::vector<int64_t>&) override {}
  void broadcast(Tensor) override {}
  void barrier() override {}
};

}  // namespace

std::unique_ptr<ProcessGroup> make_single_process() {
  return std::make_unique<SingleProcess>();
}

std::unique_ptr<ProcessGroup> make_process_group() {
#if FLEDGE_HAVE_MPI
  if (started_by_launcher()) return make_mpi_process_group();
#endif
  return make_single_process();
}

}  // namespace fledge::tensor
