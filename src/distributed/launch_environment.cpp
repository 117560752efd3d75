#include "distributed/launch_environment.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fcntl.h>
#include <optional>
#include <sched.h>
#include <string_view>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "distributed/descriptor.h"

namespace bertrand {
namespace {

constexpr const char* kThisMachine = "127.0.0.1";
constexpr unsigned kMostProcesses = 1U << 20;

[[noreturn]] void fail(const std::string& sentence) { throw Error(ErrorCode::usage, sentence); }

/// Ports below those the system gives to outgoing connections, and above the well-known ones.
uint16_t port_of(uint64_t number) {
  constexpr uint64_t kFirst = 10000, kCount = 20000;
  return static_cast<uint16_t>(kFirst + number % kCount);
}

class Reader {
 public:
  explicit Reader(const Variables& variables) : variables_(variables) {}

  /// Empty where it is not set, or set to nothing.
  std::string_view text(const char* name) const {
    const char* value = variables_(name);
    return value == nullptr ? std::string_view() : value;
  }

  bool has(const char* name) const { return !text(name).empty(); }

  /// The first of these that is set; empty where none is.
  std::string_view first_of(std::initializer_list<const char*> names) const {
    for (const char* name : names) {
      if (has(name)) {
        return text(name);
      }
    }
    return {};
  }

  std::optional<uint64_t> number(const char* name, uint64_t most) const {
    const std::string_view value = text(name);
    if (value.empty()) {
      return std::nullopt;
    }
    uint64_t found = 0;
    const auto [end, problem] = std::from_chars(value.data(), value.data() + value.size(), found);
    if (problem != std::errc() || end != value.data() + value.size() || found > most) {
      fail(fmt::format("The environment variable {} is \"{}\", which is not a number from 0 to {}.",
                       name, value, most));
    }
    return found;
  }

  std::optional<unsigned> count(const char* name) const {
    const auto found = number(name, kMostProcesses);
    return found ? std::optional(static_cast<unsigned>(*found)) : std::nullopt;
  }

  /// `wanted_by` is set and makes no sense without `name`.
  unsigned wanted(const char* name, const char* wanted_by) const {
    const auto found = count(name);
    if (!found) {
      fail(
          fmt::format("The environment variable {} is set, but {} is not; set both, or neither to "
                      "run one process.",
                      wanted_by, name));
    }
    return *found;
  }

 private:
  const Variables& variables_;
};

ProcessPlace place_of(const Reader& read, const char* rank_name, const char* count_name) {
  ProcessPlace place;
  place.rank = read.wanted(rank_name, count_name);
  place.count = read.wanted(count_name, rank_name);
  if (place.rank >= place.count) {
    fail(fmt::format("The environment variables contradict each other: {} is {}, and {} is {}.",
                     rank_name, place.rank, count_name, place.count));
  }
  return place;
}

[[noreturn]] void fail_missing(const ProcessPlace& place, const char* name, const char* remedy) {
  fail(
      fmt::format("This is rank {} of {} processes, but the environment variable {} is not set; "
                  "{}.",
                  place.rank, place.count, name, remedy));
}

constexpr const char* kLocalRemedy =
    "set it to the number of the process on its machine, from 0 on";

/// The place on this machine: `count_name` may be missing.
ProcessPlace local_place_of(const Reader& read, const ProcessPlace& place, const char* rank_name,
                            const char* count_name) {
  if (place.count == 1) {
    return {};
  }
  const auto rank = read.count(rank_name);
  if (!rank) {
    fail_missing(place, rank_name, kLocalRemedy);
  }
  const ProcessPlace local{/*count=*/read.count(count_name).value_or(0), *rank};
  if (local.count > place.count || (read.has(count_name) && local.rank >= local.count)) {
    fail(fmt::format(
        "The environment variables contradict each other: {} is {} and {} is {} of {} processes.",
        rank_name, local.rank, count_name, local.count, place.count));
  }
  return local;
}

void set_seconds(const Reader& read, const char* name, double& seconds) {
  constexpr uint64_t kMostSeconds = 1'000'000;
  const auto given = read.number(name, kMostSeconds);
  if (given == 0U) {
    fail(fmt::format("The environment variable {} is 0; give seconds, from 1 on.", name));
  }
  if (given) {
    seconds = static_cast<double>(*given);
  }
}

/// Where rank 0 is: what is set, else what `found` offers (an empty address: nothing).
void set_master(const Reader& read, LaunchEnvironment& environment, const std::string& found,
                std::optional<uint16_t> port, const char* remedy) {
  if (environment.place.count == 1) {
    return;
  }
  set_seconds(read, "BERTRAND_JOIN_TIMEOUT", environment.join_timeout);
  set_seconds(read, "BERTRAND_GONE_TIMEOUT", environment.gone_timeout);
  environment.master_address = read.has("MASTER_ADDR") ? read.text("MASTER_ADDR") : found;
  const auto given = read.number("MASTER_PORT", UINT16_MAX);
  if (given == 0U) {
    fail("The environment variable MASTER_PORT is 0; give the port that rank 0 listens on.");
  }
  environment.master_port = given ? static_cast<uint16_t>(*given) : port.value_or(0);
  for (const auto& [missing, name] : {std::pair(environment.master_address.empty(), "MASTER_ADDR"),
                                      std::pair(environment.master_port == 0, "MASTER_PORT")}) {
    if (missing) {
      fail_missing(environment.place, name, remedy);
    }
  }
}

LaunchEnvironment from_torchrun(const Reader& read) {
  LaunchEnvironment environment;
  environment.launcher = Launcher::torchrun;
  environment.place = place_of(read, "RANK", "WORLD_SIZE");
  environment.local = local_place_of(read, environment.place, "LOCAL_RANK", "LOCAL_WORLD_SIZE");
  set_master(read, environment, {}, std::nullopt,
             "set it to where rank 0 runs, the same for all of them");
  return environment;
}

/// Whether this was typed into the shell that `srun --pty` started, of whatever many tasks.
bool is_typed(const Reader& read, pid_t terminal_group) {
  const bool has_terminal = read.has("SLURM_PTY_PORT") && terminal_group != 0;
  return has_terminal &&
         read.number("SLURM_TASK_PID", INT32_MAX) != static_cast<uint64_t>(terminal_group);
}

/// Slurm's own step, started by srun: what a shell by hand sees has no step, or one of the special
/// numbers at the upper end, or is the task of a terminal.
bool is_slurm_task(const Reader& read, pid_t terminal_group) {
  constexpr uint64_t kFirstSpecialStep = 0xfffffff0U;
  const auto step = read.number("SLURM_STEP_ID", UINT32_MAX);
  return step && *step < kFirstSpecialStep && !is_typed(read, terminal_group);
}

/// The job's own port; steps of one job may run beside each other.
std::optional<uint16_t> slurm_port(const Reader& read) {
  constexpr uint64_t kBetweenSteps = 1009;
  const auto job = read.number("SLURM_JOB_ID", UINT32_MAX);
  const auto step = read.number("SLURM_STEP_ID", UINT32_MAX).value_or(0);
  return job ? std::optional(port_of(*job + kBetweenSteps * step)) : std::nullopt;
}

LaunchEnvironment from_slurm(const Reader& read) {
  const char* count_name =
      read.has("SLURM_STEP_NUM_TASKS") ? "SLURM_STEP_NUM_TASKS" : "SLURM_NTASKS";
  LaunchEnvironment environment;
  environment.launcher = Launcher::slurm;
  environment.place = place_of(read, "SLURM_PROCID", count_name);
  environment.processors = read.count("SLURM_CPUS_ON_NODE").value_or(0);
  if (environment.place.count > 1) {
    const auto rank = read.count("SLURM_LOCALID");
    if (!rank) {
      fail_missing(environment.place, "SLURM_LOCALID", kLocalRemedy);
    }
    const std::string tasks(read.first_of({"SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"}));
    environment.local = {slurm_tasks_of_node(tasks, read.count("SLURM_NODEID").value_or(0)), *rank};
    if (environment.local.rank >= environment.local.count) {
      environment.local.count = 0;  // the list is of the job, not of this step
    }
  }
  const std::string hosts(
      read.first_of({"SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST"}));
  set_master(read, environment, first_slurm_host(hosts), slurm_port(read),
             "set it to where rank 0 runs, the same for all of them");
  return environment;
}

/// MPI says nothing of an address. On one machine none is needed; in a job of Slurm rank 0 is on
/// the first host. The names of the job differ from one MPI to the next.
void set_mpi_master(const Reader& read, LaunchEnvironment& environment) {
  const std::string_view job =
      read.first_of({"PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "SLURM_JOB_ID"});
  uint64_t digest = 0xcbf29ce484222325U;  // FNV-1a
  for (const char letter : job) {
    digest = (digest ^ static_cast<unsigned char>(letter)) * 0x100000001b3U;
  }
  const bool one_machine = environment.local.count == environment.place.count;
  const std::string host =
      one_machine ? kThisMachine : first_slurm_host(std::string(read.text("SLURM_JOB_NODELIST")));
  set_master(read, environment, host, job.empty() ? std::nullopt : std::optional(port_of(digest)),
             "set it to where rank 0 runs, and have it passed on (mpirun -x MASTER_ADDR=HOST "
             "-x MASTER_PORT=29500, mpiexec -genv MASTER_ADDR HOST -genv MASTER_PORT 29500)");
}

LaunchEnvironment from_open_mpi(const Reader& read) {
  LaunchEnvironment environment;
  environment.launcher = Launcher::open_mpi;
  environment.place = place_of(read, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE");
  environment.local = local_place_of(read, environment.place, "OMPI_COMM_WORLD_LOCAL_RANK",
                                     "OMPI_COMM_WORLD_LOCAL_SIZE");
  set_mpi_master(read, environment);
  return environment;
}

LaunchEnvironment from_pmi(const Reader& read) {
  LaunchEnvironment environment;
  environment.launcher = Launcher::pmi;
  environment.place = place_of(read, "PMI_RANK", "PMI_SIZE");
  environment.local = local_place_of(read, environment.place, "MPI_LOCALRANKID", "MPI_LOCALNRANKS");
  set_mpi_master(read, environment);
  return environment;
}

}  // namespace

LaunchEnvironment launch_environment(const Variables& variables, pid_t terminal_group) {
  const Reader read(variables);
  if (read.has("RANK") || read.has("WORLD_SIZE")) {
    return from_torchrun(read);
  }
  if (read.has("OMPI_COMM_WORLD_RANK") || read.has("OMPI_COMM_WORLD_SIZE")) {
    return from_open_mpi(read);
  }
  // Slurm speaks PMI, too, beside its own variables; those that mpiexec inherits are of others.
  const bool slurms_pmi = !read.has("MPI_LOCALRANKID") && read.has("SLURM_STEP_ID");
  if ((read.has("PMI_RANK") || read.has("PMI_SIZE")) && !slurms_pmi) {
    return from_pmi(read);
  }
  return is_slurm_task(read, terminal_group) ? from_slurm(read) : LaunchEnvironment();
}

LaunchEnvironment launch_environment() {
  // Standard input tells nothing: it may come from elsewhere.
  const Descriptor terminal(::open("/dev/tty", O_RDONLY | O_CLOEXEC | O_NOCTTY));
  LaunchEnvironment environment = launch_environment(
      [](const char* name) { return std::getenv(name); }, terminal.number() >= 0 ? ::getpgrp() : 0);
  if (environment.processors == 0) {
    environment.processors = static_cast<unsigned>(::sysconf(_SC_NPROCESSORS_ONLN));
  }
  return environment;
}

bool is_store_of_launcher() {
  const char* set = std::getenv("TORCHELASTIC_USE_AGENT_STORE");
  return set != nullptr && std::string_view(set) == "True";
}

std::string first_slurm_host(const std::string& list) {
  std::string host;
  for (size_t i = 0; i < list.size() && list[i] != ','; ++i) {
    if (list[i] != '[') {
      host += list[i];
      continue;
    }
    const size_t end = std::min(list.find(']', i), list.size());
    host += list.substr(i + 1, std::min(list.find_first_of(",-", i), end) - i - 1);
    i = end;
  }
  return host;
}

unsigned slurm_tasks_of_node(const std::string& list, unsigned node) {
  const char* at = list.data();
  const char* const end = at + list.size();
  while (at != end) {
    unsigned tasks = 0, times = 1;
    at = std::from_chars(at, end, tasks).ptr;
    if (std::string_view(at, end).starts_with("(x")) {
      at = std::from_chars(at + 2, end, times).ptr;
      at += std::string_view(at, end).starts_with(")") ? 1 : 0;
    }
    if (node < times) {
      return tasks;
    }
    node -= times;
    if (at == end || *at != ',') {
      return 0;
    }
    ++at;
  }
  return 0;
}

unsigned share_of_threads(const LaunchEnvironment& environment, unsigned threads, bool bound) {
  const unsigned count = std::max(1U, environment.local.count);
  if (!bound || environment.launcher == Launcher::torchrun) {
    return std::max(1U, threads / count);
  }
  const unsigned processors = environment.processors;
  return processors == 0 ? threads : std::min(threads, std::max(1U, processors / count));
}

bool is_bound() {
  cpu_set_t mask;
  return ::sched_getaffinity(0, sizeof mask, &mask) == 0 &&
         CPU_COUNT(&mask) < ::sysconf(_SC_NPROCESSORS_ONLN);
}

}  // namespace bertrand
