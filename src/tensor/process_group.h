#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "tensor/tensor.h"

namespace fledge::tensor {

/// The processes that work on one run together, or this process alone. All of them make the same calls in the same
/// order. Tensors are contiguous f32 or f64 on the CPU; nothing happens on the meta device.
class ProcessGroup {
 public:
  virtual ~ProcessGroup() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// t becomes its sum over all processes, the same bits on each.
  virtual void all_reduce_sum(Tensor t) = 0;
  virtual double all_reduce_sum(double value) = 0;
  /// Process r gives elements [bounds[r], bounds[r + 1]) of t [n]; afterwards every process has them all.
  virtual void all_gather(Tensor t, const std::vector<int64_t>& bounds) = 0;
  /// t of process 0 goes to all.
  virtual void broadcast(Tensor t) = 0;
  virtual void barrier() = 0;
};

/// This process alone.
std::unique_ptr<ProcessGroup> make_single_process();

/// The processes that mpirun started, or this process alone where it was not started by mpirun or fledge was built
/// without MPI.
/// MPI is not touched where no launcher is found, so that the program starts fast.
std::unique_ptr<ProcessGroup> make_process_group();

/// Number of this process among those that a launcher started; 0 where there is none. Does not touch MPI.
int launched_rank();

/// Ends the other processes of a run too, after an error in this one: they would wait for it for ever. Does nothing,
/// and returns, where there are none.
void abandon_processes(int exit_code);

}  // namespace fledge::tensor
