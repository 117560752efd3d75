#include "distributed/launch_environment.h"

#include <map>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace bertrand {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Set = std::map<std::string, std::string>;

LaunchEnvironment read(const Set& set, pid_t terminal_group = 0) {
  return launch_environment(
      [&](const char* name) {
        const auto found = set.find(name);
        return found == set.end() ? nullptr : found->second.c_str();
      },
      terminal_group);
}

std::string refused(const Set& set) {
  try {
    read(set);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    return error.what();
  }
  ADD_FAILURE() << "was taken";
  return {};
}

/// `set` and what `more` says, where "" takes a variable away.
Set with(Set set, const Set& more) {
  for (const auto& [name, value] : more) {
    if (value.empty()) {
      set.erase(name);
    } else {
      set[name] = value;
    }
  }
  return set;
}

void expect_place(const LaunchEnvironment& found, Launcher launcher, unsigned rank, unsigned count,
                  unsigned local_rank, unsigned local_count) {
  EXPECT_EQ(found.launcher, launcher);
  EXPECT_EQ(found.place.rank, rank);
  EXPECT_EQ(found.place.count, count);
  EXPECT_EQ(found.local.rank, local_rank);
  EXPECT_EQ(found.local.count, local_count);
}

void expect_alone(const LaunchEnvironment& found) {
  expect_place(found, Launcher::none, 0, 1, 0, 1);
  EXPECT_EQ(found.master_address, "");
}

const Set torchrun_says = {{"RANK", "5"},
                           {"WORLD_SIZE", "8"},
                           {"LOCAL_RANK", "1"},
                           {"LOCAL_WORLD_SIZE", "4"},
                           {"MASTER_ADDR", "node1"},
                           {"MASTER_PORT", "29500"}};

/// What srun -N 2 -n 5 gives its fourth task, on a cluster's second node.
const Set slurm_says = {{"SLURM_JOB_ID", "123456"},
                        {"SLURM_STEP_ID", "0"},
                        {"SLURM_PROCID", "3"},
                        {"SLURM_NTASKS", "5"},
                        {"SLURM_STEP_NUM_TASKS", "5"},
                        {"SLURM_LOCALID", "0"},
                        {"SLURM_NODEID", "1"},
                        {"SLURM_STEP_TASKS_PER_NODE", "3,2"},
                        {"SLURM_STEP_NODELIST", "gpu[017-018]"},
                        {"SLURM_JOB_NODELIST", "gpu[016-018]"}};

const Set open_mpi_says = {{"OMPI_COMM_WORLD_RANK", "2"},
                           {"OMPI_COMM_WORLD_SIZE", "4"},
                           {"OMPI_COMM_WORLD_LOCAL_RANK", "2"},
                           {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"},
                           {"PMIX_NAMESPACE", "prterun-node1-4711@1"}};

TEST(LaunchEnvironment, NothingSetIsOneProcess) {
  expect_alone(read({}));
  expect_alone(read({{"RANK", ""}, {"WORLD_SIZE", ""}}));
}

TEST(LaunchEnvironment, ReadsTorchrun) {
  const LaunchEnvironment found = read(torchrun_says);
  expect_place(found, Launcher::torchrun, 5, 8, 1, 4);
  EXPECT_EQ(found.master_address, "node1");
  EXPECT_EQ(found.master_port, 29500);
}

TEST(LaunchEnvironment, HowLongToWaitForEachOther) {
  const Set set = {{"RANK", "1"},
                   {"WORLD_SIZE", "2"},
                   {"LOCAL_RANK", "1"},
                   {"MASTER_ADDR", "here"},
                   {"MASTER_PORT", "29500"}};
  EXPECT_EQ(read(set).join_timeout, 1800);
  EXPECT_EQ(read(with(set, {{"BERTRAND_JOIN_TIMEOUT", "20"}})).join_timeout, 20);
  EXPECT_EQ(read(set).gone_timeout, 10);
  EXPECT_EQ(read(with(set, {{"BERTRAND_GONE_TIMEOUT", "3"}})).gone_timeout, 3);
  for (const char* name : {"BERTRAND_JOIN_TIMEOUT", "BERTRAND_GONE_TIMEOUT"}) {
    for (const char* wrong : {"0", "soon", "-1"}) {
      EXPECT_THAT(refused(with(set, {{name, wrong}})), HasSubstr(name));
    }
  }
}

TEST(LaunchEnvironment, OneProcessOfTorchrunNeedsNoMore) {
  expect_place(read({{"RANK", "0"}, {"WORLD_SIZE", "1"}}), Launcher::torchrun, 0, 1, 0, 1);
}

TEST(LaunchEnvironment, HalvesAndContradictionsAreNamed) {
  EXPECT_THAT(refused({{"RANK", "0"}}), HasSubstr("RANK is set, but WORLD_SIZE is not"));
  EXPECT_THAT(refused({{"WORLD_SIZE", "2"}}), HasSubstr("WORLD_SIZE is set, but RANK is not"));
  for (const char* name : {"LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"}) {
    EXPECT_THAT(refused(with(torchrun_says, {{name, ""}})),
                AllOf(HasSubstr("rank 5 of 8"), HasSubstr(name)));
  }
  EXPECT_THAT(refused(with(torchrun_says, {{"RANK", "8"}})),
              HasSubstr("RANK is 8, and WORLD_SIZE is 8"));
  EXPECT_THAT(refused(with(torchrun_says, {{"LOCAL_RANK", "4"}})),
              HasSubstr("LOCAL_RANK is 4 and LOCAL_WORLD_SIZE is 4"));
  EXPECT_THAT(refused(with(torchrun_says, {{"LOCAL_WORLD_SIZE", "9"}})),
              HasSubstr("of 8 processes"));
  for (const char* value : {"two", "-1", "1.5", "2 ", "99999999999999999999"}) {
    EXPECT_THAT(refused(with(torchrun_says, {{"WORLD_SIZE", value}})),
                AllOf(HasSubstr("WORLD_SIZE"), HasSubstr(value)));
  }
  EXPECT_THAT(refused(with(torchrun_says, {{"MASTER_PORT", "65536"}})), HasSubstr("MASTER_PORT"));
  EXPECT_THAT(refused(with(torchrun_says, {{"MASTER_PORT", "0"}})), HasSubstr("MASTER_PORT"));
}

TEST(LaunchEnvironment, ReadsATaskOfSrun) {
  const LaunchEnvironment found = read(slurm_says);
  expect_place(found, Launcher::slurm, 3, 5, 0, 2);
  EXPECT_EQ(found.master_address, "gpu017");
  EXPECT_GE(found.master_port, 10000);
  EXPECT_LT(found.master_port, 30000);
  EXPECT_EQ(read(with(slurm_says, {{"SLURM_PROCID", "4"}, {"SLURM_LOCALID", "1"}})).master_port,
            found.master_port);
  EXPECT_NE(read(with(slurm_says, {{"SLURM_STEP_ID", "1"}})).master_port, found.master_port);
  EXPECT_NE(read(with(slurm_says, {{"SLURM_JOB_ID", "123457"}})).master_port, found.master_port);
  const LaunchEnvironment chosen =
      read(with(slurm_says, {{"MASTER_ADDR", "10.0.0.1"}, {"MASTER_PORT", "2222"}}));
  EXPECT_EQ(chosen.master_address, "10.0.0.1");
  EXPECT_EQ(chosen.master_port, 2222);
}

/// A job of five tasks, but what is run by hand in its shell is none of them.
TEST(LaunchEnvironment, TheShellOfASlurmJobIsOneProcess) {
  const Set salloc = {{"SLURM_JOB_ID", "7"}, {"SLURM_NTASKS", "5"}, {"SLURM_NODELIST", "n[1-2]"}};
  expect_alone(read(salloc));
  const Set sbatch = with(salloc, {{"SLURM_PROCID", "0"}, {"SLURM_LOCALID", "0"}});
  expect_alone(read(sbatch));
  // The numbers of the steps that sbatch and salloc make for the script and the shell.
  expect_alone(read(with(sbatch, {{"SLURM_STEP_ID", "4294967291"}})));
  expect_alone(
      read(with(sbatch, {{"SLURM_STEP_ID", "4294967290"}, {"SLURM_STEP_NUM_TASKS", "1"}}), 700));
}

/// What srun --pty -n 2 gives its first task, process 600, which has the terminal.
const Set terminal_says = {{"SLURM_JOB_ID", "20"},        {"SLURM_STEP_ID", "0"},
                           {"SLURM_PROCID", "0"},         {"SLURM_NTASKS", "2"},
                           {"SLURM_STEP_NUM_TASKS", "2"}, {"SLURM_LOCALID", "0"},
                           {"SLURM_NODEID", "0"},         {"SLURM_STEP_TASKS_PER_NODE", "2"},
                           {"SLURM_STEP_NODELIST", "n1"}, {"SLURM_TASK_PID", "600"},
                           {"SLURM_PTY_PORT", "40000"}};

/// A shell that is a task itself gives each command a process group of its own.
TEST(LaunchEnvironment, SoIsTheShellOfATerminalThatSrunOpened) {
  expect_alone(read(terminal_says, /*terminal_group=*/700));
  expect_alone(read(with(terminal_says, {{"SLURM_TASK_PID", ""}}), 700));
  // Slurm speaks PMI there, too (--mpi=pmi2).
  expect_alone(read(with(terminal_says, {{"PMI_RANK", "0"}, {"PMI_SIZE", "2"}}), 700));
}

TEST(LaunchEnvironment, ATaskInATerminalIsOneOfItsStep) {
  expect_place(read(terminal_says, /*terminal_group=*/600), Launcher::slurm, 0, 2, 0, 2);
  // The others have no terminal.
  expect_place(
      read(with(terminal_says,
                {{"SLURM_PROCID", "1"}, {"SLURM_LOCALID", "1"}, {"SLURM_TASK_PID", "601"}})),
      Launcher::slurm, 1, 2, 1, 2);
  // srun without --pty, from such a terminal.
  expect_place(read(with(slurm_says, {{"SLURM_PTY_PORT", "40000"}})), Launcher::slurm, 3, 5, 0, 2);
}

TEST(LaunchEnvironment, AStepOfOneTaskIsOneProcess) {
  const LaunchEnvironment found = read({{"SLURM_JOB_ID", "7"},
                                        {"SLURM_STEP_ID", "2"},
                                        {"SLURM_PROCID", "0"},
                                        {"SLURM_NTASKS", "1"},
                                        {"SLURM_STEP_NUM_TASKS", "1"}});
  expect_place(found, Launcher::slurm, 0, 1, 0, 1);
}

TEST(LaunchEnvironment, ATaskOfSrunThatLacksVariablesIsRefused) {
  EXPECT_THAT(refused(with(slurm_says, {{"SLURM_PROCID", ""}})), HasSubstr("SLURM_PROCID"));
  EXPECT_THAT(refused(with(slurm_says, {{"SLURM_LOCALID", ""}})), HasSubstr("SLURM_LOCALID"));
  EXPECT_THAT(refused(with(slurm_says, {{"SLURM_PROCID", "5"}})),
              HasSubstr("SLURM_PROCID is 5, and SLURM_STEP_NUM_TASKS is 5"));
  EXPECT_THAT(refused(with(slurm_says, {{"SLURM_STEP_NODELIST", ""}, {"SLURM_JOB_NODELIST", ""}})),
              HasSubstr("MASTER_ADDR"));
}

TEST(LaunchEnvironment, TorchrunInATaskOfSrunCounts) {
  Set both = slurm_says;
  both.insert(torchrun_says.begin(), torchrun_says.end());
  expect_place(read(both), Launcher::torchrun, 5, 8, 1, 4);
}

TEST(LaunchEnvironment, ReadsOpenMpi) {
  const LaunchEnvironment found = read(open_mpi_says);
  expect_place(found, Launcher::open_mpi, 2, 4, 2, 4);
  EXPECT_EQ(found.master_address, "127.0.0.1");
  EXPECT_GE(found.master_port, 10000);
  EXPECT_NE(read(with(open_mpi_says, {{"PMIX_NAMESPACE", "prterun-node1-4712@1"}})).master_port,
            found.master_port);
  // mpirun in a script of sbatch: its variables are not those of the tasks.
  expect_place(read(with(open_mpi_says, {{"SLURM_JOB_ID", "7"}, {"SLURM_PROCID", "0"}})),
               Launcher::open_mpi, 2, 4, 2, 4);
}

TEST(LaunchEnvironment, MpiOnSeveralMachinesIsToldWhereToMeet) {
  const Set two = with(open_mpi_says, {{"OMPI_COMM_WORLD_LOCAL_SIZE", "3"}});
  EXPECT_THAT(refused(two), AllOf(HasSubstr("MASTER_ADDR"), HasSubstr("mpirun -x")));
  EXPECT_EQ(read(with(two, {{"SLURM_JOB_NODELIST", "a[1-2]"}})).master_address, "a1");
  EXPECT_EQ(read(with(two, {{"MASTER_ADDR", "b"}})).master_address, "b");
}

TEST(LaunchEnvironment, ReadsPmi) {
  const Set hydra = {{"PMI_RANK", "1"},
                     {"PMI_SIZE", "2"},
                     {"MPI_LOCALRANKID", "1"},
                     {"MPI_LOCALNRANKS", "2"},
                     {"MASTER_PORT", "29500"}};
  const LaunchEnvironment found = read(hydra);
  expect_place(found, Launcher::pmi, 1, 2, 1, 2);
  EXPECT_EQ(found.master_address, "127.0.0.1");
  EXPECT_THAT(refused(with(hydra, {{"MASTER_PORT", ""}})), HasSubstr("MASTER_PORT"));
  EXPECT_THAT(refused(with(hydra, {{"MPI_LOCALRANKID", ""}})), HasSubstr("MPI_LOCALRANKID"));
}

TEST(LaunchEnvironment, ReadsPmiOfSlurm) {
  Set set = slurm_says;
  set.insert({{"PMI_RANK", "3"}, {"PMI_SIZE", "5"}});
  const LaunchEnvironment found = read(set);
  expect_place(found, Launcher::slurm, 3, 5, 0, 2);
  EXPECT_EQ(found.master_address, "gpu017");
}

TEST(SlurmLists, GiveTheFirstHost) {
  for (const auto& [list, host] :
       std::map<std::string, std::string>{{"node7", "node7"},
                                          {"node1,node2", "node1"},
                                          {"node[003-005,7],login1", "node003"},
                                          {"n[12]", "n12"},
                                          {"n[4,9-12]-ib", "n4-ib"},
                                          {"rack[2-3]node[08-11].cluster,x", "rack2node08.cluster"},
                                          {"broken[", "broken"},
                                          {"", ""}}) {
    EXPECT_EQ(first_slurm_host(list), host) << list;
  }
}

TEST(SlurmLists, GiveTheTasksOfANode) {
  EXPECT_EQ(slurm_tasks_of_node("4", 0), 4U);
  EXPECT_EQ(slurm_tasks_of_node("2(x3),1", 0), 2U);
  EXPECT_EQ(slurm_tasks_of_node("2(x3),1", 2), 2U);
  EXPECT_EQ(slurm_tasks_of_node("2(x3),1", 3), 1U);
  EXPECT_EQ(slurm_tasks_of_node("2(x3),1", 4), 0U);
  EXPECT_EQ(slurm_tasks_of_node("", 0), 0U);
  EXPECT_EQ(slurm_tasks_of_node("x", 1), 0U);
}

TEST(ShareOfThreads, IsWhatTheLauncherLeavesOpen) {
  const LaunchEnvironment four = read(torchrun_says);
  EXPECT_EQ(share_of_threads({}, 8, /*bound=*/false), 8U);
  EXPECT_EQ(share_of_threads(four, 8, false), 2U);
  EXPECT_EQ(share_of_threads(four, 9, true), 2U) << "torchrun binds nobody: the mask is shared";
  EXPECT_EQ(share_of_threads(four, 2, false), 1U);
  const LaunchEnvironment mpi = read(open_mpi_says);
  EXPECT_EQ(share_of_threads(mpi, 2, /*bound=*/true), 2U);
  EXPECT_EQ(share_of_threads(mpi, 8, /*bound=*/false), 2U);
}

/// Open MPI binds more than two processes to a socket each; Slurm may bind the tasks to the job's.
TEST(ShareOfThreads, OfThoseBoundToTheSameProcessors) {
  LaunchEnvironment mpi = read(open_mpi_says);
  mpi.processors = 32;
  EXPECT_EQ(share_of_threads(mpi, 16, /*bound=*/true), 8U) << "four on two sockets of 16";
  EXPECT_EQ(share_of_threads(mpi, 8, /*bound=*/true), 8U) << "its own eight";
  EXPECT_EQ(share_of_threads(mpi, 1, /*bound=*/true), 1U) << "a core";
  mpi.processors = 2;
  EXPECT_EQ(share_of_threads(mpi, 1, /*bound=*/true), 1U) << "more processes than processors";
  const LaunchEnvironment slurm = read(with(slurm_says, {{"SLURM_CPUS_ON_NODE", "8"}}));
  EXPECT_EQ(share_of_threads(slurm, 8, /*bound=*/true), 4U) << "two tasks in the job's eight";
  EXPECT_EQ(share_of_threads(slurm, 4, /*bound=*/true), 4U);
}

}  // namespace
}  // namespace bertrand
