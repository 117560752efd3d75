#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <sys/types.h>

#include "distributed/process_group.h"

namespace bertrand {

/// Who started this process, as one of how many.
enum class Launcher {
  none,      ///< nobody: it is alone
  torchrun,  ///< RANK, WORLD_SIZE: torchrun, `bertrand launch` and all that follow them
  open_mpi,  ///< OMPI_COMM_WORLD_RANK, OMPI_COMM_WORLD_SIZE
  pmi,       ///< PMI_RANK, PMI_SIZE, MPI_LOCALRANKID: mpiexec of MPICH and Intel MPI
  slurm,     ///< SLURM_PROCID, SLURM_STEP_NUM_TASKS: srun
};

/// What a process is told at its start about the run it belongs to.
struct LaunchEnvironment {
  Launcher launcher = Launcher::none;
  ProcessPlace place;               ///< among all processes of the run
  ProcessPlace local;               ///< among those of this machine; count 0: not told
  std::string master_address = {};  ///< of rank 0's machine; empty where the process is alone
  uint16_t master_port = 0;         ///< on which rank 0 listens for the others
  double join_timeout = 1800;       ///< seconds that the processes wait for each other
  double gone_timeout = 10;         ///< seconds that they outlive one that is gone
  std::string own_address = {};     ///< by which other machines reach this one, where that is known
  unsigned processors = 0;  ///< of this machine, for all its processes of the run; 0: not told
};

/// The value of an environment variable; nullptr where it is not set. As std::getenv.
using Variables = std::function<const char*(const char* name)>;

/// Reads the variables of the launchers, of which torchrun's come before those of Open MPI, PMI and
/// Slurm: each may be used to start another. MASTER_ADDR, MASTER_PORT, BERTRAND_JOIN_TIMEOUT and
/// BERTRAND_GONE_TIMEOUT (seconds) hold for all. Where the first two are missing under the others,
/// they are found: the first host of Slurm's list and a port from its job; on one machine 127.0.0.1
/// and a port from the job of MPI.
///
/// Slurm's variables count in a step that srun started with several tasks. The shell of salloc, the
/// script of sbatch, and a shell of `srun --pty` see them too, but what is run there by hand is one
/// process, and alone. Such a shell is the task itself, and gives each command a process group of
/// its own; what srun starts in a terminal, and what scripts start there, stays in the task's.
/// `terminal_group` is this process's group, 0 where it has no terminal.
///
/// Throws Error (usage) naming the variable where one is missing that the others want, is no
/// number, or contradicts another.
///
/// Sources: torchrun's documentation, "Environment Variables"; the manual pages of srun, salloc and
/// sbatch, "Output environment variables"; mpirun(1) of Open MPI, "Environment variables"; PMI-1 as
/// MPICH's Hydra sets it.
LaunchEnvironment launch_environment(const Variables& variables, pid_t terminal_group);

/// The same of this process.
LaunchEnvironment launch_environment();

/// Whether the launcher itself serves the store on the master's port, as torchrun may: nobody else
/// can listen there.
bool is_store_of_launcher();

/// The first host of Slurm's "node[003-005,7],login1": node003. Empty where there is none.
std::string first_slurm_host(const std::string& list);

/// How many tasks Slurm's "2(x3),1" gives node `node`; 0 where it does not say.
unsigned slurm_tasks_of_node(const std::string& list, unsigned node);

/// Of the threads that a process of this machine may use, those that are this process's: all where
/// it is alone or its launcher gave it processors of its own (`bound`), else its share, at least 1.
/// Several may be bound to the same processors, all of a socket, say: then each takes its share of
/// those that the machine has for them.
unsigned share_of_threads(const LaunchEnvironment& environment, unsigned threads, bool bound);

/// Whether this process may use a part of the machine's processors only (its affinity mask).
bool is_bound();

}  // namespace bertrand
