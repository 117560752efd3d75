#include "base/cgroup.h"

#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include "base/files.h"
#include "base/temporary_folder.h"

namespace bertrand {
namespace {

/// A tree of groups as the kernel shows it, in a folder of its own.
class CgroupTest : public testing::Test {
 protected:
  void write(const std::string& file, const std::string& text) const {
    const std::filesystem::path path = folder_.path() / "fs" / file;
    std::filesystem::create_directories(path.parent_path());
    write_file(path, text);
  }
  unsigned cpus(const std::string& list) const {
    write_file(folder_ / "list", list);
    return cgroup_cpus(folder_ / "list", folder_ / "fs");
  }

  test::TemporaryFolder folder_;
};

TEST_F(CgroupTest, NoFilesMeanNoLimit) {
  EXPECT_EQ(cgroup_cpus(folder_ / "none", folder_ / "fs"), 0U);
  EXPECT_EQ(cpus("0::/\n1:cpu:/some/group\n"), 0U);
  EXPECT_EQ(cpus("0\n0:\n::\n\n"), 0U);
}

TEST_F(CgroupTest, Version2TakesTheTightestUpToTheTop) {
  write("cpu.max", "max 100000\n");
  write("a/cpu.max", "150000 100000\n");
  write("a/b/cpu.max", "400000 100000\n");
  EXPECT_EQ(cpus("0::/\n"), 0U);
  EXPECT_EQ(cpus("0::/a\n"), 2U);  // one and a half, rounded up
  EXPECT_EQ(cpus("0::/a/b\n"), 2U);
  EXPECT_EQ(cpus("0::/elsewhere/c\n"), 0U);
  write("cpu.max", "1000 100000\n");
  EXPECT_EQ(cpus("0::/a/b\n"), 1U);  // never none at all
  EXPECT_EQ(cpus("0::/elsewhere/c\n"), 1U);
}

TEST_F(CgroupTest, Version1HasItsQuotaInTwoFiles) {
  write("cpu,cpuacct/group/cpu.cfs_quota_us", "300000\n");
  write("cpu,cpuacct/group/cpu.cfs_period_us", "100000\n");
  write("cpu,cpuacct/free/cpu.cfs_quota_us", "-1\n");
  write("cpu,cpuacct/free/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cpus("5:memory:/group\n4:cpu,cpuacct:/group\n0::/\n"), 3U);
  EXPECT_EQ(cpus("4:cpu,cpuacct:/free\n"), 0U);
  EXPECT_EQ(cpus("4:cpuset:/group\n"), 0U);
  // In a container the group may lie at the top of what is seen.
  write("cpu,cpuacct/cpu.cfs_quota_us", "50000\n");
  write("cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cpus("4:cpu,cpuacct:/docker/0123\n"), 1U);
}

}  // namespace
}  // namespace bertrand
