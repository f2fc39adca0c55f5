#pragma once

#include <memory>

#include "tensor/process_group.h"

namespace fledge::tensor {

/// Whether mpirun (or another launcher) started this process together with others.
bool started_by_launcher();

/// All processes of the launcher, through MPI. One thread at a time may use the group. Call once, and only where
/// started_by_launcher(). Throws Error where MPI cannot be started. Built with MPI only.
std::unique_ptr<ProcessGroup> make_mpi_process_group();

}  // namespace fledge::tensor
