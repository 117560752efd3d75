// The step of DOCKERFILE that looks for what is missing, with the stand-in for torch_mlu.
#include <filesystem>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "places.h"
#include "scripts/script.h"

namespace bertrand::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

/// As Docker runs it, by sh, with this library as torch_mlu's and the program on the PATH.
Outcome run_last_step(const fs::path& library) {
  const Script script;
  return script.sh("step=$(sed -n '/^RUN LD_LIBRARY_PATH/,/[^\\\\]$/p' '" +
                   (source_folder() / "DOCKERFILE").string() +
                   "' | sed '1s/^RUN //'); [[ $step == *'device mlu'* ]] || exit 9\n"
                   "PATH=" +
                   fs::path(kProgram).parent_path().string() +
                   ":$PATH STANDIN_MLU_DEVICES=0 BERTRAND_TORCH_LIBRARY='" + library.string() +
                   "' sh -c \"$step\"");
}

TEST(Dockerfile, BuildsWhereTorchMluLoadsAndThereIsNoCard) {
  const fs::path standin = kStandinMlu;
  if (standin.empty()) GTEST_SKIP() << "no libbertrand_torch.so";
  const Outcome good = run_last_step(standin / "backend/libtorch_mlu.so");
  EXPECT_EQ(good.status, 0) << good.out;
  // It wants Python's libraries, which are not there.
  const Outcome bad = run_last_step(standin / "python/libtorch_mlu.so");
  EXPECT_EQ(bad.status, 1);
  EXPECT_THAT(bad.out, AllOf(HasSubstr("libtorch_mlu.so cannot be loaded ("),
                             HasSubstr("undefined symbol: standin_")));
}

}  // namespace
}  // namespace bertrand::test
