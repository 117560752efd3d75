#pragma once

#include <filesystem>

namespace bertrand {

/// The tightest CPU limit of a process's cgroups and of the groups those lie in, in CPUs rounded
/// up; 0 where there is none. Version 2 ("0::/group" in `list`; the quota in cpu.max) and the cpu
/// controller of version 1 ("4:cpu,cpuacct:/group"; cpu.cfs_quota_us) are read.
/// Source: cgroups(7); the kernel's cgroup-v2.rst and sched-bwc.rst.
unsigned cgroup_cpus(const std::filesystem::path& list = "/proc/self/cgroup",
                     const std::filesystem::path& root = "/sys/fs/cgroup");

}  // namespace bertrand
